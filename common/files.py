"""Files that are whole or not there: written beside their place and renamed into it."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[str]:
    """Yield a temporary path of the same name (str); what was made there takes the place of `path` on success, and is removed on failure.

    What is written at the temporary path may be a file or a folder; whatever stood at `path` is replaced only then. Where `path` is a link,
    what it leads to is replaced, and the link stays. A killed process leaves at most a folder `path + ".partial-..."`, which the next writer
    of the same path removes: who lives holds a lock in his own, whatever process id he has, in whatever container.
    """
    path = os.fspath(path)
    if os.path.islink(path):
        path = os.path.realpath(path)  # a disk that is not there now: no folder is made in its place
    else:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with scratch(path) as folder:
        temporary, old = os.path.join(folder, os.path.basename(path)), os.path.join(folder, "old")
        with _naming(path):
            yield temporary
            _sync(temporary)
        if os.path.isdir(path):
            os.rename(path, old)  # not emptied in its place: a kill must not leave half of it
        os.replace(temporary, path)


@contextlib.contextmanager
def scratch(path: str, age: float = 0.0) -> Iterator[str]:
    """Yield a new folder beside `path`, named `path + ".partial-..."`, which is removed in the end.

    It is locked meanwhile, so that what killed processes left of the same name can be told from it: that is removed first, but what was
    changed in the last `age` seconds.
    """
    _remove_abandoned(path, age)
    folder, lock = _own_folder(path)
    try:
        yield folder
    finally:
        _remove(folder)
        lock.close()


def sha256(path: str) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def npz(**arrays) -> memoryview:
    """The bytes of a compressed .npz. NumPy's own writing to a file leaves a ZipFile with a traceback where the disk refuses it."""
    import numpy as np  # those who only replace files need none

    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    return packed.getbuffer()


@contextlib.contextmanager
def _naming(path):
    """Give an OSError the path: that of a full disk has none."""
    try:
        yield
    except OSError as problem:
        if problem.errno and problem.filename is None:
            problem.filename = path
        raise


MARK = ".partial-"


def _own_folder(path):
    """(a new folder beside `path`, the open file in it whose lock says that its writer lives)."""
    while True:
        folder = tempfile.mkdtemp(prefix=os.path.basename(path) + MARK, dir=os.path.dirname(path) or ".")
        with contextlib.suppress(FileNotFoundError):  # another writer took it for abandoned before it was locked: once more
            with _naming(path):
                lock = _opened_or_removed(folder)
            with contextlib.suppress(OSError):  # a file system without locks: then nobody removes it but we
                fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.exists(lock.name):
                return folder, lock
            lock.close()


def _opened_or_removed(folder):
    try:
        return open(os.path.join(folder, "lock"), "w")
    except OSError:
        _remove(folder)
        raise


def _remove_abandoned(path, age):
    for entry in glob.glob(glob.escape(path + MARK) + "*"):
        try:
            if age and time.time() - os.stat(entry).st_mtime < age:
                continue
            with open(os.path.join(entry, "lock"), "a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(entry)
        except (FileNotFoundError, NotADirectoryError):
            _remove(entry)  # of a writer that was killed before he had his lock, or of 2026 and before
        except OSError:
            pass  # he lives, or nobody can tell


def _remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.remove(path)


def _sync(path):
    """Push the bytes to the disk before the rename, so that a power cut cannot leave an empty file under a good name."""
    targets = [path]
    if os.path.isdir(path):
        targets += [os.path.join(path, name) for name in os.listdir(path)]
    for target in targets:
        handle = os.open(target, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
