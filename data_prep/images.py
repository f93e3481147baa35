"""Pixels: decoding PNG and JPEG files, and the paper's geometry (III-C): CIFAR padded with zeros, the rest resized."""
from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from common import errors
from data_prep import archives
from fer_lite import crops, images
from paper import facts, ours

LARGEST_FILE = 1 << 24  # bytes of an image; a face of WebFace has about 10,000
LARGEST_SIDE = 4096  # pixels; a file that claims more is refused before anything is decoded
INTERPOLATIONS = {"linear": cv2.INTER_LINEAR, "linear_exact": cv2.INTER_LINEAR_EXACT, "area": cv2.INTER_AREA}
SIDES = {"pad": facts.CROP + 2 * facts.PAD, "resize": facts.RESIZE, "keep": facts.FERPLUS_SIDE}  # geometry -> side of what is stored


def decode(data, where, grey=False):
    """A PNG or JPEG file's bytes as uint8 H x W x 3 BGR (H x W if `grey`). Fail, naming `where`, on anything else."""
    height, width = images.size(data, where)
    if not (0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE):
        raise errors.Fail("%s: an image of %dx%d pixels; at most %d a side are read" % (where, width, height, LARGEST_SIDE))
    image = images.decoded(data, grey)
    if image is None:
        raise errors.Fail("%s: a damaged image; get the file again" % where)
    return image


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
