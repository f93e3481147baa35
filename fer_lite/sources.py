"""Images, folders, videos and cameras as one stream of frames, read one at a time.

What a file claims is checked before it is decoded: kind, size, pixels. A problem of one file is an errors.Fail that names it.
"""
import os
import struct

from fer_lite import errors, images, video

IMAGES = (".jpg", ".jpeg", ".png", ".webp")
LARGEST_FILE = 1 << 28  # bytes of an image


def expand(names):
    """The sources that `names` (files, folders, cameras' numbers) mean: folders become their images and videos, sorted.

    Fail where one is not there, or a folder holds nothing to look at.
    """
    found = []
    for name in names:
        if os.path.isdir(name):
            inside = sorted(os.path.join(folder, file) for folder, _, files in os.walk(name) for file in files
                            if file.lower().endswith(IMAGES + video.FILES))
            if not inside:
                raise errors.Fail("%s holds no image and no video (%s)" % (name, " ".join(IMAGES + video.FILES)))
            found += inside
        elif os.path.exists(name) or video.is_camera(name):
            found.append(name)
        else:
            raise errors.Fail("%s is not there: give a file, a folder, or a camera's number" % name)
    return found


def frames(name, fps=None):
    """Yield the Frames of one source; of a video or camera at most `fps` for each second (None: every one)."""
    if not video.is_video(name):
        return iter([video.Frame(name, None, None, read_image(name), None)])
    return video.camera(name, fps) if video.is_camera(name) else video.recorded(name, fps)


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
    images.bound(path, width, height)
    if data[:4] == b"\x89PNG" and b"IEND" not in data:
        raise errors.Fail("%s: a PNG image that is cut short" % path)
    image = images.decoded(data)
    if image is None:
        raise errors.Fail("%s: a damaged image" % path)
    return image


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
