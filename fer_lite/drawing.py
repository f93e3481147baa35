"""Copies of images and videos with the faces that were found drawn on them."""
import contextlib
import os
import tempfile

import cv2

from fer_lite import errors, sources, video

GREEN, BLACK = (96, 208, 64), (0, 0, 0)


def draw(image, found):
    """A copy of uint8 H x W x 3 with each face's box, label and probability on it."""
    drawn = image.copy() if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    thick = max(1, round(max(drawn.shape[:2]) / 400))
    for face in found:
        x, y, width, height = face["box"]
        cv2.rectangle(drawn, (x, y), (x + width, y + height), GREEN, thick)
        text = "%s %.0f%%" % (face["label"], 100 * face["probabilities"][face["label"]])
        size = min(max(0.35, width / 160), 4 * thick)
        (wide, high), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, max(1, thick // 2))
        left = max(0, min(x, drawn.shape[1] - wide))
        bottom = y - below if y - high - below >= 0 else min(drawn.shape[0] - below, y + height + high + below)
        cv2.rectangle(drawn, (left, bottom - high - below // 2), (left + wide, bottom + below), GREEN, -1)
        cv2.putText(drawn, text, (left, bottom), cv2.FONT_HERSHEY_SIMPLEX, size, BLACK, max(1, thick // 2), cv2.LINE_AA)
    return drawn


@contextlib.contextmanager
def drawings(out, source, alone):
    """Yield a function that takes each drawn image of `source` and the Frame's rate; what it was given is in `out` at the end.

    `out`: a file for a source that stands alone, else a folder; videos become MP4. Fail where it would replace the source.
    """
    path = out
    if not (alone and os.path.splitext(out)[1]):
        stem = "camera%s" % os.path.basename(source) if video.is_camera(source) else os.path.basename(source)
        path = os.path.join(out, os.path.splitext(stem)[0] + ".mp4" if video.is_video(source) else stem)
    if os.path.exists(source) and os.path.exists(path) and os.path.samefile(source, path):
        raise errors.Fail("%s would be replaced by its drawn copy: choose another --draw (DRAW=)" % source)
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in (video.FILES if video.is_video(source) else sources.IMAGES):
        raise errors.Fail("%s: a drawn copy of %s is written as %s" % (path, source, ", ".join(
            (".mp4", ".avi") if video.is_video(source) else sources.IMAGES)))
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    if video.is_video(source):
        with _video_file(path, suffix) as write:
            yield write
    else:
        yield lambda image, rate: _write_image(path, suffix, image)


def _write_image(path, suffix, image):
    beside = "%s.partial-%d" % (path, os.getpid())
    try:
        with open(beside, "wb") as f:
            f.write(cv2.imencode(suffix, image)[1].tobytes())
        os.replace(beside, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(beside)


@contextlib.contextmanager
def _video_file(path, suffix):
    """A function that appends images to a video. It is put in its place at the end, even of one that was interrupted."""
    writer = None
    with tempfile.TemporaryDirectory(prefix=".drawing-", dir=os.path.dirname(path) or ".") as folder:
        beside = os.path.join(folder, "video" + suffix)

        def write(image, rate):
            nonlocal writer
            if writer is None:
                code = "MJPG" if suffix == ".avi" else "mp4v"
                writer = cv2.VideoWriter(beside, cv2.VideoWriter_fourcc(*code), rate, image.shape[1::-1])
                if not writer.isOpened():
                    raise errors.Fail("%s: OpenCV cannot write such a video: take .mp4 or .avi" % path)
            writer.write(image)

        try:
            yield write
        finally:
            if writer is not None:
                writer.release()
                os.replace(beside, path)
