"""Accuracy by both label rules of scores on data/ferplus_votes: FER+'s own majority (n = 3,199 of PublicTest) and the paper's (3,312).

    python3 -m evaluation.votes runs/best/scores_valid.npz data/ferplus_votes

Each also without the images that the training part holds too (duplicates.csv).
"""
import argparse
import csv
import os

import numpy as np

from common import errors
from data_prep import built, labels
from evaluation import scores as scores_file


def rules(rows):
    """{rule: labels int N, labels.NONE where it leaves an image out} of rows of a table of data/ferplus_votes."""
    counts = np.array([[int(row[name]) for name in labels.VOTES] for row in rows])
    majority = np.array([int(row["majority"]) if row["majority"] else labels.NONE for row in rows])
    return {"FER+'s majority": majority, "the paper's rule": labels.by_votes("paper", counts)}


def table(scores, rows, doubles):
    """The printed table. `rows`: of the part, by key; `doubles`: keys of images that the training part holds too."""
    rows = {row["key"]: row for row in rows}
    missing = [key for key in scores.keys if key not in rows]
    if missing:
        raise errors.Fail("the table has no image %s: the scores are of another set; test again with `make eval AGAIN=1`" % missing[0])
    alone = np.array([key not in doubles for key in scores.keys])
    lines = ["%-34s %6s %9s %9s" % ("", "n", "one crop", "ten crops")]
    for rule, wanted in rules([rows[key] for key in scores.keys]).items():
        for words, chosen in ((rule, wanted != labels.NONE), (rule + ", no duplicates", (wanted != labels.NONE) & alone)):
            right = [100 * (p[chosen].argmax(1) == wanted[chosen]).mean() for p in (scores.one_crop, scores.probabilities)]
            lines.append("%-34s %6d %8.2f%% %8.2f%%" % (words, chosen.sum(), *right))
    return "\n".join(lines)


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m evaluation.votes", description=__doc__.splitlines()[0])
    parser.add_argument("scores", help="scores_SPLIT.npz")
    parser.add_argument("data", help="data/ferplus_votes")
    args = parser.parse_args()
    scores = scores_file.read(args.scores)
    rows = built.table(args.data, scores.split)
    if not rows or "majority" not in rows[0]:
        raise errors.Fail("%s has no labels by FER+'s majority: run `make data SRC=ferplus_votes`" % args.data)
    doubles = os.path.join(args.data, "duplicates.csv")
    with open(doubles, newline="") as f:
        found = {row["key"] for row in csv.DictReader(f) if row["part"] == scores.split}
    print(table(scores, rows, found))


if __name__ == "__main__":
    main()
