"""Faces that keep a number from frame to frame, and their probabilities averaged over time."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from fer_lite.predict import UNCERTAIN

LEAST = 0.2  # overlap (IoU) of two frames' boxes of one face: at 5 frames a second a head moves by half its width
FORGET = 1.0  # seconds that a face may be out of sight, or a frame and a half where frames come more seldom


class Tracker:
    """Called with each frame's faces and its time in seconds, it gives them back with "track": 1, 2, ..."""

    def __init__(self, smooth: float | None = None, threshold: float = 0.0, fps: float | None = None) -> None:
        """`smooth`: seconds over whose frames a face's probabilities are averaged, or None; the label is then the mean's, or "uncertain"
        below `threshold`. `fps`: at most so many frames a second come, None: any number."""
        self.forget = max(FORGET, 1.5 / fps) if fps else FORGET
        self.smooth, self.threshold, self.count = smooth, threshold, 0
        self.tracks = {}  # number: (box, time when it was last seen, deque of (time, probabilities))

    def __call__(self, found: list[dict[str, Any]], time: float) -> list[dict[str, Any]]:
        """`found`: what Predictor gives for one frame. The dicts of it, in their order, each with its track."""
        self.tracks = {number: track for number, track in self.tracks.items() if time - track[1] <= self.forget}
        shares = overlap(np.reshape([track[0] for track in self.tracks.values()], (-1, 1, 4)), np.reshape([face["box"] for face in found], (-1, 4)))
        pairs = sorted(((-shares[i, at], number, at) for i, number in enumerate(self.tracks) for at in range(len(found))))
        numbers = {}
        for share, number, at in pairs:
            if -share >= LEAST and at not in numbers and number not in numbers.values():
                numbers[at] = number
        return [self._seen(numbers.get(at), face, time) for at, face in enumerate(found)]

    def _seen(self, number, face, time):
        if number is None:
            number = self.count = self.count + 1
        past = self.tracks[number][2] if number in self.tracks else deque()
        self.tracks[number] = face["box"], time, past
        if self.smooth:
            past.append((time, list(face["probabilities"].values())))
            while past[0][0] < time - self.smooth:
                past.popleft()
            mean = np.mean([values for _, values in past], axis=0)
            shares = {name: round(float(value), 6) for name, value in zip(face["probabilities"], mean)}
            label = max(shares, key=shares.get)
            face = dict(face, probabilities=shares, label=label if shares[label] >= self.threshold else UNCERTAIN)
        return dict(track=number, **face)


def common(one: Any, other: Any) -> np.ndarray:
    """Pixels that boxes share: arrays (..., 4) of x, y, width, height, broadcast."""
    one, other = np.asarray(one), np.asarray(other)
    sides = np.minimum(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    return sides.clip(0).prod(axis=-1)


def overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The IoU of boxes, as `common` takes them: 0 to 1."""
    both = common(one, other)
    return both / (one[..., 2:].prod(axis=-1) + other[..., 2:].prod(axis=-1) - both)
