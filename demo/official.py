"""Writes the formats in which CIFAR-10, FER2013 and FER+ are downloaded, byte for byte as their publishers do."""

import gzip
import io
import os
import struct
import tarfile

from common import files
from paper import facts

# FER2013's seven codes. It has no contempt, so those faces went to neutral there.
FER2013_CODES = dict(anger=0, disgust=1, fear=2, happiness=3, sadness=4, surprise=5, neutral=6, contempt=6)
VOTES = facts.EXPRESSIONS + ("unknown", "NF")
PARTS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
WHOLE_IMAGE = '"(0, 0, 48, 48)"'  # FER+'s face box


def write_cifar10(path, train, test, names):
    """Write cifar-10-python.tar.gz at `path`.

    `train`, `test`: (images uint8 N x 32 x 32 x 3 RGB, labels int N); N of train divisible by five, the number of data
    batches; `names`: the ten classes.
    """
    images, labels = train
    size, left = divmod(len(labels), 5)
    if left:
        raise ValueError("%d training images do not make five equal batches" % len(labels))
    members = []
    for i in range(5):
        part = slice(i * size, (i + 1) * size)
        title = "training batch %d of 5" % (i + 1)
        members.append(("data_batch_%d" % (i + 1), _batch(title, images[part], labels[part], names, i * size)))
    members.append(("test_batch", _batch("testing batch 1 of 1", test[0], test[1], names, len(labels))))
    meta = [("num_cases_per_batch", size), ("label_names", list(names)), ("num_vis", images[0].size)]
    members.append(("batches.meta", pickled(meta)))
    with files.replacing(path) as temporary, open(temporary, "wb") as raw:
        # A zero time stamp, so that the same images give the same archive.
        with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
            for name, data in members:
                info = tarfile.TarInfo("cifar-10-batches-py/" + name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def _batch(title, images, labels, names, first):
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)  # red plane, green plane, blue plane
    filenames = ["%s_s_%06d.png" % (names[label], first + i) for i, label in enumerate(labels)]
    return pickled([("batch_label", title), ("labels", [int(v) for v in labels]), ("data", rows), ("filenames", filenames)])


def pickled(items):
    """A dict, given as (key, value) pairs, as Python 2 pickles it with protocol 2: what CIFAR's files are.

    Values: str, int from 0 to 65535, lists of these, uint8 arrays N x M. Python 3's `pickle` cannot write Python 2's
    byte strings, and what it writes for an array depends on the version of numpy.
    """
    return b"\x80\x02}(" + b"".join(_opcodes(key) + _opcodes(value) for key, value in items) + b"u."


def _opcodes(value):
    if isinstance(value, str):
        data = value.encode("ascii")
        return b"U" + bytes([len(data)]) + data
    if isinstance(value, int):
        return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)
    if isinstance(value, list):
        return b"](" + b"".join(map(_opcodes, value)) + b"e"
    data = value.tobytes()
    new = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"".join(map(_opcodes, value.shape)) + b"\x86"
    return new + b"(K\x01" + shape + dtype + b"\x89T" + struct.pack("<i", len(data)) + data + b"tb"


def write_fer2013(path, faces):
    """Write fer2013.csv at `path`. `faces`: Face tuples (demo.draw) in file order."""
    with files.replacing(path) as temporary, open(temporary, "w", newline="") as f:
        f.write("emotion,pixels,Usage\n")
        for face in faces:
            pixels = " ".join(map(str, face.image.ravel().tolist()))
            f.write("%d,%s,%s\n" % (FER2013_CODES[face.expression], pixels, face.usage))


def write_ferplus(folder, faces):
    """Write FER+'s vote files in `folder`: fer2013new.csv, row for row as fer2013.csv, and FER2013*/label.csv by name."""
    with files.replacing(folder) as temporary:
        os.mkdir(temporary)
        with open(os.path.join(temporary, "fer2013new.csv"), "w", newline="") as f:
            f.write(",".join(("Usage", "Image name") + VOTES) + "\n")
            f.writelines("%s,%s,%s\n" % (face.usage, face.name, _votes(face)) for face in faces)
        for usage, part in PARTS.items():
            os.mkdir(os.path.join(temporary, part))
            with open(os.path.join(temporary, part, "label.csv"), "w", newline="") as f:
                f.writelines("%s,%s,%s\n" % (face.name, WHOLE_IMAGE, _votes(face)) for face in faces if face.usage == usage and face.name)


def _votes(face):
    return ",".join(map(str, face.votes))
