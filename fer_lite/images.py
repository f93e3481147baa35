"""What is asked of OpenCV and of an image's size before a frame or a picture is read."""

from __future__ import annotations

import cv2

from fer_lite import errors

LARGEST_PIXELS = 100 * 1000 * 1000  # of an image or a video's frame: 300 MB decoded


def log_level(level: int) -> int:
    """Set how much OpenCV says (0: nothing, 2: errors), and return how much it said before. OpenCV 5 has moved the function."""
    return (cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel)(level)


def bound(name: str, width: int, height: int) -> None:
    """Fail where an image claims more pixels than are read, or none."""
    if not 0 < width * height <= LARGEST_PIXELS:
        raise errors.Fail("%s: %dx%d pixels; at most %d million are read: make it smaller" % (name, width, height, LARGEST_PIXELS // 10**6))
