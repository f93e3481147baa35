"""Balancing FER+'s training part (III-B): random rotation, translation and noise until every class has as many images.

The originals stay as they are. The extra images of a class are made of its originals in turn, at FER2013's 48x48,
before the resize. Each has a random stream of its own, so the bytes do not depend on how many workers make them.
"""

from __future__ import annotations

from collections import namedtuple

import cv2
import numpy as np

from common import errors
from paper import facts, ours

Extra = namedtuple("Extra", "source angle dx dy noise seed")  # source: number of the original


def plan(labels, per_class, seed):
    """The Extras, in the order of classes, that bring each class of `labels` (int N) to `per_class` images.

    angle in degrees (counter-clockwise), dx and dy in pixels of 48 (right and down), noise as standard deviation in grey
    levels, seed of the noise.
    """
    counts = np.bincount(labels, minlength=len(facts.EXPRESSIONS))
    if counts.max() > per_class or counts.min() == 0:
        raise errors.Fail(
            "classes of %s images cannot be balanced to %s each: every class must have some, none more" % (", ".join(map(str, counts)), format(per_class, ","))
        )
    sources = np.concatenate([np.resize(np.flatnonzero(labels == label), per_class - count) for label, count in enumerate(counts)])
    rng = np.random.RandomState(seed)
    angles = rng.uniform(-ours.AUGMENT_ROTATION, ours.AUGMENT_ROTATION, len(sources)).round(2)
    shifts = rng.uniform(-ours.AUGMENT_SHIFT, ours.AUGMENT_SHIFT, (len(sources), 2)).round(2)
    noises = rng.uniform(0, ours.AUGMENT_NOISE, len(sources)).round(2)
    seeds = rng.randint(0, 2**31 - 1, len(sources))
    return [Extra(*values) for values in zip(sources.tolist(), angles.tolist(), shifts[:, 0].tolist(), shifts[:, 1].tolist(), noises.tolist(), seeds.tolist())]


def make(faces, extras):
    """The images of `extras`: `faces`, uint8 N x 48 x 48, holds the original of each."""
    return [transform(face, extra) for face, extra in zip(faces, extras)]


def transform(face: np.ndarray, extra: Extra) -> np.ndarray:
    """One face uint8 H x W, rotated about its centre, shifted and made noisy. The edge is repeated where it moved away."""
    height, width = face.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), extra.angle, 1)
    matrix[:, 2] += extra.dx, extra.dy
    moved = cv2.warpAffine(face, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    noise = np.random.RandomState(extra.seed).standard_normal(face.shape) * extra.noise
    return np.clip(np.rint(moved + noise), 0, 255).astype(np.uint8)


def describe(extra):
    """The transformation in words, for the table of names."""
    return "rotate %+.2f shift %+.2f %+.2f noise %.2f" % (extra.angle, extra.dx, extra.dy, extra.noise)
