"""The PyTorch engine by itself: what it refuses, its data, its start, its bytes after interruptions, its precisions."""

import os
import re
import signal
import subprocess
import time

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # tiny nets
pytestmark = pytest.mark.torch

import evaluation_data
import training_data
from google.protobuf import text_format

from common import errors, runs
from common.caffe import binary, text
from common.caffe import messages as m
from engines.torch import data, device, engine, norm, trials
from engines.torch import net as nets
from engines.torch import solver as solvers
from training import loop, run, snapshots
from training.order import reorder

SHAPES = {"data": (2, 3, 8, 8), "label": (2,)}


def layer(fields):
    """A net of one layer between data and x."""
    return text_format.Parse('name: "n" layer { name: "it" bottom: "data" top: "x" %s }' % fields, m.NetParameter())


@pytest.mark.parametrize(
    "fields, named",
    (
        ('type: "LRN"', "layer it: .* layer type LRN"),
        ('type: "Python"', "Python"),
        ('type: "ReLU" loss_weight: 1', "no field loss_weight"),
        ('type: "ReLU" pooling_param { pool: AVE }', "no field pooling_param"),
        ('type: "ReLU" param { name: "shared" }', "no field name"),
        ('type: "ReLU" include { phase: TRAIN stage: "s" }', "no field stage"),
        ('type: "InnerProduct" inner_product_param { num_output: 2 transpose: true }', "no field transpose"),
        ('type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }', "MAX and AVE"),
        ('type: "Pooling" pooling_param { kernel_size: 1 stride: 3 }', "FLOOR"),
        ('type: "Eltwise" eltwise_param { operation: PROD }', "SUM"),
        ('type: "Scale" scale_param { axis: 0 }', "axis 1"),
        ('type: "BatchNorm" param { lr_mult: 1 }', "lr_mult: 0"),
        ('type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "positive_unitball" } }', "filler positive_unitball"),
        ('type: "Convolution" convolution_param { num_output: 2 kernel_h: 3 kernel_w: 2 weight_filler { type: "bilinear" } }', "square kernel"),
        ('type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "gaussian" sparse: 3 } }', "no field sparse"),
        ('type: "ReLU" } layer { name: "b" type: "ReLU" bottom: "nowhere" top: "y"', "bottom nowhere"),
    ),
)
def test_what_is_not_known_is_refused_by_name(fields, named):
    with pytest.raises(errors.Fail, match=named) as refusal:
        nets.Net(layer(fields), m.TRAIN, SHAPES)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "fields, named",
    (
        ('type: "Adam"', "type Adam"),
        ('lr_policy: "inv"', "lr_policy inv"),
        ("clip_gradients: 1", "clip_gradients"),
        ('regularization_type: "L1"', "L1"),
        ("iter_size: 2", "iter_size 2"),
        ("snapshot_format: HDF5", "snapshot_format"),
    ),
)
def test_solvers_that_are_not_known_are_refused_by_name(fields, named):
    solver = text_format.Parse('lr_policy: "fixed" ' + fields if "policy" not in fields else fields, m.SolverParameter())
    with pytest.raises(errors.Fail, match=named):
        solvers.check(solver)


def test_devices_and_precisions_that_are_not_there():
    if not torch.accelerator.is_available():
        with pytest.raises(errors.Fail, match="no GPU 0"):
            device.find(0)
        with pytest.raises(errors.Fail, match="tf32"):
            device.number_type("tf32", device.find(None))
    with pytest.raises(errors.Fail, match="no precision 'fp64'"):
        device.number_type("fp64", device.find(None))


def test_bf16_is_refused_where_the_processor_lacks_it(monkeypatch):
    monkeypatch.setattr(device, "_has_bf16", lambda _: False)
    with pytest.raises(errors.Fail, match="no bf16 arithmetic: take PRECISION=fp32"):
        device.number_type("bf16", device.find(None))


def damaged(path):
    with open(path, "r+b") as f:
        f.truncate(os.path.getsize(path) // 2)


def made(name="tiny", precision="fp32", **changes):
    solver = text.read(training_data.write_all(name, **changes), m.SolverParameter)
    return engine.make(solver, text.read(solver.net, m.NetParameter), None, precision)


def test_damaged_and_foreign_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ours = made()
    ours.snapshot("a")
    made("deeper", depth=14).snapshot("b")
    with pytest.raises(errors.Fail, match="b.solverstate is of another net"):
        ours.restore("b.solverstate", 0)
    with pytest.raises(errors.Fail, match="another network"):
        made("deeper", depth=14).load_weights(ours.weights()) or solvers.load(made("deeper", depth=14).blobs, "a.caffemodel")
    damaged("a.caffemodel")
    with pytest.raises(errors.Fail, match="a.caffemodel is damaged"):
        ours.restore("a.solverstate", 0)


def reader(folder, phase, seed=1, batch=4, kind=data.Data, **transform):
    message = m.LayerParameter(name="data", type="Data", top=["data", "label"])
    message.data_param.source, message.data_param.batch_size = folder + "/train_lmdb", batch
    message.data_param.backend = m.DataParameter.LMDB
    for name, value in transform.items():
        setattr(message.transform_param, name, value)
    return kind(message, phase, seed)


def test_data_comes_in_order_and_crops_are_random_in_train_only(tmp_path):
    folder = str(tmp_path)
    images, labels, mean = evaluation_data.write_part(folder, "train", 10)
    feed = reader(folder, m.TEST, crop_size=32, mean_file=folder + "/mean.binaryproto")
    batches = [feed.next() for _ in range(5)]
    order = np.arange(20) % 10
    assert np.array_equal(torch.cat([b["label"] for b in batches]), labels[order])
    assert np.array_equal(torch.cat([b["data"] for b in batches]), (images - mean)[order, :, 2:34, 2:34])
    found = set()
    feed = reader(folder, m.TRAIN, crop_size=32)
    for _ in range(100):
        batch = feed.next()["data"].numpy()
        for i in range(4):
            image = images[order[(feed.batches - 1) * 4 % 10 + i]] if (feed.batches - 1) * 4 % 10 + i < 20 else None
            places = [(y, x) for y in range(5) for x in range(5) if np.array_equal(image[:, y : y + 32, x : x + 32], batch[i])]
            assert len(places) == 1
            found.add(places[0])
    assert len(found) == 25, "each of the 5 x 5 crops"


def test_data_continues_exactly_and_follows_the_seed(tmp_path):
    folder = str(tmp_path)
    evaluation_data.write_part(folder, "train", 10)
    whole = reader(folder, m.TRAIN, crop_size=32, mirror=True)
    batches = [whole.next()["data"] for _ in range(9)]
    again = reader(folder, m.TRAIN, crop_size=32, mirror=True)
    again.seek(7)
    assert torch.equal(again.next()["data"], batches[7]) and torch.equal(again.next()["data"], batches[8])
    assert not torch.equal(reader(folder, m.TRAIN, 2, crop_size=32, mirror=True).next()["data"], batches[0])
    plain = reader(folder, m.TEST)
    mirrored = reader(folder, m.TEST, mirror=True)
    flipped = [torch.equal(a, b.flip(2)) for _ in range(10) for a, b in zip(plain.next()["data"], mirrored.next()["data"])]
    assert 5 < sum(flipped) < 35


@pytest.mark.parametrize("phase", (m.TRAIN, m.TEST), ids=("train", "test"))
@pytest.mark.parametrize("transform", ({"crop_size": 32, "mirror": True}, {"crop_size": 20, "scale": 0.25}, {"mirror": True}))
def test_images_on_the_device_give_the_same_batches(tmp_path, phase, transform):
    folder = str(tmp_path)
    _, _, mean = evaluation_data.write_part(folder, "train", 10)
    uneven = mean + np.random.RandomState(5).rand(*mean.shape).astype(np.float32)
    for number, each in enumerate((mean, uneven)):
        name = "%s/mean%d.binaryproto" % (folder, number)
        binary.write_mean(name, each)
        streamed, resident = (reader(folder, phase, kind=kind, mean_file=name, **transform) for kind in (data.Data, data.Resident))
        for start in (0, 7):
            streamed.seek(start), resident.seek(start)
            for _ in range(6):  # over the end of the ten images
                for ours, theirs in zip(resident.next().values(), streamed.next().values()):
                    assert ours.numpy().tobytes() == theirs.numpy().tobytes() and ours.stride() == theirs.stride()


def test_weights_begin_as_caffes_fillers_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, again, other = made().weights(), made().weights(), made(random_seed=2).weights()
    weights = first["group2_block0_conv1"][0]
    assert abs(weights.std() / np.sqrt(2 / (64 * 9)) - 1) < 0.02 and abs(weights.mean()) < 0.002
    assert first["first_conv_scale"][0].min() == 1 and not first["first_conv_scale"][1].any()
    assert all(np.array_equal(a, b) for name in first for a, b in zip(first[name], again[name]))
    assert not np.array_equal(weights, other["group2_block0_conv1"][0])


@pytest.mark.parametrize("shape", ((5, 3), (4, 16, 6, 10), (3, 5, 7, 1)))
def test_batch_statistics_are_exact(shape):
    torch.manual_seed(1)
    x = 3 + torch.randn(shape, dtype=torch.float64)
    expected = [torch.zeros(shape[1], dtype=torch.float64) for _ in range(2)]
    y = torch.nn.functional.batch_norm(x, *expected, None, None, True, 1.0, 1e-5)
    found = [torch.zeros(shape[1]) for _ in range(2)]
    z = norm.batch_norm(x.float(), *found, None, None, 1e-5)
    for a, b in zip(found + [z], expected + [y]):
        assert abs(a - b).max() <= 2e-6 * max(1, abs(b).max())


def test_bf16_trains_as_fp32_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    losses = {}
    for precision in ("fp32", "bf16"):
        try:
            run_ = made(precision=precision)
        except errors.Fail as refusal:
            pytest.skip(str(refusal))
        losses[precision] = np.array([run_.step(5) for _ in range(4)])
        assert all(blob.dtype == np.float32 for blobs in run_.weights().values() for blob in blobs)
    assert 0 < abs(losses["bf16"] / losses["fp32"] - 1).max() < 0.1


def train(*arguments):
    process = training_data.start("--engine", "torch", *arguments)
    process.words, _ = process.communicate()
    return process


def contents(path):
    with open(path, "rb") as f:
        return f.read()


def interrupt(out, solver, number):
    """Begin a run and send it a signal when its first snapshot is there."""
    process = training_data.start("--engine", "torch", "--solver", solver, "--out", out)
    while not os.path.exists(out + "/snapshot_iter_8.json"):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate()


def test_a_killed_run_ends_in_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THREADS", "1")
    solver = training_data.write_all(max_iter=100)
    assert "finished" in train("--solver", solver, "--out", "whole").words
    interrupt("killed", solver, signal.SIGKILL)
    again = train("--solver", solver, "--out", "killed")
    assert "continues from iteration" in again.words
    assert contents("whole/final.caffemodel") == contents("killed/final.caffemodel")


@pytest.mark.skipif(not device._has_bf16(device.find(None)), reason="this processor has no bf16 arithmetic")
def test_a_run_continues_with_another_engine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    solver = training_data.write_all(max_iter=100)
    interrupt("out", solver, signal.SIGKILL)
    finished = train("--engine", "torch-bf16", "--solver", solver, "--out", "out")
    assert "begun with the engine torch and continues with torch-bf16" in finished.words
    assert "out continues from iteration" in finished.words and "out is finished" in finished.words


def test_refusals_of_a_run_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    solver = training_data.write_all()
    net = text.read("tiny_net.prototxt", m.NetParameter)
    for extra, changed, named in ((["--gpu", "7"], None, "no GPU 7"), ([], "LRN", "layer type LRN")):
        if changed:
            net.layer[5].type = changed
            text.write("tiny_net.prototxt", net)
        process = train("--solver", solver, "--out", "out", *extra)
        wrong = [line for line in process.words.splitlines() if line.startswith("error: ")]
        assert process.returncode == 1 and len(wrong) == 1 and named in wrong[0] and "Traceback" not in process.words


def test_images_on_the_device_train_to_the_same_bytes(tmp_path, monkeypatch):
    """What runs on a GPU, on CPU tensors: from the same random numbers, with a rate that is read from a tensor, and after a resume."""
    monkeypatch.chdir(tmp_path)
    streamed = made()
    monkeypatch.setattr(engine.TorchEngine, "resident", True)
    resident, cut, by_tensor = made(), made(), made()
    assert isinstance(resident.data[m.TRAIN].feeds[0], data.Resident)
    losses = [streamed.step(3) for _ in range(4)]
    assert [resident.step(3) for _ in range(4)] == losses and resident.validate(lambda: False) == streamed.validate(lambda: False)
    cut.step(6)
    cut.snapshot("half")
    again = made()
    again.restore("half.solverstate", 0)
    assert [again.step(3) for _ in range(2)] == losses[2:]
    by_tensor.iterate = lambda rate, drawn: by_tensor._iterate(torch.tensor(rate), drawn)
    np.testing.assert_allclose([by_tensor.step(3) for _ in range(4)], losses, rtol=1e-4)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A function that trains in this process, in an empty folder; the exit status."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THREADS", "1")

    def started(*arguments):
        monkeypatch.setattr("sys.argv", ["training.run", "--engine", "torch", *arguments])
        with pytest.raises(SystemExit) as ended:
            run.main()
        return ended.value.code

    return started


def written(**changes):
    """A solver at a rate at which rounding does not grow, and the training part in the order of trial 2."""
    solver = training_data.write_all(rate=0.002, **changes)
    reorder("data/tiny/train_lmdb", 2)
    return solver


def rows(out):
    """A log without its columns of time."""
    with open(out + "/log.csv") as f:
        return [[float(cell or "nan") for cell in line.split(",")[:6]] for line in f.read().splitlines()[1:]]


def test_trials_side_by_side_are_what_each_is_alone(here):
    """The same files in the same folders, and figures within 1e-4: convolutions in groups sum in another order."""
    solver = written(max_iter=16)
    assert here("--solver", solver, "--out", "both", "--trials", "1,2") == 0
    for trial in ("1", "2"):
        together, alone = "both/trial" + trial, "alone/trial" + trial
        assert here("--solver", solver, "--out", alone, "--trial", trial) == 0
        assert sorted(os.listdir(together)) == sorted(os.listdir(alone))
        np.testing.assert_allclose(rows(together), rows(alone), rtol=1e-4)
        ours, theirs = (binary.layers(binary.read(out + "/final.caffemodel", m.NetParameter)) for out in (together, alone))
        for name in theirs:
            for a, b in zip(ours[name], theirs[name]):
                assert abs(a - b).max() <= 1e-4 * max(1, abs(b).max()), name
        ours, theirs = (binary.read(out + "/final.caffemodel", m.NetParameter).layer[0].data_param.source for out in (together, alone))
        assert ours == theirs and ours.endswith("trial2") == (trial == "2")
        ours, theirs = (runs.read(out) for out in (together, alone))
        assert ours["inputs"] == theirs["inputs"] and ours["state"] == "finished" and ours["iteration"] == 16
    assert not np.array_equal(*(runs.read("both/trial" + t)["final_sha256"] for t in "12"))
    first, second = (runs.read_log("both/trial%s/log.csv" % t)[-1]["images_per_second"] for t in "12")
    assert first / 2 < second < 2 * first, "the time of a step is that of both"
    before = os.stat("both/trial1/log.csv").st_mtime_ns
    assert here("--solver", solver, "--out", "both", "--trials", "1-2") == 0 and os.stat("both/trial1/log.csv").st_mtime_ns == before


def test_trials_side_by_side_go_on_to_the_same_bytes(here, monkeypatch):
    """Killed after one of two has its snapshot, so that one is further than the other; stopped, so that both go on together."""
    solver, write = written(), snapshots.write
    assert here("--solver", solver, "--out", "whole", "--trials", "1,2") == 0

    def killed(engine, out, *rest):
        write(engine, out, *rest)
        if out == "cut/trial1" and engine.iter == 16:
            raise RuntimeError("killed")

    monkeypatch.setattr(snapshots, "write", killed)
    with pytest.raises(RuntimeError):
        here("--solver", solver, "--out", "cut", "--trials", "1,2")
    monkeypatch.setattr(snapshots, "write", write)
    assert [snapshots.iterations("cut/trial" + t)[0] for t in "12"] == [16, 8]
    assert here("--solver", solver, "--out", "cut", "--trials", "1,2", "--stop-after", "0.001") == 75
    assert here("--solver", solver, "--out", "cut", "--trials", "1,2") == 0
    for trial in "12":
        np.testing.assert_allclose(rows("cut/trial" + trial), rows("whole/trial" + trial), rtol=1e-4)
    stopping = iter([None] * 5 + [loop.TIME_LIMIT] * 100)
    with monkeypatch.context() as patch:
        patch.setattr(loop.Stop, "__call__", lambda self: next(stopping))
        assert here("--solver", solver, "--out", "halted", "--trials", "1,2") == 75
    assert len({snapshots.iterations("halted/trial" + t)[0] for t in "12"}) == 1
    assert here("--solver", solver, "--out", "halted", "--trials", "1,2") == 0
    for trial in "12":
        assert contents("whole/trial%s/final.caffemodel" % trial) == contents("halted/trial%s/final.caffemodel" % trial)


def test_a_trial_that_fails_further_on_keeps_no_other_back(here, monkeypatch):
    """One that goes on from a later iteration is a group of its own, which is trained first."""
    solver, steps, stopping = written(), engine.TorchEngine.steps, iter([None] * 5 + [loop.TIME_LIMIT] * 100)
    with monkeypatch.context() as patch:
        patch.setattr(loop.Stop, "__call__", lambda self: next(stopping))
        assert here("--solver", solver, "--out", "out/trial2", "--trial", "2") == 75
    assert snapshots.iterations("out/trial2")[0] > 0
    monkeypatch.setattr(engine.TorchEngine, "steps", lambda self, n: [loss * (float("nan") if runs_second(self) else 1) for loss in steps(self, n)])
    assert here("--solver", solver, "--out", "out", "--trials", "1,2") == 1
    assert [runs.read("out/trial" + t)["state"] for t in "12"] == ["finished", "failed"]


def runs_second(trained):
    return trained.nets[0].layer[0].data_param.source.endswith("trial2")


def test_a_trial_that_explodes_leaves_the_others_alone(here, monkeypatch):
    solver, step = written(max_iter=8), trials.Trial.step
    monkeypatch.setattr(trials.Trial, "step", lambda self, n: step(self, n) * (1 if self.at else float("nan")))
    assert here("--solver", solver, "--out", "out", "--trials", "1,2") == 1
    assert runs.read("out/trial1")["state"] == "failed" and "loss is nan" in runs.read("out/trial1")["problem"]
    assert runs.read("out/trial2")["state"] == "finished" and not os.path.exists("out/trial1/final.caffemodel")


@pytest.mark.parametrize(
    "arguments, named", ((["--engine", "caffe", "--trials", "1,2"], "ENGINE=torch"), (["--trials", "1,1"], "one twice"), (["--trials", "2-x"], "no number"))
)
def test_trials_that_cannot_go_side_by_side(here, capfd, arguments, named):
    assert here("--solver", "solver.prototxt", "--out", "out", *arguments) == 1
    words = capfd.readouterr().err
    assert words.count("\n") == 1 and named in words


@pytest.mark.parametrize("trials", ("1,2,4-5", "1-3"))
def test_make_hands_over_all_trials(tmp_path, trials):
    shown = subprocess.run(
        ["make", "-n", "-o", "env", "trials-20-cifar10", "ENGINE=torch", "TRIALS=" + trials, "WORK=%s" % tmp_path],
        cwd=training_data.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    assert re.search(r"training\.run .*ferplus_finetune.* --trials '?%s'? --weights=.*init\.caffemodel" % trials, shown)
    assert shown.count("training.order") == len(run.trials(trials)) - 1


def test_a_run_that_is_stopped_before_its_first_snapshot_begins_anew(here, capsys):
    solver = training_data.write_all()
    assert here("--solver", solver, "--out", "soon", "--trial", "1", "--stop-after", "0.001") == 75
    assert "soon stopped by time limit at iteration 0 of 24: the same command begins anew" in capsys.readouterr().err
