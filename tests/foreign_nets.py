"""Other people's Caffe nets, as they are found: drawn here with random weights, in every format that Caffe itself reads."""

import os

import numpy as np
from google.protobuf import text_format

from common.caffe import binary, upgrade
from common.caffe import messages as m
from netgen import weights

FIELDS = """name: "fields" input: "data" input_dim: 1 input_dim: 3 input_dim: 48 input_dim: 48
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 6 kernel_size: 5 stride: 2 } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "p" top: "fc" inner_product_param { num_output: 7 } }
"""
GREY = """input: "pixels" input_shape { dim: 10 dim: 1 dim: 48 dim: 48 }
layer { name: "c" type: "Convolution" bottom: "pixels" top: "c"
        convolution_param { num_output: 5 kernel_h: 3 kernel_w: 5 pad_h: 1 pad_w: 0 stride_h: 2 stride_w: 3 } }
layer { name: "s" type: "Sigmoid" bottom: "c" top: "s" }
layer { name: "p" type: "Pooling" bottom: "s" top: "p" pooling_param { pool: AVE kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 1 } }
layer { name: "d" type: "Dropout" bottom: "p" top: "p" dropout_param { dropout_ratio: 0.4 } }
layer { name: "fc" type: "InnerProduct" bottom: "p" top: "fc" inner_product_param { num_output: 3 bias_term: false } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
V1 = """name: "CaffeNet" input: "data" input_dim: 10 input_dim: 3 input_dim: 64 input_dim: 64
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
         convolution_param { num_output: 8 kernel_size: 5 stride: 2 weight_filler { type: "gaussian" std: 0.01 } } }
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }
layers { name: "pool1" type: POOLING bottom: "conv1" top: "pool1" pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layers { name: "norm1" type: LRN bottom: "pool1" top: "norm1" lrn_param { local_size: 5 alpha: 0.1 beta: 0.75 } }
layers { name: "conv2" type: CONVOLUTION bottom: "norm1" top: "conv2" convolution_param { num_output: 6 pad: 2 kernel_size: 5 group: 2 } }
layers { name: "tanh2" type: TANH bottom: "conv2" top: "conv2" }
layers { name: "fc6" type: INNER_PRODUCT bottom: "conv2" top: "fc6" inner_product_param { num_output: 9 } }
layers { name: "drop6" type: DROPOUT bottom: "fc6" top: "fc6" dropout_param { dropout_ratio: 0.5 } }
layers { name: "fc8" type: INNER_PRODUCT bottom: "fc6" top: "fc8" inner_product_param { num_output: 8 } }
layers { name: "prob" type: SOFTMAX bottom: "fc8" top: "prob" }
"""
LAYERS = """name: "layers"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 21 dim: 21 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 6 kernel_size: 3 pad: 1 stride: 2 } }
layer { name: "n" type: "LRN" bottom: "c" top: "n" lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL } }
layer { name: "e" type: "ELU" bottom: "n" top: "e" elu_param { alpha: 0.7 } }
layer { name: "p" type: "PReLU" bottom: "c" top: "p" }
layer { name: "q" type: "PReLU" bottom: "p" top: "q" prelu_param { channel_shared: true } }
layer { name: "a" type: "AbsVal" bottom: "c" top: "a" }
layer { name: "w" type: "Power" bottom: "a" top: "w" power_param { power: 1.5 scale: 0.5 shift: 0.25 } }
layer { name: "sum" type: "Eltwise" bottom: "e" bottom: "q" bottom: "w" top: "sum" eltwise_param { coeff: 1 coeff: -0.5 coeff: 2 } }
layer { name: "most" type: "Eltwise" bottom: "e" bottom: "q" bottom: "sum" top: "most" eltwise_param { operation: MAX } }
layer { name: "product" type: "Eltwise" bottom: "most" bottom: "sum" bottom: "e" top: "product" eltwise_param { operation: PROD } }
layer { name: "rows" type: "Concat" bottom: "product" bottom: "sum" top: "rows" concat_param { axis: 2 } }
layer { name: "wide" type: "Pooling" bottom: "rows" top: "wide" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "edge" type: "Pooling" bottom: "wide" top: "edge" pooling_param { pool: AVE kernel_size: 4 stride: 3 } }
layer { name: "high" type: "Pooling" bottom: "wide" top: "high" pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "flat" type: "Flatten" bottom: "edge" top: "flat" }
layer { name: "shaped" type: "Reshape" bottom: "high" top: "shaped" reshape_param { shape { dim: 4 dim: -1 } } }
layer { name: "tail" type: "Reshape" bottom: "shaped" top: "tail" reshape_param { axis: 1 shape { dim: 2 dim: -1 } } }
layer { name: "flatter" type: "Flatten" bottom: "tail" top: "flatter" }
layer { name: "both" type: "Concat" bottom: "flat" bottom: "flatter" top: "both" concat_param { concat_dim: 1 } }
layer { name: "fc" type: "InnerProduct" bottom: "both" top: "fc" inner_product_param { num_output: 5 transpose: true } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" softmax_param { axis: -1 } }
"""
NORMS = """name: "norms"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 24 dim: 24 } } }
layer { name: "first" type: "BatchNorm" bottom: "data" top: "first" batch_norm_param { eps: 0.001 } }
layer { name: "gain" type: "Scale" bottom: "first" top: "gain" }
layer { name: "c" type: "Convolution" bottom: "gain" top: "c" convolution_param { num_output: 6 kernel_size: 3 bias_term: false } }
layer { name: "n" type: "BatchNorm" bottom: "c" top: "n" batch_norm_param { use_global_stats: true } }
layer { name: "g" type: "Scale" bottom: "n" top: "g" scale_param { bias_term: true } }
layer { name: "r" type: "ReLU" bottom: "g" top: "g" }
layer { name: "d" type: "Convolution" bottom: "g" top: "d" convolution_param { num_output: 6 kernel_size: 3 pad: 1 } }
layer { name: "m" type: "BatchNorm" bottom: "d" top: "m" }
layer { name: "s" type: "Eltwise" bottom: "d" bottom: "m" top: "s" }
layer { name: "drop" type: "Dropout" bottom: "s" top: "s" include { phase: TRAIN } }
layer { name: "p" type: "Pooling" bottom: "s" top: "p" pooling_param { pool: AVE kernel_size: 5 stride: 5 } }
layer { name: "fc" type: "InnerProduct" bottom: "p" top: "fc" inner_product_param { num_output: 4 } }
layer { name: "fcn" type: "BatchNorm" bottom: "fc" top: "fc" }
layer { name: "fcs" type: "Scale" bottom: "fc" top: "fc" scale_param { bias_term: true } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
SQUEEZE = """name: "squeeze" input: "data" input_shape { dim: 1 dim: 3 dim: 32 dim: 32 }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 6 kernel_size: 3 stride: 2 } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "one" type: "Convolution" bottom: "c" top: "one" convolution_param { num_output: 7 kernel_size: 1 } }
layer { name: "p" type: "Pooling" bottom: "one" top: "p" pooling_param { pool: AVE global_pooling: true } }
layer { name: "prob" type: "Softmax" bottom: "p" top: "prob" }
"""
NETS = {"fields": FIELDS, "grey": GREY, "v1": V1, "layers": LAYERS, "norms": NORMS, "squeeze": SQUEEZE}
MEAN, SCALE = {1: [117.0], 3: [104.0, 117.0, 123.0]}, 0.0078125


def write(folder, name, text=None, seed=0):
    """(prototxt, caffemodel) of a net of NETS, or of another text, written in `folder`; a V1 net's weights in V1's own form."""
    text = text or NETS[name]
    prototxt, caffemodel = (os.path.join(str(folder), name + ending) for ending in (".prototxt", ".caffemodel"))
    with open(prototxt, "w") as f:
        f.write(text)
    net = modern(text)
    model = weights.random(net, seed)
    for layer in model.layer:  # pixels come scaled
        if net.layer[0].top[0] in layer.bottom and layer.type == "Convolution":
            layer.blobs[0].CopyFrom(binary.array_to_blob(binary.blob_to_array(layer.blobs[0]) / weights.FIRST))
        elif layer.type == "InnerProduct":
            layer.blobs[0].CopyFrom(binary.array_to_blob(binary.blob_to_array(layer.blobs[0]) / (2 * weights.LAST)))
    binary.write(caffemodel, legacy(model, text) if "layers {" in text else model)
    return prototxt, caffemodel


def modern(text):
    net = text_format.Parse(text, m.NetParameter())
    upgrade.upgrade(net, "drawn")
    net.layer[0].input_param.shape[0].dim[0] = 1
    for layer in net.layer:
        if layer.type == "Reshape" and layer.reshape_param.shape.dim[0] == 4:
            layer.reshape_param.shape.dim[0] = 0
    return net


def legacy(model, text):
    """`model` as Caffe of 2014 stored it: V1 layers, blobs of num, channels, height and width."""
    old = text_format.Parse(text, m.NetParameter())
    blobs = binary.layers(model)
    for layer in old.layers:
        for array in blobs.get(layer.name, ()):
            num, channels, height, width = (1,) * (4 - array.ndim) + array.shape
            layer.blobs.add(num=num, channels=channels, height=height, width=width, data=array.ravel())
    return old


def pixels(net, count, seed=1):
    """Coarse random images, uint8 N x C x S x S, for the input of a NetParameter."""
    _, channels, side, _ = modern(NETS.get(net, net)).layer[0].input_param.shape[0].dim
    coarse = np.random.RandomState(seed).randint(0, 256, (count, channels, 4, 4))
    return np.kron(coarse, np.ones((side // 4 + 1,) * 2))[..., :side, :side].astype(np.uint8)
