"""The paper's figures from our scores, and a reliability diagram, as PNG and SVG: `env/run --plain -m evaluation.report.draw fig2`.

python3 -m evaluation.report.draw fig2 --out results [--rows 8+11]           the confusion matrix of an ensemble (Figure 2)
python3 -m evaluation.report.draw fig3 --out results                         information density (Figure 3)
python3 -m evaluation.report.draw reliability --out results [--rows 8+11]    accuracy against confidence (beyond the paper)
"""

import argparse
import io
import os

from common import errors, files
from evaluation.report import ensemble, figures, judging, rows, tables
from evaluation.report import results as all_results
from paper import facts

PNG_DPI = 200


def confusion(results, result, judgement):
    """Figure 2: one Result's confusion matrix, in percent of each row; over several trials their mean. A figure."""
    theirs = ["", ""]
    if result.paper == facts.TABLE3[facts.FIGURE2_ENSEMBLE - 1]:
        theirs = [" (the paper: %.2f%%)" % x for x in (facts.FIGURE2_ACCURACY, facts.FIGURE2_MEAN_CLASS_ACCURACY)]
    lines = [
        "accuracy %.2f%%%s" % (100 * judgement.accuracy, theirs[0]),
        "mean class accuracy %.2f%%%s" % (100 * judgement.mean_class, theirs[1]),
        "percent of each row, mean of %s" % all_results.some(judgement.trials, "trial"),
        "%s; engine: %s" % (all_results.part(results), all_results.engines(results)),
    ]
    figure = figures.plt.figure(figsize=(6.4, 6.0))
    ax = figure.add_subplot(1, 1, 1)
    figures.confusion_matrix(ax, judgement.confusion / judgement.trials, facts.EXPRESSIONS, "percent")
    ax.set_title(result.title, loc="left", pad=62)
    ax.annotate("\n".join(lines), (0, 1), (0, 8), xycoords="axes fraction", textcoords="offset points", fontsize=8.5, va="bottom")
    figure.tight_layout()
    return figure


def density(results):
    """Figure 3: D of the methods that give a parameter count, of the paper's best and of ours. A figure."""
    bars = []
    for method in facts.TABLE4[:-2]:
        if method.parameters_m:
            words = "%.2f%% / %s%gM" % (method.accuracy, "at least " if method.at_least else "", method.parameters_m)
            bars.append((method.name, tables.density(method.accuracy, method.parameters_m), words, 0))
    for method, some in zip(facts.TABLE4[-2:], (results.single, results.ensembles)):
        best = tables.paper_best(some)
        bars.append(_bar("the paper's %s (%s)" % (method.name, best.key), method.accuracy, best.parameters, 1))
        mean = tables.accuracy(best)[0]
        if mean is not None:
            bars.append(_bar("ours (%s)" % best.key, mean, best.parameters, 2))
    if not any(group == 2 for _, _, _, group in bars):
        best = next(tables.best_of_ours(results))
        bars.append(_bar("our best here (%s)" % best.key, tables.accuracy(best)[0], best.parameters, 2))
    for row in results.rows:
        if row.accuracy is not None:
            bars.append(_bar(row.title, row.accuracy, row.parameters, 0))
    figure = figures.plt.figure(figsize=(6.4, 1.2 + 0.36 * len(bars)))
    ax = figure.add_subplot(1, 1, 1)
    figures.density_bars(ax, bars)
    ax.set_title("ours: %s; engine: %s" % (all_results.part(results), all_results.engines(results)), loc="left", fontsize=8.5, fontweight="normal")
    figure.tight_layout()
    return figure


def _bar(name, accuracy, parameters, group):
    words = "{:.2f}% / {:,}".format(accuracy, parameters)
    return name, tables.density(accuracy, parameters / 1e6), words, group


def reliability(results, result, judgement):
    """The reliability diagram of one Result, all trials together. A figure."""
    figure = figures.plt.figure(figsize=(4.2, 4.5))
    ax = figure.add_subplot(1, 1, 1)
    figures.reliability(ax, judgement.bins, judgement.ece)
    ax.set_title("%s\n%s\nengine: %s" % (result.title, all_results.part(results), all_results.engines(results)), loc="left", fontsize=8, fontweight="normal")
    figure.tight_layout()
    return figure


def image(figure, kind, **options):
    """A figure's bytes as "png" or "svg"; the figure is closed. The same figure gives the same bytes."""
    out = io.BytesIO()
    figure.savefig(out, format=kind, metadata={"Date": None} if kind == "svg" else None, **options)
    figures.plt.close(figure)
    return out.getvalue()


def figure2_result(results, spec=None):
    """The Result that Figure 2 shows: the rows of `spec`, else the paper's ensemble, else our best where that is missing."""
    if spec:
        found = {row.key: r.trials for r in results.single for row in r.members}
        result = ensemble.result(rows.find([row for row in results.rows if row.folder], spec), found)
        result = next((r for r in results.single + results.ensembles if r.key == result.key), result)
        ensemble.require_trials(result, results.runs)
        return result
    result = results.ensembles[facts.FIGURE2_ENSEMBLE - 1]
    return result if result.trials else list(tables.best_of_ours(results))[-1]


def make(name, results, spec=None):
    """The figure called "fig2", "fig3" or "reliability"."""
    if name == "fig3":
        return density(results)
    result = figure2_result(results, spec)
    draw = {"fig2": confusion, "reliability": reliability}[name]
    return draw(results, result, judging.judge(result, judging.NOTHING_KNOWN))


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m evaluation.report.draw", description=__doc__.splitlines()[0])
    parser.add_argument("figure", choices=("fig2", "fig3", "reliability"))
    parser.add_argument("--rows", help="fig2, reliability: which rows (default: the paper's 8+11, or our best)")
    parser.add_argument("--out", default="results", help="folder")
    rows.arguments(parser)
    args = parser.parse_args()
    results = all_results.read(rows.chosen(args))
    for kind in ("png", "svg"):
        with figures.style():
            data = image(make(args.figure, results, args.rows), kind, dpi=PNG_DPI)
        path = os.path.join(args.out, all_results.file_name(results, args.figure, args.rows) + "." + kind)
        with files.replacing(path) as temporary, open(temporary, "wb") as f:
            f.write(data)
        print("wrote %s" % path)


if __name__ == "__main__":
    main()
