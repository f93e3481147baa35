"""Small data for the tests of evaluation and report: a data set in its LMDB form, and random weights for a net."""

import csv
import os

import numpy as np

from common.caffe import binary, text
from netgen import resnet
from netgen import weights as net_weights


def write_part(folder, split, count, side=36, seed=0, classes=8, blank=0):
    """SPLIT_lmdb, SPLIT.csv and mean.binaryproto of `count` random images in `folder`; the first `blank` are all zero."""
    import lmdb

    rng = np.random.RandomState(seed)
    images = rng.randint(1, 256, (count, 3, side, side)).astype(np.uint8)
    images[:blank] = 0
    labels = rng.randint(0, classes, count)
    os.makedirs(folder, exist_ok=True)
    with lmdb.open(os.path.join(folder, split + "_lmdb"), map_size=1 << 26) as env, env.begin(write=True) as transaction:
        for i in range(count):
            transaction.put(b"%08d" % i, binary.datum(images[i], labels[i]))
    with open(os.path.join(folder, split + ".csv"), "w", newline="") as f:
        table = csv.writer(f)
        table.writerow(["key", "name", "label"])
        table.writerows(["%08d" % i, "fer%07d.png" % i, labels[i]] for i in range(count))
    mean = np.array([104, 117, 123], np.float32)[:, None, None] * np.ones((1, side, side), np.float32)
    binary.write_mean(os.path.join(folder, "mean.binaryproto"), mean)
    return images, labels, mean


def write_network(folder, depth=20, dataset="ferplus", classes=8, seed=0):
    """(deploy prototxt, caffemodel): a net with random weights and BatchNorm statistics that are not trivial."""
    net = resnet.deploy_net(depth, dataset, classes)
    stem = os.path.join(str(folder), "resnet%d_%s_%d" % (depth, dataset, classes))
    text.write(stem + "_deploy.prototxt", net)
    binary.write(stem + ".caffemodel", net_weights.random(net, seed))
    return stem + "_deploy.prototxt", stem + ".caffemodel"
