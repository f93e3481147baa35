"""Image files: the size that one claims, before it is decoded, and its pixels."""
from __future__ import annotations

import struct

import cv2
import numpy as np

from fer_lite import errors

LARGEST_PIXELS = 100 * 1000 * 1000  # of an image or a video's frame: 300 MB decoded


def log_level(level: int) -> int:
    """Set how much OpenCV says (0: nothing, 2: errors), and return how much it said before. OpenCV 5 has moved the function."""
    return (cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel)(level)


def decoded(data: bytes, grey: bool = False) -> np.ndarray | None:
    """What OpenCV makes of an image file's bytes, None of a damaged one. Its size is for the caller to check before."""
    if data[:4] == b"\x89PNG" and not _whole_png(data):
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    except cv2.error:
        return None


def _whole_png(data: bytes) -> bool:
    """Whether every chunk lies within the file: OpenCV allocates what one claims, and waits half a minute for it."""
    at = 8
    while at + 12 <= len(data):
        if data[at + 4:at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(data[at:at + 4], "big")
    return False


def size(data: bytes, where: str) -> tuple[int, int]:
    """(height, width) that a PNG or JPEG file claims to have."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return height, width
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data, where)
    raise errors.Fail("%s: neither a PNG nor a JPEG image" % where)


def _jpeg_size(data, where):
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2:at + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame header
            if data.rfind(b"\xff\xd9") < at:  # libjpeg would fill the rest with grey
                raise errors.Fail("%s: a JPEG image that is cut short; get the file again" % where)
            return struct.unpack(">HH", data[at + 5:at + 9])
        at += 1 if marker == 0xFF else 2 + length  # 0xFF 0xFF: fill bytes before a marker
    raise errors.Fail("%s: a damaged JPEG image; get the file again" % where)


def bound(name: str, width: int, height: int) -> None:
    """Fail where an image claims more pixels than are read, or none."""
    if not 0 < width * height <= LARGEST_PIXELS:
        raise errors.Fail("%s: %dx%d pixels; at most %d million are read: make it smaller" % (name, width, height, LARGEST_PIXELS // 10**6))
