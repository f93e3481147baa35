"""Archives and folders as streams of their files: one walk for .tar, .tar.gz, .zip and folders, nothing unpacked to disk.

A member is only ever read, never written out under its name. Names that point outside, links and devices are refused
all the same: no official archive has them. In folders links are followed, to class folders on other disks. What systems put beside
people's files is passed over, here and in every reader.
"""

import bz2
import contextlib
import errno
import gzip
import lzma
import os
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections import namedtuple

from common import errors

# One file: its name with "/" inside its archive or folder, and where it is, for messages; of a member, its size in bytes and
# an open binary stream (valid until the next entry is asked for); of a file in a folder, its path instead.
Entry = namedtuple("Entry", "name where size stream path")

LARGEST = 1 << 34  # bytes of one member; the largest official one has 400 MB
LONGEST_NAME = 1 << 12
LONGEST_SHOWN = 200
IN_MEMORY = 1 << 26  # bytes of a member that is read at once, unless a reader says otherwise
PIECE = 1 << 14  # bytes of an image's file that are read at once: nearly all are smaller
TAR_BLOCK = 512
MAGIC = {".zip": b"PK\x03\x04", ".tar.gz": b"\x1f\x8b", ".tar.bz2": b"BZh", ".tar.xz": b"\xfd7zXZ\0"}
SYSTEMS = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
TRAILER = 1 << 20  # bytes of zeros at the end of a tar; a record of them has 10,240
DAMAGED = (
    EOFError,
    OSError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    LookupError,
    struct.error,
)


def is_archive(name):
    """Whether a file's name is that of an archive that `entries` opens."""
    return name.lower().endswith((".tar.gz", ".tgz", ".tar", ".zip", ".tar.bz2", ".tar.xz"))


def packing(path):
    """The ending of the archive that the file at `path` is by its first bytes, whatever its name; None of another file."""
    with open(path, "rb") as f:
        head = f.read(TAR_BLOCK)
    if head[257:262] == b"ustar":
        return ".tar"
    return next((ending for ending, magic in MAGIC.items() if head.startswith(magic)), None)


def is_passed_over(name):
    """Whether a path, inside its archive or folder, is one that systems put there: hidden, macOS's companions, Windows' thumbnails."""
    return any(word in SYSTEMS or word.startswith(".") and word not in (".", "..") for word in name.lower().split("/"))


def passed_over_line(passed):
    """The one line that says what was passed over, a set of paths."""
    return "passed over %s that the system put there (hidden, __MACOSX, Thumbs.db), %s first" % (
        "1 file or folder" if len(passed) == 1 else "%s files and folders" % format(len(passed), ","),
        shown(min(passed)),
    )


def entries(path, passed=None):
    """Yield an Entry for each file of the archive or folder at `path`, or the one Entry of an ordinary file.

    Folders are walked in the order of names, archives in their own order. An archive is one by its first bytes, or by its name.
    `passed`: a set that gets the paths of what is passed over. Fail on a damaged archive, naming it.
    """
    if os.path.isdir(path):
        found = _folder(path)
    elif not os.path.exists(path):
        raise errors.Fail("%s is not there" % path)
    elif packing(path) or is_archive(path):
        found = _packed(path)
    else:
        found = [Entry(os.path.basename(path), path, None, None, path)]
    passed = set() if passed is None else passed
    for entry in found:
        if is_passed_over(entry.name):
            passed.add(entry.where)
        else:
            yield entry


def inner_entries(path, passed=None):
    """As `entries`, with the members of an archive in the archive in its place (repositories pack archives again)."""
    passed = set() if passed is None else passed
    for entry in entries(path, passed):
        if is_archive(entry.name):
            with _stream(entry) as stream:
                for member in _members(stream, entry.name, entry.where):
                    if is_passed_over(member.name):
                        passed.add(member.where)
                    else:
                        yield member
        else:
            yield entry


def _packed(path):
    kind = packing(path) or path
    with open(path, "rb") as f:
        if kind == ".tar.gz" and path.lower().endswith(".gz") and not is_archive(path):
            raise errors.Fail("%s is one packed file, no archive: unpack it first (gunzip)" % path)
        yield from _members(f, kind, path)


def shown(name):
    """A name from an archive as it may be shown and stored: of bounded length, and it cannot write lines of its own."""
    name = name[:LONGEST_SHOWN]
    return name if name.isprintable() else "".join(c if c.isprintable() else "?" for c in name)


def size_of(entry):
    """The entry's size in bytes."""
    return os.path.getsize(entry.path) if entry.path else entry.size


def read(entry, most=IN_MEMORY):
    """All bytes of an entry; Fail where it is larger than `most` or shorter than it says."""
    size = size_of(entry)
    if size > most:
        raise errors.Fail("%s: %s bytes where at most %s can be" % (entry.where, format(size, ","), format(most, ",")))
    with _stream(entry) as stream, damage(entry.where):
        data = stream.read(size)
    if len(data) != size:
        raise errors.Fail("%s is cut short; get the file again" % entry.where)
    return data


def for_worker(entry, most):
    """What to hand to a worker, which calls `in_worker` with it: a member's bytes, or the path of a file in a folder."""
    return entry.path or read(entry, most)


def in_worker(data, most):
    """The bytes of what `for_worker` gave. Fail where a file has more than `most`."""
    if isinstance(data, bytes):
        return data
    handle = os.open(data, os.O_RDONLY)
    try:
        pieces = [os.read(handle, PIECE)]
        while len(pieces[-1]) == PIECE:
            pieces.append(os.read(handle, PIECE))
            if len(pieces) * PIECE > most:
                raise errors.Fail("%s: more than %s bytes, too large for an image" % (data, format(most, ",")))
        return b"".join(pieces)
    finally:
        os.close(handle)


def blocks(entry, size):
    """Yield an entry's bytes, `size` at a time. Fail where it ends too early."""
    left = size_of(entry)
    with _stream(entry) as stream:
        while left:
            with damage(entry.where):
                data = stream.read(min(size, left))
            if not data:
                raise errors.Fail("%s is cut short; get the file again" % entry.where)
            left -= len(data)
            yield data


@contextlib.contextmanager
def guarded(entry):
    """Context: a stream of the entry whose damage is told in one line."""
    with _stream(entry) as stream:
        yield _Guarded(stream, entry.where)


def seekable(entry, folder=None):
    """The entry as a binary file that can seek: itself in a folder, else a copy in an unnamed file in `folder`."""
    if entry.path:
        return open(entry.path, "rb")
    copy = tempfile.TemporaryFile(dir=folder)
    for block in blocks(entry, 1 << 20):
        copy.write(block)
    copy.seek(0)
    return copy


def _stream(entry):
    """Context: the entry as a stream. A member's stays open: its archive closes it."""
    return open(entry.path, "rb") if entry.path else contextlib.nullcontext(entry.stream)


class damage:
    """Context: what the decompressors raise on damaged input becomes one line that names the file."""

    def __init__(self, where):
        self.where = where

    def __enter__(self):
        return self

    def __exit__(self, kind, problem, _):
        if kind and issubclass(kind, DAMAGED) and getattr(problem, "errno", None) in (None, errno.EINVAL):
            raise errors.Fail("%s is damaged (%s); get the file again" % (self.where, problem or kind.__name__)) from None


def _folder(path, inside="", above=()):
    above += (os.path.realpath(path),)
    with os.scandir(path) as found:
        found = sorted(found, key=lambda each: each.name)
    for each in found:
        entry = Entry(inside + each.name, each.path, None, None, each.path)
        if is_passed_over(each.name):
            yield entry  # of a folder, not what is in it
        elif each.is_dir():
            if os.path.realpath(each.path) in above:
                raise errors.Fail("%s is a link to a folder that it lies in: remove it" % each.path)
            yield from _folder(each.path, entry.name + "/", above)
        elif each.is_file():  # reading a pipe or a device could last for ever
            yield entry
        elif each.is_symlink() and not os.path.exists(each.path):
            raise errors.Fail(
                "%s is a link to %s, which is not there, or hidden by this environment: copy what it leads to, or remove it"
                % (each.path, os.readlink(each.path))
            )


def _members(stream, name, where):
    lower = name.lower()
    if lower.endswith(".zip"):
        return _zip(stream, where)
    if lower.endswith((".tar.gz", ".tgz")):
        return _tar(gzip.GzipFile(fileobj=stream), where)
    if lower.endswith(".tar.bz2"):
        return _tar(bz2.BZ2File(stream), where)
    if lower.endswith(".tar.xz"):
        return _tar(lzma.LZMAFile(stream), where)
    return _tar(stream, where)


def _zip(stream, where):
    with damage(where):
        archive = zipfile.ZipFile(stream)
    with archive:
        for info in archive.infolist():
            inside = _inside(where, info.filename)
            _check(info.filename, info.file_size, inside)
            if stat.S_ISLNK(info.external_attr >> 16):
                raise errors.Fail("%s is a link; no official archive has one" % inside)
            if info.filename.endswith("/"):
                continue
            with damage(inside):
                member = archive.open(info)
            with member:
                yield Entry(info.filename, inside, info.file_size, member, None)


def _tar(stream, where):
    """Read forward only, block by block: whatever the headers say, no byte is read twice and no size is believed."""
    name, extra = None, {}
    while True:
        info = _header(stream, where)
        if info is None:
            with damage(where):
                stream.read(TRAILER)  # to its end, where gzip has its checksum
            return
        size = int(extra.get("size", info.size))
        inside = _inside(where, name or extra.get("path") or info.name)
        rest = -size % TAR_BLOCK
        if info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE):
            _check("a long name", info.size, inside, LONGEST_NAME)
            text = read(Entry(info.name, inside, info.size, stream, None))
            if info.type == tarfile.GNUTYPE_LONGNAME:
                name = text.rstrip(b"\0").decode("utf-8", "replace")
            elif info.type != tarfile.XGLTYPE:
                extra = _pax(text, inside)
            _skip(stream, -info.size % TAR_BLOCK, inside)
            continue
        member, name, extra = name or extra.get("path") or info.name, None, {}
        _check(member, size, inside)
        if info.isdir():
            continue
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise errors.Fail("%s is a link or a device, or sparse; no official archive has one" % inside)
        window = _Window(stream, size)
        yield Entry(member, inside, size, window, None)
        _skip(stream, window.left + rest, inside)


class _Guarded:
    def __init__(self, stream, where):
        self.stream, self.where = stream, where

    def read(self, size):
        with damage(self.where):
            return self.stream.read(size)


class _Window:
    """The next `left` bytes of a stream, as a stream."""

    def __init__(self, stream, left):
        self.stream, self.left = stream, left

    def read(self, size=-1):
        data = self.stream.read(self.left if size is None or size < 0 else min(size, self.left))
        self.left -= len(data)
        return data


def _header(stream, where):
    with damage(where):
        block = stream.read(TAR_BLOCK)
        if not block.strip(b"\0"):
            if len(block) < TAR_BLOCK:  # the end marker is blocks of zeros
                raise EOFError("it ends too early")
            return None
        return tarfile.TarInfo.frombuf(block, "utf-8", "replace")


def _pax(text, where):
    """The records `length key=value` of an extended header."""
    found = {}
    try:
        while text.strip(b"\0"):
            length = int(text[: text.index(b" ")])
            if length < 5:
                raise ValueError
            key, _, value = text[text.index(b" ") + 1 : length - 1].partition(b"=")
            found[key.decode("utf-8")] = value.decode("utf-8")
            text = text[length:]
        int(found.get("size", 0))
    except ValueError:
        raise errors.Fail("%s: a damaged extended header; get the file again" % where) from None
    return found


def _skip(stream, size, where):
    with damage(where):
        while size:
            data = stream.read(min(size, 1 << 20))
            if not data:
                raise EOFError("it ends too early")
            size -= len(data)


def _inside(where, name):
    """For messages: the archive and its member."""
    return "%s: %s" % (where, shown(name))


def _check(name, size, where, most=LARGEST):
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name:
        raise errors.Fail("%s points outside its archive; no official archive has such a name" % where)
    if not 0 <= size <= most:
        raise errors.Fail("%s claims to have %s bytes" % (where, format(size, ",")))
