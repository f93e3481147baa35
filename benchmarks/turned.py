"""How faces that are tilted are found and read: FER+'s PublicTest turned by 0 to 180 degrees, through the whole Predictor.

    python3 -m benchmarks.turned --data data/ferplus_votes --every 20

Each 48x48 image is enlarged to 160x160 and stands in the middle of a picture of 400x400, its edge continued; then that is turned. Of the faces
that are found upright: how many are found, keep their label (of all, and of those whose label had 0.8 or more), are named right by FER+'s
majority, and how far the roll is off. The line `given` is the same images, not turned, not looked for. Writes docs/results/turned.csv.
"""

import argparse
import csv
import os

import cv2
import numpy as np

from benchmarks.robustness import judged_images
from common import errors, files
from common.progress import Progress
from fer_lite import predict

FACE, PICTURE = 160, 400  # pixels
DEGREES = (0, 10, 20, 30, 45, 60, 90, 135, 180)
CONFIDENT = 0.8
COLUMNS = ["degrees", "n", "found", "labels kept", "n, label 0.8 or more", "of these kept", "accuracy", "roll off by, median", "roll off by, 90%"]


def pictures(faces, degrees):
    """Yield a uint8 400 x 400 x 3 for each of uint8 N x 48 x 48, turned clockwise."""
    turn, border = cv2.getRotationMatrix2D(((PICTURE - 1) / 2, (PICTURE - 1) / 2), -degrees, 1), (PICTURE - FACE) // 2
    for face in faces:
        large = cv2.resize(face, (FACE, FACE), interpolation=cv2.INTER_CUBIC)
        picture = cv2.copyMakeBorder(large, *[border] * 4, cv2.BORDER_REPLICATE)
        yield cv2.cvtColor(cv2.warpAffine(picture, turn, (PICTURE, PICTURE), borderMode=cv2.BORDER_REPLICATE), cv2.COLOR_GRAY2BGR)


def line(degrees, found, upright, labels, classes):
    """COLUMNS of what was found of the faces that were found upright: the first face of each, None where there is none."""
    there = [(face, before, label) for face, before, label in zip(found, upright, labels) if face]
    sure = [face["label"] == before["label"] for face, before, _ in there if max(before["probabilities"].values()) >= CONFIDENT]
    off = [abs((face["roll"] - before["roll"] - degrees + 180) % 360 - 180) for face, before, _ in there]
    return [
        degrees,
        len(found),
        len(there),
        sum(face["label"] == before["label"] for face, before, _ in there),
        len(sure),
        sum(sure),
        "%.2f" % (100 * np.mean([face["label"] == classes[label] for face, _, label in there])),
        *("%.0f" % np.percentile(off, share) for share in (50, 90)),
    ]


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.turned", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=predict.DEFAULT)
    parser.add_argument("--data", default=os.path.join("data", "ferplus_votes"))
    parser.add_argument("--every", type=int, default=1, help="take every such image")
    parser.add_argument("--out", default=os.path.join("docs", "results", "turned.csv"))
    args = parser.parse_args()
    predictor = predict.Predictor(args.model)
    images, labels = (part[:: args.every] for part in judged_images(args.data))
    upright, lines = [], []
    with Progress("looking", len(DEGREES) * len(images)) as bar:
        for degrees in DEGREES:
            found = []
            for picture in pictures(images, degrees):
                found.append(next(iter(predictor(picture)), None))
                bar.add(1)
            if not upright:
                there = [i for i, face in enumerate(found) if face]
                images, labels, upright, found = images[there], labels[there], [found[i] for i in there], [found[i] for i in there]
            lines.append(line(degrees, found, upright, labels, predictor.classes))
    given = [face["label"] == predictor.classes[label] for face, label in zip(predictor.predict_faces(images), labels)]
    lines.insert(0, ["given", len(given), "", "", "", "", "%.2f" % (100 * np.mean(given)), "", ""])
    os.makedirs(os.path.dirname(args.out) or ".", exist_ok=True)
    with files.replacing(args.out) as temporary, open(temporary, "w", newline="") as f:
        csv.writer(f, lineterminator="\n").writerows([COLUMNS, *lines])
    for row in [COLUMNS, *lines]:
        print("  ".join(str(value).rjust(len(name)) for name, value in zip(COLUMNS, row)))


if __name__ == "__main__":
    main()
