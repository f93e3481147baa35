"""Pixels: decoding PNG and JPEG files, and the paper's geometry (III-C): CIFAR padded with zeros, the rest resized."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import cv2
import numpy as np

from common import errors
from data_prep import archives
from fer_lite import crops
from paper import facts, ours

LARGEST_FILE = 1 << 24  # bytes of an image; a face of WebFace has about 10,000
LARGEST_SIDE = 4096  # pixels; a file that claims more is refused before anything is decoded
INTERPOLATIONS = {"linear": cv2.INTER_LINEAR, "linear_exact": cv2.INTER_LINEAR_EXACT, "area": cv2.INTER_AREA}
SIDES = {"pad": facts.CROP + 2 * facts.PAD, "resize": facts.RESIZE, "keep": facts.FERPLUS_SIDE}  # geometry -> side of what is stored


def decode(data, where, grey=False):
    """A PNG or JPEG file's bytes as uint8 H x W x 3 BGR (H x W if `grey`). Fail, naming `where`, on anything else."""
    height, width = _size(data, where)
    if not (0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE):
        raise errors.Fail("%s: an image of %dx%d pixels; at most %d a side are read" % (where, width, height, LARGEST_SIDE))
    image = _decoded(data, grey)
    if image is None:
        raise errors.Fail("%s: a damaged image; get the file again" % where)
    return image


def _decoded(data, grey):
    """What OpenCV makes of an image file's bytes, None of a damaged one. Its size is for the caller to check before."""
    if data[:4] == b"\x89PNG" and not _whole_png(data):
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    except cv2.error:
        return None


def _whole_png(data):
    """Whether every chunk lies within the file: OpenCV allocates what one claims, and waits half a minute for it."""
    at = 8
    while at + 12 <= len(data):
        ends = data[at + 4 : at + 8] == b"IEND"
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if ends:
            return at <= len(data)
    return False


def _size(data, where):
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
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame header
            if data.rfind(b"\xff\xd9") < at:  # libjpeg would fill the rest with grey
                raise errors.Fail("%s: a JPEG image that is cut short; get the file again" % where)
            return struct.unpack(">HH", data[at + 5 : at + 9])
        at += 1 if marker == 0xFF else 2 + length  # 0xFF 0xFF: fill bytes before a marker
    raise errors.Fail("%s: a damaged JPEG image; get the file again" % where)


def decode_all(files, where):
    """Many PNG or JPEG files (of archives.for_worker); `where` names each."""
    return [decode(archives.in_worker(data, LARGEST_FILE), place) for data, place in zip(files, where)]


def fit(image: np.ndarray, geometry: str, level: int = ours.PAD_LEVEL) -> np.ndarray:
    """One image uint8 H x W (grey) or H x W x 3 (BGR) as it is stored: uint8 3 x S x S, padded with grey `level` or resized."""
    side = SIDES[geometry]
    if geometry != "pad":
        image = crops.resized(image, side, INTERPOLATIONS[ours.INTERPOLATION])
    else:
        image = cv2.copyMakeBorder(image, *[facts.PAD] * 4, borderType=cv2.BORDER_CONSTANT, value=(level,) * 3)
    if image.ndim == 2:
        return np.broadcast_to(image, (3, side, side))
    return image.transpose(2, 0, 1)


def fit_all(many: Sequence[np.ndarray], geometry: str, level: int = ours.PAD_LEVEL) -> np.ndarray:
    """Many images (a sequence of what `fit` takes) as one array uint8 N x 3 x S x S."""
    side = SIDES[geometry]
    stored = np.empty((len(many), 3, side, side), np.uint8)
    for i, image in enumerate(many):
        stored[i] = fit(image, geometry, level)
    return stored
