"""How blobs start: Caffe's fillers, drawn with NumPy, so that a seed gives the same weights on every device."""

import math

import numpy as np

from common import errors
from engines.torch import layers

KNOWN = {"constant": {"value"}, "gaussian": {"mean", "std"}, "uniform": {"min", "max"}, "xavier": {"variance_norm"}, "msra": {"variance_norm"}}


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
    else:
        values = draw.normal(0, math.sqrt(2 / _fan(shape, filler)), shape)
    return values.astype(np.float32)


def _fan(shape, filler):
    """Inputs (the default), outputs or their mean, of one unit, as Caffe counts them on a blob's shape."""
    size = math.prod(shape)
    fan_in, fan_out = size / shape[0], size / (shape[1] if len(shape) > 1 else 1)
    return {filler.FAN_IN: fan_in, filler.FAN_OUT: fan_out, filler.AVERAGE: (fan_in + fan_out) / 2}[filler.variance_norm]
