"""How long a face takes in each runtime, side by side in one run on this machine, and in ready-made packages.

    python -m benchmarks.deploy [--faces 200] [--rounds 5] [--model models/resnet20_votes models/resnet32_cifar10] [--rivals "env/run --rivals"]

Each way is a process of its own (deploy_worker) that is asked in turns; a face is 48x48 grey pixels, and its time runs from these
to the probabilities: resizing, crops, mean, network. A network that takes the face whole is shown it, or it and its mirror in place of ten
crops. Faces come one at a time, as from a camera. Finding faces is not in it, for nobody. Without a trained network the weights are random:
speed does not depend on them.
"""

import argparse
import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile

import numpy as np

from common import errors, parallel
from common.caffe import binary, text
from common.progress import Progress
from deploy import check, export
from fer_lite import names
from netgen import resnet, weights

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TENSORFLOW_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
OURS = (
    ("Caffe", "caffe_as_trained"),
    ("Caffe, folded", "caffe_folded"),
    ("OpenCV, Caffe importer", "opencv_caffe"),
    ("OpenCV, ONNX importer", "opencv_onnx"),
    ("ONNX Runtime, float", "onnx"),
    ("ONNX Runtime, int8", "onnx_int8"),
)
RIVALS = (("fer (TensorFlow Lite)", "fer"), ("fer (Keras)", "fer_keras"), ("facex (TensorFlow Lite)", "facex"))  # one crop each


def start(python, kind, folder, threads, crops):
    """Begin a worker; its first line says that it is ready, or why it is not."""
    return subprocess.Popen(
        python + ["-m", "benchmarks.deploy_worker", kind, folder, str(threads), str(crops)],
        cwd=ROOT,
        universal_newlines=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ, GLOG_minloglevel="2", **parallel.blas_threads(threads), **dict.fromkeys(TENSORFLOW_THREADS, str(threads))),
    )


def answer(worker):
    """What a worker says next, as dict; {"problem": ...} where it died."""
    for line in iter(worker.stdout.readline, ""):
        if line.startswith("{"):  # what else a package prints is not for us
            return json.loads(line)
    return {"problem": "ended with %d" % worker.wait()}


def ask(worker, count):
    """Times in seconds of `count` faces, one after the other."""
    worker.stdin.write("%d\n" % count)
    worker.stdin.flush()
    return answer(worker)


def plans(here, caffe, rivals, folders):
    """[(name, threads, crops, worker)] of everything that can run here, and the lines that say what cannot."""
    made, missing = [], []
    for threads in sorted({1, parallel.usable()}):
        for crops in (1, 10):
            ways = [(way, folder) for folder in folders for way in OURS] + [(way, folders[0]) for way in RIVALS if rivals and crops == 1]
            for (name, kind), folder in ways:
                python = rivals if (name, kind) in RIVALS else caffe if kind.startswith("caffe") else here
                if kind == "onnx_int8" and not os.path.exists(os.path.join(folder, names.INT8)):
                    missing.append("%s: %s is not there" % (name, names.INT8))
                    continue
                worker = start(python, kind, folder, threads, crops)
                ready = answer(worker)
                if "problem" in ready:
                    missing.append("%s: %s" % (name, ready["problem"]))
                    continue
                made.append((_called(name, folder, folders), threads, crops, worker))
    return made, sorted(set(missing))


def _called(name, folder, folders):
    ours = name in dict(OURS) and len(folders) > 1
    return "%s, %s" % (os.path.basename(folder), name) if ours else name


def table(made, times, faces, net):
    """The printed figures of {(name, threads, crops): seconds}."""
    lines = ["%s, %d faces each, one at a time, %d cores here" % (net, faces, parallel.usable())]
    wide = max([34] + [len(name) for name, *_ in made])
    for threads in sorted({threads for _, threads, _, _ in made}):
        for crops in (1, 10):
            group = [(name, times[name, t, c]) for name, t, c, _ in made if (t, c) == (threads, crops)]
            if not group:
                continue
            lines += [
                "",
                "%-*s %10s %10s %10s"
                % (
                    wide,
                    "%s, %s" % ("one thread" if threads == 1 else "%d threads" % threads, "one crop" if crops == 1 else "ten crops"),
                    "median ms",
                    "95th pct.",
                    "faces/s",
                ),
            ]
            lines += [
                "%-*s %10.3f %10.3f %10.1f" % (wide, name, 1e3 * np.median(found), 1e3 * np.percentile(found, 95), len(found) / np.sum(found))
                for name, found in group
            ]
    return "\n".join(lines)


def random_network(folder):
    """An export with random weights, for where there is no trained network; int8 is calibrated on drawn faces."""
    net = resnet.deploy_net(20, "ferplus", 8)
    prototxt, caffemodel = (os.path.join(folder, name) for name in ("deploy.prototxt", "random.caffemodel"))
    text.write(prototxt, net)
    model = weights.random(net)
    binary.write(caffemodel, model)
    about = export.describe(caffemodel, net, np.full(3, 128, np.float32), "random")
    export.write(caffemodel, net, model, about, folder, check.some_crops(about))
    with open(os.path.join(folder, names.FACTS), "w") as f:
        json.dump(about, f)


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deploy", description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", help="folders of exported networks (default: random weights)")
    parser.add_argument("--faces", type=int, default=200, help="faces in all, for each way (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns in which they come (default: %(default)s)")
    parser.add_argument("--caffe", default="bash env/run python3", help="the Python that has Caffe")
    parser.add_argument("--rivals", help="the Python that has env/rivals.txt")
    args = parser.parse_args()
    each = max(1, args.faces // args.rounds)
    with tempfile.TemporaryDirectory(prefix="fer-lite-bench-") as scratch, contextlib.ExitStack() as stack:
        if not args.model:
            random_network(scratch)
        folders = [os.path.abspath(folder) for folder in args.model or [scratch]]
        net = ", ".join(names.facts(folder)["net"] for folder in folders)
        made, missing = plans([sys.executable], shlex.split(args.caffe), shlex.split(args.rivals or ""), folders)
        for *_, worker in made:
            stack.callback(_stop, worker)
        times = {(name, threads, crops): [] for name, threads, crops, _ in made}
        with Progress("benchmark", args.rounds * len(made)) as bar:
            for _ in range(args.rounds):
                for name, threads, crops, worker in made:
                    bar.update(bar.done, name)
                    found = ask(worker, each)
                    if "problem" in found:
                        raise errors.Fail("%s stopped in the middle (%s)" % (name, found["problem"]))
                    times[name, threads, crops] += found["seconds"]
                    bar.add()
    print("\n" + table(made, times, each * args.rounds, net))
    for line in missing:
        print("not run: " + line)
    if not args.rivals:
        print("not run: ready-made packages (--rivals 'env/run --rivals' installs them)")


def _stop(worker):
    worker.stdin.close()
    try:
        worker.wait(10)
    except subprocess.TimeoutExpired:
        worker.kill()


if __name__ == "__main__":
    main()
