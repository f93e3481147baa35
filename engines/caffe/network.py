"""A deploy net in real Caffe, on every core.

Caffe's convolutions of these small networks gain nothing from a BLAS with many threads. Testing therefore runs one
process a core, each with one BLAS thread and a net of its own, and deals the images out to them in batches.
"""

import contextlib
import multiprocessing
import os
import tempfile
from concurrent import futures

import numpy as np

from common import parallel
from common.caffe import binary, text
from common.caffe import messages as m
from engines.caffe import load
from fer_lite import crops
from netgen import fold, nets

CROPS_AT_ONCE = 100  # crops in one forward pass: more is no faster on a CPU


class Network:
    """A net with its weights in Caffe's TEST phase: `probabilities(crops)`."""

    def __init__(self, net, model, folded=True, gpu=None):
        """`net`: deploy NetParameter; `model`: its weights (netgen.weights.load); `folded`: without BatchNorm, Scale."""
        caffe = load()
        if gpu is None:
            caffe.set_mode_cpu()
        else:
            caffe.set_device(gpu)
            caffe.set_mode_gpu()
        if folded:
            net, model = fold.fold(net, model)
        with tempfile.TemporaryDirectory() as folder:
            prototxt, caffemodel = (os.path.join(folder, name) for name in ("deploy.prototxt", "net.caffemodel"))
            text.write(prototxt, net)
            binary.write(caffemodel, model)
            self.net = caffe.Net(prototxt, caffemodel, caffe.TEST)
        self.input, self.output = net.layer[0].top[0], net.layer[-1].top[0]

    def probabilities(self, shown):
        """The softmax outputs, float32 N x classes, of N crops (float32 N x C x H x W, mean subtracted)."""
        parts = [self._forward(shown[i : i + CROPS_AT_ONCE]) for i in range(0, len(shown), CROPS_AT_ONCE)]
        return np.concatenate(parts)

    def _forward(self, shown):
        blob = self.net.blobs[self.input]
        if blob.data.shape != shown.shape:
            blob.reshape(*shown.shape)
        blob.data[...] = shown
        return self.net.forward()[self.output].reshape(len(shown), -1).copy()


@contextlib.contextmanager
def tester(net, model, mean, folded=True, workers=None, gpu=None):
    """Yield a function that takes data.Batch after data.Batch and yields (batch, (ten-crop mean, centre crop)), in order.

    Both are float32 N x classes. `workers`: processes; None is one for each core (or THREADS), 1 this process alone.
    """
    workers = 1 if gpu is not None else workers or parallel.count()
    if folded:
        net, model = fold.fold(net, model)
    set_up = (net.SerializeToString(), model.SerializeToString(), mean, gpu)
    load()  # so that a missing Caffe is said here, once
    if workers == 1:
        test = _ten_crop_test(*set_up)
        yield lambda batches: ((batch, test(batch.images)) for batch in batches)
        return
    os.environ.update(parallel.blas_threads(1))  # for the processes started below; this one's BLAS is loaded already
    spawn = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(workers, spawn, _start, set_up) as pool:
        yield lambda batches: parallel.deal(pool, _test, batches, 2 * workers)


def _ten_crop_test(net, model, mean, gpu):
    """A function: images -> (ten-crop mean, centre crop). `net` and `model` are serialized messages."""
    net, model = m.NetParameter.FromString(net), m.NetParameter.FromString(model)
    network, size = Network(net, model, False, gpu), nets.input_shape(net)[-1]
    return lambda images: crops.ten_crop_mean(network, images, mean, size)


def _start(*set_up):
    """Make this process ready for `_test`."""
    parallel.prepare_worker()
    global _test_images
    _test_images = _ten_crop_test(*set_up)


def _test(images):
    return _test_images(images)
