"""A soak: a training is killed at random moments and continued until it ends, again and again, and must end in the bytes of an undisturbed one.

    python3 tests/soak.py --folder soak_work --data data --engine torch --kills 200        make soak

Both stages, a small ResNet on the first images of the data: pretraining on a source, and fine-tuning on FER+ from its transplanted weights.
Compared are weights, log, snapshots and record. The command ends with status 1 and a line for each run that ended otherwise.
"""

import argparse
import importlib
import os
import random
import shutil
import signal
import sys
import time
from collections import namedtuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

import anomaly  # noqa: E402
import lmdb  # noqa: E402
import training_data  # noqa: E402

from common import errors  # noqa: E402
from common.caffe import lmdbs  # noqa: E402
from netgen import resnet  # noqa: E402
from paper import ours  # noqa: E402
from training import loop, run, transplant  # noqa: E402

VALIDATION = {"ferplus": "valid_lmdb"}  # a source's is its test part
POLL = 0.002  # seconds

# out: the run's folder; arguments of training.run; whole: digests of what an undisturbed one made; seconds: how long it took.
Run = namedtuple("Run", "out arguments whole seconds")


def cut(data, name, images):
    """data/NAME of the current folder: the first `images` of the set in folder `data`, trained and validated on."""
    for part, lmdb_ in (("train_lmdb", "train_lmdb"), ("test_lmdb", VALIDATION.get(name, "test_lmdb"))):
        os.makedirs("data/%s/%s" % (name, part))
        with (
            lmdbs.opened(os.path.join(data, name, lmdb_)) as there,
            there.begin() as reading,
            lmdb.open("data/%s/%s" % (name, part), map_size=1 << 30) as here,
            here.begin(write=True) as writing,
        ):
            for _, (key, value) in zip(range(images), reading.cursor()):
                writing.put(key, value)
    shutil.copy(os.path.join(data, name, "mean.binaryproto"), "data/" + name)


def prepare(engine, data=None, source="cifar10", images=2000, depth=8, iterations=48):
    """The Runs of both stages, made undisturbed in the current folder. Without `data`: on few drawn images."""
    if engine != "caffe":
        importlib.import_module("engines.torch.engine")  # once, not in each of the runs
    classes = {name: ours.DATASETS[name]["classes"] for name in (source, "ferplus")}
    for name, count in classes.items():
        if data:
            cut(data, name, images)
        training_data.write_all(name, count, depth, max_iter=iterations)
    run._memory = lambda: os.path.realpath(".")  # what a killed run leaves there goes with the folder
    first = undisturbed("runs/pretraining", ["--engine", engine, "--solver", source + ".prototxt"])
    transplant.write("runs/pretraining/final.caffemodel", resnet.deploy_net(depth, "ferplus", classes["ferplus"]), "init.caffemodel")
    return [first, undisturbed("runs/finetuning", ["--engine", engine, "--solver", "ferplus.prototxt", "--weights", "init.caffemodel"])]


def undisturbed(out, arguments):
    began = time.monotonic()
    status = attempt(Run(out, arguments, None, None))
    if status:
        raise SystemExit("%s does not work undisturbed:\n%s" % (out, words()))
    return Run(out, arguments, anomaly.digests(out), time.monotonic() - began)


def attempt(one, after=None, before=None):
    """Begin or continue a Run, killed `after` seconds or `before` an iteration; its status, -SIGKILL where it was killed."""

    def killing():
        step = loop.Training._step

        def stepping(self):
            if self.engine.iter == before:
                os.kill(os.getpid(), signal.SIGKILL)
            step(self)

        loop.Training._step = stepping

    child = anomaly.started(run.main, ["training.run", *one.arguments, "--out", one.out], ".", "said", killing)
    ended = time.monotonic() + (anomaly.PATIENCE if after is None else after)
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        if time.monotonic() > ended:
            os.kill(child, signal.SIGKILL)
        time.sleep(POLL)


def killed(one, kills):
    """Begin a Run anew and kill it by each of `kills` (keyword arguments of `attempt`) until it ends; (how many kills met it, what is wrong or None)."""
    shutil.rmtree(one.out)
    met = 0
    for kill in kills:
        status = attempt(one, **kill)
        if status != -signal.SIGKILL:
            break
        met += 1
    else:
        status = attempt(one)
    made = anomaly.digests(one.out)
    wrong = sorted(name for name in set(made) | set(one.whole) if made.get(name) != one.whole.get(name))
    return met, "status %d: %s" % (status, words()) if status else "other bytes: %s" % wrong if wrong else None


def words():
    with open("said", errors="replace") as f:
        return " | ".join(f.read().strip().splitlines()[-4:])


@errors.main
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", required=True, help="an empty folder for what is made")
    parser.add_argument("--data", help="folder of the sets (default: drawn images)")
    parser.add_argument("--source", default="cifar10", help="what is pretrained on (default: %(default)s)")
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--images", type=int, default=2000, help="of each set (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: %(default)s)")
    args = parser.parse_args()
    data = args.data and os.path.realpath(args.data)
    os.chdir(args.folder)
    stages, moments = prepare(args.engine, data, args.source, args.images), random.Random(args.seed)
    counts, trained, failed, left = dict.fromkeys((each.out for each in stages), 0), 0, 0, args.kills
    while left > 0:
        one = stages[trained % len(stages)]
        # Later with each kill: a machine that has become slower would never reach the next snapshot.
        met, wrong = killed(one, (dict(after=moments.uniform(0, one.seconds * (1 + n / 2))) for n in range(left)))
        counts[one.out], left, trained, failed = counts[one.out] + met, left - met, trained + 1, failed + bool(wrong)
        print("%s: %d kills, %s" % (one.out, met, wrong or "the same bytes"), flush=True)
    print("%s: %d kills (%s) in %d runs, %d wrong" % (args.engine, args.kills, ", ".join("%s %d" % pair for pair in counts.items()), trained, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    main()
