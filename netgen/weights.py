"""Which blobs the layers of a net hold, and whether a caffemodel has exactly these.

Caffe ignores weights whose layer name it does not find, and aborts where a shape differs. `check` says both beforehand,
in one line, and what the file holds instead.
"""

from __future__ import annotations

import re
import sys

import numpy as np
from google.protobuf.message import Message

from common import errors
from common.caffe import binary
from common.caffe import messages as m
from netgen import describe


def shapes(net: Message) -> dict[str, list[tuple[int, ...]]]:
    """Layer name -> list of blob shapes, in Caffe's order, for the layers of a deploy net that have blobs."""
    tops, found = {}, {}
    for layer, cost in zip(net.layer, describe.costs(net)):
        rule = BLOBS.get(layer.type)
        if rule:
            found[layer.name] = rule(layer, tops[layer.bottom[0]])
        tops.update((top, cost.shape) for top in layer.top)
    return found


def load(path: str, net: Message) -> Message:
    """The caffemodel at `path` (NetParameter), after `check`."""
    model = binary.read(path, m.NetParameter)
    check(model, net, path)
    return model


def check(model: Message, net: Message, path: str) -> None:
    """Fail unless the NetParameter `model`, read from `path`, has the blobs of the deploy net `net`, whose shapes legacy ones are given.

    Of layers that the net has not, those of our own networks are refused, others said and left out: Caffe ignores them in silence.
    """
    wanted = shapes(net)
    if not any(layer.blobs for layer in model.layer):
        raise errors.Fail("%s holds no weights: make it again" % path)
    if not wanted:
        raise errors.Fail("%s has no layer with weights: take the deploy prototxt of %s" % (net.name, path))
    for layer in model.layer:
        for blob, shape in zip(layer.blobs, wanted.get(layer.name, ())):
            _modern(blob, shape)
    given = {name: [blob.shape for blob in blobs] for name, blobs in binary.layers(model).items()}
    more = [name for name in given if name not in wanted]
    if {name: given.get(name) for name in wanted} == wanted and _blocks(wanted) in (set(), _blocks(given)):
        if more:
            print("note: %s has weights of %d layers that %s has not (%s): left out" % (path, len(more), net.name, ", ".join(more)), file=sys.stderr)
        return
    if not _blocks(wanted):
        name = next(name for name in wanted if given.get(name) != wanted[name])
        raise errors.Fail(
            "%s is of another network than %s: layer %s has %s, this net wants %s: take its own deploy prototxt"
            % (path, net.name, name, _listed(given[name]) if name in given else "no weights there", _listed(wanted[name]))
        )
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
    raise errors.Fail(
        "%s is of %s, not %s (depth %s, %s, %s classes): test it with its own deploy net, or train this one "
        "with `make finetune`" % (path, problem, net.name, _depth(wanted), ours, wanted[ours][0][0])
    )


def _modern(blob, shape):
    """Give a legacy blob (num, channels, height, width; 1 in front where it has fewer) the `shape` that it stands for."""
    legacy = (blob.num, blob.channels, blob.height, blob.width)
    if not blob.HasField("shape") and len(shape) < 5 and legacy == (1,) * (4 - len(shape)) + tuple(shape):
        blob.shape.dim.extend(shape)
        for field in ("num", "channels", "height", "width"):
            blob.ClearField(field)


def _listed(blobs):
    return " and ".join("x".join(map(str, shape)) for shape in blobs)


def _final(names):
    return list(names)[-1]


def _blocks(names):
    return {match.group() for match in (re.match(r"group\d+_block\d+", name) for name in names) if match}


def _depth(names):
    blocks = _blocks(names)
    return 2 * len(blocks) + 2 if blocks else "unknown"


def _convolution(layer, bottom):
    p = layer.convolution_param
    return [(p.num_output, bottom[0] // p.group, *describe.sides(p, "kernel", 0))] + [(p.num_output,)] * p.bias_term


def _inner_product(layer, bottom):
    p = layer.inner_product_param
    inputs = 1
    for side in bottom:
        inputs *= side
    return [(inputs, p.num_output) if p.transpose else (p.num_output, inputs)] + [(p.num_output,)] * p.bias_term


def _batch_norm(layer, bottom):
    return [bottom[:1], bottom[:1], (1,)]


def _scale(layer, bottom):
    return [bottom[:1]] * (1 + layer.scale_param.bias_term)


def _prelu(layer, bottom):
    return [() if layer.prelu_param.channel_shared else bottom[:1]]


FIRST, LAST = 1 / 64, 1 / 20  # pixels are large, and a softmax of ones and zeros would hide differences
BLOBS = {"Convolution": _convolution, "InnerProduct": _inner_product, "BatchNorm": _batch_norm, "Scale": _scale, "PReLU": _prelu}


def random(net: Message, seed: int = 0) -> Message:
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
        elif layer.type in ("Scale", "PReLU"):
            blobs[0] = 0.6 + 0.4 * blobs[0]
        layer.blobs.extend(binary.array_to_blob(blob) for blob in blobs)
    return model
