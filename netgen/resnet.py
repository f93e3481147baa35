"""The CIFAR residual networks of He et al. as the paper uses them (III-A, Table I), as Caffe nets.

    layer group    output     ResNet-20 (n = 3)    ResNet-32 (n = 5)
    first_conv     16x32x32   3x3, 16              3x3, 16
    group0         16x32x32   3 x [3x3, 16] x 2    5 x [3x3, 16] x 2
    group1         32x16x16   3 x [3x3, 32] x 2    5 x [3x3, 32] x 2
    group2         64x8x8     3 x [3x3, 64] x 2    5 x [3x3, 64] x 2
    global_avg_pool, one InnerProduct
    parameters     8 classes  280,024              474,456

One trunk serves the train, test and deploy nets. Layers are named by role (group1_block0_conv0, ..._proj, ..._sum); the
final layer's name carries its data set (fc_cifar100, fc_ferplus), so that Caffe's matching of weights by name leaves
exactly that layer fresh when a network is fine-tuned.
"""

from __future__ import annotations

from common import errors
from common.caffe import messages as m
from paper import facts, ours

SHORTCUTS = ("2x2", "1x1", "identity")
COLOURS = 3


def final_layer(dataset):
    """The final layer's name for a data set: fc_cifar100, fc_ferplus."""
    return "fc_" + dataset


def train_net(
    depth: int,
    dataset: str,
    classes: int,
    source: str,
    valid_source: str,
    mean: str | float,
    batch: int,
    valid_batch: int,
    mirror: bool = ours.MIRROR,
    final_rate: float = ours.FINAL_RATE,
    crop: int = facts.CROP,
    name: str | None = None,
    **form,
) -> m.NetParameter:
    """The net of a solver: Data layers for TRAIN and TEST, trunk, SoftmaxWithLoss, Accuracy (TEST only).

    `source`, `valid_source`: LMDB folders; `mean`: path of a BlobProto, or a number subtracted from every pixel; paths as
    Caffe sees them, from its working directory. `mirror`: the TRAIN phase mirrors every second image by chance;
    `final_rate`: the final layer learns so many times as fast; `crop`: side of the crops, 0 for whole images. `form`: shortcut, relu_after_sum, ... of `trunk`.
    Returns a NetParameter.
    """
    net = m.NetParameter(name=name or title(depth, dataset))
    for phase, lmdb, size in ((m.TRAIN, source, batch), (m.TEST, valid_source, valid_batch)):
        data = _layer(net, "data", "Data", [], ["data", "label"])
        data.include.add(phase=phase)
        if mirror and phase == m.TRAIN:
            data.transform_param.mirror = True
        if crop:
            data.transform_param.crop_size = crop
        if isinstance(mean, str):
            data.transform_param.mean_file = mean
        else:
            data.transform_param.mean_value.append(mean)
        data.data_param.source = lmdb
        data.data_param.batch_size = size
        data.data_param.backend = m.DataParameter.LMDB
    scores = _classifier(net, depth, dataset, classes, **form)
    if final_rate != 1:
        for _ in range(2):  # weights and bias
            net.layer[-1].param.add(lr_mult=final_rate)
    _layer(net, "loss", "SoftmaxWithLoss", [scores, "label"], ["loss"])
    _layer(net, "accuracy", "Accuracy", [scores, "label"], ["accuracy"]).include.add(phase=m.TEST)
    return net


def deploy_net(depth: int, dataset: str, classes: int, batch: int = facts.CROPS, side: int = facts.CROP, name: str | None = None, **form) -> m.NetParameter:
    """The net for testing: Input `data` (batch x 3 x side x side, mean subtracted), trunk, Softmax `prob`. A NetParameter."""
    net = m.NetParameter(name=name or title(depth, dataset))
    data = _layer(net, "data", "Input", [], ["data"])
    data.input_param.shape.add(dim=[batch, COLOURS, side, side])
    scores = _classifier(net, depth, dataset, classes, **form)
    _layer(net, "prob", "Softmax", [scores], ["prob"])
    return net


def title(depth, dataset):
    """The net's name: ResNet-20 ferplus."""
    return "ResNet-%d %s" % (depth, dataset)


def trunk(
    net,
    bottom,
    depth,
    shortcut=ours.SHORTCUT,
    relu_after_sum=ours.RELU_AFTER_SUM,
    conv_bias=ours.CONV_BIAS,
    moving_average_fraction=None,
    widths=facts.WIDTHS,
    stem=1,
    slope=0.0,
    binomial=False,
    branches=False,
):
    """Append everything from `bottom` to global_avg_pool to `net`; return the last top's name.

    `shortcut`, where the width doubles: "2x2" or "1x1" convolution of stride 2 with BatchNorm and Scale, or "identity"
    (He et al.'s option A: every second pixel, new channels zero; needs a Caffe of 2018 or later for its round_mode).
    The sister paper's form is relu_after_sum=False, conv_bias=True. `moving_average_fraction`: BatchNorm's; None is Caffe's
    default of 0.999, which averages over some 1,000 iterations and is too long a memory for runs shorter than that. `widths`:
    channels of the three groups; `stem`: stride of the first convolution.
    Beyond the paper (paper/recipe.py): `slope`, of every ReLU below zero; `binomial`: maps are halved by a fixed filter before the
    block that widens them, not by its strides; `branches`: a 1x1 convolution beside each 3x3 of a block (`netgen.fold` makes one of both).
    """
    start = len(net.layer)
    blocks = blocks_per_group(depth)
    if shortcut not in SHORTCUTS:
        raise errors.Fail("no shortcut %r: choose one of %s" % (shortcut, ", ".join(SHORTCUTS)))
    top = _conv(net, "first_conv", bottom, widths[0], 3, stem, conv_bias)
    top = _relu(net, top, slope)
    convolve = _branched if branches else _conv
    for group, width in enumerate(widths):
        for block in range(blocks):
            name = "group%d_block%d_" % (group, block)
            doubles = group > 0 and block == 0
            stride = 2 if doubles and not binomial else 1
            if doubles and binomial:
                top = _halved(net, name + "down", top, widths[group - 1])
            side = _shortcut(net, name, top, width, shortcut, stride, conv_bias) if doubles else top
            main = convolve(net, name + "conv0", top, width, 3, stride, conv_bias)
            main = convolve(net, name + "conv1", _relu(net, main, slope), width, 3, 1, conv_bias)
            top = _layer(net, name + "sum", "Eltwise", [side, main], [name + "sum"]).top[0]
            if relu_after_sum:
                top = _relu(net, top, slope)
    pool = _layer(net, "global_avg_pool", "Pooling", [top], ["global_avg_pool"])
    pool.pooling_param.pool = m.PoolingParameter.AVE
    pool.pooling_param.global_pooling = True
    for layer in net.layer[start:]:
        if layer.type == "BatchNorm" and moving_average_fraction is not None:
            layer.batch_norm_param.moving_average_fraction = moving_average_fraction
    return "global_avg_pool"


def blocks_per_group(depth):
    """n of a network of 6n+2 layers. Fail on any other depth."""
    if depth < 8 or (depth - 2) % 6:
        legal = ", ".join(str(6 * n + 2) for n in range(1, 10))
        raise errors.Fail("no residual network of depth %s: it must be 6n+2 (%s, ...)" % (depth, legal))
    return (depth - 2) // 6


def _classifier(net, depth, dataset, classes, **form):
    name = final_layer(dataset)
    final = _layer(net, name, "InnerProduct", [trunk(net, "data", depth, **form)], [name])
    final.inner_product_param.num_output = classes
    final.inner_product_param.weight_filler.type = "msra"
    return name


def _conv(net, name, bottom, width, kernel, stride, bias):
    """Convolution, then BatchNorm and Scale in place (Caffe splits what others call batch normalisation into these two)."""
    layer = _layer(net, name, "Convolution", [bottom], [name])
    parameter = layer.convolution_param
    parameter.num_output = width
    parameter.bias_term = bias
    parameter.kernel_size.append(kernel)
    parameter.stride.append(stride)
    if kernel == 3:
        parameter.pad.append(1)
    parameter.weight_filler.type = "msra"
    norm = _layer(net, name + "_bn", "BatchNorm", [name], [name])
    for _ in range(3):  # running mean, variance and scale factor are no weights
        norm.param.add(lr_mult=0, decay_mult=0)
    _layer(net, name + "_scale", "Scale", [name], [name]).scale_param.bias_term = True
    return name


def _branched(net, name, bottom, width, kernel, stride, bias):
    """A convolution, and one of 1x1 beside it, each with its BatchNorm and Scale; their sum."""
    tops = [_conv(net, each, bottom, width, side, stride, bias) for each, side in ((name, kernel), (name + "_point", 1))]
    return _layer(net, name + "_both", "Eltwise", tops, [name + "_both"]).top[0]


def _halved(net, name, bottom, channels):
    """Every second pixel under 1 3 3 1 down and across: Caffe's bilinear filler at 4x4 makes it (times 4, which BatchNorm takes out); nothing learns it."""
    layer = _layer(net, name, "Convolution", [bottom], [name])
    layer.param.add(lr_mult=0, decay_mult=0)
    parameter = layer.convolution_param
    parameter.num_output = parameter.group = channels
    parameter.bias_term = False
    parameter.kernel_size.append(4)
    parameter.stride.append(2)
    parameter.pad.append(1)
    parameter.weight_filler.type = "bilinear"
    return name


def _shortcut(net, name, bottom, width, kind, stride, bias):
    if kind != "identity":
        return _conv(net, name + "proj", bottom, width, int(kind[0]) if stride > 1 else 1, stride, bias)
    half = _layer(net, name + "half", "Pooling", [bottom], [name + "half"]).pooling_param
    half.pool, half.kernel_size, half.stride = m.PoolingParameter.MAX, 1, 2
    half.round_mode = m.PoolingParameter.FLOOR
    _layer(net, name + "zeros", "Power", [name + "half"], [name + "zeros"]).power_param.scale = 0
    return _layer(net, name + "widen", "Concat", [name + "half", name + "zeros"], [name + "widen"]).top[0]


def _relu(net, top, slope):
    layer = _layer(net, top + "_relu", "ReLU", [top], [top])
    if slope:
        layer.relu_param.negative_slope = slope
    return top


def _layer(net, name, kind, bottoms, tops):
    return net.layer.add(name=name, type=kind, bottom=bottoms, top=tops)
