"""Videos and cameras as streams of frames, read one at a time."""

from __future__ import annotations

import os
import time
from collections import namedtuple
from typing import Iterator

import cv2

from fer_lite import containers, errors, images

# Read by OpenCV when it first meets a video: FFmpeg keeps quiet, and no file may name another to be fetched, as playlists do.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")

# file: str; frame: int, its number in a video (None for an image); time: seconds since the video's or camera's start; image:
# uint8 H x W x 3 BGR; rate: how many such frames its stream gives a second, about; until: the time of the next one; lasts: the
# stream's seconds, about (None: unknown). All three are None for an image.
Frame = namedtuple("Frame", "file frame time image rate until lasts", defaults=(None, None))
FILES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".mjpeg", ".mjpg", ".ts", ".3gp")
FASTEST = 240.0  # frames a second; some containers give their clock's ticks (1000, 90000) for it
WHOLE = 0.97  # of a file's own number of frames and of its seconds: below both, pictures are missing
USUAL = 25.0  # frames a second of a video that does not say
CAMERA_RATE = 25.0  # frames a second of a drawn video, where --fps sets none
DECODED = (b"H264", b"AVC1", b"HEVC", b"HVC1", b"FMP4", b"MP4V", b"MJPG", b"VP80", b"VP90", b"MPG1", b"MPG2")  # that OpenCV has everywhere
FAILURES = 30  # frames in a row that a camera may fail to give


def is_camera(name: str) -> bool:
    """Whether a source is a camera: its number (0), or its device (/dev/video0)."""
    return (name.isdigit() and not os.path.exists(name)) or name.startswith("/dev/video")


def is_video(name: str) -> bool:
    return is_camera(name) or name.lower().endswith(FILES)


def _open(what, problem, *options):
    images.log_level(0)  # what matters is said in our one line
    capture = cv2.VideoCapture(what, *options)
    if not capture.isOpened():
        raise errors.Fail(problem)
    return capture


def recorded(path: str, fps: float | None) -> Iterator[Frame]:
    """Yield the Frames of a video file, upright, at their own times, at most `fps` for each second. Fail after the last where it is cut short."""
    try:
        lacks = containers.missing(path)
    except OSError as problem:  # of many files it is one
        raise errors.Fail("%s cannot be read: %s" % (path, problem.strerror)) from None
    capture = _open(path, "%s: %s" % (path, _cut(lacks) if lacks else "no video that OpenCV can read, or one whose recording was not ended"), cv2.CAP_FFMPEG)
    try:
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # after opening: OpenCV's default is not the same everywhere
        images.bound(path, *(int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)))
        rate = capture.get(cv2.CAP_PROP_FPS)
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        lasts = count / rate if rate > 0 and count > 0 else None  # often a guess, good enough for a progress bar
        rate = rate if 0 < rate <= FASTEST else USUAL
        seen, due, held = 0, 0.0, None
        for number, now, step in _moments(capture, rate):
            seen, end = number + 1, now + step
            if not fps or now >= due - 0.5 / max(rate, fps):
                read, image = capture.retrieve()
                if not read:
                    break
                if held:
                    yield held._replace(until=round(now, 3))
                held = Frame(path, number, round(now, 3), image, min(fps or rate, rate), None, lasts)
                due = (round(now * fps) + 1) / fps if fps else 0.0
        if held:
            yield held._replace(until=round(end, 3))
        if lacks:
            raise errors.Fail("%s: ends after %d frames: %s" % (path, seen, _cut(lacks)))
        ends = containers.pictures_end(path, lasts)
        if seen and ends and seen < WHOLE * count and end < WHOLE * ends:  # OpenCV stops where it can decode no further
            raise errors.Fail("%s: only %.1f of its %.1f seconds can be decoded: it is damaged; get the file again" % (path, end, ends))
        if not seen:
            raise errors.Fail("%s: %s" % (path, _undecoded(int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little"))))
    finally:
        capture.release()


def _moments(capture, rate):
    """Grab each frame of a file: (its number, its own time in seconds, seconds since the one before)."""
    number, now, step = 0, 0.0, 1 / rate
    while capture.grab():
        before, now = now, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if number:
            now = now if now > before else before + 1 / rate  # a stream without times, or one that begins anew
            step = now - before
        yield number, now, step
        number += 1


def _undecoded(kind):
    name = {b"AV01": "AV1"}.get(kind, kind.decode("ascii", "replace").strip("\0 "))
    if kind.upper() in DECODED:
        return "no frame of its %s video can be decoded: the file is damaged; get it again" % name
    return "OpenCV %s lacks the codec of its video, %s: turn it into H.264 (ffmpeg -i IN -c:v libx264 OUT.mp4)" % (cv2.__version__, name)


def _cut(lacks):
    return "it is cut short, the last %s bytes are not there; get the file again" % "{:,}".format(lacks)


def camera(name: str, fps: float | None) -> Iterator[Frame]:
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
                yield Frame("camera " + name, number, round(now, 3), image, fps or CAMERA_RATE, round(now + 1 / (fps or CAMERA_RATE), 3))
                number, due = number + 1, max(due + 1 / fps, now) if fps else 0.0
        raise errors.Fail("camera %s gives no more frames" % name)
    finally:
        capture.release()
