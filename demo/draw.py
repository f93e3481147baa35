"""Draw the demo's small data and write it in the official formats: cifar-10-python.tar.gz, fer2013.csv and FERPlus/.

Source: coloured objects (`objects`). Target: schematic faces (`faces`) with ten annotators' votes, so that the paper's
label rule (III-B) has its work: weak expressions, faces between two expressions, unknown votes, images without a face.
The same seed gives the same bytes.
"""

import argparse
import os
from collections import namedtuple

import cv2
import numpy as np

from common import errors, files
from common.drawn import faces, objects
from demo import official, settings
from paper import facts

Face = namedtuple("Face", "usage name expression votes image")  # one row of fer2013.csv; `expression` is what was drawn

# What people take an expression for when they miss it.
MISTAKEN_FOR = dict(
    neutral=("sadness", "contempt"),
    happiness=("neutral", "contempt"),
    surprise=("fear", "happiness"),
    sadness=("neutral", "fear"),
    anger=("disgust", "neutral"),
    disgust=("anger", "sadness"),
    fear=("surprise", "sadness"),
    contempt=("neutral", "happiness"),
)
ANNOTATORS = 10
BETWEEN = 0.12  # share of faces halfway between two expressions
NOTHING = 0.012  # share of images without a face (FER+: 176 of 35,887, half a percent)


def draw_source(rng, count):
    """`count` objects in equal classes and random order: images uint8 N x 32 x 32 x 3 RGB, labels int N."""
    labels = rng.permutation(np.arange(count) % len(objects.CLASSES))
    return np.stack([objects.draw(rng, objects.CLASSES[label]) for label in labels]), labels


def draw_target(rng, rows=settings.ROWS, shares=settings.SHARES):
    """The rows of fer2013.csv as a list of Face. `rows`: usage -> count; `shares`: expression -> share of the rows."""
    drawn, names = [], 0
    for usage, count in rows.items():
        for expression in rng.permutation(_expressions(count, shares)):
            expression = str(expression)
            if rng.rand() < NOTHING:
                votes = [0] * len(facts.EXPRESSIONS) + [0, ANNOTATORS]
                drawn.append(Face(usage, "", "neutral", votes, faces.no_face(rng)))
                continue
            # Rows without a name take no number: names are not row numbers in FER+ either.
            name, names = "fer%07d.png" % names, names + 1
            mixture, strength = _what(rng, expression)
            image = faces.face(rng, mixture, strength)
            drawn.append(Face(usage, name, expression, _vote(rng, mixture, strength), image))
    return drawn


def _expressions(count, shares):
    """`count` expressions, each with its share, rounded so that the sum holds and every class has its share's floor."""
    whole = {name: int(share * count) for name, share in shares.items()}
    left = count - sum(whole.values())
    return [name for name in shares for _ in range(whole[name])] + list(shares)[:left]


def _what(rng, expression):
    """What to draw: (expression -> share, strength about 0.6 to 1.1)."""
    strength = rng.uniform(0.6, 1.1)
    if rng.rand() < BETWEEN:
        return {expression: 0.5, str(rng.choice(MISTAKEN_FOR[expression])): 0.5}, strength
    return {expression: 1.0}, strength


def _vote(rng, mixture, strength):
    """Ten votes, in the order of official.VOTES. The weaker an expression, the more people miss it."""
    chances = dict.fromkeys(official.VOTES[:-1], 0.004)
    chances["unknown"] = rng.choice([0.01, 0.25], p=[0.95, 0.05])
    for name, share in mixture.items():
        missed = 0.1 + 0.3 * max(0.0, 1.0 - strength)
        chances[name] += share * (1 - missed)
        for other in MISTAKEN_FOR[name]:
            chances[other] += share * missed / 2
    p = np.array([chances[name] for name in official.VOTES[:-1]])
    return rng.multinomial(ANNOTATORS, p / p.sum()).tolist() + [0]


def write(folder, seed=settings.SEED):
    """Draw everything and write it into `folder`. Returns (source training and test parts, faces) for a look at them."""
    rng = np.random.RandomState(seed)
    train, test = draw_source(rng, settings.SOURCE_TRAIN), draw_source(rng, settings.SOURCE_TEST)
    target = draw_target(rng)
    official.write_cifar10(os.path.join(folder, "cifar-10-python.tar.gz"), train, test, objects.CLASSES)
    official.write_ferplus(os.path.join(folder, "FERPlus"), target)
    # Last: whoever finds this one finds all of them.
    official.write_fer2013(os.path.join(folder, "fer2013.csv"), target)
    return train, test, target


def contact_sheet(train, target, columns=16, zoom=2):
    """Some of what was drawn, a row a class: uint8 BGR. `train`: (images, labels); `target`: Faces."""
    rows = [train[0][train[1] == label][:columns, :, :, ::-1] for label in range(len(objects.CLASSES))]
    for name in facts.EXPRESSIONS:
        grey = [face.image for face in target if face.expression == name and face.name][:columns]
        rows.append([cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) for image in grey])
    width = columns * faces.SIDE * zoom
    return np.vstack([_strip(row, columns, width) for row in rows])


def _strip(images, columns, width):
    strip = np.hstack([cv2.resize(image, (width // columns,) * 2, interpolation=cv2.INTER_CUBIC) for image in images])
    return np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), "constant")


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m demo.draw", description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="where to write them")
    parser.add_argument("--seed", type=int, default=settings.SEED, help="default: %(default)s")
    parser.add_argument("--sheet", metavar="PNG", help="also write a picture of some of what was drawn")
    args = parser.parse_args()
    if args.sheet and not args.sheet.endswith(".png"):
        raise errors.Fail("--sheet %s: the picture's name must end in .png" % args.sheet)
    train, test, target = write(args.folder, args.seed)
    if args.sheet:
        with files.replacing(args.sheet) as temporary, open(temporary, "wb") as f:
            f.write(cv2.imencode(".png", contact_sheet(train, target))[1].tobytes())
    print("drew %s objects and %s faces into %s" % ("{:,}".format(len(train[1]) + len(test[1])), "{:,}".format(len(target)), args.folder))


if __name__ == "__main__":
    main()
