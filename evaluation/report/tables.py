"""Tables II, III and IV beside the paper's: `make table2 table3`.

    python3 -m evaluation.report.tables table2 [--runs runs] [--split test] [--out FOLDER]

Each shows the paper's figure, ours, the difference, the trials with mean and standard deviation, n, the information
density D = accuracy in percent / parameters in millions (equation 1) with exact counts, and the commands that fill
empty cells. What is inconsistent in the paper stays as it is and is a footnote.
"""

import argparse
import os
import statistics

from common import errors, files
from evaluation import metrics
from evaluation.report import judging, rows
from evaluation.report import results as all_results
from evaluation.report.table import Table, column, to_csv, to_text
from paper import facts, ours

PERCENT, COUNT = "{:.2f}", "{:,}"
TRIAL_COLUMNS = (
    [
        column("paper", PERCENT),
        column("ours", PERCENT),
        column("diff", "{:+.2f}"),
        column("sd", PERCENT),
        column("paper sd", PERCENT),
        column("95% from", PERCENT),
        column("to", PERCENT),
    ]
    + [column("trial %d" % t, PERCENT) for t in facts.TRIALS]
    + [column("n", COUNT), column("params", COUNT), column("D", "{:.1f}"), column("paper D", "{:.1f}")]
    + [column("paper trial %d" % t, PERCENT, True) for t in facts.TRIALS]
)


def table2(results):
    """Table II: single networks, the paper's rows and added ones."""
    return Table(
        "table2",
        "Table II. Single networks on FER+",
        all_results.subtitle(results),
        [column("row"), column("method")] + TRIAL_COLUMNS,
        [[r.key, r.title] + trial_cells(r) for r in results.single],
        notes2(results),
        commands(results.single, results.runs),
    )


def table3(results):
    """Table III: the paper's thirteen ensembles."""
    return Table(
        "table3",
        "Table III. Ensembles of rows of Table II on FER+",
        all_results.subtitle(results),
        [column("no"), column("method")] + TRIAL_COLUMNS,
        [[str(r.paper.number), r.title] + trial_cells(r) for r in results.ensembles],
        notes3(results),
        commands(results.ensembles, results.runs),
    )


def table4(results):
    """Table IV: the methods of the literature, the paper's best, ours for the same rows, and added rows."""
    columns = [
        column("method"),
        column("paper", PERCENT),
        column("ours", PERCENT),
        column("diff", "{:+.2f}"),
        column("95% from", PERCENT),
        column("to", PERCENT),
        column("n", COUNT),
        column("params, printed"),
        column("D, printed", "{:.1f}"),
        column("params, exact", COUNT),
        column("D, exact", "{:.1f}"),
        column("D, ours", "{:.1f}"),
    ]
    best = {"single network, best": paper_best(results.single), "ensemble, best": paper_best(results.ensembles)}
    lines = []
    for method in facts.TABLE4:
        ours = best.get(method.name)
        name = "%s: %s" % (method.name, _named(ours)) if ours else method.name
        printed = method.parameters_m and "%gM%s" % (method.parameters_m, "+" if method.at_least else "")
        mean, low, high, n = accuracy(ours) if ours else [None] * 4
        exact = ours.parameters if ours else None
        lines.append(
            [
                name,
                method.accuracy,
                mean,
                difference(mean, method.accuracy),
                low,
                high,
                n,
                printed,
                density(method.accuracy, method.parameters_m),
                exact,
                density(method.accuracy, exact and exact / 1e6),
                density(mean, exact and exact / 1e6),
            ]
        )
    lines += [_own_line(r) for r in best_of_ours(results) if r.key not in {b.key for b in best.values()}]
    lines += [
        [row.title, row.accuracy] + [None] * 7 + [row.parameters, density(row.accuracy, row.parameters / 1e6), None]
        for row in results.rows
        if row.accuracy is not None
    ]
    return Table(
        "table4", "Table IV. Comparison on FER+", all_results.subtitle(results), columns, lines, notes4(results), commands(best.values(), results.runs)
    )


def _named(result):
    return "row %s" % result.key if len(result.members) == 1 else "rows %s" % result.key


def _own_line(result):
    mean, low, high, n = accuracy(result)
    return ["our best here: %s" % _named(result), None, mean, None, low, high, n, None, None, result.parameters, None, density(mean, result.parameters / 1e6)]


def trial_cells(result):
    """The cells of TRIAL_COLUMNS for one Result."""
    trials = [accuracy_of(result, t) for t in facts.TRIALS]
    mean, low, high, n = accuracy(result)
    theirs = result.paper.trials if result.paper else [None] * len(facts.TRIALS)
    average = result.paper.average if result.paper else None
    millions = result.parameters / 1e6
    return (
        [average, mean, difference(mean, average), spread(trials), spread(theirs), low, high]
        + trials
        + [n, result.parameters, density(mean, millions), density(average, millions)]
        + list(theirs)
    )


def accuracy_of(result, trial):
    """One trial's accuracy in percent, None where it is missing."""
    s = result.trials.get(trial)
    return 100 * metrics.accuracy(s.labels, s.probabilities) if s else None


def accuracy(result):
    """(mean over trials in percent, ends of its 95% interval, n), four Nones without any trial."""
    if not result.trials:
        return [None] * 4
    labels, right = judging.share_right(result)
    low, high = judging.interval(labels, right)
    return [100 * float(right.mean()), 100 * low, 100 * high, len(labels)]


def spread(values):
    """The standard deviation of the trials that are there, None for fewer than two."""
    values = [v for v in values if v is not None]
    return statistics.stdev(values) if len(values) > 1 else None


def difference(ours, theirs):
    return None if ours is None or theirs is None else ours - theirs


def density(accuracy, millions):
    """Information density D (equation 1), None where a part of it is unknown."""
    return accuracy / millions if accuracy and millions else None


def paper_best(results):
    """The Result of the row that is best in the paper."""
    return max((r for r in results if r.paper), key=lambda r: r.paper.average)


def best_of_ours(results):
    """Our best single network and our best ensemble on this split, where there are any."""
    for some in (results.single, results.ensembles):
        tested = [r for r in some if r.trials]
        if tested:
            yield max(tested, key=lambda r: accuracy(r)[0])


def commands(some, runs):
    """[(row and its empty trials, command)] for all rows that some Results lack, each once."""
    lacking = {}
    for result in some:
        for trial, members in result.missing.items():
            for row in members:
                lacking.setdefault(row.key, (row, set()))[1].add(trial)
    return [
        ("row %s, trial%s %s" % (row.key, "s" * (len(trials) > 1), " ".join(map(str, sorted(trials)))), command(row, sorted(trials), runs))
        for row, trials in lacking.values()
    ]


def command(row, trials, runs):
    """The make command that makes the scores of some trials of a row."""
    if len(trials) == 1 or row.paper is None:
        return rows.fill(row, trials[0], runs)
    some = [] if len(trials) == len(facts.TRIALS) else ["TRIALS=%s" % ",".join(map(str, trials))]
    return " ".join(["make row", "ROW=%s" % row.key] + some + rows.variables(runs))


def averages(entries, name):
    """Which entries of a paper's table print another average than the mean of their five trials, in words."""
    means = [(entry, statistics.mean(entry.trials)) for entry in entries]
    wrong = [
        "%s %d prints %s, its trials give %.3f" % (name, entry[0], entry.average, mean) for entry, mean in means if "%.2f" % mean != "%.2f" % entry.average
    ]
    return "; ".join(wrong + ["all others agree"]) if wrong else "all agree"


def rounded_k(result):
    """The thousands of parameters that the paper prints for one of its rows or ensembles."""
    return result.paper.parameters_k if len(result.members) > 1 else facts.PARAMETERS_K[result.paper.depth]


def other_densities(some, name):
    """Which of the paper's averages have another D with the paper's rounded counts than with exact ones, in words."""
    both = [(r, ["%.1f" % density(r.paper.average, count) for count in (rounded_k(r) / 1e3, r.parameters / 1e6)]) for r in some if r.paper]
    found = ["%s %d %s (%dK), not %s" % (name, r.paper[0], rounded, rounded_k(r), exact) for r, (rounded, exact) in both if rounded != exact]
    return "; ".join(found) or "none"


def notes(results, some, name):
    """The footnotes that Tables II and III share. `some`: the Results of one of them; `name`: what its lines are called."""
    theirs = [r for r in some if r.paper]
    counts = sorted({r.parameters for r in theirs})
    found = []
    if results.runs.split != "test":
        found.append("The paper's figures are of the test part; these are of another part: the differences compare other images.")
    return found + [
        "ours, sd, 95% from/to: mean, standard deviation and bootstrap interval (over images) of the trials that are there.",
        "The paper's averages, recomputed from its trials: " + averages([r.paper for r in theirs], name) + ".",
        "D uses exact counts (%s). The paper's rounded ones give its averages another D: %s."
        % (", ".join(map("{:,}".format, counts)), other_densities(theirs, name)),
    ]


def share_of(n):
    """(how many of the paper's different trial figures are a count out of `n` to two decimals, how many there are)."""
    figures = {"%.2f" % x for entry in facts.TABLE2 + facts.TABLE3 for x in entry.trials}
    return len(figures & {"%.2f" % (100 * k / n) for k in range(n + 1)}), len(figures)


def notes2(results):
    scratch, transferred = ([facts.row(number).average for number in some] for some in ((1, 7), (4, 10)))
    printed, test = facts.FERPLUS_IMAGES, ours.FERPLUS_IMAGES["test"]
    return notes(results, results.single, "row") + [
        "The paper gives {:,} images to its validation part and {:,} to its test part; its own label rule gives them the other way "
        "round, which is what is used here.".format(printed["valid"], printed["test"]),
        "Of the paper's {1} different trial figures (Tables II and III) {0} are a count out of {2:,} to two decimals, {3} one out "
        "of {4:,}: one image fewer seems to have been tested.".format(*share_of(test - 1), test - 1, share_of(test)[0], test),
        "The paper's text excepts ImageNet32 from the sources that help; in its table that source helps ResNet-20 "
        "(%.2f, from scratch %.2f), not ResNet-32 (%.2f, %.2f)." % (transferred[0], scratch[0], transferred[1], scratch[1]),
    ]


def notes3(results):
    twins = [(a, b) for i, a in enumerate(facts.TABLE3) for b in facts.TABLE3[i + 1 :] if a.trials == b.trials]
    found = ["The paper prints the same five trials for ensembles %d and %d, of different rows." % (a.number, b.number) for a, b in twins]
    third = [e for e in facts.TABLE3 if round(e.average, 2) != e.average]
    found += ["The paper prints the average of ensemble %d as %s, with a third decimal." % (e.number, e.average) for e in third]
    return notes(results, results.ensembles, "ensemble") + found


def notes4(results):
    found = []
    for method, best in zip(facts.TABLE4[-2:], (paper_best(results.single), paper_best(results.ensembles))):
        found.append(
            "%s: the paper's Table IV prints %gM parameters, its Table %s %dK; exactly they are %s, so that D of the "
            "printed %.2f%% is %.1f, not %.1f."
            % (
                method.name,
                method.parameters_m,
                "II" if len(best.members) == 1 else "III",
                rounded_k(best),
                "{:,}".format(best.parameters),
                method.accuracy,
                density(method.accuracy, best.parameters / 1e6),
                density(method.accuracy, method.parameters_m),
            )
        )
    vgg, single = facts.TABLE4[0], facts.TABLE4[-2]
    found.append(
        "The paper's text (IV-A) has its best single network about 1%% below the VGG13 of FER+'s authors; its Table IV "
        "prints %s with %.2f, below %.2f." % (vgg.name, vgg.accuracy, single.accuracy)
    )
    if results.runs.split != "test":
        found.append("Ours are not of the test part here; the printed figures are.")
    found.append(
        "Printed figures are as the paper gives them; D is empty without a parameter count, and an upper bound for 300M+. "
        '"Our best here" is chosen on the very images it is reported on.'
    )
    return found


TABLES = {"table2": table2, "table3": table3, "table4": table4}


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m evaluation.report.tables", description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=sorted(TABLES))
    parser.add_argument("--out", help="write it as CSV into this folder too, under a name that says what it is of")
    parser.add_argument("--format", choices=("text", "csv"), default="text", help="what to print")
    rows.arguments(parser)
    args = parser.parse_args()
    results = all_results.read(rows.chosen(args))
    table = TABLES[args.table](results)
    print(to_text(table) if args.format == "text" else to_csv(table), end="\n" if args.format == "text" else "")
    if args.out:
        path = os.path.join(args.out, all_results.file_name(results, args.table) + ".csv")
        with files.replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as f:
            f.write(to_csv(table))
        if args.format == "text":
            print("\nas CSV: %s" % path)


if __name__ == "__main__":
    main()
