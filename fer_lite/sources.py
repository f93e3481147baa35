"""Images, folders, videos and cameras as one stream of frames, read one at a time.

What a file claims is checked before it is decoded: kind, size, pixels. A problem of one file is an errors.Fail that names it.
"""

from __future__ import annotations

import collections
import io
import os
import sys
from typing import Any, Iterable, Iterator

import cv2
import numpy as np
from PIL import Image, ImageOps

from fer_lite import errors, images, video

try:
    import pillow_heif
except ImportError:
    pillow_heif = None  # type: ignore[assignment]
else:
    pillow_heif.register_heif_opener()

READ = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
HEIF = (".heic", ".heif")
NO_HEIF = "%s: a HEIC image: pip install 'fer-lite[heif]', or save it as JPEG"
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF") + (("HEIF",) if pillow_heif else ())
ORIENTATION = 0x0112  # the EXIF tag
LARGEST_FILE = 1 << 28  # bytes of an image
BYTES, PATHS = (bytes, bytearray, memoryview), (str, os.PathLike)
IMAGES = (*BYTES, *PATHS, np.ndarray, Image.Image)  # what is one image, whatever it can be iterated over
# Kinds that a user may take for images: left out of folders, and said. Any other file is no matter.
LEFT_OUT = HEIF + (".avif", ".jxl", ".jp2", ".raw", ".dng", ".cr2", ".nef", ".arw", ".psd", ".svg")


def expand(names: Iterable[str]) -> list[str]:
    """The sources that `names` (files, folders, cameras' numbers) mean: folders become their images and videos, sorted.

    Hidden files and folders, and what file managers leave, are passed over; one line on stderr says how many files were, and which kinds
    of image are left out. Fail where one is not there, or a folder holds nothing to look at.
    """
    found = []
    for name in names:
        if os.path.isdir(name):
            inside, hidden, others, linked, closed = _inside(name)
            notes = ["%d hidden" % hidden] if hidden else []
            notes += ["%d linked folder%s (give it by its name)" % (linked, "s" * (linked > 1))] if linked else []
            notes += ["%s (it may not be read)" % errors.shown(folder) for folder in closed]
            notes += [
                "%d %s (%s)" % (count, kind, "pip install 'fer-lite[heif]'" if kind in HEIF else "no image that is read here")
                for kind, count in sorted(others.items())
            ]
            if notes:
                print("%s: left out: %s" % (name, ", ".join(notes)), file=sys.stderr)
            if not inside:
                raise errors.Fail("%s holds no image and no video (%s)" % (name, " ".join(READ + video.FILES)))
            found += inside
        elif os.path.exists(name) or video.is_camera(name):
            found.append(name)
        else:
            raise errors.Fail("%s is not there: give a file, a folder, or a camera's number" % name)
    return found


def _inside(folder):
    """(images and videos below a folder, sorted; how many hidden files; {kind that is left out: how many}; how many linked folders, which
    may lead back here; paths of those that may not be read)."""
    inside, hidden, others, linked, closed = [], 0, collections.Counter(), 0, []
    for place, folders, files in os.walk(folder, onerror=lambda problem: closed.append(problem.filename)):
        linked += sum(os.path.islink(os.path.join(place, each)) for each in folders)
        below = os.path.relpath(place, folder).split(os.sep)
        for file in files:
            kind = os.path.splitext(file)[1].lower()
            if (
                file.startswith(".")
                or file in ("Thumbs.db", "desktop.ini")
                or any(part == "__MACOSX" or part.startswith(".") and part != "." for part in below)
            ):
                hidden += 1
            elif kind in READ + video.FILES or kind in HEIF and pillow_heif:
                inside.append(os.path.join(place, file))
            elif kind in LEFT_OUT:
                others[kind] += 1
    return sorted(inside), hidden, others, linked, closed


def frames(name: str, fps: float | None = None) -> Iterator[video.Frame]:
    """Yield the Frames of one source; of a video or camera at most `fps` for each second (None: every one)."""
    if not video.is_video(name):
        return iter([video.Frame(name, None, None, read_image(name), None)])
    return video.camera(name, fps) if video.is_camera(name) else video.recorded(name, fps)


class TooLarge(errors.Fail):
    """An image of more bytes or pixels than are read."""


def read_image(what: Any, pixels: int = images.LARGEST_PIXELS) -> np.ndarray:
    """An image as uint8 H x W x 3 BGR, or H x W grey where it is such an array.

    `what`: a file's path (str, Path) or its bytes: JPEG, PNG, WebP, BMP, TIFF, GIF, with [heif] HEIC; its first frame, turned as its EXIF
    says; at most `pixels` of them. Or a PIL image; or an array, uint8 or uint16: H x W, H x W x 1, H x W x 3 (BGR) or H x W x 4 (BGRA, its alpha ignored).
    Fail in one line on a file that is none, TooLarge; TypeError on another type, ValueError on another array.
    """
    if isinstance(what, np.ndarray):
        return _of_array(what)
    if isinstance(what, Image.Image):
        return _of_pillow(what, "the PIL image", pixels)
    if isinstance(what, BYTES):
        return _of_bytes(bytes(what), "the image", pixels, named=False)
    if isinstance(what, PATHS):
        if video.is_video(os.fsdecode(what)):
            raise errors.Fail("%s: a video or camera, not an image: fer_lite.sources.frames gives its frames" % os.fsdecode(what))
        return _of_bytes(_content(os.fspath(what)), os.fspath(what), pixels)
    raise TypeError(
        "an image is a path, bytes, a PIL image, or a NumPy array, not %s%s"
        % (
            type(what).__name__,
            " (cv2.imread gives None where a file is missing)" if what is None else ": hand over its .read()" if hasattr(what, "read") else "",
        )
    )


def _of_array(array):
    if array.dtype not in (np.uint8, np.uint16) or not array.size or array.ndim not in (2, 3) or array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        raise ValueError("an image is uint8 (or uint16) H x W or H x W x 3 (BGR), neither empty nor of another kind: not %s %s" % (array.dtype, array.shape))
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if array.ndim == 3:
        array = array[..., 0] if array.shape[2] == 1 else array[..., :3]
    return np.ascontiguousarray(array)


def _content(path):
    try:
        size = os.path.getsize(path)
        if size > LARGEST_FILE:
            raise TooLarge("%s: a file of %d MB; images of up to %d are read" % (path, size >> 20, LARGEST_FILE >> 20))
        with open(path, "rb") as f:
            return f.read(LARGEST_FILE)
    except FileNotFoundError:
        raise errors.Fail("%s is not there" % path) from None
    except OSError as problem:  # a folder, a link to itself, one that may not be read: of many files it is one
        raise errors.Fail("%s cannot be read: %s" % (path, problem.strerror)) from None


def _of_bytes(data, where, pixels, named=True):
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc") and not pillow_heif:
        raise errors.Fail(NO_HEIF % where)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise TooLarge("%s: at most %d million pixels are read: make it smaller" % (where, pixels // 10**6)) from None
    except Exception:  # Pillow's readers raise whatever a damaged file makes them
        raise errors.Fail("%s: %s" % (where, _what_else(data, named))) from None
    return _of_pillow(image, where, pixels)


def _what_else(data, named):
    if not data:
        return "empty, no image"
    for head, name in ((b"\xff\xd8", "JPEG"), (b"\x89PNG", "PNG"), (b"RIFF", "WebP"), (b"GIF8", "GIF"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF")):
        if data.startswith(head):
            return "a damaged %s image; get the file again" % name
    return "no image that is read (%s)%s" % (" ".join(READ), ", and by its name no video" if named else "")


def _of_pillow(image, where, pixels):
    if image.width * image.height > pixels:
        raise TooLarge("%s: %dx%d pixels; at most %d million are read: make it smaller" % (where, *image.size, pixels // 10**6))
    try:
        if image.getexif().get(ORIENTATION, 1) != 1:  # else it would be copied for nothing
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits of grey, in Pillow's several ways
            deep = np.asarray(image)
            return _of_array(deep if deep.dtype == np.uint16 else np.clip(deep, 0, 65535).astype(np.uint16))[..., None].repeat(3, axis=2)
        if image.mode == "F":
            raise errors.Fail("%s: an image of floating point numbers: save it with 8 or 16 bits" % where)
        return _bgr(image if image.mode == "RGB" else image.convert("RGB"))
    except errors.Fail:
        raise
    except Exception as problem:  # as above
        cut = "an image that is cut short" if "truncated" in str(problem) else "a damaged image"
        raise errors.Fail("%s: %s; get the file again" % (where, cut)) from None


def _bgr(image, rows=32):
    """An RGB image of PIL's as uint8 H x W x 3: its own four bytes a pixel, strip by strip, for whole its copies cost as much as decoding."""
    width, height = image.size
    array = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        pixels = np.frombuffer(strip.tobytes("raw", "RGBX"), np.uint8).reshape(-1, width, 4)
        cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGR, dst=array[top : top + rows])
    return array
