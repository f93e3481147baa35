"""Simple coloured objects in ten classes: the demo's source data (the paper's section III-C pretrains on CIFAR10 and others).

Class says nothing about colour, place or size: only the outline or the texture tells, so a network must learn edges.
"""

from __future__ import annotations

import cv2
import numpy as np

from common.drawn.camera import FINE, PLACES, fixed_point, photograph

SIDE = 32  # CIFAR10's images
NOISE = 12
CLASSES = ("circle", "square", "triangle", "star", "cross", "ring", "crescent", "arrow", "stripes", "checks")


def draw(rng: np.random.RandomState, name: str) -> np.ndarray:
    """One image of class `name`, uint8 RGB 32 x 32 x 3; `rng` (numpy RandomState) chooses all that the class leaves open."""
    ground, colour = _two_colours(rng)
    canvas = np.empty((SIDE * FINE,) * 2 + (3,), np.uint8)
    canvas[:] = ground
    for _ in range(rng.randint(0, 3)):  # clutter: thin lines that belong to no class
        ends = rng.randint(0, SIDE * FINE, (2, 2))
        cv2.line(canvas, tuple(ends[0].tolist()), tuple(ends[1].tolist()), rng.uniform(0, 255, 3).tolist(), 3, cv2.LINE_AA)
    canvas[_mask(name, rng) > 0] = colour
    return photograph(rng, canvas, NOISE)


def _two_colours(rng):
    """Ground and object, uint8 RGB, different enough to see (a distance of at least 120 of 441)."""
    while True:
        ground, colour = rng.uniform(0, 255, (2, 3))
        if np.linalg.norm(ground - colour) > 120:
            return ground.astype(np.uint8), colour.astype(np.uint8)


def _mask(name, rng):
    """Where the object is: uint8 128 x 128, 0 or 255."""
    mask = np.zeros((SIDE * FINE,) * 2, np.uint8)
    size, angle = rng.uniform(0.32, 0.46), rng.normal(0, 0.25)
    middle = 0.5 + rng.uniform(-1, 1, 2) * (0.5 - size) * 0.9
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.diag(np.exp(rng.normal(0, 0.08, 2)))
    for points, inside in _outlines(name, rng):
        pixels = (middle + size * np.asarray(points) @ stretch @ turn.T) * SIDE * FINE
        cv2.fillPoly(mask, [fixed_point(pixels)], 255 if inside else 0, cv2.LINE_8, PLACES)
    return mask


def _outlines(name, rng):
    """The class as [(points N x 2 in about -1..1, True to fill or False to cut out), ...], in drawing order."""
    if name == "circle":
        return [(_regular(40, 0.9), True)]
    if name == "square":
        return [(_box(-0.8, -0.8, 0.8, 0.8), True)]
    if name == "triangle":
        return [(_regular(3, 1.1)[:, ::-1], True)]
    if name == "star":
        return [(_regular(10, 1.1) * np.where(np.arange(10) % 2, 0.42, 1.0)[:, None], True)]
    if name == "cross":
        half = rng.uniform(0.22, 0.34)
        return [(_box(-1, -half, 1, half), True), (_box(-half, -1, half, 1), True)]
    if name == "ring":
        return [(_regular(40, 1.0), True), (_regular(40, rng.uniform(0.5, 0.68)), False)]
    if name == "crescent":
        return [(_regular(40, 1.0), True), (_regular(40, 0.85) + [rng.uniform(0.4, 0.6), 0], False)]
    if name == "arrow":
        half = rng.uniform(0.16, 0.26)
        return [(_box(-1, -half, 0.3, half), True), ([(0.1, -0.7), (1.05, 0), (0.1, 0.7)], True)]
    if name == "stripes":
        edges = np.linspace(-1, 1, 2 * rng.randint(3, 5))
        return [(_box(edges[i], -0.95, edges[i + 1], 0.95), True) for i in range(0, len(edges) - 1, 2)]
    if name == "checks":
        n = rng.randint(3, 5)
        edges = np.linspace(-1, 1, n + 1)
        return [(_box(edges[i], edges[j], edges[i + 1], edges[j + 1]), True) for i in range(n) for j in range(n) if (i + j) % 2 == 0]
    raise ValueError("no class %s" % name)


def _regular(corners, radius):
    angle = 2 * np.pi * np.arange(corners) / corners
    return radius * np.column_stack([np.cos(angle), np.sin(angle)])


def _box(left, top, right, bottom):
    return [(left, top), (right, top), (right, bottom), (left, bottom)]
