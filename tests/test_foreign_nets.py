"""Other people's Caffe nets: what we export of them scores as real Caffe scores their own files; what cannot be is one line."""

import json
import os
import shlex
import subprocess
import sys

import evaluation_data
import foreign_nets
import numpy as np
import onnx
import onnxruntime
import pytest

from common import errors
from common.caffe import binary
from common.caffe import messages as m
from deploy import export, onnx_net
from fer_lite import names, runtimes
from netgen import fold, nets, weights

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ["THREADS"] = "1"
CAFFE = " ".join(os.environ.get("CAFFE_RUN", os.path.join(ROOT, "env", "run")).split() + ["python3"])
THEIRS = """
import sys, numpy, caffe
for stem in sys.argv[1:]:
    net, shown, found = caffe.Net(stem + ".prototxt", stem + ".caffemodel", caffe.TEST), numpy.load(stem + ".npy"), []
    batch = net.blobs[net.inputs[0]].num
    for i in range(0, len(shown), batch):
        net.blobs[net.inputs[0]].data[...] = shown[i:i + batch]
        found.append(net.forward()[net.outputs[0]].reshape(batch, -1).copy())
    numpy.save(stem + ".scores.npy", numpy.concatenate(found))
"""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """(folder, {name: (pixels, real Caffe's scores of them)}): every net's own files, at its own batch, in one Caffe."""
    folder = tmp_path_factory.mktemp("foreign")
    shown = {}
    for name in foreign_nets.NETS:
        foreign_nets.write(folder, name)
        shown[name] = foreign_nets.pixels(name, 20)
        mean = np.array(foreign_nets.MEAN[shown[name].shape[1]], np.float32)[:, None, None]
        np.save(str(folder / (name + ".npy")), (shown[name] - mean) * np.float32(foreign_nets.SCALE))
    ran = subprocess.run(CAFFE.split() + ["-c", THEIRS] + [str(folder / name) for name in shown], stderr=subprocess.PIPE, universal_newlines=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return folder, {name: (shown[name], np.load(str(folder / (name + ".scores.npy")))) for name in shown}


@pytest.mark.parametrize("name", foreign_nets.NETS)
def test_onnx_scores_as_caffe_scores_their_own_files(theirs, name):
    folder, found = theirs
    shown, wanted = found[name]
    net = nets.read_deploy(str(folder / (name + ".prototxt")))
    model = weights.load(str(folder / (name + ".caffemodel")), net)
    mean = np.array(foreign_nets.MEAN[shown.shape[1]], np.float32)
    ready = nets.scaled(net, foreign_nets.SCALE)
    assert np.ptp(wanted, axis=0).max() > 0.02  # images that score alike would agree whatever the net
    for pair in ((ready, model), fold.fold(ready, model)):
        session = onnxruntime.InferenceSession(onnx_net.build(*pair, mean, {}).SerializeToString())
        ours = session.run(None, {session.get_inputs()[0].name: shown.astype(np.float32)})[0]
        assert ours.shape == wanted.shape and abs(ours - wanted).max() < 1e-4 * max(1, abs(wanted).max())
    assert session.get_outputs()[0].name == net.layer[-1].top[0]


def test_what_stands_behind_a_convolution_is_folded_wherever_its_top_lies(theirs):
    folder, _ = theirs
    net = nets.read_deploy(str(folder / "norms.prototxt"))
    folded, _ = fold.fold(net, weights.load(str(folder / "norms.caffemodel"), net))
    assert [layer.name for layer in folded.layer if layer.type in ("BatchNorm", "Scale")] == ["first", "gain", "m"]


@pytest.mark.parametrize(
    "name, options", (("fields", {}), ("fields", {"logits": True}), ("grey", {"side": 54}), ("v1", {}), ("layers", {}), ("norms", {}), ("squeeze", {}))
)
def test_export_takes_it(theirs, tmp_path, capsys, name, options):
    folder, found = theirs
    shown, wanted = found[name]
    data_folder = str(tmp_path / "data")
    for split in ("train", "valid"):
        evaluation_data.write_part(data_folder, split, 12, classes=3)
    out = str(tmp_path / "out")
    about = export.export(
        str(folder / (name + ".caffemodel")),
        out,
        data_folder,
        caffe=CAFFE,
        prototxts=[str(folder / (name + ".prototxt"))],
        mean=np.array(foreign_nets.MEAN[shown.shape[1]], np.float32),
        scale=foreign_nets.SCALE,
        **options,
    )
    printed = capsys.readouterr().out
    assert about["checks"]["reference"].startswith("Caffe") and about["crop"] == shown.shape[-1]
    assert all(value <= 1e-4 for runtime, value in about["checks"]["runtimes"].items() if not runtime.endswith(names.INT8))
    assert name == "layers" or "unread" not in about["checks"]  # OpenCV 4.11 ignores ELU's alpha
    ours = runtimes.onnx_runtime(os.path.join(out, names.FLOAT)).probabilities(shown.astype(np.float32))
    if name == "fields" and not options:
        wanted = np.exp(wanted) / np.exp(wanted).sum(axis=1, keepdims=True)
        assert "a Softmax is added" in printed
    assert abs(ours - wanted).max() < 1e-4 * max(1, abs(wanted).max())
    fits = shown.shape[-1] <= 36 or options.get("side")
    assert os.path.exists(os.path.join(out, names.INT8)) == ("accuracy" in about) == bool(fits)
    assert fits or "too small" in printed and "--resize %d" % (shown.shape[-1] * 9 // 8) in printed
    assert json.load(open(os.path.join(out, names.FACTS)))["mean"] == foreign_nets.MEAN[shown.shape[1]]
    predicted = subprocess.run(
        [sys.executable, "-m", "fer_lite", "--model", out, "--faces", "given", os.path.join(ROOT, "deploy", "web", "page", "example.png")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    if options.get("logits"):
        assert predicted.returncode == 1 and predicted.stdout.count("\n") == 1 and "LOGITS=1" in predicted.stdout
    else:
        assert abs(sum(json.loads(predicted.stdout)["probabilities"].values()) - 1) < 1e-4, predicted.stdout
    assert onnx.load(os.path.join(out, names.FLOAT)).graph.input[0].type.tensor_type.shape.dim[1].dim_value == shown.shape[1]


def edited(tmp_path, name, *changes):
    """The files of a net of NETS whose prototxt was changed after its weights were made."""
    prototxt, caffemodel = foreign_nets.write(tmp_path, name)
    text = foreign_nets.NETS[name]
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    with open(prototxt, "w") as f:
        f.write(text)
    return prototxt, caffemodel


@pytest.mark.parametrize(
    "name, changes, said",
    (
        ("norms", [('top: "m" }', 'top: "m" batch_norm_param { use_global_stats: false } }')], "layer m: use_global_stats: false.*--unfolded"),
        ("norms", [("use_global_stats: true", "use_global_stats: false")], "layer n: use_global_stats: false.*--unfolded"),
        ("fields", [('type: "ReLU"', 'type: "MVN"')], "layer r is of type MVN.*in Caffe itself"),
        ("fields", [("input_dim: 48 input_dim: 48", "")], "fields.prototxt: each `input` needs an input_shape, or four numbers of input_dim"),
        ("fields", [("input_dim: 1 input_dim: 3 input_dim: 48 input_dim: 48", "")], "no deploy net .no Input layer, no input_shape"),
        ("fields", [("input_dim: 48 input_dim: 48", "input_dim: 48 input_dim: 40")], "input is 1x3x48x40: only .*square"),
        ("fields", [("input_dim: 3", "input_dim: 4")], "input is 1x4x48x48: only"),
        ("fields", [("num_output: 7", "num_output: 6")], "layer fc has 7x726 and 7, this net wants 6x726 and 6: take its own"),
        ("fields", [('"fc" type', '"fc_seven" type')], "layer fc_seven has no weights there"),
        ("fields", [('bottom: "p" top: "fc"', 'bottom: "pool" top: "fc"')], "layer fc reads pool, which no layer before it makes"),
        (
            "fields",
            [('layer { name: "fc" type: "InnerProduct" bottom: "p" top: "fc" inner_product_param { num_output: 7 } }', "")],
            "output p is 6x11x11, a map",
        ),
        ("squeeze", [('bottom: "p" top: "prob"', 'bottom: "one" top: "prob"')], "2 outputs .p, prob."),
        ("squeeze", [('type: "Softmax"', 'type: "Sigmoid"')], "ends in Sigmoid .layer prob.*LOGITS=1"),
        (
            "v1",
            [('layers { name: "prob" type: SOFTMAX bottom: "fc8" top: "prob" }', 'layer { name: "prob" type: "Softmax" bottom: "fc8" top: "prob" }')],
            "layers of two formats",
        ),
        ("v1", [('layers { name: "relu1" type: RELU', 'layers { layer { name: "relu1" type: "relu" }')], "first format.*upgrade_net_proto_text"),
        ("v1", [('layers { name: "relu1" type: RELU', 'layers { layer { name: "relu1" stride: 3 }')], "first format.*upgrade_net_proto_text"),
        ("layers", [("dim: 4 dim: -1", "dim: 5 dim: -1")], "layer shaped .Reshape.: only shapes that begin with the batch as dim: 0"),
        ("fields", [('type: "ReLU"', 'type: "Bias" bias_param { axis: 1 }')], "fields.prototxt has a layer with bias_param, which this project does not know"),
        ("fields", [('type: "ReLU"', 'type: "ReLU" relu_parm { }')], "fields.prototxt is not a NetParameter.*3:32.*relu_parm.*mend it"),
        ("grey", [("kernel_h: 3 ", "kernel_h: 99 ")], "layer c .Convolution.: only kernels that fit its 1x48x48"),
    ),
)
def test_what_cannot_be_exported_is_one_line_with_the_reason(tmp_path, name, changes, said):
    prototxt, caffemodel = edited(tmp_path, name, *changes)
    with pytest.raises(errors.Fail, match=said) as failure:
        export.export(caffemodel, str(tmp_path / "out"), str(tmp_path), caffe="", prototxts=[prototxt], mean=np.zeros(1, np.float32))
    assert "\n" not in str(failure.value) and not os.path.exists(str(tmp_path / "out"))


def test_binaries_of_other_ages_and_kinds(tmp_path, capsys):
    prototxt, caffemodel = foreign_nets.write(tmp_path, "v1")
    net = nets.read_deploy(prototxt)
    old = m.NetParameter.FromString(open(caffemodel, "rb").read())
    more = old.layers.add(name="loss1/fc", type=m.V1LayerParameter.INNER_PRODUCT)
    more.blobs.add(num=1, channels=1, height=1, width=2, data=[1, 2])
    binary.write(caffemodel, old)
    assert binary.layers(weights.load(caffemodel, net))["fc8"][0].shape == (8, 9)
    assert "weights of 1 layers that CaffeNet has not (loss1/fc): left out" in capsys.readouterr().err
    for layer in old.layers:
        layer.layer.name = layer.name
    binary.write(caffemodel, old)
    with pytest.raises(errors.Fail, match="v1.caffemodel is of Caffe's first format.*upgrade_net_proto_binary"):
        weights.load(caffemodel, net)
    (tmp_path / "a.caffemodel.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(errors.Fail, match="is HDF5.*net.save"):
        weights.load(str(tmp_path / "a.caffemodel.h5"), net)


def test_the_mean_is_the_networks_own_or_said(theirs, tmp_path, capsys):
    folder, _ = theirs
    evaluation_data.write_part(str(tmp_path / "set"), "valid", 3)
    files = [str(folder / ("squeeze" + ending)) for ending in (".caffemodel", ".prototxt")]
    about = export.export(files[0], str(tmp_path / "a"), str(tmp_path / "set"), caffe="", prototxts=files[1:])
    assert about["mean"] == [104, 117, 123] and "note: the mean subtracted is that of %s (104 117 123)" % (tmp_path / "set") in capsys.readouterr().out
    with pytest.raises(errors.Fail, match="or give the mean with MEAN="):
        export.export(files[0], str(tmp_path / "b"), str(tmp_path), caffe="", prototxts=files[1:])
    with pytest.raises(errors.Fail, match="MEAN= has 2 numbers"):
        export.export(files[0], str(tmp_path / "b"), str(tmp_path), caffe="", prototxts=files[1:], mean=np.ones(2, np.float32))
    picture = np.random.RandomState(0).uniform(90, 130, (3, 36, 36)).astype(np.float32)
    binary.write_mean(str(tmp_path / "set" / "mean.binaryproto"), picture)
    with pytest.raises(errors.Fail, match="a picture.*MEAN='1"):
        export.export(files[0], str(tmp_path / "b"), str(tmp_path / "set"), caffe="", prototxts=files[1:])


def test_make_hands_the_prototxt_over():
    ran = subprocess.run(
        ["make", "-n", "export", "MODEL=a.caffemodel", "DEPLOY=its net.prototxt", "MEAN=104 117 123", "SCALE=0.5", "CAFFE=none"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        universal_newlines=True,
    )
    words = [word.lstrip("=") for word in shlex.split(ran.stdout.split("-m deploy.export ")[1].replace("=", " ="))]
    given = {option: words[words.index(option) + 1 :][:count] for option, count in (("--deploy", 1), ("--mean", 3), ("--scale", 1))}
    assert given == {"--deploy": ["its net.prototxt"], "--mean": ["104", "117", "123"], "--scale": ["0.5"]}
    assert "\nits net.prototxt" not in ran.stdout
