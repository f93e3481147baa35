"""One HTML page with all results, in one file that opens from disk without a network: `make report`.

    python3 -m evaluation.report.page --out results [--runs runs] [--split test] [--data data/ferplus]

What it shows is gathered here and laid out by page.html (Jinja2). Pictures are inlined, each figure in a light and a
dark form.
"""

import argparse
import base64
import datetime
import functools
import io
import os
import sys
from collections import namedtuple

import jinja2
import numpy as np

from common import errors, files, runs
from common.caffe import lmdbs
from evaluation import data
from evaluation.report import curves, draw, figures, judging, rows, table, tables
from evaluation.report import results as all_results
from evaluation.report.table import Table, column
from paper import experiments, facts, ours

HERE = os.path.dirname(os.path.abspath(__file__))
PERCENT = "{:.2f}"
EXAMPLES = 16  # worst, and best

Picture = namedtuple("Picture", "light dark words")  # data URIs, and what is to be seen
Example = namedtuple("Example", "image name label prediction confidence")  # image: data URI of a PNG


def context(results, data_folder, commit=""):
    """Everything that page.html names."""
    annotations = judging.annotations(data_folder, results.runs.split)
    tested = [r for r in results.single + results.ensembles if r.trials]
    judged = {r.key: judging.judge(r, annotations) for r in tested}
    best = draw.figure2_result(results)
    worst, right, why_not = examples(best, data_folder, results.runs.split)
    return dict(
        results=results,
        part=all_results.part(results),
        engines=all_results.engines(results),
        epochs=all_results.epochs(results),
        made=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        commit=commit,
        manifest=_manifest(data_folder),
        synthetic="synthetic" in results.engines,
        missing=all_results.missing(results),
        trials=len(facts.TRIALS),
        tables=[make(results) for make in (tables.table2, tables.table3, tables.table4)],
        judging=judging_table(tested, judged),
        strata=strata_table(tested, judged),
        mcnemar=mcnemar_table(results),
        best=best,
        best_judged=judged[best.key],
        per_class=per_class_table(judged[best.key]),
        pictures=pictures(results, best, judged[best.key]),
        worst=worst,
        right=right,
        why_not=why_not,
        curves=training_curves(results),
        ours=ours,
        facts=facts,
    )


def pictures(results, best, judgement):
    """Name -> Picture."""
    made = {
        "confusion": (lambda: draw.confusion(results, best, judgement), "Confusion matrix of %s" % best.title),
        "density": (lambda: draw.density(results), "Information density of the literature's methods, the paper's and ours"),
        "reliability": (lambda: draw.reliability(results, best, judgement), "Reliability diagram of %s" % best.title),
    }
    return {name: _picture(make, words) for name, (make, words) in made.items()}


def training_curves(results):
    """Pictures of the runs' logs: pretraining, and fine-tuning with one trial of each row. Only those that there are."""
    pretraining = {rows.pretraining_folder(row, results.runs): row.title for row in results.rows}
    tuned = {experiments.trial(r.members[0].folder, t): "row %s, trial %d" % (r.key, t) for r in results.single for t in sorted(r.trials)[:1]}
    found = []
    for words, folders in (("Pretraining", pretraining), ("Training on FER+, one trial of each row", tuned)):
        logs = [(name, runs.read_log(os.path.join(folder, "log.csv"))) for folder, name in folders.items() if folder]
        logs = [(name, lines) for name, lines in logs if lines]
        if logs:
            found.append(_picture(functools.partial(curves.compose, logs), words))
    return found


def _picture(make, words):
    """A Picture of the figure that `make` draws."""
    return Picture(_uri(make, figures.LIGHT), _uri(make, figures.DARK), words)


def _uri(make, theme):
    with figures.style(theme), figures.plt.rc_context({"svg.fonttype": "path"}):  # no font is needed to read it
        return data_uri(draw.image(make(), "svg"), "image/svg+xml")


def data_uri(content, kind):
    return "data:%s;base64,%s" % (kind, base64.b64encode(content).decode())


def judging_table(tested, judged):
    """What judges every row and ensemble that has scores."""
    columns = [
        column("rows"),
        column("method"),
        column("accuracy", PERCENT),
        column("95% interval"),
        column("mean class", PERCENT),
        column("95% interval"),
        column("one crop", PERCENT),
        column("ECE", PERCENT),
        column("n", "{:,}"),
    ]
    lines = [
        [r.key, r.title, 100 * j.accuracy, _between(j.interval), 100 * j.mean_class, _between(j.mean_class_interval), 100 * j.one_crop, 100 * j.ece, j.n]
        for r, j in ((r, judged[r.key]) for r in tested)
    ]
    return Table("judging", "Intervals and calibration", "", columns, lines, [], [])


def strata_table(tested, judged):
    """Accuracy by images: without duplicates, and by the annotators' agreement."""
    strata = judged[tested[0].key].strata
    columns = [column("rows"), column("method"), column("all images", PERCENT)]
    columns += [column("%s (n\u00a0=\u00a0%s)" % (name, "{:,}".format(n)), PERCENT) for name, n, _ in strata]
    lines = [[r.key, r.title, 100 * judged[r.key].accuracy] + [100 * share for _, _, share in judged[r.key].strata] for r in tested]
    return Table("strata", "Accuracy by duplicates and agreement", "", columns, lines, [], [])


def _between(interval):
    return "%.2f to %.2f" % tuple(100 * end for end in interval)


def mcnemar_table(results):
    """McNemar's test for the paper's claims: transfer against from scratch, the best ensemble against its best member."""
    single = {r.paper.row: r for r in results.single if r.paper}
    scratch = {row.depth: row.row for row in facts.TABLE2 if row.source is None}
    pairs = [(single[row.row], single[scratch[row.depth]]) for row in facts.TABLE2 if row.source]
    pairs.append((tables.paper_best(results.ensembles), tables.paper_best(results.single)))
    lines = []
    for first, second in pairs:
        cells = [_mcnemar_cell(first.trials.get(t), second.trials.get(t)) for t in facts.TRIALS]
        if any(cells):
            lines.append(["%s against %s" % (first.key, second.key), first.title] + cells)
    columns = [column("rows"), column("the first")] + [column("trial %d" % t) for t in facts.TRIALS]
    return Table("mcnemar", "McNemar's exact test", "", columns, lines, [], [])


def _mcnemar_cell(first, second):
    if first is None or second is None:
        return None
    return "%d : %d, p = %.2g" % judging.mcnemar(first.labels, first.probabilities, second.probabilities)


def per_class_table(judgement):
    columns = [column("class"), column("n", "{:,}")] + [column(name, "{:.1f}") for name in ("precision", "recall", "F1")]
    lines = [[c["name"], c["n"], 100 * c["precision"], 100 * c["recall"], 100 * c["f1"]] for c in judgement.per_class]
    return Table("per_class", "Class by class", "", columns, lines, [], [])


def examples(result, data_folder, split):
    """(worst, best, why there are none): the Examples of a Result's first trial that it is surest of, wrong and right.

    Without them the page is made all the same, with a warning; an LMDB that is there and damaged is a Fail.
    """
    trial = min(result.trials)
    s = result.trials[trial]
    confidence, predicted = s.probabilities.max(axis=1), s.probabilities.argmax(axis=1)
    order = np.argsort(-confidence, kind="stable")
    wrong = [i for i in order if predicted[i] != s.labels[i]][:EXAMPLES]
    by_class = [[i for i in order if predicted[i] == c == s.labels[i]][: EXAMPLES // len(s.classes)] for c in range(len(s.classes))]
    right = [i for some in by_class for i in some]
    try:
        return [_examples(s, some, data_folder, split) for some in (wrong, right)] + [None]
    except lmdbs.Damaged:
        raise
    except errors.Fail as reason:
        print("warning: the page has no example faces: %s" % reason, file=sys.stderr)
        return [], [], str(reason)


def _examples(s, chosen, data_folder, split):
    folder = os.path.join(data_folder, split + "_lmdb")
    found = lmdbs.read_images(folder, [str(s.keys[i]) for i in chosen])
    names = data.names(data_folder, split)
    strangers = [i for i in chosen if s.names[i] and names.get(str(s.keys[i]), s.names[i]) != s.names[i]]
    if strangers:
        raise errors.Fail("the scores are not of the images in %s" % folder)
    return [
        Example(
            data_uri(_png(image), "image/png"),
            str(s.names[i] or s.keys[i]),
            s.classes[s.labels[i]],
            s.classes[s.probabilities[i].argmax()],
            100 * s.probabilities[i].max(),
        )
        for image, i in zip(found, chosen)
    ]


def _png(image):
    """uint8 C x H x W (BGR) as PNG bytes."""
    out = io.BytesIO()
    figures.plt.imsave(out, image[::-1].transpose(1, 2, 0), format="png")
    return out.getvalue()


def _manifest(data_folder):
    """The data's manifest.json as the first figures of its hash, "" where there is none."""
    path = os.path.join(data_folder, "manifest.json")
    return files.sha256(path)[:12] if os.path.exists(path) else ""


def render(values):
    """The page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["thousands"] = "{:,}".format
    environment.globals.update(cell=table.cell, shown=table.shown, is_text=table.is_text, some=all_results.some)
    return environment.get_template("page.html").render(**values)


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m evaluation.report.page", description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="results", help="folder; the page's name says what it is of (default: %(default)s)")
    parser.add_argument("--data", default=os.path.join("data", "ferplus"), help="folder with the LMDBs, for votes and examples")
    parser.add_argument("--commit", default="", help="which state of the code this is, to be printed on the page")
    rows.arguments(parser)
    args = parser.parse_args()
    results = all_results.read(rows.chosen(args))
    out = os.path.join(args.out, all_results.file_name(results, "report") + ".html")
    page = render(context(results, args.data, args.commit))
    with files.replacing(out) as temporary, open(temporary, "w", encoding="utf-8") as f:
        f.write(page)
    print("wrote %s (%.1f MB)" % (out, os.path.getsize(out) / 1e6))


if __name__ == "__main__":
    main()
