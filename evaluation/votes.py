"""Accuracy by both label rules of scores on data/ferplus_votes: FER+'s own majority (n = 3,199 of PublicTest) and the paper's (3,312).

    python3 -m evaluation.votes runs/best/scores_valid.npz data/ferplus_votes

Each also without the images that the training part holds too (duplicates.csv).
"""

from __future__ import annotations

import argparse

import numpy as np

from common import built, errors
from common import scores as scores_file
from common.votes import NONE, by_votes

FERPLUS = "FER+'s majority"


def rules(rows, votes):
    """{rule: labels int N, NONE where it leaves an image out} of rows of a table of data/ferplus_votes and their votes, int N x 10."""
    majority = np.array([int(row["majority"]) if row["majority"] else NONE for row in rows])
    return {FERPLUS: majority, "the paper's rule": by_votes("paper", votes)}


def figures(scores: scores_file.Scores, folder: str) -> list[dict]:
    """[{rule, n, one_crop, ten_crops}] of Scores of data/ferplus_votes in `folder`, accuracies 0 to 1. Fail where they are of another set."""
    alone, found = ~np.isin(scores.names, list(built.duplicates(folder, scores.split) or ())), []
    for rule, labels in labels_of(scores, folder).items():
        for words, chosen in ((rule, labels != NONE), (rule + ", no duplicates", (labels != NONE) & alone)):
            one, ten = (round(float((p[chosen].argmax(axis=1) == labels[chosen]).mean()), 6) for p in (scores.one_crop, scores.probabilities))
            found.append({"rule": words, "n": int(chosen.sum()), "one_crop": one, "ten_crops": ten})
    return found


def majority(scores, folder):
    """Labels by FER+'s majority, int N in the order of the Scores, NONE where there is none. Fail as `figures` does."""
    return labels_of(scores, folder)[FERPLUS]


def labels_of(scores, folder):
    """{rule: labels int N} in the order of Scores of data/ferplus_votes in `folder`. Fail where they are of another set."""
    rows = {row["key"]: row for row in built.table(folder, scores.split)}
    missing = [key for key in scores.keys if key not in rows]
    if missing:
        raise errors.Fail("%s has no image %s: the scores are of another set; test again with `make eval AGAIN=1`" % (folder, missing[0]))
    rows = [rows[key] for key in scores.keys]
    if "majority" not in rows[0]:
        raise errors.Fail("%s has no labels by FER+'s majority: run `make data SRC=ferplus_votes`" % folder)
    return rules(rows, built.votes(folder, scores.split, rows))


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m evaluation.votes", description=__doc__.splitlines()[0])
    parser.add_argument("scores", help="scores_SPLIT.npz")
    parser.add_argument("data", help="data/ferplus_votes")
    args = parser.parse_args()
    print("%-34s %6s %9s %9s" % ("", "n", "one crop", "ten crops"))
    for line in figures(scores_file.read(args.scores), args.data):
        print("%-34s %6d %8.2f%% %8.2f%%" % (line["rule"], line["n"], 100 * line["one_crop"], 100 * line["ten_crops"]))


if __name__ == "__main__":
    main()
