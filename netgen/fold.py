"""Folding: a deploy net without BatchNorm and Scale, whose convolutions carry their effect.

With the running mean u and variance v of a BatchNorm (its blobs divided by the third, the scale factor) and gamma, beta
of the Scale behind it, gamma (Wx + b - u) / sqrt(v + eps) + beta is a convolution again: weights gW and bias
g(b - u) + beta with g = gamma / sqrt(v + eps). In the TEST phase nothing else changes.
"""
import numpy as np

from common import errors
from common.caffe import binary
from common.caffe import messages as m
from netgen import nets


def fold(net, model):
    """(deploy net, caffemodel) with every BatchNorm and Scale folded into the convolution before it.

    `net`: deploy NetParameter; `model`: NetParameter with its weights. Both are left as they are; two new ones come back.
    Fail where such a layer does not stand, in place, behind a convolution.
    """
    weights = binary.layers(model)
    folded, convolutions, blobs = m.NetParameter(), {}, {}
    folded.CopyFrom(net)
    del folded.layer[:]
    for layer in net.layer:
        if layer.type in FOLDABLE:
            convolution = convolutions.get(layer.bottom[0])
            if convolution is None or layer.top[0] != layer.bottom[0]:
                raise errors.Fail("%s: layer %s does not follow a convolution in place, so it cannot be folded"
                                  % (net.name, layer.name))
            gain, shift = FOLDABLE[layer.type](layer, weights[layer.name])
            kernel, bias = blobs[convolution]
            blobs[convolution] = [kernel * gain[:, None, None, None], bias * gain + shift]
            continue
        kept = folded.layer.add()
        kept.CopyFrom(layer)
        convolutions.pop(layer.top[0], None)  # behind a ReLU in place it is no convolution's output any more
        if layer.name in weights:
            blobs[layer.name] = [blob.astype(np.float64) for blob in weights[layer.name]]
        if layer.type == "Convolution":
            convolutions[layer.top[0]] = layer.name
            kept.convolution_param.bias_term = True
            if len(blobs[layer.name]) == 1:
                blobs[layer.name].append(np.zeros(layer.convolution_param.num_output))
    return folded, _with_blobs(folded, blobs)


def tempered(net, model, temperature):
    """A copy of a caffemodel whose final InnerProduct is divided by `temperature`: so are its logits."""
    copy, final = m.NetParameter(), nets.final_layer(net).name
    copy.CopyFrom(model)
    for blob in next(layer for layer in copy.layer if layer.name == final).blobs:
        blob.data[:] = (np.array(blob.data, np.float32) / np.float32(temperature)).tolist()
    return copy


def _batch_norm(layer, blobs):
    """(gain, shift) of a BatchNorm in the TEST phase."""
    mean, variance, factor = (blob.astype(np.float64) for blob in blobs)
    factor = 1 / factor[0] if factor[0] else 0.0  # Caffe's rule for a network that never saw a batch
    gain = 1 / np.sqrt(variance * factor + layer.batch_norm_param.eps)
    return gain, -mean * factor * gain


def _scale(layer, blobs):
    gain = blobs[0].astype(np.float64)
    return gain, blobs[1].astype(np.float64) if len(blobs) == 2 else np.zeros_like(gain)


FOLDABLE = {"BatchNorm": _batch_norm, "Scale": _scale}


def _with_blobs(net, blobs):
    """A caffemodel: `net` with each layer's arrays."""
    model = m.NetParameter()
    model.CopyFrom(net)
    for layer in model.layer:
        layer.blobs.extend(binary.array_to_blob(blob) for blob in blobs.get(layer.name, ()))
    return model
