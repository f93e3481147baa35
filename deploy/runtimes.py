"""Which of a network's files works in which runtime that pip installs: each in an environment of its own, held against the stored scores.

    python -m deploy.runtimes models/resnet20_votes                   -> docs/results/runtimes.csv
    python -m deploy.runtimes models/resnet20_votes --only ncnn       one of them, its rows made anew
    python -m deploy.runtimes models/resnet20_votes --only onnx2tf --python python3.12        by another Python: it asks for 3.12

The measure is this environment's ONNX Runtime (which `make models-check` holds against Caffe): its scores of the same file where that is
ONNX, else of model.onnx. An environment takes 100 to 700 MB and stays for the next time.
"""

import argparse
import csv
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple

import numpy as np

from common import errors, files
from deploy import check
from fer_lite import names, runtimes

ONNX = (names.FLOAT, names.BATCH1, names.INT8)
# worker: function of deploy/runtime_worker.py; packages: what pip installs; alone: and what it installs without what that asks for; files: what it is given.
Kind = namedtuple("Kind", "worker packages alone files", defaults=([], ONNX))
ONE = "numpy<2"  # what packages of before NumPy 2 need
KINDS = {
    "onnxruntime_oldest": Kind("onnx_runtime", ["onnxruntime==1.15.0", ONE]),
    "onnxruntime_newest": Kind("onnx_runtime", ["onnxruntime==1.32.0"]),
    "opencv_4.5": Kind("opencv", ["opencv-python-headless==4.5.5.64", ONE]),
    "opencv_4.14": Kind("opencv", ["opencv-python-headless==4.14.0.94"]),
    "opencv_5": Kind("opencv", ["opencv-python-headless==5.0.0.93"]),
    "openvino": Kind("openvino", ["openvino==2026.4.1"]),
    "pnnx": Kind("pnnx", ["ncnn==1.0.20261020"], ["pnnx==20261020"]),  # it writes ncnn's files, and asks for PyTorch, which its program does not need
    "mnn": Kind("mnn", ["MNN==3.6.1"]),
    "onnxsim": Kind("onnxsim", ["onnxsim==0.6.5", "onnxruntime==1.32.0"]),
    "onnx2tf": Kind("onnx2tf", ["onnx2tf==2.6.9"]),  # it writes .tflite, without TensorFlow, and brings LiteRT 2.1.2
    "litert": Kind("litert", ["ai-edge-litert==2.3.0"], files=(names.LITERT, names.LITERT_INT8)),
    "ncnn": Kind("ncnn", ["ncnn==1.0.20261020"], files=names.NCNN[:1]),
    # It asks for ONNX 1.6.0, which no Python after 3.7 has: beside a newer one, and the last protobuf that reads its caffe_pb2.
    "caffe2onnx": Kind("caffe2onnx", ["onnx==1.16.2", "onnxruntime==1.19.2", "protobuf==3.20.3", ONE], ["caffe2onnx==2.0.1"], names.CAFFE[1][1:]),
}
COLUMNS = ("runtime", "packages", "file", "difference", "problem")
WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "runtime_worker.py")
SHOWN = 40  # crops


def packages(name):
    return " ".join(KINDS[name].packages + KINDS[name].alone)


def environment(name, venvs, by=sys.executable):
    """The Python of the virtual environment of a Kind, made by the Python `by` where it is not there. Fail, with pip's last line, where it does not install."""
    folder = os.path.abspath(os.path.join(venvs, name))
    python, mark = os.path.join(folder, "bin", "python"), os.path.join(folder, ".complete")
    if os.path.exists(mark):
        with open(mark) as f:
            if f.read() == packages(name):
                return python
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([by, "-m", "venv", "--clear", folder], pip + ["--only-binary", ":all:"] + KINDS[name].packages, pip + ["--no-deps"] + KINDS[name].alone):
        if command[-1] == "--no-deps":
            continue
        try:
            ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        except OSError as problem:
            raise errors.Fail("%s does not run (%s)" % (command[0], problem.strerror)) from None
        if ran.returncode:
            raise errors.Fail("does not install: %s" % last_line(ran.stdout))
    for path, content in ((os.path.join(venvs, ".gitignore"), "*\n"), (mark, packages(name))):
        with open(path, "w") as f:
            f.write(content)
    return python


def last_line(text):
    """The last line with a word in it: OpenCV's end in a bracket."""
    return ([line.strip() for line in text.splitlines() if re.search("[a-z]{3}", line)] or ["no word"])[-1]


def scores(python, worker, path, crops, scratch):
    """float32 N x classes of a file by one runtime. Fail with the last line of what it said."""
    shown, out = os.path.join(scratch, "crops.npy"), os.path.join(scratch, "scores.npy")
    np.save(shown, crops)
    for part in glob.glob(os.path.splitext(path)[0] + ".*"):  # a copy, with its other half: pnnx writes beside the model, onnx2tf into it
        shutil.copy(part, scratch)
    try:
        ran = subprocess.run(
            [python, WORKER, worker, os.path.join(scratch, os.path.basename(path)), shown, out],
            cwd=scratch,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            errors="replace",
            timeout=900,
        )
    except subprocess.TimeoutExpired:
        raise errors.Fail("still running after 15 minutes") from None
    if ran.returncode or not os.path.exists(out):
        raise errors.Fail(last_line(ran.stdout) if ran.returncode >= 0 else "died of signal %d" % -ran.returncode)
    return np.load(out)


def rows(name, folder, crops, wanted, venvs, by):
    """The table's rows of one Kind: dicts of COLUMNS. `wanted`: {ONNX file: its scores of the crops}."""
    found, mean = [], np.array(names.facts(folder)["mean"], np.float32)[:, None, None]
    for file in KINDS[name].files:
        row = dict.fromkeys(COLUMNS, "")
        row.update(runtime=name, packages=packages(name), file=file)
        try:
            with tempfile.TemporaryDirectory(prefix="fer-lite-") as scratch:
                shown = crops - mean if file.endswith(".caffemodel") else crops  # only our ONNX, and what is made of it, subtracts the mean itself
                given = scores(environment(name, venvs, by), KINDS[name].worker, os.path.join(folder, file), shown, scratch)
            reference = wanted.get(file, wanted[names.FLOAT])
            row["difference"] = "%.1e" % abs(given.reshape(reference.shape) - reference).max()
        except (errors.Fail, ValueError) as problem:
            row["problem"] = re.sub(r"\S*fer-lite-\w+/", "", str(problem))[:160]
        found.append(row)
        print("%-20s %-20s %s" % (name, file, row["difference"] or row["problem"]), flush=True)
    return found


def markdown(table):
    """The tables for docs/deploy.md: a row a runtime, a column a file; runtimes of the same files share one."""
    found = {}
    for name in dict.fromkeys(row["runtime"] for row in table):
        cells = {row["file"]: "no" if row["problem"] else row["difference"] for row in table if row["runtime"] == name}
        title = (KINDS[name].alone + KINDS[name].packages)[0].replace("==", " ")
        found.setdefault(tuple(cells), []).append("| %s | %s |" % (title, " | ".join(cells.values())))
    return "\n\n".join(
        "\n".join(["| runtime | %s |" % " | ".join("`%s`" % file for file in given), "| --- " * (1 + len(given)) + "|", *lines])
        for given, lines in found.items()
    )


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python -m deploy.runtimes", description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="an exported network, such as models/resnet20_votes")
    parser.add_argument("--only", nargs="+", choices=list(KINDS), help="these runtimes; the other rows stay")
    parser.add_argument("--venvs", default=".venv-runtimes", help="folder of the environments")
    parser.add_argument("--python", default=sys.executable, help="what makes them (default: this one)")
    parser.add_argument("--out", default=os.path.join("docs", "results", "runtimes.csv"))
    args = parser.parse_args()
    about = names.facts(args.folder)
    crops = check.some_crops(about)[:SHOWN]
    wanted = {file: runtimes.onnx_runtime(os.path.join(args.folder, file), threads=1).probabilities(crops) for file in ONNX}
    table = []
    if args.only and os.path.exists(args.out):
        with open(args.out, newline="") as f:
            table = [row for row in csv.DictReader(f) if row["runtime"] not in args.only]
    for name in args.only or KINDS:
        table += rows(name, args.folder, crops, wanted, args.venvs, args.python)
    table.sort(key=lambda row: list(KINDS).index(row["runtime"]))
    with files.replacing(args.out) as temporary, open(temporary, "w", newline="") as f:
        writer = csv.DictWriter(f, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    print(markdown(table))


if __name__ == "__main__":
    main()
