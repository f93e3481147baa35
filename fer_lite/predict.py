"""Predict the expression of every face in images, folders, videos or from a camera.

    python -m fer_lite.predict photo.jpg                          one line of JSON a face
    python -m fer_lite.predict clip.mp4 --fps 5 --csv             five frames a second, as CSV
    python -m fer_lite.predict photos/ --draw drawn/              copies with what was found drawn on them
    python -m fer_lite.predict 0 --fps 5                          the first camera, until Ctrl-C

From Python:

    from fer_lite import predict
    p = predict.Predictor("models/resnet32_cifar10")
    p("photo.jpg")      # or uint8 H x W x 3 BGR: [{"box": [x, y, width, height], "label": "happiness", "probabilities": {...}, ...}]

Faces are found by YuNet (fer_lite/yunet, MIT licence); `--faces given` takes each image for a face. An expression is what a
face shows, not what a person feels: see models/README.md before any use.
"""
import argparse
import contextlib
import csv
import itertools
import json
import os
import sys
import tempfile

import cv2
import numpy as np

from fer_lite import crops, errors, faces, names, runtimes, sources

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DEFAULT = os.path.join("models", "resnet32_cifar10")
GREEN, BLACK = (96, 208, 64), (0, 0, 0)


class Predictor:
    """A network with a face detector in front: called with an image, it gives a list of the faces in it."""

    def __init__(self, model=DEFAULT, find="detect", ten_crops=True, score=faces.SCORE, largest_side=faces.LARGEST_SIDE, threads=None):
        """`model`: a folder of models/ or exports/, or one of its .onnx files (model_int8.onnx), here or in this repository; several
        with "+" between them are the paper's ensemble: their probabilities are averaged;
        `find`: "detect", or "given" where images are faces already; `ten_crops`: the paper's ten, averaged, or the centre
        alone; `score`: the detector's least confidence, 0 to 1; `largest_side`: larger images are searched at this size;
        `threads`: None for all cores. Fail where the model is missing or no such model.
        """
        members = [_member(path, threads) for path in map(_model_file, _names(model))]
        self.network, self.classes, self.size = members[0]
        if len(members) > 1:
            if any(member[1:] != members[0][1:] for member in members):
                raise errors.Fail("%s: an ensemble's networks have the same classes and crops, these have not" % model)
            self.network = runtimes.ensemble([member[0] for member in members])
        self.find, self.ten_crops, self.score, self.largest_side = find, ten_crops, score, largest_side
        cv2.setNumThreads(threads or -1)  # -1: OpenCV's own choice

    def __call__(self, image):
        """The faces in an image (a path, or uint8 H x W x 3 BGR or H x W grey), the largest first, [] where there are none.

        Each is a dict: box ([x, y, width, height] in pixels), score (the detector's, 0 to 1; None where given), label,
        probabilities ({expression: 0 to 1}). Fail on a file that is no image.
        """
        image = sources.read_image(image) if isinstance(image, (str, os.PathLike)) else image
        if image.dtype != np.uint8 or not image.size or (image.ndim != 2 and image.shape[2:] != (3,)):
            raise ValueError("an image is uint8 H x W or H x W x 3 (BGR), not %s %s" % (image.dtype, image.shape))
        if self.find == "given":
            found = [faces.whole(image)]
            squares = [found[0].box]
        else:
            found = faces.detect(image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), self.score, self.largest_side)
            squares = [faces.square(each.box) for each in found]
        scores = self.scores([faces.cut(image, square, max(crops.SIDE, self.size)) for square in squares]) if found else []
        return [{"box": list(each.box), "score": None if each.score is None else round(each.score, 4), "label": self.classes[int(p.argmax())],
                 "probabilities": {name: round(float(value), 6) for name, value in zip(self.classes, p)}}
                for each, p in zip(found, scores)]

    def scores(self, cuts):
        """float32 N x classes of N faces as faces.cut gives them (uint8 3 x S x S)."""
        stack = np.stack(cuts)
        if self.ten_crops:
            return crops.ten_crop_mean(self.network, stack, np.float32(0), self.size)[0]
        side = (stack.shape[-1] - self.size) // 2
        return self.network.probabilities(stack[..., side:side + self.size, side:side + self.size].astype(np.float32))


def _member(path, threads):
    """(Runtime, classes, crop) of an ONNX file. Fail where its metadata do not say them."""
    session = runtimes.session(path, threads)
    about = session.get_modelmeta().custom_metadata_map
    try:
        classes, size = json.loads(about["classes"]), int(about["crop"])
    except (KeyError, ValueError):
        raise errors.Fail("%s is no network of this project (its metadata name no classes): take one that `make export` wrote"
                          % path) from None
    return runtimes.of_session(session), classes, size


def _names(model):
    """The names in "a+b"; a file or folder that has a + in its own name is one."""
    model = os.fspath(model)
    return [model] if os.path.exists(model) else model.split("+")


def _model_file(model):
    """The ONNX file that a model's name means, looked for here, then in this repository."""
    for place in (model, os.path.join(ROOT, model), os.path.join(ROOT, "models", model)):
        if os.path.isdir(place) and os.path.exists(os.path.join(place, names.FLOAT)):
            return os.path.join(place, names.FLOAT)
        if os.path.isfile(place):
            if not place.endswith(".onnx"):
                raise errors.Fail("%s is no ONNX model: take a model.onnx or the folder that holds one (`make export` writes it)" % place)
            return place
    there = sorted(os.listdir(os.path.join(ROOT, "models"))) if os.path.isdir(os.path.join(ROOT, "models")) else []
    raise errors.Fail("there is no model %s (in models/: %s): MODEL is a folder that `make export` wrote, or its model.onnx"
                      % (model, ", ".join(name for name in there if os.path.isdir(os.path.join(ROOT, "models", name))) or "none"))


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


def records(frame, found):
    """What is printed of a Frame: a dict a face, or one that says that there is none."""
    where = {"file": frame.file}
    if frame.frame is not None:
        where.update(frame=frame.frame, time=frame.time)
    return [dict(where, **face) for face in found] or [dict(where, box=None, label=None, probabilities=None, problem="no face found")]


def csv_row(record, classes):
    """A record as the values of CSV_COLUMNS and the classes."""
    box, probabilities = record["box"] or [""] * 4, record["probabilities"] or {}
    return [record["file"], record.get("frame", ""), record.get("time", ""), *box, record.get("score") or "", record["label"] or "",
            *(probabilities.get(name, "") for name in classes), record.get("problem", "")]


def csv_columns(classes):
    return ["file", "frame", "time", "x", "y", "width", "height", "score", "label", *classes, "problem"]


@contextlib.contextmanager
def drawings(out, source, alone):
    """Yield a function that takes each drawn image of `source` and the Frame's rate; what it was given is in `out` at the end.

    `out`: a file for a source that stands alone, else a folder; videos become MP4. Fail where it would replace the source.
    """
    path = out
    if not (alone and os.path.splitext(out)[1]):
        stem = "camera%s" % os.path.basename(source) if sources.is_camera(source) else os.path.basename(source)
        path = os.path.join(out, os.path.splitext(stem)[0] + ".mp4" if sources.is_video(source) else stem)
    if os.path.exists(source) and os.path.exists(path) and os.path.samefile(source, path):
        raise errors.Fail("%s would be replaced by its drawn copy: choose another --draw (DRAW=)" % source)
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in (sources.VIDEOS if sources.is_video(source) else sources.IMAGES):
        raise errors.Fail("%s: a drawn copy of %s is written as %s" % (path, source, ", ".join(
            (".mp4", ".avi") if sources.is_video(source) else sources.IMAGES)))
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    if sources.is_video(source):
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


def look(predictor, source, write, fps=None, limit=None, draw_out=None, alone=True):
    """Predict every frame of one source; `write` takes each record as soon as it is there."""
    drawing = drawings(draw_out, source, alone) if draw_out else contextlib.nullcontext()
    with drawing as keep, contextlib.closing(_closable(sources.frames(source, fps))) as stream:
        for frame in itertools.islice(stream, limit):
            found = predictor(frame.image)
            for record in records(frame, found):
                write(record)
            if keep:
                keep(draw(frame.image, found), frame.rate)


def _closable(stream):
    """A generator over `stream`, so that leaving early closes a video."""
    yield from stream


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python -m fer_lite.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="image, video, folder, or a camera's number")
    parser.add_argument("--model", default=DEFAULT, help="folder in models/ or exports/, or an .onnx file; A+B averages two (default: %(default)s)")
    parser.add_argument("--faces", choices=("detect", "given"), default="detect", help="find faces, or take each image for one")
    parser.add_argument("--crops", type=int, choices=(1, 10), default=10, help="the paper's ten crops, averaged, or the centre alone")
    parser.add_argument("--csv", action="store_true", help="CSV instead of JSON lines")
    parser.add_argument("--draw", metavar="OUT", help="draw the faces on a copy: a file for one source, else a folder")
    parser.add_argument("--fps", type=_positive, help="at most so many frames a second of a video or camera")
    parser.add_argument("--limit", type=int, help="at most so many frames of each video or camera")
    parser.add_argument("--score", type=float, default=faces.SCORE, help="the detector's least confidence (default: %(default)s)")
    parser.add_argument("--search", type=int, default=faces.LARGEST_SIDE, metavar="PIXELS",
                        help="faces are searched with the image at this size; larger finds smaller faces (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="cores to use (default: all)")
    args = parser.parse_args()
    predictor = Predictor(args.model, args.faces, args.crops == 10, args.score, args.search, args.threads)
    found = sources.expand(args.sources)
    table = csv.writer(sys.stdout, lineterminator="\n")
    if args.csv:
        table.writerow(csv_columns(predictor.classes))

    def write(record):
        if args.csv:
            table.writerow(csv_row(record, predictor.classes))
        else:
            print(json.dumps(record, ensure_ascii=False))
        sys.stdout.flush()

    failed = 0
    for source in found:
        try:
            look(predictor, source, write, args.fps, args.limit, args.draw, len(found) == 1)
        except errors.Fail as problem:
            if len(found) == 1:
                raise
            print("error: %s" % problem, file=sys.stderr)
            failed += 1
    if failed:
        raise errors.Fail("%d of %d files could not be read (named above)" % (failed, len(found)))


def _positive(text):
    value = float(text)
    if not 0 < value < 1000:
        raise argparse.ArgumentTypeError("%s is not between 0 and 1000" % text)
    return value


if __name__ == "__main__":
    main()
