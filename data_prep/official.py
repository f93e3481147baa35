"""The official files: names, sizes, checksums, addresses, and what to say where a file cannot be fetched freely."""

import hashlib
import os
from collections import namedtuple

# One file (or unpacked folder) that a set can be read from. name: in the downloads folder; size: bytes; digest:
# "md5:..." or "sha256:..."; urls: where it can be had without a login. None, None, () where there is none to hold it to.
File = namedtuple("File", "name size digest urls")

KRIZ = "https://www.cs.toronto.edu/~kriz/"
FERPLUS = "https://raw.githubusercontent.com/microsoft/FERPlus/master/"


def _file(name, size=None, digest=None, *urls):
    return File(name, size, digest, urls)


# Set -> what it can be read from, the first that is there; where none is, the first with an address is fetched.
FILES = {
    "cifar10": (
        _file("cifar-10-python.tar.gz", 170498071, "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce", KRIZ + "cifar-10-python.tar.gz"),
        _file("cifar-10-binary.tar.gz", 170052171, "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", KRIZ + "cifar-10-binary.tar.gz"),
        _file("cifar-10-batches-py"),
        _file("cifar-10-batches-bin"),
    ),
    "cifar100": (
        _file("cifar-100-python.tar.gz", 169001437, "md5:eb9058c3a382ffc7106e4002c42a8d85", KRIZ + "cifar-100-python.tar.gz"),
        _file(
            "cifar-100-binary.tar.gz", 168513733, "sha256:58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec", KRIZ + "cifar-100-binary.tar.gz"
        ),
        _file("cifar-100-python"),
        _file("cifar-100-binary"),
    ),
    "cinic10": (
        _file(
            "CINIC-10.tar.gz",
            687544992,
            "md5:6ee4d0c996905fe93221de577967a372",
            "https://datashare.ed.ac.uk/server/api/core/bitstreams/e8e186cc-2688-48f1-aa5a-3fda1a43f8b6/content",
            "https://datashare.is.ed.ac.uk/bitstream/handle/10283/3192/CINIC-10.tar.gz",
        ),
        _file("DS_10283_3192.zip"),
        _file("CINIC-10"),
    ),
    "webface": (_file("faces_webface_112x112.zip"), _file("faces_webface_112x112"), _file("CASIA-WebFace.zip"), _file("CASIA-WebFace")),
}
# ImageNet32 comes in two files, in one of two forms.
IMAGENET32 = (
    (
        _file("Imagenet32_train_npz.zip", 3580435279, "sha256:94226337ecc1b0309d9fcd0167127aaadc931587035fbcb53925235edbaec4fc"),
        _file("Imagenet32_val_npz.zip", 139697668, "sha256:013990e6dec1237dcd1f9beadbab81ead6604cc119af5cacbfb59ae28148377a"),
    ),
    (_file("Imagenet32_train.zip"), _file("Imagenet32_val.zip")),
    (_file("Imagenet32_train_npz"), _file("Imagenet32_val_npz")),
    (_file("Imagenet32_train"), _file("Imagenet32_val")),
)

# The zips of pickles have no published checksum, the batches in them have: MD5.
IMAGENET32_BATCHES = {
    "train_data_batch_1": "6c4495e65cd24a8c3019857ef9b758ee",
    "train_data_batch_2": "3dd727de4155836807dfc19f98c9fe70",
    "train_data_batch_3": "03d3dc4e850e23e1d526f268a0196296",
    "train_data_batch_4": "876f7e6d6ddb1f52ecb654ffdc8293f6",
    "train_data_batch_5": "c789bcdd1feed34a9bc58598a1a1bf7d",
    "train_data_batch_6": "8ce5344cb1e11f31bc507cae4c856083",
    "train_data_batch_7": "32ecc8ad6c55b1c9cb6cf79a2cc46094",
    "train_data_batch_8": "bdeb6da3d05771121992b48c59c69439",
    "train_data_batch_9": "58417149b5ce31688f805341e7f57b4f",
    "train_data_batch_10": "46ad60a1144aaf97a143914453b0dabb",
    "val_data": "06c02b8b4c8de8b3a36b07859a49de6f",
}

# FER+: the pixels from one of these (or folders of PNGs), the votes and names from FER+'s own files.
FER2013 = (
    _file("fer2013.csv", 301072766, "md5:f8428a1edbd21e88f42c73edd2a14f95"),
    _file("icml_face_data.csv", None, "md5:b114b9e04e6949e5fe8b6a98b3892b1d"),
    _file("fer2013.tar.gz"),
    _file("challenges-in-representation-learning-facial-expression-recognition-challenge.zip"),
    *map(_file, ("fer2013.tar", "fer2013.zip", "fer2013.csv.zip", "icml_face_data.csv.zip", "fer2013")),
)
NAMES = _file("fer2013new.csv", 1602762, "sha256:9206e20d62f56475939f516847d61753e4860caeac9718b560129541b776fc2c", FERPLUS + "fer2013new.csv")
VOTES = (
    _file(
        "FER2013Train/label.csv", 1491168, "sha256:a82c40c825505cd30e139195c246bc38f8ac39de0e8968cbf15e1dab7837658c", FERPLUS + "data/FER2013Train/label.csv"
    ),
    _file("FER2013Valid/label.csv", 187137, "sha256:aad6298bed23cad816550362c2c00ae49b99513c7cae7d49651f347afd9ab860", FERPLUS + "data/FER2013Valid/label.csv"),
    _file("FER2013Test/label.csv", 186598, "sha256:425142295cc23872651271be9f45a99dac11af426f948d1b60967c8845b7bdf2", FERPLUS + "data/FER2013Test/label.csv"),
)

# Sets that need a login or a form: how to get them.
BY_HAND = {
    "imagenet32": "downsampled ImageNet needs an account: log in at https://image-net.org/download-images, accept the terms and\n"
    'get, under "Download downsampled image data", 32x32, the npz files',
    "webface": "CASIA-WebFace is given for research only. Get InsightFace's packing of it, faces_webface_112x112.zip (490,623\n"
    "images, 112x112), from the dataset list of https://github.com/deepinsight/insightface (no checksum is published)",
    "fer2013": "FER2013 needs an account: log in at https://www.kaggle.com/c/challenges-in-representation-learning-facial-"
    "expression-recognition-challenge/data,\naccept the rules and get fer2013.tar.gz (or icml_face_data.csv)",
}


def difference(file, path):
    """(what is wrong with the file at `path` as a copy of `file`, or None; its SHA-256 in hex)."""
    kind, _, expected = (file.digest or "sha256:").partition(":")
    size = os.path.getsize(path)
    digests = _digests(path, {"sha256", kind})
    if file.size is not None and size != file.size:
        return "%s bytes, not %s" % (format(size, ","), format(file.size, ",")), digests["sha256"]
    if expected and digests[kind] != expected:
        return "%s %s, not %s" % (kind, digests[kind], expected), digests["sha256"]
    return None, digests["sha256"]


def _digests(path, kinds):
    """Digest kind ("md5", "sha256") -> hex, in one reading of the file."""
    with open(path, "rb") as f:
        return digests_of(f, kinds)


def digests_of(f, kinds):
    """As `_digests`, of an open binary file."""
    digests = {kind: hashlib.new(kind) for kind in kinds}
    for block in iter(lambda: f.read(1 << 20), b""):
        for each in digests.values():
            each.update(block)
    return {kind: each.hexdigest() for kind, each in digests.items()}
