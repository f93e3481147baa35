"""A deploy net in PyTorch, for evaluation/test.py: the interface of engines/caffe/network.py.

On a CPU one thread a core tests images of its own: threads that share each small convolution would mostly wait for another.
"""

import contextlib
from concurrent import futures

import numpy as np
import torch

from common import parallel
from common.caffe import binary
from common.caffe import messages as m
from engines.torch import device as devices
from engines.torch import net as nets
from fer_lite import crops
from netgen import fold
from netgen import nets as net_facts

CROPS_AT_ONCE = {"cpu": 100}  # in one forward pass; more is no faster on a CPU ...
CROPS_ON_GPU = 2000  # ... and keeps a GPU busy


class TorchNetwork:
    """A net with its weights in the TEST phase: `probabilities(crops)`."""

    def __init__(self, net, model, folded=True, gpu=None, precision="fp32"):
        """Arguments as those of engines.caffe.network.Network; `precision`: engines.torch.device.PRECISIONS."""
        devices.keep_memory()
        if folded:
            net, model = fold.fold(net, model)
        self.device = devices.find(gpu)
        self.dtype = devices.number_type(precision, self.device)
        self.at_once = CROPS_AT_ONCE.get(self.device.type, CROPS_ON_GPU)
        self.input, self.output = net.layer[0].top[0], net.layer[-1].top[0]
        self.net = nets.Net(net, m.TEST, {self.input: (1,) + net_facts.input_shape(net)}, self.device)
        self.net.blobs.load(binary.layers(model))

    @torch.inference_mode()
    def probabilities(self, shown):
        """The softmax outputs, float32 N x classes, of N crops (float32 N x C x H x W, mean subtracted)."""
        return np.concatenate([self._forward(shown[i : i + self.at_once]) for i in range(0, len(shown), self.at_once)])

    def _forward(self, shown):
        given = devices.to_device(shown, self.device).to(self.dtype, memory_format=torch.channels_last)
        return self.net.forward({self.input: given})[self.output].flatten(1).cpu().numpy()


@contextlib.contextmanager
def tester(net, model, mean, folded=True, workers=None, gpu=None, precision="fp32"):
    """As engines.caffe.network.tester; `workers`: threads, 1 on a GPU."""
    network, size = TorchNetwork(net, model, folded, gpu, precision), net_facts.input_shape(net)[-1]
    workers = 1 if gpu is not None else workers or parallel.count()
    with futures.ThreadPoolExecutor(workers, initializer=lambda: torch.set_num_threads(1)) as pool:
        yield lambda batches: parallel.deal(pool, lambda images: crops.ten_crop_mean(network, images, mean, size), batches, 2 * workers)
