"""Finding faces, and cutting them out as FER2013 does, so that a network sees what it was trained on.

The detector is YuNet, in OpenCV's own class for it; its network lies in fer_lite/yunet/ with its licence (MIT), so that
nothing is fetched at run time. How FER2013's squares lie around YuNet's boxes was measured: in 2,765 of the first 3,000
training images (padded, enlarged to 160x160) it finds a face, and at the median the square is centred on the box to 1% of its
side, which is 1.15 times the root of the box's area (1.02 times its height).
"""
import functools
import os
from collections import namedtuple

import cv2
import numpy as np

from fer_lite import crops

YUNET = os.path.join(os.path.dirname(os.path.abspath(__file__)), "yunet", "face_detection_yunet_2023mar.onnx")
Found = namedtuple("Found", "box score")  # x, y, width, height in pixels (int), of the image or beyond it; 0 to 1, or None
SQUARE = 1.15  # side of FER2013's square, in roots of the area of YuNet's box
FER_SIDE = 48  # FER2013's images
LARGEST_SIDE = 640  # pixels; larger images are searched at this size: YuNet finds faces of about 10 to 300 pixels
SMALLEST = 10  # pixels; of images with a smaller side it makes nonsense, infinite boxes too
SCORE = 0.7  # YuNet's confidence; OpenCV's default of 0.9 loses faces in poor light, below 0.6 come false ones
OVERLAP, MOST = 0.3, 5000  # OpenCV's defaults


@functools.lru_cache(maxsize=4)
def detector(score=SCORE):
    """A cv2.FaceDetectorYN."""
    return cv2.FaceDetectorYN.create(YUNET, "", (320, 320), score, OVERLAP, MOST)


def detect(image, score=SCORE, largest_side=LARGEST_SIDE):
    """The Found faces of uint8 H x W x 3 (BGR), largest first; [] where there are none."""
    scale = min(1.0, largest_side / max(image.shape[:2]))
    if min(image.shape[:2]) * scale < SMALLEST:
        return []
    small = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    yunet = detector(score)
    yunet.setInputSize(small.shape[1::-1])
    rows = yunet.detect(small)[1]
    found = [] if rows is None else [Found(tuple(int(round(v / scale)) for v in row[:4]), float(row[14])) for row in rows]
    return sorted((each for each in found if min(each.box[2:]) > 0), key=lambda each: -each.box[2] * each.box[3])


def whole(image):
    """An image that is a face already, as Found: its largest centred square."""
    height, width = image.shape[:2]
    side = min(height, width)
    return Found(((width - side) // 2, (height - side) // 2, side, side), None)


def square(box):
    """FER2013's square around a detector's box, both (x, y, width, height): the same centre."""
    x, y, width, height = box
    side = max(1, int(round(SQUARE * (width * height) ** 0.5)))
    return int(round(x + width / 2 - side / 2)), int(round(y + height / 2 - side / 2)), side, side


def cut(image, box, size=crops.SIDE):
    """The square `box` of an image (uint8 H x W or H x W x 3 BGR) as networks take it: uint8 3 x `size` x `size`, grey on all three.

    By way of FER2013's 48x48: 36x36 is what data_prep stores for the paper's networks. Beyond the image its edge is continued.
    """
    x, y, side, _ = box
    rows, columns = (np.clip(np.arange(start, start + side), 0, end - 1) for start, end in zip((y, x), image.shape))
    part = image[rows[:, None], columns]
    if part.ndim == 3:
        part = cv2.cvtColor(part, cv2.COLOR_BGR2GRAY)
    if part.shape != (FER_SIDE, FER_SIDE):
        part = cv2.resize(part, (FER_SIDE, FER_SIDE), interpolation=cv2.INTER_AREA if side > FER_SIDE else cv2.INTER_LINEAR)
    return np.repeat(crops.resized(part, size)[None], 3, axis=0)
