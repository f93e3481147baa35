"""The study of the paper's reading: what is finished is collected into docs/results/study.csv, and printed: `make study SHOW=1`.

    python3 -m evaluation.report.study                       the table, from the CSV alone
    python3 -m evaluation.report.study --work study ...      collect from the runs there first
    python3 -m evaluation.report.study --work study --rules study/rules.mk ...     and write the rules of what is missing, for make

A reading has a folder in WORK: options, prototxt, solvers and data of its own, pretrain/resnet20_cifar10, row2_8ep/trial1.
"""

import csv
import os

from common import errors, files, runs
from evaluation.report import rows, rules, show, table
from paper import experiments, facts, ours, study

COLUMNS = (
    "base",
    "change",
    "depth",
    "row",
    "seed",
    "pretrain_epochs",
    "ferplus_epochs",
    "engine",
    "precision",
    "source_accuracy",
    "source_accuracy_anew",
    "ten_crops",
    "one_crop",
    "n",
    "commit",
    "minutes",
    "pretrain_minutes",
)
KEY = COLUMNS[:7]
SPLIT = "valid"  # PublicTest; PrivateTest is not looked at


# ---- where a run lies -------------------------------------------------------------------------------------------------


def pretraining(work, run):
    """The folder of the pretraining that a run begins with; None from scratch."""
    row = facts.row(run.row)
    return row.source and experiments.pretraining(os.path.join(work, study.pretraining_home(run.reading), "pretrain"), row.depth, row.source)


def folder(work, run):
    """The folder of a run (one of study.home)."""
    return os.path.join(work, run.reading, "row%d_%sep" % (run.row, run.epochs), "trial%d" % run.trial)


# ---- results ----------------------------------------------------------------------------------------------------------


def key(run):
    """A Case as the first seven cells of its line."""
    base, changes = study.parts(run.reading)
    row = facts.row(run.row)
    epochs = study.reading(run.reading).pretrain_epochs if row.source else ""
    return tuple(map(str, (base, "+".join(changes), row.depth, run.row, run.trial, epochs, run.epochs)))


def read(path):
    """{Case: its line as a dict} of a study.csv; {} where there is none. Fail where it is no such table."""
    if not os.path.exists(path):
        return {}
    found = {}
    with open(path, newline="", encoding="utf-8") as f:
        lines = csv.DictReader(f)
        if tuple(lines.fieldnames or ()) != COLUMNS:
            raise errors.Fail("%s: its first line must be %s: get it back with git" % (path, ",".join(COLUMNS)))
        for line in lines:
            try:
                name = "-".join([line["base"]] + [change for change in line["change"].split("+") if change])
                run = study.Case(name, int(line["row"]), int(line["seed"]), int(line["ferplus_epochs"]))
                if key(run) != tuple(line[column] for column in KEY) or not 0 <= float(line["ten_crops"]) <= 100:
                    raise ValueError
            except (KeyError, ValueError, TypeError, IndexError, AttributeError):
                raise errors.Fail("%s, line %d is no run of paper/study.py: get it back with git" % (path, lines.line_num)) from None
            found[run] = line
    return found


def accuracies(lines):
    """{Case: accuracy}, what the rule of paper/study.py takes."""
    return {run: float(line["ten_crops"]) for run, line in lines.items()}


def write(path, lines):
    order = {name: place for place, name in enumerate(study.known(run.reading for run in lines))}
    rules.write(path, COLUMNS, (lines[run] for run in sorted(lines, key=lambda run: (order[run.reading], run.epochs, run.row, run.trial))))


def collect(work, lines):
    """The lines, with those of every run that is finished and tested in the folder `work` in place of older ones."""
    found = dict(lines)
    for name in sorted(os.listdir(work)) if os.path.isdir(work) else ():
        for run in _runs_in(work, name):
            line = _line(work, run)
            if line:
                found[run] = line
    return found


def _runs_in(work, name):
    try:
        study.parts(name)
    except KeyError:
        return
    for epochs in (study.SHORT, study.FULL):
        for row in study.DECIDED:
            for trial in study.SEEDS:
                if os.path.isdir(folder(work, study.Case(name, row, trial, epochs))):
                    yield study.Case(name, row, trial, epochs)


def _line(work, run):
    """A run's line; None where it is not finished, or what was tested is not what stands there now."""
    made, out, source = folder(work, run), {}, pretraining(work, run)
    kept, metrics = runs.read(made), os.path.join(made, "metrics_%s.json" % SPLIT)
    if kept.get("state") != "finished" or not os.path.exists(metrics):
        return None
    summary = show.read(metrics)
    if summary["made_from"]["weights_sha256"] != kept["final_sha256"]:
        return None
    engine, _, precision = kept["inputs"]["engine"].partition("-")
    out = dict(
        zip(KEY, key(run)),
        engine=engine,
        precision=precision or "fp32",
        ten_crops=rules.percent(summary["accuracy"]),
        one_crop=rules.percent(summary["one_crop_accuracy"]),
        n=str(summary["n"]),
        commit=str(kept["sessions"][-1]["git_commit"]),
        minutes=rules.minutes(kept),
        source_accuracy="",
        source_accuracy_anew="",
        pretrain_minutes="",
    )
    if source:
        statistics = os.path.join(source, "statistics.json")
        log = runs.read_log(os.path.join(source, "log.csv"))
        out.update(
            source_accuracy=rules.percent(log[-1]["validation_accuracy"]) if log else "",
            pretrain_minutes=rules.minutes(runs.read(source)),
            source_accuracy_anew=rules.percent(show.read(statistics)["anew"]) if os.path.exists(statistics) else "",
        )
    return out


# ---- rules for make ---------------------------------------------------------------------------------------------------


class StudyRules(rules.Rules):
    def run(self, run):
        """Train and test one run (one of study.home); the file that says it is done."""
        made, source, root = folder(self.args.work, run), pretraining(self.args.work, run), os.path.join(self.args.work, run.reading)
        depth, final = facts.row(run.row).depth, os.path.join(made, runs.FINAL)
        solver = "%s/solvers/resnet%d_ferplus_%s.prototxt" % (root, depth, "finetune" if source else "scratch")
        needs = [self.nets(run.reading), self.data(run.reading, "ferplus", run.trial)]
        words = ["--trial", run.trial, "--epochs", run.epochs]
        if source:
            needs.append(self.pretraining(run))
            words += ["--weights", needs[-1]]
        self.add(final, needs, self.training(solver, made, *words))
        return self.add(
            os.path.join(made, "metrics_%s.json" % SPLIT),
            [final],
            self.testing("%s/prototxt/resnet%d_ferplus_deploy.prototxt" % (root, depth), final, root + "/data/ferplus", SPLIT),
        )

    def pretraining(self, run):
        made, row, home = pretraining(self.args.work, run), facts.row(run.row), study.pretraining_home(run.reading)
        final, root = os.path.join(made, runs.FINAL), os.path.join(self.args.work, home)
        solver = "%s/solvers/resnet%d_%s.prototxt" % (root, row.depth, row.source)
        return self.add(final, [self.nets(home), self.data(home, row.source)], self.training(solver, made, "--epochs", study.reading(home).pretrain_epochs))

    def statistics(self, run):
        """The pretrained network with BatchNorm's statistics computed anew."""
        made = pretraining(self.args.work, run)
        return self.add(os.path.join(made, "statistics.json"), [os.path.join(made, runs.FINAL)], self.python("evaluation.statistics", made))

    def nets(self, name):
        """A reading's nets and solvers, made anew when its options change."""
        root = os.path.join(self.args.work, name)
        return self.add(
            root + "/nets", [root + "/options"], self.python("netgen", "--root", root, *netgen_options(study.reading(name))), ["touch", root + "/nets"]
        )

    def data(self, name, dataset, trial=1):
        """A reading's LMDB of a data set: a link to the one copy of it that all readings of these options share."""
        shared, options = self.args.data, ()
        variant = data_variant(study.reading(name)) if dataset != "ferplus" else ""
        if variant:
            shared, options = os.path.join(self.args.work, "data", variant), data_options(study.reading(name))
        link, built = os.path.join(self.args.work, name, "data", dataset), os.path.join(shared, dataset)
        unofficial = ["--unofficial"] if self.args.unofficial else []
        manifest = self.add(
            built + "/manifest.json", [], self.python("data_prep", "build", dataset, "--downloads", self.args.downloads, "--out", shared, *unofficial, *options)
        )
        if trial > 1:
            manifest = self.add(
                "%s/train_lmdb_trial%d/data.mdb" % (built, trial), [manifest], self.python("training.order", "--lmdb", built + "/train_lmdb", "--trial", trial)
            )
        return self.add(
            link + (".linked" if trial == 1 else ".trial%d" % trial),
            [manifest],
            ["mkdir", "-p", os.path.dirname(link)],
            ["ln", "-sfn", os.path.relpath(built, os.path.dirname(link)), link],
            ["touch", link + (".linked" if trial == 1 else ".trial%d" % trial)],
        )


def netgen_options(reading):
    """What netgen is told of a reading, word by word."""
    mirrors = [step for step, mirrored in (("pretrain", reading.pretrain_mirror), ("ferplus", reading.ferplus_mirror)) if mirrored]
    words = [] if reading.relu_after_sum else ["--no-relu-after-sum"]
    words += ["--decay", reading.decay, "--pretrain-batch", reading.pretrain_batch, "--ferplus-batch", reading.ferplus_batch]
    words += ["--scratch-batch", reading.scratch_batch] if reading.scratch_batch != reading.ferplus_batch else []
    words += ["--final-rate", reading.final_rate] + (["--mean-value", reading.mean] if not isinstance(reading.mean, str) else [])
    return [str(word) for word in words + ["--mirror"] + mirrors]


def data_options(reading):
    """What data_prep is told of a reading's CIFAR."""
    words = ["--pad-level", reading.pad_level, "--jpeg", reading.jpeg, "--mean-of", reading.mean if isinstance(reading.mean, str) else "stored"]
    return [str(word) for word in words]


def data_variant(reading):
    """The folder of a reading's CIFAR: what differs from what `make data` builds by itself; empty where nothing does."""
    words = [
        "pad%d" % reading.pad_level if reading.pad_level != ours.PAD_LEVEL else "",
        "jpeg%d" % reading.jpeg if reading.jpeg else "",
        "mean" + reading.mean if isinstance(reading.mean, str) and reading.mean != ours.MEAN_OF else "",
    ]
    return "_".join(filter(None, words))


def write_missing(args, lines):
    write_rules(args, study.plan(accuracies(lines)))


def write_rules(args, missing):
    """Write the rules of the missing runs, an empty file where there are none, and each reading's options where they changed."""
    makefile = StudyRules(args)
    goals = []
    for run in missing:
        goals.append(makefile.run(run))
        if pretraining(args.work, run):
            goals.append(makefile.statistics(run))
    for name in sorted({target.split(os.sep)[-2] for target in makefile.rules if target.endswith("/nets")}):
        path, said = os.path.join(args.work, name, "options"), " ".join(netgen_options(study.reading(name))) + "\n"
        if not os.path.exists(path) or open(path).read() != said:
            with files.replacing(path) as temporary, open(temporary, "w") as f:
                f.write(said)
    makefile.write(args.rules, goals)


# ---- the table --------------------------------------------------------------------------------------------------------


def report(lines):
    """Every run's line, what each change is worth, and how the rule stands, as text."""
    results = accuracies(lines)
    columns = [table.column(name) for name in ("reading", "row", "network", "seed", "epochs", "source", "anew", "ten crops", "one crop", "- 0.9 - paper")]
    body = []
    for run, line in lines.items():
        row = facts.row(run.row)
        epochs = "%s+%d" % (line["pretrain_epochs"], run.epochs) if row.source else str(run.epochs)
        body.append(
            [
                run.reading,
                run.row,
                rows.method(row.depth, row.source),
                run.trial,
                epochs,
                line["source_accuracy"] or None,
                line["source_accuracy_anew"] or None,
                line["ten_crops"],
                line["one_crop"],
                "%+.2f" % (results[run] - study.EASIER - row.average),
            ]
        )
    engines = sorted({"%s %s" % (line["engine"], line["precision"]) for line in lines.values()})
    n = sorted({line["n"] for line in lines.values()})
    whole = table.Table(
        "study",
        "The study of the paper's reading (docs/decisions.md, 1)",
        "accuracy in percent, PublicTest, n = %s; engine: %s" % (", ".join(n) or "-", ", ".join(engines) or "-"),
        columns,
        body,
        [],
        [],
    )
    return "\n".join([table.to_text(whole).rstrip(), ""] + _worth(results) + _standing(results))


def _worth(results):
    """What each change that was measured is worth."""
    lines = []
    for base in study.BASES:
        for change, about in study.CHANGES.items():
            effects = [study.effect(results, base, change, row) if _can_matter(base, change, row) else None for row in study.SCREENED]
            if any(points is not None for points in effects):
                lowers = study.lowers(results, base, change)
                lines.append(
                    "(%s) %-22s %s%s"
                    % (
                        about.letter,
                        "%s-%s" % (base, change),
                        "  ".join("row %d %s" % (row, "-" if points is None else "%+.2f" % points) for row, points in zip(study.SCREENED, effects)),
                        "" if lowers is None else "   distance %+.2f" % -lowers,
                    )
                )
    return lines and ["What one change adds, in points, at %d epochs on FER+ (and how it moves the distance of its base):" % study.SHORT] + lines + [""]


def _can_matter(base, change, row):
    """Whether a change can alter a row's run: pretraining's cannot alter what begins from scratch."""
    plain, changed = (study.home(study.Case(name, row, 1, study.SHORT)) for name in (base, "%s-%s" % (base, change)))
    return plain != changed


def _standing(results):
    """The distances of what ran at full length, and what the rule says."""
    lines = []
    for name in study.known(run.reading for run in results):
        full = study.measured(results, name)
        if len(full) > 1 and set(study.SCREENED) <= set(full):
            lines.append(
                "%s: distance %.2f over rows %s; pretraining %s"
                % (name, study.distance(full), ", ".join(map(str, sorted(full))), "gains everywhere" if study.keeps_signs(full) else "does not gain everywhere")
            )
    decided, missing = study.verdict(results), study.plan(results)
    if decided:
        return lines + ["the rule adopts %s: %s" % decided]
    return lines + ["undecided: %d runs are missing now, %s the first (`make study`)" % (len(missing), _said(missing[0]))]


def _said(run):
    return "%s row %d, seed %d, %d epochs" % run


@errors.main
def main():
    parser = rules.options("study", __doc__)
    parser.add_argument("--downloads", default="downloads")
    parser.add_argument("--unofficial", action="store_true", help="as for data_prep")
    args = parser.parse_args()
    rules.run(args, read, lambda args, lines: collect(args.work, lines), write, write_missing, report)


if __name__ == "__main__":
    main()
