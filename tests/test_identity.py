"""What makes two runs one: contents, not paths. A run folder of version 1 stays finished or goes on; no Caffe is needed for most of it."""

import hashlib
import json
import os
import shutil
import sys

import pytest
import training_data as data

from common import errors, files, runs
from common.caffe import binary, text
from common.caffe import messages as m
from netgen import nets, resnet
from netgen import weights as net_weights
from training import inputs, job, order, record, run, snapshots, transplant


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def pretrained(path="pre.caffemodel", seed=1):
    binary.write(path, net_weights.random(resnet.deploy_net(8, "source", 4), seed))
    return path


def init(source="pre.caffemodel", out="init.caffemodel"):
    transplant.write(source, resnet.deploy_net(8, "tiny", 4), out)
    return out


def described(solver="tiny.prototxt", weights=None, trial=1, old=None):
    solver, net, _ = job.resolve(solver, "out", trial, weights)
    return inputs.describe_as(old, solver, net, inputs.check_data(net), weights, "caffe")


def version_1(solver="tiny.prototxt", weights=None, trial=1):
    """The description that the code of version 1 made, transcribed from it."""
    solver, net, _ = job.resolve(solver, "out", trial)
    found = {"engine": "caffe", "net": hashlib.sha256(text.dumps(net).encode()).hexdigest()}
    for name, phase in (("train", m.TRAIN), ("test", m.TEST)):
        path = nets.data_layer(net, phase).data_param.source
        part = inputs.read_part(path)
        found[name] = {"lmdb": path, "images": part.images, "sha256": part.sha256}
    found["mean"] = files.sha256(nets.data_layer(net, m.TRAIN).transform_param.mean_file)
    found["weights"] = files.sha256(weights) if weights else None
    found["solver"] = dict(described()["solver"], random_seed=trial, solver_mode=0)
    return found


# ---- version 2: contents -------------------------------------------------------------------------------------------


def test_where_things_lie_decides_nothing():
    os.mkdir("one")
    os.chdir("one")
    data.write_all()
    first = described(weights=pretrained())
    os.chdir("..")
    os.rename("one", "two")
    net = text.read("two/tiny_net.prototxt", m.NetParameter)
    for layer in net.layer[:2]:
        layer.data_param.source = "two/" + layer.data_param.source
        layer.transform_param.mean_file = "two/" + layer.transform_param.mean_file
    text.write("two/tiny_net.prototxt", net)
    solver = text.read("two/tiny.prototxt", m.SolverParameter)
    solver.net = "two/tiny_net.prototxt"
    text.write("two/tiny.prototxt", solver)
    assert described("two/tiny.prototxt", "two/pre.caffemodel") == first
    assert first["version"] == 2 and not [path for path in ("data/tiny", "pre.caffemodel", "two") if path in json.dumps(first)]


def test_contents_decide():
    data.write_all()
    pretrained()
    first = described(weights="pre.caffemodel")

    def differs(*keys):
        now = described(weights="pre.caffemodel")
        assert [key for key in first if first[key] != now[key]] == list(keys)

    differs()
    shutil.move("data/tiny/test_lmdb", "kept")
    data.write_part("data/tiny", "test", data.TEST, seed=7, classes=4)
    differs("valid")
    shutil.rmtree("data/tiny/test_lmdb")
    shutil.move("kept", "data/tiny/test_lmdb")
    mean = binary.read_mean("data/tiny/mean.binaryproto")
    binary.write_mean("data/tiny/mean.binaryproto", mean + 1)
    differs("mean")
    binary.write_mean("data/tiny/mean.binaryproto", mean)
    pretrained(seed=2)
    differs("weights")
    pretrained()
    data.write_all(momentum=0.5)
    differs("solver")


def test_the_final_layer_of_the_pretrained_network_decides_nothing():
    data.write_all()
    model = binary.read(pretrained(), m.NetParameter)
    whole = described(weights="pre.caffemodel")
    assert described(weights=init()) == whole
    model.layer[[layer.name for layer in model.layer].index("fc_source")].blobs[0].data[0] += 1
    binary.write("pre.caffemodel", model)
    assert described(weights="pre.caffemodel") == whole
    model.layer[1].blobs[0].data[0] += 1
    binary.write("pre.caffemodel", model)
    assert described(weights="pre.caffemodel") != whole


def test_another_engine_does_not_replace_a_finished_network():
    data.write_all()
    now = described()
    os.mkdir("out")
    record.write("out", dict(inputs=now, final_sha256=hashlib.sha256(b"network").hexdigest()))
    with open("out/final.caffemodel", "wb") as f:
        f.write(b"network")
    assert record.standing("out", now, print) == ("finished", None)
    for engine in ("torch", "torch-bf16"):
        with pytest.raises(errors.Fail, match="out/final.caffemodel was trained with the engine caffe, not %s.*RUNS=" % engine):
            record.standing("out", dict(now, engine=engine), print)
    assert os.listdir("out") and os.path.exists("out/final.caffemodel")


def test_a_gpu_is_the_same_run():
    solver, net, _ = job.resolve(data.write_all(), "out", gpu=1)
    for old in (None, version_1()):
        on_gpu = inputs.describe_as(old, solver, net, inputs.check_data(net), None, "caffe")
        assert on_gpu == described(old=old)


@pytest.mark.parametrize(
    "batch, test_iter, says",
    [
        (10, 3, "n = 30"),
        (6, 5, "n = 30"),
        (7, 5, "35 images in 5 batches, of a part of 30: some of them twice"),
        (7, 4, "28 images in 4 batches, of a part of 30: not all of them"),
    ],
)
def test_what_a_validation_is_of(batch, test_iter, says):
    solver, net, _ = job.resolve(data.write_all(), "out")
    nets.data_layer(net, m.TEST).data_param.batch_size, solver.test_iter[0] = batch, test_iter
    assert inputs.validated_on(solver, net, inputs.check_data(net)["valid"]) == says


# ---- version 1: recognised -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("trial", [1, 2])
def test_a_description_of_version_1_is_compared_in_its_own_terms(trial):
    data.write_all()
    order.reorder("data/tiny/train_lmdb", 2)
    old = version_1(weights=pretrained(), trial=trial)
    for weights in ("pre.caffemodel", init()):
        assert described(weights=weights, trial=trial, old=old) == old
    init(pretrained("other.caffemodel", seed=2), "other_init.caffemodel")
    for weights in ("other.caffemodel", "other_init.caffemodel"):
        now = described(weights=weights, trial=trial, old=old)
        assert inputs.differences(old, now) == "the weights"


def test_version_1_is_recognised_where_its_data_were_moved():
    data.write_all()
    old = version_1()
    os.rename("data", "elsewhere")
    net = text.read("tiny_net.prototxt", m.NetParameter)
    for layer in net.layer[:2]:
        layer.data_param.source = layer.data_param.source.replace("data/", "elsewhere/")
        layer.transform_param.mean_file = layer.transform_param.mean_file.replace("data/", "elsewhere/")
    text.write("tiny_net.prototxt", net)
    assert described(old=old) == old
    net.layer[0].data_param.batch_size += 1
    text.write("tiny_net.prototxt", net)
    assert inputs.differences(old, described(old=old)) == "the net"


def train(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["training.run"] + list(arguments))
    with pytest.raises(SystemExit) as end:
        run.main()
    return end.value.code or 0


def make_old(out, weights=None):
    """Turn the run in `out` into one that version 1 left."""
    path, old = os.path.join(out, "run.json"), version_1(weights=weights)
    kept = runs.read(out)
    for name in ("run.json",) + tuple("snapshot_iter_%d.json" % n for n in snapshots.iterations(out)):
        path = os.path.join(out, name)
        with open(path) as f:
            kept = json.load(f)
        kept["inputs"] = old if name == "run.json" else inputs.identity(old)
        with open(path, "w") as f:
            json.dump(kept, f)
    return old


@pytest.mark.caffe
def test_a_finished_run_of_version_1_stays_finished(monkeypatch, capsys):
    solver = data.write_all()
    weights = pretrained()
    assert train(monkeypatch, "--solver", solver, "--out", "a", "--weights", weights) == 0
    old, final = make_old("a", weights), files.sha256("a/final.caffemodel")
    for given in (weights, init()):
        assert train(monkeypatch, "--solver", solver, "--out", "a", "--weights", given) == 0
        assert "nothing that it was made from has changed" in capsys.readouterr().err
    assert runs.read("a")["inputs"] == old and files.sha256("a/final.caffemodel") == final
    data.write_all(base_lr=0.01)
    assert train(monkeypatch, "--solver", solver, "--out", "a", "--weights", "init.caffemodel") == 0
    assert "made from other inputs (base_lr 0.05 -> 0.01): kept in a/replaced-1" in capsys.readouterr().err
    assert runs.read("a")["inputs"]["version"] == inputs.VERSION


@pytest.mark.caffe
def test_an_interrupted_run_of_version_1_goes_on(monkeypatch, capsys):
    solver = data.write_all()
    weights = pretrained()
    assert train(monkeypatch, "--solver", solver, "--out", "whole", "--weights", weights) == 0
    shutil.copytree("whole", "part")
    os.remove("part/final.caffemodel")
    snapshots.remove("part", 24)
    old = make_old("part", weights)
    assert snapshots.iterations("part") == [16, 8]
    capsys.readouterr()
    assert train(monkeypatch, "--solver", solver, "--out", "part", "--weights", init()) == 0
    assert "part continues from iteration 16 of 24" in capsys.readouterr().err
    assert runs.read("part")["inputs"] == old
    assert files.sha256("part/final.caffemodel") == files.sha256("whole/final.caffemodel")


# ---- the transplant as a stop of its own -----------------------------------------------------------------------------


@pytest.mark.caffe
def test_two_trials_differ_in_the_final_layer_and_in_nothing_else(monkeypatch):
    from engines.caffe import engine as engines

    solver = data.write_all()
    order.reorder("data/tiny/train_lmdb", 2)
    pretrained()
    began = []
    for trial in (1, 2):
        resolved, net, _ = job.resolve(solver, "out", trial, init())
        os.makedirs("out", exist_ok=True)
        text.write(os.path.join("out", "train.prototxt"), net)
        each = engines.make(resolved, net, "out")
        transplant.transplant("init.caffemodel", each, "fc_tiny")
        began.append(each.weights())
    source = transplant.read("pre.caffemodel")
    for name in began[0]:
        same = [a.tobytes() == b.tobytes() for a, b in zip(began[0][name], began[1][name])]
        if name == "fc_tiny":
            assert same == [False, True]  # weights drawn from the trial's seed; the bias begins with 0
        else:
            assert all(same) and [a.tobytes() for a in began[0][name]] == [a.tobytes() for a in source[name]]


def test_init_holds_everything_but_the_final_layer_and_says_of_what_it_was_made(capsys):
    shown = transplant.write(pretrained(), resnet.deploy_net(8, "tiny", 4), "runs/a/init.caffemodel")
    source, made = transplant.read("pre.caffemodel"), transplant.read("runs/a/init.caffemodel")
    assert list(made) == [name for name in source if name != "fc_source"]
    assert all(a.tobytes() == b.tobytes() for name in made for a, b in zip(made[name], source[name]))
    with open("runs/a/init.txt") as f:
        assert f.read() == shown + "\n"
    assert shown.splitlines()[:2] == ["%s  %s" % (files.sha256(path), path) for path in ("pre.caffemodel", "runs/a/init.caffemodel")]
    assert transplant.origin("runs/a/init.caffemodel") == ("pre.caffemodel", files.sha256("pre.caffemodel"))
    shutil.copy("pre.caffemodel", "runs/a/init.caffemodel")  # the table is of other bytes
    assert transplant.origin("runs/a/init.caffemodel") == ("runs/a/init.caffemodel", files.sha256("pre.caffemodel"))


def test_the_command(monkeypatch, capsys):
    text.write("deploy.prototxt", resnet.deploy_net(8, "tiny", 4))
    text.write("deeper.prototxt", resnet.deploy_net(14, "tiny", 4))

    def command(**words):
        words = dict(dict(weights=pretrained(), net="deploy.prototxt", out="init.caffemodel"), **words)
        monkeypatch.setattr(sys, "argv", ["training.transplant"] + [word for key, value in words.items() for word in ("--" + key, value)])
        with pytest.raises(SystemExit) as end:
            transplant.main()
        return end.value.code or 0, capsys.readouterr()

    for words, path in ((dict(weights="none"), "none"), (dict(net="deeper.prototxt"), "pre.caffemodel"), (dict(out="init"), "init")):
        status, said = command(**words)
        assert status == 1 and len(said.err.splitlines()) == 1 and path in said.err
        assert not os.path.exists("init.caffemodel") and not os.path.exists("init.txt")
    assert command()[0] == 0 and transplant.read("init.caffemodel")
