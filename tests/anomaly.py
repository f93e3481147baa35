"""Every n-th failure: a stage of the pipeline is run again and again, and each time the next call that changes a file fails.

    python3 tests/anomaly.py --stages build train --engine torch [--most 12]       make anomaly

The n-th write, fsync, rename, mkdir, ftruncate, mmap or opening for writing under the work's folder (tests/anomaly.c, preloaded)
    once    fails with EIO
    full    fails with ENOSPC, and so does every later one: a disk that stays full
    power   ends the process, and what was written and not synced is gone
Each run must end in one line with status 1, or go on; leave what was there as it was, or made anew; and the next run must make
the bytes that an undisturbed one makes, but for a snapshot that the run said it could not write. The command ends with status 1 and a line for each
case where that is not so. Where the disk refuses what Caffe itself opens, Caffe's own CHECK ends the process, with its line: counted apart.
"""

import argparse
import contextlib
import csv
import errno
import glob
import hashlib
import importlib
import json
import mmap
import os
import re
import shutil
import signal
import struct
import sys
import time
import traceback
from collections import namedtuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

from common import files  # noqa: E402

MODES = {"once": (errno.EIO, 0), "full": (errno.ENOSPC, 1), "power": (-1, 0)}
PATIENCE = 900  # seconds in which a run on drawn data must end
ITERATIONS = 30
RETRY = 0.05  # seconds instead of the minute that a training waits for room on the disk

# module and arguments: the command, in the work's folder; made: what it writes, each whole or absent; old: arguments with which
# an earlier one was made that lies there before.
Stage = namedtuple("Stage", "module arguments made old")
RUN = "runs/resnet20_cifar10"
ROW = "runs/resnet20_ferplus_from_cifar10"
TRIAL = ROW + "/trial1"
TRANSPLANT = ["--net", "prototxt/resnet20_ferplus_deploy.prototxt", "--out", ROW + "/init.caffemodel", "--weights"]
TEST = ["--deploy", "prototxt/resnet20_ferplus_deploy.prototxt", "--data", "data/ferplus", "--out", TRIAL, "--weights"]
PACKAGE = ["--name", "tiny", "--data", "data/ferplus", "--caffe", "", "--split", "none"]
EXPORT = ["--out", "exports/a", "--data", "data/ferplus", "--caffe", "", "--split", "none", "--deploy", "prototxt/resnet20_ferplus_deploy.prototxt"]


def stages(engine):
    test = ["--engine", engine, "--workers", "1"]
    return {
        "build": Stage("data_prep", ["build", "cifar10", "--downloads", "downloads", "--unofficial", "--workers", "1"], ["data/cifar10"], ["--pad-level", "9"]),
        "ferplus": Stage(
            "data_prep",
            ["build", "ferplus", "--downloads", "downloads", "--unofficial", "--workers", "1", "--per-class", "20"],
            ["data/ferplus"],
            ["--per-class", "30"],
        ),
        "transplant": Stage(
            "training.transplant", TRANSPLANT + [RUN + "/final.caffemodel"], [ROW + "/init.caffemodel"], ["--weights", RUN + "/other.caffemodel"]
        ),
        "train": Stage("training.run", ["--solver", "solvers/small.prototxt", "--out", "runs/new", "--engine", engine], ["runs/new/final.caffemodel"], None),
        "test": Stage(
            "evaluation.test",
            TEST + [TRIAL + "/final.caffemodel"] + test,
            [TRIAL + "/scores_test.npz", TRIAL + "/metrics_test.json"],
            ["--weights", TRIAL + "/other.caffemodel"],
        ),
        "export": Stage("deploy.export", [TRIAL + "/final.caffemodel"] + EXPORT, ["exports/a"], ["--split", "test"]),
        "package": Stage("deploy.card", [TRIAL, *PACKAGE], ["models/tiny"], ["--split", "test"]),
        "report": Stage(
            "evaluation.report.page",
            ["--out", "results", "--runs", "results/runs", "--data", "none"],
            ["results/report_test_synthetic.html"],
            ["--commit", "other"],
        ),
    }


def draw(folder):
    """What every stage begins from: drawn downloads, sets built from them, random weights in place of trained ones, scores."""
    import drawn_work
    import synthetic_scores

    from common.caffe import binary, text
    from common.caffe import messages as m
    from netgen import resnet, weights

    drawn_work.make(folder)
    for name, place in (("cifar10", RUN), ("ferplus", TRIAL)):
        net = text.read("%s/prototxt/resnet20_%s_deploy.prototxt" % (folder, name), m.NetParameter)
        for seed, weights_of in enumerate(("final", "other")):
            binary.write("%s/%s/%s.caffemodel" % (folder, place, weights_of), weights.random(net, seed))
    synthetic_scores.write(folder + "/results/runs", only=[8], trials=(1,))
    for path in glob.glob(folder + "/**/*.prototxt", recursive=True):  # the paths in them begin with the folder's
        with open(path) as f:
            words = f.read().replace(folder + "/", "")
        with open(path, "w") as f:
            f.write(words)
    small = resnet.train_net(8, "cifar10", 10, *["data/cifar10/" + name for name in ("train_lmdb", "test_lmdb", "mean.binaryproto")], 4, 10)
    text.write(folder + "/prototxt/small.prototxt", small)
    path = folder + "/solvers/resnet20_cifar10.prototxt"
    solver = text.read(path, m.SolverParameter)
    solver.max_iter, solver.snapshot, solver.test_interval, solver.display, solver.net = ITERATIONS, 10, 15, 5, "prototxt/small.prototxt"
    text.write(folder + "/solvers/small.prototxt", solver)


# ---- one case --------------------------------------------------------------------------------------------------------


class Cases:
    """The runs of one stage in `folder`, which holds `before` (what each begins from) and `work` (where each runs)."""

    def __init__(self, folder, name, stage, plan):
        self.folder, self.name, self.stage, self.plan = folder, name, stage, plan
        self.work, self.before, self.journal = (os.path.join(folder, each) for each in ("work", "before", "journal"))
        self.main = importlib.import_module(stage.module + (".__main__" if stage.module == "data_prep" else "")).main
        self.found, self.checked = [], 0  # what is wrong; how often Caffe's own CHECK ended it

    def prepare(self):
        """The state before each run, with and without an earlier result; how many calls an undisturbed run makes."""
        self.olds = [{}]
        if self.stage.old is not None:
            self._begin()
            self._expect_whole(self._run(0, extra=self.stage.old))
            self.olds.append(self._made())
            for made in self.stage.made:
                kept = os.path.join(self.folder, "old", made)
                os.makedirs(os.path.dirname(kept), exist_ok=True)
                files._remove(kept)
                os.rename(os.path.join(self.work, made), kept)
        self._begin()
        self._expect_whole(self._run(0))
        self.new, self.whole, calls = self._made(), digests(self.work), self.plan.count()
        assert all(old != self.new for old in self.olds) and calls > 5, "the cases of %s show nothing" % self.name
        return calls

    def _expect_whole(self, outcome):
        if outcome[0] != 0:
            raise SystemExit("%s does not work undisturbed:\n%s" % (self.name, outcome[1]))

    def _begin(self, old=0):
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.before, self.work)
        for made in self.stage.made:
            place, kept = os.path.join(self.work, made), os.path.join(self.folder, "old", made)
            files._remove(place)
            if old:
                os.makedirs(os.path.dirname(place), exist_ok=True)
                (shutil.copytree if os.path.isdir(kept) else shutil.copy)(kept, place)

    def _made(self):
        return {made: digests(os.path.join(self.work, made)) for made in self.stage.made if os.path.exists(os.path.join(self.work, made))}

    def case(self, mode, n):
        """Run with the n-th call disturbed, then undisturbed; the list of what is wrong grows by what was found."""
        old = n % len(self.olds)
        self._begin(old)
        status, words = self._run(n, *MODES[mode])
        problems = list(self._wrong(mode, status, words, self.olds[old]))
        if mode == "power":
            drop_unsynced(self.journal)
        again, words_again = self._run(0)
        if again != 0:
            problems.append("the next run fails: %s" % words_again.strip().splitlines()[-1:])
        else:
            now = digests(self.work)
            other = sorted(name for name in set(now) | set(self.whole) if now.get(name) != self.whole.get(name) and not _given_up(name, words))
            if other:
                problems.append("the next run makes other files: %s" % other[:4])
        if problems:
            self.found.append("%s, %s, call %d%s: %s" % (self.name, mode, n, " over an earlier result" if old else "", "; ".join(problems)))
            self.found[-1] += "".join("\n    | " + line for line in (words.strip().splitlines()[-6:] + words_again.strip().splitlines()[-4:]))
            print(self.found[-1], flush=True)

    def _wrong(self, mode, status, words, old):
        said = [line for line in words.replace("\r", "\n").splitlines() if line.startswith("error: ")]
        if mode == "power":
            if status != -signal.SIGKILL:
                yield "it was not ended (status %d)" % status
        elif status == -signal.SIGABRT and "Check failed: " in words:
            self.checked += 1
        elif status not in (0, 1, 128 + signal.SIGTERM):
            yield "status %d" % status
        elif "Traceback" in words or "Exception ignored" in words:
            yield "a traceback"
        elif status == 1 and len(said) != 1:
            yield "%d lines of error" % len(said)
        now = self._made()
        wrong = [made for made in self.stage.made if now.get(made) not in (old.get(made), self.new[made])]
        if wrong:
            yield "neither as before nor new: %s" % wrong
        if status == 0 and now != self.new:
            yield "status 0 without its result"
        left = glob.glob(os.path.join(self.work, "**", "*.partial-*"), recursive=True)
        if left and mode != "power" and status != -signal.SIGKILL:
            yield "left over: %s" % os.path.relpath(left[0], self.work)

    def _run(self, n, error=0, always=0, extra=()):
        """(status, words) of the stage's command in a process of its own."""
        open(self.journal, "w").close()
        said = os.path.join(self.folder, "said")
        open(said, "w").close()
        child = started(self.main, [self.stage.module] + self.stage.arguments + list(extra), self.work, said, lambda: self.plan.disturb(n, error, always))
        ended, asked = time.monotonic() + PATIENCE, False
        while True:
            pid, status = os.waitpid(child, os.WNOHANG)
            with open(said, errors="replace") as f:
                words = f.read()
            if pid:
                break
            if time.monotonic() > ended:
                os.kill(child, signal.SIGKILL)  # and its status says that nobody answered
            elif not asked and "it is tried again" in words and always:
                os.kill(child, signal.SIGTERM)  # a training waits for room at its end: what a user does who has none
                asked = True
            time.sleep(0.01)
        self.plan.disturb(0, 0, 0, reset=False)
        return (-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)), words


def started(main, arguments, folder, said, first=lambda: None):
    """The pid of a process of its own that calls `first` and a command's `main` (with sys.argv: `arguments`) in `folder`, its words in the file `said`."""
    child, status = os.fork(), 70
    if child:
        return child
    try:
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.chdir(folder)
        sys.argv = arguments
        first()
        main()
        status = 0
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


def _given_up(name, words):
    """Whether a file is of a snapshot that the run said it could not write."""
    return re.match(r"snapshot_iter_(\d+)\.", os.path.basename(name)) and "no snapshot at iteration %s:" % re.findall(r"\d+", name)[-1] in words


def drop_unsynced(journal):
    """A power cut as the worst file system has it: names are as they were given, but bytes that were not synced are gone."""
    dirty, synced = {}, {}  # path -> bytes that are safe
    with open(journal, errors="replace") as f:
        for line in f:
            what, path, to = line.rstrip("\n").split("\t")
            if what == "W":
                dirty.setdefault(path, synced.get(path, 0))
            elif what == "S":
                dirty.pop(path, None)
                synced[path] = int(to)
            else:  # a folder takes what lies in it along
                dirty, synced = (_renamed(known, path, to) for known in (dirty, synced))
    for path, size in dirty.items():
        if os.path.isfile(path):
            os.truncate(path, min(size, os.path.getsize(path)))


def _renamed(known, path, to):
    """{path: value} after a rename of `path`, a file or a folder, which replaces what stood at `to`."""

    def below(name, folder):
        return name == folder or name.startswith(folder + "/")

    return {to + name[len(path) :] if below(name, path) else name: value for name, value in known.items() if below(name, path) or not below(name, to)}


def digests(path):
    """What lies at `path`: {relative path: digest of what must be the same in every run}. Locks are left out."""
    names = [path] if os.path.isfile(path) else glob.glob(os.path.join(glob.escape(path), "**", "*"), recursive=True)
    return {
        os.path.relpath(name, path): hashlib.sha256(_timeless(name)).hexdigest()
        for name in names
        if os.path.isfile(name) and os.path.basename(name) not in ("lock.mdb", ".lock") and "replaced-" not in name
    }


def _timeless(path):
    """The file's bytes, without times and speeds."""
    with open(path, "rb") as f:
        data = f.read()
    name = os.path.basename(path)
    if name == "run.json":
        return repr([json.loads(data or b"{}").get(key) for key in ("inputs", "state", "iteration", "final_sha256")]).encode()
    if name == "log.csv":
        return repr([row[:6] for row in csv.reader(data.decode().splitlines())]).encode()
    return re.sub(rb'"(seconds|images_per_second)": [0-9.]+|\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?|"learned_net": "[^"]*"', b"", data)


# ---- the whole -------------------------------------------------------------------------------------------------------


class Plan:
    """What the preloaded library reads: counted calls, which of them fails, with what (-1: SIGKILL), and whether later ones do."""

    def __init__(self, path):
        with open(path, "r+b") as f:
            self.memory = mmap.mmap(f.fileno(), 32)

    def disturb(self, n, error, always, reset=True):
        self.memory[:] = struct.pack("4l", 0 if reset else self.count(), n, error, always)

    def count(self):
        return struct.unpack("4l", self.memory)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--stages", nargs="+", choices=list(stages("torch")), default=list(stages("torch")))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--most", type=int, default=0, help="cases of each mode, evenly spread (default: every call)")
    parser.add_argument("--at", type=int, help="this call alone")
    parser.add_argument("--folder", required=True, help="an empty folder for what is made")
    parser.add_argument("--library", required=True, help="tests/anomaly.c, compiled")
    args = parser.parse_args()
    args.folder = os.path.realpath(args.folder)
    plan = os.path.join(args.folder, "plan")
    if "ANOMALY_PLAN" not in os.environ:
        before = os.path.join(args.folder, "before")
        if not os.path.exists(before):
            draw(before)
        with open(plan, "wb") as f:
            f.write(bytes(32))
        os.environ.update(
            ANOMALY_PLAN=plan,
            ANOMALY_UNDER=os.path.join(args.folder, "work") + "/",
            LD_PRELOAD=os.path.abspath(args.library),
            ANOMALY_JOURNAL=os.path.join(args.folder, "journal"),
            THREADS="1",
            OMP_NUM_THREADS="1",
            OPENBLAS_NUM_THREADS="1",
            FER_LITE_COMMIT="",
        )
        open(os.path.join(args.folder, "journal"), "w").close()
        os.execv(sys.executable, [sys.executable] + sys.argv)
    from training import loop

    loop.RETRY = RETRY
    failed = 0
    for name in args.stages:
        cases = Cases(args.folder, name, stages(args.engine)[name], Plan(plan))
        calls = cases.prepare()
        ran = 0
        for mode in args.modes.split(","):
            for n in [args.at] if args.at else spread(calls, args.most):
                cases.case(mode, n)
                ran += 1
        ended = ", %d ended by Caffe's own CHECK" % cases.checked if cases.checked else ""
        print("%s: %d cases over %d calls, %d wrong%s" % (name, ran, calls, len(cases.found), ended), flush=True)
        failed += len(cases.found)
    return 1 if failed else 0


def spread(calls, most):
    """1 ... calls, or `most` of them evenly spread, the last one among them."""
    if not most or most >= calls:
        return range(1, calls + 1)
    return sorted({calls - round(i * (calls - 1) / max(most - 1, 1)) for i in range(most)})


if __name__ == "__main__":
    sys.exit(main())
