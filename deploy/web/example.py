"""Draw web/page/example.png: faces in a row, with common/drawn/faces.py. Needs numpy and OpenCV.

python3 -m deploy.web.example
"""

import os

import cv2
import numpy as np

from common.drawn import faces

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "page", "example.png")
SHOWN = (("happiness", 8), ("surprise", 2), ("anger", 5))  # expression, who
GAP, PAPER = 16, 236


def draw():
    """The faces side by side: uint8 224 x 640."""
    cards = []
    for name, seed in SHOWN:
        rng = np.random.RandomState(seed)
        cards.append(faces.paint(faces.measures({name: 1.0}, 1.0), faces.person(rng), faces.pose(rng)))
    side = len(cards[0])
    sheet = np.full((side + 2 * GAP, len(cards) * (side + GAP) + GAP), PAPER, np.uint8)
    for i, card in enumerate(cards):
        left = GAP + i * (side + GAP)
        sheet[GAP : GAP + side, left : left + side] = card
    return sheet


if __name__ == "__main__":
    cv2.imwrite(PATH, draw(), [cv2.IMWRITE_PNG_COMPRESSION, 9])
