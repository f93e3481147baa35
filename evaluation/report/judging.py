"""What is needed to judge accuracies: intervals, McNemar's test, calibration, duplicates, the annotators' agreement.

    python3 -m evaluation.report.judging 8            everything about row 8
    python3 -m evaluation.report.judging 8+11 8       and McNemar's test of the ensemble against row 8, trial by trial

scikit-learn and scipy compute what they have.
"""

import argparse
import functools
import os
from collections import namedtuple

import numpy as np
from scipy import stats

from common import built, errors
from evaluation import metrics
from evaluation.report import ensemble, rows
from paper import facts, ours

# Over the trials of a result: means of the trials, intervals over images. A stratum is (name, n, accuracy).
Judgement = namedtuple("Judgement", "n trials accuracy interval mean_class mean_class_interval one_crop per_class ece bins confusion strata")
# What is known of a part's images beside their scores; each is None where its file is not there.
# names: set of the part's image names; votes: name -> int 8; duplicates: set of names.
Annotations = namedtuple("Annotations", "names votes duplicates")
NOTHING_KNOWN = Annotations(None, None, None)


def judge(result, annotations):
    """The Judgement of an ensemble.Result with at least one trial."""
    trials = [s for _, s in sorted(result.trials.items())]
    first, (_, right) = trials[0], share_right(result)
    labels = np.concatenate([s.labels for s in trials])
    probabilities = np.concatenate([s.probabilities for s in trials])
    _, bins = calibration(labels, probabilities)
    return Judgement(
        n=len(first.labels),
        trials=len(trials),
        accuracy=right.mean(),
        interval=interval(first.labels, right),
        mean_class=np.mean([metrics.mean_class_accuracy(s.labels, s.probabilities) for s in trials]),
        mean_class_interval=interval(first.labels, right, per_class=True),
        one_crop=np.mean([metrics.accuracy(s.labels, s.one_crop) for s in trials]),
        per_class=_mean_per_class(trials),
        ece=np.mean([calibration(s.labels, s.probabilities)[0] for s in trials]),
        bins=bins,
        confusion=sum(metrics.confusion(s.labels, s.probabilities) for s in trials),
        strata=strata(first, right, annotations),
    )


def share_right(result):
    """(labels int N, float N: the share of a Result's trials that classify each image right)."""
    trials = list(result.trials.values())
    return trials[0].labels, np.mean([metrics.predictions(s.probabilities) == s.labels for s in trials], axis=0)


def _mean_per_class(trials):
    """metrics.per_class, each figure the mean of the trials."""
    each = [metrics.per_class(s.labels, s.probabilities, s.classes) for s in trials]
    return [dict(lines[0], **{key: np.mean([line[key] for line in lines]) for key in ("precision", "recall", "f1")}) for lines in zip(*each)]


def strata(scores, right, annotations):
    """Accuracies over parts of the images: without duplicates of training images, and by the annotators' agreement.

    `right`: float N as in `interval`. Only what `annotations` knows, and only for scores of its images (by their names).
    """
    found = []
    if annotations.names is None or not annotations.names.issuperset(scores.names):
        return found
    if annotations.duplicates is not None:
        alone = np.array([name not in annotations.duplicates for name in scores.names])
        found.append(("without duplicates", int(alone.sum()), right[alone].mean()))
    if annotations.votes is not None:
        agreed = np.array([annotations.votes[name][label] for name, label in zip(scores.names, scores.labels)])
        for low, high in ours.AGREEMENT:
            within = (agreed >= low) & (agreed <= high)
            if within.any():
                words = str(low) if low == high else "%d to %d" % (low, high)
                found.append(("label with %s of 10 votes" % words, int(within.sum()), right[within].mean()))
    return found


def interval(labels, right, per_class=False):
    """(low, high): the 95% bootstrap interval over images of an accuracy, or of the mean class accuracy (`per_class`).

    `right`: float N, 1 where an image is classified right (over trials: its mean). The resamples are the same for all
    scores of N images, so that intervals can be compared.
    """
    weights = _resamples(len(labels))
    if per_class:
        members = (labels[:, None] == np.unique(labels)).astype(np.float32)
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample may miss a small class
            drawn = np.nanmean(weights @ (members * right[:, None].astype(np.float32)) / (weights @ members), axis=1)
    else:
        drawn = weights @ right.astype(np.float32) / len(labels)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


@functools.lru_cache(maxsize=4)
def _resamples(n):
    """How often each of n images is in each resample with replacement: float32 resamples x n.

    (scipy.stats.bootstrap would draw anew for each score; and it came with SciPy 1.7, Debian 11 has 1.6.)
    """
    rng = np.random.RandomState(ours.BOOTSTRAP_SEED)
    drawn = rng.randint(0, n, (ours.BOOTSTRAP_RESAMPLES, n))
    return np.stack([np.bincount(row, minlength=n) for row in drawn]).astype(np.float32)


def mcnemar(labels, first, second):
    """McNemar's exact test of two runs on the same images: (right in the first only, in the second only, p).

    `first`, `second`: probabilities N x K.
    """
    a, b = (metrics.predictions(p) == labels for p in (first, second))
    only_first, only_second = int((a & ~b).sum()), int((~a & b).sum())
    # Under the hypothesis each image that one alone gets right is either's with even chance. (scipy.stats.binomtest came with SciPy 1.7, Debian 11 has 1.6.)
    return only_first, only_second, min(1.0, 2 * float(stats.binom.cdf(min(only_first, only_second), only_first + only_second, 0.5)))


def calibration(labels, probabilities, bins=ours.CALIBRATION_BINS):
    """(ECE, bins): the expected calibration error, 0 to 1, and for each filled bin (n, mean confidence, accuracy).

    Confidence is the largest probability; bins are of equal width; ECE weighs each bin's gap by its images.
    """
    confidence = probabilities.max(axis=1).astype(np.float64).clip(0, 1)  # sums of other tools may be a hair above
    right = metrics.predictions(probabilities) == labels
    width = dict(bins=bins, range=(0, 1))
    n = stats.binned_statistic(confidence, confidence, "count", **width).statistic
    sums = stats.binned_statistic(confidence, [confidence, right], "sum", **width).statistic
    filled = n > 0
    means = sums[:, filled] / n[filled]
    ece = float((n[filled] * np.abs(means[0] - means[1])).sum() / len(labels))
    return ece, [(int(count), float(c), float(a)) for count, c, a in zip(n[filled], *means)]


def annotations(data, split):
    """The Annotations of a part, from the files that data_prep wrote in the folder `data` (data/ferplus)."""
    votes = None
    lines = built.table(data, split, optional=True)
    names = {line["name"] for line in lines} if lines else None
    if lines and all(expression in lines[0] for expression in facts.EXPRESSIONS):
        votes = {line["name"]: [int(line[expression]) for expression in facts.EXPRESSIONS] for line in lines}
    return Annotations(names, votes, built.duplicates(data, split))


def report(result, judgement):
    """The printed text of a Judgement."""
    j = judgement
    share, between = "%-44s %6.2f%%", "   95%% interval %.2f to %.2f"
    lines = [
        "%s: trials: %d, images: n = %d" % (result.title, j.trials, j.n),
        share % ("accuracy, ten crops", 100 * j.accuracy) + between % tuple(100 * x for x in j.interval),
        share % ("accuracy, one crop", 100 * j.one_crop),
        share % ("mean class accuracy", 100 * j.mean_class) + between % tuple(100 * x for x in j.mean_class_interval),
        share % ("expected calibration error", 100 * j.ece),
    ]
    lines += [share % (name, 100 * accuracy) + "   n = %d" % n for name, n, accuracy in j.strata]
    if not j.strata:
        lines.append("(no figures without duplicates or by agreement: the data set's tables are not there, or of other images)")
    lines += ["", "%-12s %5s %10s %8s %8s" % ("class", "n", "precision", "recall", "F1")]
    lines += ["%-12s %5d %9.1f%% %7.1f%% %7.1f%%" % (c["name"], c["n"], 100 * c["precision"], 100 * c["recall"], 100 * c["f1"]) for c in j.per_class]
    return "\n".join(lines)


def mcnemar_report(first, second):
    """McNemar's test of two Results in each trial that both have, as text."""
    lines = ["McNemar's exact test, %s against %s" % (first.title, second.title)]
    for trial in sorted(set(first.trials) & set(second.trials)):
        a, b = first.trials[trial], second.trials[trial]
        lines.append(
            "  trial %d   right in the first only %4d, in the second only %4d, p = %.2g" % ((trial,) + mcnemar(a.labels, a.probabilities, b.probabilities))
        )
    return "\n".join(lines)


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m evaluation.report.judging", description=__doc__.splitlines()[0])
    parser.add_argument("rows", help="such as 8 or 8+11")
    parser.add_argument("against", nargs="?", help="other rows, for McNemar's test")
    parser.add_argument("--data", default=os.path.join("data", "ferplus"), help="folder with SPLIT.csv, duplicates.csv")
    rows.arguments(parser)
    args = parser.parse_args()
    runs = rows.chosen(args)
    everything = [row for row in rows.table(runs) if row.folder]
    members = [rows.find(everything, spec) for spec in (args.rows, args.against) if spec]
    found = rows.load([row for some in members for row in some], runs)
    results = [ensemble.result(some, found) for some in members]
    for result in results:
        ensemble.require_trials(result, runs)
    print(report(results[0], judge(results[0], annotations(args.data, runs.split))))
    if args.against:
        print("\n" + mcnemar_report(*results))


if __name__ == "__main__":
    main()
