"""Small data in every official layout, for the tests of data_prep: the same images in all forms of a set."""

import io
import os
import pickle
import struct
import tarfile
import zipfile

import cv2
import numpy as np

from data_prep import __main__ as data_prep
from data_prep import records
from demo import official

CINIC_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def build(dataset, out, *options, workers=1):
    """Run the `build` command in this process; the folder that it made."""
    args = data_prep.parser().parse_args(
        ["build", dataset, "--out", str(out), "--downloads", os.path.join(str(out), "none"), "--workers", str(workers), "--unofficial"]
        + [str(option) for option in options]
    )
    args.run(args)
    return os.path.join(str(out), dataset)


def pictures(count, side=32, seed=0, channels=3):
    """Smooth random pictures: uint8 N x side x side x 3 RGB (N x side x side with one channel)."""
    rng = np.random.RandomState(seed)
    small = rng.randint(0, 256, (count, 6, 6, channels)).astype(np.uint8)
    return np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC) for image in small])


def rows(images):
    """CIFAR's rows: a red, a green and a blue plane."""
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def png(image):
    """A PNG file's bytes of an RGB or grey image."""
    return cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)[1].tobytes()


def jpeg(image):
    return cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()


def write_tar(path, members):
    """A tar (packed as its ending says) of (name, bytes) members."""
    with tarfile.open(str(path), "w:gz" if str(path).endswith("gz") else "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def write_zip(path, members):
    with zipfile.ZipFile(str(path), "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members:
            packed.writestr(name, data)


def write_folder(path, members):
    for name, data in members:
        target = os.path.join(str(path), name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as f:
            f.write(data)


def cifar10_members(images, labels, form="python2", names=None):
    """Members of CIFAR-10's archive: 5 training batches and a test batch of equal size. Forms: python2, python3, binary."""
    size = len(labels) // 6
    for i, name in enumerate(["data_batch_%d" % n for n in range(1, 6)] + ["test_batch"]):
        part = slice(i * size, (i + 1) * size)
        if form == "binary":
            yield "cifar-10-batches-bin/%s.bin" % name, _binary(images[part], labels[part])
            continue
        filenames = ["%s_%d.png" % (name, n) for n in range(size)]
        yield "cifar-10-batches-py/" + name, pickled(form, batch_label="b", labels=[int(v) for v in labels[part]], data=rows(images[part]), filenames=filenames)
    if names and form == "binary":
        yield "cifar-10-batches-bin/batches.meta.txt", "\n".join(names).encode()
    elif names:
        yield "cifar-10-batches-py/batches.meta", pickled(form, label_names=list(names))


def cifar100_members(images, fine, coarse, form="python2"):
    """Members of CIFAR-100's archive: five sixths train, a sixth test."""
    cut = len(fine) * 5 // 6
    for name, part in (("train", slice(0, cut)), ("test", slice(cut, None))):
        if form == "binary":
            yield "cifar-100-binary/%s.bin" % name, _binary(images[part], coarse[part], fine[part])
            continue
        yield (
            "cifar-100-python/" + name,
            pickled(
                form,
                filenames=["n%d.png" % i for i in range(len(fine[part]))],
                fine_labels=[int(v) for v in fine[part]],
                coarse_labels=[int(v) for v in coarse[part]],
                data=rows(images[part]),
            ),
        )


def pickled(form, **batch):
    """A batch as Python 2 wrote it, or as Python 3 does with bytes keys (protocol 2), or with str keys (the newest)."""
    if form == "python2":
        return official.pickled(list(batch.items()))
    if form == "python3":
        return pickle.dumps({key.encode(): value for key, value in batch.items()}, protocol=2)
    return pickle.dumps(batch, protocol=int(form))


def _binary(images, *labels):
    return np.concatenate([np.asarray(each, np.uint8)[:, None] for each in labels] + [rows(images)], axis=1).tobytes()


def cinic_members(images, labels):
    """Members of CINIC-10: the images in turn in train, valid and test; every fifth one is a one-channel PNG."""
    for i, (image, label) in enumerate(zip(images, labels)):
        part = ("train", "valid", "test")[i % 3]
        data = png(image[..., 0] if i % 5 == 0 else image)
        yield "%s/%s/cifar10-%s-%d.png" % (part, CINIC_CLASSES[label], part, i), data


def imagenet32_members(images, labels, form, part):
    """Two batches of the training part, or the validation one; labels from 1. Forms: npz, or a pickle's as `pickled`."""
    batches = (
        [("val_data", slice(None))]
        if part == "test"
        else [("train_data_batch_1", slice(0, len(labels) // 2)), ("train_data_batch_2", slice(len(labels) // 2, None))]
    )
    for name, some in batches:
        arrays = dict(data=rows(images[some]), labels=np.asarray(labels[some]) + 1, mean=np.zeros(3072))
        if form == "npz":
            file = io.BytesIO()
            np.savez(file, **arrays)
            yield name + ".npz", file.getvalue()
        else:
            arrays.update(labels=[int(v) for v in arrays["labels"]], mean=arrays["data"][0])
            yield name, pickled(form, **arrays)


def webface_members(files, labels, identities):
    """InsightFace's train.rec, train.idx and property of JPEG files (bytes); identities' records follow the images."""
    packed, index, offset = [], [], 0

    def add(key, payload):
        nonlocal offset
        record = records.MAGIC + struct.pack("<I", len(payload)) + payload + b"\0" * (-len(payload) % 4)
        index.append("%d\t%d\n" % (key, offset))
        packed.append(record)
        offset += len(record)

    end = len(files) + 1
    add(0, struct.pack("<IfQQ2f", 2, 0, 0, 0, end, end + identities))
    for i, (data, label) in enumerate(zip(files, labels)):
        add(i + 1, struct.pack("<IfQQ", 0, label, i + 1, 0) + data)
    for i in range(identities):
        add(end + i, struct.pack("<IfQQ2f", 2, 0, end + i, 0, 1, end))
    return [
        ("faces_webface_112x112/train.rec", b"".join(packed)),
        ("faces_webface_112x112/train.idx", "".join(index).encode()),
        ("faces_webface_112x112/property", b"%d,112,112" % identities),
    ]


def fer(folder, per_class=4, seed=0, extra_rows=()):
    """fer2013.csv and FERPlus/ in `folder`: `per_class` faces of each expression in every part, and rows without a name.

    Returns the faces, list of (part's Usage, name, label, image uint8 48 x 48); names are not row numbers.
    """
    rng = np.random.RandomState(seed)
    faces, lines = [], []
    from demo.draw import Face

    for usage in official.PARTS:
        for i in range(per_class * 8):
            if i % 7 == 3:
                lines.append(Face(usage, "", "neutral", [0] * 8 + [0, 10], np.zeros((48, 48), np.uint8)))
            name, label = "fer%07d.png" % len(faces), i % 8
            image = pictures(1, 48, rng.randint(1 << 30), 1)[0]
            votes = [0] * 10
            votes[label] = 10
            lines.append(Face(usage, name, official.VOTES[label], votes, image))
            faces.append((usage, name, label, image))
    lines += list(extra_rows)
    official.write_fer2013(os.path.join(str(folder), "fer2013.csv"), lines)
    official.write_ferplus(os.path.join(str(folder), "FERPlus"), lines)
    return faces


def write_pngs(folder, faces):
    """FER+'s folders of PNGs in `folder`; `faces` as of `fer`."""
    for usage, name, _, image in faces:
        write_folder(folder, [("%s/%s" % (official.PARTS[usage], name), png(image))])


def icml(csv):
    """fer2013.csv as icml_face_data.csv: other order of columns, spaces in the titles."""
    lines = [line.split(",") for line in csv.splitlines()[1:]]
    return "emotion, Usage, pixels\n" + "".join("%s,%s,%s\n" % (emotion, usage, pixels) for emotion, pixels, usage in lines)


def stored(folder, part):
    """(keys, images uint8 N x 3 x S x S, labels) of an LMDB."""
    import lmdb

    from common.caffe import binary

    with lmdb.open(os.path.join(folder, part + "_lmdb"), readonly=True, lock=False) as env, env.begin() as transaction:
        items = list(transaction.cursor())
    pairs = [binary.read_datum(value) for _, value in items]
    return [key.decode() for key, _ in items], np.stack([image for image, _ in pairs]), [label for _, label in pairs]


def lmdb_bytes(folder, part):
    with open(os.path.join(folder, part + "_lmdb", "data.mdb"), "rb") as f:
        return f.read()
