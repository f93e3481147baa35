"""Accuracy by both label rules of scores on data/ferplus_votes: FER+'s own majority (n = 3,199 of PublicTest) and the paper's (3,312).

    python3 -m evaluation.votes runs/best/scores_valid.npz data/ferplus_votes

Each also without the images that the training part holds too (duplicates.csv).
"""
import argparse

import numpy as np

from common import built, errors
from common.votes import NONE, by_votes
from evaluation import metrics
from evaluation import scores as scores_file
from evaluation.report import judging


def rules(rows, votes):
    """{rule: labels int N, NONE where it leaves an image out} of rows of a table of data/ferplus_votes and their votes, int N x 10."""
    majority = np.array([int(row["majority"]) if row["majority"] else NONE for row in rows])
    return {"FER+'s majority": majority, "the paper's rule": by_votes("paper", votes)}


def table(scores, wanted, doubles):
    """The printed table. `wanted`: labels by each of `rules`, in the order of the scores; `doubles`: names of images that training has too."""
    alone = ~np.isin(scores.names, list(doubles))
    lines = ["%-34s %6s %9s %9s" % ("", "n", "one crop", "ten crops")]
    for rule, labels in wanted.items():
        for words, chosen in ((rule, labels != NONE), (rule + ", no duplicates", (labels != NONE) & alone)):
            right = [100 * metrics.accuracy(labels[chosen], p[chosen]) for p in (scores.one_crop, scores.probabilities)]
            lines.append("%-34s %6d %8.2f%% %8.2f%%" % (words, chosen.sum(), *right))
    return "\n".join(lines)


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m evaluation.votes", description=__doc__.splitlines()[0])
    parser.add_argument("scores", help="scores_SPLIT.npz")
    parser.add_argument("data", help="data/ferplus_votes")
    args = parser.parse_args()
    scores = scores_file.read(args.scores)
    rows = {row["key"]: row for row in built.table(args.data, scores.split)}
    missing = [key for key in scores.keys if key not in rows]
    if missing:
        raise errors.Fail("%s has no image %s: the scores are of another set; test again with `make eval AGAIN=1`" % (args.data, missing[0]))
    rows = [rows[key] for key in scores.keys]
    if "majority" not in rows[0]:
        raise errors.Fail("%s has no labels by FER+'s majority: run `make data SRC=ferplus_votes`" % args.data)
    doubles = judging.annotations(args.data, scores.split).duplicates or ()
    print(table(scores, rules(rows, built.votes(args.data, scores.split, rows)), doubles))


if __name__ == "__main__":
    main()
