"""Ensembles (the paper's III-D, Table III): the members' ten-crop scores averaged, trial by trial.

    python3 -m evaluation.report.ensemble 8+11                    any rows of Table II, or added ones
    python3 -m evaluation.report.ensemble 8+11 --weighted         beyond the paper: weights chosen on the validation part
    python3 -m evaluation.report.ensemble --budget 1.0            beyond the paper: the best ensemble of at most 1.0 million
                                                           parameters, searched on the validation part

Weighted ensembles are the future work that the paper announces. Weights and searches see the validation part only;
what they choose is then tested on the split asked for.
"""

import argparse
import itertools
import statistics
from collections import namedtuple

import numpy as np
from scipy import optimize

from common import errors, scores
from evaluation import metrics
from evaluation.report import rows
from paper import facts

# One line of a table: a row, or rows together. trials: {trial: Scores}; missing: {trial: [rows without scores]}.
Result = namedtuple("Result", "key title parameters paper members trials missing")
TOO_MANY = 100000  # ensembles that a search may have to try


def average(members, weights=None):
    """The Scores of an ensemble: the members' probabilities averaged (`weights`: float, summing to 1; None: equally)."""
    means = {name: np.average([getattr(s, name) for s in members], axis=0, weights=weights).astype(np.float32) for name in ("probabilities", "one_crop")}
    return members[0]._replace(**means)


def result(members, found, paper=None):
    """The Result of some rows, averaged in every trial that all of them have. `found`: what rows.load returns."""
    trials, missing = {}, {}
    for trial in facts.TRIALS:
        lacking = [row for row in members if trial not in found[row.key]]
        if lacking:
            missing[trial] = lacking
        else:
            trials[trial] = average([found[row.key][trial] for row in members])
    alone = len(members) == 1
    return Result(
        "+".join(row.key for row in members),
        members[0].title if alone else title(members),
        sum(row.parameters for row in members),
        paper,
        members,
        trials,
        missing,
    )


def title(members):
    """What Table III calls an ensemble."""
    return "Ensemble " + " + ".join("(%s)" % row.key for row in members)


def choose_weights(members):
    """Weights (float, >= 0, sum 1) of least cross-entropy on the labels of `members`, Scores of the validation part."""
    right = np.stack([s.probabilities[np.arange(len(s.labels)), s.labels] for s in members], axis=1)
    right = np.maximum(right.astype(np.float64), 1e-12)

    def loss(weights):
        mixed = np.maximum(right @ weights, 1e-12)
        return -np.log(mixed).mean(), -(right / mixed[:, None]).mean(axis=0)

    k = len(members)
    solved = optimize.minimize(
        loss,
        np.full(k, 1 / k),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * k,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(k)},
    )
    weights = np.clip(solved.x, 0, None)
    return weights / weights.sum()


def search(candidates, found, budget, trials):
    """The rows whose ensemble is best on the validation part with at most `budget` parameters.

    `found`: rows.load of the validation part; the mean accuracy over `trials` decides, then fewer parameters. Returns
    (rows, mean accuracy, number of ensembles tried).
    """
    best, tried = None, 0
    for size in range(1, len(candidates) + 1):
        within = [c for c in itertools.combinations(candidates, size) if sum(row.parameters for row in c) <= budget]
        if tried + len(within) > TOO_MANY:
            raise errors.Fail("more than %d ensembles fit in this budget: take a smaller one" % TOO_MANY)
        for members in within:
            tried += 1
            averaged = [average([found[row.key][trial] for row in members]) for trial in trials]
            accuracy = statistics.mean(metrics.accuracy(s.labels, s.probabilities) for s in averaged)
            rank = (accuracy, -sum(row.parameters for row in members))
            if best is None or rank > best[0]:
                best = rank, members
        if not within:
            break
    return list(best[1]), best[0][0], tried


def report(result, runs, weights=None):
    """The printed text of one ensemble. `weights`: {trial: weights of the members}."""
    accuracies = {t: 100 * metrics.accuracy(s.labels, s.probabilities) for t, s in result.trials.items()}
    n = len(next(iter(result.trials.values())).labels)
    lines = ["%s%s, split %s, n = %d" % ("weighted " if weights else "", result.title, runs.split, n)]
    sizes = [("(%s) %s" % (row.key, row.title), row.parameters) for row in result.members] + [("together", result.parameters)]
    width = max(len(words) for words, _ in sizes)
    lines += ["  %-*s %10s parameters" % (width, words, "{:,}".format(size)) for words, size in sizes]
    for trial, accuracy in sorted(accuracies.items()):
        chosen = "   weights " + " ".join("%.3f" % w for w in weights[trial]) if weights else ""
        lines.append("  trial %d   %6.2f%%%s" % (trial, accuracy, chosen))
    values = list(accuracies.values())
    spread = " (standard deviation %.2f)" % statistics.stdev(values) if len(values) > 1 else ""
    lines.append("  mean      %6.2f%%%s, information density %.1f" % (statistics.mean(values), spread, statistics.mean(values) / (result.parameters / 1e6)))
    return "\n".join(lines)


def require_trials(result, runs):
    """Fail with the commands that are missing when no trial of `result` is whole."""
    if not result.trials:
        row = result.missing[1][0]
        raise errors.Fail(
            "ROWS=%s has no trial with scores of all its rows in the split %s: the first that lacks is row %s, "
            "`%s`" % (result.key, runs.split, row.key, rows.fill(row, 1, runs))
        )


def millions(text):
    """The budget as a number."""
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise errors.Fail("--budget %s is no number of million parameters: --budget 1.0" % text)
    return number


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m evaluation.report.ensemble", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="?", help="such as 8+11")
    parser.add_argument("--weighted", action="store_true", help="choose the weights on the validation part")
    parser.add_argument("--budget", type=millions, help="search the best ensemble of at most so many million parameters")
    parser.add_argument("--out", help="folder: write trialN/scores_SPLIT.npz of the ensemble there")
    rows.arguments(parser)
    args = parser.parse_args()
    runs, weights = rows.chosen(args), None
    everything = [row for row in rows.table(runs) if row.folder]
    validation = runs._replace(split="valid")
    if bool(args.rows) == bool(args.budget):
        raise errors.Fail("name the rows, such as 8+11, or a budget in million parameters (--budget 1.0)")
    members = rows.find(everything, args.rows) if args.rows else _within(everything, validation, args.budget)
    tested = rows.load(members, runs)
    made = result(members, tested)
    require_trials(made, runs)
    if args.weighted:
        chosen_on = rows.load(members, validation)
        lacking = [(row, t) for t in made.trials for row in members if t not in chosen_on[row.key]]
        if lacking:
            raise errors.Fail("weights are chosen on the validation part: `%s`" % rows.fill(*lacking[0], validation))
        weights = {t: choose_weights([chosen_on[row.key][t] for row in members]) for t in made.trials}
        made = made._replace(trials={t: average([tested[row.key][t] for row in members], weights[t]) for t in weights})
    if args.weighted:
        print("beyond the paper: weights of least cross-entropy on the validation part")
    if runs.split == validation.split and (args.weighted or args.budget):
        print("warning: chosen on the very images that it is reported on here (the split valid); SPLIT=test is the honest figure")
    print(report(made, runs, weights))
    for trial, s in made.trials.items():
        if args.out:
            scores.write(rows.scores_path(made.members[0]._replace(folder=args.out), trial, runs.split), s)


def _within(everything, validation, budget):
    """The rows that `search` chooses among those whose validation scores share trials; says what it did."""
    found = rows.load(everything, validation)
    trials = sorted(set.union(*(set(t) for t in found.values())))
    candidates = [row for row in everything if all(t in found[row.key] for t in trials)]
    affordable = [row for row in candidates if row.parameters <= budget * 1e6]
    if not affordable:
        raise errors.Fail(
            "no row of at most %.3f million parameters has scores of all its trials (%s) in the split valid" % (budget, ", ".join(map(str, trials)))
        )
    members, accuracy, tried = search(affordable, found, budget * 1e6, trials)
    print(
        "beyond the paper: of %d ensembles of rows %s with at most %g million parameters, %s is best on the validation part, "
        "%.2f%% there" % (tried, ", ".join(row.key for row in affordable), budget, "+".join(row.key for row in members), 100 * accuracy)
    )
    short = [row.key for row in everything if found[row.key] and row not in candidates]
    if short:
        print("left out, as they lack some of the trials %s there: rows %s" % (", ".join(map(str, trials)), ", ".join(short)))
    return members


if __name__ == "__main__":
    main()
