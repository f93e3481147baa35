"""Rows, runs and their folders: paper/experiments.py, and the Makefile's rule beside it. No Caffe."""

import os
import shlex
import shutil
import subprocess

import pytest
import training_data as data

from evaluation.report import rows
from paper import experiments, facts

LENGTHS = ((None, None), ("5", None), (None, "2"), ("0.5", "0.25"))


@pytest.mark.parametrize("runs", ["runs", "a b/runs/torch-bf16", "/x/resnet20_cifar10/runs"])
@pytest.mark.parametrize("epochs", LENGTHS)
def test_what_is_composed_is_recognised(runs, epochs):
    for single in facts.TABLE2:
        folder = experiments.row(runs, single.depth, single.source, epochs)
        known = (epochs[0] if single.source else None), epochs[1]
        assert experiments.recognised(folder) == (single.depth, single.source, known, None)
        for path in (experiments.trial(folder, 3), os.path.join(experiments.trial(folder, 3), "final.caffemodel")):
            assert experiments.recognised(path) == (single.depth, single.source, known, 3)
            assert experiments.row_of(path) == (None if any(known) else single)


@pytest.mark.parametrize(
    "path",
    [
        "runs/resnet20_cifar10/final.caffemodel",
        "runs/best",
        "runs/my_resnet20_ferplus_from_cifar10/trial1",
        "final.caffemodel",
        "runs/resnet20_ferplus_from_cifar10_copy/trial1",
    ],
)
def test_what_is_no_run_on_ferplus_is_not_recognised(path):
    assert experiments.recognised(path) is None and experiments.row_of(path) is None


def test_another_depth_or_source_is_no_row():
    assert experiments.row_of("runs/resnet56_ferplus_from_cifar10/trial1") is None
    assert experiments.row_of("runs/resnet20_ferplus_from_mine/trial1") is None


def test_the_commands_that_fill_a_row_name_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("work/solvers")
    for folder, words in (
        ("runs", []),
        ("runs/torch", ["ENGINE=torch"]),
        ("runs/torch-bf16", ["ENGINE=torch", "PRECISION=bf16"]),
        ("other/runs/torch", ["ENGINE=torch", "RUNS=other/runs/torch"]),
        ("other", ["RUNS=other"]),
        ("work/runs/torch", ["ENGINE=torch", "WORK=work"]),  # which has nets and data of its own
        ("work/runs", ["WORK=work"]),
        ("work", ["RUNS=work"]),
    ):
        assert rows.variables(rows.Runs(folder, "test", (None, None), rows.ADDED)) == words


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
@pytest.mark.parametrize("engine", ["caffe", "torch", "torch-bf16"])
@pytest.mark.parametrize("epochs", LENGTHS)
def test_make_has_the_same_names(engine, epochs):
    name, _, precision = engine.partition("-")
    runs = experiments.runs_folder("w", engine)
    for source in (None, "cifar10"):
        words = ["SRC=%s" % (source or "none"), "DEPTH=32", "TRIAL=2", "WORK=w", "ENGINE=" + name] + ["PRECISION=" + precision] * bool(precision)
        words += ["%s_EPOCHS=%s" % pair for pair in zip(("PRETRAIN", "FINETUNE"), epochs) if pair[1]]
        made = subprocess.run(
            ["make", "-n", "eval", "RUN=", "TORCH=python3"] + words, cwd=data.ROOT, universal_newlines=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ).stdout
        outs = {word[len("--out=") :] for word in shlex.split(made) if word.startswith("--out=") and "data" not in word}
        row = experiments.row(runs, 32, source, epochs)
        expected = {experiments.trial(row, 2)}
        if source:
            expected |= {experiments.pretraining(runs, 32, source, epochs[0]), os.path.join(row, "init.caffemodel")}
        assert outs == expected
