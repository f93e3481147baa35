"""Videos and cameras as streams of frames, read one at a time."""
import os
import time
from collections import namedtuple

import cv2

from fer_lite import errors, images

# Read by OpenCV when it first meets a video: FFmpeg keeps quiet, and no file may name another to be fetched, as playlists do.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")

# file: str; frame: int, its number in a video (None for an image); time: seconds since the video's or camera's start; image:
# uint8 H x W x 3 BGR; rate: how many such frames its stream gives a second, about.
Frame = namedtuple("Frame", "file frame time image rate")
FILES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".mjpeg", ".mjpg", ".ts", ".3gp")
MISSING = 0.02  # of a video's frames: a container's count may be off by a little
CAMERA_RATE = 25.0  # frames a second of a drawn video, where --fps sets none
FAILURES = 30  # frames in a row that a camera may fail to give


def is_camera(name):
    """Whether a source is a camera: its number (0), or its device (/dev/video0)."""
    return (name.isdigit() and not os.path.exists(name)) or name.startswith("/dev/video")


def is_video(name):
    return is_camera(name) or name.lower().endswith(FILES)


def _open(what, problem, *options):
    cv2.setLogLevel(0)  # what matters is said in our one line
    capture = cv2.VideoCapture(what, *options)
    if not capture.isOpened():
        raise errors.Fail(problem)
    return capture


def recorded(path, fps):
    """Yield the Frames of a video file, at most `fps` for each second. Fail after the last one where the file is cut short."""
    capture = _open(path, "%s: no video that OpenCV can read, or one that is cut short" % path, cv2.CAP_FFMPEG)
    try:
        images.bound(path, *(int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)))
        rate, claimed = capture.get(cv2.CAP_PROP_FPS) or 25.0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        number, due = 0, 0.0
        while capture.grab():
            now = number / rate
            if now >= due - 0.5 / rate:
                read, image = capture.retrieve()
                if not read:
                    break
                yield Frame(path, number, round(now, 3), image, min(fps or rate, rate))
                due += 1 / fps if fps else 0
            number += 1
        if not number or claimed - number > max(1, MISSING * claimed):
            raise errors.Fail("%s: ends after %d of %d frames: it is cut short or damaged" % (path, number, claimed))
    finally:
        capture.release()


def camera(name, fps):
    """Yield the newest Frames of a camera, at most `fps` a second, until it gives no more (Fail)."""
    what = int(name) if name.isdigit() else name
    capture = _open(what, "camera %s cannot be opened: is it there (/dev/video*), and used by no other program?" % name)
    try:
        start, due, failed, number = time.monotonic(), 0.0, 0, 0
        while failed < FAILURES:
            failed = 0 if capture.grab() else failed + 1  # every frame is taken, so that what is shown is the newest
            now = time.monotonic() - start
            if failed or now < due:
                continue
            read, image = capture.retrieve()
            if read:
                yield Frame("camera " + name, number, round(now, 3), image, fps or CAMERA_RATE)
                number, due = number + 1, max(due + 1 / fps, now) if fps else 0.0
        raise errors.Fail("camera %s gives no more frames" % name)
    finally:
        capture.release()
