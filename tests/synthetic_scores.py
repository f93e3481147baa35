"""Synthetic scores for all rows of Table II, five trials each, both splits: for tests and for looking at the report.

    python3 tests/synthetic_scores.py OUT       writes OUT/resnet20_ferplus_from_cifar10/trial1/scores_test.npz, ...

No network made these: labels have FER+'s proportions, and right answers are drawn so that a row's accuracy lies near
the paper's. Each run.json says engine "synthetic", and so do all tables made from them.
"""

import json
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from common import scores  # noqa: E402
from evaluation.report import rows  # noqa: E402
from paper import facts, ours  # noqa: E402

SHARES = np.array([9143, 7343, 3233, 3263, 2214, 133, 567, 133], float)  # of FER+'s training part
SPLITS = ("test", "valid")


def write(folder, only=None, trials=facts.TRIALS, n=None):
    """Write the runs of the rows `only` (numbers; None: all) in `folder`; `n`: images a part (None: FER+'s)."""
    for split in SPLITS:
        runs = rows.Runs(folder, split, (None, None), rows.ADDED)
        count = n or ours.FERPLUS_IMAGES[split]
        rng = np.random.RandomState(len(split))
        labels = rng.choice(len(SHARES), count, p=SHARES / SHARES.sum())
        difficulty = rng.randn(count) + np.where(SHARES[labels] < 600, 1.0, 0)
        for row in rows.table(runs)[: len(facts.TABLE2)]:
            for trial in trials if only is None or int(row.key) in only else ():
                target = row.paper.trials[trial - 1] / 100
                probabilities = _probabilities(labels, difficulty, target, 1000 * int(row.key) + trial)
                path = rows.scores_path(row, trial, split)
                scores.write(
                    path,
                    scores.Scores(
                        np.array(["%08d" % i for i in range(count)]),
                        np.array(["synthetic%07d.png" % i for i in range(count)]),
                        labels,
                        probabilities,
                        _probabilities(labels, difficulty, target - 0.01, 7 + trial),
                        np.array(facts.EXPRESSIONS),
                        split,
                    ),
                )
                with open(os.path.join(os.path.dirname(path), "run.json"), "w") as f:
                    json.dump({"inputs": {"engine": "synthetic"}}, f)


def _probabilities(labels, difficulty, accuracy, seed):
    """Softmax rows of which about `accuracy` are right; images that are difficult for one network are for all."""
    rng = np.random.RandomState(seed)
    ease = 0.45 * rng.randn(len(labels)) - difficulty
    right = ease > np.quantile(ease, 1 - accuracy)
    margin = np.abs(ease - np.quantile(ease, 1 - accuracy)) + 0.2
    others = (labels + rng.choice(np.arange(1, len(SHARES)), len(labels))) % len(SHARES)
    logits = 0.4 * rng.randn(len(labels), len(SHARES)) + np.log(SHARES / SHARES.max()) / 4
    winner = np.where(right, labels, others)
    top = logits.max(axis=1)
    logits[np.arange(len(labels)), labels] = top - 0.3 * rng.rand(len(labels))
    logits[np.arange(len(labels)), winner] = top + 2.2 * margin
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    write(sys.argv[1])
