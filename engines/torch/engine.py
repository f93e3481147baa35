"""The PyTorch engine: the same solver, net, data and snapshots as Caffe's. Interface: engines.Trainer."""

import os
import platform

import torch

from common.caffe import messages as m
from engines.torch import data, device, graph
from engines.torch import net as nets
from engines.torch import solver as solvers
from netgen import nets as net_facts

CHUNK = 100  # iterations that an accelerator is given before its loss is asked for: those between two rows of the log


def make(solver, net, folder, precision="fp32"):
    """The engine for a SolverParameter and NetParameter; `folder` is not needed. Fail on what it cannot run."""
    return TorchEngine([(solver, net)], precision)


class TorchEngine:
    """One trial, or several side by side: the same net and solver, with seeds and training parts of their own.

    `trial` counts from 0. What has no such argument is of all trials, or, as engines.Trainer has it, of the only one.
    """

    resident = None  # whether the images lie on the device; None: where it is an accelerator

    def __init__(self, trials, precision):
        """`trials`: [(SolverParameter, NetParameter)]."""
        solver, self.net = trials[0]
        self.nets = [net for _, net in trials]  # they name training parts of their own
        solvers.check(solver)
        device.keep_memory()
        device.use_cores()
        self.precision, self.test_iter = precision, solver.test_iter[0]
        self.device = device.of_solver(solver)
        on_device = self.device.type != "cpu" if self.resident is None else self.resident
        self.chunk = 1 if self.device.type == "cpu" else CHUNK
        dtype, kind = device.number_type(precision, self.device), data.Resident if on_device else data.Data
        seeds = [each.random_seed if each.random_seed >= 0 else int.from_bytes(os.urandom(4), "little") for each, _ in trials]
        self.data = {
            phase: data.Batches([kind(net_facts.data_layer(net, phase), phase, seed, self.device, dtype) for (_, net), seed in zip(trials, seeds)])
            for phase in (m.TRAIN, m.TEST)
        }
        self.train_net = nets.Net(self.net, m.TRAIN, self.data[m.TRAIN].shapes(), self.device, seeds)
        self.blobs = self.train_net.blobs
        self.test_net = nets.Net(self.net, m.TEST, self.data[m.TEST].shapes(), blobs=self.blobs)
        self.solver = solvers.Solver(solver, self.blobs)
        self.losses = torch.zeros(len(trials), device=self.device)
        self.iterate = self._iterate
        if on_device and self.device.type == "cuda":
            self.iterate = graph.Graph(self._iterate, [self.blobs.values, self.solver.history, self.losses])

    @property
    def iter(self):
        return self.solver.iter

    def step(self, n):
        return self.steps(n)[0]

    def steps(self, n):
        """Train n iterations; the mean loss of each trial."""
        self.losses.zero_()
        for _ in range(n):
            self._step()
        return [loss / n for loss in self.losses.tolist()]

    def _step(self):
        self.iterate(self.solver.rate(), self.data[m.TRAIN].draw())
        self.solver.iter += 1

    def _iterate(self, rate, drawn):
        """One iteration, with what `draw` of the data gave: changes tensors in place; adds to `losses`."""
        loss = self._loss(drawn)
        (gradient,) = torch.autograd.grad(loss.sum(), self.blobs.values)
        self.blobs.count_batch()
        self.solver.update(gradient, rate)
        self.losses += loss.detach()

    def _loss(self, drawn):
        """The loss of a training batch, to be differentiated."""
        return self.train_net.forward(self.data[m.TRAIN].make(drawn))["loss"]

    def validate(self, stopped):
        found = self.validations(stopped)
        return found and found[0]

    @torch.no_grad()
    def validations(self, stopped):
        """(accuracy, loss) of each trial; None as soon as stopped() is true."""
        sums = torch.zeros(2, len(self.losses), device=self.device)
        for _ in range(self.test_iter):
            if stopped():
                return None
            tops = self.test_net.forward(self._validation_batch())
            sums += torch.stack([tops["accuracy"], tops["loss"]])
        return [tuple(each) for each in (sums / self.test_iter).T.tolist()]

    def _validation_batch(self):
        return self.data[m.TEST].next()

    def snapshot(self, prefix, trial=0):
        solvers.save(self.blobs, self.nets[trial], prefix + ".caffemodel", trial)
        self.solver.save(prefix + ".solverstate", prefix + ".caffemodel", trial)

    def restore(self, solverstate, validations, trial=0):
        self.solver.restore(solverstate, trial)
        self.data[m.TRAIN].feeds[trial].seek(self.iter)
        self.data[m.TEST].feeds[trial].seek(validations * self.test_iter)

    def save(self, path, trial=0):
        solvers.save(self.blobs, self.nets[trial], path, trial)

    def weights(self, trial=0):
        return self.blobs.arrays(trial=trial)

    def load_weights(self, weights, trial=0):
        self.blobs.load(weights, trial=trial)

    def versions(self):
        return {
            "torch": torch.__version__,
            "device": self._device(),
            "precision": self.precision,
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
        }

    def _device(self):
        if self.device.type == "cpu":
            return "cpu " + torch.backends.cpu.get_cpu_capability()
        return "%s %s" % (self.device, torch.get_device_module(self.device).get_device_name(self.device))
