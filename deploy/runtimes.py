"""Which of a network's files works in which runtime that pip installs: each in an environment of its own, held against the stored scores.

    python -m deploy.runtimes models/resnet20_votes                   -> docs/results/runtimes.csv
    python -m deploy.runtimes models/resnet20_votes --only ncnn       one of them, its rows made anew

The scores of the same file in this environment's ONNX Runtime (which `make models-check` holds against Caffe) are the measure. An
environment takes 100 to 500 MB and stays for the next time.
"""
import argparse
import csv
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

# worker: function of deploy/runtime_worker.py; packages: what pip installs; alone: and what it installs without what that asks for.
Kind = namedtuple("Kind", "worker packages alone", defaults=([],))
ONE = "numpy<2"  # what packages of before NumPy 2 need
KINDS = {
    "onnxruntime_oldest": Kind("onnx_runtime", ["onnxruntime==1.15.0", ONE]),
    "onnxruntime_newest": Kind("onnx_runtime", ["onnxruntime==1.32.0"]),
    "opencv_4.5": Kind("opencv", ["opencv-python-headless==4.5.5.64", ONE]),
    "opencv_4.14": Kind("opencv", ["opencv-python-headless==4.14.0.94"]),
    "opencv_5": Kind("opencv", ["opencv-python-headless==5.0.0.93"]),
    "openvino": Kind("openvino", ["openvino==2026.4.1"]),
    "ncnn": Kind("ncnn", ["ncnn==1.0.20261020"], ["pnnx==20261020"]),  # pnnx asks for PyTorch, which its program does not need
    "mnn": Kind("mnn", ["MNN==3.6.1"]),
    "onnxsim": Kind("onnxsim", ["onnxsim==0.6.5", "onnxruntime==1.32.0"]),
}
COLUMNS = ("runtime", "packages", "file", "difference", "problem")
WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "runtime_worker.py")
SHOWN = 40  # crops


def packages(name):
    return " ".join(KINDS[name].packages + KINDS[name].alone)


def environment(name, venvs):
    """The Python of the virtual environment of a Kind, made where it is not there. Fail, with pip's last line, where it does not install."""
    folder = os.path.abspath(os.path.join(venvs, name))
    python, mark = os.path.join(folder, "bin", "python"), os.path.join(folder, ".complete")
    if os.path.exists(mark):
        with open(mark) as f:
            if f.read() == packages(name):
                return python
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    for command in ([sys.executable, "-m", "venv", "--clear", folder], pip + KINDS[name].packages, pip + ["--no-deps"] + KINDS[name].alone):
        if command[-1] == "--no-deps":
            continue
        ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        if ran.returncode:
            raise errors.Fail("does not install: %s" % last_line(ran.stdout))
    with open(mark, "w") as f:
        f.write(packages(name))
    return python


def last_line(text):
    """The last line with a word in it: OpenCV's end in a bracket."""
    return ([line.strip() for line in text.splitlines() if re.search("[a-z]{3}", line)] or ["no word"])[-1]


def scores(python, worker, path, crops, scratch):
    """float32 N x classes of a file by one runtime. Fail with the last line of what it said."""
    shown, out = os.path.join(scratch, "crops.npy"), os.path.join(scratch, "scores.npy")
    np.save(shown, crops)
    copy = shutil.copy(path, scratch)  # pnnx writes its own files beside the model
    try:
        ran = subprocess.run([python, WORKER, worker, copy, shown, out], cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             universal_newlines=True, errors="replace", timeout=900)
    except subprocess.TimeoutExpired:
        raise errors.Fail("still running after 15 minutes") from None
    if ran.returncode or not os.path.exists(out):
        raise errors.Fail(last_line(ran.stdout) if ran.returncode >= 0 else "died of signal %d" % -ran.returncode)
    return np.load(out)


def rows(name, folder, crops, wanted, venvs):
    """The table's rows of one Kind: dicts of COLUMNS."""
    found = []
    for file in (names.FLOAT, names.BATCH1, names.INT8):
        row = dict.fromkeys(COLUMNS, "")
        row.update(runtime=name, packages=packages(name), file=file)
        try:
            with tempfile.TemporaryDirectory(prefix="fer-lite-") as scratch:
                given = scores(environment(name, venvs), KINDS[name].worker, os.path.join(folder, file), crops, scratch)
            row["difference"] = "%.1e" % abs(given.reshape(wanted[file].shape) - wanted[file]).max()
        except (errors.Fail, ValueError) as problem:
            row["problem"] = re.sub(r"\S*fer-lite-\w+/", "", str(problem))[:160]
        found.append(row)
        print("%-20s %-20s %s" % (name, file, row["difference"] or row["problem"]), flush=True)
    return found


def markdown(table):
    """The table for docs/deploy.md: a row a runtime, a column a file; a difference above the tolerance in brackets."""
    lines = ["| runtime | %s |" % " | ".join("`%s`" % file for file in (names.FLOAT, names.BATCH1, names.INT8)), "| --- | --- | --- | --- |"]
    for name in dict.fromkeys(row["runtime"] for row in table):
        cells = ["no" if row["problem"] else row["difference"] for row in table if row["runtime"] == name]
        lines.append("| %s | %s |" % (next(row["packages"] for row in table if row["runtime"] == name).split(" ")[0].replace("==", " "), " | ".join(cells)))
    return "\n".join(lines)


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python -m deploy.runtimes", description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="an exported network, such as models/resnet20_votes")
    parser.add_argument("--only", nargs="+", choices=list(KINDS), help="these runtimes; the other rows stay")
    parser.add_argument("--venvs", default=".venv-runtimes", help="folder of the environments")
    parser.add_argument("--out", default=os.path.join("docs", "results", "runtimes.csv"))
    args = parser.parse_args()
    about = names.facts(args.folder)
    crops = check.some_crops(about)[:SHOWN]
    wanted = {file: runtimes.onnx_runtime(os.path.join(args.folder, file), threads=1).probabilities(crops) for file in (names.FLOAT, names.BATCH1, names.INT8)}
    os.makedirs(args.venvs, exist_ok=True)
    with open(os.path.join(args.venvs, ".gitignore"), "w") as f:
        f.write("*\n")
    table = []
    if args.only and os.path.exists(args.out):
        with open(args.out, newline="") as f:
            table = [row for row in csv.DictReader(f) if row["runtime"] not in args.only]
    for name in args.only or KINDS:
        table += rows(name, args.folder, crops, wanted, args.venvs)
    table.sort(key=lambda row: list(KINDS).index(row["runtime"]))
    with files.replacing(args.out) as temporary, open(temporary, "w", newline="") as f:
        writer = csv.DictWriter(f, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    print(markdown(table))


if __name__ == "__main__":
    main()
