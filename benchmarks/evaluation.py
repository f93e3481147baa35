"""Ten-crop testing against pycaffe's own `caffe.Classifier(...).predict(oversample=True)`, side by side.

The same network, the same images and the same ten crops, in turns within one run; images per second is the median of
the turns. `caffe.Classifier` is used as its documentation shows it: images of 36x36, RGB, 0 to 1. It fails when a
prediction differs, or a folded score by more than 1e-4.
"""

import argparse
import contextlib
import os
import statistics
import tempfile
import time

import numpy as np

from common import errors, parallel
from common.caffe import binary, text
from common.caffe import messages as m
from engines.caffe import load
from engines.caffe import network as networks
from evaluation import data
from fer_lite import crops
from netgen import nets, weights
from paper import facts

AT_ONCE = 25  # images handed to a process together
TOLERANCE = 1e-4  # of a folded net's scores


def classifier(deploy, caffemodel, mean):
    """pycaffe's Classifier as a function: uint8 N x 3 x 36 x 36 (BGR) -> float32 N x classes."""
    caffe = load()
    made = caffe.Classifier(deploy, caffemodel, image_dims=mean.shape[1:], mean=mean[:, 0, 0], raw_scale=255, channel_swap=(2, 1, 0))

    def predict(images):
        rgb = images[:, ::-1].transpose(0, 2, 3, 1).astype(np.float32) / 255
        return made.predict(list(rgb), oversample=True)

    return predict


def ours(test):
    """What networks.tester yields as such a function."""

    def predict(images):
        batches = [data.Batch([], images[i : i + AT_ONCE], []) for i in range(0, len(images), AT_ONCE)]
        return np.concatenate([ten_crop for _, (ten_crop, _) in test(batches)])

    return predict


def random_weights(net, images, mean):
    """Random weights whose predictions differ from image to image, so that equal predictions mean something.

    The last layer is centred and scaled: over the centre crops of `images` each class's score has mean 0 and, all in all,
    standard deviation 1.
    """
    model = weights.random(net)
    network, size = networks.Network(net, model), nets.input_shape(net)[-1]
    scores = np.log(network.probabilities(crops.ten_crops(images, mean, size)[:, crops.CENTRE]))
    scores -= scores.mean(axis=1, keepdims=True)
    scale = (scores - scores.mean(axis=0)).std()
    last = [layer for layer in model.layer if layer.type == "InnerProduct"][-1]
    kernel, bias = map(binary.blob_to_array, last.blobs)
    for blob, values in zip(last.blobs, (kernel / scale, (bias - scores.mean(axis=0)) / scale)):
        blob.CopyFrom(binary.array_to_blob(values))
    return model


def check(rows):
    """Fail unless all of `rows` (compare's) predict and score as the first."""
    _, _, reference = rows[0]
    for name, _, found in rows[1:]:
        others = int((found.argmax(axis=1) != reference.argmax(axis=1)).sum())
        if others or abs(found - reference).max() > TOLERANCE:
            raise errors.Fail(
                "%s: %d predictions are others than those of %s, scores differ by up to %.1e: run `make doctor`"
                % (name, others, rows[0][0], abs(found - reference).max())
            )


def compare(ways, images, turns):
    """[(name, images per second, probabilities)] of each of `ways` (name -> function), run in turns."""
    results, seconds = {name: predict(images[:10]) for name, predict in ways.items()}, {name: [] for name in ways}
    for _ in range(turns):
        for name, predict in ways.items():
            start = time.perf_counter()
            results[name] = predict(images)
            seconds[name].append(time.perf_counter() - start)
    return [(name, len(images) / statistics.median(seconds[name]), results[name]) for name in ways]


def table(rows, images):
    """The printed comparison; everything relative to the first row."""
    _, slowest, reference = rows[0]
    lines = ["ten crops of %d images" % len(images), "%-42s %9s %6s %12s %16s" % ("", "images/s", "ratio", "max |diff|", "same prediction")]
    for name, rate, found in rows:
        same = (found.argmax(axis=1) == reference.argmax(axis=1)).sum()
        lines.append("%-42s %9.1f %6.2f %12.1e %16s" % (name, rate, rate / slowest, abs(found - reference).max(), "%d of %d" % (same, len(images))))
    return "\n".join(lines)


def some_images(folder, split, count):
    """(images, mean): the first `count` of a part, or random ones where it has not been made."""
    if os.path.isdir(os.path.join(folder, split + "_lmdb")):
        part = data.open_part(folder, split, (3, facts.CROP, facts.CROP))
        return next(data.batches(part, count))[1], part.mean
    print("no %s/%s_lmdb (`make data` makes it): random images instead" % (folder, split))
    shape = (3, facts.RESIZE, facts.RESIZE)
    return np.random.RandomState(1).randint(0, 256, (count,) + shape).astype(np.uint8), np.full(shape, 128, np.float32)


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.evaluation", description=__doc__.splitlines()[0])
    parser.add_argument("--deploy", default="prototxt/resnet20_ferplus_deploy.prototxt")
    parser.add_argument("--weights", help="caffemodel (default: random weights; speed does not depend on them)")
    parser.add_argument("--data", default="data/ferplus")
    parser.add_argument("--split", default="valid")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    net = text.read(args.deploy, m.NetParameter)
    images, mean = some_images(args.data, args.split, args.images)
    with tempfile.TemporaryDirectory() as folder:
        caffemodel = args.weights or os.path.join(folder, "random.caffemodel")
        if not args.weights:
            binary.write(caffemodel, random_weights(net, images, mean))
        model = weights.load(caffemodel, net)
        ways = {"caffe.Classifier, oversample=True": classifier(args.deploy, caffemodel, mean)}
        processes = parallel.count()
        with contextlib.ExitStack() as stack:
            for name, folded, workers in (
                ("ours, the deploy net, 1 process", False, 1),
                ("ours, folded, 1 process", True, 1),
                ("ours, folded, %d processes" % processes, True, processes),
            ):
                tester = networks.tester(net, model, mean, folded, workers)
                ways[name] = ours(stack.enter_context(tester))
            rows = compare(ways, images, args.turns)
    print("%s, %s, %s" % (net.name, args.weights or "random weights", table(rows, images)))
    check(rows)


if __name__ == "__main__":
    main()
