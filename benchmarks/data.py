"""How fast sets are built, and in how much memory: `env/run python3 -m benchmarks.data`.

Each figure of ours is a whole `build` command, start-up included. Beside it, in turns in the same run: Caffe's own
convert_imageset on the same PNG files with the same resize; or the plain way, a loop over the images with Python's csv,
tarfile and pickle, OpenCV and a Datum each. The set of many images shows what a larger one costs in memory.
"""

import argparse
import csv
import io
import os
import pickle
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

import cv2
import lmdb
import numpy as np

from common import errors, parallel
from common.caffe import binary
from common.progress import Progress
from data_prep import balance, labels
from data_prep.sets import cinic10 as cinic
from paper import facts, ours

SAMPLE = 2000  # rows and images of FER+ that the plain way handles; the rest is reckoned
ROW = "%-44s %9s %22s %9s %7s   %s"
BATCHES = 10  # of the training part of the set of many images
POLL = 0.1  # seconds between two looks at the memory


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.data", description=__doc__.splitlines()[0])
    parser.add_argument("--downloads", default="downloads", help="CIFAR-10's archive and FER+ are read there, else drawn")
    parser.add_argument("--work", default=".", help="folder for temporary files (default: here)")
    parser.add_argument("--files", type=int, default=90000, help="PNG files, as many as CINIC-10 trains on (default: %(default)s)")
    parser.add_argument("--images", type=int, default=1000000, help="images of the large set (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="turns of each pair; the median counts (default: %(default)s)")
    parser.add_argument("--only", choices=sorted(TASKS), action="append", help="one of the four (may be repeated)")
    args = parser.parse_args()
    print(ROW % ("", "ours", "beside it", "", "ratio", "memory"))
    for name in args.only or TASKS:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=args.work) as folder:
            TASKS[name](args, folder)
    print("%d processes; memory is the peak of all processes of the build together" % parallel.count())


def png_files(args, folder):
    """PNG files against convert_imageset."""
    tool = shutil.which("convert_imageset")
    if not tool:
        print("PNG files: there is no convert_imageset here; run it in Caffe's environment (env/run python3 -m benchmarks.data)")
        return
    source, listed = os.path.join(folder, "CINIC-10"), os.path.join(folder, "list.txt")
    draw_png_files(source, args.files)
    with open(listed, "w") as f:
        for label, name in enumerate(cinic.CLASSES):
            here = os.path.join(source, "train", name)
            f.writelines("train/%s/%s %d\n" % (name, each, label) for each in sorted(os.listdir(here)))
    side = str(facts.RESIZE)
    command = [tool, "--resize_height=" + side, "--resize_width=" + side, "--shuffle", source + "/", listed, os.path.join(folder, "theirs")]

    def theirs():
        shutil.rmtree(command[-1], ignore_errors=True)
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)

    compare("%s PNG files to 36x36" % format(args.files, ","), ["cinic10", "--from", source], folder, "convert_imageset", theirs, args.turns)


def cifar10(args, folder):
    """CIFAR-10's archive against the plain way."""
    archive = os.path.join(args.downloads, "cifar-10-python.tar.gz")
    if not os.path.exists(archive):
        archive = os.path.join(folder, "cifar-10-python.tar.gz")
        draw_cifar10(archive)
    compare(
        "CIFAR-10's archive to 40x40",
        ["cifar10", "--from", archive],
        folder,
        "the plain way",
        lambda: plain_cifar10(archive, os.path.join(folder, "theirs")),
        args.turns,
    )


def fer(args, folder):
    """fer2013.csv to three LMDBs, balanced, against the plain way."""
    source = args.downloads
    if not os.path.exists(os.path.join(source, "fer2013.csv")):
        source = folder
        draw_fer(source)
    compare(
        "fer2013.csv to %s balanced images" % format(len(facts.EXPRESSIONS) * ours.BALANCED_PER_CLASS, ","),
        ["ferplus", "--from", source],
        folder,
        "the plain way, reckoned",
        lambda: plain_fer(os.path.join(source, "fer2013.csv"), os.path.join(folder, "theirs")),
        args.turns,
    )


def many_images(args, folder):
    """A set like ImageNet32 against a tenth of it, in time and in memory."""
    seconds, memory = [], []
    for count in (args.images // 10, args.images):
        source = os.path.join(folder, "set")
        draw_imagenet32(source, count)
        spent, peak = build(["imagenet32", "--from", source], folder)
        seconds.append(spent)
        memory.append(peak)
        shutil.rmtree(source)
    print(
        ROW
        % (
            "%s images like ImageNet32, .npz" % format(args.images, ","),
            "%.1f s" % seconds[1],
            "a tenth of it",
            "%.1f s" % seconds[0],
            "%.2f" % (seconds[1] / seconds[0]),
            "%d MB beside %d MB" % (memory[1], memory[0]),
        )
    )


TASKS = {"png": png_files, "cifar10": cifar10, "ferplus": fer, "imagenet32": many_images}


def compare(title, arguments, folder, other, theirs, turns):
    """Run both in turns and print a line. `theirs` returns the seconds that it took, or None: then they are measured."""
    spent = {"ours": [], "theirs": []}
    for _ in range(turns):
        seconds, peak = build(arguments, folder)
        spent["ours"].append(seconds)
        start = time.monotonic()
        reckoned = theirs()
        spent["theirs"].append(time.monotonic() - start if reckoned is None else reckoned)
    mine, others = (statistics.median(spent[who]) for who in ("ours", "theirs"))
    print(ROW % (title, "%.1f s" % mine, other, "%.1f s" % others, "%.2f" % (others / mine), "%d MB" % peak), flush=True)


def build(arguments, folder):
    """(seconds, peak memory in MB) of a `build` command of its own."""
    command = [sys.executable, "-m", "data_prep", "build", *arguments, "--out", os.path.join(folder, "ours"), "--unofficial"]
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = []
    reader = threading.Thread(target=lambda: said.append(process.stderr.read()))
    reader.start()
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory_of(process.pid))
        time.sleep(POLL)
    seconds = time.monotonic() - start
    reader.join()
    if process.returncode:
        raise errors.Fail("the build failed: %s" % said[0].strip().splitlines()[-1])
    shutil.rmtree(os.path.join(folder, "ours"))
    return seconds, peak >> 10


def memory_of(pid):
    """Kilobytes of memory of a process and its children; what they share is counted once (Linux's PSS)."""
    total = 0
    try:
        with open("/proc/%d/smaps_rollup" % pid) as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            children = f.read().split()
    except OSError:  # it has just ended
        return total
    return total + sum(memory_of(int(child)) for child in children)


# ---- the plain way --------------------------------------------------------------------------------------------------


class NumpysOnly(pickle.Unpickler):
    """Python's own reader, with nothing to call but what arrays are made of, whichever NumPy wrote them."""

    def find_class(self, module, name):
        module = module.replace("numpy._core", "numpy.core")
        if (module, name) not in (("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")):
            raise errors.Fail("the plain way reads no pickle with %s.%s" % (module, name))
        return super().find_class(module, name)


def plain_cifar10(archive, out):
    with tarfile.open(archive) as tar:
        batches = [NumpysOnly(tar.extractfile(member), encoding="bytes").load() for member in tar if "data_batch" in member.name or "test_batch" in member.name]
    keyed = [(row.reshape(3, 32, 32)[::-1].transpose(1, 2, 0), label) for batch in batches for row, label in zip(batch[b"data"], batch[b"labels"])]
    plain_write(out, ((cv2.copyMakeBorder(np.ascontiguousarray(image), *[facts.PAD] * 4, borderType=cv2.BORDER_CONSTANT), label) for image, label in keyed))


def plain_fer(path, out):
    """Seconds for the whole set, from a sample of rows and of balanced images."""
    start = time.monotonic()
    with open(path, newline="") as f:
        faces = [np.array(row["pixels"].split(), np.uint8).reshape(48, 48) for row, _ in zip(csv.DictReader(f), range(SAMPLE))]
    rows = (time.monotonic() - start) / len(faces)
    start = time.monotonic()
    extra = balance.Extra(0, 7.0, 2.0, -2.0, 5.0, 1)
    moved = (cv2.resize(balance.transform(face, extra), (facts.RESIZE,) * 2) for face in faces)
    plain_write(out, ((cv2.cvtColor(face, cv2.COLOR_GRAY2BGR), 0) for face in moved))
    images = (time.monotonic() - start) / len(faces)
    stored = len(facts.EXPRESSIONS) * ours.BALANCED_PER_CLASS + ours.FERPLUS_IMAGES["valid"] + ours.FERPLUS_IMAGES["test"]
    return rows * 35887 + images * stored


def plain_write(out, pairs):
    shutil.rmtree(out, ignore_errors=True)
    with lmdb.open(out, map_size=1 << 32) as env, env.begin(write=True) as transaction:
        for i, (image, label) in enumerate(pairs):
            transaction.put(b"%08d" % i, binary.datum(np.ascontiguousarray(image.transpose(2, 0, 1)), label))


# ---- drawn sets, where there are no real ones -----------------------------------------------------------------------


def draw_png_files(folder, count):
    """Smooth random images of 32x32 in CINIC-10's folders: `count` to train, one of each class to test."""
    rng = np.random.RandomState(0)
    for i in range(count + len(cinic.CLASSES)):
        part = "train" if i < count else "test"
        here = os.path.join(folder, part, cinic.CLASSES[i % len(cinic.CLASSES)])
        os.makedirs(here, exist_ok=True)
        image = cv2.resize(rng.randint(0, 256, (12, 12, 3)).astype(np.uint8), (32, 32), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(os.path.join(here, "%06d.png" % i), image)


def draw_cifar10(path):
    rng = np.random.RandomState(0)
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name in ["data_batch_%d" % i for i in range(1, 6)] + ["test_batch"]:
            data = pickle.dumps({b"data": rng.randint(0, 256, (10000, 3072)).astype(np.uint8), b"labels": rng.randint(0, 10, 10000).tolist()}, protocol=2)
            info = tarfile.TarInfo("cifar-10-batches-py/" + name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def draw_fer(folder):
    """fer2013.csv, fer2013new.csv and label.csv with the official numbers of rows, all with a clear majority."""
    rng = np.random.RandomState(0)
    numbers = np.array([str(i) for i in range(256)])
    names, row = [], 0
    with open(os.path.join(folder, "fer2013.csv"), "w") as f, Progress("drawing fer2013.csv", 35887) as bar:
        f.write("emotion,pixels,Usage\n")
        for usage, count in (("Training", 28709), ("PublicTest", 3589), ("PrivateTest", 3589)):
            for _ in range(count):
                f.write("0,%s,%s\n" % (" ".join(numbers[rng.randint(0, 256, 2304)]), usage))
                names.append((usage, "fer%07d.png" % row))
                row += 1
                bar.add()
    with open(os.path.join(folder, "fer2013new.csv"), "w") as f:
        f.write("Usage,Image name\n")
        f.writelines("%s,%s\n" % pair for pair in names)
    for usage, part in labels.USAGES.items():
        os.makedirs(os.path.join(folder, labels.PARTS[part]))
        with open(os.path.join(folder, labels.PARTS[part], "label.csv"), "w") as f:
            for i, name in enumerate(name for each, name in names if each == usage):
                votes = ["10" if label == i % 8 else "0" for label in range(10)]
                f.write('%s,"(0, 0, 48, 48)",%s\n' % (name, ",".join(votes)))


def draw_imagenet32(folder, count):
    os.makedirs(folder)
    rng = np.random.RandomState(0)
    for i in range(BATCHES + 1):
        name, images = ("train_data_batch_%d" % (i + 1), count // BATCHES) if i < BATCHES else ("val_data", 1000)
        np.savez(
            os.path.join(folder, name + ".npz"), data=np.frombuffer(rng.bytes(images * 3072), np.uint8).reshape(-1, 3072), labels=rng.randint(1, 1001, images)
        )


if __name__ == "__main__":
    main()
