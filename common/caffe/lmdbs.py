"""The one reader of LMDBs of Datums. What LMDB or a reader of a mapped file would die of is looked at first, and said in one line."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator

import lmdb
import numpy as np

from common import errors
from common.caffe import binary

PAGE_SIZES = [1 << n for n in range(9, 17)]
PAGE_SIZE_AT = 40  # bytes into a meta page: the head of the page, magic number, version, address, size of the map


class Damaged(errors.Fail):
    """An LMDB that is there and cannot be read: nothing to go on without."""


def opened(path: str, readahead: bool = True) -> lmdb.Environment:
    """The LMDB at `path`, for reading; `readahead`: whether the system reads ahead of a cursor. Fail where none is there, or less of it than it says (reading that would be fatal)."""
    if not os.path.isfile(os.path.join(path, "data.mdb")):
        raise errors.Fail("%s is not there: %s" % (path, remedy(path)))
    _check_head(path)
    try:
        environment = lmdb.open(path, readonly=True, lock=False, readahead=readahead)
    except lmdb.Error as mistake:
        raise _damaged(path, mistake) from None
    whole = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if os.path.getsize(os.path.join(path, "data.mdb")) < whole:
        environment.close()
        raise Damaged("%s is cut short: %s" % (path, remedy(path)))
    return environment


@contextlib.contextmanager
def reading(path: str) -> Iterator[lmdb.Transaction]:
    """A transaction that reads the LMDB at `path`; Damaged where a page further on is, too."""
    with opened(path) as environment, environment.begin() as transaction:
        try:
            yield transaction
        except lmdb.Error as mistake:
            raise _damaged(path, mistake) from None


def _damaged(path: str, mistake: lmdb.Error) -> Damaged:
    return Damaged("%s is damaged (%s): %s" % (path, str(mistake).replace(path + ": ", ""), remedy(path)))


def _check_head(path: str) -> None:
    """Fail where one of the two pages at the head names a size of pages that none has: LMDB divides by it, and believes its own file."""
    at = 0
    with open(os.path.join(path, "data.mdb"), "rb") as f:
        for _ in range(2):
            f.seek(at + PAGE_SIZE_AT)
            at = int.from_bytes(f.read(4), sys.byteorder)
            if at not in PAGE_SIZES:
                raise Damaged("%s is damaged (pages of %d bytes): %s" % (path, at, remedy(path)))


def count(path: str) -> int:
    """How many images an LMDB holds."""
    with opened(path) as environment:
        return environment.stat()["entries"]


def first(path: str) -> tuple[int, tuple]:
    """(images, C x H x W of the first) of the LMDB at `path`. Fail where it is empty."""
    images = count(path)
    with reading(path) as transaction:
        value = next(iter(transaction.cursor()), (None, None))[1]
    if not images:
        raise errors.Fail("%s is empty: %s" % (path, remedy(path)))
    return images, binary.read_datum(value)[0].shape


def read_images(folder: str, keys: Iterable[str]) -> np.ndarray:
    """The images of some keys (str) of an LMDB: uint8 N x C x H x W."""
    with reading(folder) as transaction:
        found = [transaction.get(str(key).encode()) for key in keys]
    if None in found:
        raise errors.Fail("%s has no image %s: the scores are of another LMDB; make them again with `make eval AGAIN=1`" % (folder, keys[found.index(None)]))
    return np.stack([binary.read_datum(value)[0] for value in found])


def remedy(path: str) -> str:
    """The make target that builds what is missing, from where it lies (data/SET/PART)."""
    dataset = os.path.basename(os.path.dirname(path))
    if "_lmdb_trial" in path:
        return "run `make order TRIAL=%s`" % path.rsplit("_trial", 1)[1]
    return "run `make data SRC=%s`" % dataset
