"""Whether a video file is as long as it says itself. A number of frames says less: MKV, WebM and TS store none, and OpenCV then guesses one."""

from __future__ import annotations

import os

FIRST = (b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")  # what an ISO file may begin with
LARGEST_HEADER = 1 << 26  # bytes
MASTER, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # EBML: Matroska's two outer elements


def missing(path: str) -> int:
    """Bytes that a MP4, MOV, AVI, MKV or WebM file lacks by its outer boxes; 0 where none do, or where they do not say."""
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        head = f.read(12)
        read = _matroska if head[:4] == MASTER else _riff if head[:4] == b"RIFF" else _boxes if head[4:8] in FIRST else None
        return max(0, read(f, size) - size) if read else 0


def pictures_end(path: str, counted: float | None) -> float | None:
    """Seconds at which the pictures of an MP4, MOV or AVI file end by its own header; None where it does not say.

    `counted`: number of frames by rate, which is right for AVI. In an MP4 frames may be cut off without being removed, so its track's
    duration is taken, the longest of those that have a width (ISO/IEC 14496-12, mvhd and tkhd).
    """
    with open(path, "rb") as f:
        head = f.read(12)
        if head[:4] == b"RIFF":
            return counted
        size, moov = os.path.getsize(path), {}
        if head[4:8] not in FIRST or not _boxes(f, size, moov) or b"moov" not in moov:
            return None
        start, length = moov[b"moov"]
        f.seek(start)
        data = f.read(min(length, LARGEST_HEADER))
    ends, ticks = [], 0
    for name in (b"mvhd", b"tkhd"):
        at = data.find(name)
        while at >= 0 and len(data) > at + 104:
            long = data[at + 4] == 1  # 8 bytes for a time in place of 4
            times = at + (24 if long else 16)
            if name == b"mvhd":
                ticks = int.from_bytes(data[times : times + 4], "big")
            elif any(data[times + (68 if long else 64) :][:4]):  # the width, after the matrix
                ends.append(int.from_bytes(data[times + 8 : times + (16 if long else 12)], "big"))
            at = data.find(name, at + 4)
    return max(ends) / ticks if ends and ticks else None


def _boxes(f, size, places=None):
    """The end of the last box of an ISO file (MP4, MOV, 3GP): 4 bytes of length, 4 of name; 1 means 8 more bytes, 0 the file's end."""
    at = 0
    while at + 8 <= size:
        f.seek(at)
        head = f.read(16)
        length = int.from_bytes(head[:4], "big")
        length = int.from_bytes(head[8:16], "big") if length == 1 else length
        if length < 8 or not head[4:8].isalnum():
            return size
        if places is not None:
            places[head[4:8]] = at, length
        at += length
    return at


def _riff(f, size):
    """The end of the last RIFF of an AVI file; its padding byte may be left out."""
    at = 0
    while at + 8 <= size:
        f.seek(at)
        head = f.read(8)
        length = int.from_bytes(head[4:], "little")
        if head[:4] != b"RIFF" or length in (0, 0xFFFFFFFF):  # a recording that was not ended
            return size
        at += 8 + length
    return at


def _matroska(f, size):
    """The end of a Matroska file's segment. A length is coded in as many bytes as its first byte has leading zeros, and one."""

    def length():
        first = f.read(1)[0]
        bytes_ = 9 - first.bit_length()
        value = int.from_bytes(bytes([first & (0xFF >> bytes_)]) + f.read(bytes_ - 1), "big")
        return None if value == (1 << 7 * bytes_) - 1 else value

    try:
        f.seek(4)
        f.seek(length(), os.SEEK_CUR)
        if f.read(4) != SEGMENT:
            return size
        inside = length()
        return size if inside is None else f.tell() + inside  # None: a live stream's
    except (IndexError, TypeError, ValueError):
        return size
