"""The overview of Table II, curves, the benchmark's arithmetic and make's rows: no Caffe needed."""

import json
import os
import shlex
import shutil
import subprocess

import pytest
import training_data as data

from benchmarks import training as bench
from common import runs as kept_runs
from evaluation.report import curves, status
from paper import facts
from training import loop, record


def write_run(out, iteration, spent, **kept):
    """A run's folder whose log ends at `iteration` of 100."""
    os.makedirs(out)
    log = loop.Log(os.path.join(out, "log.csv"), 0)
    for n in (iteration // 2, iteration):
        log.write(
            dict(
                iteration=n,
                epoch=n / 10,
                rate=0.1,
                loss=1 / n,
                validation_accuracy=0.5 if n == iteration else None,
                validation_loss=None,
                images_per_second=100,
                seconds=spent * n / iteration,
            )
        )
    log.sync()
    record.write(out, dict({"inputs": {"solver": {"max_iter": 100}}}, **kept))


@pytest.mark.parametrize("words", [["run.py", "--out=o", "--weights", "a=b"], ["run.py", "--out=o", "--weights=a=b"]])
def test_an_option_is_found_in_either_form(words):
    assert kept_runs.option(words, "--weights") == "a=b" and kept_runs.option(words, "--out") == "o"
    assert kept_runs.option(words, "--weight") is None and kept_runs.option(["--weights"], "--weights") is None


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run("runs/resnet20_cifar10", 100, 500, state="finished", seconds=500)
    open("runs/resnet20_cifar10/final.caffemodel", "w").close()
    trials = "runs/resnet20_ferplus_from_cifar10/trial%d"
    write_run(trials % 1, 100, 200, seconds=200)
    open(trials % 1 + "/final.caffemodel", "w").close()
    write_run(trials % 2, 50, 100)
    write_run(trials % 3, 20, 40)
    write_run(trials % 4, 10, 20, problem="the loss is nan at iteration 10")
    return trials


def row(text, number):
    return [line for line in text.splitlines() if line.startswith("%d " % number)][0]


def overview():
    return status.overview(status.rows.Runs("runs", "test", (None, None), status.rows.ADDED))


def test_overview(runs):
    with record.claimed(runs % 2):
        words = overview()
    assert row(words, 2).split("CIFAR10")[1].split() == ["trained", "trained", "run", "50%", "1m40s", "stopped", "20%", "failed", "10%", "-"]
    assert runs % 4 + ": the loss is nan at iteration 10" in words
    assert "60 fine-tunings and trainings from scratch: 1 trained, 1 running, 1 stopped, 1 failed, 56 missing" in words
    assert "10 pretrainings: 1 trained, 9 missing" in words
    # 4 pretrainings of ResNet-20 at 500 s; 26 trials at 200 s, and the rest of three: 100, 160 and 180 s. ResNet-32 is unknown.
    assert "time left: 2h07m if one run follows the other, and 35 runs of a kind that was never timed here" in words


def test_accuracy_of_an_older_network_is_not_shown(runs):
    with open(runs % 1 + "/metrics_test.json", "w") as f:
        json.dump({"accuracy": 0.8234}, f)
    assert " 82.34 " in row(overview(), 2)
    os.utime(runs % 1 + "/metrics_test.json", (0, 0))
    assert "82.34" not in overview()


def test_curves(runs):
    some = [(run, kept_runs.read_log(run + "/log.csv")) for run in ("runs/resnet20_cifar10", runs % 2)]
    curves.draw(some, "all.png")
    with open("all.png", "rb") as f:
        assert f.read(8) == b"\x89PNG\r\n\x1a\n"


def test_a_log_cut_short_is_read_as_far_as_it_goes(runs):
    path = runs % 2 + "/log.csv"
    os.truncate(path, os.path.getsize(path) - 20)
    assert [r["iteration"] for r in kept_runs.read_log(path)] == [25]


def test_benchmark_ratios():
    found = {
        "stock": [100, 50],
        "ours": [99, 49],
        "one run, one thread": [100, 100],
        "one run, two threads": [80, 100],
        "two runs, one thread each": [160, 190],
    }
    words = bench.table(found)
    assert "ours / stock                        0.985" in words and "one with two threads  1.95 " in words


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_rows_of_make_are_those_of_the_paper():
    def metrics(*variables):
        words = subprocess.run(
            ("make", "-n", "experiment", "RUN=", "W=none/") + variables,
            cwd=data.ROOT,
            universal_newlines=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ).stdout
        return [word for line in words.splitlines() if line.startswith("make") for word in shlex.split(line) if word.endswith("metrics_test.json")]

    expected = ["none/runs/resnet%d_ferplus_from_%s/trial%d/metrics_test.json" % (r.depth, r.source or "none", t) for r in facts.TABLE2 for t in facts.TRIALS]
    assert metrics() == expected
    assert metrics("ROWS=2,7-8", "TRIALS=1-2") == [p for i in (1, 6, 7) for p in expected[5 * i : 5 * i + 2]]


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
@pytest.mark.parametrize(
    "variable, said",
    [
        ("SRC=cifar11", "is none of: cifar10"),
        ("DEPTH=56", "is none of: 20 32"),
        ("THREADS=two", "no number of threads"),
        ("THREADS=0", "no number of threads"),
        ("TRIALS=1-6", "TRIALS=6 is none of: 1 2 3 4 5"),
        ("TRIALS=5-1", "TRIALS=5-1 names no trial"),
        ("NETGEN=--ferplus-batch 16", "WORK=other"),
    ],
)
def test_make_refuses_in_one_line(variable, said):
    made = subprocess.run(("make", "-n", "eval", variable), cwd=data.ROOT, universal_newlines=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert made.returncode == 2 and said in made.stderr and len(made.stderr.splitlines()) == 1 and not made.stdout
