"""Images, folders, videos and cameras as one stream of frames, read one at a time.

What a file claims is checked before it is decoded: kind, size, pixels. A problem of one file is an errors.Fail that names it.
"""
import os
import struct
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
IMAGES = (".jpg", ".jpeg", ".png", ".webp")
VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".mjpeg", ".mjpg", ".ts", ".3gp")
LARGEST_FILE = 1 << 28  # bytes of an image
LARGEST_PIXELS = 100 * 1000 * 1000  # of an image or a video's frame: 300 MB decoded
MISSING = 0.02  # of a video's frames: a container's count may be off by a little
CAMERA_RATE = 25.0  # frames a second of a drawn video, where --fps sets none
FAILURES = 30  # frames in a row that a camera may fail to give


def expand(names):
    """The sources that `names` (files, folders, cameras' numbers) mean: folders become their images and videos, sorted.

    Fail where one is not there, or a folder holds nothing to look at.
    """
    found = []
    for name in names:
        if os.path.isdir(name):
            inside = sorted(os.path.join(folder, file) for folder, _, files in os.walk(name) for file in files
                            if file.lower().endswith(IMAGES + VIDEOS))
            if not inside:
                raise errors.Fail("%s holds no image and no video (%s)" % (name, " ".join(IMAGES + VIDEOS)))
            found += inside
        elif os.path.exists(name) or is_camera(name):
            found.append(name)
        else:
            raise errors.Fail("%s is not there: give a file, a folder, or a camera's number" % name)
    return found


def is_camera(name):
    """Whether a source is a camera: its number (0), or its device (/dev/video0)."""
    return (name.isdigit() and not os.path.exists(name)) or name.startswith("/dev/video")


def is_video(name):
    return is_camera(name) or name.lower().endswith(VIDEOS)


def frames(name, fps=None):
    """Yield the Frames of one source; of a video or camera at most `fps` for each second (None: every one)."""
    if not is_video(name):
        return iter([Frame(name, None, None, read_image(name), None)])
    return _camera(name, fps) if is_camera(name) else _video(name, fps)


def read_image(path):
    """A PNG, JPEG or WebP file as uint8 H x W x 3 BGR, turned as its EXIF says. Fail in one line on anything else."""
    try:
        size = os.path.getsize(path)
        if size > LARGEST_FILE:
            raise errors.Fail("%s: a file of %d MB; images of up to %d are read" % (path, size >> 20, LARGEST_FILE >> 20))
        with open(path, "rb") as f:
            data = f.read(LARGEST_FILE)
    except FileNotFoundError:
        raise errors.Fail("%s is not there" % path) from None
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        height, width = _webp_size(data, path)
    elif data[:4] == b"\x89PNG" or data[:2] == b"\xff\xd8":
        height, width = images.size(data, path)
    else:
        raise errors.Fail("%s: no PNG, JPEG or WebP image, and by its name no video" % path)
    _bound(path, width, height)
    if data[:4] == b"\x89PNG" and b"IEND" not in data:
        raise errors.Fail("%s: a PNG image that is cut short" % path)
    image = images.decoded(data)
    if image is None:
        raise errors.Fail("%s: a damaged image" % path)
    return image


def _bound(name, width, height):
    if not 0 < width * height <= LARGEST_PIXELS:
        raise errors.Fail("%s: %dx%d pixels; at most %d million are read: make it smaller" % (name, width, height, LARGEST_PIXELS // 10**6))


def _webp_size(data, path):
    """(height, width) that a WebP file claims to have, in one of its three forms."""
    kind, body = data[12:16], data[20:30]
    if len(body) == 10:
        if kind == b"VP8X":
            return int.from_bytes(body[7:10], "little") + 1, int.from_bytes(body[4:7], "little") + 1
        if kind == b"VP8L":
            bits = int.from_bytes(body[1:5], "little")
            return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
        if kind == b"VP8 ":
            width, height = struct.unpack("<HH", body[6:10])
            return height & 0x3FFF, width & 0x3FFF
    raise errors.Fail("%s: a damaged WebP image" % path)


def _open(what, problem, *options):
    cv2.setLogLevel(0)  # what matters is said in our one line
    capture = cv2.VideoCapture(what, *options)
    if not capture.isOpened():
        raise errors.Fail(problem)
    return capture


def _video(path, fps):
    capture = _open(path, "%s: no video that OpenCV can read, or one that is cut short" % path, cv2.CAP_FFMPEG)
    try:
        _bound(path, *(int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)))
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


def _camera(name, fps):
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
