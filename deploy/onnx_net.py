"""A folded deploy net as ONNX model: mean subtraction and softmax inside, so that it takes pixels and gives probabilities.

Each Caffe layer becomes a few ONNX operators. Opset 13 is the first whose quantisation knows channels, and IR 8 is
read by runtimes since 2021; OpenCV 4.5.1 and later read both.
"""

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from common import errors
from common.caffe import binary
from common.caffe import messages as m
from netgen import describe, fold

OPSET, IR = 13, 8
FREE = "N"  # the batch's name where it is free


def build(net, model, mean, metadata, batch=FREE):
    """An ONNX ModelProto from a deploy net, folded as far as it can be, and its caffemodel (NetParameters).

    Its input is float32 `batch` x C x H x W, 0 to 255, its output float32 `batch` x classes, under Caffe's names (data,
    prob). `mean`: float32 C; `metadata`: dict of str; `batch`: a number, or FREE. Fail on a layer that ONNX has no
    operator for.
    """
    data, output, blobs = net.layer[0].top[0], net.layer[-1].top[0], binary.layers(model)
    costs = describe.costs(net)
    graph = _Graph({"mean": mean.reshape(1, -1, 1, 1)})
    graph.nodes.append(helper.make_node("Sub", [data, "mean"], ["centred"], "subtract_mean"))
    tensors, shapes = {data: "centred"}, {data: costs[0].shape}  # Caffe's blob -> the tensor that holds it now; layers in place make a new one
    for layer, cost in zip(net.layer[1:], costs[1:]):
        if layer.type not in RULES:
            raise errors.Fail("layer %s of type %s has no ONNX operator here: export a net of %s" % (layer.name, layer.type, ", ".join(sorted(RULES))))
        graph.begin(layer)
        made = RULES[layer.type](graph, layer, [tensors[name] for name in layer.bottom], [shapes[name] for name in layer.bottom], blobs.get(layer.name, []))
        tensors[layer.top[0]], shapes[layer.top[0]] = made, cost.shape
    if len(shapes[output]) > 1:
        tensors[output] = graph.add("Flatten", [tensors[output]], axis=1)
    _rename(graph.nodes, tensors[output], output)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (batch,) + sides)
        for name, sides in ((data, shapes[data]), (output, (math.prod(shapes[output]),)))
    ]
    initial = [numpy_helper.from_array(value if value.dtype == np.int64 else value.astype("float32"), name) for name, value in graph.arrays.items()]
    made = helper.make_model(
        helper.make_graph(graph.nodes, net.name, ends[:1], ends[1:], initial),
        producer_name="fer-lite",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
    )
    helper.set_model_props(made, metadata)
    onnx.checker.check_model(made, full_check=True)
    return made


class _Graph:
    """Nodes and arrays of a model that is being written."""

    def __init__(self, arrays):
        self.nodes, self.arrays, self.layer, self.count = [], arrays, "", 0

    def begin(self, layer):
        self.layer, self.count = layer.name, 0

    def add(self, operator, tensors, arrays=None, **attributes):
        """Append a node of the current layer, fed with `tensors` and then `arrays` ({name: ndarray}); its output's name."""
        names = ["%s_%s" % (self.layer, key) for key in arrays or {}]
        self.arrays.update(zip(names, map(np.asarray, (arrays or {}).values())))
        made = "%s_%d" % (self.layer, self.count)
        self.nodes.append(helper.make_node(operator, list(tensors) + names, [made], made, **attributes))
        self.count += 1
        return made


def _rename(nodes, old, new):
    for node in nodes:
        for ends in (node.input, node.output):
            ends[:] = [new if name == old else name for name in ends]


def _refuse(layer, what):
    raise errors.Fail("layer %s: %s: use this net in Caffe itself" % (layer.name, what))


def _convolution(graph, layer, bottoms, shapes, blobs):
    p = layer.convolution_param
    return graph.add(
        "Conv",
        bottoms,
        dict(zip(("weights", "bias"), blobs)),
        kernel_shape=describe.sides(p, "kernel", 0),
        strides=describe.sides(p, "stride", 1),
        pads=2 * describe.sides(p, "pad", 0),
        dilations=describe.sides(p, "dilation", 1),
        group=p.group,
    )


def _relu(graph, layer, bottoms, shapes, blobs):
    slope = layer.relu_param.negative_slope
    return graph.add("LeakyRelu", bottoms, alpha=slope) if slope else graph.add("Relu", bottoms)


def _eltwise(graph, layer, bottoms, shapes, blobs):
    p = layer.eltwise_param
    weights = list(p.coeff) or [1.0] * len(bottoms)
    if p.operation == m.EltwiseParameter.SUM:
        bottoms = [b if weight == 1 else graph.add("Mul", [b], {"coefficient%d" % i: np.array(weight)}) for i, (b, weight) in enumerate(zip(bottoms, weights))]
    operator = {m.EltwiseParameter.SUM: "Add", m.EltwiseParameter.PROD: "Mul", m.EltwiseParameter.MAX: "Max"}[p.operation]
    made = bottoms[0]
    for bottom in bottoms[1:]:
        made = graph.add(operator, [made, bottom])
    return made


def _pooling(graph, layer, bottoms, shapes, blobs):
    """Caffe rounds the number of windows up, ONNX down: the pads at the end make up for it. An average counts the padding, not what is beyond."""
    p, sides, average = layer.pooling_param, shapes[0][1:], layer.pooling_param.pool == m.PoolingParameter.AVE
    if not average and p.pool != m.PoolingParameter.MAX:
        _refuse(layer, "only MAX and AVE are exported")
    kind = "AveragePool" if average else "MaxPool"
    if p.global_pooling:
        return graph.add("Global" + kind, bottoms)
    kernel, stride, pad = (describe.sides(p, name, default) for name, default in (("kernel", 0), ("stride", 1), ("pad", 0)))
    counts = describe.pooled(layer, shapes[0])
    if any((n - 1) * s >= side + d for n, s, side, d in zip(counts, stride, sides, pad)):
        _refuse(layer, "a window lies outside its input, and Caffe fills it with what it finds (round_mode: FLOOR leaves it out)")
    beyond = tuple(max(0, (n - 1) * s + k - side - d) for n, s, k, side, d in zip(counts, stride, kernel, sides, pad))
    how = dict(kernel_shape=kernel, strides=stride, pads=pad + beyond)
    if not average or not any(pad):  # without padding Caffe divides by the part of a window on the input, as ONNX does unless told
        return graph.add(kind, bottoms, **how)
    made = graph.add(kind, bottoms, count_include_pad=1, **how)
    # Caffe divides by the part of a window that lies on the input with its padding.
    down, across = (np.minimum(np.arange(n) * s + k, side + 2 * d) - np.arange(n) * s for n, s, k, side, d in zip(counts, stride, kernel, sides, pad))
    share = kernel[0] * kernel[1] / (down[:, None] * across)
    return made if (share == 1).all() else graph.add("Mul", [made], {"share": share[None, None]})


def _inner_product(graph, layer, bottoms, shapes, blobs):
    return graph.add(
        "Gemm", [graph.add("Flatten", bottoms, axis=1)], dict(zip(("weights", "bias"), blobs)), transB=int(not layer.inner_product_param.transpose)
    )


def _batch_norm(graph, layer, bottoms, shapes, blobs):
    p = layer.batch_norm_param
    if p.HasField("use_global_stats") and not p.use_global_stats:
        _refuse(
            layer,
            "use_global_stats: false makes each score depend on the others of its batch, which no exported file can give: take "
            "that line out of the prototxt for the stored statistics, or test it as it is with evaluation.test --unfolded",
        )
    return _affine(graph, bottoms, shapes, *fold.FOLDABLE[layer.type](layer, blobs))


def _scale(graph, layer, bottoms, shapes, blobs):
    return _affine(graph, bottoms, shapes, *blobs)


def _affine(graph, bottoms, shapes, gain, shift=None):
    """Each channel times `gain`, plus `shift`."""
    each = (1, -1) + (1,) * (len(shapes[0]) - 1)
    made = graph.add("Mul", bottoms, {"gain": gain.reshape(each)})
    return made if shift is None else graph.add("Add", [made], {"shift": shift.reshape(each)})


def _power(graph, layer, bottoms, shapes, blobs):
    p = layer.power_param
    made = graph.add("Add", [graph.add("Mul", bottoms, {"scale": np.array(p.scale)})], {"shift": np.array(p.shift)})
    return made if p.power == 1 else graph.add("Pow", [made], {"power": np.array(p.power)})


def _prelu(graph, layer, bottoms, shapes, blobs):
    return graph.add("PRelu", bottoms, {"slope": blobs[0].reshape((-1,) + (1,) * (len(shapes[0]) - 1))})


def _lrn(graph, layer, bottoms, shapes, blobs):
    p = layer.lrn_param
    if p.norm_region == m.LRNParameter.ACROSS_CHANNELS:
        return graph.add("LRN", bottoms, alpha=p.alpha, beta=p.beta, bias=p.k, size=p.local_size)
    # Within a channel: x / (1 + alpha * the mean of the squares around it) ^ beta; k has no effect in Caffe.
    squares = graph.add("Mul", bottoms + bottoms)
    around = graph.add("AveragePool", [squares], kernel_shape=[p.local_size] * 2, pads=[p.local_size // 2] * 4, count_include_pad=1)
    base = graph.add("Add", [graph.add("Mul", [around], {"alpha": np.array(p.alpha)})], {"one": np.array(1.0)})
    return graph.add("Mul", bottoms + [graph.add("Pow", [base], {"beta": np.array(-p.beta)})])


def _simply(operator, **attributes):
    return lambda graph, layer, bottoms, shapes, blobs: graph.add(operator, bottoms, **attributes)


RULES = {
    "Convolution": _convolution,
    "ReLU": _relu,
    "Eltwise": _eltwise,
    "Pooling": _pooling,
    "InnerProduct": _inner_product,
    "BatchNorm": _batch_norm,
    "Scale": _scale,
    "Power": _power,
    "PReLU": _prelu,
    "LRN": _lrn,
    "ELU": lambda graph, layer, bottoms, *_: graph.add("Elu", bottoms, alpha=layer.elu_param.alpha),
    "Concat": lambda graph, layer, bottoms, shapes, _: graph.add("Concat", bottoms, axis=describe.concat_axis(layer, len(shapes[0]))),
    "Reshape": lambda graph, layer, bottoms, *_: graph.add(
        "Reshape", bottoms, {"shape": np.array([0] * layer.reshape_param.axis + list(layer.reshape_param.shape.dim), np.int64)}
    ),
    "Dropout": lambda graph, layer, bottoms, *_: bottoms[0],  # it does nothing outside training
    "Softmax": _simply("Softmax", axis=1),
    "Flatten": _simply("Flatten", axis=1),
    "Sigmoid": _simply("Sigmoid"),
    "TanH": _simply("Tanh"),
    "AbsVal": _simply("Abs"),
}
