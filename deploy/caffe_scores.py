"""Real Caffe's probabilities of crops, for the other runtimes to be held against. Run where Caffe is, by `scores`.

    env/run python3 -m deploy.caffe_scores FOLDER --crops crops.npy --out scores.npz --mean 133.2 133.2 133.2

Reads a network's prototxts and caffemodels in FOLDER as they are; scores.npz holds float32 N x classes for each prototxt.
"""

import argparse
import os
import shlex
import subprocess
import tempfile

import numpy as np

from common import errors
from engines.caffe import load
from fer_lite import names

AT_ONCE = 100  # crops in one forward pass
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def scores(caffe, folder, crops, mean):
    """{prototxt: float32 N x classes} by Caffe, of float32 N x C x S x S crops (0 to 255), and Caffe's version.

    `caffe`: the command that runs Python with Caffe ("env/run python3"). Fail in one line where it has none.
    """
    with tempfile.TemporaryDirectory(prefix="fer-lite-") as scratch:
        shown, out = os.path.join(scratch, "crops.npy"), os.path.join(scratch, "scores.npz")
        np.save(shown, crops)
        command = shlex.split(caffe) + [
            "-m",
            "deploy.caffe_scores",
            os.path.abspath(folder),
            "--crops",
            shown,
            "--out",
            out,
            "--mean",
            *map(repr, map(float, mean)),
        ]
        try:
            ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            lines = ran.stdout.decode(errors="replace").strip().splitlines() or ["exit %d" % ran.returncode]
            problem = ran.returncode and next((line for line in lines if "Check failed" in line), lines[-1])
        except OSError as mistake:
            problem = mistake.strerror
        if problem:
            raise errors.Fail("no scores from Caffe to check against (`%s`: %s): run `make env`" % (caffe, problem))
        with np.load(out) as found:
            return {name: found[name] for name, _ in names.CAFFE}


def forward(caffe, prototxt, caffemodel, crops):
    """float32 N x classes of centred crops."""
    net = caffe.Net(prototxt, caffemodel, caffe.TEST)
    data, found = net.inputs[0], []
    for i in range(0, len(crops), AT_ONCE):
        part = crops[i : i + AT_ONCE]
        net.blobs[data].reshape(*part.shape)
        net.blobs[data].data[...] = part
        found.append(net.forward()[net.outputs[0]].reshape(len(part), -1).copy())
    return np.concatenate(found)


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m deploy.caffe_scores", description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--crops", required=True)
    parser.add_argument("--mean", required=True, type=float, nargs="+")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    caffe = load()
    caffe.set_mode_cpu()
    crops = np.load(args.crops) - np.array(args.mean, np.float32)[:, None, None]
    found = {prototxt: forward(caffe, *(os.path.join(args.folder, name) for name in (prototxt, caffemodel)), crops) for prototxt, caffemodel in names.CAFFE}
    np.savez(args.out, **found)


if __name__ == "__main__":
    main()
