"""Finding faces, and cutting them out as FER2013 does, so that a network sees what it was trained on.

The detector is YuNet, in OpenCV's own class for it; its network lies in fer_lite/yunet/ with its licence (MIT), so that
nothing is fetched at run time. How FER2013's squares lie around YuNet's boxes was measured: in 2,765 of the first 3,000
training images (padded, enlarged to 160x160) it finds a face, and at the median the square is centred on the box to 1% of its
side, which is 1.15 times the root of the box's area (1.02 times its height).

YuNet finds tilted faces too, with less confidence, but takes many of them for upright: its eye points are right up to some 20
degrees, and can be upright's on a face that stands on its head. So a face of which it is sure, with level eyes, is taken as it is, in
the image or in its own neighbourhood, where a small one is larger; any other is looked at there turned, and stands as it does where YuNet is surest (docs/predict.md).
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import threading
from collections import deque, namedtuple
from typing import Callable, Iterator

import cv2
import numpy as np

from fer_lite import crops, images

YUNET = os.path.join(os.path.dirname(os.path.abspath(__file__)), "yunet", "face_detection_yunet_2023mar.onnx")
# box: x, y, width, height in pixels (int), of the image or beyond it; score: 0 to 1, or None; roll: degrees, clockwise, or None;
# square: FER2013's, (x, y of its centre, side, degrees by which it is turned), or None of one that is not turned: it is square(box).
Found = namedtuple("Found", "box score roll square")
SQUARE = 1.15  # side of FER2013's square, in roots of the area of YuNet's box
FER_SIDE = 48  # FER2013's images
LARGEST_SIDE = 640  # pixels; larger images are searched at this size: YuNet finds faces of about 10 to 300 pixels
LARGER = (1600, 3200)  # where nothing was found
SMALLEST = 10  # pixels; of images with a smaller side it makes nonsense, infinite boxes too
SCORE = 0.7  # YuNet's confidence; OpenCV's default of 0.9 loses faces in poor light, below 0.6 come false ones
WEAK, MANY = 0.4, 5  # of what is worth a second look where nothing better is there, and of how many
TURNED = 0.85  # of a face that is found in a second look: among twelve angles chance finds more (a coffee cup upside down at 0.82)
SURE = 0.9  # from here on a face with level eyes is upright
LEVEL = 10  # degrees; faces that are tilted by less are cut as they are: nine in ten of FER2013's own lie within
TILTED = 20  # degrees; of a face from which on others beside it are lost, if the picture is turned
STEP = 30  # degrees between the turned looks
AROUND, LOCAL = 2.2, 160  # a face's neighbourhood: its side in roots of the box's area, and in pixels as YuNet sees it
OVERLAP, MOST = 0.3, 5000  # OpenCV's defaults

_idle: deque[Detector] = deque()  # those that no thread uses now
_making = threading.Lock()  # OpenCV's log level is the process's: two threads would restore each other's


class Detector:
    """YuNet, for one thread: it holds its input's size and its buffers. To change the size takes longer than a look at a neighbourhood, so these have one of their own."""

    def __init__(self) -> None:
        self._whole = _yunet()

    @functools.cached_property
    def _near(self):
        return _yunet()

    def rows(self, image: np.ndarray, least: float) -> np.ndarray:
        """The faces of a score of `least` or more, float32 N x 15: box, right and left eye, nose, corners of the mouth (x, y), score."""
        yunet = self._near if image.shape[:2] == (LOCAL, LOCAL) else self._whole
        yunet.setInputSize(image.shape[1::-1])
        found = yunet.detect(image)[1]
        return np.empty((0, 15), np.float32) if found is None else found[found[:, 14] >= least]


def _yunet():
    with _making:
        level = images.log_level(2)  # OpenCV 5 warns of its own default
        # From bytes: on Windows OpenCV opens no path with letters beyond the code page.
        made = cv2.FaceDetectorYN.create("onnx", np.fromfile(YUNET, np.uint8), np.empty(0, np.uint8), (320, 320), WEAK, OVERLAP, MOST)
        images.log_level(level)
    return made


@contextlib.contextmanager
def detector() -> Iterator[Detector]:
    """A Detector for this thread alone, while the block lasts."""
    try:
        found = _idle.pop()
    except IndexError:
        found = Detector()
    try:
        yield found
    finally:
        _idle.append(found)


def detect(image: np.ndarray, score: float = SCORE, largest_side: int = LARGEST_SIDE, thorough: bool = True) -> list[Found]:
    """The Found faces of uint8 H x W x 3 (BGR), largest first; [] where there are none.

    `thorough`: where none is found, search the image larger, then turned; where one is tilted, look for others that are tilted as it is. Where
    all are level it costs nothing.
    """
    if min(image.shape[:2]) * min(1.0, largest_side / max(image.shape[:2])) < SMALLEST:
        return []
    with detector() as look:
        found = _upright(look, image, score, largest_side)
        for side in LARGER if thorough else ():
            if not found and largest_side < min(side, max(image.shape[:2])):
                found = _upright(look, image, score, side)
        if thorough:
            found += _beside(look, image, score, largest_side, found) if found else _turned(look, image, score, largest_side)
    return sorted((each for each in found if min(each.box[2:]) > 0), key=lambda each: -each.box[2] * each.box[3])


def view(image: np.ndarray, x: float, y: float, side: float, roll: float, pixels: int) -> np.ndarray:
    """The square of an image around (x, y), turned upright from `roll`: uint8 `pixels` x `pixels` (x 3). Beyond the image its edge is continued."""
    return views(image, x, y, side, pixels)(roll)


def views(image: np.ndarray, x: float, y: float, side: float, pixels: int) -> Callable[[float], np.ndarray]:
    """A function from roll to `view`, for several of one place: the pixels around it are gathered once."""
    reach, scale = int(side * 0.71) + 2, pixels / side
    part = _part(image, int(x) - reach, int(y) - reach, 2 * reach + 1)
    shrunk = min(1.0, scale)
    if shrunk < 1:
        part = cv2.resize(part, None, fx=shrunk, fy=shrunk, interpolation=cv2.INTER_AREA)
    centre, middle = ((x - int(x) + reach + 0.5) * shrunk - 0.5, (y - int(y) + reach + 0.5) * shrunk - 0.5), (pixels - 1) / 2

    def turned(roll):
        cos, sin = math.cos(math.radians(roll)) * shrunk / scale, math.sin(math.radians(roll)) * shrunk / scale
        back = np.array([[cos, -sin, centre[0] - middle * (cos - sin)], [sin, cos, centre[1] - middle * (sin + cos)]])
        return cv2.warpAffine(part, back, (pixels, pixels), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)

    return turned


def _part(image, x, y, side):
    """The square of an image: where it reaches beyond it, a copy in which the image's edge is continued."""
    height, width = image.shape[:2]
    if 0 <= x <= width - side and 0 <= y <= height - side:
        return image[y : y + side, x : x + side]
    rows, columns = (np.clip(np.arange(start, start + side), 0, end - 1) for start, end in ((y, height), (x, width)))
    return image[rows[:, None], columns]


def _small(image, largest_side):
    scale = min(1.0, largest_side / max(image.shape[:2]))
    return scale, image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _upright(detector, image, score, largest_side):
    """The faces that YuNet finds in the image as it is, each as it stands."""
    scale, small = _small(image, largest_side)
    found = []
    for row in detector.rows(small, score):
        each = Found(tuple(int(round(v / scale)) for v in row[:4]), float(row[14]), _roll(row), None)
        x, y, width, height = each.box
        sure = each.score >= SURE and abs(each.roll) < LEVEL
        if not sure and min(width, height) > 0:
            each = _stands(detector, (image, small, scale), x + width / 2, y + height / 2, (width * height) ** 0.5, score) or each
        found.append(each)
    return found


def _turned(detector, image, score, largest_side):
    """The faces of an image in which none is found as it is: on their sides, or on their heads."""
    scale, small = _small(image, largest_side)
    looks = []
    for roll in (0, 90, 180, 270, 45, 135, 225, 315):
        places = _places(detector, small, roll, WEAK)[:MANY]
        looks.append((sum(weight for weight, *_ in places), places))
    # First where most faces stand upright: of a group, another angle shows one of them weakly.
    for _, places in sorted(looks, key=lambda each: -each[0]):
        found = [_stands(detector, (image, small, scale), x / scale, y / scale, size / scale, max(score, TURNED), level=True) for _, x, y, size in places]
        if any(found):
            return [each for each in found if each]
    return []


def _beside(detector, image, score, largest_side, found):
    """More faces of a picture that is turned, as a tilted one of those `found` says."""
    tilted = [each for each in found if abs(each.roll) >= TILTED]
    if not tilted:
        return []
    scale, small = _small(image, largest_side)
    more = []
    for _, x, y, size in _places(detector, small, max(tilted, key=lambda each: each.score).roll, score):
        x, y, size = x / scale, y / scale, size / scale
        if all(math.hypot(x - left - width / 2, y - top - height / 2) > max(size, width, height) / 2 for left, top, width, height in (f.box for f in found)):
            more.append(_stands(detector, (image, small, scale), x, y, size, max(score, TURNED), level=True))
    return [each for each in more if each]


def _places(detector, image, roll, least):
    """[(score, x, y, size)] in the image of the faces that stand upright where it is turned upright from `roll`, the surest first."""
    height, width = image.shape[:2]
    side = max(height, width) if roll % 90 == 0 else int(math.hypot(height, width))
    turned = view(image, (width - 1) / 2, (height - 1) / 2, side, roll, side) if roll else image
    found = []
    for row in sorted(detector.rows(turned, least), key=lambda row: -row[14]):
        x, y = row[0] + row[2] / 2, row[1] + row[3] / 2
        if roll:
            x, y = _back(x - side / 2, y - side / 2, roll, width / 2, height / 2)
        found.append((row[14], x, y, (row[2] * row[3]) ** 0.5))
    return found


def _stands(detector, pictures, x, y, size, score, level=False):
    """The face around (x, y), of `size` pixels, as it stands: a Found, None where it is level (unless `level`) or there is none.

    `pictures`: the image, its smaller copy and the scale of that, in which a large face is looked at: it has the pixels, and costs less.
    """
    image, small, scale = pictures
    image, scale = (small, scale) if AROUND * size * scale >= LOCAL else (image, 1.0)
    x, y, size = x * scale, y * scale, size * scale

    def look(around, roll):
        rows = detector.rows(around(roll), WEAK)
        return max(rows, key=lambda row: row[14] - abs(row[:2] + row[2:4] / 2 - LOCAL / 2).max() / LOCAL, default=None)

    around = views(image, x, y, AROUND * size, LOCAL)
    first = look(around, 0)
    if not level and first is not None and first[14] >= SURE and abs(_roll(first)) < LEVEL:
        return None
    rows = [(0, first)] + [(roll, look(around, roll)) for roll in range(STEP, 360, STEP)]
    looks = [(row[14], roll, row) for roll, row in rows if row is not None]
    if not looks:
        return None
    best, roll, row = max(looks, key=lambda each: each[0])
    for _ in range(3):  # nearer upright its eye points are better
        x, y = _back(*((row[:2] + row[2:4] / 2 - LOCAL / 2) * AROUND * size / LOCAL), roll, x, y)
        turn = _roll(row)
        again = look(views(image, x, y, AROUND * size, LOCAL), roll + turn)
        if again is None or again[14] < best - 0.05:
            break
        best, roll, row = again[14], roll + turn, again
        if abs(turn) < 3:
            break
    roll = (roll + 180) % 360 - 180
    if best < score or abs(roll) < LEVEL and not level:
        return None
    width, height = row[2:4] * AROUND * size / LOCAL / scale
    x, y = x / scale, y / scale
    cos, sin = abs(math.cos(math.radians(roll))), abs(math.sin(math.radians(roll)))
    wide, high = width * cos + height * sin, width * sin + height * cos
    return Found(
        (int(round(x - wide / 2)), int(round(y - high / 2)), int(round(wide)), int(round(high))),
        float(best),
        roll,
        (x, y, SQUARE * (width * height) ** 0.5, roll),
    )


def _roll(row):
    return math.degrees(math.atan2(row[7] - row[5], row[6] - row[4]))


def _back(across, down, roll, x, y):
    """A place in an upright view, from its middle, as a place in the image: (x, y)."""
    cos, sin = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    return x + across * cos - down * sin, y + across * sin + down * cos


def whole(image: np.ndarray) -> Found:
    """An image that is a face already, as Found: its largest centred square."""
    height, width = image.shape[:2]
    side = min(height, width)
    return Found(((width - side) // 2, (height - side) // 2, side, side), None, None, None)


def shown(image: np.ndarray, found: Found, size: int = crops.SIDE) -> np.ndarray:
    """A Found face as networks take it (see `cut`), upright."""
    if found.square is not None:
        x, y, side, roll = found.square
        return cut(view(image, x, y, side, roll, max(FER_SIDE, int(side))), (0, 0, max(FER_SIDE, int(side)), 0), size)
    return cut(image, found.box if found.score is None else square(found.box), size)


def square(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """FER2013's square around a detector's box, both (x, y, width, height): the same centre."""
    x, y, width, height = box
    side = max(1, int(round(SQUARE * (width * height) ** 0.5)))
    return int(round(x + width / 2 - side / 2)), int(round(y + height / 2 - side / 2)), side, side


def cut(image: np.ndarray, box: tuple[int, int, int, int], size: int = crops.SIDE) -> np.ndarray:
    """The square `box` of an image (uint8 H x W or H x W x 3 BGR) as networks take it: uint8 3 x `size` x `size`, grey on all three.

    By way of FER2013's 48x48: 36x36 is what data_prep stores for the paper's networks. Beyond the image its edge is continued.
    """
    x, y, side, _ = box
    part = _part(image, x, y, side)
    if part.ndim == 3:
        part = cv2.cvtColor(part, cv2.COLOR_BGR2GRAY)
    if part.shape != (FER_SIDE, FER_SIDE):
        part = cv2.resize(part, (FER_SIDE, FER_SIDE), interpolation=cv2.INTER_AREA if side > FER_SIDE else cv2.INTER_LINEAR)
    return np.repeat(crops.resized(part, size)[None], 3, axis=0)
