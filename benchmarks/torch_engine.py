"""How fast the PyTorch engine is, as ratios in one run on this machine: ResNet-20, batch 128, in turns.

    python3 -m benchmarks.torch_engine [--rounds 3] [--caffe "env/run env PYTHONPATH=. python3"]

Our figures and Caffe's are whole runs of training.run (data read from an LMDB, cropped, logged; starting and validation
left out) and of evaluation.test; beside them a bare training step and a usual script (torch_rivals.py), and what the machine's
largest matrix product would allow. Every figure is the median over the rounds. Images are random, of CIFAR's geometry.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

import torch

from benchmarks import training as caffe_bench
from common import errors, parallel
from common.caffe import binary, text
from common.progress import Progress
from engines.torch import device
from netgen import describe, resnet, weights
from paper import ours

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PASSES = 3  # forward, and backward twice: multiply-accumulates of a training step, in forward passes
PRODUCT = 4096  # side of the matrices


def environment(threads):
    found = dict(os.environ, PYTHONPATH=ROOT, THREADS=str(threads), GLOG_minloglevel="2", MAKEFLAGS="")
    found.update(parallel.blas_threads(threads))
    return found


def start(python, engine, folder, threads, name):
    """Begin a training with `python` (list) in `folder`; `finish` waits for it."""
    with open(os.path.join(folder, name + ".log"), "w") as log:
        return (
            folder,
            name,
            subprocess.Popen(
                python + ["-m", "training.run", "--engine", engine, "--solver", "solver.prototxt", "--out", name],
                cwd=folder,
                env=environment(threads),
                stdout=log,
                stderr=log,
            ),
        )


def train(python, engine, folder, threads, name, at_once=1):
    """Images/s of so many trainings at once, in all."""
    started = [start(python, engine, folder, threads, "%s-%d" % (name, i)) for i in range(at_once)]
    return sum(caffe_bench.finish("ours", *each) for each in started)


def rival(kind, precision, threads):
    """Images/s of a training of torch_rivals.py."""
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.torch_rivals", kind, precision, str(threads)], env=environment(threads), stdout=subprocess.PIPE, check=True
    )
    return float(ran.stdout)


def test(python, engine, folder, out):
    """Images/s of a ten-crop test of the training part's images, with its start."""
    subprocess.run(
        python
        + [
            "-m",
            "evaluation.test",
            "--engine",
            engine,
            "--deploy",
            "deploy.prototxt",
            "--weights",
            "net.caffemodel",
            "--data",
            ".",
            "--split",
            "train",
            "--out",
            out,
        ],
        cwd=folder,
        env=environment(os.cpu_count()),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    with open(os.path.join(folder, out, "metrics_train.json")) as f:
        return json.load(f)["made_from"]["images_per_second"]


def limit(precision, images):
    """Images/s if all arithmetic ran at the rate of the machine's matrix product; `images`: per 1e9 multiply-accumulates."""
    torch.set_num_threads(os.cpu_count())
    a = torch.randn(PRODUCT, PRODUCT).to(device.number_type(precision, device.find(None)))
    a @ a
    start_ = time.perf_counter()
    a @ a
    return PRODUCT**3 / (time.perf_counter() - start_) / 1e9 * images


def write_files(folder, iterations, batch=ours.PRETRAIN_BATCH):
    """benchmarks.training's LMDBs, net and solver, a deploy net with weights for the ten-crop test."""
    caffe_bench.write_files(folder, iterations, batch)
    net = resnet.deploy_net(20, "cifar10", caffe_bench.CLASSES)
    text.write(os.path.join(folder, "deploy.prototxt"), net)
    binary.write(os.path.join(folder, "net.caffemodel"), weights.random(net))
    macs = sum(cost.macs for cost in describe.costs(net))
    return 1e9 / macs


def plans(folder, caffe, per_billion):
    """[(group, name, function of a round's number -> images/s)]; Caffe's is the first of a group."""
    cores, here = os.cpu_count(), [sys.executable]
    engines = {"fp32": "torch", "bf16": "torch-bf16"}
    made = [
        ("training", "Caffe, %d thread%s" % (n, "s" * (n > 1)), lambda r, n=n: train(caffe, "caffe", folder, n, "c%d%d" % (n, r))) for n in sorted({1, cores})
    ]
    for precision, engine in engines.items():
        for n in sorted({1, cores}):
            made.append(
                ("training", "ours, %s, %d thread%s" % (precision, n, "s" * (n > 1)), lambda r, e=engine, n=n: train(here, e, folder, n, "%s%d%d" % (e, n, r)))
            )
        made.append(("training", "bare PyTorch step, %s, %d threads" % (precision, cores), lambda r, p=precision: rival("bare", p, cores)))
        made.append(("training", "a usual script, %s" % precision, lambda r, p=precision: rival("usual", p, cores)))
        made.append(("training", "limit: matrix product, %s" % precision, lambda r, p=precision: limit(p, per_billion / PASSES)))
    made.append(("trials", "Caffe, %d at once, 1 thread each" % cores, lambda r: train(caffe, "caffe", folder, 1, "cs%d" % r, cores)))
    for precision, engine in engines.items():
        made.append(
            ("trials", "ours, %s, %d at once, 1 thread each" % (precision, cores), lambda r, e=engine: train(here, e, folder, 1, "%ss%d" % (e, r), cores))
        )
    made.append(("ten crops", "Caffe", lambda r: test(caffe, "caffe", folder, "ct%d" % r)))
    for precision, engine in engines.items():
        made.append(("ten crops", "ours, " + precision, lambda r, e=engine: test(here, e, folder, "%st%d" % (e, r))))
    return made


def table(made, rates):
    """The printed figures; ratios to the best of Caffe's in the same group."""
    lines, group = ["ResNet-20, batch %d, %d cores, PyTorch %s" % (ours.PRETRAIN_BATCH, os.cpu_count(), torch.__version__)], None
    for (kind, name, _), found in zip(made, rates):
        if kind != group:
            group, lines = kind, lines + ["", "%-44s %9s %9s   (each round)" % (kind, "images/s", "to Caffe")]
            best = max([statistics.median(f) for (k, n, _), f in zip(made, rates) if k == kind and n.startswith("Caffe")] or [float("nan")])
        rate = statistics.median(found)
        lines.append("%-44s %9.1f %9.2f   (%s)" % (name, rate, rate / best, " ".join("%.0f" % x for x in found)))
    return "\n".join(lines)


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.torch_engine", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument(
        "--caffe", default="%s/env/run env PYTHONPATH=%s python3" % (ROOT, ROOT), help="the Python that has Caffe; env/run lets no PYTHONPATH in"
    )
    parser.add_argument("--only", default="", help="only the lines with this text")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fer-lite-bench-") as folder:
        made = plans(folder, shlex.split(args.caffe), write_files(folder, args.iterations))
        made = [each for each in made if args.only in each[0] + " " + each[1]]
        rates = [[] for _ in made]
        with Progress("benchmark", args.rounds * len(made)) as bar:
            for number in range(args.rounds):
                for (_, name, run), found in zip(made, rates):
                    bar.update(bar.done, name)
                    found.append(run(number))
                    bar.add()
    print(table(made, rates))


if __name__ == "__main__":
    main()
