"""Folding: a deploy net without BatchNorm and Scale, whose convolutions carry their effect.

With the running mean u and variance v of a BatchNorm (its blobs divided by the third, the scale factor) and gamma, beta
of the Scale behind it, gamma (Wx + b - u) / sqrt(v + eps) + beta is a convolution again: weights gW and bias
g(b - u) + beta with g = gamma / sqrt(v + eps). In the TEST phase nothing else changes. And a sum of convolutions of one bottom
is one convolution, whose kernel is the sum of theirs: a smaller one has zeros around it.
"""

from __future__ import annotations

import itertools

import numpy as np
from google.protobuf.message import Message

from common.caffe import binary
from common.caffe import messages as m
from netgen import describe, nets


def fold(net: Message, model: Message) -> tuple[Message, Message]:
    """(deploy net, caffemodel) with each BatchNorm and Scale folded into the Convolution or InnerProduct before it, and summed Convolutions in one.

    `net`: deploy NetParameter; `model`: NetParameter with its weights. Both are left as they are; two new ones come back. One that
    stands elsewhere, or whose statistics are the batch's own, stays as it is: the folded net scores as the other.
    """
    weights = binary.layers(model)
    folded, into, blobs = m.NetParameter(), {}, {}  # into: a top that may still be changed -> the layer that makes it
    folded.CopyFrom(net)
    del folded.layer[:]
    for i, layer in enumerate(net.layer):
        before = into.get(layer.bottom[0]) if layer.bottom else None
        if before is not None and _foldable(layer) and (layer.top[0] == layer.bottom[0] or not _read_later(net, i, layer.bottom[0])):
            gain, shift = FOLDABLE[layer.type](layer, weights[layer.name])
            kernel, bias = blobs[before.name]
            blobs[before.name] = [kernel * gain.reshape((-1,) + (1,) * (kernel.ndim - 1)), bias * gain + shift]
            del into[layer.bottom[0]]
            before.top[0] = layer.top[0]
            into[layer.top[0]] = before
            continue
        kept = folded.layer.add()
        kept.CopyFrom(layer)
        for name in list(layer.bottom) + list(layer.top):
            into.pop(name, None)  # another layer reads it as it is, or makes it anew
        if layer.name in weights:
            blobs[layer.name] = [blob.astype(np.float64) for blob in weights[layer.name]]
        if layer.type == "Convolution" or layer.type == "InnerProduct" and not layer.inner_product_param.transpose:
            into[layer.top[0]] = kept
            (kept.convolution_param if layer.type == "Convolution" else kept.inner_product_param).bias_term = True
            if len(blobs[layer.name]) == 1:
                blobs[layer.name].append(np.zeros(len(blobs[layer.name][0])))
    folded = _without_branches(folded, blobs)
    return folded, _with_blobs(folded, blobs)


def tempered(net: Message, model: Message, temperature: float) -> Message:
    """A copy of a caffemodel whose final InnerProduct is divided by `temperature`: so are its logits."""
    copy, final = m.NetParameter(), nets.final_layer(net).name
    copy.CopyFrom(model)
    for blob in next(layer for layer in copy.layer if layer.name == final).blobs:
        blob.data[:] = (np.array(blob.data, np.float32) / np.float32(temperature)).tolist()
    return copy


def _foldable(layer):
    """Whether a layer is a gain and a shift for each channel, the same for every batch."""
    p = layer.batch_norm_param
    return layer.type in FOLDABLE and not (p.HasField("use_global_stats") and not p.use_global_stats)


def _read_later(net, i, top):
    """Whether a layer behind layer `i` reads what `top` holds at `i`."""
    for layer in net.layer[i + 1 :]:
        if top in layer.bottom:
            return True
        if top in layer.top:
            return False
    return False


def _batch_norm(layer, blobs):
    """(gain, shift) of a BatchNorm in the TEST phase."""
    mean, variance, factor = (blob.astype(np.float64) for blob in blobs)
    factor = 1 / factor[0] if factor[0] else 0.0  # Caffe's rule for a network that never saw a batch
    gain = 1 / np.sqrt(variance * factor + layer.batch_norm_param.eps)
    return gain, -mean * factor * gain


def _scale(layer, blobs):
    gain = blobs[0].astype(np.float64)
    return gain, blobs[1].astype(np.float64) if len(blobs) == 2 else np.zeros_like(gain)


def _without_branches(net, blobs):
    """`net` with one Convolution for each sum of them; `blobs` (layer name -> weights, bias) follow."""
    whole = m.NetParameter()
    whole.CopyFrom(net)
    del whole.layer[:]
    for i, layer in enumerate(net.layer):
        branches = _branches(whole, net, i)
        if not branches:
            whole.layer.add().CopyFrom(layer)
            continue
        kept = max(branches, key=_kernel)
        kept.top[0] = layer.top[0]
        for other in (each for each in branches if each is not kept):
            (kernel, bias), around = blobs.pop(other.name), (_kernel(kept) - _kernel(other)) // 2
            blobs[kept.name] = [blobs[kept.name][0] + np.pad(kernel, [(0, 0)] * 2 + [(around, around)] * 2), blobs[kept.name][1] + bias]
            whole.layer.remove(other)
    return whole


def _branches(whole, net, i):
    """The layers of `whole` whose sum layer `i` of `net` is, where one Convolution can do their work; otherwise []."""
    layer, p = net.layer[i], net.layer[i].eltwise_param
    if layer.type != "Eltwise" or p.operation != p.SUM or p.coeff:
        return []
    makers = [next((each for each in reversed(whole.layer) if top in each.top), None) for top in layer.bottom]
    if any(each is None or each.type != "Convolution" for each in makers) or len(set(layer.bottom)) < len(makers):
        return []
    alike = len({_geometry(each) for each in makers}) == 1 and all(map(_centred, makers))
    since = itertools.dropwhile(lambda each: each not in makers, whole.layer)
    others = [each for each in since if each not in makers]  # what they leave as it is, and do not read, may stand between
    read, made = {name for each in others for name in each.bottom}, {name for each in others for name in each.top}
    tops = set(layer.bottom)
    free = not tops & (read | made) and not {makers[0].bottom[0], layer.top[0]} & made and not any(_read_later(net, i, top) for top in tops - {layer.top[0]})
    return makers if alike and free else []


def _geometry(layer):
    p = layer.convolution_param
    return layer.bottom[0], p.num_output, p.group, describe.sides(p, "stride", 1)


def _centred(layer):
    """Whether a Convolution's kernel is square, with a middle that lies on each pixel in turn."""
    p, kernel = layer.convolution_param, _kernel(layer)
    pads = describe.sides(p, "pad", 0), describe.sides(p, "kernel", 0), describe.sides(p, "dilation", 1)
    return kernel % 2 == 1 and pads == ((kernel // 2,) * 2, (kernel,) * 2, (1, 1))


def _kernel(layer):
    return describe.sides(layer.convolution_param, "kernel", 0)[0]


FOLDABLE = {"BatchNorm": _batch_norm, "Scale": _scale}


def _with_blobs(net, blobs):
    """A caffemodel: `net` with each layer's arrays."""
    model = m.NetParameter()
    model.CopyFrom(net)
    for layer in model.layer:
        layer.blobs.extend(binary.array_to_blob(blob) for blob in blobs.get(layer.name, ()))
    return model
