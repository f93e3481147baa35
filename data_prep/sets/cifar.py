"""CIFAR-10 and CIFAR-100 from their python (pickled) and binary archives, packed or unpacked; CIFAR-100's fine labels.

Both forms hold the same images in batches of the same order within; the batches are taken by their number, in whatever order an
archive has them (the official tar of CIFAR-10 begins with data_batch_4), so that all forms give the same LMDBs.
"""

import posixpath

import cv2
import numpy as np

from common import errors
from data_prep import archives, pickles
from data_prep.batch import Bundle

SIDE = 32
PIXELS = 3 * SIDE * SIDE
LARGEST_BATCH = 1 << 28  # bytes; the official ones have 31 MB, CIFAR-100's training part 160 MB
AT_ONCE = 1000

# Set -> the files' names in either form, in order: their part, and in the pickles the labels' key.
TRAIN_BATCHES = ["data_batch_%d" % i for i in range(1, 6)]
FILES = {
    "cifar10": ([(name, "train") for name in TRAIN_BATCHES] + [("test_batch", "test")], "labels"),
    "cifar100": ([("train", "train"), ("test", "test")], "fine_labels"),
}
# Set -> the file of class names in the python form, the key in it, and the file in the binary form (a name a line).
META = {"cifar10": ("batches.meta", "label_names", "batches.meta.txt"), "cifar100": ("meta", "fine_label_names", "fine_label_names.txt")}
LARGEST_META = 1 << 16
LABEL_BYTES = {"cifar10": 1, "cifar100": 2}  # in front of each image of the binary form; the last one counts


def read(path, about, dataset, quality=0):
    """Yield Bundles of 32x32 images of `dataset` ("cifar10" or "cifar100") from an archive or folder, in the order of FILES.

    `quality`: 1 to 100 puts each through JPEG, its colours halved (4:2:0); 0 leaves it as it is.
    """
    meta, meta_key, meta_text = META[dataset]
    files, labels_key = FILES[dataset]
    parts = dict(files)
    unpacked = {}
    for entry in archives.entries(path, about["passed over"]):
        name = posixpath.basename(entry.name)
        if name in (meta, meta_text):
            about["class_names"] = _class_names(archives.read(entry, LARGEST_META), name == meta_text, meta_key, entry.where)
        stem = name[:-4] if name.endswith(".bin") else name
        if stem not in parts:
            continue
        if stem in unpacked:
            raise errors.Fail("%s: %s comes twice" % (path, stem))
        data = archives.read(entry, LARGEST_BATCH)
        unpacked[stem] = _binary(data, LABEL_BYTES[dataset], entry.where) if stem != name else _pickled(data, labels_key, entry.where)
    if len(unpacked) < len(parts):
        raise errors.Fail("%s has no %s: it is no complete %s archive" % (path, ", ".join(sorted(set(parts) - set(unpacked))), dataset))
    for stem, part in files:
        yield from _batches(part, stem, quality, *unpacked.pop(stem))


def to_images(rows, quality=0):
    """Rows of 3072 bytes (a red, a green and a blue plane) as uint8 N x 32 x 32 x 3 BGR, through JPEG if `quality`."""
    stored = np.ascontiguousarray(rows.reshape(-1, 3, SIDE, SIDE)[:, ::-1].transpose(0, 2, 3, 1))
    if quality:
        for image in stored:  # OpenCV's JPEG is 4:2:0
            image[:] = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return stored


def check_rows(rows, labels, where):
    """Fail unless `rows` is uint8 N x 3072 with N labels that are whole numbers."""
    if getattr(rows, "dtype", None) != np.uint8 or rows.ndim != 2 or rows.shape[1] != PIXELS:
        raise errors.Fail("%s: no uint8 array of rows of %d bytes under `data`" % (where, PIXELS))
    if not hasattr(labels, "__len__") or len(labels) != len(rows):
        raise errors.Fail("%s: the number of labels is not that of the images, %d" % (where, len(rows)))
    if any(not isinstance(label, (int, np.integer)) for label in labels):
        raise errors.Fail("%s: a label is no whole number" % where)


def _class_names(data, is_text, key, where):
    if is_text:
        return [archives.shown(name) for name in _text(data).split()]
    batch = pickles.load(data, where)
    names = batch.get(key) if isinstance(batch, dict) else None
    if not isinstance(names, list):
        raise errors.Fail("%s: no list of class names under `%s`" % (where, key))
    return [archives.shown(_text(name)) for name in names]


def _pickled(data, labels_key, where):
    batch = pickles.load(data, where)
    if not isinstance(batch, dict):
        raise errors.Fail("%s: a pickle of something that is no batch" % where)
    rows, labels, names = batch.get("data"), batch.get(labels_key), batch.get("filenames")
    if labels is None:
        raise errors.Fail("%s: a batch without `%s`" % (where, labels_key))
    check_rows(rows, labels, where)
    if not isinstance(names, list) or len(names) != len(rows):
        names = None
    return rows, labels, names and [_text(name) for name in names]


def _binary(data, label_bytes, where):
    record = label_bytes + PIXELS
    if not data or len(data) % record:
        raise errors.Fail("%s: %s bytes are not records of %d bytes each" % (where, format(len(data), ","), record))
    records = np.frombuffer(data, np.uint8).reshape(-1, record)
    return records[:, label_bytes:], records[:, label_bytes - 1].tolist(), None


def _batches(part, stem, quality, rows, labels, names):
    """Without file names (the binary form) an image is called by its batch and place there."""
    names = names or ["%s_%05d" % (stem, i) for i in range(len(rows))]
    for start in range(0, len(rows), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        yield Bundle(part, names[some], [int(label) for label in labels[some]], (to_images, rows[some], quality))


def _text(name):
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
