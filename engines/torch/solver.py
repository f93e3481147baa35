"""Caffe's SGD and Nesterov solvers, and their files: caffemodel and solverstate, in and out.

Caffe's history holds the rate: history = rate * gradient + momentum * history. When the rate drops, what was gathered
at the old rate goes on at its old size, unlike in PyTorch's own optimisers.
"""

import torch

from common import errors
from common.caffe import binary
from common.caffe import messages as m
from engines.torch import layers
from engines.torch import net as nets
from netgen import solver as schedule

KNOWN = {
    "net",
    "type",
    "base_lr",
    "lr_policy",
    "gamma",
    "power",
    "stepsize",
    "stepvalue",
    "max_iter",
    "momentum",
    "weight_decay",
    "regularization_type",
    "iter_size",
    "random_seed",
    "solver_mode",
    "device_id",
    "snapshot",
    "snapshot_prefix",
    "weights",
    "test_iter",
    "test_interval",
    "test_initialization",
    "display",
    "average_loss",
    "snapshot_after_train",
}
ONLY = {"type": ("SGD", "Nesterov"), "lr_policy": ("fixed", "step", "multistep", "poly"), "regularization_type": ("L2",), "iter_size": (1,)}


def check(solver):
    """Fail, by name, on what this engine does not know of a SolverParameter."""
    layers.refuse_fields(solver, KNOWN, "solver")
    for name, values in ONLY.items():
        if getattr(solver, name) not in values:
            raise errors.Fail("solver: the PyTorch engine knows no %s %s (it knows %s)" % (name, getattr(solver, name), ", ".join(map(str, values))))


class Solver:
    """Steps the flat `values` of a net's Blobs. `iter`: iterations done; `history`: flat, as in Caffe."""

    def __init__(self, solver, blobs):
        check(solver)
        self.solver, self.blobs, self.iter = solver, blobs, 0
        self.history = torch.zeros_like(blobs.values)
        self.kept = [self.history]  # what a solverstate holds, one behind the other
        self.decay = solver.weight_decay * blobs.decays

    @torch.no_grad()
    def update(self, gradient, rate):
        """Step with the loss's gradient (flat), which is overwritten. `rate`: a number; in a CUDA graph a tensor, whose value is read there."""
        values, history, momentum = self.blobs.values, self.history, self.solver.momentum
        gradient.addcmul_(self.decay, values).mul_(self.blobs.rates)
        if self.solver.type == "Nesterov":
            values.add_(history, alpha=momentum)
        history.mul_(momentum)
        if torch.is_tensor(rate):
            history.addcmul_(gradient, rate)
        else:
            history.add_(gradient, alpha=rate)
        values.sub_(history, alpha=1 + momentum if self.solver.type == "Nesterov" else 1)

    def rate(self):
        """The learning rate of the next iteration."""
        return schedule.rate(self.solver, self.iter)

    def save(self, path, learned_net, trial=0):
        """Write the solverstate that belongs to the caffemodel `learned_net`."""
        history = [binary.array_to_blob(a) for flat in self.kept for blobs in self.blobs.arrays(flat, trial).values() for a in blobs]
        binary.write(path, m.SolverState(iter=self.iter, learned_net=learned_net, current_step=_step(self.solver, self.iter), history=history))

    def restore(self, path, trial=0):
        """Continue from the solverstate at `path` and the caffemodel that it names. Fail where they are of another net."""
        state = binary.read(path, m.SolverState)
        arrays = iter([binary.blob_to_array(b) for b in state.history])
        shapes = [shape for each in self.blobs.shapes.values() for shape in each] * len(self.kept)
        if [tuple(b.shape.dim) for b in state.history] != shapes:
            raise errors.Fail(
                "%s is of another net or solver type: its history has %d blobs of other shapes than this net's %d" % (path, len(state.history), len(shapes))
            )
        for flat in self.kept:
            self.blobs.load({name: [next(arrays) for _ in each] for name, each in self.blobs.shapes.items()}, flat, trial)
        load(self.blobs, state.learned_net, trial)
        self.iter = state.iter


def _step(solver, iterations):
    """Caffe's current_step after so many iterations: how many times the rate has dropped."""
    last = max(0, iterations - 1)
    if solver.lr_policy == "step":
        return last // solver.stepsize
    return sum(last >= value for value in solver.stepvalue) if solver.lr_policy == "multistep" else 0


def load(blobs, path, trial=0):
    """Set every blob of a trial from the caffemodel at `path`. Fail where it is damaged or of another net."""
    found = binary.layers(binary.read(path, m.NetParameter))
    missing = [name for name in blobs.shapes if name not in found]
    if missing:
        raise errors.Fail("%s is of another network: it has no blobs for %d layers (%s first)" % (path, len(missing), missing[0]))
    blobs.load({name: found[name] for name in blobs.shapes}, trial=trial)


def save(blobs, net, path, trial=0):
    """Write the caffemodel of NetParameter `net` to `path`, with the layers of the TRAIN phase, as Caffe does."""
    model, arrays = m.NetParameter(name=net.name), blobs.arrays(trial=trial)
    for layer in nets.phase_layers(net, m.TRAIN):
        model.layer.add().CopyFrom(layer)
        model.layer[-1].blobs.extend(binary.array_to_blob(a) for a in arrays.get(layer.name, []))
    binary.write(path, model)
