"""ImageNet32: batches of 32x32 images as .npz or pickles, in the official zips or unpacked; labels 1 to 1000.

A batch is read row by row from its file; nothing holds the set, or even a batch, in memory.
"""

import mmap
import posixpath
import re
import struct
import zipfile

import numpy as np

from common import errors
from data_prep import archives, official, pickles
from data_prep.batch import Bundle
from data_prep.sets import cifar

BATCH = {"train": re.compile(r"train_data_batch_\d+(\.npz)?"), "test": re.compile(r"val_data(\.npz)?")}
BATCHES = {"train": "train_data_batch_1 to _10 (the training part)", "test": "val_data (the validation part)"}
LARGEST_LABELS = 1 << 26
LONGEST_HEADER = 1 << 12
AT_ONCE = 500


def read(paths, about, folder):
    """Yield Bundles. `paths`: part -> file or folder; `folder`: where a packed batch may be unpacked to, unnamed.

    about["unpublished"] lists the pickles that are not, byte for byte, the published ones.
    """
    for part, path in paths.items():
        seen = set()
        for entry in archives.entries(path, about["passed over"]):
            name = posixpath.basename(entry.name)
            if not BATCH[part].fullmatch(name):
                continue
            stem = name[:-4] if name.endswith(".npz") else name
            if stem in seen:
                raise errors.Fail("%s: %s comes twice" % (path, stem))
            seen.add(stem)
            file = archives.seekable(entry, folder)
            if stem == name:
                if official.digests_of(file, {"md5"})["md5"] != official.IMAGENET32_BATCHES.get(stem):
                    about.setdefault("unpublished", []).append(stem)
                file.seek(0)
            blocks = _npz(file, entry.where) if stem != name else _pickle(file, entry.where)
            number = 0
            for rows, labels in blocks:
                names = ["%s_%06d" % (stem, number + i) for i in range(len(rows))]
                number += len(rows)
                yield Bundle(part, names, [label - 1 for label in labels], (cifar.to_images, rows))
        if not seen:
            raise errors.Fail("%s has no %s: get that part of ImageNet32 too, and name the folder of both" % (path, BATCHES[part]))


def _pickle(file, where):
    with archives.damage(where):
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    batch = pickles.load(mapped, where)
    rows, labels = (batch.get("data"), batch.get("labels")) if isinstance(batch, dict) else (None, None)
    cifar.check_rows(rows, labels, where)
    for start in range(0, len(rows), AT_ONCE):
        yield rows[start : start + AT_ONCE], [int(label) for label in labels[start : start + AT_ONCE]]


def _npz(file, where):
    with archives.damage(where), zipfile.ZipFile(file) as packed:
        labels = _labels(packed, where)
        with packed.open("data.npy") as stream:
            kind, shape = _npy_header(stream, where)
            if kind != np.uint8 or len(shape) != 2 or shape[1] != cifar.PIXELS or shape[0] != len(labels):
                raise errors.Fail("%s: data.npy is %s %s for %d labels" % (where, kind, shape, len(labels)))
            for start in range(0, len(labels), AT_ONCE):
                some = labels[start : start + AT_ONCE]
                data = stream.read(len(some) * cifar.PIXELS)
                if len(data) != len(some) * cifar.PIXELS:
                    raise EOFError("data.npy ends too early")
                yield np.frombuffer(data, np.uint8).reshape(-1, cifar.PIXELS), some


def _labels(packed, where):
    info = packed.getinfo("labels.npy")
    if info.file_size > LARGEST_LABELS:
        raise errors.Fail("%s: labels.npy claims %d bytes" % (where, info.file_size))
    with packed.open(info) as stream:
        kind, shape = _npy_header(stream, where)
        if kind.kind not in "iu" or len(shape) != 1:
            raise errors.Fail("%s: labels.npy is %s %s, not a row of whole numbers" % (where, kind, shape))
        return np.frombuffer(stream.read(shape[0] * kind.itemsize), kind, count=shape[0]).tolist()


def _npy_header(stream, where):
    """(dtype, shape) of an .npy file whose data then follows row by row; only plain numbers in C order."""
    magic = stream.read(8)
    size = struct.unpack("<H", stream.read(2))[0] if magic[6:7] == b"\x01" else struct.unpack("<I", stream.read(4))[0]
    found = re.fullmatch(
        r"\{'descr': '([<>|=]?[iuf]\d)', 'fortran_order': False, 'shape': \((\d+)L?,(?: (\d+)L?)?\), \}\s*",
        stream.read(min(size, LONGEST_HEADER)).decode("latin-1"),
    )
    if magic[:6] != b"\x93NUMPY" or not found:
        raise errors.Fail("%s: an array that is not of plain numbers, row by row" % where)
    return np.dtype(found.group(1)), tuple(int(number) for number in found.groups()[1:] if number)
