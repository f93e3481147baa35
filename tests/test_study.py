"""The study of the paper's reading: its data hold together, the rule decides as declared, results come from runs and outlive them."""

import csv
import difflib
import glob
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from common import errors
from evaluation.report import study as report
from netgen import __main__ as netgen
from paper import facts, study

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# change -> (which files differ from the base's, which fields in them)
DIFFERS = {
    "block": ("prototxt/", {"layer", "name", "type", "bottom", "top"}),
    "decay": ("solvers/", {"weight_decay"}),
    "ferplus_mirror": ("prototxt/resnet20_ferplus_train", {"mirror"}),
    "ferplus_batch": ("ferplus", {"batch_size", "max_iter", "stepvalue", "test_interval", "snapshot"}),
    "scratch_batch": ("ferplus_scratch", {"batch_size", "max_iter", "stepvalue", "test_interval", "snapshot", "net"}),
    "new_layer": ("ferplus_train|ferplus_scratch", {"param", "lr_mult", "net"}),
    "pretrain_mirror": ("prototxt/resnet20_[^f]", {"mirror"}),
    "padding": ("prototxt/resnet20_[^f].*_train", {"mean_file", "mean_value"}),
    "mean": ("prototxt/resnet20_[^f].*_train", {"mean_file", "mean_value"}),
    "jpeg": ("nothing", set()),
    "pretrain_batch": ("resnet20_[^f]", {"batch_size", "max_iter", "stepvalue", "test_interval", "snapshot"}),
    "long": ("nothing", set()),
}
FERPLUS, SCRATCH = ("prototxt/resnet20_ferplus_%strain.prototxt" % step for step in ("", "scratch_"))


def run_netgen(monkeypatch, root, words):
    monkeypatch.setattr("sys.argv", ["netgen", "--root", root, "--depths", "20", *words])
    with pytest.raises(SystemExit) as end:
        netgen.main()
    assert not end.value.code


def written(monkeypatch, folder, name):
    """{file: lines} of a reading's nets and solvers."""
    root = os.path.join(folder, "reading")  # the same for all: paths in the files begin with it
    shutil.rmtree(root, ignore_errors=True)
    run_netgen(monkeypatch, root, report.netgen_options(study.reading(name)))
    return {os.path.relpath(path, root): open(path).read().splitlines() for path in glob.glob(root + "/*/resnet*")}


def test_every_change_is_expected():
    assert set(DIFFERS) == set(study.CHANGES)
    assert sorted(change.letter for change in study.CHANGES.values()) == sorted("abcccdeefghi")


@pytest.mark.parametrize("base", study.BASES)
def test_a_reading_differs_from_its_base_where_it_says(monkeypatch, tmp_path, base):
    before = written(monkeypatch, str(tmp_path), base)
    for change, (files, fields) in DIFFERS.items():
        after = written(monkeypatch, str(tmp_path), "%s-%s" % (base, change))
        assert after.keys() == before.keys() | ({SCRATCH} if change in ("scratch_batch", "new_layer") else set())
        changed = {}
        for path in after:
            old = before.get(path, before[FERPLUS])  # from scratch on FER+ the base has the net of fine-tuning
            lines = [line[1:].strip() for line in difflib.unified_diff(old, after[path], n=0) if re.match("[-+] ", line) or re.match(r"[-+]\w", line)]
            if lines:
                changed[path] = {re.split("[ :{]", line)[0] for line in lines if line != "}"}
        assert all(re.search(files, path) for path in changed), (change, sorted(changed))
        assert set().union(*changed.values()) <= fields, (change, changed)
        of_data = report.data_options(study.reading("%s-%s" % (base, change))) != report.data_options(study.reading(base))
        length = study.reading("%s-%s" % (base, change)).pretrain_epochs != study.reading(base).pretrain_epochs
        told = report.netgen_options(study.reading("%s-%s" % (base, change))) != report.netgen_options(study.reading(base))
        assert told == bool(changed) and (changed or of_data or length), change


def test_what_a_change_sets_is_another_value_than_its_bases():
    for base in study.BASES:
        for change in study.CHANGES:
            assert study.reading("%s-%s" % (base, change)) != study.reading(base)


def test_folders_are_unique_and_shared_where_nothing_differs():
    runs = study.plan({})
    folders = [report.folder("w", run) for run in runs]
    assert len(set(folders)) == len(folders) == len(set(runs))
    assert study.home(study.Case("T-new_layer", 1, 1, 2)) == study.Case("T", 1, 1, 2), "no new layer beside old ones from scratch"
    assert study.home(study.Case("T-jpeg", 7, 1, 8)).reading == "T" and study.home(study.Case("T-jpeg", 2, 1, 8)).reading == "T-jpeg"
    assert report.pretraining("w", study.Case("O-ferplus_batch", 2, 1, 2)) == "w/O/pretrain/resnet20_cifar10"
    assert report.pretraining("w", study.Case("O-decay", 3, 1, 2)) == "w/O-decay/pretrain/resnet20_cifar100"
    assert report.pretraining("w", study.Case("O-decay", 1, 1, 2)) is None
    everything = "-".join(["T"] + [c for c in study.CHANGES if study.CHANGES[c].T != study.CHANGES[c].O])
    assert study.home(study.Case(everything, 2, 1, 8)).reading == "O", "T with all of O's values is O"


def test_the_data_of_a_reading_have_names_of_their_own():
    variants = {}
    for name in study.known():
        told = tuple(report.data_options(study.reading(name)))
        assert variants.setdefault(report.data_variant(study.reading(name)), told) == told
    assert report.data_variant(study.BASES["O"]) == "" and report.data_variant(study.BASES["T"]) == "pad128"


# ---- the rule ---------------------------------------------------------------------------------------------------------


def world(truth):
    """A function Run -> accuracy: `truth(reading, row, trial, epochs)`, points beside paper + 0.9."""
    return lambda run: facts.row(run.row).average + study.EASIER + truth(run.reading, run.row, run.trial, run.epochs)


def studied(truth):
    """(results of a study that runs all that it asks for, in order)."""
    results, order = {}, []
    while study.plan(results):
        for run in study.plan(results):
            assert run == study.home(run) and run not in results
            results[run] = world(truth)(run)
            order.append(run)
        assert len(order) < 500
    return results, order


def test_the_rule_takes_the_nearer_base_and_runs_its_pairs_first():
    results, order = studied(lambda name, row, trial, epochs: -3.0 if name.startswith("O") else -0.2)
    assert [run[:2] for run in order[:4]] == [("T", 1), ("T", 2), ("O", 1), ("O", 2)]
    adopted, why = study.verdict(results)
    assert adopted == "T" and "0.20" in why
    assert {run.trial for run in order} == {1} and {run.reading for run in order if run.row == 9} == {"T", "O"}


def test_a_change_that_helps_alone_is_combined_and_decides_at_full_length():
    def truth(name, row, trial, epochs):
        return -4.0 + 2.0 * ("decay" in name) + 1.5 * ("block" in name) + 0.1 * ("jpeg" in name) - (epochs == 2)

    results, order = studied(truth)
    assert study.combination(study_first(results), "T") == "T-block-decay"
    assert study.verdict(results)[0] in ("T-block-decay", "O-block-decay")
    assert any(run == study.Case("T-block-decay", 9, 1, 8) for run in order)


def study_first(results):
    return {run: accuracy for run, accuracy in results.items() if run.trial == 1}


def test_a_change_that_hangs_gets_three_seeds():
    _, order = studied(lambda name, row, trial, epochs: -2.0 + 0.5 * (name == "T-decay"))
    seeded = {run.reading for run in order if run.trial > 1 and run.epochs == study.SHORT}
    assert seeded == {"T", "T-decay"}


def test_a_tie_gets_three_seeds_and_goes_to_the_template():
    results, order = studied(lambda name, row, trial, epochs: -0.3 + 0.3 * (trial - 2) + 0.05 * name.startswith("O"))
    assert {run.trial for run in order if run.epochs == study.FULL and run.row in (1, 2)} == {1, 2, 3}
    adopted, why = study.verdict(results)
    assert adopted == "T" and "template" in why


def test_the_sign_of_pretraining_goes_before_the_distance():
    # O is nearer on the average, but its pretraining loses.
    def truth(name, row, trial, epochs):
        return {True: 3.0, False: -3.0}[row in (1, 7)] if name.startswith("O") else -3.5

    results, _ = studied(truth)
    assert not study.keeps_signs(study.measured(results, "O")) and study.keeps_signs(study.measured(results, "T"))
    assert study.verdict(results)[0] == "T"


def test_there_is_no_verdict_before_all_is_run():
    results, order = studied(lambda name, row, trial, epochs: -1.0 if name.startswith("T") else -3)
    results.pop(order[-1])
    assert study.verdict(results) is None and study.plan(results) == [order[-1]]


# ---- results ----------------------------------------------------------------------------------------------------------


def line(run, ten):
    cells = dict(
        zip(report.KEY, report.key(run)),
        engine="torch",
        precision="fp32",
        ten_crops="%.2f" % ten,
        one_crop="70.00",
        n="3312",
        commit="c",
        minutes="1.0",
        source_accuracy="",
        source_accuracy_anew="",
        pretrain_minutes="",
    )
    return cells


def test_results_outlive_their_runs(tmp_path):
    path = str(tmp_path / "study.csv")
    lines = {run: line(run, 79 + run.row) for run in study.plan({})[:6]}
    report.write(path, lines)
    assert report.read(path) == lines
    assert report.collect(str(tmp_path / "absent"), report.read(path)) == lines
    text = report.report(report.read(path))
    assert "T: distance" in text and "undecided: 32 runs" in text and "81.00" in text


@pytest.mark.parametrize("column, value", [("row", "13"), ("base", "X"), ("ten_crops", "182"), ("depth", "32"), ("change", "warm")])
def test_a_damaged_table_is_refused_in_one_line(tmp_path, column, value):
    path = str(tmp_path / "study.csv")
    report.write(path, {run: line(run, 80) for run in study.plan({})[:1]})
    with open(path) as f:
        rows = list(csv.DictReader(f))
    rows[0][column] = value
    with open(path, "w") as f:
        writer = csv.DictWriter(f, report.COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(errors.Fail, match="line 2") as refusal:
        report.read(path)
    assert "\n" not in str(refusal.value)


def test_the_committed_results_are_runs_of_the_study():
    path = os.path.join(ROOT, "docs", "results", "study.csv")
    for run in report.read(path):
        assert run == study.home(run)


def test_nothing_is_asked_of_make_when_all_is_run(tmp_path, monkeypatch):
    args = SimpleNamespace(
        work=str(tmp_path / "study"), rules=str(tmp_path / "rules.mk"), python="python3", data="data", downloads="d", unofficial=False, engine="torch"
    )
    report.write_rules(args, [])
    assert open(args.rules).read() == ""
    report.write_rules(args, study.plan({})[:2])
    said = open(args.rules).read()
    assert "--weights %s/study/T/pretrain/resnet20_cifar10/final.caffemodel" % tmp_path in said
    assert "data_prep build cifar10 --downloads d --out %s/study/data/pad128 --pad-level 128" % tmp_path in said
    assert open(args.work + "/T/options").read().startswith("--no-relu-after-sum --decay 0.0005")


# ---- the whole, tiny --------------------------------------------------------------------------------------------------


def make(*words):
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        env=dict(os.environ, THREADS="1", PYTHONPATH=ROOT),
    )


@pytest.mark.torch
def test_a_tiny_study_on_drawn_data(tmp_path, monkeypatch):
    """Two readings of a base with a shared pretraining, from drawn downloads to the table; the second time nothing is trained."""
    from demo import draw

    study._first.cache_clear()
    draw.write(str(tmp_path / "downloads"))
    monkeypatch.setattr(study, "BASES", {name: base._replace(pretrain_epochs=0.2, pretrain_batch=32) for name, base in study.BASES.items()})
    monkeypatch.setattr(study, "SHORT", 0.01)
    wanted = [study.Case("O", 2, 1, 0.01), study.Case("O-ferplus_batch", 2, 1, 0.01)]
    work = str(tmp_path / "study")
    args = SimpleNamespace(
        work=work,
        rules=work + "/rules.mk",
        python=sys.executable,
        data=str(tmp_path / "data"),
        downloads=str(tmp_path / "downloads"),
        unofficial=True,
        engine="torch",
    )
    monkeypatch.setattr(study, "_screening", lambda results: wanted)
    report.write_rules(args, study.plan({}))

    def round_of_make(goal="all"):
        return subprocess.run(
            ["make", "-f", args.rules, goal],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            env=dict(os.environ, THREADS="1", PYTHONPATH=ROOT, MAKEFLAGS=""),
        )

    assert make("-m", "data_prep", "build", "ferplus", "--downloads", args.downloads, "--out", args.data, "--unofficial", "--per-class", "100").returncode == 0
    for name in ("O", "O-ferplus_batch"):  # nets and solvers are for the real sets: so many validations would take minutes
        assert round_of_make("%s/%s/nets" % (work, name)).returncode == 0
        for path in glob.glob("%s/%s/solvers/*" % (work, name)):
            with open(path) as f:
                said = f.read()
            with open(path, "w") as f:
                f.write(re.sub(r"test_iter: \d+", "test_iter: 2", said))
    done = round_of_make()
    assert done.returncode == 0, done.stdout
    lines = report.collect(work, {})
    assert sorted(lines) == sorted(wanted)
    assert {cells["pretrain_epochs"] for cells in lines.values()} == {"0.2"} and all(cells["source_accuracy_anew"] for cells in lines.values())
    assert not os.path.exists(work + "/O-ferplus_batch/pretrain"), "a pretraining is shared"
    assert "is finished" not in round_of_make().stdout, "what is finished is not run again"
    metrics = report.folder(work, wanted[0]) + "/metrics_valid.json"
    with open(metrics) as f:
        said = f.read()
    with open(metrics, "w") as f:  # of other weights than stand there now
        f.write(re.sub('"weights_sha256": "..', '"weights_sha256": "zz', said))
    assert list(report.collect(work, {})) == wanted[1:]
