"""Every n-th failure (tests/anomaly.py), here at a few calls of each stage; `make anomaly` takes every call."""

import os
import shutil
import subprocess
import sys

import anomaly
import pytest

ROOT = os.path.dirname(anomaly.HERE)
# stage -> cases of each of the three kinds
SOME = {"build": 2, "ferplus": 1, "transplant": 2}


def library(folder):
    """tests/anomaly.c, compiled; the test is left out where there is no compiler."""
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler: apt-get install gcc")
    made = str(folder / "anomaly.so")
    subprocess.check_call(
        [compiler, "-O1", "-shared", "-fPIC", "-fno-stack-protector", "-U_FORTIFY_SOURCE", "-nostdlib", "-o", made, os.path.join(anomaly.HERE, "anomaly.c")]
    )
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("anomaly")
    anomaly.draw(str(made / "before"))
    return made


def run(folder, stage, most, *options):
    ran = subprocess.run(
        [
            sys.executable,
            os.path.join(anomaly.HERE, "anomaly.py"),
            "--folder",
            str(folder),
            "--library",
            library(folder),
            "--stages",
            stage,
            "--most",
            str(most),
        ]
        + list(options),
        universal_newlines=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert ran.returncode == 0 and "%s: %d cases" % (stage, 3 * most) in ran.stdout, ran.stdout


@pytest.mark.slow
@pytest.mark.parametrize("stage", SOME)
def test_a_call_that_fails(folder, stage):
    run(folder, stage, SOME[stage])


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("stage", ["train", "test"])
def test_a_call_that_fails_in_the_pytorch_engine(folder, stage):
    run(folder, stage, 1)


@pytest.mark.slow
@pytest.mark.caffe
@pytest.mark.parametrize("stage", ["train", "test"])
def test_a_call_that_fails_in_caffe(folder, stage):
    run(folder, stage, 1, "--engine", "caffe")


@pytest.mark.slow
def test_a_call_that_fails_in_an_export(folder):
    pytest.importorskip("onnx")
    run(folder, "export", 1)


def test_a_power_cut_takes_what_was_not_synced(tmp_path):
    """By the journal: names follow renames of files and of folders, and of what was synced nothing is lost."""
    for name in ("new/a", "new/b", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("bytes")
    (tmp_path / "log").write_text("kept lost")
    steps = [
        ("W", "log"),
        ("S", "log", 4),
        ("W", "log"),
        ("W", "old/a"),
        ("W", "old/b"),
        ("S", "old/a", 5),
        ("R", "old", "new"),
        ("W", "c.new"),
        ("R", "c.new", "c"),
    ]
    (tmp_path / "journal").write_text(
        "".join("%s\t%s\t%s\n" % (step[0], tmp_path / step[1], (step[2] if step[0] == "S" else tmp_path / step[2]) if step[2:] else "") for step in steps)
    )
    anomaly.drop_unsynced(str(tmp_path / "journal"))
    assert [(tmp_path / name).read_text() for name in ("new/a", "new/b", "c", "log")] == ["bytes", "", "", "kept"]
