"""What strangers' files may do to the readers: nothing but be read, or be refused in one line.

    python3 tests/fuzz.py --seconds 600 [--targets pickle,tar] --found DIR     make fuzz SECONDS=600

Coverage-guided by atheris (env/fuzz.txt): each target for its share of the time, from seeds that are drawn here and from the corpus
(tests/corpus, NAME_*: inputs that once were a finding, or reach a branch that no seed reaches). Every input is a file that we made. A target
takes bytes; any exception but Fail with one printable line, a crash, more than 10 seconds or 2 GB is a finding: DIR/TARGET_crash-...
"""

import argparse
import contextlib
import glob
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
CORPUS = os.path.join(HERE, "corpus")
LONGEST = 1 << 14  # bytes of an input that is made up
FOLLOWED = ["common", "data_prep", "fer_lite", "netgen"]  # whose branches guide atheris

if "--child" in sys.argv:
    import atheris

    followed = atheris.instrument_imports(include=FOLLOWED)
else:
    followed = contextlib.nullcontext()
with followed:
    from common import errors
    from common.caffe import binary, lmdbs, text
    from common.caffe import messages as m
    from data_prep import archives, images, labels, pickles
    from data_prep.sets import cifar, fer, imagenet32
    from fer_lite import names, sources
    from netgen import nets, resnet, weights

import data_forms as forms
import numpy as np

FOLDER = tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


def _file(name, data):
    path = os.path.join(FOLDER, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)
    return path


# ---- targets: bytes -> nothing, or Fail --------------------------------------------------------------------------------


def prototxt(data):
    net = text.read(_file("net.prototxt", data), m.NetParameter)
    nets.input_shape(net)
    weights.shapes(net)


def solver(data):
    text.read(_file("solver.prototxt", data), m.SolverParameter)


def caffemodel(data):
    binary.layers(binary.read(_file("net.caffemodel", data), m.NetParameter))
    weights.load(_file("net.caffemodel", data), NET)


def mean(data):
    binary.read_mean(_file("mean.binaryproto", data))


def datum(data):
    binary.read_datum(data)


def lmdb(data):
    """Its two meta pages and the size: what is looked at before LMDB is let into a file. Pages further on are LMDB's own."""
    folder = os.path.dirname(_file("lmdb/data.mdb", data[:8192] + SOUND_LMDB[8192:] if len(data) >= 8192 else data))
    lmdbs.opened(folder).close()


def archive(name):
    def read(data):
        for entry in archives.entries(_file(name, data)):
            archives.read(entry)

    return read


def pickled(data):
    pickles.load(data, "x")


def cifar_batch(data):
    cifar._pickled(data, "labels", "x")


def npz(data):
    for _ in imagenet32._npz(io.BytesIO(data), "x"):
        pass


def pixels(data):
    (entry,) = archives.entries(_file("fer2013.csv", data))
    for task in fer._text_blocks(entry):
        fer._parse_block(*task)


def votes(data):
    labels.read_votes(_file("label.csv", data))


def fer_names(data):
    labels.read_names(_file("fer2013new.csv", data))
    labels.majority(_file("fer2013new.csv", data))


def facts(data):
    names.facts(os.path.dirname(_file("model/model.json", data)))


def picture(data):
    images.decode(data, "x")


def photo(ending):
    def read(data):
        sources.read_image(_file("photo" + ending, data))

    return read


TARGETS = {
    "prototxt": prototxt,
    "solver": solver,
    "caffemodel": caffemodel,
    "mean": mean,
    "datum": datum,
    "lmdb": lmdb,
    "tar": archive("a.tar"),
    "targz": archive("a.tar.gz"),
    "zip": archive("a.zip"),
    "pickle": pickled,
    "cifar": cifar_batch,
    "npz": npz,
    "fer2013": pixels,
    "votes": votes,
    "names": fer_names,
    "model": facts,
    "picture": picture,
    "png": photo(".png"),
    "jpeg": photo(".jpg"),
    "webp": photo(".webp"),
}


def one(target, data):
    """Give a target an input; what its refusal says, None where it reads it. AssertionError where that is no line."""
    try:
        TARGETS[target](data)
    except errors.Fail as refusal:
        assert str(refusal).isprintable() and str(refusal), "a refusal of more than a line: %r" % str(refusal)
        return str(refusal)
    return None


# ---- seeds: sound files, drawn ---------------------------------------------------------------------------------------------


NET = resnet.deploy_net(8, "tiny", 4)


def _written(name, write, *arguments):
    path = os.path.join(FOLDER, "seed", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write(path, *arguments)
    with open(path, "rb") as f:
        return f.read()


def seeds():
    """Target -> sound inputs."""
    import cv2
    from evaluation_data import write_part

    drawn = forms.pictures(4)
    model = m.NetParameter(name="tiny")
    model.layer.add(name="first_conv", type="Convolution", blobs=[binary.array_to_blob(np.ones((2, 3, 3, 3)))])
    members = [("train/cat/1.png", forms.png(drawn[0])), ("a" * 120 + "/b", b"x")]
    batches = {protocol: pickle.dumps(dict(data=forms.rows(drawn), labels=[0, 1, 2, 3]), protocol) for protocol in range(2, 6)}
    faces = [cv2.imencode(ending, drawn[0])[1].tobytes() for ending in (".png", ".jpg", ".webp")]
    row = b"0," + b" ".join(b"%d" % (i % 256) for i in range(48 * 48))
    array = io.BytesIO()
    np.savez(array, data=forms.rows(drawn[:1]), labels=np.array([3]))
    write_part(os.path.join(FOLDER, "seed", "set"), "train", 3, seed=1)
    with open(os.path.join(FOLDER, "seed", "set", "train_lmdb", "data.mdb"), "rb") as f:
        sound = f.read()
    titles = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
    return {
        "prototxt": [
            text.dumps(m.NetParameter(name="tiny", layer=NET.layer[:5])).encode(),
            b'name: "x" layer { name: "data" type: "Input" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }',
        ],
        "solver": [b'net: "x" base_lr: 0.1 max_iter: 9 stepvalue: 3 stepvalue: 6'],
        "caffemodel": [model.SerializeToString()],
        "mean": [m.BlobProto(num=1, channels=3, height=2, width=2, data=range(12)).SerializeToString()],
        "datum": [binary.datum(np.ascontiguousarray(drawn[0].transpose(2, 0, 1)), 3)],
        "lmdb": [sound],
        "tar": [_written("a.tar", forms.write_tar, members)],
        "targz": [_written("a.tar.gz", forms.write_tar, members)],
        "zip": [_written("a.zip", forms.write_zip, members)],
        "pickle": list(batches.values()) + [pickle.dumps({"a": [1, "b", (2.5, None)]}, 2)],
        "cifar": [pickle.dumps(dict(data=forms.rows(drawn[:1]), labels=[1]), protocol) for protocol in (2, 4)],
        "npz": [array.getvalue()],
        "fer2013": [b"emotion,pixels,Usage\n" + row + b",Training\n"],
        "votes": [b'fer0000000.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0\n'],
        "names": [(titles + "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0\n").encode()],
        "model": [json.dumps({"name": "x", "classes": ["a", "b"], "crop": 32}).encode()],
        "picture": faces[:2],
        "png": faces[:1],
        "jpeg": faces[1:2],
        "webp": faces[2:],
    }


SEEDS = seeds()
SOUND_LMDB = SEEDS["lmdb"][0]


def kept(target):
    """Paths of the corpus's inputs for a target."""
    return sorted(glob.glob(os.path.join(CORPUS, target + "_*")))


# ---- the run -------------------------------------------------------------------------------------------------------------


def child(target, seconds, found, state):
    """Fuzz one target in this process: libFuzzer's options, its words on stderr."""
    inputs = os.path.join(state, target)
    os.makedirs(inputs, exist_ok=True)
    for i, data in enumerate(SEEDS[target]):
        with open(os.path.join(inputs, "seed%d" % i), "wb") as f:
            f.write(data)
    for path in kept(target):
        shutil.copy(path, inputs)
    atheris.Setup(
        [
            sys.argv[0],
            inputs,
            "-max_total_time=%d" % seconds,
            "-max_len=%d" % LONGEST,
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
            "-verbosity=1",
            "-artifact_prefix=%s/%s_" % (found, target),
        ],
        lambda data: one(target, data) and None,
    )
    atheris.Fuzz()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="of the whole, shared by the targets (default: %(default)s)")
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--found", required=True, help="a folder for findings, and for the inputs that were reached (found/reached)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.child, args.seconds, args.found, os.path.join(args.found, "reached"))
    os.makedirs(args.found, exist_ok=True)
    targets, executions, began = args.targets.split(","), 0, time.monotonic()
    for target in targets:
        before = set(glob.glob(os.path.join(args.found, target + "_*")))
        ran = subprocess.run(
            [sys.executable, os.path.abspath(__file__), "--child", target, "--seconds", str(max(1, args.seconds // len(targets))), "--found", args.found],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            universal_newlines=True,
            errors="replace",
        )
        done = re.findall(r"stat::number_of_executed_units:\s*(\d+)", ran.stderr) or re.findall(r"#(\d+)\t", ran.stderr) or ["0"]
        covered = re.findall(r"cov: (\d+)", ran.stderr) or ["0"]
        fresh = sorted(set(glob.glob(os.path.join(args.found, target + "_*"))) - before)
        executions += int(done[-1])
        print(
            "%-10s %9s executions, %4s points of coverage, findings: %s"
            % (target, format(int(done[-1]), ","), covered[-1], ", ".join(map(os.path.basename, fresh)) or (0 if ran.returncode == 0 else ran.stderr[-600:])),
            flush=True,
        )
    findings = [path for path in glob.glob(os.path.join(args.found, "*_*")) if os.path.isfile(path)]
    print("%s executions in %.0f seconds, %d findings" % (format(executions, ","), time.monotonic() - began, len(findings)))
    return 1 if findings else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
