"""CASIA-WebFace: InsightFace's train.rec (with .idx and property), or folders of identities with JPEGs; packed or not.

It has no test part: `build` holds some images out.
"""

import posixpath

from common import errors
from data_prep import archives, images, records
from data_prep.batch import grouped

AT_ONCE = 200
LARGEST_TEXT = 1 << 28  # bytes of train.idx
ENDINGS = (".jpg", ".jpeg", ".png")
WHOLE = "whole"  # the part that `build` splits


def read(path, about):
    """Yield Bundles of every image, all of part WHOLE. Identities in folders are numbered in the order of their names."""
    small = {}
    identities = set()
    for entry in archives.inner_entries(path, about["passed over"]):
        name = posixpath.basename(entry.name)
        if name in ("train.idx", "property"):
            small[name] = archives.read(entry, LARGEST_TEXT)
        elif name == "train.rec":
            small[name] = True
        elif name.lower().endswith(ENDINGS):
            identities.add(_identity(entry))
    if "train.rec" in small:
        classes = _classes(small.get("property"), path)
        files = _faces(path, _keys(small.get("train.idx"), path), classes)
        about.update({"classes": classes} if classes else {})
    elif identities:
        about["classes"] = len(identities)
        files = _images(path, {identity: label for label, identity in enumerate(sorted(identities))})
    else:
        raise errors.Fail("%s has neither InsightFace's train.rec nor folders of JPEGs" % path)
    yield from grouped(files, AT_ONCE, images.decode_all)


def _faces(path, keys, classes):
    """The images of train.rec: (part, name, label, bytes, where) of each."""
    for entry in archives.inner_entries(path):
        if posixpath.basename(entry.name) == "train.rec":
            with archives.guarded(entry) as stream:
                yield from _records(records.read(stream, entry.where), keys, classes)
            return


def _records(found, keys, classes):
    """Record 0 says where the images end; behind them there are records of identities."""
    end = None
    for number, record in enumerate(found):
        key = keys.get(record.offset) if keys else number
        if number == 0:
            if record.data or key != 0:
                raise errors.Fail("%s: not InsightFace's record of the number of images" % record.where)
            end = record.labels[0]
        elif key is None:
            raise errors.Fail("%s is not where train.idx says: get both again" % record.where)
        elif key < end:
            label = record.labels[0]
            if not label.is_integer() or not 0 <= label < (classes or label + 1):
                raise errors.Fail("%s: identity %s; `property` says 0 to %s" % (record.where, label, classes and classes - 1))
            yield WHOLE, "%08d" % key, int(label), record.data, record.where


def _images(path, labels):
    for entry in archives.inner_entries(path):
        if entry.name.lower().endswith(ENDINGS):
            identity = _identity(entry)
            name = identity + "/" + posixpath.basename(entry.name)
            yield WHOLE, name, labels[identity], archives.for_worker(entry, images.LARGEST_FILE), entry.where


def _identity(entry):
    words = entry.name.split("/")
    if len(words) < 2:
        raise errors.Fail("%s lies in no identity's folder" % entry.where)
    return words[-2]


def _keys(text, path):
    """Offset -> key from train.idx, lines `key<TAB>offset`; {} without one: then record n has key n."""
    keys = {}
    for number, line in enumerate((text or b"").splitlines(), 1):
        words = line.split()
        if len(words) != 2 or not all(word.isdigit() for word in words):
            raise errors.Fail("%s: train.idx, line %d: not a key and an offset" % (path, number))
        keys[int(words[1])] = int(words[0])
    return keys


def _classes(text, path):
    """The number of identities from `property`, "10572,112,112"; None without one."""
    if text is None:
        return None
    words = text.strip().split(b",")
    if len(words) != 3 or not all(word.isdigit() for word in words):
        raise errors.Fail("%s: `property` is not like 10572,112,112" % path)
    return int(words[0])
