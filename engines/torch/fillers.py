"""How blobs start: Caffe's fillers, drawn with NumPy, so that a seed gives the same weights on every device."""

import math

import numpy as np

from common import errors
from engines.torch import layers

KNOWN = {
    "constant": {"value"},
    "gaussian": {"mean", "std"},
    "uniform": {"min", "max"},
    "xavier": {"variance_norm"},
    "msra": {"variance_norm"},
    "bilinear": set(),
}


def fill(shape, filler, draw, where):
    """float32 array of `shape` under a FillerParameter; `draw`: a NumPy Generator; `where`: the layer, for an error."""
    if filler.type not in KNOWN:
        raise errors.Fail("%s: the PyTorch engine knows no filler %s (it knows %s)" % (where, filler.type, ", ".join(KNOWN)))
    layers.refuse_fields(filler, KNOWN[filler.type] | {"type"}, "%s: filler %s" % (where, filler.type))
    if filler.type == "constant":
        values = np.full(shape, filler.value)
    elif filler.type == "gaussian":
        values = draw.normal(filler.mean, filler.std, shape)
    elif filler.type == "uniform":
        values = draw.uniform(filler.min, filler.max, shape)
    elif filler.type == "xavier":
        limit = math.sqrt(3 / _fan(shape, filler))
        values = draw.uniform(-limit, limit, shape)
    elif filler.type == "bilinear":
        values = np.broadcast_to(_bilinear(shape, where), shape)
    else:
        values = draw.normal(0, math.sqrt(2 / _fan(shape, filler)), shape)
    return values.astype(np.float32)


def _bilinear(shape, where):
    """Side x side: the weights by which Caffe enlarges a map, 0.25 0.75 0.75 0.25 along either axis of 4x4."""
    if len(shape) != 4 or shape[2] != shape[3]:
        raise errors.Fail("%s: filler bilinear wants a square kernel, not a blob of %s" % (where, "x".join(map(str, shape))))
    half = math.ceil(shape[3] / 2)
    along = 1 - abs(np.arange(shape[3]) / half - (2 * half - 1 - half % 2) / (2 * half))
    return np.outer(along, along)


def _fan(shape, filler):
    """Inputs (the default), outputs or their mean, of one unit, as Caffe counts them on a blob's shape."""
    size = math.prod(shape)
    fan_in, fan_out = size / shape[0], size / (shape[1] if len(shape) > 1 else 1)
    return {filler.FAN_IN: fan_in, filler.FAN_OUT: fan_out, filler.AVERAGE: (fan_in + fan_out) / 2}[filler.variance_norm]
