"""Predict the expression of every face in images, folders, videos or from a camera.

    fer-lite photo.jpg                          a table on a terminal, else one line of JSON a face
    fer-lite clip.mp4 --fps 5 --csv             five frames a second, as CSV
    fer-lite photos/ --draw drawn/              copies with what was found drawn on them
    fer-lite 0 --fps 5                          the first camera, until Ctrl-C
    fer-lite serve                              a server: POST an image, get JSON (--help says more)
    fer-lite verify                             whether the networks here are those that were made

Faces are found by YuNet (fer_lite/yunet, MIT licence); `--faces given` takes each image for a face. An expression is what a
face shows, not what a person feels: see models/README.md before any use.
"""

import argparse
import contextlib
import csv
import itertools
import json
import sys
import warnings

import cv2

from fer_lite import __version__, copies, drawing, errors, faces, outputs, progress, sources, tracks, verify, video
from fer_lite.predict import DEFAULT, Predictor


def records(frame, found):
    """What is printed of a Frame: a dict a face, or one that says that there is none."""
    where = {"file": frame.file}
    if frame.frame is not None:
        where.update(frame=frame.frame, time=frame.time)
    return [dict(where, **face) for face in found] or [dict(where, box=None, label=None, probabilities=None, problem="no face found")]


def csv_row(record, classes):
    """A record as the values of CSV_COLUMNS and the classes."""
    box, probabilities = record["box"] or [""] * 4, record["probabilities"] or {}
    return [
        record["file"],
        record.get("frame", ""),
        record.get("time", ""),
        record.get("track", ""),
        *box,
        record.get("score") or "",
        _blank(record.get("roll")),
        record["label"] or "",
        *(probabilities.get(name, "") for name in classes),
        record.get("problem", ""),
    ]


def _blank(value):
    return "" if value is None else value


def csv_columns(classes):
    return ["file", "frame", "time", "track", "x", "y", "width", "height", "score", "roll", "label", *classes, "problem"]


def look(predictor, source, write, fps=None, limit=None, copy=None, smooth=None, tell=lambda frame: None, say=lambda line: None):
    """Predict every frame of one source; `write` takes each record as soon as it is there, `tell` each Frame.

    `copy`: path of a drawn copy, of which `say` is told; `smooth`: seconds over which a video's probabilities are averaged.
    """
    track = tracks.Tracker(smooth, predictor.threshold, fps) if video.is_video(source) else lambda found, time: found
    drawn = copies.copy(source, copy, say) if copy else contextlib.nullcontext()
    with drawn as keep, contextlib.closing(_closable(sources.frames(source, fps))) as stream:
        for frame in itertools.islice(stream, limit):
            found = track(predictor(frame.image, thorough=frame.frame is None), frame.time)
            tell(frame)
            for record in records(frame, found):
                write(record)
            if keep:
                keep(drawing.draw(frame.image, found), frame)


def _closable(stream):
    """A generator over `stream`, so that leaving early closes a video."""
    yield from stream


def line(record):
    """A record for people: what is shown, how surely, where."""
    where = record["file"] + ("" if record.get("frame") is None else " %.2f s" % record["time"]) + (" #%d" % record["track"] if record.get("track") else "")
    if not record["box"]:
        return "%s  %s" % (where, record["problem"])
    best = sorted(record["probabilities"].items(), key=lambda each: -each[1])[:2]
    return "%s  %-9s  %s  at %d,%d  %d x %d  roll %s" % (
        where,
        record["label"],
        "  ".join("%s %3.0f%%" % (name, 100 * share) for name, share in best),
        *record["box"],
        "-" if record["roll"] is None else record["roll"],
    )


@errors.main
def main():
    warnings.simplefilter("ignore")  # Pillow's of odd files; what matters is said in our one line
    if sys.argv[1:2] == ["serve"]:
        from fer_lite import serve  # the extra [api]

        return serve.main(sys.argv[2:])
    if sys.argv[1:2] == ["verify"]:
        return verify.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="fer-lite", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version="%(prog)s " + __version__)
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="image, video, folder, or a camera's number")
    parser.add_argument("--model", default=DEFAULT, help="folder in models/ or exports/, or an .onnx file; A+B averages two (default: %(default)s)")
    parser.add_argument("--faces", choices=("detect", "given"), default="detect", help="find faces, or take each image for one")
    parser.add_argument("--crops", type=int, choices=(1, 10), help="the paper's ten crops, averaged, or the centre alone (default: the model's)")
    parser.add_argument(
        "--threshold", type=errors.between(float, 0, 1), default=0, metavar="P", help='label faces whose best probability is below it "uncertain"'
    )
    parser.add_argument("--format", choices=("table", "json", "csv"), help="table, lines of JSON, or CSV (default: a table on a terminal, else JSON)")
    parser.add_argument("--csv", action="store_const", const="csv", dest="format", help="--format csv")
    parser.add_argument("--draw", metavar="OUT", help="draw the faces on a copy: a file for one source, else a folder")
    parser.add_argument("--fps", type=errors.between(float, 0.001, 1000), help="at most so many frames a second of a video or camera")
    parser.add_argument(
        "--smooth",
        type=errors.between(float, 0.001, 1000),
        metavar="SECONDS",
        help="average each face's probabilities over so many seconds of a video or camera",
    )
    parser.add_argument("--limit", type=errors.between(int, 1, sys.maxsize), help="at most so many frames of each video or camera")
    parser.add_argument("--score", type=errors.between(float, 0, 1), default=faces.SCORE, help="the detector's least confidence (default: %(default)s)")
    parser.add_argument(
        "--search",
        type=errors.between(int, 1, 100000),
        default=faces.LARGEST_SIDE,
        metavar="PIXELS",
        help="faces are searched with the image at this size; larger finds smaller faces (default: %(default)s)",
    )
    parser.add_argument("--threads", type=errors.between(int, 0, 1024), help="cores to use (default: all)")
    args = parser.parse_args()
    predictor = Predictor(args.model, args.faces, args.crops and args.crops == 10, args.score, args.search, args.threads, args.threshold)
    cv2.setNumThreads(args.threads or -1)  # -1: OpenCV's own choice
    found, drawn = sources.expand(args.sources), {}
    if args.draw:
        found, drawn = outputs.plan(found, args.sources, args.draw)
    form = args.format or ("table" if sys.stdout.isatty() else "json")
    if form != "table" and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")  # for programs; Windows writes to a pipe in a code page of its own
    table = csv.writer(sys.stdout, lineterminator="\n")
    if form == "csv":
        table.writerow(csv_columns(predictor.classes))

    def write(record):
        if form == "csv":
            table.writerow(csv_row(record, predictor.classes))
        elif form == "table":
            print(errors.shown(line(record)).replace("\n", "?"))  # a name may hold what would move the cursor
        else:
            print(json.dumps(record, ensure_ascii=False))
        sys.stdout.flush()

    shown, failed = progress.Bar(), 0
    for done, source in enumerate(found):

        def tell(frame, done=done, camera=video.is_camera(source)):
            share = (done + (min(1.0, frame.time / frame.lasts) if frame.lasts else 0)) / len(found)
            shown.update(frame.file, None if camera else share, frame.frame)

        try:
            look(predictor, source, write, args.fps, args.limit, drawn.get(source), args.smooth, tell, shown.say)
        except errors.Fail as problem:
            if len(found) == 1:
                raise
            shown.say("error: %s" % problem)
            failed += 1
        finally:
            shown.clear()
    pictures = [path for source, path in drawn.items() if not video.is_video(source)]
    if pictures and failed < len(found):
        print("wrote %s" % (pictures[0] if len(pictures) == 1 else "drawn images to %s" % args.draw), file=sys.stderr)
    if failed:
        raise errors.Fail("%d of %d files could not be read (named above)" % (failed, len(found)))
