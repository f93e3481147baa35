"""Nets of older Caffes as today's, in memory, as Caffe's own upgrade_proto does when it reads one.

`layers { type: CONVOLUTION }` (V1, 2014) become `layer { type: "Convolution" }`, the net's `input`, `input_dim` and `input_shape`
(until 2015) an Input layer. Blobs with num, channels, height and width keep them: their true shape is the net's (netgen/weights.py).
"""

from common import errors
from common.caffe import messages as m

V0 = (
    "%s is of Caffe's first format (before 2014: layers { layer { ... } }): bring it up to date with Caffe's `upgrade_net_proto_text` "
    "(a prototxt) or `upgrade_net_proto_binary` (a caffemodel)"
)
# V1's types whose names are more than their words, capitalised.
IRREGULAR = {
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}
SPECIAL = ("type", "param", "blob_share_mode", "blobs_lr", "weight_decay")


def upgrade(net, path):
    """Bring the NetParameter read from `path` up to date, in place. Fail on a V0 net, and on one of two formats."""
    if net.layers:
        if net.layer:
            raise errors.Fail("%s has layers of two formats, `layers` and `layer`: Caffe would drop one of them; take one format" % path)
        for old in net.layers:
            _layer(net.layer.add(), old, path)
        net.ClearField("layers")
    if net.input_shape or net.input_dim:
        _input(net, path)


def _layer(new, old, path):
    if old.HasField("layer"):
        raise errors.Fail(V0 % path)
    for field, value in old.ListFields():
        if field.name in SPECIAL:
            continue
        if hasattr(value, "extend"):
            getattr(new, field.name).extend(value)
        elif field.message_type:
            getattr(new, field.name).CopyFrom(value)
        else:
            setattr(new, field.name, value)
    name = m.V1LayerParameter.LayerType.Name(old.type)
    new.type = "" if name == "NONE" else IRREGULAR.get(name) or "".join(map(str.capitalize, name.split("_")))
    for i in range(max(len(getattr(old, field)) for field in SPECIAL[1:])):
        each = new.param.add()
        for field, target in (("param", "name"), ("blob_share_mode", "share_mode"), ("blobs_lr", "lr_mult"), ("weight_decay", "decay_mult")):
            if i < len(getattr(old, field)):
                setattr(each, target, getattr(old, field)[i])


def _input(net, path):
    """The Input layer that Caffe makes of the net's fields, in front."""
    first, dims = m.LayerParameter(name="input", type="Input", top=net.input), list(net.input_dim)
    shapes = [list(shape.dim) for shape in net.input_shape] or [dims[i : i + 4] for i in range(0, len(dims), 4)]
    if len(shapes) != len(net.input) or not all(shapes) or not net.input_shape and len(dims) % 4:
        raise errors.Fail(
            "%s: each `input` needs an input_shape, or four numbers of input_dim: it has %d inputs, %d shapes, %d numbers"
            % (path, len(net.input), len(net.input_shape), len(dims))
        )
    for shape in shapes:
        first.input_param.shape.add(dim=shape)
    rest = list(net.layer)
    del net.layer[:]
    net.layer.extend([first] + rest)
    for field in ("input", "input_shape", "input_dim"):
        net.ClearField(field)
