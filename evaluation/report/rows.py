"""Which networks the tables are about, and where their scores lie: Table II's twelve rows, and rows that others add.

A row's trials lie in RUNS/resnet20_ferplus_from_cifar10/trial1/scores_test.npz and so on. Other rows come from a file
of one line each (evaluation/report/rows.csv) with the columns
    row         a short name without "+" and blanks, for ROWS=8+mine
    method      what the tables call it
    parameters  how many, or the path of a deploy prototxt that is counted
    runs        a folder with trial1/scores_test.npz, ... (common/scores.py says what they hold), or empty
    accuracy    where there are no scores: a published accuracy in percent, for Table IV only
"""

import csv
import functools
import json
import os
from collections import namedtuple

from common import errors, scores
from common.caffe import messages as m
from common.caffe import text
from netgen import describe, resnet
from paper import experiments, facts

ADDED = os.path.join("report", "rows.csv")
COLUMNS = ["row", "method", "parameters", "runs", "accuracy"]

# paper: the facts.Single (None for added rows); folder: holds trialN/; accuracy: a published figure (added rows only).
Row = namedtuple("Row", "key title parameters paper folder accuracy")
# What all rows have in common. epochs: (pretraining, fine-tuning) of short runs, None where the paper's.
Runs = namedtuple("Runs", "folder split epochs added")


def arguments(parser):
    """The arguments of every command that reads rows; `chosen` makes Runs of them."""
    parser.add_argument("--runs", default="runs", help="folder of the runs (default: runs; of the torch engine: runs/torch)")
    parser.add_argument("--split", default="test", help="test (PrivateTest, the paper's) or valid (PublicTest)")
    parser.add_argument("--pretrain-epochs", help="take the short runs of PRETRAIN_EPOCHS")
    parser.add_argument("--finetune-epochs", help="take the short runs of FINETUNE_EPOCHS")
    parser.add_argument("--rows-file", default=ADDED, help="rows that others add (default: %s)" % ADDED)


def chosen(args):
    """Runs, as the arguments say."""
    return Runs(args.runs, args.split, (args.pretrain_epochs, args.finetune_epochs), args.rows_file)


def table(runs):
    """Every Row, the paper's first."""
    return [_paper_row(runs, row) for row in facts.TABLE2] + _added_rows(runs.added)


def find(rows, spec):
    """The rows that "8+11" names, in that order. Fail on a row that is not there, or twice."""
    by_key, keys = {row.key: row for row in rows}, spec.replace(" ", "").split("+")
    unknown = [key for key in keys if key not in by_key]
    if unknown or len(set(keys)) < len(keys):
        raise errors.Fail(
            "ROWS=%s: %s; the rows are %s"
            % (spec, "no row %s" % (unknown[0] or "without a name") if unknown else "a row stands in it twice", ", ".join(by_key))
        )
    return [by_key[key] for key in keys]


def method(depth, source):
    """What Table II calls a network."""
    return "ResNet-%d%s" % (depth, " from %s" % facts.source(source).title if source else "")


@functools.lru_cache(maxsize=None)
def parameters(depth):
    """The exact number of trainable parameters of a network with FER+'s eight classes."""
    return describe.trainable_parameters(resnet.deploy_net(depth, "ferplus", len(facts.EXPRESSIONS)))


def scores_path(row, trial, split):
    return os.path.join(experiments.trial(row.folder, trial), "scores_%s.npz" % split)


def load(rows, runs):
    """Row key -> {trial: Scores} of all scores that are there.

    Fail where there are none at all, where a file is damaged or of another split, or where two are not of the same images.
    """
    found, paths = {row.key: {} for row in rows}, []
    for row in rows:
        for trial in facts.TRIALS:
            path = row.folder and scores_path(row, trial, runs.split)
            if path and os.path.exists(path):
                found[row.key][trial] = scores.read(path, runs.split)
                paths.append(path)
    if not paths:
        raise errors.Fail("no scores of the split %s in %s: make some with `%s`" % (runs.split, runs.folder, fill(rows[0], 1, runs) if rows else "make eval"))
    scores.check_same_images(paths, [s for trials in found.values() for s in trials.values()])
    return found


def fill(row, trial, runs):
    """The command that makes the scores of one trial of a row."""
    if row.paper is None:
        return "put scores at %s" % scores_path(row, trial, runs.split)
    words = ["make eval", "SRC=%s" % (row.paper.source or "none"), "DEPTH=%d" % row.paper.depth, "TRIAL=%d" % trial]
    return " ".join(words + variables(runs))


def variables(runs):
    """What make must be told about Runs, beyond its defaults: a list of words."""
    words = ["SPLIT=%s" % runs.split] if runs.split != "test" else []
    words += ["%s=%s" % pair for pair in zip(("PRETRAIN_EPOCHS", "FINETUNE_EPOCHS"), runs.epochs) if pair[1]]
    folder = os.path.normpath(runs.folder)
    engine, _, precision = experiments.engine_of(folder).partition("-")
    words += (["ENGINE=%s" % engine] if engine != experiments.CAFFE else []) + (["PRECISION=%s" % precision] if precision else [])
    usual = experiments.runs_folder(engine=experiments.engine_of(folder))
    if folder == usual:
        return words
    # Another WORK has nets, solvers and data of its own: RUNS alone would train with those of this folder.
    work = folder[: -len(usual)].rstrip("/") if folder.endswith("/" + usual) else None
    if work and os.path.isdir(os.path.join(work, "solvers")):
        return words + ["WORK=%s" % work]
    return words + ["RUNS=%s" % folder]


def engine(row, trial):
    """Which engine trained a trial, as its run.json says: caffe, torch, or "unknown"."""
    try:
        with open(os.path.join(experiments.trial(row.folder, trial), "run.json")) as f:
            return json.load(f)["inputs"]["engine"]
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown"


def pretraining_folder(row, runs):
    """Where the run lies that a row was pretrained in; None for a row without."""
    if row.paper is None or not row.paper.source:
        return None
    return experiments.pretraining(runs.folder, row.paper.depth, row.paper.source, runs.epochs[0])


def _paper_row(runs, row):
    folder = experiments.row(runs.folder, row.depth, row.source, runs.epochs)
    return Row(str(row.row), method(row.depth, row.source), parameters(row.depth), row, folder, None)


def _added_rows(path):
    """The rows of a file of added rows; none where the default file is not there."""
    if not os.path.exists(path):
        if path == ADDED:
            return []
        raise errors.Fail("there is no %s: a file of rows has the columns %s" % (path, ",".join(COLUMNS)))
    with open(path, newline="", encoding="utf-8") as f:
        lines = csv.DictReader(line for line in f if not line.startswith("#"))
        if lines.fieldnames != COLUMNS:
            raise errors.Fail("%s: its first line must be %s" % (path, ",".join(COLUMNS)))
        found = [_added_row(path, line) for line in lines]
    keys = [row.key for row in found]
    if len(set(keys)) < len(keys):
        raise errors.Fail("%s: a row stands in it twice: %s" % (path, max(keys, key=keys.count)))
    return found


def _added_row(path, line):
    here = "%s, row %r" % (path, line["row"])
    if None in line or None in line.values():
        raise errors.Fail("%s: a line has %d fields (%s), with quotes around a field that holds a comma" % (here, len(COLUMNS), ",".join(COLUMNS)))
    key, method, parameters, runs, accuracy = (line[name].strip() for name in COLUMNS)
    if not key or set(key) & set("+ ") or key.isdigit():
        raise errors.Fail("%s: its name must be a short word, without + and blanks, and not a number alone" % here)
    if bool(runs) == bool(accuracy):
        raise errors.Fail("%s: give either runs (a folder with trial1/scores_test.npz) or a published accuracy" % here)
    return Row(key, method or key, _parameters(here, parameters), None, runs, _percent(here, accuracy) if accuracy else None)


def _percent(here, accuracy):
    try:
        percent = float(accuracy)
    except ValueError:
        percent = -1
    if not 0 <= percent <= 100:
        raise errors.Fail("%s: the accuracy %s is no number of percent" % (here, accuracy))
    return percent


def _parameters(here, given):
    """A number of parameters, or how many the net in a deploy prototxt has."""
    if os.path.isfile(given):
        return describe.trainable_parameters(text.read(given, m.NetParameter))
    digits = given.replace("_", "")
    if not digits.isdigit() or not int(digits):
        raise errors.Fail("%s: parameters must be a number or a deploy prototxt, not %r" % (here, given))
    return int(digits)
