"""Training on FER+'s votes by a recipe of paper/recipe.py: the same nets, solver, files and loop, other data and another loss.

The targets are the shares of an image's votes, and in part what teachers say of it, the loss is the cross entropy with them,
every image is altered anew each time, and what is tested and kept is an average of the run's weights. Nothing depends on the order of computation: batch
number N and what happens to its images follow from the seed and N alone, so that a run continues exactly.
"""

import functools
import math
import os

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from common import built, errors, scores, votes
from common.caffe import binary, lmdbs
from common.caffe import messages as m
from engines.torch import engine
from engines.torch import net as nets
from engines.torch import solver as solvers
from netgen import nets as net_facts
from paper import recipe as recipes

ORDER, ALTER = 1, 2  # which stream of random numbers: third word of Philox's counter


def make(solver, net, folder, recipe, precision="fp32", teachers=()):
    """The engine for a Recipe. `teachers`: paths of scores of the training part; the rest as for engines.torch.engine.make."""
    return RecipeEngine(solver, net, recipe, precision, teachers)


class RecipeEngine(engine.TorchEngine):
    resident = False  # an iteration draws on the host what happens to its images

    def __init__(self, solver, net, recipe, precision, teachers):
        super().__init__([(solver, net)], precision)
        layer, seed = net_facts.data_layer(net, m.TRAIN), solver.random_seed
        self.recipe, self.max_iter = recipe, solver.max_iter
        self.faces = Faces(layer, seed, recipe, self.device)
        if teachers:
            self.faces.taught(teachers, recipe.teaching)
        self.dtype = self.data[m.TRAIN].dtype
        trunk = _without_loss(net)
        shapes = {"data": (layer.data_param.batch_size, 3, recipes.side(recipe), recipes.side(recipe))}
        self.scorer = nets.Net(trunk, m.TRAIN, shapes, self.device, blobs=self.blobs)
        self.scores = net_facts.final_layer(net).top[0]
        self.average = self.blobs.values.detach().clone()
        self.solver.kept.append(self.average)
        self.test_net = nets.Net(net, m.TEST, self.data[m.TEST].shapes(), self.device)

    def side(self):
        """The side of the images now."""
        done = self.iter / self.max_iter
        return next(side for share, side in self.recipe.sides if done < share or share == 1)

    def _loss(self, _):
        images, targets = self.faces.batch(self.iter, self.side())
        scores = self.scorer.forward({"data": self._input(images)})[self.scores].float()
        return -(targets * F.log_softmax(scores.flatten(1), 1)).sum(1).mean()

    def _step(self):
        super()._step()
        share = min(self.recipe.average, (1 + self.iter) / (10 + self.iter))  # short at first: the beginning is forgotten
        self.average.lerp_(self.blobs.values.detach(), 1 - share)

    def validate(self, stopped):
        self._average_into_test_net()
        return super().validate(stopped)

    def _validation_batch(self):
        given = super()._validation_batch()
        return dict(given, data=_resized(given["data"], self.side()))

    def load_weights(self, weights, trial=0):
        super().load_weights(weights)
        self.average.copy_(self.blobs.values.detach())

    def save(self, path, trial=0):
        """The averaged network, whatever the run's own weights are."""
        self._average_into_test_net()
        solvers.save(self.test_net.blobs, self.net, path)

    @torch.no_grad()
    def _average_into_test_net(self):
        """The averaged weights, with BatchNorm's statistics of plain training images, into the net that is tested."""
        own = self.blobs.values.detach().clone()
        self.blobs.values.copy_(self.average)
        self.scorer.renew_statistics({"data": self._input(self.faces.plain(number, self.side()))} for number in range(recipes.STATISTICS_BATCHES))
        self.test_net.blobs.values.copy_(self.blobs.values.detach())
        self.blobs.values.copy_(own)

    def _input(self, images):
        """N x 1 x S x S, mean subtracted, as the net's three equal channels."""
        return images.to(self.dtype).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


class Faces:
    """The training part in memory: `batch(iteration, side)` -> (images float32 N x 1 x side x side, targets float32 N x 8)."""

    def __init__(self, layer, seed, recipe, device):
        self.seed, self.augment, self.mixup = seed, recipe.augment, recipe.mixup
        self.batch_size, self.device = layer.data_param.batch_size, device
        source = layer.data_param.source
        with lmdbs.reading(source) as transaction:
            first, self.keys = zip(*((binary.read_datum(value)[0][:1], key.decode()) for key, value in transaction.cursor()))  # three equal channels
        self.images = torch.from_numpy(np.stack(first)).to(device)
        self.targets = torch.from_numpy(votes.shares(_votes(source, len(first)))).to(device)
        if recipe.hard:
            self.targets = F.one_hot(self.targets.argmax(1), self.targets.shape[1]).to(self.targets)
        self.mean = float(binary.read_mean(layer.transform_param.mean_file).mean())

    def batch(self, iteration, side):
        rows = self._rows(iteration)
        draw = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, ALTER, iteration]))
        images, targets = alter(self.images[rows].float() - self.mean, self.augment, draw, side), self.targets[rows]
        images = degrade(images, self.augment, draw, self.mean)
        return mixed(images, targets, self.mixup, draw) if self.mixup else (images, targets)

    def taught(self, teachers, share):
        """Give the mean of the teachers' answers to an image and its mirror that share of its target."""
        answers = torch.from_numpy(np.mean([_answers(path, self.keys) for path in teachers], axis=0)).to(self.targets)
        self.targets = torch.lerp(self.targets, answers, share)

    def plain(self, number, side):
        """The images of batch `number`, unaltered."""
        return _resized(self.images[self._rows(number)].float() - self.mean, side)

    def _rows(self, iteration):
        """Each epoch is a new order of all images; a batch may reach into the next one."""
        places = np.arange(iteration * self.batch_size, (iteration + 1) * self.batch_size)
        epochs, within = np.divmod(places, len(self.images))
        orders = {epoch: _order(self.seed, epoch, len(self.images)) for epoch in set(epochs.tolist())}
        return torch.from_numpy(np.array([orders[epoch][i] for epoch, i in zip(epochs.tolist(), within)]))


@functools.lru_cache(maxsize=2)  # a batch may reach into the next epoch
def _order(seed, epoch, count):
    """The order of an epoch's images."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, ORDER, epoch])).permutation(count)


def _votes(source, count):
    """FER+'s votes, int N x 10, of the images of an LMDB, from the table that data_prep wrote beside it."""
    folder, part = os.path.split(source[: -len("_lmdb")])
    lines = built.table(folder, part)
    if len(lines) != count:
        raise errors.Fail(
            "%s has not the votes of the %d images of %s: run `make data SRC=ferplus_votes`" % (os.path.join(folder, part + ".csv"), count, source)
        )
    return built.votes(folder, part, lines)


def _answers(path, keys):
    """A teacher's probabilities, float32 N x 8, of the images of those keys: from scores as evaluation.test writes them."""
    answers = scores.read(path, "train")
    if list(answers.keys) != list(keys) or answers.probabilities.shape != (len(keys), 8):
        raise errors.Fail(
            "%s is not of the images that are trained on: test the teacher again on this very set, "
            "`python3 -m evaluation.test --data data/ferplus_votes --split train`" % path
        )
    return answers.probabilities


def _resized(images, side):
    """Images N x C x S x S as N x C x side x side."""
    return images if images.shape[-1] == side else F.interpolate(images, side, mode="bilinear")


def alter(images, augment, draw, side):
    """Images float32 N x 1 x S x S, mean subtracted, drawn anew (paper.recipe.Augment): float32 N x 1 x side x side."""
    count = len(images)

    def uniform(reach):
        return draw.uniform(-reach, reach, count).astype(np.float32)

    angle, shift_x, shift_y = uniform(math.radians(augment.degrees)), uniform(2 * augment.shift), uniform(2 * augment.shift)
    scale = np.exp(uniform(augment.zoom))
    flip = np.where(draw.integers(0, 2, count) & augment.mirror, -1, 1).astype(np.float32)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    theta = np.stack([np.stack([flip * cos, -sin, shift_x], 1), np.stack([flip * sin, cos, shift_y], 1)], 1)
    grid = F.affine_grid(torch.from_numpy(theta).to(images), (count, 1, side, side), align_corners=False)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    contrast, light = 1 + uniform(augment.contrast), 255 * uniform(augment.brightness)
    middle = images.mean((1, 2, 3), keepdim=True)
    images = (images - middle) * _column(contrast, images) + middle + _column(light, images)
    return images * ~_rectangles(augment, draw, count, side).to(images.device)


def degrade(images, augment, draw, mean):
    """Images float32 N x 1 x S x S less `mean` as poor cameras and strong JPEG give them, some by chance (Augment's blur and jpeg)."""
    count = len(images)
    if augment.blur:
        sigmas = np.where(draw.random(count) < augment.blur, draw.uniform(0, recipes.BLUR, count), 0)
        images = _blurred(images, np.maximum(sigmas, 1e-3).astype(np.float32))
    if augment.jpeg:
        chosen, qualities = np.flatnonzero(draw.random(count) < augment.jpeg), draw.integers(*recipes.JPEG, count, endpoint=True)
        pixels = (images[chosen, 0] + mean).clamp(0, 255).round().to(torch.uint8).cpu().numpy()
        seen = [
            cv2.imdecode(cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, int(qualities[i])])[1], cv2.IMREAD_GRAYSCALE) for i, face in zip(chosen, pixels)
        ]
        if seen:
            images[chosen, 0] = torch.from_numpy(np.stack(seen)).to(images) - mean
    return images


def _blurred(images, sigmas, reach=3):
    """Each image N x 1 x S x S under a Gaussian of its own sigma in pixels."""
    places = np.arange(-reach, reach + 1)
    taps = np.exp(-0.5 * (places / sigmas[:, None]) ** 2)
    taps = torch.from_numpy(taps / taps.sum(1, keepdims=True)).to(images)
    rows = F.pad(images.transpose(0, 1), (reach,) * 4, mode="replicate")
    rows = F.conv2d(rows, taps[:, None, :, None], groups=len(images))
    return F.conv2d(rows, taps[:, None, None, :], groups=len(images)).transpose(0, 1)


def mixed(images, targets, alpha, draw):
    """Each image and its target mixed with another's of the batch, whose order is random already: by a share drawn from Beta(alpha, alpha)."""
    shares = draw.beta(alpha, alpha, len(images)).astype(np.float32)
    return tuple(torch.lerp(values.flip(0), values, torch.from_numpy(shares).to(values).view(-1, *[1] * (values.dim() - 1))) for values in (images, targets))


def _rectangles(augment, draw, count, side):
    """bool N x 1 side x side: what is erased (set to the mean)."""
    erased = draw.random(count) < augment.erase
    heights, widths = draw.uniform(0.1, augment.erased, (2, count)) * side * erased
    tops, lefts = draw.uniform(0, 1, (2, count))
    places = np.arange(side)
    rows, columns = ((starts * (side - sizes), sizes) for starts, sizes in ((tops, heights), (lefts, widths)))
    inside = [(places >= start[:, None]) & (places < (start + size)[:, None]) for start, size in (rows, columns)]
    return torch.from_numpy(inside[0][:, None, :, None] & inside[1][:, None, None, :])


def _column(values, like):
    return torch.from_numpy(values).to(like).view(-1, 1, 1, 1)


def _without_loss(net):
    """The net from its data to its scores."""
    trunk = m.NetParameter()
    trunk.CopyFrom(net)
    del trunk.layer[:]
    trunk.layer.extend(layer for layer in net.layer if layer.type not in ("SoftmaxWithLoss", "Accuracy"))
    return trunk
