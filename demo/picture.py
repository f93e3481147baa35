"""The demo's closing picture: confusion matrix, faces with their predictions, fine-tuned against trained from scratch.

It is composition only: the plots are evaluation/report/figures.py's, the numbers are those that `evaluation` wrote.
"""

import argparse
import os

import lmdb
import numpy as np

from common import errors, files, scores
from common.caffe import binary
from demo import settings
from evaluation import metrics
from evaluation.report import figures

EACH = 4  # faces shown of each class: the first in the LMDB's (shuffled) order, so nobody picked them


def read_images(folder, keys):
    """The grey images of some LMDB keys (str): uint8 N x H x W, the first channel."""
    if not os.path.isfile(os.path.join(folder, "data.mdb")):
        raise errors.Fail("there is no LMDB %s: run `make demo`" % folder)
    try:
        with lmdb.open(folder, readonly=True, lock=False) as db, db.begin() as transaction:
            found = [transaction.get(str(key).encode()) for key in keys]
    except lmdb.Error:
        raise errors.Fail("%s is damaged or no LMDB: run `make demo` again" % folder) from None
    if None in found:
        raise errors.Fail("%s has no image %s: the scores are of another LMDB; run `make demo` again" % (folder, keys[found.index(None)]))
    return np.stack([binary.read_datum(data)[0][0] for data in found])


def first_of_each(labels, classes, count=EACH):
    """Row numbers of the first `count` images of each class, such that a column of the grid is a class."""
    found = [np.flatnonzero(labels == c)[:count] for c in range(classes)]
    return [rows[i] for i in range(count) for rows in found if i < len(rows)]


def compose(finetuned, scratch, images, shown):
    """The figure. `finetuned`, `scratch`: evaluation's Scores; `images`: those of the rows `shown` of the scores."""
    classes = [str(name) for name in finetuned.classes]
    both = [metrics.confusion(run.labels, run.probabilities) for run in (finetuned, scratch)]
    with figures.style():
        figure = figures.plt.figure(figsize=(13.6, 7.0))
        figure.suptitle(
            "make demo: ResNet-%d in Caffe, pretrained on drawn objects, fine-tuned on drawn faces" % settings.DEPTH,
            x=0.012,
            y=0.975,
            ha="left",
            fontsize=14,
            fontweight="bold",
        )
        matrix = figure.add_axes([0.105, 0.12, 0.40, 0.76], anchor="NW")
        matrix.set_title("Fine-tuned network, test part: images by class", loc="left")
        figures.confusion_matrix(matrix, both[0], classes)
        grid = figure.add_axes([0.55, 0.27, 0.44, 0.61], anchor="NW")
        grid.set_title("The first %d test images of each class, with its predictions" % EACH, loc="left")
        figures.face_grid(grid, images, finetuned.labels[shown], finetuned.probabilities[shown].argmax(axis=1), classes)
        bars = figure.add_axes([0.63, 0.085, 0.35, 0.13])
        bars.set_title("Ten-crop accuracy on the test part", loc="left")
        figures.accuracy_bars(
            bars, ["fine-tuned", "from scratch"], [counts.trace() for counts in both], [counts.sum() for counts in both], chance=1 / len(classes)
        )
    return figure


def comparison(finetuned, scratch):
    """The demo's closing table: what transfer made of the same network on the same images."""
    lines = ["test part of the drawn faces, n = %d" % len(finetuned.labels), "%14s  ten crops  mean of classes" % ""]
    for name, one in (("fine-tuned", finetuned), ("from scratch", scratch)):
        lines.append(
            "%14s  %8.2f%%  %14.2f%%"
            % (name, 100 * metrics.accuracy(one.labels, one.probabilities), 100 * metrics.mean_class_accuracy(one.labels, one.probabilities))
        )
    return "\n".join(lines + ["%14s  %8.2f%%" % ("chance", 100 / len(finetuned.classes))])


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m demo.picture", description=__doc__.splitlines()[0])
    parser.add_argument("--finetuned", required=True, metavar="NPZ", help="scores of the fine-tuned network")
    parser.add_argument("--scratch", required=True, metavar="NPZ", help="scores of the network trained from scratch")
    parser.add_argument("--lmdb", required=True, help="the test LMDB that both were tested on")
    parser.add_argument("--out", required=True, metavar="PNG")
    args = parser.parse_args()
    paths = args.finetuned, args.scratch
    finetuned, scratch = map(scores.read, paths)
    scores.check_same_images(paths, (finetuned, scratch))
    shown = first_of_each(finetuned.labels, len(finetuned.classes))
    figure = compose(finetuned, scratch, read_images(args.lmdb, finetuned.keys[shown]), shown)
    with files.replacing(args.out) as temporary:
        figure.savefig(temporary, format="png", dpi=130)
    print("\n%s\nwrote %s" % (comparison(finetuned, scratch), args.out))


if __name__ == "__main__":
    main()
