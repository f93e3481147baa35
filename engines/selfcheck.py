"""The doctor's self-check: small nets in Caffe, held against NumPy. What must hold is what BVLC Caffe 1.0 does.

The paper's training leans most on BatchNorm, which some builds compute wrongly while all else works. To be run by
engines.doctor in a process of its own: a failed CHECK in Caffe aborts the process.
"""

import contextlib
import os
import tempfile

import lmdb
import numpy as np

from common import errors
from common.caffe import binary

EPS, FRACTION = 1e-5, 0.999  # Caffe's defaults
BATCHNORM = 'type: "BatchNorm" batch_norm_param { eps: %g moving_average_fraction: %g }' % (EPS, FRACTION)
LINEAR = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 5 } } }
layer { name: "target" type: "Input" top: "target" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
        inner_product_param { num_output: 3 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "target" top: "loss" }
"""
SOLVER = """
net: "%s" type: "Nesterov" solver_mode: CPU base_lr: 0.1 momentum: 0.9 weight_decay: 0.05
lr_policy: "multistep" gamma: 0.1 stepvalue: 3 max_iter: 6 snapshot_after_train: false
"""
DATA = """
layer { name: "x" type: "Data" top: "x" top: "label" data_param { source: "%s" backend: LMDB batch_size: 8 }
        transform_param { crop_size: 32 mean_file: "%s" } }
"""


def run(caffe, done=lambda name: None):
    """Hold the module `caffe` against NumPy; done(name) after each check. Raise errors.Fail with what is wrong first."""
    for name, check in CHECKS:
        check(caffe)
        done(name)


# ---------------------------------------------------------------- the checks


def check_convolution(caffe):
    """3x3 with pad 1 (the net's trunk) and 2x2 with stride 2 (its projections), no bias."""
    x = noise(2, 3, 8, 8)
    for size, pad, stride in [(3, 1, 1), (2, 0, 2)]:
        what = "convolution %dx%d, pad %d, stride %d" % (size, size, pad, stride)
        param = "num_output: 4 kernel_size: %d pad: %d stride: %d bias_term: false" % (size, pad, stride)
        weights = noise(4, 3, size, size)
        with net(caffe, x.shape, 'type: "Convolution" convolution_param { %s }' % param) as convolution:
            convolution.params["y"][0].data[...] = weights
            same(what, forward(convolution, x), convolve(x, weights, pad, stride))


def check_pooling(caffe):
    """3x3 maximum with stride 2, whose last window hangs over the edge, and the global average."""
    x = noise(2, 3, 8, 8)
    wanted = [[x[:, :, i : i + 3, j : j + 3].max((2, 3)) for j in range(0, 8, 2)] for i in range(0, 8, 2)]
    with net(caffe, x.shape, 'type: "Pooling" pooling_param { pool: MAX kernel_size: 3 stride: 2 }') as pooling:
        same("maximum pooling", forward(pooling, x), np.array(wanted).transpose(2, 3, 0, 1))
    with net(caffe, x.shape, 'type: "Pooling" pooling_param { pool: AVE global_pooling: true }') as pooling:
        same("global average pooling", forward(pooling, x), x.mean((2, 3), keepdims=True))


def check_scale(caffe):
    """A factor and a bias for each channel."""
    x, factor, bias = noise(2, 3, 4, 4), noise(3), noise(3) + 1
    with net(caffe, x.shape, 'type: "Scale" scale_param { bias_term: true }') as scale:
        set_params(scale, factor, bias)
        same("Scale", forward(scale, x), x * factor[:, None, None] + bias[:, None, None])


def check_batchnorm_train(caffe):
    """In TRAIN: the batch's own mean and variance; its three running blobs; its gradient."""
    x, stored = noise(4, 3, 5, 5) * 3 + 1, stored_statistics()
    mean, variance, count = x.mean((0, 2, 3)), x.var((0, 2, 3)), x.size / 3
    with net(caffe, x.shape, BATCHNORM, caffe.TRAIN) as batchnorm:
        set_params(batchnorm, *stored)
        got = forward(batchnorm, x)
        if not close(got, normalised(x, mean, variance)):
            raise errors.Fail(
                "BatchNorm in TRAIN does not use the batch's own mean and variance (PyPI's kendryte-caffe does not either): training would give NaN"
            )
        for what, blob, old, new in zip(["mean", "variance", "scale factor"], batchnorm.params["y"], stored, [mean, variance * count / (count - 1), 1]):
            same("BatchNorm's running %s" % what, blob.data, FRACTION * old + new)
        slope = noise(*x.shape)[::-1]
        batchnorm.blobs["y"].diff[...] = slope
        batchnorm.backward()
        centred = slope - slope.mean((0, 2, 3), keepdims=True) - got * (slope * got).mean((0, 2, 3), keepdims=True)
        same("BatchNorm's gradient", batchnorm.blobs["x"].diff, centred / np.sqrt(variance + EPS)[:, None, None])


def check_batchnorm_test(caffe):
    """In TEST: the running statistics, divided by the scale factor; an image's output is its own affair."""
    x, (mean, variance, factor) = noise(4, 3, 5, 5), stored_statistics()
    with net(caffe, x.shape, BATCHNORM) as batchnorm:
        set_params(batchnorm, mean, variance, factor)
        same("BatchNorm in TEST", forward(batchnorm, x), normalised(x, mean / factor, variance / factor))
        others = np.concatenate([x[:1], 10 * x[1:]])
        same("BatchNorm in TEST beside other images", forward(batchnorm, others)[0], normalised(x[0], mean / factor, variance / factor))


def check_nesterov(caffe):
    """Six steps: weight decay, momentum, a bias with its own rate, and a tenth of the rate from the fourth step on.

    Caffe keeps the rate inside the history, so steps 4 to 6 differ from solvers that apply it outside.
    """
    x, target, weights, bias = noise(4, 5), noise(4, 3), noise(3, 5), noise(3)
    with folder() as place:
        solver = caffe.get_solver(write(place, "solver.prototxt", SOLVER % write(place, "net.prototxt", LINEAR)))
    solver.net.blobs["x"].data[...], solver.net.blobs["target"].data[...] = x, target
    set_params(solver.net, weights, bias)
    values, history = [weights, bias], [0, 0]
    for step in range(1, 7):
        rate = 0.1 if step <= 3 else 0.01
        error = (x.dot(values[0].T) + values[1] - target) / len(x)
        slopes = [error.T.dot(x) + 0.05 * values[0], 2 * error.sum(0)]  # the bias: twice the rate, no decay
        new = [0.9 * old + rate * slope for old, slope in zip(history, slopes)]
        values = [value - 1.9 * n + 0.9 * old for value, n, old in zip(values, new, history)]
        history = new
        solver.step(1)
        for blob, value in zip(solver.net.params["y"], values):
            same("the Nesterov solver's step %d (the rate falls in step 4)" % step, blob.data, value)


def check_data(caffe):
    """A Data layer on an LMDB: the mean subtracted where the crop lies; the centre in TEST, some window in TRAIN."""
    images = np.random.RandomState(5).randint(0, 256, (8, 3, 40, 40)).astype(np.uint8)
    mean = noise(3, 40, 40) * 20 + 128
    wanted = images - mean
    with data_net(caffe, images, mean, caffe.TEST) as data:
        data.forward()
        same("the Data layer's labels", data.blobs["label"].data.ravel(), np.arange(8))
        same("the Data layer in TEST (mean, centre crop)", data.blobs["x"].data, wanted[:, :, 4:36, 4:36])
    with data_net(caffe, images, mean, caffe.TRAIN) as data:
        seen = {window(crop, image) for _ in range(3) for crop, image in zip(data.forward()["x"].copy(), wanted)}
    if None in seen:
        raise errors.Fail("the Data layer in TRAIN gives a crop that is no window of its image minus the mean")
    if len(seen) < 3:
        raise errors.Fail("the Data layer in TRAIN always cuts the same window")


CHECKS = [
    ("convolution", check_convolution),
    ("pooling", check_pooling),
    ("Scale", check_scale),
    ("BatchNorm in TRAIN", check_batchnorm_train),
    ("BatchNorm in TEST", check_batchnorm_test),
    ("Nesterov steps", check_nesterov),
    ("Data layer", check_data),
]


# ---------------------------------------------------------------- what Caffe gives


@contextlib.contextmanager
def net(caffe, shape, layer, phase=None):
    """A caffe.Net of one layer "y" on an input "x" of this shape; phase TEST unless told."""
    dims = " ".join("dim: %d" % size for size in shape)
    text = 'force_backward: true layer { name: "x" type: "Input" top: "x" input_param { shape { %s } } }\n' % dims
    text += 'layer { name: "y" bottom: "x" top: "y" %s }\n' % layer
    with folder() as place:
        yield caffe.Net(write(place, "net.prototxt", text), caffe.TEST if phase is None else phase)


@contextlib.contextmanager
def data_net(caffe, images, mean, phase):
    """A caffe.Net of one Data layer over uint8 images (labels 0, 1, 2, ...) and a float32 mean image."""
    with folder() as place:
        source, mean_file = os.path.join(place, "lmdb"), os.path.join(place, "mean.binaryproto")
        binary.write_mean(mean_file, mean)
        with lmdb.open(source, map_size=1 << 24) as database, database.begin(write=True) as transaction:
            for i, image in enumerate(images):
                transaction.put(b"%08d" % i, binary.datum(image, i))
        yield caffe.Net(write(place, "net.prototxt", DATA % (source, mean_file)), phase)


def set_params(net, *values):
    for blob, value in zip(net.params["y"], values):
        blob.data[...] = value


def forward(net, x):
    """The output "y" for the input x, a copy."""
    net.blobs["x"].data[...] = x
    net.forward()
    return net.blobs["y"].data.copy()


def folder():
    return tempfile.TemporaryDirectory(prefix="fer-lite-")


def write(place, name, text):
    path = os.path.join(place, name)
    with open(path, "w") as f:
        f.write(text)
    return path


# ---------------------------------------------------------------- what NumPy says


def noise(*shape):
    """Normal random float32 of this shape: the same in every run."""
    return np.random.RandomState(sum(shape)).randn(*shape).astype(np.float32)


def stored_statistics():
    """Running mean and variance of three channels and the scale factor, as BatchNorm stores them."""
    return np.array([1, -2, 3], np.float32), np.array([4, 9, 16], np.float32), np.array([2], np.float32)


def normalised(x, mean, variance):
    return (x - mean[:, None, None]) / np.sqrt(variance + EPS)[:, None, None]


def convolve(x, weights, pad, stride):
    """Cross-correlation of x (N x C x H x W) with weights (O x C x K x K), zeros around."""
    x, size = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), "constant"), weights.shape[2]
    starts = range(0, x.shape[2] - size + 1, stride)
    sums = [[np.tensordot(x[:, :, i : i + size, j : j + size], weights, ([1, 2, 3], [1, 2, 3])) for j in starts] for i in starts]
    return np.array(sums).transpose(2, 3, 0, 1)


def window(crop, image):
    """(row, column) of the window of `image` that equals `crop`, or None."""
    size = crop.shape[-1]
    for i in range(image.shape[1] - size + 1):
        for j in range(image.shape[2] - size + 1):
            if close(crop[0, 0, :3], image[0, i, j : j + 3]) and close(crop, image[:, i : i + size, j : j + size]):
                return i, j
    return None


def close(got, wanted):
    return np.allclose(got, wanted, rtol=1e-3, atol=1e-4)


def same(what, got, wanted):
    if np.shape(got) != np.shape(wanted):
        raise errors.Fail("%s has shape %s, not %s" % (what, np.shape(got), np.shape(wanted)))
    if not close(got, wanted):
        raise errors.Fail("%s is off by up to %.3g" % (what, np.abs(got - wanted).max()))
