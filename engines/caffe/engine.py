"""The Caffe engine: a solver driven through pycaffe.
Losses and weights equal those of the stock `caffe train` on the same solver. Validation is ours, because a solver that
tests by itself keeps the results to itself; it draws no random number (only the TRAIN phase crops at random).
"""

import math
import os
import re
import subprocess
import sys
from collections import OrderedDict

import numpy as np

from common import errors, parallel
from common.caffe import lmdbs, text
from common.caffe import messages as m
from engines import doctor
from engines.caffe import load
from netgen import nets

NEVER = 2**31 - 1  # an interval that no run reaches


def make(solver, net, folder):
    """The engine for `solver`; `folder` takes the solver as Caffe is to see it. Fail on a Caffe that computes wrong."""
    _require(solver)
    return CaffeEngine(solver, net, folder)


def _require(solver):
    load()
    doctor.check()
    if solver.solver_mode == m.SolverParameter.GPU:
        _require_gpu(solver.device_id)


def _require_gpu(device):
    """A CPU build aborts the process when it is asked for a GPU, so another process asks first."""
    probe = "import caffe; caffe.set_device(%d); caffe.set_mode_gpu(); caffe.Layer" % device
    if subprocess.run([sys.executable, "-c", probe], stderr=subprocess.DEVNULL).returncode:
        raise errors.Fail("this Caffe has no GPU %d (Debian's and conda-forge's are built for the CPU): leave GPU out" % device)


class CaffeEngine:
    chunk = 1  # Ctrl-C and NaN are seen after each iteration; the call costs microseconds

    def __init__(self, solver, net, folder):
        caffe = load()

        gpu = solver.solver_mode == m.SolverParameter.GPU
        if gpu:
            caffe.set_device(solver.device_id)
        (caffe.set_mode_gpu if gpu else caffe.set_mode_cpu)()
        quiet = m.SolverParameter()
        quiet.CopyFrom(solver)
        # What the loop does itself; weights are transplanted with a check.
        quiet.display = quiet.snapshot = 0
        quiet.test_interval, quiet.test_initialization = NEVER, False
        quiet.snapshot_prefix = os.path.join(folder, "caffe")
        quiet.ClearField("weights")
        self.folder, self.test_iter = folder, solver.test_iter[0]
        self.test_layer = nets.data_layer(net, m.TEST).data_param
        path = os.path.join(folder, "solver.prototxt")
        text.write(path, quiet)
        self.solver = caffe.get_solver(path)
        self.net, self.test_net = self.solver.net, self.solver.test_nets[0]

    @property
    def iter(self):
        return self.solver.iter

    def step(self, n):
        losses = []
        for _ in range(n):
            self.solver.step(1)
            losses.append(float(self.net.blobs["loss"].data))
        return sum(losses) / n

    def validate(self, stopped):
        self.test_net.share_with(self.net)
        sums = np.zeros(2)
        for _ in range(self.test_iter):
            if stopped():
                return None
            tops = self.test_net.forward()
            sums += float(tops["accuracy"]), float(tops["loss"])
        return tuple(sums / self.test_iter)

    def snapshot(self, prefix):
        self.solver.snapshot()
        written = os.path.join(self.folder, "caffe_iter_%d" % self.iter)
        for ending in (".caffemodel", ".solverstate"):
            os.replace(written + ending, prefix + ending)

    def restore(self, solverstate, validations):
        """Caffe restores weights, history and iteration; the Data layer's place in the LMDB and its stream of random
        crops follow from running that layer alone for the iterations done (some 250,000 images a second)."""
        self.solver.restore(solverstate)
        for _ in range(self.iter):
            self.net._forward(0, 0)
        images = lmdbs.count(self.test_layer.source)
        once_around = images // math.gcd(images, self.test_layer.batch_size)
        for _ in range(validations * self.test_iter % once_around):
            self.test_net._forward(0, 0)

    def save(self, path):
        self.net.save(path)

    def weights(self):
        return OrderedDict((name, [blob.data.copy() for blob in blobs]) for name, blobs in self.net.params.items())

    def load_weights(self, weights):
        for name, blobs in weights.items():
            for blob, array in zip(self.net.params[name], blobs):
                blob.data[...] = array

    def versions(self):
        caffe = load()

        return {
            "caffe": caffe.__version__,
            "caffe_from": os.path.dirname(caffe.__file__),
            "blas": _blas(),
            "numpy": np.__version__,
            "python": sys.version.split()[0],
            "blas_settings": parallel.blas_settings(),
        }


def _blas():
    """The BLAS libraries in this process, links resolved: Caffe's and NumPy's."""
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if ".so" in line}
    return sorted(p for p in map(os.path.realpath, paths) if re.match(r"lib\w*(blas|blis|atlas|mkl)", os.path.basename(p)))
