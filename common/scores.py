"""Scores: what a network said of every image of a part, kept so that tables and ensembles need no network again.

One .npz (read without pickle) with these arrays, N images and K classes:
    keys           str N          LMDB keys, in order
    names          str N          image names ("" where the data set has none)
    labels         int64 N
    probabilities  float32 N x K  the softmax averaged over the ten crops
    one_crop       float32 N x K  of the centre crop alone
    classes        str K          in the order of the columns
    split          str            the part: test, valid
"""

from __future__ import annotations

import os
import struct
import tokenize
import zipfile
import zlib
from collections import namedtuple
from collections.abc import Sequence

import numpy as np

from common import errors, files

Scores = namedtuple("Scores", "keys names labels probabilities one_crop classes split")
# What NumPy and zipfile raise on damaged bytes.
DAMAGE = (
    ValueError,
    TypeError,
    SyntaxError,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    struct.error,
    tokenize.TokenError,
    zlib.error,
    zipfile.BadZipFile,
)
AGAIN = "make it again with `make eval AGAIN=1`"


def write(path: str, scores: Scores) -> None:
    """Write Scores to `path` (.npz), whole or not at all."""
    with files.replacing(path) as temporary, open(temporary, "wb") as f:
        f.write(files.npz(**{name: np.asarray(value) for name, value in scores._asdict().items()}))


def read(path: str, split: str | None = None) -> Scores:
    """The Scores in `path`. Fail where it is missing, damaged, inconsistent, or of another split than `split`."""
    if not os.path.exists(path):
        raise errors.Fail("there is no %s: make it with `make eval`" % path)
    try:
        with zipfile.ZipFile(path) as stored:  # np.load leaves a traceback behind on damaged files
            found = Scores(*(_array(stored, name) for name in Scores._fields))
    except KeyError as missing:
        raise errors.Fail("%s lacks an array (%s): %s" % (path, str(missing).strip("'\""), AGAIN)) from None
    except DAMAGE:
        raise errors.Fail("%s is damaged or no scores file: %s" % (path, AGAIN)) from None
    found = found._replace(split=str(found.split))
    _check(path, found)
    if split is not None and found.split != split:
        raise errors.Fail("%s holds scores of the split %s, not %s: make it again with `make eval AGAIN=1 SPLIT=%s`" % (path, found.split, split, split))
    return found


def _array(stored, name):
    with stored.open(name + ".npy") as f:
        return np.lib.format.read_array(f, allow_pickle=False)


def _check(path, s):
    """Fail unless the arrays of Scores `s` fit each other and hold probabilities."""
    if s.labels.ndim != 1 or s.classes.ndim != 1 or s.labels.dtype.kind != "i":
        raise errors.Fail("%s is no scores file: %s" % (path, AGAIN))
    n, k = len(s.labels), len(s.classes)
    shapes = {"keys": (n,), "names": (n,), "probabilities": (n, k), "one_crop": (n, k)}
    wrong = [name for name, shape in shapes.items() if getattr(s, name).shape != shape]
    if not n or wrong:
        raise errors.Fail("%s: %s: %s" % (path, "the shape of %s is wrong" % wrong[0] if wrong else "no images", AGAIN))
    if len(set(s.keys)) != n:
        raise errors.Fail("%s: an image stands in it twice: %s" % (path, AGAIN))
    if s.labels.min() < 0 or s.labels.max() >= k:
        raise errors.Fail("%s: a label lies outside its %d classes: %s" % (path, k, AGAIN))
    for name in ("probabilities", "one_crop"):
        values = getattr(s, name)
        if not np.isfinite(values).all() or values.min() < 0 or abs(values.sum(axis=1) - 1).max() > 1e-3:
            raise errors.Fail("%s: the rows of %s are no probabilities: %s" % (path, name, AGAIN))


def check_same_images(paths: Sequence[str], members: Sequence[Scores]) -> None:
    """Fail unless the list of Scores `members`, read from `paths`, is of the same images, labels and classes in one order."""
    first = members[0]
    for path, other in zip(paths[1:], members[1:]):
        for name in ("split", "classes", "keys", "names", "labels"):
            if not np.array_equal(getattr(first, name), getattr(other, name)):
                raise errors.Fail(
                    "%s and %s were not tested on the same images (their %s differ; n = %d and %d): test both "
                    "again with `make eval AGAIN=1`" % (paths[0], path, name, len(first.labels), len(other.labels))
                )
