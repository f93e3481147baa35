"""What a NetParameter says, for whoever reads one: its data layers, its final layer, its input, its classes. And foreign deploy nets, made ready to be used."""

from __future__ import annotations

import math
import os

from google.protobuf.message import Message

from common import errors
from common.caffe import messages as m
from common.caffe import text
from netgen import describe
from paper import facts

DATA_LAYERS = ("Data", "ImageData", "HDF5Data", "MemoryData", "WindowData", "DummyData")
# What ends in one of these gives numbers of any size, which a Softmax turns into probabilities.
SCORES = ("InnerProduct", "Convolution", "Pooling", "Flatten", "Reshape", "Dropout", "BatchNorm", "Scale", "Eltwise", "Power", "Concat")


def data_layer(net: Message, phase: int) -> Message:
    """The Data layer of a phase, m.TRAIN or m.TEST. Fail where there is none."""
    for layer in net.layer:
        if layer.type == "Data" and any(rule.phase == phase for rule in layer.include):
            return layer
    raise errors.Fail("net %s has no Data layer for the %s phase: run `make prototxt`" % (net.name, ("TRAIN", "TEST")[phase]))


def final_layer(net: Message) -> Message:
    """The InnerProduct layer whose scores the loss reads. Fail on a net without one."""
    found = [layer for layer in net.layer if layer.type == "InnerProduct"]
    if not found:
        raise errors.Fail("net %s has no InnerProduct layer, which would be its final one" % net.name)
    return found[-1]


def read_deploy(path: str) -> Message:
    """The deploy net in the prototxt at `path`, as this project uses it: the layers of the TEST phase, the Input first.

    Fail, by the true reason, on what is no net from one square image, grey or BGR, to one row of scores.
    """
    net = text.read(path, m.NetParameter)
    net.name = net.name or os.path.splitext(os.path.basename(path))[0]
    found = [layer for layer in net.layer if _in_test(layer)]
    found.sort(key=lambda layer: layer.type != "Input")
    kept = [m.LayerParameter.FromString(layer.SerializeToString()) for layer in found]
    del net.layer[:]
    net.layer.extend(kept)
    _check(net, path)
    return net


def _free_batch(net):
    """Reshapes that name the batch of the input as it is declared copy it instead: here it is as large as memory likes."""
    batch = net.layer[0].input_param.shape[0].dim[0]
    for layer in net.layer:
        p = layer.reshape_param
        if layer.type == "Reshape" and p.axis == 0 and p.shape.dim and p.shape.dim[0] == batch:
            p.shape.dim[0] = 0


def _in_test(layer):
    """Whether Caffe's TEST phase has this layer; levels and stages are those of a deploy net: 0 and none."""

    def meets(rule):
        return (
            (not rule.HasField("phase") or rule.phase == m.TEST)
            and not rule.stage
            and rule.min_level <= 0 <= (rule.max_level if rule.HasField("max_level") else 0)
        )

    return any(map(meets, layer.include)) if layer.include else not any(map(meets, layer.exclude))


def _check(net, path):
    input_shape(net, path)
    _free_batch(net)
    made, read = {}, set()
    for layer in net.layer:
        for bottom in layer.bottom:
            if bottom not in made:
                raise errors.Fail("%s: layer %s reads %s, which no layer before it makes: mend the prototxt" % (path, layer.name, bottom))
        read.update(set(layer.bottom) - set(layer.top))
        made.update((top, layer) for top in layer.top)
    outputs = [top for top in made if top not in read]
    if len(outputs) != 1:
        raise errors.Fail("%s has %d outputs (%s): cut the prototxt to the one that scores classes" % (path, len(outputs), ", ".join(outputs)))
    if net.layer[-1].top[0] != outputs[0]:
        raise errors.Fail("%s: its output %s is not made by its last layer: put that layer last" % (path, outputs[0]))
    output_shape(net)


def input_shape(net: Message, path: str | None = None) -> tuple[int, int, int]:
    """(channels, height, width) of a deploy net's input. Fail on a net without an input, such as a train net, and on an input that is no square image."""
    where = path or net.name
    found = [layer for layer in net.layer if layer.type == "Input"]
    data = [layer for layer in net.layer if layer.type in DATA_LAYERS]
    if not found:
        raise errors.Fail(
            "%s is no deploy net (%s): take prototxt/..._deploy.prototxt, or the net's own deploy prototxt"
            % (where, "it takes its images from %s, a %s layer" % (data[0].name, data[0].type) if data else "no Input layer, no input_shape or input_dim")
        )
    shapes = [tuple(shape.dim) for layer in found for shape in layer.input_param.shape]
    if len(found) > 1 or len(found[0].top) != 1 or len(shapes) != 1:
        raise errors.Fail(
            "%s has %d inputs (%s): only nets of one input, the image, are taken"
            % (where, sum(len(layer.top) for layer in found), ", ".join(top for layer in found for top in layer.top))
        )
    shape = shapes[0]
    if len(shape) != 4 or shape[1] not in (1, 3) or shape[2] != shape[3] or min(shape) < 1:
        raise errors.Fail("%s: its input is %s: only N x 1 x S x S (grey) and N x 3 x S x S (BGR), square, are taken" % (where, "x".join(map(str, shape))))
    return shape[1:]


def output_shape(net: Message) -> tuple[int, ...]:
    """(classes,) or (classes, 1, 1): what a deploy net gives for one image. Fail on maps of scores."""
    shape = describe.costs(net)[-1].shape
    if math.prod(shape) != shape[0]:
        raise errors.Fail(
            "%s: its output %s is %s, a map, not one row of class scores: end it in a global Pooling or InnerProduct"
            % (net.name, net.layer[-1].top[0], "x".join(map(str, shape)))
        )
    return shape


def class_names(net: Message) -> list[str]:
    """The names of a deploy net's classes: FER+'s expressions, numbers for the sources and for foreign nets."""
    count = output_shape(net)[0]
    ferplus = count == len(facts.EXPRESSIONS) and any(layer.name == "fc_ferplus" for layer in net.layer)
    return list(facts.EXPRESSIONS) if ferplus else [str(i) for i in range(count)]


def with_softmax(net: Message) -> Message:
    """`net`, and a Softmax behind it where it ends in plain scores. Fail where its outputs are neither scores nor probabilities."""
    last = net.layer[-1]
    if last.type == "Softmax":
        return net
    if last.type not in SCORES:
        raise errors.Fail(
            "%s ends in %s (layer %s), which gives no probabilities of classes: cut the prototxt before it, or export it as it "
            "is with --logits (LOGITS=1)" % (net.name, last.type, last.name)
        )
    more, taken = _copy(net), {name for layer in net.layer for name in [layer.name, *layer.top]}
    name = next(name for name in ("prob", "softmax_prob", "fer_lite_prob") if name not in taken)
    more.layer.add(name=name, type="Softmax", bottom=[last.top[0]], top=[name])
    return more


def scaled(net: Message, scale: float) -> Message:
    """`net` with its input times `scale`, by a Power layer of its own: Caffe's transform_param scales after the mean too."""
    if scale == 1:
        return net
    more, data = _copy(net), net.layer[0].top[0]
    del more.layer[1:]
    more.layer.add(name="input_scale", type="Power", bottom=[data], top=["input_scaled"]).power_param.scale = scale
    for layer in net.layer[1:]:
        new = more.layer.add()
        new.CopyFrom(layer)
        new.bottom[:] = ["input_scaled" if name == data else name for name in layer.bottom]
        new.top[:] = ["input_scaled" if name == data else name for name in layer.top]
    return more


def _copy(net):
    more = m.NetParameter()
    more.CopyFrom(net)
    return more
