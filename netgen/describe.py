"""What a network costs: layers, trainable parameters, multiply-accumulates and blob sizes, counted from its net.

`make describe` prints them beside the paper's 280K and 474K (III-A, Table II). Shapes follow Caffe's rules: a
convolution rounds down, pooling rounds up.
"""
import argparse
import math
from collections import namedtuple

from common import errors
from common.caffe import messages as m
from common.caffe import text
from netgen import resnet
from paper import facts, ours

Cost = namedtuple("Cost", "name type shape trainable fixed macs")  # one layer, for one image
FLOAT_BYTES = 4


def costs(net):
    """A Cost for each layer of a deploy net: top shape C x H x W (batch left out), numbers learnt and kept, MACs."""
    shapes, found = {}, []
    for layer in net.layer:
        if layer.type not in RULES:
            raise errors.Fail("describe knows no layer of type %s (%s)" % (layer.type, layer.name))
        try:
            shape, trainable, fixed, macs = RULES[layer.type](layer, [shapes[name] for name in layer.bottom])
        except (LookupError, TypeError, ValueError, ArithmeticError):
            raise errors.Fail("layer %s (%s) does not fit the ones before it: its bottoms (%s), sizes or strides make no sense; mend the prototxt"
                              % (layer.name, layer.type, ", ".join(layer.bottom))) from None
        for top in layer.top:
            shapes[top] = shape
        found.append(Cost(layer.name, layer.type, shape, trainable, fixed, macs))
    return found


def trainable_parameters(net):
    """How many numbers a solver learns in a deploy net (BatchNorm's running statistics are not among them)."""
    return sum(cost.trainable for cost in costs(net))


def _input(layer, bottoms):
    return tuple(layer.input_param.shape[0].dim[1:]), 0, 0, 0


def _convolution(layer, bottoms):
    p, (channels, height, width) = layer.convolution_param, bottoms[0]
    kernel, stride = p.kernel_size[0], p.stride[0] if p.stride else 1
    pad = p.pad[0] if p.pad else 0
    shape = (p.num_output,) + tuple((side + 2 * pad - kernel) // stride + 1 for side in (height, width))
    weights = p.num_output * channels * kernel * kernel
    return shape, weights + p.bias_term * p.num_output, 0, weights * shape[1] * shape[2]


def _inner_product(layer, bottoms):
    p = layer.inner_product_param
    weights = p.num_output * math.prod(bottoms[0])
    return (p.num_output,), weights + p.bias_term * p.num_output, 0, weights


def _pooling(layer, bottoms):
    p, (channels, height, width) = layer.pooling_param, bottoms[0]
    if p.global_pooling:
        return (channels, 1, 1), 0, 0, 0
    round_ = math.floor if p.round_mode == m.PoolingParameter.FLOOR else math.ceil
    sides = (round_((side - p.kernel_size) / p.stride) + 1 for side in (height, width))
    return (channels,) + tuple(sides), 0, 0, 0


def _concat(layer, bottoms):
    return (sum(b[0] for b in bottoms),) + bottoms[0][1:], 0, 0, 0


def _batch_norm(layer, bottoms):
    return bottoms[0], 0, 2 * bottoms[0][0] + 1, 0


def _scale(layer, bottoms):
    return bottoms[0], bottoms[0][0] * (1 + layer.scale_param.bias_term), 0, 0


def _same(layer, bottoms):
    return bottoms[0], 0, 0, 0


RULES = {
    "Input": _input, "Convolution": _convolution, "InnerProduct": _inner_product, "Pooling": _pooling,
    "Concat": _concat, "BatchNorm": _batch_norm, "Scale": _scale, "ReLU": _same, "Eltwise": _same, "Power": _same,
    "Softmax": _same,
}


def report(net, paper_k=None, layers=False):
    """The text that `make describe` prints of one deploy net. `paper_k`: the paper's parameters in thousands."""
    found = costs(net)
    lines = [net.name]
    if layers:
        lines += ["  %-28s %-12s %-12s %10s %12s" % ("layer", "type", "top", "parameters", "MACs")]
        lines += ["  %-28s %-12s %-12s %10s %12s" % (
            c.name, c.type, "x".join(map(str, c.shape)), "{:,}".format(c.trainable), "{:,}".format(c.macs)) for c in found]
    trainable, fixed = sum(c.trainable for c in found), sum(c.fixed for c in found)
    weighted = [c for c in found if c.type in ("Convolution", "InnerProduct") and not c.name.endswith("_proj")]
    biggest = max(found, key=lambda c: math.prod(c.shape))
    # Tops that a layer computes in place take no memory of their own.
    own = {top: c for layer, c in zip(net.layer, found) for top in layer.top}
    total = sum(math.prod(c.shape) for c in own.values())
    beside = "   (the paper: %dK)" % paper_k if paper_k else ""
    lines += [
        "  layers                 %d with weights and %d projections, %d in all of Caffe's"
        % (len(weighted), sum(c.name.endswith("_proj") for c in found), len(found)),
        "  trainable parameters   {:,}{}".format(trainable, beside),
        "  stored numbers         {:,} with BatchNorm's running statistics: {:.2f} MB as float32".format(
            trainable + fixed, FLOAT_BYTES * (trainable + fixed) / 1e6),
        "  multiply-accumulates   {:,} for one 32x32 crop".format(sum(c.macs for c in found)),
        "  blobs                  {:,} numbers for one crop ({:.2f} MB); the largest is {} ({})".format(
            total, FLOAT_BYTES * total / 1e6, biggest.name, "x".join(map(str, biggest.shape))),
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
        nets = [(resnet.deploy_net(depth, "ferplus", len(facts.EXPRESSIONS), shortcut=args.shortcut),
                 facts.PARAMETERS_K[depth]) for depth in facts.DEPTHS]
    print("\n\n".join(report(net, paper_k, args.layers) for net, paper_k in nets))


if __name__ == "__main__":
    main()
