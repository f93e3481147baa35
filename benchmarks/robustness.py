"""How much of its accuracy a network keeps on faces that are turned, shifted, badly lit, blurred, compressed or covered.

    python3 -m benchmarks.robustness models/resnet20_votes models/resnet32_cifar10 --data data/ferplus_votes

FER+'s PublicTest by FER+'s own majority, each network with the crops it is meant for (model.json). The same alterations of the same images for
each network, drawn from one seed; beyond the image its edge is continued. Writes a CSV with a line an alteration and network; lines of
networks that are not asked for stay.

`--fer PYTHON` judges the package `fer` beside them (the Python of env/rivals.txt): its own API, told where the face is. It names seven
expressions as FER2013 does, without contempt; what of FER2013 it was trained on, it does not say.
"""

import argparse
import csv
import os
import shlex
import subprocess
import sys
import tempfile

import cv2
import numpy as np

from common import built, errors, files, parallel
from common.progress import Progress
from common.votes import NONE
from evaluation import data
from fer_lite import faces, names, predict
from paper import facts

SEED = 20
AT_ONCE = 64  # images


def placed(image, degrees=0.0, zoom=1.0, right=0.0, down=0.0):
    """An image turned, enlarged and shifted (shares of its side)."""
    side = image.shape[0]
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), degrees, zoom)
    matrix[:, 2] += [right * side, down * side]
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def lit(image, contrast=1.0, brightness=0.0):
    return np.clip((image - 128.0) * contrast + 128 + 255 * brightness, 0, 255).astype(np.uint8)


def covered(image, rng, share=1 / 3):
    side, square = image.shape[0], round(image.shape[0] * share)
    x, y = rng.integers(0, side - square + 1, 2)
    image = image.copy()
    image[y : y + square, x : x + square] = 128
    return image


def compressed(image, quality=30):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def _turned(degrees):
    return lambda image, rng: placed(image, degrees * rng.choice((-1, 1)))


# What is done to an image, uint8 48 x 48, with a random generator of its own. The last one is what a detector does: its boxes wander.
ALTERATIONS = {
    "as it is": lambda image, rng: image,
    "turned by 5 degrees": _turned(5),
    "turned by 10 degrees": _turned(10),
    "turned by 15 degrees": _turned(15),
    "shifted by a tenth": lambda image, rng: placed(image, right=0.1 * rng.choice((-1, 1)), down=0.1 * rng.choice((-1, 1))),
    "smaller by 15%": lambda image, rng: placed(image, zoom=0.85),
    "larger by 15%": lambda image, rng: placed(image, zoom=1.15),
    "darker by a fifth": lambda image, rng: lit(image, brightness=-0.2),
    "brighter by a fifth": lambda image, rng: lit(image, brightness=0.2),
    "half the contrast": lambda image, rng: lit(image, contrast=0.5),
    "blurred, sigma 1 pixel": lambda image, rng: cv2.GaussianBlur(image, (0, 0), 1),
    "JPEG, quality 30": lambda image, rng: compressed(image),
    "a third covered, grey": covered,
    "a box that wanders": lambda image, rng: placed(image, rng.uniform(-8, 8), rng.uniform(0.9, 1.1), rng.uniform(-0.06, 0.06), rng.uniform(-0.06, 0.06)),
}


def judged_images(folder):
    """(uint8 N x 48 x 48, labels int N) of the validation part that have a label by FER+'s majority."""
    part = data.open_part(folder, "valid", (3, faces.FER_SIDE, faces.FER_SIDE))
    rows = built.table(folder, "valid")
    if "majority" not in rows[0]:
        raise errors.Fail("%s has no labels by FER+'s majority: run `make data SRC=ferplus_votes`" % folder)
    labels = np.array([int(row["majority"]) if row["majority"] else NONE for row in rows])
    images = np.concatenate([batch.images[:, 0] for batch in data.batches(part, AT_ONCE)])
    return images[labels != NONE], labels[labels != NONE]


def accuracy(predictor, images, labels, bar):
    """The share of faces, uint8 N x 48 x 48, that a Predictor names right with the crops that its network is meant for."""
    right = 0
    for i in range(0, len(images), AT_ONCE):
        found = predictor.predict_faces(images[i : i + AT_ONCE])
        right += sum(face["label"] == predictor.classes[label] for face, label in zip(found, labels[i : i + AT_ONCE]))
        bar.add(len(found))
    return right / len(images)


def judged_by_fer(python, faces_):
    """What `fer` calls each of many faces (uint8 N x 48 x 48): str N, in FER+'s words."""
    with tempfile.TemporaryDirectory(prefix="fer-lite-bench-") as folder:
        given, said = os.path.join(folder, "faces.npy"), os.path.join(folder, "said.npy")
        np.save(given, faces_)
        if subprocess.run([*shlex.split(python), "-m", "benchmarks.fer_judge", given, said], stdout=sys.stderr).returncode:
            raise errors.Fail("%s cannot run the package fer: give --fer 'env/run --rivals', which installs it" % python)
        return np.load(said)


def _earlier(path):
    """Lines of an earlier run, without the titles."""
    if not os.path.exists(path):
        return []
    with open(path, newline="") as f:
        return [line for line in csv.reader(f) if line and line[0] in ALTERATIONS]


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.robustness", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="folders of models/")
    parser.add_argument("--fer", metavar="PYTHON", help="the Python that has env/rivals.txt: 'env/run --rivals'")
    parser.add_argument("--data", default=os.path.join("data", "ferplus_votes"))
    parser.add_argument("--out", default=os.path.join("docs", "results", "robustness.csv"))
    args = parser.parse_args()
    networks = [(names.facts(folder), predict.Predictor(folder, threads=parallel.count())) for folder in args.models]
    images, labels = judged_images(args.data)
    lines, altered = [], {}
    for name, alter in ALTERATIONS.items():
        rng = np.random.default_rng(SEED)
        altered[name] = np.stack([alter(image, rng) for image in images])
    with Progress("altering and testing", len(ALTERATIONS) * len(networks) * len(images)) as bar:
        for name, shown in altered.items():
            for about, predictor in networks:
                lines.append([name, about["name"], about.get("crops", 10), len(labels), "%.2f" % (100 * accuracy(predictor, shown, labels, bar))])
    if args.fer:
        said = judged_by_fer(args.fer, np.concatenate(list(altered.values()))).reshape(len(altered), -1)
        wanted = np.array(facts.EXPRESSIONS)[labels]
        lines += [[name, "fer (package)", 1, len(labels), "%.2f" % (100 * np.mean(each == wanted))] for name, each in zip(altered, said)]
    again = {line[1] for line in lines}
    lines = [line for line in _earlier(args.out) if line[1] not in again] + lines
    lines.sort(key=lambda line: list(altered).index(line[0]))
    os.makedirs(os.path.dirname(args.out) or ".", exist_ok=True)
    with files.replacing(args.out) as temporary, open(temporary, "w", newline="") as f:
        csv.writer(f, lineterminator="\n").writerows([["alteration", "network", "crops", "n", "accuracy"], *lines])
    width, columns = max(map(len, ALTERATIONS)), len(lines) // len(altered)
    print(" " * width + "".join("%20s" % line[1] for line in lines[:columns]))
    for i, name in enumerate(ALTERATIONS):
        print(name.ljust(width) + "".join("%19s%%" % line[4] for line in lines[i * columns : (i + 1) * columns]))


if __name__ == "__main__":
    main()
