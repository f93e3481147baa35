"""On an NVIDIA card (`make test-gpu`, `pytest -m gpu`): what the PyTorch engine computes there, beside itself on the CPU, which
tests/test_torch_parity.py holds against Caffe. TF32 is off in fp32.

Differences are the largest, as a share of the largest absolute value. A layer agrees to LAYER. Ten iterations carry differences
on (a ReLU whose input is nearly zero may go the other way), so their losses agree to LOSSES, and so do those of trials side by
side. With bf16 the loss, averaged over 50 iterations, stays within BF16 of fp32's.

GPU_TESTS_ON=cpu runs all of it on CPU tensors, to know that it runs where there is no card.
"""

import os

import numpy as np
import pytest
import torch

pytestmark = [pytest.mark.torch, pytest.mark.gpu]

import caffe_side
import training_data

from common import errors
from common.caffe import messages as m
from common.caffe import text
from engines.torch import engine, layers, trials
from engines.torch import net as nets

LAYER, LOSSES, BF16 = 1e-5, 1e-3, 0.05
DEVICE = torch.device(os.environ.get("GPU_TESTS_ON", "cuda"))
BLOCK = 50 if DEVICE.type == "cuda" else 2


def of_layer(name, phase, device):
    """One forward and backward of a case of caffe_side on a device: {what: array}."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    given = {top: torch.from_numpy(array).to(device) for top, array in caffe_side.inputs().items()}
    net = nets.Net(caffe_side.case_net(name), phase, {top: tuple(t.shape) for top, t in given.items()}, device)
    with torch.no_grad():
        net.blobs.values.copy_(torch.linspace(0.1, 1, net.blobs.values.numel()))
    for top in ("a", "b", "scores"):
        given[top].requires_grad_()
    x = net.forward(given, keep=True)["x"]
    found = {"x": x, "batch": net.blobs.batch}
    if x.requires_grad and x.dtype.is_floating_point:
        wanted = [given[top] for top in ("a", "b", "scores")] + [net.blobs.values]
        way = torch.linspace(-1, 1, x.numel()).to(x).view(x.shape)
        found.update(enumerate(torch.autograd.grad((x * way).sum(), wanted, allow_unused=True)))
    return {what: value.detach().cpu().numpy() for what, value in found.items() if value is not None}


@pytest.mark.parametrize("phase", (m.TRAIN, m.TEST), ids=("train", "test"))
@pytest.mark.parametrize("name", caffe_side.CASES)
def test_layer(name, phase):
    ours, theirs = (of_layer(name, phase, torch.device(device)) for device in (DEVICE, "cpu"))
    assert set(ours) == set(theirs)
    for what in theirs:
        assert theirs[what].size == 0 or abs(ours[what] - theirs[what]).max() <= LAYER * max(abs(theirs[what]).max(), 1e-3), what


def test_every_layer_type_has_a_case():
    assert set(layers.TYPES) == {layer.type for name in caffe_side.CASES for layer in caffe_side.case_net(name).layer}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A function that makes an engine for ResNet-DEPTH on drawn images, in the current folder."""
    monkeypatch.chdir(tmp_path)

    def one(depth=20, device=DEVICE, precision="fp32", seeds=(1,)):
        solver = text.read(training_data.write_all("depth%d" % depth, depth=depth, rate=0.002, max_iter=1000), m.SolverParameter)
        if device.type == "cuda":
            solver.solver_mode = m.SolverParameter.GPU
        runs = [(m.SolverParameter.FromString(solver.SerializeToString()), text.read(solver.net, m.NetParameter)) for _ in seeds]
        for (solver, _), seed in zip(runs, seeds):
            solver.random_seed = seed
        monkeypatch.setattr(engine.TorchEngine, "resident", True)
        return engine.TorchEngine(runs, precision)

    return one


@pytest.mark.parametrize("depth", (20, 32))
def test_ten_iterations(made, depth):
    ours, theirs = ([run.step(1) for _ in range(10)] for run in (made(depth), made(depth, torch.device("cpu"))))
    np.testing.assert_allclose(ours, theirs, rtol=LOSSES)


def test_bf16_stays_beside_fp32(made):
    try:
        rounded = made(precision="bf16")
    except errors.Fail as refusal:
        pytest.skip(str(refusal))
    exact = made()
    np.testing.assert_allclose(*([run.step(BLOCK) for _ in range(4)] for run in (rounded, exact)), rtol=BF16)


def test_the_same_bytes_again_and_after_a_resume(made):
    whole, cut = made(), made()
    losses = [whole.step(3) for _ in range(4)]
    assert [cut.step(3) for _ in range(2)] == losses[:2]
    cut.snapshot("half")
    again = made()
    again.restore("half.solverstate", 0)
    assert [again.step(3) for _ in range(2)] == losses[2:]


def test_trials_side_by_side(made):
    shared = made(seeds=(1, 2))
    losses = [shared.steps(1) for _ in range(10)]
    alone = [made(seeds=(seed,)) for seed in (1, 2)]
    np.testing.assert_allclose(losses, [[run.step(1) for run in alone] for _ in range(10)], rtol=LOSSES)
    found = [trials.Trial(shared, at).validate(lambda: False) for at in (0, 1)]
    np.testing.assert_allclose(found, [run.validate(lambda: False) for run in alone], rtol=LOSSES, atol=0.1)
