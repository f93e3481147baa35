"""A float ONNX model in int8, by ONNX Runtime's own static quantisation, calibrated on training images.

Weights are signed, with a scale a channel, activations unsigned, with a scale a tensor; both stand as QuantizeLinear and
DequantizeLinear around float operators (QDQ), which ONNX Runtime fuses to integer ones. Weights have seven bits: x86 without VNNI adds
two products in 16, and 2 x 255 x 64 is the most that fits. Unsigned activations are what x86
multiplies: on one with VNNI a crop took 0.20 ms so, 0.53 with signed ones and 0.39 in float (least of 150, one thread). Mean
subtraction, the final layer and softmax stay float: they are a thousandth of the arithmetic.
"""

import itertools
import logging
import os
import tempfile
from collections import defaultdict

import numpy as np
import onnx
from onnxruntime import quantization

from evaluation import data
from fer_lite import crops

IMAGES = 500  # for calibration; the LMDB is shuffled, so that its first ones are a sample
QUANTISED = ["Conv", "Add", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat"]


def calibration_crops(part, size, images=IMAGES):
    """float32 N x C x size x size, 0 to 255: one crop each of the first images of a data.Part, the training one.

    The ten crops take turns.
    """
    batch = next(data.batches(part, images))
    ten = crops.ten_crops(batch.images, np.float32(0), size)
    return ten[np.arange(len(ten)), np.arange(len(ten)) % ten.shape[1]]


class _Crops(quantization.CalibrationDataReader):
    """Batches of crops, as ONNX Runtime's calibration asks for them."""

    def __init__(self, name, shown, at_once=50):
        self.batches = iter([{name: shown[i : i + at_once]} for i in range(0, len(shown), at_once)])

    def get_next(self):
        return next(self.batches, None)


def int8(model, shown):
    """The int8 ModelProto of a float one (onnx_net.build, free batch); `shown`: calibration_crops."""
    with tempfile.TemporaryDirectory(prefix="fer-lite-") as folder:
        source, out = os.path.join(folder, "float.onnx"), os.path.join(folder, "int8.onnx")
        onnx.save(model, source)
        logging.disable(logging.WARNING)  # it advises a preparation that folded nets do not need
        try:
            quantization.quantize_static(
                source,
                out,
                _Crops(model.graph.input[0].name, shown),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=QUANTISED,
                per_channel=True,
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
        finally:
            logging.disable(logging.NOTSET)
        made = onnx.load(out)
    made.ir_version = model.ir_version
    return shortly_named(made)


def shortly_named(model):
    """The model with short names for all but what goes in and out: long ones are a fifth of a small network's file. Changed in place."""
    kept = {value.name for value in (*model.graph.input, *model.graph.output)}
    free = (name for name in map("{:x}".format, itertools.count()) if name not in kept)
    short = defaultdict(lambda: next(free), {name: name for name in kept | {""}})

    for tensor in model.graph.initializer:
        tensor.name = short[tensor.name]
    for node in model.graph.node:
        node.name = ""
        node.input[:], node.output[:] = [short[name] for name in node.input], [short[name] for name in node.output]
    del model.graph.value_info[:]
    return model
