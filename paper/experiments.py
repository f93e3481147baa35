"""Table II's rows as runs, and the folders in which they lie. Only here, and in the Makefile's rule for one run, is such a name composed.

    RUNS/resnet20_cifar10/final.caffemodel                          a pretraining
    RUNS/resnet20_ferplus_from_cifar10/init.caffemodel              what the trials of a row begin with
    RUNS/resnet20_ferplus_from_cifar10/trial1/final.caffemodel      a trial; trained from scratch: resnet20_ferplus_from_none
    RUNS/resnet20_cifar10-5ep, RUNS/resnet20_ferplus_from_cifar10-5ep_2ep/trial1     other lengths than the paper's, in epochs

RUNS is runs for Caffe; another engine has a folder in it, runs/torch or runs/torch-bf16.

    python3 -m paper.experiments        the rows, for make: number:depth:source
"""

from __future__ import annotations

import os
import re
from collections import namedtuple

from paper import facts

CAFFE = "caffe"
# What a folder's name says of a run on FER+. source: None from scratch; epochs: (pretraining, fine-tuning) as given (str), None where
# they are the paper's; trial: number, or None of a row's own folder.
Experiment = namedtuple("Experiment", "depth source epochs trial")


def runs_folder(work: str = "", engine: str = CAFFE) -> str:
    """Where the runs of an engine (a name of engines.NAMES) lie in the folder `work`."""
    return os.path.join(work, "runs", *([engine] if engine != CAFFE else []))


def engine_of(runs: str) -> str:
    """The engine that a folder of runs is named after; Caffe where it is named after none."""
    name = os.path.basename(os.path.normpath(runs))
    return name if name.split("-")[0] == "torch" else CAFFE


def pretraining(runs: str, depth: int, source: str, epochs: float | str | None = None) -> str:
    """The folder of a pretraining."""
    return os.path.join(runs, "resnet%d_%s%s" % (depth, source, _length("-", epochs)))


def row(runs: str, depth: int, source: str | None, epochs: tuple = (None, None)) -> str:
    """The folder of a row's trials; `source` None is training from scratch, which has no pretraining whose length could differ."""
    lengths = (_length("-", epochs[0]) if source else "") + _length("_", epochs[1])
    return os.path.join(runs, "resnet%d_ferplus_from_%s%s" % (depth, source or "none", lengths))


def trial(folder: str, number: int) -> str:
    """The folder of a row's trial."""
    return os.path.join(folder, "trial%d" % number)


def recognised(path: str) -> Experiment | None:
    """The Experiment of a run on FER+ that `path` lies in, or None: a row's folder, a trial's, or a file in one."""
    parts = os.path.abspath(path).split(os.sep)
    for place, part in enumerate(parts):
        found = re.fullmatch(r"resnet(\d+)_ferplus_from_([a-z0-9]+?)(?:-([\d.]+)ep)?(?:_([\d.]+)ep)?", part)
        if found:
            depth, source, *epochs = found.groups()
            number = re.fullmatch(r"trial(\d+)", parts[place + 1]) if place + 1 < len(parts) else None
            return Experiment(int(depth), None if source == "none" else source, tuple(epochs), int(number.group(1)) if number else None)
    return None


def row_of(path: str) -> facts.Single | None:
    """The row of Table II (facts.Single) that the run in `path` is a trial of, or None: of other lengths, another network or source."""
    found = recognised(path)
    if not found or any(found.epochs):
        return None
    return next((single for single in facts.TABLE2 if (single.depth, single.source) == (found.depth, found.source)), None)


def _length(mark, epochs):
    return "%s%sep" % (mark, epochs) if epochs else ""


if __name__ == "__main__":
    print(" ".join("%d:%d:%s" % (single.row, single.depth, single.source or "none") for single in facts.TABLE2))
