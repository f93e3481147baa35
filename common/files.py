"""Files that are whole or not there: written beside their place and renamed into it."""
import contextlib
import hashlib
import os
import platform
import shutil


@contextlib.contextmanager
def replacing(path):
    """Yield a temporary path beside `path` (str); rename it to `path` on success, remove it on failure.

    What is written at the temporary path may be a file or a folder; whatever stood at `path` is replaced only then.
    A killed process leaves at most `path + ".partial-HOST-PID"`, which the next writer of the same path on that host
    removes (another host of a shared folder cannot know whether that process lives).
    """
    path = os.fspath(path)
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, exist_ok=True)
    _remove_abandoned(path)
    temporary, old = ("%s%s%d" % (path, mark, os.getpid()) for mark in _marks())
    try:
        with _naming(path):
            yield temporary
            _sync(temporary)
        if os.path.isdir(path):
            os.rename(path, old)  # not emptied in its place: a kill must not leave half of it
        os.replace(temporary, path)
    finally:
        _remove(temporary)
        _remove(old)


def sha256(path):
    """The SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def _naming(path):
    """Give an OSError the path: that of a full disk has none."""
    try:
        yield
    except OSError as problem:
        if problem.errno and problem.filename is None:
            problem.filename = path
        raise


def _marks():
    """What stands between a path and the process id: of what is written, and of what it replaces."""
    return [".partial-%s%s-" % (what, platform.node()) for what in ("", "old-")]


def _remove_abandoned(path):
    folder, name = os.path.split(path)
    for entry in os.listdir(folder or "."):
        for mark in _marks():
            pid = entry[len(name + mark):]
            if entry.startswith(name + mark) and pid.isdigit() and int(pid) != os.getpid() and not _alive(int(pid)):
                _remove(os.path.join(folder, entry))


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


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
