"""The table of runtimes: what works has its difference, what does not its reason, and other rows stay."""
import csv
import sys

import evaluation_data
import numpy as np
import pytest

from common import errors
from deploy import export, runtimes
from fer_lite import names


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtimes")
    evaluation_data.write_part(str(folder / "data"), "train", 20)
    export.export(evaluation_data.write_network(str(folder), depth=8)[1], str(folder / "out"), str(folder / "data"), caffe="",
                  prototxts=[str(folder / "resnet8_ferplus_8_deploy.prototxt")])
    return str(folder / "out")


@pytest.fixture
def here(monkeypatch):
    """Two runtimes: this environment's ONNX Runtime, and one that does not install."""
    def environment(name, venvs):
        if name == "none":
            raise errors.Fail("does not install: no such package")
        return sys.executable

    monkeypatch.setattr(runtimes, "KINDS", {"this": runtimes.Kind("onnx_runtime", ["this==1"]), "none": runtimes.Kind("mnn", ["none==1"])})
    monkeypatch.setattr(runtimes, "environment", environment)


def table(out):
    with open(out, newline="") as f:
        return list(csv.DictReader(f))


def test_each_file_has_its_difference_or_its_reason(exported, here, tmp_path, monkeypatch, capsys):
    out = str(tmp_path / "runtimes.csv")
    command = ["runtimes", exported, "--venvs", str(tmp_path / "venvs"), "--out", out]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        runtimes.main()
    assert not end.value.code
    found = table(out)
    assert [(row["runtime"], row["file"]) for row in found] == [(name, file) for name in ("this", "none") for file in (names.FLOAT, names.BATCH1, names.INT8)]
    assert all(float(row["difference"]) < 1e-4 for row in found[:2]) and not found[0]["problem"]
    assert all(row["problem"].startswith("does not install: ") and not row["difference"] for row in found[3:])
    assert "| this 1 |" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", command + ["--only", "none"])
    with pytest.raises(SystemExit):
        runtimes.main()
    assert table(out) == found


def test_a_runtime_that_fails_is_its_last_line(exported, tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(errors.Fail, match="bad.onnx") as failure:
        runtimes.scores(sys.executable, "onnx_runtime", str(bad), np.zeros((1, 3, 32, 32), np.float32), str(scratch))
    assert "\n" not in str(failure.value)
