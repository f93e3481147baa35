"""The whole pipeline through make, as in the README, on drawn data: from the downloads to Table II, with either engine."""

import csv
import glob
import json
import os
import subprocess
import sys

import drawn_work
import pytest

from common.caffe import binary
from common.caffe import messages as m

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENGINES = [pytest.param("caffe", marks=pytest.mark.caffe), pytest.param("torch", marks=pytest.mark.torch)]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_from_downloads_to_table_2(engine, tmp_path):
    work = str(tmp_path / "work")

    def make(*words):
        env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        command = ["make", "WORK=" + work, "UNOFFICIAL=1", "SRC=cifar10", "ENGINE=" + engine, "SPLIT=test"]
        if engine == "torch":  # the Python that runs this test
            command += ["TORCH=" + sys.executable]
        done = subprocess.run(
            command + list(words), cwd=ROOT, env=dict(env, THREADS="1"), universal_newlines=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    drawn_work.draw_downloads(os.path.join(work, "downloads"))
    make("data")
    make("data", "SRC=ferplus", "PER_CLASS=%d" % drawn_work.PER_CLASS)
    drawn_work.write_nets(work)
    make("pretrain")
    table = make("transplant")
    assert "first_conv" in table and "fc_ferplus" in table
    make("finetune")
    said = make("eval")

    runs = os.path.join(work, "runs", *["torch"] * (engine == "torch"))
    row = os.path.join(runs, "resnet20_ferplus_from_cifar10")
    source, copied = weights(os.path.join(runs, "resnet20_cifar10", "final.caffemodel")), weights(os.path.join(row, "init.caffemodel"))
    assert set(source) - set(copied) == {"fc_cifar10"} and all(source[name] == blobs for name, blobs in copied.items())

    folder = os.path.join(row, "trial1")
    metrics = read(os.path.join(folder, "metrics_test.json"))
    images = read(os.path.join(work, "data", "ferplus", "manifest.json"))["parts"]["test"]["count"]
    right = round(metrics["accuracy"] * images)
    assert metrics["n"] == images and "%.2f%%" % (100 * right / images) in said

    make("table2", "SHOW=1")
    (tables,) = glob.glob(os.path.join(work, "results", "table2_*.csv"))
    with open(tables, newline="") as f:
        row = {line["row"]: line for line in csv.DictReader(f)}["2"]
    assert round(float(row["ours"]) / 100 * images) == right and int(row["n"]) == images

    made = [os.path.join(folder, name) for name in ("final.caffemodel", "scores_test.npz")]
    before = [os.stat(path).st_mtime_ns for path in made]
    assert said.endswith(make("eval").split("\n", 1)[1])  # the same report
    assert [os.stat(path).st_mtime_ns for path in made] == before  # and nothing made again


def weights(path):
    """Layer -> its blobs as bytes."""
    return {name: [array.tobytes() for array in blobs] for name, blobs in binary.layers(binary.read(path, m.NetParameter)).items()}


def read(path):
    with open(path) as f:
        return json.load(f)
