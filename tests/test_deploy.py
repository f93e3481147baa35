"""Export, model cards and checks: every file against real Caffe, what it says of itself, and that nothing wrong is kept."""

import filecmp
import json
import os
import shutil
import subprocess
import sys

import cv2
import evaluation_data
import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format

from benchmarks import deploy as bench
from common import errors, files
from common import runs as kept_runs
from common.caffe import binary, text
from common.caffe import messages as m
from deploy import caffe_scores, card, check, export, making, onnx_net, quantize
from evaluation import data
from fer_lite import crops, names, runtimes, verify
from netgen import weights
from paper import facts
from training import inputs, loop

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ["THREADS"] = "1"  # tiny networks
CAFFE = " ".join(os.environ.get("CAFFE_RUN", os.path.join(ROOT, "env", "run")).split() + ["python3"])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run's folder with a random network, data, and its export: (folder, caffemodel, data folder, export's folder, model.json)."""
    folder = str(tmp_path_factory.mktemp("deploy"))
    data_folder = os.path.join(folder, "data", "ferplus")
    for split, count in (("train", 60), ("valid", 30)):
        evaluation_data.write_part(data_folder, split, count, seed=count)
    caffemodel = evaluation_data.write_network(folder)[1]
    out = os.path.join(folder, "out")
    about = export.export(caffemodel, out, data_folder, caffe=CAFFE)
    return folder, caffemodel, data_folder, out, about


def probabilities(out, file, shown):
    return runtimes.onnx_runtime(os.path.join(out, file)).probabilities(shown)


def test_every_runtime_gives_caffes_scores(made):
    *_, out, about = made
    checks = about["checks"]
    assert checks["reference"] == check.CAFFE and checks["crops"] >= 200
    assert len(checks["runtimes"]) == 9
    assert all(value <= 1e-4 for name, value in checks["runtimes"].items() if not name.endswith(names.INT8))
    scores = probabilities(out, names.FLOAT, check.some_crops(about))
    assert scores.shape[1] == 8 and np.allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert np.ptp(scores, axis=0).max() > 0.02  # scores that hardly differ would agree whatever the network


def test_model_json_tells_no_place_of_this_machine(made):
    folder, *_, out, _ = made
    for name in os.listdir(out):
        with open(os.path.join(out, name), "rb") as f:
            assert folder.encode() not in f.read(), name


def test_a_run_of_another_folder_is_recorded_as_from_there(tmp_path):
    """WORK=/elsewhere: the card's command runs in any WORK, and names no place of this machine."""
    work, out = str(tmp_path / "work"), str(tmp_path / "work" / "runs" / "a run")
    os.makedirs(out)
    words = ["run.py", "--solver=%s/solvers/small.prototxt" % work, "--out=" + out, "--trial=1", "--teacher", "/far/away/from/here/scores.npz"]
    with open(os.path.join(out, "run.json"), "w") as f:
        sessions = [{"command": words, "lmdbs": {"train": work + "/data/ferplus_votes/train_lmdb"}}]
        json.dump({"version": 2, "inputs": {"train": {}}, "sessions": sessions}, f)
    (how,) = making.account(os.path.join(out, "final.caffemodel"))
    assert how["folder"] == "runs/a run" and how["train"]["lmdb"] == "data/ferplus_votes/train_lmdb"
    command = "python3 -m training.run --solver=solvers/small.prototxt '--out=runs/a run' --trial=1 --teacher .../from/here/scores.npz"
    assert how["command"] == command


def test_folded_files_have_no_batch_norm_and_half_the_layers(made):
    out = made[3]
    kinds = [{layer.type for layer in text.read(os.path.join(out, prototxt), m.NetParameter).layer} for prototxt, _ in names.CAFFE]
    assert {"BatchNorm", "Scale"} <= kinds[0] and not {"BatchNorm", "Scale"} & kinds[1]
    for prototxt, caffemodel in names.CAFFE:
        net = text.read(os.path.join(out, prototxt), m.NetParameter)
        weights.load(os.path.join(out, caffemodel), net)


@pytest.mark.parametrize("file", (names.FLOAT, names.BATCH1, names.INT8))
def test_onnx_files_say_what_they_take_and_give(made, file):
    out = made[3]
    session = runtimes.session(os.path.join(out, file))
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == list(facts.EXPRESSIONS)
    assert json.loads(about["mean"]) == [104, 117, 123] and (about["crop"], about["resize"]) == ("32", "36")
    assert "BGR" in about["input"] and json.loads(about["accuracy"])["n"] == 30
    model = onnx.load(os.path.join(out, file))
    assert model.ir_version == 8 and {o.version for o in model.opset_import if not o.domain} == {13}
    shape = session.get_inputs()[0].shape
    assert shape[1:] == [3, 32, 32] and (shape[0] == 1 if file == names.BATCH1 else isinstance(shape[0], str))


def test_the_mean_is_subtracted_inside_and_batch_mates_do_not_matter(made):
    *_, out, about = made
    shown = check.some_crops(about)
    one_by_one = runtimes.onnx_runtime(os.path.join(out, names.BATCH1)).probabilities(shown[:7])
    assert abs(probabilities(out, names.FLOAT, shown[:7]) - one_by_one).max() < 1e-5
    centred = onnx_net.build(*_folded(out), np.zeros(3, np.float32), {})
    session = onnxruntime.InferenceSession(centred.SerializeToString())
    mean = np.array(about["mean"], np.float32)[:, None, None]
    assert abs(session.run(None, {"data": shown[:7] - mean})[0] - one_by_one).max() < 1e-5
    assert abs(session.run(None, {"data": shown[:7]})[0] - one_by_one).max() > 1e-3


def _folded(out):
    prototxt, caffemodel = (os.path.join(out, name) for name in names.CAFFE[1])
    return text.read(prototxt, m.NetParameter), binary.read(caffemodel, m.NetParameter)


def test_int8_is_int8_and_near(made):
    *_, out, about = made
    model = onnx.load(os.path.join(out, names.INT8))
    kinds = [node.op_type for node in model.graph.node]
    convolutions = kinds.count("Conv")
    int8 = [i for i in model.graph.initializer if i.data_type == onnx.TensorProto.INT8 and len(i.dims) == 4]
    assert convolutions == 21 and len(int8) == 21 and "QuantizeLinear" in kinds
    assert os.path.getsize(os.path.join(out, names.INT8)) < 0.4 * os.path.getsize(os.path.join(out, names.FLOAT))
    shown = check.some_crops(about)
    far = abs(probabilities(out, names.INT8, shown) - probabilities(out, names.FLOAT, shown)).max()
    assert 0 < far < 0.05


def test_accuracies_are_counted_on_every_image(made):
    _, _, data_folder, out, about = made
    images, labels, mean = evaluation_data.write_part(os.path.join(os.path.dirname(data_folder), "again"), "valid", 30, seed=30)
    for file in (names.FLOAT, names.INT8):
        ten = crops.ten_crops(images, 0, 32)
        each = np.stack([probabilities(out, file, ten[:, i]) for i in range(10)], axis=1)
        assert about["accuracy"][file] == {
            "ten_crops": pytest.approx((each.mean(axis=1).argmax(axis=1) == labels).mean(), abs=1e-6),
            "one_crop": pytest.approx((each[:, 4].argmax(axis=1) == labels).mean(), abs=1e-6),
        }


def test_calibration_takes_training_images(made):
    data_folder = made[2]
    shown = quantize.calibration_crops(data.open_part(data_folder, "train", (3, 32, 32)), 32, images=20)
    images = evaluation_data.write_part(os.path.join(os.path.dirname(data_folder), "more"), "train", 60, seed=60)[0]
    assert shown.shape == (20, 3, 32, 32) and (shown[0] == images[0, :, :32, :32]).all() and (shown[4] == images[4, :, 2:34, 2:34]).all()


def test_what_does_not_agree_is_not_kept(made, monkeypatch, capsys):
    _, caffemodel, data_folder, out, _ = made
    before = files.sha256(os.path.join(out, names.FLOAT))
    right = onnx_net.build
    monkeypatch.setattr(onnx_net, "build", lambda net, model, mean, about, **more: right(net, model, mean + 1, about, **more))
    with pytest.raises(errors.Fail, match="model.*onnx differ by .* nothing was kept"):
        export.export(caffemodel, out, data_folder, caffe=CAFFE)
    assert files.sha256(os.path.join(out, names.FLOAT)) == before
    assert not [name for name in os.listdir(os.path.dirname(out)) if "partial" in name]


@pytest.fixture(scope="module")
def mean_alone(made):
    """A data set's folder with nothing but its mean."""
    folder = os.path.join(made[0], "mean_alone")
    os.makedirs(folder)
    os.link(os.path.join(made[2], "mean.binaryproto"), os.path.join(folder, "mean.binaryproto"))
    return folder


def test_without_caffe_it_says_so(made, mean_alone, tmp_path, capsys):
    caffemodel, out = made[1], str(tmp_path / "a")
    with pytest.raises(errors.Fail, match="no scores from Caffe .*make env"):
        export.export(caffemodel, out, mean_alone, caffe="%s -c 'raise SystemExit(3)'" % sys.executable)
    with pytest.raises(errors.Fail, match="No such file.*make env"):
        export.export(caffemodel, out, mean_alone, caffe="no-such-command python3")
    assert not os.path.exists(out)
    about = export.export(caffemodel, out, mean_alone, caffe="")
    assert about["checks"]["reference"].startswith("OpenCV") and "no Caffe was asked" in capsys.readouterr().out


def test_short_names_change_no_score_and_not_what_goes_in_and_out(made):
    path = os.path.join(made[3], names.INT8)
    long = onnx.load(path)
    for node in long.graph.node:  # as ONNX Runtime leaves them
        node.output[:] = [name if name == "prob" else name + "_of_a_layer_of_the_network" for name in node.output]
        node.input[:] = [
            name if name == "data" or name in {t.name for t in long.graph.initializer} else name + "_of_a_layer_of_the_network" for name in node.input
        ]
    size, given = len(long.SerializeToString()), np.random.RandomState(0).rand(2, 3, 32, 32).astype(np.float32) * 255
    scores = [onnxruntime.InferenceSession(each.SerializeToString()).run(["prob"], {"data": given})[0] for each in (long, quantize.shortly_named(long))]
    np.testing.assert_array_equal(*scores)
    assert len(long.SerializeToString()) < size and os.path.getsize(path) < 2 * sum(len(t.raw_data) for t in long.graph.initializer)


def test_without_images_int8_and_accuracy_are_left_out(made, mean_alone, tmp_path, capsys):
    out = str(tmp_path / "out")
    about = export.export(made[1], out, mean_alone, caffe="")
    assert "accuracy" not in about and names.INT8 not in os.listdir(out) and "is left out" in capsys.readouterr().out
    again = export.export(export.find(out), str(tmp_path / "again"), "nowhere", caffe="")  # the mean comes from model.json
    assert again["mean"] == about["mean"] and again["classes"] == about["classes"]


def test_bad_input_is_one_line(made, tmp_path):
    folder, caffemodel, data_folder, _, _ = made
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("kept")
    with pytest.raises(errors.Fail, match="no exported network: choose another OUT"):
        export.export(caffemodel, str(mine), data_folder, caffe="")
    assert (mine / "thesis.txt").read_text() == "kept"
    with pytest.raises(errors.Fail, match="there is no network nothing"):
        export.find("nothing")
    (tmp_path / "bad.caffemodel").write_bytes(b"\x07 not a network")
    with pytest.raises(errors.Fail, match="damaged or no NetParameter"):
        export.export(str(tmp_path / "bad.caffemodel"), str(tmp_path / "x"), data_folder, caffe="")
    other = evaluation_data.write_network(tmp_path, classes=5)[1]
    with pytest.raises(errors.Fail, match="5 classes|fits no deploy net"):
        export.export(other, str(tmp_path / "x"), data_folder, caffe="")
    with pytest.raises(errors.Fail, match="there is no .*mean.binaryproto"):
        export.export(caffemodel, str(tmp_path / "x"), str(tmp_path), caffe="")
    os.link(caffemodel, str(tmp_path / "final.caffemodel"))
    (tmp_path / "run.json").write_text(json.dumps({"inputs": {"mean": "0" * 64}}))
    with pytest.raises(errors.Fail, match="is not the mean that .* was trained with"):
        export.export(str(tmp_path / "final.caffemodel"), str(tmp_path / "x"), data_folder, caffe="")


@pytest.mark.parametrize("version", (1, 2))
def test_a_runs_record_knows_its_mean_by_either_hash(made, tmp_path, version):
    _, caffemodel, data_folder, _, _ = made
    mean = inputs.mean_sha256(os.path.join(data_folder, "mean.binaryproto"), version)
    os.link(caffemodel, str(tmp_path / "final.caffemodel"))
    (tmp_path / "run.json").write_text(json.dumps({"inputs": {"mean": mean, **({"version": 2} if version == 2 else {})}}))
    assert len(export.mean_value(str(tmp_path / "final.caffemodel"), data_folder)) == 3


SMALL = """name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 15 dim: 14 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 6 kernel_size: 3 pad: 2 stride: 1 group: 3 dilation: 2 } }
layer { name: "l" type: "ReLU" bottom: "c" top: "c" relu_param { negative_slope: 0.1 } }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "h" type: "Pooling" bottom: "p" top: "h" pooling_param { pool: MAX kernel_size: 1 stride: 2 round_mode: FLOOR } }
layer { name: "z" type: "Power" bottom: "h" top: "z" power_param { scale: 0.5 shift: 0.25 } }
layer { name: "w" type: "Concat" bottom: "h" bottom: "z" top: "w" }
layer { name: "e" type: "Eltwise" bottom: "w" bottom: "w" top: "e" }
layer { name: "r" type: "ReLU" bottom: "e" top: "e" }
layer { name: "a" type: "Pooling" bottom: "e" top: "a" pooling_param { pool: %s kernel_size: 2 stride: 2 } }
layer { name: "f" type: "InnerProduct" bottom: "a" top: "f" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "f" top: "prob" }
"""


def test_every_operator_is_caffes(tmp_path):
    """Groups, dilation, leaking ReLU, pooling rounded up and down, Concat, Power: against real Caffe."""
    net = text_format.Parse(SMALL % "AVE", m.NetParameter())
    rng, model = np.random.RandomState(3), m.NetParameter()
    model.CopyFrom(net)
    blobs = {"c": [(6, 1, 3, 3), (6,)], "f": [(5, 48), (5,)]}
    for layer in model.layer:
        small = 0.01 if layer.name == "c" else 0.03
        layer.blobs.extend(binary.array_to_blob(small * rng.standard_normal(shape)) for shape in blobs.get(layer.name, ()))
    for prototxt, caffemodel in names.CAFFE:
        text.write(str(tmp_path / prototxt), net)
        binary.write(str(tmp_path / caffemodel), model)
    mean = np.array([104, 117, 123], np.float32)
    shown = rng.randint(0, 256, (4, 3, 15, 14)).astype(np.float32)
    theirs = caffe_scores.scores(CAFFE, str(tmp_path), shown, mean)["deploy.prototxt"]
    ours = onnxruntime.InferenceSession(onnx_net.build(net, model, mean, {}).SerializeToString()).run(None, {"data": shown})[0]
    assert abs(ours - theirs).max() < 1e-5 and np.ptp(theirs, axis=0).max() > 0.01


@pytest.mark.parametrize(
    "old, new, said",
    (
        ("pool: MAX kernel_size: 3", "pool: STOCHASTIC kernel_size: 3", "layer p: only MAX and AVE"),
        ("stride: 2 round_mode: FLOOR", "stride: 4", "layer h: a window lies outside .*FLOOR"),
        ('"ReLU" bottom: "e"', '"MVN" bottom: "e"', "layer r is of type MVN"),
        ('"ReLU" bottom: "e"', '"BatchNorm" batch_norm_param { use_global_stats: false } bottom: "e"', "layer r: use_global_stats.*--unfolded"),
    ),
)
def test_layers_without_an_operator_are_refused_by_name(old, new, said):
    net = text_format.Parse((SMALL % "AVE").replace(old, new), m.NetParameter())
    with pytest.raises(errors.Fail, match=said):
        onnx_net.build(net, weights.random(net), np.zeros(3, np.float32), {})


@pytest.fixture(scope="module")
def shipped(made):
    """A models/ folder with one network, made from a run like those of training.run: (root, run's folder, data folder)."""
    folder, caffemodel, data_folder, _, _ = made
    runs = os.path.join(folder, "runs", "torch")
    run, before = os.path.join(runs, "resnet20_ferplus_from_cifar10", "trial1"), os.path.join(runs, "resnet20_cifar10")
    for place in (run, before):
        os.makedirs(place)
        os.link(caffemodel, os.path.join(place, "final.caffemodel"))
    solver = {"type": "Nesterov", "base_lr": 0.01, "momentum": 0.9, "weight_decay": 0.0001, "gamma": 0.1, "stepvalue": [5000, 7500]}
    session = {"command": ["training/run.py", "--solver", "solvers/x.prototxt"], "git_commit": "0123456789abcdef", "machine": "a machine"}
    mean = files.sha256(os.path.join(data_folder, "mean.binaryproto"))
    for place, source, weights_ in ((before, "cifar10", None), (run, "ferplus", files.sha256(caffemodel))):
        command = session["command"] + (["--weights=elsewhere/resnet20_cifar10/final.caffemodel"] if weights_ else [])
        with open(os.path.join(place, "run.json"), "w") as f:
            inputs = {
                "engine": "torch-bf16",
                "solver": solver,
                "weights": weights_,
                "mean": mean if weights_ else "other",
                "train": {"lmdb": "data/%s/train_lmdb" % source, "images": 160000, "sha256": "ab" * 32},
            }
            json.dump({"inputs": inputs, "sessions": [dict(session, command=command)], "iteration": 10000, "seconds": 7200}, f)
        log = loop.Log(os.path.join(place, "log.csv"), 0)
        log.write(dict(dict.fromkeys(kept_runs.COLUMNS, 1.0), iteration=10000, epoch=2.0))
    per_class = [dict(name=name, n=3, precision=0.5, recall=0.25, f1=1 / 3) for name in facts.EXPRESSIONS]
    with open(os.path.join(run, "metrics_valid.json"), "w") as f:
        json.dump(
            {
                "split": "valid",
                "n": 30,
                "accuracy": 0.8123,
                "one_crop_accuracy": 0.8,
                "mean_class_accuracy": 0.6,
                "per_class": per_class,
                "classes": list(facts.EXPRESSIONS),
                "confusion": [],
                "made_from": {"engine": "torch", "weights_sha256": files.sha256(caffemodel)},
            },
            f,
        )
    root = os.path.join(folder, "models")
    card.make(run, "resnet20_cifar10", root, data_folder, "valid", "")
    return root, run, data_folder


def test_a_model_card_tells_how_it_was_made_and_how_good_it_is(shipped):
    root, _, _ = shipped
    with open(os.path.join(root, "resnet20_cifar10", "README.md")) as f:
        text_ = f.read()
    for said in (
        "row 2 of the paper's Table II",
        "81.23%",
        "82.43%",
        "82.00%",
        "PublicTest",
        "| contempt | 3 | 50.0% | 25.0% | 33.3% |",
        "**Pretraining**: engine torch-bf16, commit 0123456789ab",
        "data/cifar10/train_lmdb",
        "10,000 iterations",
        "MIT",
        "CIFAR-10",
        "Kaggle",
        "Not for",
        "int8 changes",
        "2h00m",
        "2 epochs of batches of 32",
    ):
        assert said in text_, said
    with open(os.path.join(root, "README.md")) as f:
        assert "[resnet20_cifar10](resnet20_cifar10/README.md) | 2 | 280K" in f.read()


def test_the_cards_that_are_shipped_are_those_of_their_facts(tmp_path):
    """`python -m deploy.card` writes them again, and nothing changes."""
    root = str(tmp_path / "models")
    shutil.copytree(os.path.join(ROOT, "models"), root)
    card.rewrite(root)
    assert not filecmp.dircmp(root, os.path.join(ROOT, "models")).diff_files
    for name in verify.networks(root):
        assert not filecmp.dircmp(os.path.join(root, name), os.path.join(ROOT, "models", name)).diff_files


def test_checksums_cover_every_file_and_name_what_is_wrong(shipped):
    root, _, _ = shipped
    assert subprocess.run(["sha256sum", "--quiet", "-c", verify.SUMS], cwd=root).returncode == 0
    assert check.check_checksums(root) == len(os.listdir(os.path.join(root, "resnet20_cifar10")))
    path = os.path.join(root, "resnet20_cifar10", "folded.prototxt")
    with open(path) as f:
        content = f.read()
    for wrong, said in ((content + "#\n", "is not the file of SHA256SUMS"), (None, "is missing")):
        os.remove(path)
        if wrong:
            with open(path, "w") as f:
                f.write(wrong)
        with pytest.raises(errors.Fail, match="folded.prototxt " + said):
            check.check_checksums(root)
    with open(path, "w") as f:
        f.write(content)


def models_check(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "deploy.check", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    )


def test_models_check_runs_every_network_in_every_runtime(shipped):
    root, _, _ = shipped
    ran = models_check(root, "--caffe", CAFFE)
    assert ran.returncode == 0, ran.stdout
    assert "all 1 networks agree" in ran.stdout and "Caffe, folded.prototxt" in ran.stdout and "model_int8.onnx" in ran.stdout
    empty = models_check(os.path.join(root, "none"))
    assert empty.returncode == 1 and empty.stdout.count("\n") == 1 and "make model" in empty.stdout


def test_a_card_is_not_made_of_other_weights_or_a_bad_name(shipped, tmp_path):
    root, run, data_folder = shipped
    with pytest.raises(errors.Fail, match="NAME="):
        card.make(run, "../evil", root, data_folder, "valid", "")
    with open(os.path.join(run, "metrics_valid.json")) as f:
        metrics = json.load(f)
    metrics["made_from"]["weights_sha256"] = "0" * 64
    for name in ("final.caffemodel", "run.json"):
        os.link(os.path.join(run, name), str(tmp_path / name))
    (tmp_path / "metrics_valid.json").write_text(json.dumps(metrics))
    with pytest.raises(errors.Fail, match="of other weights: test it again"):
        card.make(str(tmp_path), "resnet20_other", root, data_folder, "valid", "")
    assert verify.networks(root) == ["resnet20_cifar10"]


def test_the_snippets_of_models_readme_run(tmp_path):
    """Every Python snippet, in one program, on the networks that are shipped; what they print is the same label each time."""
    for package in ("ai_edge_litert", "ncnn"):
        pytest.importorskip(package, reason="needs pip install -r env/export.txt")
    assert cv2.imwrite(str(tmp_path / "face.png"), check.drawn_faces(1)[0])
    os.symlink(os.path.join(ROOT, "models"), str(tmp_path / "models"))
    with open(os.path.join(ROOT, "models", "README.md")) as f:
        text_ = f.read().split("## The files by themselves")[1].split("C++")[0]
    code = [line[4:] for line in text_.splitlines() if line.startswith("    ")]
    assert sum("print(" in line for line in code) == 6
    caffe = next(i for i, line in enumerate(code) if line == "import caffe")
    labels = []
    setup = code[: next(i for i, line in enumerate(code) if line.startswith("import onnxruntime"))]
    for lines, python in ((code[:caffe], [sys.executable]), (setup + code[caffe:], CAFFE.split())):
        ran = subprocess.run(python + ["-c", "\n".join(lines)], cwd=str(tmp_path), stdout=subprocess.PIPE, universal_newlines=True)
        labels += ran.stdout.split()
    assert len(labels) == 6 and len(set(labels)) == 1 and labels[0] in facts.EXPRESSIONS


def test_the_bench_times_what_runs_and_names_what_does_not(made, monkeypatch, capsys):
    monkeypatch.setattr(bench, "OURS", (("ONNX Runtime, float", "onnx"), ("OpenCV, Caffe importer", "opencv_caffe")))
    monkeypatch.setattr(bench, "RIVALS", (("fer (TensorFlow Lite)", "fer"),))  # this Python has no fer
    monkeypatch.setattr(sys, "argv", ["bench", "--model", made[3], "--faces", "4", "--rounds", "2", "--rivals", sys.executable])
    with pytest.raises(SystemExit) as end:
        bench.main()
    printed = capsys.readouterr().out
    figures = [line.split()[-3:] for line in printed.splitlines() if line.startswith(("ONNX", "OpenCV"))]
    assert not end.value.code and len(figures) == 2 * 2 * len({1, len(os.sched_getaffinity(0))})
    assert all(float(number) > 0 for line in figures for number in line)
    assert "not run: fer (TensorFlow Lite): ModuleNotFoundError" in printed
