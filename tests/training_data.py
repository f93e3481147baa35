"""A tiny training set, net and solver for the tests of training, in the current folder, and ways to run them."""

import os
import subprocess
import sys

from evaluation_data import write_part

from common.caffe import text
from netgen import resnet, solver

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TRAIN, TEST, BATCH, TEST_BATCH = 90, 30, 8, 7  # 5 test batches of 7 are no whole round of 30 images
ITERATIONS = 24


def write_all(dataset="tiny", classes=4, depth=8, rate=0.05, **changes):
    """data/DATASET, DATASET_net.prototxt and DATASET.prototxt; `changes` set fields of the solver. The solver's path."""
    if not os.path.exists("data/" + dataset):
        write_part("data/" + dataset, "train", TRAIN, seed=1, classes=4)
        write_part("data/" + dataset, "test", TEST, seed=2, classes=4)
    lmdbs = ["data/%s/%s" % (dataset, name) for name in ("train_lmdb", "test_lmdb", "mean.binaryproto")]
    net = dataset + "_net.prototxt"
    text.write(net, resnet.train_net(depth, dataset, classes, *lmdbs, BATCH, TEST_BATCH))
    message = solver.nag(net, "unused", TRAIN, TEST, TEST_BATCH, 1, BATCH, rate, 0.1, [1], "Nesterov")
    message.max_iter, message.test_interval, message.snapshot, message.display = ITERATIONS, 7, 8, 3
    message.stepvalue[:] = [10, 17]
    for name, value in changes.items():
        setattr(message, name, value)
    text.write(dataset + ".prototxt", message)
    return dataset + ".prototxt"


def environment(log="2"):
    """For a process of its own; `log`: what Caffe leaves out of its own log."""
    path = os.pathsep.join([ROOT] + os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return dict(os.environ, PYTHONPATH=path, OPENBLAS_NUM_THREADS="1", GLOG_minloglevel=log)


def start(*arguments, module="training.run"):
    """A training as a process of its own, its words in a pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", module] + list(arguments), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    )
