"""CINIC-10: train, valid and test of PNGs by class, from CINIC-10.tar.gz, the repository's zip around it, or a folder."""

from common import errors
from data_prep import archives, images
from data_prep.batch import grouped

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PARTS = ("train", "valid", "test")
AT_ONCE = 500


def read(path, about, with_valid=False):
    """Yield Bundles of CINIC-10's images. `with_valid`: the validation part trains too; else it is left out."""
    about["class_names"] = list(CLASSES)
    parts = {"train": "train", "test": "test", "valid": "train" if with_valid else None}
    yield from grouped(_files(path, parts, about["passed over"]), AT_ONCE, images.decode_all)


def _files(path, parts, passed):
    for entry in archives.inner_entries(path, passed):
        words = entry.name.split("/")
        if not entry.name.endswith(".png") or len(words) < 3 or words[-3] not in PARTS:
            continue
        if words[-2] not in CLASSES:
            raise errors.Fail("%s: %r is none of CINIC-10's classes" % (entry.where, words[-2]))
        if parts[words[-3]]:
            name = "/".join(words[-3:])
            yield (parts[words[-3]], name, CLASSES.index(words[-2]), archives.for_worker(entry, images.LARGEST_FILE), entry.where)
