"""A folded deploy net as ONNX model: mean subtraction and softmax inside, so that it takes pixels and gives probabilities.

Each Caffe layer becomes one or two ONNX operators. Opset 13 is the first whose quantisation knows channels, and IR 8 is
read by runtimes since 2021; OpenCV 4.5.1 and later read both.
"""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from common import errors
from common.caffe import binary
from common.caffe import messages as m
from netgen import describe

OPSET, IR = 13, 8
FREE = "N"  # the batch's name where it is free


def build(net, model, mean, metadata, batch=FREE):
    """An ONNX ModelProto from a folded deploy net and its caffemodel (NetParameters).

    Its input is float32 `batch` x C x H x W, 0 to 255, its output float32 `batch` x classes, under Caffe's names (data,
    prob). `mean`: float32 C; `metadata`: dict of str; `batch`: a number, or FREE. Fail on a layer that ONNX has no
    operator for.
    """
    data, output = net.layer[0], net.layer[-1]
    blobs = binary.layers(model)
    shape = tuple(data.input_param.shape[0].dim[1:])
    nodes, arrays = [], {"mean": mean.reshape(1, -1, 1, 1)}
    tensors = {data.top[0]: "centred"}  # Caffe's blob -> the tensor that holds it now; layers in place make a new one
    shapes = {data.top[0]: shape}
    nodes.append(helper.make_node("Sub", [data.top[0], "mean"], ["centred"], "subtract_mean"))
    for layer, cost in zip(net.layer[1:], describe.costs(net)[1:]):
        bottoms = [tensors[name] for name in layer.bottom]
        for i, (operator, values, attributes) in enumerate(_operators(layer, shapes, blobs.get(layer.name, []))):
            names = ["%s_%s" % (layer.name, key) for key in values]
            arrays.update(zip(names, values.values()))
            made = "%s_%d" % (layer.name, i)
            nodes.append(helper.make_node(operator, bottoms + names, [made], made, **attributes))
            bottoms = [made]
        tensors[layer.top[0]], shapes[layer.top[0]] = bottoms[0], cost.shape
    nodes[-1].output[0] = output.top[0]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (batch,) + sides)
            for name, sides in ((data.top[0], shape), (output.top[0], shapes[output.top[0]]))]
    graph = helper.make_graph(nodes, net.name, ends[:1], ends[1:],
                              [numpy_helper.from_array(value.astype("float32"), name) for name, value in arrays.items()])
    made = helper.make_model(graph, producer_name="fer-lite", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    helper.set_model_props(made, metadata)
    onnx.checker.check_model(made, full_check=True)
    return made


def _operators(layer, shapes, blobs):
    """The operators of a layer: [(ONNX's name, {name: array of an input}, attributes)], each fed by the one before."""
    if layer.type not in RULES:
        raise errors.Fail("layer %s of type %s has no ONNX operator here: export a folded net of %s"
                          % (layer.name, layer.type, ", ".join(sorted(RULES))))
    return RULES[layer.type](layer, [shapes[name] for name in layer.bottom], blobs)


def _sides(parameter, kind, default):
    """(height, width) of a convolution's kernel, pad, stride or dilation."""
    field = "kernel_size" if kind == "kernel" else kind
    if kind != "dilation" and parameter.HasField(kind + "_h"):
        return [getattr(parameter, kind + "_h"), getattr(parameter, kind + "_w")]
    values = list(getattr(parameter, field)) or [default]
    return values * (2 if len(values) == 1 else 1)


def _convolution(layer, bottoms, blobs):
    p = layer.convolution_param
    attributes = dict(kernel_shape=_sides(p, "kernel", 1), strides=_sides(p, "stride", 1), pads=2 * _sides(p, "pad", 0),
                      dilations=_sides(p, "dilation", 1), group=p.group)
    return [("Conv", dict(zip(("weights", "bias"), blobs)), attributes)]


def _relu(layer, bottoms, blobs):
    slope = layer.relu_param.negative_slope
    return [("LeakyRelu", {}, {"alpha": slope})] if slope else [("Relu", {}, {})]


def _eltwise(layer, bottoms, blobs):
    p = layer.eltwise_param
    if p.operation != m.EltwiseParameter.SUM or set(p.coeff) - {1.0} or len(bottoms) != 2:
        raise errors.Fail("layer %s: only plain sums of two are exported" % layer.name)
    return [("Add", {}, {})]


def _pooling(layer, bottoms, blobs):
    p = layer.pooling_param
    kind = {m.PoolingParameter.MAX: "MaxPool", m.PoolingParameter.AVE: "AveragePool"}[p.pool]
    if p.global_pooling:
        return [("Global" + kind, {}, {})]
    return [(kind, {}, _windows(layer, bottoms[0][1:]))]


def _windows(layer, sides):
    """kernel, strides and pads. Caffe rounds the number of windows up, ONNX down: the pads at the end make up for it."""
    p = layer.pooling_param
    if p.pad or p.HasField("kernel_h") or p.HasField("stride_h"):
        raise errors.Fail("layer %s: only square windows without padding are exported" % layer.name)
    down = p.round_mode == m.PoolingParameter.FLOOR
    beyond = [0 if down else -(side - p.kernel_size) % p.stride for side in sides]
    if any(beyond) and p.pool == m.PoolingParameter.AVE:
        raise errors.Fail("layer %s: averages over windows that reach beyond the edge are not exported" % layer.name)
    return dict(kernel_shape=[p.kernel_size] * 2, strides=[p.stride] * 2, pads=[0, 0] + beyond)


def _inner_product(layer, bottoms, blobs):
    return [("Flatten", {}, {"axis": 1}), ("Gemm", dict(zip(("weights", "bias"), blobs)), {"transB": 1})]


def _power(layer, bottoms, blobs):
    p = layer.power_param
    if p.power != 1:
        raise errors.Fail("layer %s: only the power 1 is exported" % layer.name)
    return [("Mul", {"scale": np.array(p.scale)}, {}), ("Add", {"shift": np.array(p.shift)}, {})]


RULES = {
    "Convolution": _convolution, "ReLU": _relu, "Eltwise": _eltwise, "Pooling": _pooling, "InnerProduct": _inner_product,
    "Power": _power, "Concat": lambda *_: [("Concat", {}, {"axis": 1})], "Softmax": lambda *_: [("Softmax", {}, {"axis": 1})],
}
