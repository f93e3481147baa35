"""One temperature for a network's probabilities: fitted on half of a part by FER+'s majority, judged on the other half.

    python3 -m evaluation.temperature runs/best/seed1/scores_valid.npz data/ferplus_votes     -> runs/best/seed1/calibration_valid.json

A temperature T divides the logits: the order of the classes stays, their probabilities grow sharper (T < 1) or flatter. It is the one that
makes the labels of every second image most likely (Guo et al., 2017); the expected calibration error is of the other images.
`python3 -m deploy.card` divides the final layer by it, so that every file of the network gives calibrated probabilities.
"""

import argparse
import json
import os

import numpy as np
from scipy import optimize

from common import errors, files
from common import scores as scores_file
from common.votes import NONE
from evaluation import votes
from evaluation.report import judging

BETWEEN = (0.1, 10.0)  # where a temperature is looked for
SMALLEST = 1e-12  # of a probability, before its logarithm


def tempered(probabilities, temperature):
    """Probabilities, float N x classes, with their logits divided by `temperature`: float64 N x classes."""
    logits = np.log(np.maximum(probabilities, SMALLEST, dtype=np.float64)) / temperature
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def fitted(labels, probabilities):
    """The temperature under which `labels` (int N) are most likely."""

    def loss(temperature):
        return -np.log(np.maximum(tempered(probabilities, temperature)[np.arange(len(labels)), labels], SMALLEST)).mean()

    return float(optimize.minimize_scalar(loss, bounds=BETWEEN, method="bounded").x)


def judged(labels, probabilities):
    """{temperature, fitted_on, n, ece_before, ece} of images in their order: fitted on the even ones, judged on the odd ones."""
    even = np.arange(len(labels)) % 2 == 0
    temperature = round(fitted(labels[even], probabilities[even]), 3)
    ece = [judging.calibration(labels[~even], shares[~even])[0] for shares in (probabilities, tempered(probabilities, temperature))]
    return {"temperature": temperature, "fitted_on": int(even.sum()), "n": int((~even).sum()), "ece_before": round(ece[0], 4), "ece": round(ece[1], 4)}


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m evaluation.temperature", description=__doc__.splitlines()[0])
    parser.add_argument("scores", help="scores_SPLIT.npz")
    parser.add_argument("data", help="data/ferplus_votes")
    args = parser.parse_args()
    scores = scores_file.read(args.scores)
    labels = votes.majority(scores, args.data)
    found = judged(labels[labels != NONE], scores.one_crop[labels != NONE])
    with files.replacing(os.path.join(os.path.dirname(args.scores), "calibration_%s.json" % scores.split)) as temporary, open(temporary, "w") as f:
        json.dump(found, f, indent=1)
    print("temperature %(temperature).3f, fitted on %(fitted_on)d images (one crop)" % found)
    print("expected calibration error of the other %d: %.2f%%, without it %.2f%%" % (found["n"], 100 * found["ece"], 100 * found["ece_before"]))


if __name__ == "__main__":
    main()
