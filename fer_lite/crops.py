"""What every image goes through, in training and in use: the resize to 36x36 (III-C), and the ten crops of the paper's test (III-D)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

CENTRE = 4  # its place among the ten
SIDE = 36  # of faces before they are cropped


def resized(image: np.ndarray, side: int = SIDE, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """uint8 H x W or H x W x C as side x side."""
    return image if image.shape[:2] == (side, side) else cv2.resize(image, (side, side), interpolation=interpolation)


def ten_crops(images: np.ndarray, mean: np.ndarray | np.float32, size: int) -> np.ndarray:
    """The ten crops of N x C x H x W images, the mean subtracted: float32 N x 10 x C x size x size.

    Order: top left, top right, bottom left, bottom right, centre, then the five mirrored left to right. `mean` is
    C x H x W and is subtracted before cropping and mirroring, as Caffe's Data layer does.
    """
    height, width = images.shape[-2:]
    images = images.astype(np.float32) - mean
    corners = [(y, x) for y in (0, height - size) for x in (0, width - size)]
    centre = ((height - size) // 2, (width - size) // 2)
    five = np.stack([images[..., y : y + size, x : x + size] for y, x in corners + [centre]], axis=1)
    return np.concatenate([five, five[..., ::-1]], axis=1)


def ten_crop_mean(network: Any, images: np.ndarray, mean: np.ndarray | np.float32, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(ten-crop mean, centre crop alone) of the class probabilities of N images, each float32 N x classes.

    `network` has `probabilities(crops)` (engines.caffe.network.Network); `images`, `mean`, `size` as for `ten_crops`. Of images that
    the network takes whole, the ten are the image and its mirror five times each: it is shown these two.
    """
    shown, centre = ten_crops(images, mean, size), CENTRE
    if images.shape[-2:] == (size, size):
        shown, centre = shown[:, [CENTRE, CENTRE + 5]], 0
    each = network.probabilities(shown.reshape((-1,) + shown.shape[2:])).reshape(shown.shape[:2] + (-1,))
    return each.mean(axis=1), each[:, centre]
