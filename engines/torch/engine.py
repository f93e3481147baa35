"""The PyTorch engine: the same solver, net, data and snapshots as Caffe's. Interface: training/__init__.py."""
import os
import platform

import torch

from common.caffe import messages as m
from engines.torch import data, device
from engines.torch import net as nets
from engines.torch import solver as solvers
from netgen import nets as net_facts

CHUNK = 20  # iterations that an accelerator is given before its loss is asked for


def make(solver, net, folder, precision="fp32"):
    """The engine for a SolverParameter and NetParameter; `folder` is not needed. Fail on what it cannot run."""
    return TorchEngine(solver, net, precision)


class TorchEngine:
    def __init__(self, solver, net, precision):
        solvers.check(solver)
        device.keep_memory()
        device.use_cores()
        self.net, self.precision, self.test_iter = net, precision, solver.test_iter[0]
        self.device = device.of_solver(solver)
        self.chunk = 1 if self.device.type == "cpu" else CHUNK
        dtype = device.number_type(precision, self.device)
        seed = solver.random_seed if solver.random_seed >= 0 else int.from_bytes(os.urandom(4), "little")
        self.data = {phase: data.Data(net_facts.data_layer(net, phase), phase, seed, self.device, dtype) for phase in (m.TRAIN, m.TEST)}
        self.train_net = nets.Net(net, m.TRAIN, self.data[m.TRAIN].shapes(), self.device, seed)
        self.blobs = self.train_net.blobs
        self.test_net = nets.Net(net, m.TEST, self.data[m.TEST].shapes(), blobs=self.blobs)
        self.solver = solvers.Solver(solver, self.blobs)

    @property
    def iter(self):
        return self.solver.iter

    def step(self, n):
        losses = torch.zeros((), device=self.device)
        for _ in range(n):
            losses += self._iterate()
        return losses.item() / n

    def _iterate(self):
        """One iteration; its loss, a tensor."""
        loss = self._loss()
        gradient, = torch.autograd.grad(loss, self.blobs.values)
        self.blobs.count_batch()
        self.solver.step(gradient)
        return loss.detach()

    def _loss(self):
        """The loss of the next training batch, to be differentiated."""
        return self.train_net.forward(self.data[m.TRAIN].next())["loss"]

    @torch.no_grad()
    def validate(self, stopped):
        sums = torch.zeros(2, device=self.device)
        for _ in range(self.test_iter):
            if stopped():
                return None
            tops = self.test_net.forward(self._validation_batch())
            sums += torch.stack([tops["accuracy"], tops["loss"]])
        return tuple((sums / self.test_iter).tolist())

    def _validation_batch(self):
        return self.data[m.TEST].next()

    def snapshot(self, prefix):
        solvers.save(self.blobs, self.net, prefix + ".caffemodel")
        self.solver.save(prefix + ".solverstate", prefix + ".caffemodel")

    def restore(self, solverstate, validations):
        self.solver.restore(solverstate)
        self.data[m.TRAIN].seek(self.iter)
        self.data[m.TEST].seek(validations * self.test_iter)

    def save(self, path):
        solvers.save(self.blobs, self.net, path)

    def weights(self):
        return self.blobs.arrays()

    def load_weights(self, weights):
        self.blobs.load(weights)

    def versions(self):
        return {"torch": torch.__version__, "device": self._device(), "precision": self.precision,
                "python": platform.python_version(), "threads": torch.get_num_threads(), "cores": os.cpu_count()}

    def _device(self):
        if self.device.type == "cpu":
            return "cpu " + torch.backends.cpu.get_cpu_capability()
        return "%s %s" % (self.device, torch.get_device_module(self.device).get_device_name(self.device))
