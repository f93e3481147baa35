"""What stands in no path is held against what is there, and make removes nothing that is finished. No Caffe, no network."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import training_data as data

from common import errors
from common.caffe import messages as m
from common.caffe import text
from netgen import __main__ as netgen
from training import job

MAKE = pytest.mark.skipif(not shutil.which("make"), reason="no make")


def make(*words, **environment):
    return subprocess.run(
        ("make", "RUN=") + words,
        cwd=data.ROOT,
        universal_newlines=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict({name: value for name, value in os.environ.items() if not name.startswith("MAKE")}, **environment),
    )


def command(monkeypatch, capsys, *words):
    """`python3 -m netgen` in this process: (status, what it said as error)."""
    monkeypatch.setattr(sys, "argv", ["netgen"] + list(words))
    with pytest.raises(SystemExit) as end:
        netgen.main()
    return end.value.code or 0, capsys.readouterr().err


# ---- nets ----------------------------------------------------------------------------------------------------------


def test_nets_of_other_options_are_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    held = ("--root", "other", "--if-missing")
    assert command(monkeypatch, capsys, *held, "--pretrain-batch", "64")[0] == 0
    os.remove("other/solvers/resnet20_cifar10.prototxt")
    assert command(monkeypatch, capsys, *held, "--pretrain-batch", "64") == (0, "")
    assert os.path.exists("other/solvers/resnet20_cifar10.prototxt")
    for words in ((), ("--pretrain-batch", "32"), ("--pretrain-batch", "64", "--decay", "0.001")):
        status, said = command(monkeypatch, capsys, *held, *words)
        assert status == 1 and len(said.splitlines()) == 1 and "other/" in said and "WORK" in said and "rm -r other/prototxt" in said


@pytest.mark.parametrize("change", ["moved", "copied"])
def test_nets_of_a_folder_that_was_moved_or_copied_are_refused(tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    netgen.write_all("old")
    netgen.write_all()
    for solver in ("old/solvers/resnet20_cifar10.prototxt", "solvers/resnet20_cifar10.prototxt", "./solvers/resnet20_cifar10.prototxt"):
        job.resolve(solver, "out")
    (os.rename if change == "moved" else shutil.copytree)("old", "new")
    with pytest.raises(errors.Fail, match="new/solvers/resnet20_cifar10.prototxt names old/prototxt.*rm -r new/prototxt new/solvers"):
        job.resolve("new/solvers/resnet20_cifar10.prototxt", "out")
    # A solver that names the right net, whose data lie elsewhere.
    solver = text.read("new/solvers/resnet20_cifar10.prototxt", m.SolverParameter)
    solver.net = "new/prototxt/resnet20_cifar10_train.prototxt"
    text.write("new/solvers/resnet20_cifar10.prototxt", solver, netgen.HEADER)
    with pytest.raises(errors.Fail, match="new/prototxt/resnet20_cifar10_train.prototxt names old/data/cifar10/"):
        job.resolve("new/solvers/resnet20_cifar10.prototxt", "out")
    text.write("mine.prototxt", solver)  # what a person wrote may name what he likes
    net = text.read(solver.net, m.NetParameter)
    text.write(solver.net, net)
    assert job.resolve("mine.prototxt", "out")[1] == net


def test_prototxt_and_solvers_are_what_make_prototxt_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = netgen.write_all()
    assert len(written) > 20
    for path in written:
        with open(path) as made, open(os.path.join(data.ROOT, path)) as committed:
            assert made.read() == committed.read(), path


# ---- make ----------------------------------------------------------------------------------------------------------


@MAKE
@pytest.mark.parametrize(
    "words, checks",
    [
        (("LABELS=ferplus", "PER_CLASS=500"), "data_prep build ferplus .*--labels=ferplus --per-class=500 --if-missing"),
        (("PER_CLASS=0",), "data_prep build ferplus .*--per-class=0 --if-missing"),
        (("SRC=cinic10", "WITH_VALID=1"), "data_prep build cinic10 .*--with-valid --if-missing"),
        (("WORK=other", "NETGEN=--pretrain-batch 64"), "netgen --root=other --pretrain-batch 64 --if-missing"),
    ],
)
@pytest.mark.parametrize("target", ["finetune", "eval"])
def test_options_are_looked_at_each_time(words, checks, target):
    assert re.search(checks, " ".join(shlex.split(make("-n", target, *words).stdout)))
    assert "--if-missing" not in make("-n", target, *[w for w in words if w.startswith(("SRC", "WORK"))]).stdout


@MAKE
@pytest.mark.parametrize(
    "words, folder",
    [
        ((), "runs/resnet20_cifar10/"),
        (("ENGINE=torch",), "runs/torch/resnet20_cifar10/"),
        (("ENGINE=torch", "PRECISION=bf16"), "runs/torch-bf16/resnet20_cifar10/"),
        (("ENGINE=torch", "PRECISION=fp32"), "runs/torch/resnet20_cifar10/"),
        (("WORK=",), "runs/resnet20_cifar10/"),
        (("WORK=a/b/",), "a/b/runs/resnet20_cifar10/"),
    ],
)
def test_what_changes_a_result_is_in_the_folders_name(words, folder):
    made = " ".join(shlex.split(make("-n", "finetune", "SRC=cifar10", "TORCH_ENV=venv", *words).stdout))
    assert "--weights=%sfinal.caffemodel" % folder in made
    assert " /" not in made.replace(" /dev/null", "").replace(" >/dev/null", "").split("training.run")[1]


@MAKE
def test_runs_of_another_engine_are_said_each_time(tmp_path):
    run = tmp_path / "resnet20_cifar10"
    run.mkdir()
    (run / "run.json").write_text('{\n "inputs": {\n  "engine": "torch",\n  "net": "x"\n }\n}\n')
    for words, said in ((("PRECISION=bf16",), 1), ((), 0)):
        made = make("held-engine", "SRC=cifar10", "ENGINE=torch", "RUNS=%s" % tmp_path, *words)
        assert made.returncode == 0 and len(made.stderr.splitlines()) == said
        assert not said or str(run) in made.stderr and "torch-bf16" in made.stderr and "RUNS=" in made.stderr
    assert "run.json" in make("-n", "pretrain", "SRC=cifar10", "RUNS=%s" % tmp_path).stdout


@MAKE
@pytest.mark.parametrize(
    "words, says", [(("GPU=all",), "GPU=0"), (("GPU=0,1",), "GPU=0"), (("PRECISION=bf16",), "ENGINE=torch"), (("PRECISION=tf32",), "ENGINE=torch")]
)
def test_what_makes_no_sense_is_one_line(words, says):
    made = make("-n", "pretrain", *words)
    assert made.returncode == 2 and len(made.stderr.splitlines()) == 1 and words[0] in made.stderr and says in made.stderr


@MAKE
def test_what_others_export_is_not_taken():
    shell = dict(WORK="/scratch", NAME="host", GPU="7", DEVICE="cuda", SRC="cifar10", MODEL="x")
    made = make("-n", "finetune", **shell)
    assert made.stdout == make("-n", "finetune").stdout
    assert len(made.stderr.splitlines()) == 1 and all(name in made.stderr for name in shell)
    assert "--gpu 1" in make("-n", "finetune", "GPU=1", **shell).stdout


STANDS_IN = """#!/bin/sh
# In place of python3: a training that has written its network and is then still busy.
case "$*" in
*training.run*) while [ "${1#--out=}" = "$1" ]; do shift; done; out="${1#--out=}"; mkdir -p "$out"; echo network > "$out/final.caffemodel"; echo up; sleep 20; exit 1;;
*data_prep*) mkdir -p %(work)s/data/cifar10; echo {} > %(work)s/data/cifar10/manifest.json;;
esac
"""


@MAKE
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_make_does_not_remove_a_finished_network(tmp_path, end):
    stand_in = tmp_path / "python3"
    stand_in.write_text(STANDS_IN % dict(work=tmp_path))
    stand_in.chmod(0o755)
    for folder in ("prototxt", "solvers"):
        shutil.copytree(os.path.join(data.ROOT, folder), str(tmp_path / folder))
    final = tmp_path / "runs" / "resnet20_cifar10" / "final.caffemodel"
    for before in (False, True):  # there is none yet; there is one, and a solver is newer
        if before:
            os.utime(str(final), (1, 1))
        making = subprocess.Popen(
            ["make", "-o", "env", "pretrain", "SRC=cifar10", "WORK=%s" % tmp_path, "RUN=env PATH=%s:%s" % (tmp_path, os.environ["PATH"])],
            cwd=data.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        )
        assert "up" in making.stdout.readline()
        os.killpg(making.pid, end)
        words = making.communicate(timeout=30)[0]
        assert making.returncode and "Deleting" not in words and final.read_text() == "network\n"
        time.sleep(0.1)
