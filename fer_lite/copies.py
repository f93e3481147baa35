"""Writing drawn copies: images, and videos that keep their frames' times. Each is put in its place when it is whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from fractions import Fraction
from typing import Any, Callable, Iterator

import cv2
import numpy as np

from fer_lite import containers, errors, images, video

try:
    import av  # PyAV brings encoders that browsers know (extra [video])
except ImportError:
    av = None

CLOCK = 90000  # ticks a second, MPEG's own
ENCODERS = {  # what browsers play: (codec, its name, options)
    ".webm": ("libvpx-vp9", "VP9", {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0"}),
    ".mp4": ("libx264", "H.264", {"preset": "veryfast", "crf": "20", "bf": "0"}),
}
SOUND = {".webm": ("opus", "vorbis"), ".mp4": ("aac", "mp3", "ac3", "opus")}  # copied as it is
PLAIN = {".avi": ("MJPG", "Motion JPEG"), ".webm": ("VP80", "VP8"), ".mp4": ("mp4v", "MPEG-4 Part 2")}  # that OpenCV writes
ADVICE = "browsers do not play it: draw to %s" % ("an .mp4" if av else "a .webm, or install PyAV (pip install av) for H.264")


@contextlib.contextmanager
def copy(source: str, path: str, say: Callable[[str], Any] = lambda line: None) -> Iterator[Callable[[np.ndarray, video.Frame], None]]:
    """Yield a function that takes each drawn image (uint8 H x W x 3 BGR) and its Frame. At a video's end `say` is told what it became."""
    real = os.path.realpath(path)  # a link stays, what it names is replaced
    os.makedirs(os.path.dirname(real), exist_ok=True)
    suffix, writer = os.path.splitext(path)[1].lower(), None
    with tempfile.TemporaryDirectory(prefix=".drawing-", dir=os.path.dirname(real)) as folder:
        beside = os.path.join(folder, "copy" + suffix)

        def write(image, frame):
            nonlocal writer
            kind = _Image if not video.is_video(source) else _Encoded if av and suffix != ".avi" else _Plain
            made = writer or kind(beside, suffix, source, image, frame)
            made.write(image, frame)
            writer = made  # where its first image fails nothing is kept

        try:
            yield write
        finally:  # an interrupted video is kept as far as it came
            if writer is not None:
                became = writer.close()
                os.replace(beside, real)
                if became:
                    say("wrote %s: %s" % (path, became))


class _Image:
    def __init__(self, path, suffix, source, *_):
        self.path, self.suffix, self.source = path, suffix, source

    def write(self, image, frame):
        images.log_level(0)  # what matters is said in our one line
        try:
            written, data = cv2.imencode(self.suffix, image)
        except cv2.error:
            written = False
        if not written:  # WebP ends at 16,383 pixels, JPEG at 65,500
            raise errors.Fail("%s: OpenCV cannot write %dx%d pixels as %s: draw to a .png" % (self.source, *image.shape[1::-1], self.suffix))
        with open(self.path, "wb") as f:
            f.write(data.tobytes())

    def close(self):
        return None


class _Plain:
    """OpenCV's writer: one rate, so that frames are repeated or left out to keep the time. No sound."""

    def __init__(self, path, suffix, source, image, frame):
        code, self.name = PLAIN.get(suffix, PLAIN[".mp4"])
        self.rate, self.size, self.count, self.first, self.last = frame.rate, image.shape[1::-1], 0, frame.time, None
        self.path, self.advice = path, "" if suffix == ".webm" else "; " + ADVICE
        self.writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*code), self.rate, self.size)
        if not self.writer.isOpened():
            raise errors.Fail("OpenCV cannot write a %s video: draw to an .mp4 or .avi" % suffix)

    def write(self, image, frame):
        self._fill(frame.time)
        self.last, self.until = image, frame.until

    def _fill(self, until):
        """The last image up to a time."""
        while self.last is not None and self.count < round((until - self.first) * self.rate):
            self.writer.write(self.last if self.last.shape[1::-1] == self.size else cv2.resize(self.last, self.size))
            self.count += 1

    def close(self):
        self._fill(self.until)
        self.writer.release()
        written = cv2.VideoCapture(self.path, cv2.CAP_FFMPEG)  # OpenCV says nothing of a full disk
        if containers.missing(self.path) or written.get(cv2.CAP_PROP_FRAME_COUNT) < 0.9 * self.count:
            raise errors.Fail("%s: the drawn video could not be written whole: is the disk full?" % os.path.dirname(os.path.dirname(self.path)))
        return "%.1f s, %s, no sound%s" % (self.count / self.rate, self.name, self.advice)


class _Encoded:
    """PyAV's: each frame at its own time, and the source's sound where the container takes it as it is."""

    def __init__(self, path, suffix, source, image, frame):
        codec, self.name, options = ENCODERS.get(suffix, ENCODERS[".mp4"])
        self.size, self.first, self.last, self.durations = [side + side % 2 for side in image.shape[1::-1]], frame.time, -1, {}
        self.file = av.open(path, "w", options={"movflags": "faststart"} if suffix in (".mp4", ".mov") else {})
        self.stream = self.file.add_stream(codec, rate=Fraction(frame.rate).limit_denominator(1001), options=options)
        self.stream.width, self.stream.height = self.size
        self.stream.pix_fmt = "yuv420p"
        self.stream.codec_context.time_base = Fraction(1, CLOCK)
        self.stream.codec_context.thread_count = max(1, cv2.getNumThreads())
        self.sound = _Sound(self.file, source, SOUND.get(suffix, SOUND[".mp4"]))

    def write(self, image, frame):
        width, height = self.size
        if image.shape[1] in (width, width - 1) and image.shape[0] in (height, height - 1):  # H.264 takes even sides
            image = cv2.copyMakeBorder(image, 0, height - image.shape[0], 0, width - image.shape[1], cv2.BORDER_REPLICATE)
        else:
            image = cv2.resize(image, self.size)
        picture = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p")
        picture.pts, picture.time_base = max(self.last + 1, round((frame.time - self.first) * CLOCK)), Fraction(1, CLOCK)
        self.last, self.end = picture.pts, frame.until - self.first
        self.durations[picture.pts] = max(1, round(self.end * CLOCK) - picture.pts)
        self.sound.copy(self.end)
        self._mux(self.stream.encode(picture))

    def _mux(self, packets):
        for packet in packets:
            packet.duration = self.durations.pop(packet.pts, packet.duration)
            self.file.mux(packet)

    def close(self):
        self._mux(self.stream.encode())
        self.file.close()
        self.sound.close()
        return "%.1f s, %s, %s" % (self.end, self.name, self.sound.said)


class _Sound:
    """The packets of a source's first sound, copied up to the time that the pictures have come to."""

    def __init__(self, out, source, taken):
        self.out, self.file, self.next, self.said = out, None, None, "no sound"
        if video.is_camera(source):
            return
        with contextlib.suppress(av.FFmpegError):  # pictures without sound are better than nothing
            self.file = av.open(source, options={"protocol_whitelist": "file"})
            stream, picture = self.file.streams.best("audio"), self.file.streams.best("video")
            if stream is None or picture is None:
                return
            self.said = "without its sound (%s)" % stream.codec_context.name
            if stream.codec_context.name in taken:
                self.stream, self.said = out.add_stream_from_template(stream), "with its sound"
                self.shift = round((picture.start_time or 0) * picture.time_base / stream.time_base)  # OpenCV counts from the first picture
                self.packets = (packet for packet in self.file.demux(stream) if packet.pts is not None)
                self.next = next(self.packets, None)

    def copy(self, until):
        while self.next is not None and (self.next.pts - self.shift) * self.next.time_base < until:
            packet = self.next
            packet.pts = packet.dts = packet.pts - self.shift
            packet.stream = self.stream
            try:
                if packet.pts >= 0:
                    self.out.mux(packet)
                self.next = next(self.packets, None)
            except av.FFmpegError:
                self.next, self.said = None, "with a part of its sound"

    def close(self):
        if self.file:
            self.file.close()
