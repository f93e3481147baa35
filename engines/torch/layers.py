"""What each of Caffe's layer types computes, in PyTorch: fields that are known, blobs and how they start, forward.

A layer type is a function (layer, shapes of its bottoms, phase) -> Layer. Layer.forward takes the bottoms, then the
blobs, and gives the top (float tensors, N x C x H x W unless said). Whatever field or layer is not known is refused by name.

T trials of a net are computed side by side: their channels lie one behind the other (N x TC x H x W), and a blob is T x its
shape. Convolutions have T times the groups, so that no trial sees another's channels.
"""

import math
from collections import namedtuple

import torch
import torch.nn.functional as F

from common import errors
from common.caffe import messages as m
from engines.torch import norm
from netgen.describe import sides

Layer = namedtuple("Layer", "forward blobs")  # blobs: [(shape, FillerParameter)], of one trial
ALONE = {"Concat", "Softmax"}  # types that would mix the channels of trials
COMMON = {"name", "type", "bottom", "top", "param", "include", "blobs", "phase"}
NO_EFFECT = {"engine", "force_nd_im2col"}  # which kernel computes, not what


def build(layer, shapes, phase):
    """The Layer for a LayerParameter whose bottoms have `shapes`. Fail, by name, on what is not known."""
    if layer.type not in TYPES:
        raise errors.Fail(
            "layer %s: the PyTorch engine knows no layer type %s (it knows %s)" % (layer.name, layer.type, ", ".join(sorted(TYPES) + ["Data", "Input"]))
        )
    make, known = TYPES[layer.type]
    check_fields(layer, known)
    return make(layer, shapes, phase)


def check_fields(layer, known):
    """Fail on a field of a LayerParameter that is not `known`: dict of parameter message -> names of its fields."""
    for field, value in layer.ListFields():
        if field.name in known:
            refuse_fields(value, known[field.name] | NO_EFFECT, "layer %s: %s" % (layer.name, field.name))
        elif field.name not in COMMON:
            raise errors.Fail("layer %s: the PyTorch engine knows no field %s of type %s" % (layer.name, field.name, layer.type))
    for each in layer.param:
        refuse_fields(each, {"lr_mult", "decay_mult"}, "layer %s: param" % layer.name)
    for each in layer.include:
        refuse_fields(each, {"phase"}, "layer %s: include" % layer.name)


def refuse_fields(message, known, where):
    """Fail on the first field set in `message` that is not in `known`."""
    for field, _ in message.ListFields():
        if field.name not in known:
            raise errors.Fail("%s: the PyTorch engine knows no field %s" % (where, field.name))


def demand(layer, true, what):
    if not true:
        raise errors.Fail("layer %s (%s): the PyTorch engine takes %s only" % (layer.name, layer.type, what))


def convolution(layer, shapes, phase):
    p, channels = layer.convolution_param, shapes[0][1]
    demand(layer, p.axis == 1 and len(p.kernel_size) < 3, "two dimensions, axis 1")
    how = [sides(p, "stride", 1), sides(p, "pad", 0), sides(p, "dilation", 1)]
    blobs = [((p.num_output, channels // p.group) + sides(p, "kernel", 0), p.weight_filler)]
    blobs += [((p.num_output,), p.bias_filler)] * p.bias_term

    def forward(x, w, b=None):
        return F.conv2d(x, w.flatten(0, 1).to(x.dtype), None if b is None else b.flatten().to(x.dtype), *how, p.group * len(w))

    return Layer(forward, blobs)


def inner_product(layer, shapes, phase):
    """In fp32 whatever the precision: it is small, and its outputs are the scores."""
    p = layer.inner_product_param
    demand(layer, p.axis == 1, "axis 1")
    blobs = [((p.num_output, math.prod(shapes[0][1:])), p.weight_filler)] + [((p.num_output,), p.bias_filler)] * p.bias_term

    def forward(x, w, *b):
        return torch.cat([F.linear(*each) for each in zip(_of_trials(x.to(w.dtype), len(w)), w, *b)], 1)

    return Layer(forward, blobs)


def _of_trials(x, trials):
    """N x TK (or more dimensions) as T tensors N x K."""
    return x.flatten(1).chunk(trials, 1)


def batch_norm(layer, shapes, phase):
    """Blobs: sums of mean and of variance (m/(m-1) of the batch's), and the factor both are divided by.

    In TRAIN, `forward(x, mean, variance)` puts the batch's own into the two given (net.py adds them to the sums).
    Gamma and beta are those of the Scale that net.py fused, if any.
    """
    eps, channels, zero = layer.batch_norm_param.eps, shapes[0][1], m.FillerParameter()

    def train(x, mean, variance, gamma=None, beta=None):
        return norm.batch_norm(x, *flat(mean, variance, gamma, beta), eps)

    def test(x, mean, variance, factor, gamma=None, beta=None):
        mean, variance = (blob.detach() * torch.where(factor == 0, 0, 1 / factor).detach() for blob in (mean, variance))
        return F.batch_norm(x, *flat(mean, variance, gamma, beta), False, 0.0, eps)

    def flat(*blobs):
        return [blob if blob is None else blob.view(-1) for blob in blobs]

    return Layer(test if stored_statistics(layer, phase) else train, [((channels,), zero)] * 2 + [((1,), zero)])


def stored_statistics(layer, phase):
    """Whether a BatchNorm layer uses its blobs (TEST) rather than the batch's own mean and variance (TRAIN)."""
    p = layer.batch_norm_param
    return p.use_global_stats if p.HasField("use_global_stats") else phase == m.TEST


def scale(layer, shapes, phase):
    p = layer.scale_param
    demand(layer, p.axis == 1 and p.num_axes == 1 and len(layer.bottom) == 1, "one bottom, axis 1, num_axes 1")
    ones = p.filler if p.HasField("filler") else m.FillerParameter(value=1)
    each = (1, -1) + (1,) * (len(shapes[0]) - 2)

    def forward(x, gamma, beta=None):
        x = x * gamma.view(each).to(x.dtype)
        return x if beta is None else x + beta.view(each).to(x.dtype)

    return Layer(forward, [((shapes[0][1],), ones)] + [((shapes[0][1],), p.bias_filler)] * p.bias_term)


def relu(layer, shapes, phase):
    slope = layer.relu_param.negative_slope
    return Layer((lambda x: F.leaky_relu(x, slope)) if slope else F.relu, [])


def eltwise(layer, shapes, phase):
    p = layer.eltwise_param
    coefficients = list(p.coeff) or [1.0] * len(shapes)
    demand(layer, p.operation == p.SUM and len(coefficients) == len(shapes), "SUM, with a coeff for each bottom or none")

    def forward(first, *rest):
        total = first if coefficients[0] == 1 else first * coefficients[0]
        for x, c in zip(rest, coefficients[1:]):
            total = torch.add(total, x, alpha=c)
        return total

    return Layer(forward, [])


def pooling(layer, shapes, phase):
    """Windows are rounded up, an average divides by the window with its padding: ceil_mode and count_include_pad."""
    p, (height, width) = layer.pooling_param, shapes[0][2:]
    demand(layer, p.pool in (p.MAX, p.AVE), "MAX and AVE")
    if p.global_pooling:
        demand(layer, not {f.name for f, _ in p.ListFields()} - {"pool", "global_pooling"} - NO_EFFECT, "global_pooling by itself")
        return Layer((lambda x: x.mean((2, 3), keepdim=True)) if p.pool == p.AVE else (lambda x: x.amax((2, 3), keepdim=True)), [])
    kernel, stride, pad, up = sides(p, "kernel", 0), sides(p, "stride", 1), sides(p, "pad", 0), p.round_mode == p.CEIL
    for side, k, s, d in zip((height, width), kernel, stride, pad):
        # Caffe counts a window that lies wholly outside the image and fills it with garbage; PyTorch leaves it out.
        demand(layer, d or not up or -(-(side - k) // s) * s < side, "windows that begin inside the image (round_mode: FLOOR)")
    if p.pool == p.MAX:
        return Layer(lambda x: F.max_pool2d(x, kernel, stride, pad, ceil_mode=up), [])
    return Layer(lambda x: F.avg_pool2d(x, kernel, stride, pad, ceil_mode=up, count_include_pad=True), [])


def concat(layer, shapes, phase):
    axis = layer.concat_param.axis
    return Layer(lambda *xs: torch.cat(xs, axis), [])


def power(layer, shapes, phase):
    p = layer.power_param
    return Layer(lambda x: (p.shift + p.scale * x) if p.power == 1 else (p.shift + p.scale * x) ** p.power, [])


def softmax(layer, shapes, phase):
    return Layer(lambda x: F.softmax(x.float(), layer.softmax_param.axis), [])


def softmax_with_loss(layer, shapes, phase):
    """The mean over the batch, as loss_param's default VALID without ignore_label has it: T numbers, for TN labels."""

    def forward(x, label):
        labels = label.view(-1, len(x))
        return torch.stack([F.cross_entropy(*each) for each in zip(_of_trials(x.float(), len(labels)), labels)])

    return Layer(forward, [])


def accuracy(layer, shapes, phase):
    """The share whose true class is among the top_k (T numbers); a class that scores the same as the true one counts as better."""
    k = layer.accuracy_param.top_k

    def one(x, label):
        at_least = (x >= x.gather(1, label[:, None])).sum(1)
        return (at_least <= k).float().mean()

    def forward(x, label):
        labels = label.view(-1, len(x))
        return torch.stack([one(*each) for each in zip(_of_trials(x, len(labels)), labels)])

    return Layer(forward, [])


FILLER = {"weight_filler", "bias_filler"}
SIZES = {"kernel_size", "kernel_h", "kernel_w", "stride", "stride_h", "stride_w", "pad", "pad_h", "pad_w"}
TYPES = {  # type -> function, and its parameter messages with their known fields
    "Convolution": (convolution, {"convolution_param": SIZES | FILLER | {"num_output", "bias_term", "dilation", "group", "axis"}}),
    "InnerProduct": (inner_product, {"inner_product_param": FILLER | {"num_output", "bias_term", "axis"}}),
    "BatchNorm": (batch_norm, {"batch_norm_param": {"use_global_stats", "moving_average_fraction", "eps"}}),
    "Scale": (scale, {"scale_param": {"axis", "num_axes", "filler", "bias_term", "bias_filler"}}),
    "ReLU": (relu, {"relu_param": {"negative_slope"}}),
    "Eltwise": (eltwise, {"eltwise_param": {"operation", "coeff"}}),
    "Pooling": (pooling, {"pooling_param": SIZES | {"pool", "global_pooling", "round_mode"}}),
    "Concat": (concat, {"concat_param": {"axis"}}),
    "Power": (power, {"power_param": {"power", "scale", "shift"}}),
    "Softmax": (softmax, {"softmax_param": {"axis"}}),
    "SoftmaxWithLoss": (softmax_with_loss, {}),
    "Accuracy": (accuracy, {"accuracy_param": {"top_k"}}),
}
