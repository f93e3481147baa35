"""The table of runtimes: what works has its difference, what does not its reason, and other rows stay. What LiteRT, ncnn and old x86 are given."""

import csv
import os
import shutil
import sys

import evaluation_data
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from common import errors
from deploy import check, devices, export, runtimes
from fer_lite import names
from fer_lite import runtimes as runners

SHIPPED = os.path.join(names.ROOT, "models", "resnet20_votes")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtimes")
    evaluation_data.write_part(str(folder / "data"), "train", 20)
    export.export(
        evaluation_data.write_network(str(folder), depth=8)[1],
        str(folder / "out"),
        str(folder / "data"),
        caffe="",
        prototxts=[str(folder / "resnet8_ferplus_8_deploy.prototxt")],
    )
    return str(folder / "out")


@pytest.fixture
def here(monkeypatch):
    """Two runtimes: this environment's ONNX Runtime, and one that does not install."""

    def environment(name, venvs, by):
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


@pytest.mark.parametrize("file", check.DEVICES)
def test_the_shipped_files_give_the_scores_of_the_onnx_file(file):
    pytest.importorskip(check.DEVICES[file][1], reason="needs the runtime of %s (env/export.txt)" % file)
    shown = check.some_crops(names.facts(SHIPPED))[:24]
    wanted = runners.onnx_runtime(os.path.join(SHIPPED, names.FLOAT)).probabilities(shown)
    found = check.of_devices(SHIPPED)[file].probabilities(shown)
    assert found.shape == wanted.shape and os.path.getsize(os.path.join(SHIPPED, file)) < 2e6
    assert abs(found - wanted).max() < (0.1 if file == names.LITERT_INT8 else check.TOLERANCE)
    assert (found.argmax(axis=1) == wanted.argmax(axis=1)).all()


def test_without_the_runtime_a_file_is_left_out_and_that_is_said(monkeypatch, capsys):
    monkeypatch.setattr(check.importlib.util, "find_spec", lambda package: None)
    assert check.of_devices(SHIPPED) == {}
    said = capsys.readouterr().out
    assert said.count("\n") == len(check.DEVICES) and all(file in said for file in check.DEVICES) and "env/export.txt" in said


def contents(folder):
    return {name: open(os.path.join(folder, name), "rb").read() for name in os.listdir(folder)}


def converted(monkeypatch, scores):
    """Converters whose files give what the function `scores` does of crops."""

    def convert(folder, calibration, venvs, by, out):
        for file in (names.LITERT, names.LITERT_INT8, *names.NCNN):
            with open(os.path.join(out, file), "w") as f:
                f.write("made")

    monkeypatch.setattr(devices, "convert", convert)
    monkeypatch.setattr(check, "DEVICES", {file: (runtime, "numpy", lambda path, crops: scores(crops)) for file, (runtime, _, _) in check.DEVICES.items()})


def test_files_with_other_scores_are_not_kept(exported, tmp_path, monkeypatch):
    converted(monkeypatch, lambda crops: np.full((len(crops), 8), 0.125, np.float32))
    before = contents(exported)
    with pytest.raises(errors.Fail, match="differ by"):
        devices.add(exported, str(tmp_path), "", "venvs", sys.executable)
    assert contents(exported) == before


def test_files_that_agree_are_recorded(exported, tmp_path, monkeypatch):
    folder = shutil.copytree(exported, str(tmp_path / "net"))
    converted(monkeypatch, runners.onnx_runtime(os.path.join(folder, names.FLOAT)).probabilities)
    devices.add(folder, str(tmp_path), "", "venvs", sys.executable)
    recorded = names.facts(folder)["checks"]["runtimes"]
    assert {"LiteRT, model.tflite", "LiteRT, model_int8.tflite", "ncnn, model.ncnn.param"} < set(recorded) and names.LITERT in os.listdir(folder)


def test_a_converter_that_does_not_install_is_one_line_with_the_way_out(exported, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["devices", exported, "--data", str(tmp_path), "--caffe", "", "--venvs", str(tmp_path / "venvs"), "--python", str(tmp_path / "python9")]
    )
    before = contents(exported)
    with pytest.raises(SystemExit) as end:
        devices.main()
    said = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 1 and len(said) == 1 and names.BATCH1 in said[0] and "python9" in said[0] and "--python" in said[0]
    assert contents(exported) == before


def products(model, shown, positions=64):
    """For each convolution of an int8 ONNX model: int32 outputs x positions x inputs of a sum, what its multiplications give at some positions of the crops."""
    initial, makers = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}, {node.output[0]: node for node in model.graph.node}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    quantised = [makers[node.input[0]].input[0] for node in convolutions]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(quantised))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    found = onnxruntime.InferenceSession(model.SerializeToString(), options).run(list(dict.fromkeys(quantised)), {model.graph.input[0].name: shown})
    activations, rng = dict(zip(dict.fromkeys(quantised), found)), np.random.RandomState(0)
    for node, name in zip(convolutions, quantised):
        weights, given = initial[makers[node.input[1]].input[0]].astype(np.int32), activations[name]
        assert given.dtype == np.uint8 and weights.min() >= -128
        windows = np.lib.stride_tricks.sliding_window_view(given, weights.shape[2:], axis=(2, 3)).transpose(0, 2, 3, 1, 4, 5).reshape(-1, weights[0].size)
        yield weights.reshape(len(weights), 1, -1) * windows[rng.choice(len(windows), positions)][None]


def largest_pair(each):
    """The largest sum, by amount, of two products: what meets whatever may, in any order of a library's."""
    ordered = np.sort(each, axis=2)
    return max(ordered[..., -2:].sum(axis=2).max(), -ordered[..., :2].sum(axis=2).min())


def test_no_sum_of_two_int8_products_is_cut_off(exported):
    """x86 without VNNI (vpmaddubsw) adds two products of an unsigned and a signed byte in 16 bits, and cuts off what does not fit. Real activations:
    of drawn faces. With weights of eight bits some are cut off, so that this can fail."""
    shown = check.some_crops(names.facts(exported))[:8]
    model = onnx.load(os.path.join(exported, names.INT8))
    pairs = [largest_pair(each) for each in products(model, shown)]
    assert len(pairs) == 9 and max(pairs) <= 32767 < 2 * max(pairs)
