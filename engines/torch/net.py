"""A prototxt as a program: the layers of one phase called in order, BatchNorm and Scale as one call, ReLU in place.

All blobs of a net lie in one flat tensor, so that one gradient and a few calls a step serve them all. Activations are
channels-last, which PyTorch's kernels prefer; blobs have Caffe's order.
"""

import math
from collections import OrderedDict, namedtuple
from itertools import compress

import numpy as np
import torch
import torch.nn.functional as F

from common import errors
from common.caffe import messages as m
from engines.torch import fillers, layers

# takes: layers whose blobs go in; batch: whether BatchNorm's are this batch's; done: tops that no later step reads.
Step = namedtuple("Step", "forward bottoms top takes batch done")
SOURCES = ("Data", "Input")
ALIGNED = 4  # numbers: cuDNN reads 16 bytes at once, and BatchNorm's factor is one number


def phase_layers(net, phase):
    """The layers of a NetParameter that exist in a phase, m.TRAIN or m.TEST. Fail on fields that are not known."""
    layers.refuse_fields(net, {"name", "layer"}, "net %s" % net.name)
    return [layer for layer in net.layer if not layer.include or any(rule.phase == phase for rule in layer.include)]


class Blobs:
    """Every blob of a net, of each trial, in one flat float32 tensor `values`, in Caffe's order of layers and blobs.

    Each begins at a multiple of ALIGNED. Of the same length: `rates`, `decays` (lr_mult, decay_mult; rates are 0 where nothing is learned), `fractions` and
    `batch` for BatchNorm's three: after a TRAIN forward they become fraction * old + batch, all others stay.
    """

    def __init__(self, specifications, device, seeds):
        """`specifications`: [(LayerParameter, [(shape, FillerParameter)])] of the layers that have blobs; `seeds`: of each trial."""
        self.trials = len(seeds)
        self.shapes = OrderedDict((layer.name, [shape for shape, _ in blobs]) for layer, blobs in specifications)
        columns = [np.empty((5, 0), np.float32)]
        for number, (layer, blobs) in enumerate(specifications):
            draws = [np.random.Generator(np.random.Philox(key=[seed, number])) for seed in seeds]
            for i, (shape, filler) in enumerate(blobs):
                first = np.concatenate([fillers.fill(shape, filler, draw, "layer " + layer.name).ravel() for draw in draws])
                columns.append(np.stack([first] + [np.full(first.shape, x, np.float32) for x in _rules(layer, i)]))
                columns.append(np.zeros((5, -first.size % ALIGNED), np.float32))
        sizes = [self.trials * math.prod(shape) for shapes in self.shapes.values() for shape in shapes]
        # Numbers in each piece of a flat tensor, and whether it is a blob or what lies between two.
        self.lengths = [n for size in sizes for n in (size, -size % ALIGNED) if n]
        self.is_blob = [blob for size in sizes for blob in (True, False) if blob or -size % ALIGNED]
        table = torch.from_numpy(np.concatenate(columns, axis=1)).to(device)
        self.values, self.rates, self.decays, self.fractions, self.batch = (row.clone() for row in table)
        self.values.requires_grad_()

    def split(self, flat):
        """Layer name -> [views of `flat` (such as self.values), each trials x its blob's shape]."""
        parts = compress(flat.split(self.lengths), self.is_blob)
        return {name: [next(parts).view(self.trials, *shape) for shape in shapes] for name, shapes in self.shapes.items()}

    @torch.no_grad()
    def count_batch(self):
        """BatchNorm's bookkeeping after a TRAIN forward."""
        self.values.mul_(self.fractions).add_(self.batch)

    def arrays(self, flat=None, trial=0):
        """Layer name -> [float32 ndarrays], copies, of one trial (counted from 0), of `values` or of another flat tensor."""
        flat = (self.values if flat is None else flat).detach().cpu().clone()
        return OrderedDict((name, [blob[trial].numpy() for blob in blobs]) for name, blobs in self.split(flat).items())

    @torch.no_grad()
    def load(self, arrays, flat=None, trial=0):
        """Set the blobs of the layers named, of one trial. Fail where one is not of this net."""
        views = self.split((self.values if flat is None else flat).detach())
        for name, given in arrays.items():
            if [a.shape for a in given] != self.shapes.get(name):
                raise errors.Fail(
                    "layer %s has blobs of %s, this net wants %s: it is another network's file" % (name, [a.shape for a in given], self.shapes.get(name))
                )
            for view, array in zip(views[name], given):
                view[trial].copy_(torch.from_numpy(array))


def _rules(layer, i):
    """lr_mult, decay_mult, fraction and batch (as in Blobs) of blob `i` of a layer."""
    how = layer.param[i] if i < len(layer.param) else m.ParamSpec()
    if layer.type != "BatchNorm":
        return how.lr_mult, how.decay_mult, 1, 0
    layers.demand(layer, i >= len(layer.param) or how.lr_mult == 0, "lr_mult: 0 for its blobs")
    if layers.stored_statistics(layer, m.TRAIN):
        return 0, 0, 1, 0
    return 0, 0, layer.batch_norm_param.moving_average_fraction, float(i == 2)


class Net:
    """The layers of one phase of a NetParameter, to be called."""

    def __init__(self, net, phase, shapes, device=torch.device("cpu"), seeds=(0,), blobs=None):
        """`shapes`: top -> shape for one trial, of Data or Input layers; `blobs`: those of the other phase's Net, to share."""
        self.phase = phase
        found = [layer for layer in phase_layers(net, phase) if layer.type not in SOURCES]
        built = self._build(found, dict(shapes))
        self.blobs = blobs or Blobs([(layer, b.blobs) for layer, b in zip(found, built) if b.blobs], device, seeds)
        for layer in found:
            layers.demand(layer, self.blobs.trials == 1 or layer.type not in layers.ALONE, "one trial at a time (leave TRIALS out)")
        self.norms = [layer.name for layer in found if _of_batch(layer, phase)]
        self.steps = _program(found, built, phase)

    def _build(self, found, shapes):
        """A layers.Layer for each. Shapes come from calling them on PyTorch's meta device, which computes nothing."""
        built = []
        for layer in found:
            layers.demand(layer, len(layer.top) == 1, "one top")
            missing = [name for name in layer.bottom if name not in shapes]
            if missing:
                raise errors.Fail("layer %s: no layer before it makes its bottom %s" % (layer.name, missing[0]))
            bottoms = [shapes[name] for name in layer.bottom]
            built.append(layers.build(layer, bottoms, self.phase))
            given = [torch.empty(1, *shape, device="meta") for shape, _ in built[-1].blobs]
            if _of_batch(layer, self.phase):
                given.pop()
            # A shape of one number is that of labels, which are integers.
            given = [torch.empty(b, device="meta", dtype=torch.float32 if len(b) > 1 else torch.int64) for b in bottoms] + given
            shapes[layer.top[0]] = tuple(built[-1].forward(*given).shape)
        return built

    @torch.no_grad()
    def renew_statistics(self, batches):
        """Make BatchNorm's running statistics anew, with the weights as they are. `batches`: inputs of `forward`, of a TRAIN net."""
        blobs = self.blobs.split(self.blobs.values.detach())
        for name in self.norms:
            for blob in blobs[name]:
                blob.zero_()
        for inputs in batches:
            self.forward(inputs)
            self.blobs.count_batch()

    def forward(self, inputs, keep=False):
        """Run on `inputs` (top -> tensor): top -> tensor, of the tops that no layer reads, or of all with `keep`.

        A TRAIN forward leaves BatchNorm's bookkeeping to blobs.count_batch().
        """
        tops, blobs = dict(inputs), self.blobs.split(self.blobs.values)
        batch = self.blobs.split(self.blobs.batch)
        for step in self.steps:
            given = [tops[name] for name in step.bottoms]
            for name in step.takes:
                given += batch[name][:2] if step.batch and name == step.takes[0] else blobs[name]
            tops[step.top] = step.forward(*given)
            if not keep:
                for name in step.done:
                    del tops[name]
        return tops


def _of_batch(layer, phase):
    return layer.type == "BatchNorm" and not layers.stored_statistics(layer, phase)


def _program(found, built, phase):
    """The Steps: a BatchNorm takes in the Scale behind it, a ReLU is in place where only it reads what it overwrites."""
    steps, i = [], 0
    while i < len(found):
        layer, forward = found[i], built[i].forward
        takes = [layer.name] if built[i].blobs else []
        if layer.type == "BatchNorm" and i + 1 < len(found) and _scales(found[i + 1], layer):
            i += 1
            takes.append(found[i].name)
        elif layer.type == "ReLU" and forward is F.relu and steps and steps[-1].top == layer.bottom[0] == layer.top[0]:
            forward = F.relu_
        steps.append(Step(forward, list(layer.bottom), layer.top[0], takes, _of_batch(layer, phase), []))
        i += 1
    for name in {name for step in steps for name in step.bottoms}:
        last = max(i for i, step in enumerate(steps) if name in step.bottoms)
        if steps[last].top != name:
            steps[last].done.append(name)
    return steps


def _scales(layer, norm):
    """Whether `layer` is a Scale in place on the top of `norm`."""
    return layer.type == "Scale" and layer.scale_param.bias_term and list(layer.bottom) == list(layer.top) == list(norm.top)
