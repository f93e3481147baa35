"""Photographs and video frames a second, end to end: the package beside a bare loop of YuNet and ONNX Runtime, in turns in one run.

    python3 -m benchmarks.predict [--images 40] [--rounds 5] [--sizes 640x480 1920x1080] [--faces 1 8] [--fer 'env/run --rivals']

A photograph's time runs from a JPEG file to its faces' probabilities, a video's from the file to those of its last frame: reading,
detection, cutting, the network. The bare loop is what one writes with cv2 and onnxruntime alone: the same detector at the same size, the
same network, each box cut out as it is; it knows no EXIF, no tilted face, no small one, no tracks, and checks no file. Each picture shows 1 or
8 copies of a face, of scikit-image's photograph (public domain) or, where that is not installed, drawn. `--fer PYTHON` adds the package `fer`
(benchmarks/fer_judge.py), with the detector that it brings; it may find other faces than are there.
"""

import argparse
import contextlib
import os
import shlex
import subprocess
import tempfile
import time

import cv2
import numpy as np

from common import errors, parallel
from common.drawn import faces as drawn
from common.progress import Progress
from fer_lite import faces, names, predict, runtimes, sources, tracks

COLUMNS, ROWS = 4, 2  # of the faces' places
FPS, JPEG = 25, 90


def photograph():
    """(a face, what stands behind the faces): uint8 H x W x 3 each, BGR."""
    try:
        from skimage import data
    except ImportError:
        rng = np.random.RandomState(8)
        face = drawn.paint(drawn.measures({"happiness": 1.0}, 1.0), drawn.person(rng), drawn.pose(rng))
        return cv2.cvtColor(face, cv2.COLOR_GRAY2BGR), np.full((256, 256, 3), 236, np.uint8)
    whole = data.astronaut()[..., ::-1]
    return whole[:224, 112:336], whole[256:]


def picture(width, height, count):
    """uint8 `height` x `width` x 3 with so many faces, each as large as if there were eight."""
    face, behind = photograph()
    wide, high = width // COLUMNS, height // ROWS
    side, image = min(wide, high), cv2.resize(behind, (width, height))
    for place in range(count):
        y, x = (high - side) // 2 + place // COLUMNS * high, (wide - side) // 2 + place % COLUMNS * wide
        image[y : y + side, x : x + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return image


def write(folder, image, count):
    """(a photograph, a video of `count` frames in which the picture moves): the files' paths."""
    photo, film = os.path.join(folder, "photo.jpg"), os.path.join(folder, "film.mp4")
    cv2.imwrite(photo, image, [cv2.IMWRITE_JPEG_QUALITY, JPEG])
    out = cv2.VideoWriter(film, cv2.VideoWriter_fourcc(*"mp4v"), FPS, image.shape[1::-1])
    for i in range(count):
        out.write(np.roll(image, i % 8, axis=1))
    out.release()
    return photo, film


# A way gives two functions of (path, how many images): each yields the number of faces in a photograph, read so often, or in a video's frame.


def ours(model, threads):
    predictor = predict.Predictor(model, ten_crops=False, threads=threads)

    def film(path, _):
        track = tracks.Tracker()
        for frame in sources.frames(path):
            yield len(track(predictor(frame.image, thorough=False), frame.time))

    return lambda path, count: (len(predictor(path)) for _ in range(count)), film


def bare(model, threads):
    session = runtimes.session(os.path.join(names.ROOT, model, names.FLOAT), threads)
    data = session.get_inputs()[0]
    yunet = cv2.FaceDetectorYN.create(faces.YUNET, "", (320, 320), faces.SCORE, faces.OVERLAP, faces.MOST)

    def look(image):
        scale = min(1.0, faces.LARGEST_SIDE / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
        yunet.setInputSize(small.shape[1::-1])
        cuts, rows = [], yunet.detect(small)[1]
        for row in () if rows is None else rows:
            x, y, width, height = (max(0, int(v / scale)) for v in row[:4])
            grey = cv2.cvtColor(image[y : y + height, x : x + width], cv2.COLOR_BGR2GRAY)
            cuts.append(np.repeat(cv2.resize(grey, data.shape[:1:-1])[None], 3, axis=0))
        if cuts:
            session.run(None, {data.name: np.float32(cuts)})
        return len(cuts)

    def film(path, _):
        capture = cv2.VideoCapture(path)
        while True:
            there, image = capture.read()
            if not there:
                return
            yield look(image)

    return lambda path, count: (look(cv2.imread(path)) for _ in range(count)), film


class Fer:
    """The package fer in a process of its own, one for each number of threads; how many faces it found in how many images."""

    def __init__(self, python):
        self.python, self.processes, self.found, self.images = shlex.split(python), {}, 0, 0

    def __call__(self, _, threads):
        if threads not in self.processes:
            limits = dict.fromkeys(("THREADS", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), str(threads))
            self.processes[threads] = subprocess.Popen(
                [*self.python, "-m", "benchmarks.fer_judge"], env=dict(os.environ, **limits), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        return (lambda path, count: self.ask(threads, path, count)), (lambda path, _: self.ask(threads, path, 0))

    def ask(self, threads, path, count):
        process = self.processes[threads]
        with contextlib.suppress(BrokenPipeError):
            print(path, count, file=process.stdin, flush=True)
        said = process.stdout.readline()
        if not said:
            raise errors.Fail("%s cannot run the package fer: give --fer 'env/run --rivals', which installs it" % shlex.join(self.python))
        found = list(map(int, said.split()))
        self.found, self.images = self.found + sum(found), self.images + len(found)
        return found

    def close(self):
        for process in self.processes.values():
            process.stdin.close()
            process.wait()


WAYS = {"fer-lite": ours, "bare loop": bare}
EXACT = tuple(WAYS)  # those that must find every face


def rate(way, path, count, wanted):
    """Images a second. Fail where one has not `wanted` faces (None: any number): then the ways would not do the same work."""
    start = time.perf_counter()
    found = list(way(path, count))
    seconds = time.perf_counter() - start
    if len(found) != count or wanted is not None and found != [wanted] * count:
        raise errors.Fail(
            "%s: %s faces were found, not %d in each of %d images: take larger --sizes" % (os.path.basename(path), sorted(set(found)), wanted, count)
        )
    return count / seconds


def measure(model, makers, size, count, images, rounds, threads, bar):
    """{"photographs", "video": {way: [images a second in each round]}} of pictures of one kind."""
    cv2.setNumThreads(threads)
    os.environ["OPENCV_FFMPEG_THREADS"] = str(threads)  # read when a video is opened
    with tempfile.TemporaryDirectory(prefix="fer-lite-bench-") as folder:
        paths = write(folder, picture(*size, count), images)
        ways = {name: make(model, threads) for name, make in makers.items()}
        found = {kind: {name: [] for name in ways} for kind in ("photographs", "video")}
        for turn in range(rounds + 1):
            for (kind, rates), place, path in zip(found.items(), (0, 1), paths):
                for name, way in list(ways.items())[:: (-1) ** turn]:  # each goes first in its turn
                    bar.update(bar.done, "%dx%d, %s" % (*size, kind))
                    rates[name].append(rate(way[place], path, images, count if name in EXACT else None))
                    bar.add()
    return {kind: {name: each[1:] for name, each in rates.items()} for kind, rates in found.items()}  # the first round warms up


def line(threads, size, count, kind, rates):
    """A printed line: fer-lite's median, then each other's, and the ratio's median over the rounds with its least and largest."""
    mine, text = np.array(rates["fer-lite"]), "%7d  %9s  %5d  %-11s" % (threads, "%dx%d" % size, count, kind)
    text += "  %9.1f" % np.median(mine)
    for beside in list(rates.values())[1:]:
        ratios = mine / np.array(beside)
        text += "  %9.1f  %5.2f (%.2f to %.2f)" % (np.median(beside), np.median(ratios), ratios.min(), ratios.max())
    return text


def _size(text):
    width, height = map(int, text.split("x"))
    if not (64 <= width <= 7680 and 64 <= height <= 4320):
        raise ValueError
    return width, height


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.predict", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=predict.DEFAULT, help="a network's folder (default: %(default)s)")
    parser.add_argument("--images", type=int, default=40, help="photographs, or frames, of each turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns that count; one goes before them (default: %(default)s)")
    parser.add_argument("--sizes", type=_size, nargs="+", default=[(640, 480), (1920, 1080)], metavar="WxH")
    parser.add_argument("--faces", type=int, nargs="+", choices=range(1, COLUMNS * ROWS + 1), default=[1, COLUMNS * ROWS], metavar="1-8")
    parser.add_argument("--fer", metavar="PYTHON", help="the Python that has env/rivals.txt: 'env/run --rivals'")
    args = parser.parse_args()
    fer = args.fer and Fer(args.fer)
    makers = dict(WAYS, **({"fer": fer} if fer else {}))
    cases = [(threads, size, count) for threads in sorted({1, parallel.count()}) for size in args.sizes for count in args.faces]
    lines = []
    with Progress("benchmark", len(cases) * len(makers) * 2 * (args.rounds + 1)) as bar:
        for threads, size, count in cases:
            found = measure(args.model, makers, size, count, args.images, args.rounds, threads, bar)
            lines += [line(threads, size, count, kind, rates) for kind, rates in found.items()]
    print("images a second, median of %d rounds of %d; OpenCV %s\n" % (args.rounds, args.images, cv2.__version__))
    if fer:
        fer.close()
        print("fer found %.2f faces an image\n" % (fer.found / fer.images))
    titles = "".join("  %9s  ratio (least to largest)" % name for name in list(makers)[1:])
    print("\n".join(["threads       size  faces  kind           fer-lite" + titles, *lines]))


if __name__ == "__main__":
    main()
