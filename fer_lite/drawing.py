"""Faces, labels and probabilities drawn on a copy of an image."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from fer_lite import tracks

GREEN, BLACK = (96, 208, 64), (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX
SMALLEST, LARGEST = 0.016, 0.036  # height of a capital letter, in the image's longer side
SHARE, MOST = 0.13, 0.25  # of it, in the width of a face: wanted, and in a large image at most
LEGIBLE = 9  # pixels, where the image has them


def draw(image: np.ndarray, found: list[dict[str, Any]]) -> np.ndarray:
    """A copy of uint8 H x W (x 3) with each face's box, label and probability on it, labels clear of each other and of other faces."""
    drawn = image.copy() if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    side = max(drawn.shape[:2])
    thick = max(1, round(side / 450))
    for face in found:
        x, y, width, height = face["box"]
        cv2.rectangle(drawn, (x, y), (x + width, y + height), GREEN, max(1, min(thick, width // 24)))
    taken = []
    for face in found:
        text = "%s %.0f%%" % (face["label"], 100 * max(face["probabilities"].values()))
        text = "%d %s" % (face["track"], text) if "track" in face else text
        wide = face["box"][2]
        capital = max(LEGIBLE, min(max(SHARE * wide, SMALLEST * side), LARGEST * side, MOST * wide))
        place, size = _place(text, capital, face["box"], taken, [other["box"] for other in found if other is not face], drawn.shape)
        taken.append(place)
        _write(drawn, text, place, size)
    return drawn


def _write(drawn, text, place, size):
    left, top, wide, high = place
    stroke = max(1, round(size * 1.6))
    (text_wide, capital), _ = cv2.getTextSize(text, FONT, size, stroke)
    cv2.rectangle(drawn, (left, top), (left + wide - 1, top + high - 1), GREEN, -1)
    cv2.putText(drawn, text, (left + (wide - text_wide) // 2, top + (high + capital) // 2 - stroke // 2), FONT, size, BLACK, stroke, cv2.LINE_AA)


def _place(text, capital, box, taken, others, shape):
    """((left, top, width, height) of a label, the font's size): at its box, where it covers the least of labels, then of other faces."""
    size = capital / 22  # pixels of Hershey's capitals at size 1
    wide = cv2.getTextSize(text, FONT, size, max(1, round(size * 1.6)))[0][0] + capital
    if wide > shape[1]:  # a small image
        size, capital, wide = size * shape[1] / wide, capital * shape[1] / wide, shape[1]
    wide, high = max(1, round(wide)), max(1, round(1.8 * capital))
    x, y, width, height = box
    rows = [
        y - high,
        y + height + 1,
        *(top for step in range(1, 2 + shape[0] // high) for top in (y - high - step * high, y + height + 1 + step * high)),
        *(top for _, at, _, tall in taken for top in (at - high, at + tall)),
    ]
    places = np.array(
        [
            (max(0, min(left, shape[1] - wide)), max(0, min(top, shape[0] - high)), wide, high)
            for top in rows
            for left in (x, x + width - wide, x + width, x - wide)
        ]
    )
    clear, fair = (tracks.common(places[:, None], np.reshape(boxes, (-1, 4))).sum(axis=1) for boxes in (taken, [box, *others]))
    away = abs(places[:, 1] - rows[0]) + 0.5 * abs(places[:, 0] - x)
    return tuple(int(v) for v in places[np.lexsort((fair + 0.1 * wide * away, clear))[0]]), size
