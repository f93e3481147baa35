"""From a drawing to something like a photograph: the light, blur and noise that both kinds of drawn images share."""

import functools

import cv2
import numpy as np

FINE = 4  # everything is drawn so many times larger, then averaged down
PLACES = 4  # binary places of the coordinates that OpenCV's drawing functions take


def photograph(rng, canvas, noise):
    """Average a fine canvas (uint8, S*FINE x S*FINE, grey or with channels) down to S x S and light, blur and soil it.

    `noise`: the largest standard deviation, in grey levels. `rng`: numpy RandomState.
    """
    side = len(canvas) // FINE
    image = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    direction, (x, y) = rng.uniform(0, 2 * np.pi), _plane(side)
    light = 1 + rng.uniform(0, 0.35) * (x * np.cos(direction) + y * np.sin(direction))
    contrast, offset = rng.uniform(0.7, 1.1), rng.uniform(-20, 20)
    image = contrast * ((light if image.ndim == 2 else light[:, :, None]) * image - 128) + 128 + offset
    image = cv2.GaussianBlur(image.astype(np.float32), (0, 0), rng.uniform(0.2, 0.9))
    image += rng.normal(0, rng.uniform(2, noise), image.shape)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def fixed_point(points):
    """Points N x 2 in pixels -> int32, as OpenCV's drawing functions take them with shift=PLACES."""
    return np.round(np.asarray(points) * (1 << PLACES)).astype(np.int32)


@functools.lru_cache(maxsize=None)
def _plane(side):
    return np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
