"""Is a GPU right, how fast is it, and does a short row run there: `make gpu-check`, under four minutes on a card.

    python3 -m benchmarks.gpu [--device cuda|cpu] [--out gpu.json]

Parity is tests/test_gpu.py. Images/s of ResNet-20, batch 128: the engine with one trial and with five side by side, a bare
PyTorch step on one batch that lies on the device, a usual script with a DataLoader (torch_rivals.py), and what the card's own
rates allow: of a large matrix product, and of a large copy, for the multiply-accumulates and the activations that
netgen.describe counts. One JSON holds all of it. On a CPU batch and iterations are few: it shows that it runs, and says so.
"""

import argparse
import gc
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from types import SimpleNamespace

import numpy as np
import torch

import engines
from benchmarks import torch_engine, torch_rivals
from common import errors, files, runs
from common.caffe import binary, text
from common.caffe import messages as m
from engines.torch import device as devices
from engines.torch import engine
from netgen import describe
from paper import facts, ours

WARM = 3  # iterations before the clock: the graph is captured
BATCH, ITERATIONS = {"cuda": ours.PRETRAIN_BATCH, "cpu": 8}, {"cuda": 200, "cpu": 1}
TRAFFIC = 5  # how often an activation passes through memory: written, read; backward it is read, its gradient written and read
PRODUCT, COPIED = 8192, 1 << 28  # side of the matrices, bytes; a 32nd of both on a CPU
SHARE = {"cpu": 32}
SIDE_BY_SIDE = 5


class OnDevice(engine.TorchEngine):
    resident = True


def seconds(device, work):
    """How long `work()` takes, to the end of what it gave the device to do."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def training(folder, device, precision, trials, iterations):
    """{images/s of so many trials side by side, in all; peak memory of the process so far, MB}."""
    made = []
    for seed in range(1, trials + 1):
        solver = text.read(os.path.join(folder, "solver.prototxt"), m.SolverParameter)
        solver.random_seed = seed
        if device.type == "cuda":
            solver.solver_mode = m.SolverParameter.GPU
            gc.collect()  # what was measured before
            torch.cuda.reset_peak_memory_stats()
        made.append((solver, text.read(solver.net, m.NetParameter)))
    run = OnDevice(made, precision)
    run.steps(WARM if device.type == "cuda" else 1)
    rate = trials * iterations * BATCH[device.type] / seconds(device, lambda: run.steps(iterations))
    peak = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"images_per_second": rate, "peak_memory_mb": peak}


def limit(device, precision, net):
    """Training images/s if the arithmetic of a step went at the rate of a matrix product, and its activations at that of a copy."""
    share, dtype = SHARE.get(device.type, 1), devices.number_type(precision, device)
    a, x = torch.randn(PRODUCT // share, PRODUCT // share).to(device, dtype), torch.zeros(COPIED // share, dtype=torch.uint8, device=device)
    product, copy = (min(seconds(device, work) for _ in range(4)) for work in (lambda: a @ a, x.clone))
    macs, numbers = sum(cost.macs for cost in describe.costs(net)), describe.activations(net)
    return {"arithmetic": len(a) ** 3 / product / (torch_engine.PASSES * macs), "memory": 2 * len(x) / copy / (TRAFFIC * numbers * dtype.itemsize)}


def testing(folder, device, images):
    """Images/s of the ten-crop test, in fp32, from images in this process' memory."""
    net, model = (text.read(os.path.join(folder, "deploy.prototxt"), m.NetParameter), binary.read(os.path.join(folder, "net.caffemodel"), m.NetParameter))
    batch = SimpleNamespace(images=np.random.RandomState(0).randint(0, 256, (50, 3, 36, 36)).astype(np.uint8))
    with engines.scorer("torch", net, model, np.zeros((3, 36, 36), np.float32), gpu=0 if device.type == "cuda" else None) as score:
        list(score([batch]))
        return images / seconds(device, lambda: list(score([batch] * (images // 50))))


def rates(folder, device, iterations):
    """Precision -> figures."""
    found, net = {}, text.read(os.path.join(folder, "deploy.prototxt"), m.NetParameter)
    for precision in ("fp32", "tf32", "bf16"):
        try:
            devices.number_type(precision, device)
        except errors.Fail as refusal:
            found[precision] = str(refusal)
            continue
        figures = found[precision] = {
            name: training(folder, device, precision, trials, iterations) for name, trials in (("one trial", 1), ("%d trials" % SIDE_BY_SIDE, SIDE_BY_SIDE))
        }
        torch.backends.cudnn.deterministic = False  # as in a script of their own; the next engine sets it again
        for kind in ("bare", "usual"):
            figures[kind] = {"images_per_second": torch_rivals.main(kind, precision, torch.get_num_threads(), device.type, iterations, BATCH[device.type])}
        figures["limit"] = limit(device, precision, net)
        figures["ratio_to_bare"] = figures["one trial"]["images_per_second"] / figures["bare"]["images_per_second"]
    return found


def parity(device, tests):
    """Whether the tests pass, and pytest's last line."""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "gpu", *tests],
        cwd=torch_engine.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, **({"GPU_TESTS_ON": "cpu"} if device.type == "cpu" else {})),
    )
    return {"passed": ran.returncode == 0, "summary": ran.stdout.strip().rpartition("\n")[-1]}


def row(folder, device):
    """A short row as `make row` runs it: two trials side by side, and the ten-crop test of one."""
    gpu = ["--gpu", "0"] if device.type == "cuda" else []
    start = time.perf_counter()
    for command in (
        ["training.order", "--lmdb", "train_lmdb", "--trial", "2"],
        ["training.run", "--engine", "torch", "--solver", "solver.prototxt", "--out", "row", "--trials", "1,2", *gpu],
        [
            "evaluation.test",
            "--engine",
            "torch",
            "--deploy",
            "deploy.prototxt",
            "--weights",
            "row/trial1/final.caffemodel",
            "--data",
            ".",
            "--split",
            "test",
            *gpu,
        ],
    ):
        ran = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=dict(os.environ, PYTHONPATH=torch_engine.ROOT),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if ran.returncode:
            raise errors.Fail("the short row ended with %d: %s" % (ran.returncode, ran.stdout.strip().rpartition("\n")[-1]))
    return {"seconds": time.perf_counter() - start, "trials": [runs.read(os.path.join(folder, "row", "trial%d" % t))["state"] for t in (1, 2)]}


def table(found):
    lines = ["%s, PyTorch %s; parity: %s" % (found["device"], found["torch"], found["parity"]["summary"])]
    for precision, figures in found["images_per_second"].items():
        if isinstance(figures, str):
            continue
        for name, figure in figures.items():
            if name != "ratio_to_bare":
                lines.append("%-5s %-12s %s" % (precision, name, "  ".join("%s %.0f" % each for each in figure.items())))
        lines.append("%-5s one trial is %.2f of the bare step" % (precision, figures["ratio_to_bare"]))
    lines.append("ten crops, fp32: %.0f images/s; a short row: %.0f s" % (found["testing_images_per_second"], found["row"]["seconds"]))
    return "\n".join(lines)


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tests", nargs="+", default=["tests/test_gpu.py"], help="what of the parity tests is run")
    parser.add_argument("--out", default="gpu.json")
    args = parser.parse_args()
    device = devices.find(0 if args.device == "cuda" else None)
    iterations = ITERATIONS[device.type]
    found = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "machine": platform.node(),
        "net": "ResNet-20, batch %d, crop %d" % (BATCH[device.type], facts.CROP),
        "iterations": iterations,
        "parity": parity(device, args.tests),
    }
    with tempfile.TemporaryDirectory(prefix="fer-lite-gpu-") as folder:
        torch_engine.write_files(folder, iterations, BATCH[device.type])
        found["row"] = row(folder, device)
        here, out = os.getcwd(), os.path.abspath(args.out)
        os.chdir(folder)  # the net names its LMDBs from there
        try:
            found["images_per_second"] = rates(folder, device, iterations)
            found["testing_images_per_second"] = testing(folder, device, 50 * iterations)
        finally:
            os.chdir(here)
    with files.replacing(out) as temporary, open(temporary, "w") as f:
        json.dump(found, f, indent=1)
        f.write("\n")
    print(table(found) + "\nwrote %s" % args.out)
    if not found["parity"]["passed"]:
        raise errors.Fail("this GPU or its PyTorch computes something else than the CPU: `make test-gpu` says what")


if __name__ == "__main__":
    main()
