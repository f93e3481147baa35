"""One training run: a committed solver, run to its end in a folder of its own, beginning anew or where it was interrupted.

    python3 -m training.run --solver solvers/resnet20_cifar10.prototxt --out runs/resnet20_cifar10
    python3 -m training.run --solver solvers/resnet20_ferplus_finetune.prototxt --trial 1 \\
        --weights runs/resnet20_ferplus_from_cifar10/init.caffemodel --out runs/resnet20_ferplus_from_cifar10/trial1

With `--trials 1-5 --out ROW` the runs ROW/trial1 to ROW/trial5 are trained side by side, by PyTorch: each with its own seed, order, log,
snapshots and record, as if it ran alone.

Writes solver.prototxt (the stock `caffe train --solver` runs it), log.csv, run.json, snapshots and, last,
final.caffemodel. Pretraining, fine-tuning and training from scratch differ by the solver and --weights only (III-B).
"""

import argparse
import contextlib
import math
import os
import re
import shutil
import sys
import tempfile
from collections import defaultdict, namedtuple

import engines
from common import errors, files, parallel, streams
from common import runs as kept_runs
from common.caffe import text
from netgen import nets
from paper import experiments, ours, recipe
from training import inputs, job, loop, record, snapshots, transplant

SCRATCH = "fer-lite-run"  # begins the names of folders for what engines write before it is the run's
ABANDONED = 60  # seconds after which one that nobody holds is nobody's: systemd may have emptied it, lock and all
# A run that is to be trained: Job, description of what it is made from, state of the snapshot that it continues from ({}: anew).
Begun = namedtuple("Begun", "work described state")


@errors.main
@streams.unfailing()
def main():
    args = _arguments()
    out = args.out.rstrip("/")
    with contextlib.ExitStack() as held, files.scratch(os.path.join(_memory(), SCRATCH), ABANDONED) as scratch:
        if args.trials:
            begun = [_begun(experiments.trial(out, trial), trial, args, held) for trial in args.trials]
        else:
            begun = [_begun(out, args.trial, args, held)]
        stop, groups = loop.Stop(args.stop_after), defaultdict(list)  # who goes on from the same iteration goes side by side
        for each in filter(None, begun):
            groups[each.state.get("iteration", 0)].append(each)
        return _train_all([group for _, group in sorted(groups.items(), reverse=True)], args, scratch, stop)


def _train_all(groups, args, scratch, stop):
    """Train group after group; the exit status. One that fails keeps no other back."""
    statuses, problems = [], []
    for group in groups:
        try:
            statuses.append(stop.status() if stop() else _train(group, args, scratch, stop))
        except errors.Fail as problem:
            problems.append(problem)
    _raise_first(problems)
    return max(statuses, default=0)


def _raise_first(problems):
    for problem in problems[1:]:
        say("error: %s" % problem)
    if problems:
        raise problems[0]


def _begun(out, trial, args, held):
    """The Begun of the run in folder `out`, which `held` (an ExitStack) claims; None where it is finished."""
    # A recipe shuffles by its seed; the paper's trials read an LMDB in an order of their own.
    solver, net, sources = job.resolve(args.solver, out, trial, args.weights, args.gpu, ordered=not args.recipe)
    if args.weights:
        transplant.read(args.weights)
    parts = inputs.check_data(net)
    if args.epochs:
        job.stretch(solver, net, parts["train"].images, args.epochs)
    more = recipe.described(recipe.NAMED[args.recipe], [files.sha256(path) for path in args.teacher]) if args.recipe else None
    made_from = solver, net, parts, args.weights, args.engine, more
    held.enter_context(record.claimed(out))
    # A run that was begun under an earlier description keeps it to its end: its snapshots are known by it.
    described = inputs.describe_as(kept_runs.read(out).get("inputs"), *made_from)
    standing, state = record.standing(out, described, say)
    if standing == "new":
        described = inputs.describe(*made_from)
    if standing == "finished":
        os.utime(os.path.join(out, kept_runs.FINAL))  # make goes by times, and found something newer
        say("%s is finished, and nothing that it was made from has changed" % out)
        return None
    sources += [os.path.join(os.path.dirname(parts["train"].path), "manifest.json"), *filter(None, [args.weights]), *args.teacher]
    return Begun(job.Job(out, solver, net, parts, inputs.identity(described), sources), described, state or {})


def _train(begun, args, scratch, stop):
    """Train runs that begin at one iteration, side by side where there are several; the exit status."""
    works = [each.work for each in begun]
    with contextlib.ExitStack() as refused:
        for work in works:
            refused.enter_context(_nothing_left_of_a_refused(work))
        trainers = _trainers(begun, args, scratch)
    _say_what_is_validated(works[0])
    kept = [
        record.begin(work.out, described, work.sources, work.parts, engine.versions(), engine.iter, say)
        for (work, described, _), engine in zip(begun, trainers)
    ]
    runs = [loop.Training(engine, work, scratch, state, args.snapshot_minutes, stop) for (work, _, state), engine in zip(begun, trainers)]
    outcomes = ["failed"] * len(runs)
    try:
        reason = loop.train(runs, stop)
        for i, run in enumerate(runs):
            if not run.problem:
                outcomes[i] = "stopped" if reason or _save(run, kept[i]) else "finished"
            if run.problem:
                outcomes[i], kept[i]["problem"] = "failed", str(run.problem)
    finally:
        for run, record_, outcome in zip(runs, kept, outcomes):
            if outcome != "finished":
                record.end(run.work.out, record_, outcome, run.engine.iter, run.seconds())
    return _told(runs, outcomes, stop)


def _save(run, record_):
    """Write the final weights; the reason for stopping where that came first. Why they cannot be written is the run's problem."""
    try:
        return run.save(os.path.join(run.work.out, kept_runs.FINAL), lambda made: record.finish(run.work.out, record_, made, run.engine.iter, run.seconds()))
    except errors.Fail as problem:
        run.problem = problem
        return None


def _told(runs, outcomes, stop):
    """Say how each run ended; the exit status."""
    for run, outcome in zip(runs, outcomes):
        work, out = run.work, run.work.out
        if outcome == "finished":
            say(
                "%s is finished: validation %.2f%% (%s), %s"
                % (out, 100 * run.accuracy, inputs.validated_on(work.solver, work.net, work.parts["valid"]), os.path.join(out, kept_runs.FINAL))
            )
        elif outcome == "stopped":
            say(
                "%s stopped by %s at iteration %d of %d: the same command %s"
                % (out, stop(), run.engine.iter, work.solver.max_iter, "begins anew" if run.good is None else "continues from " + run.last_good())
            )
    _raise_first([run.problem for run in runs if run.problem])
    return stop.status() if "stopped" in outcomes else 0


def _trainers(begun, args, scratch):
    """The engines where the runs begin or continue: with their snapshots, the transplanted weights, or initialised."""
    for work, _, _ in begun:
        _write_inputs(work, args)
    trainers = engines.trainers(
        args.engine, [(work.solver, work.net) for work, _, _ in begun], scratch, args.recipe and recipe.NAMED[args.recipe], args.teacher
    )
    for (work, _, state), engine in zip(begun, trainers):
        _require_space(work, engine, state)
        if state:
            say("%s continues from iteration %d of %d" % (work.out, state["iteration"], work.solver.max_iter))
            snapshots.restore(engine, work.out, scratch, state)
        elif args.weights:
            print(transplant.transplant(args.weights, engine, nets.final_layer(work.net).name), flush=True)
    return trainers


def _say_what_is_validated(work):
    part = work.parts["valid"]
    words = inputs.validated_on(work.solver, work.net, part)
    if not words.startswith("n ="):
        say(
            "warning: %s validates on %s; to see each once, put valid=%d and a valid_batch that divides it into DATASETS in paper/ours.py and run "
            "`make prototxt` (%s; what is tested at the end is each image once all the same)" % (work.out, words, part.images, part.path)
        )


@contextlib.contextmanager
def _nothing_left_of_a_refused(work):
    """Remove what _write_inputs wrote for a run that is refused before it has a record."""
    try:
        yield
    except errors.Fail:
        for name in ("train.prototxt", "solver.prototxt") if not kept_runs.read(work.out) else ():
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(work.out, name))
        raise


def _write_inputs(work, args):
    """The files that the stock `caffe train --solver=OUT/solver.prototxt` needs, and what it would make of them."""
    same = "The stock tool computes the same" if args.engine == "caffe" else "The stock tool trains the same, from other random numbers"
    if args.recipe:
        same = "The stock tool trains this net on one label an image: the recipe is the PyTorch engine's"
    header = "This run as `python3 -m training.run` resolved it. %s:\n%scaffe train --solver=%s/solver.prototxt" % (
        same,
        "".join("%s=%s " % pair for pair in parallel.blas_settings().items()),
        work.out,
    )
    if os.path.dirname(work.solver.net) == work.out:
        text.write(work.solver.net, work.net, header)
    text.write(os.path.join(work.out, "solver.prototxt"), work.solver, header)


def _require_space(work, engine, state):
    """Fail before the run where its snapshots cannot fit. A snapshot holds every number twice: weights and history."""
    size = 2 * sum(blob.nbytes for blobs in engine.weights().values() for blob in blobs)
    left = work.solver.max_iter - state.get("iteration", 0)
    need = size * (3 + (left // work.solver.snapshot if work.solver.snapshot else 0))
    free = shutil.disk_usage(work.out).free
    if free < need:
        raise errors.Fail("%s has %.1f MB free, and this run's snapshots need %.1f MB: make room or choose another WORK" % (work.out, free / 1e6, need / 1e6))


def _memory():
    """The folder in memory for what Caffe writes itself, the system's own for such files where there is none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()


def say(line):
    print(line, file=sys.stderr, flush=True)


def seconds(text_):
    """90m, 2h, 45s or 45 as seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text_)
    if not match:
        raise errors.Fail("STOP_AFTER=%s is no time: write 90m, 2h or 45s" % text_)
    return float(match.group(1)) * {"": 1, "s": 1, "m": 60, "h": 3600}[match.group(2)]


def positive(text_):
    """A number above 0: epochs, minutes."""
    with contextlib.suppress(ValueError):
        if 0 < float(text_) < math.inf:
            return float(text_)
    raise errors.Fail("%s is no number above 0, for epochs or minutes" % text_)


def gpu(text_):
    """The number of one GPU."""
    if not text_.isdigit():
        raise errors.Fail("GPU=%s is no number of one GPU: GPU=0, a run takes one" % text_)
    return int(text_)


def trial(text_):
    """The number of a trial."""
    if not text_.isdigit() or int(text_) < 1:
        raise errors.Fail("trial %s is no number from 1 on" % text_)
    return int(text_)


def trials(text_):
    """The numbers of trials: "1,2,4-5"."""
    found = []
    for part in text_.split(","):
        first, dash, last = part.partition("-")
        found += range(trial(first), trial(last if dash else first) + 1)
    if not found or len(set(found)) < len(found):
        raise errors.Fail("TRIALS=%s names none, or one twice: write 1-5 or 1,3" % text_)
    return found


def _arguments():
    parser = argparse.ArgumentParser(prog="python3 -m training.run", description=__doc__.splitlines()[0])
    parser.add_argument("--solver", required=True, help="a solver of solvers/")
    parser.add_argument("--out", required=True, help="the run's folder")
    parser.add_argument("--weights", help="init.caffemodel of training.transplant, or a pretrained network: all but its final layer is copied")
    parser.add_argument("--trial", type=trial, default=ours.PRETRAIN_TRIAL, help="seed of initialisation, crops and order")
    parser.add_argument("--trials", type=trials, help="these trials side by side (1-5), each in its folder OUT/trialN")
    parser.add_argument("--epochs", type=positive, help="another length; rate steps keep their share of the run")
    parser.add_argument("--gpu", type=gpu, help="GPU number, with a Caffe that was built for it")
    parser.add_argument("--engine", choices=engines.NAMES, default="caffe")
    parser.add_argument("--recipe", choices=sorted(recipe.NAMED), help="train on FER+'s votes by a recipe of paper/recipe.py")
    parser.add_argument(
        "--teacher",
        nargs="+",
        default=[],
        metavar="SCORES",
        help="a recipe's networks learn from these answers too: scores_train.npz of networks that `python3 -m evaluation.test --split train` tested",
    )
    parser.add_argument("--stop-after", type=seconds, help="snapshot and stop after this time: 90m, 2h, 45s")
    parser.add_argument(
        "--snapshot-minutes", type=positive, default=ours.SNAPSHOT_MINUTES, help="minutes between snapshots, beside the solver's interval (default %(default)s)"
    )
    args = parser.parse_args()
    if args.recipe and not args.engine.startswith("torch"):
        raise errors.Fail("a recipe (%s) is trained by the PyTorch engine: ENGINE=torch" % args.recipe)
    for path in args.teacher:
        if not os.path.exists(path):
            raise errors.Fail(
                "there are no answers of a teacher %s: `make best RECIPE=small TEACHER=models/resnet20_votes` makes them first, or "
                "`python3 -m evaluation.test --split train`" % path
            )
    if args.teacher and not args.recipe:
        raise errors.Fail("a teacher (%s) is for a recipe's networks: --recipe" % args.teacher[0])
    if args.trials and (args.recipe or not args.engine.startswith("torch")):
        raise errors.Fail("trials side by side are the PyTorch engine's, of the paper's nets: ENGINE=torch; others run as processes, make -jN")
    return args


if __name__ == "__main__":
    main()
