"""What a network costs: layers, trainable parameters, multiply-accumulates and blob sizes, counted from its net.

`make describe` prints them beside the paper's 280K and 474K (III-A, Table II). Shapes follow Caffe's rules: a
convolution rounds down, pooling rounds up.
"""

from __future__ import annotations

import argparse
import math
from collections import namedtuple

from google.protobuf.message import Message

from common import errors
from common.caffe import messages as m
from common.caffe import text
from netgen import resnet
from paper import facts, ours

Cost = namedtuple("Cost", "name type shape trainable fixed macs")  # one layer, for one image
FLOAT_BYTES = 4


def costs(net: Message) -> list[Cost]:
    """A Cost for each layer of a deploy net: top shape C x H x W (batch left out), numbers learnt and kept, MACs."""
    shapes, found = {}, []
    for layer in net.layer:
        if layer.type not in RULES:
            raise errors.Fail(
                "layer %s is of type %s, which this project does not know (it knows %s): use this net in Caffe itself"
                % (layer.name, layer.type, ", ".join(RULES))
            )
        try:
            shape, trainable, fixed, macs = RULES[layer.type](layer, [shapes[name] for name in layer.bottom])
        except (LookupError, TypeError, ValueError, ArithmeticError):
            raise errors.Fail(
                "layer %s (%s) does not fit the ones before it: its bottoms (%s), sizes or strides make no sense; mend the prototxt"
                % (layer.name, layer.type, ", ".join(layer.bottom))
            ) from None
        for top in layer.top:
            shapes[top] = shape
        found.append(Cost(layer.name, layer.type, shape, trainable, fixed, macs))
    return found


def trainable_parameters(net: Message) -> int:
    """How many numbers a solver learns in a deploy net (BatchNorm's running statistics are not among them)."""
    return sum(cost.trainable for cost in costs(net))


def activations(net: m.NetParameter) -> int:
    """How many numbers the tops of a deploy net hold for one image; what a layer computes in place takes no memory of its own."""
    return sum(math.prod(cost.shape) for cost in {top: cost for layer, cost in zip(net.layer, costs(net)) for top in layer.top}.values())


def sides(parameter: Message, kind: str, default: int) -> tuple[int, int]:
    """(height, width) of a Convolution's or Pooling's kernel, stride, pad or dilation, in either of Caffe's ways of writing them."""
    if kind != "dilation" and (parameter.HasField(kind + "_h") or parameter.HasField(kind + "_w")):
        return getattr(parameter, kind + "_h"), getattr(parameter, kind + "_w")
    field = "kernel_size" if kind == "kernel" else kind
    value = getattr(parameter, field)
    values = [value] * parameter.HasField(field) if isinstance(value, int) else list(value)
    return tuple(values * (2 if len(values) == 1 else 1)) or (default, default)


def demand(layer, true, what):
    """Fail, naming the layer, unless `true`: what this project computes the shapes of."""
    if not true:
        raise errors.Fail("layer %s (%s): only %s: use this net in Caffe itself" % (layer.name, layer.type, what))


def pooled(layer: Message, shape: tuple[int, ...]) -> tuple[int, int]:
    """How many windows a Pooling layer has, (height, width). Caffe rounds up unless told; a window that begins in the padding is left out."""
    p, round_ = layer.pooling_param, math.floor if layer.pooling_param.round_mode == m.PoolingParameter.FLOOR else math.ceil
    found = []
    for side, kernel, stride, pad in zip(shape[1:], sides(p, "kernel", 0), sides(p, "stride", 1), sides(p, "pad", 0)):
        demand(layer, 0 < kernel <= side + 2 * pad, "windows that fit its %s" % "x".join(map(str, shape)))
        count = round_((side + 2 * pad - kernel) / stride) + 1
        found.append(count - (pad > 0 and (count - 1) * stride >= side + pad))
    return tuple(found)


def _input(layer, bottoms):
    return tuple(layer.input_param.shape[0].dim[1:]), 0, 0, 0


def _convolution(layer, bottoms):
    p, (channels, *before) = layer.convolution_param, bottoms[0]
    demand(layer, p.axis == 1 and len(before) == 2 and len(p.kernel_size) < 3, "two dimensions, axis 1")
    demand(layer, channels % p.group == 0 == p.num_output % p.group, "groups that divide its %d and %d channels" % (channels, p.num_output))
    kernel = sides(p, "kernel", 0)
    shape = (p.num_output,) + tuple(
        (side + 2 * pad - (dilation * (k - 1) + 1)) // stride + 1
        for side, k, stride, pad, dilation in zip(before, kernel, sides(p, "stride", 1), sides(p, "pad", 0), sides(p, "dilation", 1))
    )
    demand(layer, min(kernel) > 0 and min(shape) > 0, "kernels that fit its %s" % "x".join(map(str, bottoms[0])))
    weights = p.num_output * channels // p.group * kernel[0] * kernel[1]
    numbers, macs = weights + p.bias_term * p.num_output, weights * shape[1] * shape[2]
    learned = not layer.param or any(each.lr_mult for each in layer.param)
    return shape, numbers * learned, numbers * (not learned), macs


def _inner_product(layer, bottoms):
    p = layer.inner_product_param
    demand(layer, p.axis == 1, "axis 1")
    weights = p.num_output * math.prod(bottoms[0])
    return (p.num_output,), weights + p.bias_term * p.num_output, 0, weights


def _pooling(layer, bottoms):
    demand(layer, len(bottoms[0]) == 3 and len(layer.top) == 1, "maps, and one top")
    return (bottoms[0][:1] + ((1, 1) if layer.pooling_param.global_pooling else pooled(layer, bottoms[0]))), 0, 0, 0


def concat_axis(layer: Message, rank: int) -> int:
    """The axis of a Concat, counted from 1 (0 is the batch), in either of Caffe's ways of writing it."""
    p = layer.concat_param
    axis = p.concat_dim if p.HasField("concat_dim") else p.axis % (rank + 1)
    demand(layer, 0 < axis <= rank, "axis 1 and above")
    return axis


def _concat(layer, bottoms):
    axis, shape = concat_axis(layer, len(bottoms[0])), list(bottoms[0])
    shape[axis - 1] = sum(bottom[axis - 1] for bottom in bottoms)
    return tuple(shape), 0, 0, 0


def _flatten(layer, bottoms):
    p = layer.flatten_param
    demand(layer, p.axis == 1 and p.end_axis % (len(bottoms[0]) + 1) == len(bottoms[0]), "axis 1 to the last")
    return (math.prod(bottoms[0]),), 0, 0, 0


def _reshape(layer, bottoms):
    """Caffe's 0 copies a side, its -1 is what is left over. The first number is the batch's, unless axis is 1."""
    p, dims = layer.reshape_param, list(layer.reshape_param.shape.dim)
    demand(layer, p.axis in (0, 1) and p.num_axes == -1, "axis 0 or 1, num_axes -1")
    batch = [] if p.axis else [dims.pop(0)] if dims else [None]
    demand(layer, batch in ([], [0], [-1]), "shapes that begin with the batch as dim: 0")
    demand(layer, (batch + dims).count(-1) < 2 and len(dims) and 0 not in dims[len(bottoms[0]) :], "one -1, and 0 where there is a side to copy")
    shape = [bottoms[0][i] if side == 0 else side for i, side in enumerate(dims)]
    known, numbers = math.prod(side for side in shape if side > 0), math.prod(bottoms[0])
    shape = tuple(numbers // known if side < 0 else side for side in shape)
    demand(layer, math.prod(shape) == numbers, "shapes of its %d numbers an image" % numbers)
    return shape, 0, 0, 0


def _batch_norm(layer, bottoms):
    return bottoms[0], 0, 2 * bottoms[0][0] + 1, 0


def _scale(layer, bottoms):
    p = layer.scale_param
    demand(layer, p.axis == 1 and p.num_axes == 1 and len(bottoms) == 1, "one bottom, a number for each channel (axis 1, num_axes 1)")
    return bottoms[0], bottoms[0][0] * (1 + p.bias_term), 0, 0


def _prelu(layer, bottoms):
    return bottoms[0], 1 if layer.prelu_param.channel_shared else bottoms[0][0], 0, 0


def _softmax(layer, bottoms):
    demand(layer, layer.softmax_param.axis % (len(bottoms[0]) + 1) == 1, "axis 1")
    return bottoms[0], 0, 0, 0


def _same(layer, bottoms):
    demand(
        layer,
        all(bottom == bottoms[0] for bottom in bottoms),
        "bottoms of one shape, not of %s" % " and ".join("x".join(map(str, bottom)) for bottom in bottoms),
    )
    return bottoms[0], 0, 0, 0


RULES = {
    "Input": _input,
    "Convolution": _convolution,
    "InnerProduct": _inner_product,
    "Pooling": _pooling,
    "Concat": _concat,
    "BatchNorm": _batch_norm,
    "Scale": _scale,
    "PReLU": _prelu,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Softmax": _softmax,
    **dict.fromkeys(("ReLU", "ELU", "Sigmoid", "TanH", "AbsVal", "Eltwise", "Power", "Dropout", "LRN"), _same),
}


def report(net, paper_k=None, layers=False):
    """The text that `make describe` prints of one deploy net. `paper_k`: the paper's parameters in thousands."""
    found = costs(net)
    lines = [net.name]
    if layers:
        lines += ["  %-28s %-12s %-12s %10s %12s" % ("layer", "type", "top", "parameters", "MACs")]
        lines += [
            "  %-28s %-12s %-12s %10s %12s" % (c.name, c.type, "x".join(map(str, c.shape)), "{:,}".format(c.trainable), "{:,}".format(c.macs)) for c in found
        ]
    trainable, fixed = sum(c.trainable for c in found), sum(c.fixed for c in found)
    weighted = [c for c in found if c.type in ("Convolution", "InnerProduct") and not c.name.endswith("_proj")]
    biggest = max(found, key=lambda c: math.prod(c.shape))
    total = activations(net)
    beside = "   (the paper: %dK)" % paper_k if paper_k else ""
    lines += [
        "  layers                 %d with weights and %d projections, %d in all of Caffe's"
        % (len(weighted), sum(c.name.endswith("_proj") for c in found), len(found)),
        "  trainable parameters   {:,}{}".format(trainable, beside),
        "  stored numbers         {:,} with BatchNorm's running statistics: {:.2f} MB as float32".format(
            trainable + fixed, FLOAT_BYTES * (trainable + fixed) / 1e6
        ),
        "  multiply-accumulates   {:,} for one {}x{} crop".format(sum(c.macs for c in found), *found[0].shape[1:]),
        "  blobs                  {:,} numbers for one crop ({:.2f} MB); the largest is {} ({})".format(
            total, FLOAT_BYTES * total / 1e6, biggest.name, "x".join(map(str, biggest.shape))
        ),
    ]
    return "\n".join(lines)


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m netgen.describe", description=__doc__.splitlines()[0])
    parser.add_argument("prototxt", nargs="*", help="deploy prototxts (default: both depths with FER+'s 8 classes)")
    parser.add_argument("--layers", action="store_true", help="a line for each layer too")
    parser.add_argument("--shortcut", default=ours.SHORTCUT, choices=resnet.SHORTCUTS)
    args = parser.parse_args()
    if args.prototxt:
        nets = [(text.read(path, m.NetParameter), None) for path in args.prototxt]
    else:
        nets = [(resnet.deploy_net(depth, "ferplus", len(facts.EXPRESSIONS), shortcut=args.shortcut), facts.PARAMETERS_K[depth]) for depth in facts.DEPTHS]
    print("\n\n".join(report(net, paper_k, args.layers) for net, paper_k in nets))


if __name__ == "__main__":
    main()
