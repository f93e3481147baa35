"""Which blobs the layers of a net hold, and whether a caffemodel has exactly these.

Caffe ignores weights whose layer name it does not find, and aborts where a shape differs. `check` says both beforehand,
in one line, and what the file holds instead.
"""
import re

import numpy as np

from common import errors
from common.caffe import binary
from common.caffe import messages as m
from netgen import describe


def shapes(net):
    """Layer name -> list of blob shapes, in Caffe's order, for the layers of a deploy net that have blobs."""
    tops, found = {}, {}
    for layer, cost in zip(net.layer, describe.costs(net)):
        rule = BLOBS.get(layer.type)
        if rule:
            found[layer.name] = rule(layer, tops[layer.bottom[0]])
        tops.update((top, cost.shape) for top in layer.top)
    return found


def load(path, net):
    """The caffemodel at `path` (NetParameter), after `check`."""
    model = binary.read(path, m.NetParameter)
    check(model, net, path)
    return model


def check(model, net, path):
    """Fail unless the NetParameter `model`, read from `path`, has the blobs of the deploy net `net`, no more and no fewer."""
    wanted = shapes(net)
    given = {name: [blob.shape for blob in blobs] for name, blobs in binary.layers(model).items()}
    if given == wanted:
        return
    if not given:
        raise errors.Fail("%s holds no weights: make it again" % path)
    theirs, ours = (_final(names) for names in (given, wanted))
    if _blocks(given) != _blocks(wanted):
        problem = "a network of depth %s" % _depth(given)
    elif theirs != ours:
        problem = "a network that ends in %s" % theirs
    elif given[theirs] != wanted[ours]:
        problem = "a network with %s classes" % given[theirs][0][0]
    else:
        other = sorted(name for name in set(given) | set(wanted) if given.get(name) != wanted.get(name))
        problem = "another network (%d layers differ, %s first)" % (len(other), other[0])
    raise errors.Fail("%s is of %s, not %s (depth %s, %s, %s classes): test it with its own deploy net, or train this one "
                      "with `make finetune`" % (path, problem, net.name, _depth(wanted), ours, wanted[ours][0][0]))


def _final(names):
    return list(names)[-1]


def _blocks(names):
    return {match.group() for match in (re.match(r"group\d+_block\d+", name) for name in names) if match}


def _depth(names):
    blocks = _blocks(names)
    return 2 * len(blocks) + 2 if blocks else "unknown"


def _convolution(layer, bottom):
    p = layer.convolution_param
    kernel = list(p.kernel_size) * (2 if len(p.kernel_size) == 1 else 1)
    return [(p.num_output, bottom[0] // p.group, *kernel)] + [(p.num_output,)] * p.bias_term


def _inner_product(layer, bottom):
    p = layer.inner_product_param
    inputs = 1
    for side in bottom:
        inputs *= side
    return [(p.num_output, inputs)] + [(p.num_output,)] * p.bias_term


def _batch_norm(layer, bottom):
    return [bottom[:1], bottom[:1], (1,)]


def _scale(layer, bottom):
    return [bottom[:1]] * (1 + layer.scale_param.bias_term)


FIRST, LAST = 1 / 64, 1 / 20  # pixels are large, and a softmax of ones and zeros would hide differences
BLOBS = {"Convolution": _convolution, "InnerProduct": _inner_product, "BatchNorm": _batch_norm, "Scale": _scale}


def random(net, seed=0):
    """A caffemodel for a deploy net with random weights and BatchNorm statistics, none of them trivial: for benchmarks
    and tests, where any network will do."""
    draw = np.random.RandomState(seed).standard_normal
    wanted, model = shapes(net), m.NetParameter()
    model.CopyFrom(net)
    for layer in model.layer:
        blobs = [draw(shape) for shape in wanted.get(layer.name, ())]
        if layer.type in ("Convolution", "InnerProduct"):
            small = FIRST if layer.bottom[0] == net.layer[0].top[0] else LAST if layer.type == "InnerProduct" else 1
            blobs[0] *= np.sqrt(2 / blobs[0][0].size) * small
        elif layer.type == "BatchNorm":
            blobs = [2.5 * blobs[0] / 10, 2.5 * (0.5 + np.abs(blobs[1])), [2.5]]
        elif layer.type == "Scale":
            blobs[0] = 0.6 + 0.4 * blobs[0]
        layer.blobs.extend(binary.array_to_blob(blob) for blob in blobs)
    return model
