"""How fast this training is: against the stock `caffe train` on the same files, and two runs at once against one.

    python3 -m benchmarks.training [--rounds 3] [--iterations 12]      ResNet-20, batch 128, random images of CIFAR's geometry

Validation and starting are left out. Ours and the stock tool run at the same time where there are two cores, one BLAS
thread each, so that whatever else the machine does slows both. Every figure is the median over the rounds.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile

import numpy as np

from common import errors, parallel
from common import runs as kept_runs
from common.caffe import binary, text
from common.progress import Progress
from netgen import resnet, solver
from paper import ours

IMAGES, SIDE, CLASSES, TEST_BATCH = 2000, 40, 10, 100
WARM = 2  # iterations before the clock: first touches of memory


def write_files(folder, iterations, batch=ours.PRETRAIN_BATCH):
    """The LMDB, net and solver of the benchmark in `folder`."""
    import lmdb

    images = np.random.RandomState(0).randint(0, 256, (IMAGES, 3, SIDE, SIDE)).astype(np.uint8)
    for part in ("train_lmdb", "test_lmdb"):
        with lmdb.open(os.path.join(folder, part), map_size=1 << 26) as lmdb_, lmdb_.begin(write=True) as transaction:
            for i, image in enumerate(images if part == "train_lmdb" else images[:TEST_BATCH]):
                transaction.put(b"%08d" % i, binary.datum(image, i % CLASSES))
    binary.write_mean(os.path.join(folder, "mean.binaryproto"), np.full((3, SIDE, SIDE), 120, np.float32))
    text.write(os.path.join(folder, "net.prototxt"), resnet.train_net(20, "cifar10", CLASSES, "train_lmdb", "test_lmdb", "mean.binaryproto", batch, TEST_BATCH))
    schedule = solver.nag("net.prototxt", "stock", IMAGES, TEST_BATCH, TEST_BATCH, 1, batch, 0.01, 1, [], "Nesterov")
    # One more iteration than is timed: the last row of our log has a validation in it.
    schedule.max_iter, schedule.display, schedule.test_interval, schedule.snapshot = WARM + iterations + 1, 1, 2**31 - 1, 0
    text.write(os.path.join(folder, "solver.prototxt"), schedule)


def start(tool, folder, threads, name):
    """Begin a training by "ours" or "stock" with so many BLAS threads; finish() waits for it."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.pathsep.join([root] + os.environ.get("PYTHONPATH", "").split(os.pathsep))
    environment = dict(os.environ, GLOG_minloglevel="0" if tool == "stock" else "2", PYTHONPATH=path)
    environment.pop("THREADS", None)
    environment.update(parallel.blas_threads(threads))
    command = {
        "ours": [sys.executable, "-m", "training.run", "--solver", "solver.prototxt", "--out", name],
        "stock": ["caffe", "train", "--solver=solver.prototxt"],
    }[tool]
    with open(os.path.join(folder, name + ".log"), "w") as log:
        return tool, folder, name, subprocess.Popen(command, cwd=folder, env=environment, stderr=log, stdout=log)


def finish(tool, folder, name, process):
    """Images per second of a training that was started."""
    status = process.wait()
    with open(os.path.join(folder, name + ".log")) as f:
        log = f.read()
    if status:
        raise errors.Fail("the %s training ended with %d: %s" % (tool, status, log.strip().rpartition("\n")[-1]))
    if tool == "ours":
        times = [row["seconds"] for row in kept_runs.read_log(os.path.join(folder, name, "log.csv"))][WARM - 1 : -1]
    else:
        stamps = re.findall(r"^I\d+ (\d+):(\d+):(\d+\.\d+) .*solver\.cpp:\d+\] Iteration \d+ \(", log, re.M)
        times = [int(h) * 3600 + int(m) * 60 + float(s) for h, m, s in stamps][WARM - 1 : -1]
    return (len(times) - 1) * ours.PRETRAIN_BATCH / ((times[-1] - times[0]) % 86400)


def measure(folder, rounds):
    """Kind of run -> images/s in each round; the two at once are summed."""
    found, number = {}, 0
    plans = (
        ("stock and ours, at once", [("stock", 1), ("ours", 1)]),
        ("one run, one thread", [("ours", 1)]),
        ("one run, two threads", [("ours", 2)]),
        ("two runs, one thread each", [("ours", 1), ("ours", 1)]),
    )
    with Progress("benchmark", rounds * len(plans)) as bar:
        for _ in range(rounds):
            for name, tools in plans:
                running = []
                for tool, threads in tools:
                    number += 1
                    running.append(start(tool, folder, threads, "%s%d" % (tool, number)))
                speeds = [finish(*each) for each in running]
                if name.startswith("stock"):
                    found.setdefault("stock", []).append(speeds[0])
                    found.setdefault("ours", []).append(speeds[1])
                else:
                    found.setdefault(name, []).append(sum(speeds))
                bar.add()
    return found


def table(found):
    """The figures as text."""

    def ratio(a, b):
        return statistics.median(x / y for x, y in zip(found[a], found[b]))

    lines = ["%-28s %8s   %s" % ("ResNet-20, batch %d" % ours.PRETRAIN_BATCH, "images/s", "rounds")]
    lines += ["%-28s %8.1f   %s" % (name, statistics.median(speeds), " ".join("%.1f" % s for s in speeds)) for name, speeds in found.items()]
    lines += [
        "",
        "ours / stock                        %.3f   (goal 0.97)" % ratio("ours", "stock"),
        "two at once / one with two threads  %.2f    (goal 1.5)" % ratio("two runs, one thread each", "one run, two threads"),
        "two at once / one with one thread   %.2f" % ratio("two runs, one thread each", "one run, one thread"),
    ]
    return "\n".join(lines)


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.training", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=12, help="timed iterations of each run")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_files(folder, args.iterations)
        print(table(measure(folder, args.rounds)))


if __name__ == "__main__":
    main()
