"""The PyTorch engine against real Caffe on the same files: layers, networks, solvers, files, ten-crop scores.

Caffe's side (tests/caffe_side.py) runs by env/run, into a folder of pytest's. Numbers are compared by the largest
difference, as a share of the largest absolute value. Both engines sum in float32 in their own order, so a layer agrees to
1e-5, and a network too. A ReLU whose input is nearly zero may go the other way, and one such unit of a small batch moves a
gradient by 1e-3; which ones do depends on the machine's BLAS. So at most FLIPPED of a network's ReLUs may, and its gradients,
small beside what they are summed from, agree to GRADIENT where every ReLU lets through what it lets through in Caffe.
A solver carries such differences on. So after 100 iterations weights agree to STEPS of the way that they have moved (a wrong rate, momentum or decay: above 0.1), or, on ResNet-20, whose steps are far
more sensitive, to NUDGED times what Caffe differs from itself when it begins with weights that differ by 1e-7.
"""

import os
import subprocess

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # tiny nets
pytestmark = pytest.mark.torch

import caffe_side
import torch.nn.functional as F

from common.caffe import binary, text
from common.caffe import messages as m
from engines.torch import data, engine
from engines.torch import net as nets
from engines.torch import solver as solvers
from netgen import nets as net_facts

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CAFFE = os.environ.get("CAFFE_RUN", os.path.join(ROOT, "env", "run")).split()
FORWARD, GRADIENT, STEPS, NUDGED = 1e-5, 1e-4, 1e-3, 3
FLIPPED = 1e-5
RUNS = [(name, "small") for name in caffe_side.SOLVERS] + [("resnet20", "resnet20")]


def caffe(*arguments):
    """Run Caffe's side; its last words where it fails."""
    ran = subprocess.run(
        CAFFE + ["python3", os.path.join(ROOT, "tests", "caffe_side.py")] + list(arguments),
        cwd=ROOT,
        env=dict(os.environ, OPENBLAS_NUM_THREADS="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert not ran.returncode, ran.stdout.decode()[-2000:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("caffe_side"))
    caffe(path)
    return path


@pytest.fixture(scope="module")
def worst():
    """Collects the largest deviation of each kind; printed at the end (pytest -s)."""
    found = {}
    yield found
    for kind, value in found.items():
        print("\n%-40s %.1e" % (kind, value), end="")


def deviation(ours, theirs):
    ours = ours.detach().numpy() if torch.is_tensor(ours) else ours
    assert ours.size == theirs.size
    return abs(ours.reshape(theirs.shape) - theirs).max() / max(abs(theirs).max(), 1e-10)


def check(worst, kind, limit, ours, theirs, what):
    found = deviation(ours, theirs)
    worst[kind] = max(worst.get(kind, 0), found)
    assert found <= limit, "%s: %s differs by %.1e" % (kind, what, found)


@pytest.mark.parametrize("phase", (m.TRAIN, m.TEST), ids=("train", "test"))
@pytest.mark.parametrize("name", caffe_side.CASES)
def test_layer(folder, worst, name, phase):
    theirs = np.load("%s_%d.npz" % (caffe_side.case_files(folder, name), phase))
    message = caffe_side.case_net(name)
    given = {top: torch.from_numpy(array) for top, array in caffe_side.inputs().items()}
    net = nets.Net(message, phase, {top: tuple(t.shape) for top, t in given.items()})
    shapes = net.blobs.shapes
    net.blobs.load({layer: [theirs["blob_%s_%d" % (layer, i)] for i in range(len(each))] for layer, each in shapes.items()})
    for top in ("a", "b", "scores"):
        given[top].requires_grad_()
    x = net.forward(given, keep=True)["x"]
    check(worst, "a layer, forward", FORWARD, x, theirs["x"], name)
    if "top_diff" in theirs:
        x.backward(torch.from_numpy(theirs["top_diff"]).to(x.dtype).reshape(x.shape))
        for key in theirs.files:
            if key[5:] in given:
                check(worst, "a layer, gradient of its bottom", FORWARD, given[key[5:]].grad, theirs[key], name)
    if shapes:
        gradient = net.blobs.values.grad
        gradients = net.blobs.split(torch.zeros_like(net.blobs.values) if gradient is None else gradient)
        learned = [layer.name for layer in message.layer if layer.name in shapes and layer.type != "BatchNorm"]
        for layer in learned:
            for i, ours in enumerate(gradients[layer]):
                check(worst, "a layer, gradient of its blobs", FORWARD, ours, theirs["diff_%s_%d" % (layer, i)], name)
        if phase == m.TRAIN:
            net.blobs.count_batch()
        for layer, blobs in net.blobs.arrays().items():
            for i, ours in enumerate(blobs):
                check(worst, "a layer, blobs after forward", FORWARD, ours, theirs["after_%s_%d" % (layer, i)], name)


def load(folder, name, phase, weights):
    """(Net, Data) of a train net of caffe_side in a phase."""
    message = text.read("%s/%s.prototxt" % (folder, name), m.NetParameter)
    feed = data.Data(net_facts.data_layer(message, phase), phase, 1)
    net = nets.Net(message, phase, feed.shapes())
    solvers.load(net.blobs, weights)
    return net, feed


def open_as_in_caffe(worst, name, net, tops, theirs):
    """Make every ReLU of `net` let through what Caffe's lets through; few may differ by themselves."""
    flipped, units = 0, 0
    for i, step in enumerate(net.steps):
        if step.forward in (F.relu, F.relu_):
            is_open = torch.from_numpy(theirs["top_" + step.top] > 0)
            flipped += int(((tops[step.top] > 0) != is_open).sum())
            units += is_open.numel()
            net.steps[i] = step._replace(forward=is_open.mul)
    assert units
    worst[name + ", ReLUs the other way"] = flipped / units
    assert flipped <= max(1, FLIPPED * units)


@pytest.mark.parametrize("phase", (m.TRAIN, m.TEST), ids=("train", "test"))
@pytest.mark.parametrize("name", caffe_side.NETS)
def test_network(folder, worst, name, phase):
    theirs = np.load("%s/%s_%d.npz" % (folder, name, phase))
    net, feed = load(folder, name, phase, "%s/%s.caffemodel" % (folder, name))
    feed.seek(3 if phase == m.TRAIN else 0)
    batch = feed.next()
    assert np.array_equal(batch["data"].numpy(), theirs["top_data"]), "the Data layer's own arrays must be equal"
    assert np.array_equal(batch["label"].numpy(), theirs["top_label"])
    tops = net.forward(batch, keep=True)
    compared = [top for top in tops if "top_" + top in theirs]
    assert len(compared) == len(tops)
    for top in compared:
        check(worst, "%s, forward" % name, FORWARD, tops[top], theirs["top_" + top], top)
    if phase == m.TRAIN:
        open_as_in_caffe(worst, name, net, tops, theirs)
        net.forward(batch)["loss"].backward()
        gradients = net.blobs.split(net.blobs.values.grad)
        for layer, each in gradients.items():
            if not layer.endswith("_down"):  # lr_mult: 0, for which Caffe computes none
                for i, ours in enumerate(each):
                    check(worst, "%s, gradients" % name, GRADIENT, ours, theirs["diff_%s_%d" % (layer, i)], layer)


def test_what_nothing_learns_starts_as_in_caffe(folder):
    theirs = binary.layers(binary.read(folder + "/resnet8_branches_fresh.caffemodel", m.NetParameter))
    ours = nets.Net(
        text.read(folder + "/resnet8_branches.prototxt", m.NetParameter), m.TRAIN, {"data": (caffe_side.BATCH, 3, 32, 32), "label": (caffe_side.BATCH,)}
    )
    for name in ("group1_block0_down", "group2_block0_down"):
        (kernel,) = theirs[name]
        np.testing.assert_array_equal(ours.blobs.arrays()[name][0], kernel)
        np.testing.assert_allclose(kernel[0, 0], np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16)


def make_engine(folder, name):
    solver = text.read(caffe_side.case_files(folder, name) + "_solver.prototxt", m.SolverParameter)
    return engine.make(solver, text.read(solver.net, m.NetParameter), None)


def compare_states(worst, kind, made, path, fresh, nudged):
    """Weights, BatchNorm's blobs and history of an engine against a snapshot of Caffe, as shares of what they moved."""
    theirs, before, other = (binary.layers(binary.read(p + ".caffemodel", m.NetParameter)) for p in (path, fresh, nudged))
    for norm, what in ((False, "weights"), (True, "BatchNorm")):
        sets = [[b for layer in theirs if layer.endswith("bn") == norm for b in each[layer]] for each in (made.weights(), other, before, theirs)]
        found, own, moved = (length(each, sets[3]) for each in sets[:3])
        found, own = found / moved, own / moved
        label = "%s, %s (Caffe nudged %.1e)" % (kind, what, own)
        worst[label] = found
        assert found <= max(STEPS, NUDGED * own), label + " %.1e" % found
    if os.path.exists(path + ".solverstate"):
        ours = [blob for blobs in made.blobs.arrays(made.solver.history).values() for blob in blobs]
        theirs, other = (history(p + ".solverstate") for p in (path, nudged))
        found, own = length(ours, theirs) / length(theirs), length(other, theirs) / length(theirs)
        label = "%s, history (Caffe nudged %.1e)" % (kind, own)
        worst[label] = found
        assert found <= max(STEPS, NUDGED * own), label + " %.1e" % found


def history(path):
    return [binary.blob_to_array(blob) for blob in binary.read(path, m.SolverState).history]


def length(blobs, others=None):
    """Of the difference of two lists of arrays, or of one list."""
    return np.sqrt(sum(((a - b) ** 2).sum(dtype=float) for a, b in zip(blobs, others or [0] * len(blobs))))


@pytest.mark.parametrize("name, net", RUNS)
def test_hundred_iterations(folder, worst, name, net):
    path, fresh = caffe_side.case_files(folder, name), "%s/%s_fresh" % (folder, net)
    made = make_engine(folder, name)
    solvers.load(made.blobs, fresh + ".caffemodel")
    losses = [made.step(1) for _ in range(caffe_side.ITERATIONS)]
    check(worst, name + ", losses", 10 * STEPS, np.array(losses), np.load(path + "_losses.npy"), "a loss")
    compare_states(worst, name + ", 100 iterations", made, "%s_iter_%d" % (path, caffe_side.ITERATIONS), fresh, path + "_nudged")


@pytest.mark.parametrize("name, net", RUNS)
def test_a_run_of_caffe_continues_here(folder, worst, name, net):
    path, fresh = caffe_side.case_files(folder, name), "%s/%s_fresh" % (folder, net)
    made = make_engine(folder, name)
    made.restore("%s_iter_%d.solverstate" % (path, caffe_side.HALF), 0)
    assert made.iter == caffe_side.HALF
    made.snapshot(path + "_again")
    again, theirs = (binary.read(p, m.SolverState) for p in (path + "_again.solverstate", "%s_iter_%d.solverstate" % (path, caffe_side.HALF)))
    again.learned_net = theirs.learned_net
    assert again == theirs, "what goes in comes out"
    made.step(caffe_side.ITERATIONS - caffe_side.HALF)
    compare_states(worst, name + ", continued from Caffe", made, "%s_iter_%d" % (path, caffe_side.ITERATIONS), fresh, path + "_nudged")


def test_a_run_of_ours_continues_in_caffe(folder, worst):
    path, fresh = caffe_side.case_files(folder, "nesterov multistep"), folder + "/small_fresh"
    made = make_engine(folder, "nesterov multistep")
    solvers.load(made.blobs, fresh + ".caffemodel")
    made.step(caffe_side.HALF)
    made.snapshot(path + "_torch")
    caffe(folder, "--continue")
    made.step(caffe_side.ITERATIONS - caffe_side.HALF)
    compare_states(worst, "continued in Caffe", made, path + "_continued", fresh, path + "_nudged")


def test_ten_crop_scores(folder, worst, tmp_path):
    from common import scores
    from evaluation import test

    tested = folder + "/tested"
    test.run(tested + "/resnet20_ferplus_8_deploy.prototxt", tested + "/resnet20_ferplus_8.caffemodel", tested, "valid", str(tmp_path), engine="torch")
    ours, theirs = (scores.read(os.path.join(str(where), "scores_valid.npz")) for where in (tmp_path, tested))
    for name in ("probabilities", "one_crop"):
        difference = abs(getattr(ours, name) - getattr(theirs, name)).max()
        worst["ten-crop scores"] = max(worst.get("ten-crop scores", 0), difference)
        assert difference <= 1e-4
