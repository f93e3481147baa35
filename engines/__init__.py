"""What computes: Caffe, and PyTorch with the same prototxt, solver, LMDB and caffemodel files."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from google.protobuf.message import Message

TORCH = {"torch": "fp32", "torch-tf32": "tf32", "torch-bf16": "bf16"}  # name -> precision
NAMES = ("caffe",) + tuple(TORCH)


class Trainer(Protocol):
    """One training run of an engine, as training/loop.py drives it. A snapshot's files are Caffe's."""

    iter: int  # iterations done
    chunk: int  # iterations that the loop may ask for in one step

    def step(self, n: int) -> float:
        """Train n iterations; their mean loss."""

    def validate(self, stopped: Callable[[], object]) -> tuple[float, float] | None:
        """(accuracy, loss) of the TEST net over test_iter batches; None as soon as stopped() is true."""

    def snapshot(self, prefix: str) -> None:
        """Write PREFIX.caffemodel and PREFIX.solverstate, whose learned_net the caller sets."""

    def restore(self, solverstate: str, validations: int) -> None:
        """Continue exactly after such a snapshot, taken after so many validations: weights, history, position and crops of the data."""

    def save(self, path: str) -> None:
        """Write the weights as caffemodel."""

    def weights(self) -> dict[str, list[np.ndarray]]:
        """Layer name -> float32 arrays, copies, of the layers that have any."""

    def load_weights(self, weights: dict[str, list[np.ndarray]]) -> None:
        """Set those of the layers named."""

    def versions(self) -> dict[str, object]:
        """For the record: what computes, with how many threads."""


class Scorer(Protocol):
    """A network that tests images in the ten crops (evaluation/test.py)."""

    def __call__(self, batches: Iterable) -> Iterator[tuple]:
        """Of batches with `images`, uint8 N x C x H x W: (batch, (ten-crop mean, centre crop)), float32 N x classes each, in order."""


def trainers(name: str, runs: list[tuple[Message, Message]], folder: str, recipe: tuple | None = None, teachers: list[str] = ()) -> list[Trainer]:
    """A trainer for each (SolverParameter, NetParameter) of `runs`: several go in step, side by side, which PyTorch alone does."""
    if len(runs) > 1:
        return importlib.import_module("engines.torch.trials").make(runs, TORCH[name])
    return [trainer(name, *runs[0], folder, recipe, teachers)]


def trainer(name: str, solver: Message, net: Message, folder: str, recipe: tuple | None = None, teachers: list[str] = ()) -> Trainer:
    """The trainer called `name`. Fail on what it cannot run.

    `recipe`: a paper.recipe.Recipe, which PyTorch alone trains; `teachers`: paths of scores of what it learns from beside the votes.
    """
    if name == "caffe":
        return importlib.import_module("engines.caffe.engine").make(solver, net, folder)
    if recipe:
        return importlib.import_module("engines.torch.recipe").make(solver, net, folder, recipe, TORCH[name], teachers)
    return importlib.import_module("engines.torch.engine").make(solver, net, folder, TORCH[name])


def scorer(
    name: str, net: Message, model: Message, mean: np.ndarray, folded: bool = True, workers: int | None = None, gpu: int | None = None
) -> AbstractContextManager[Scorer]:
    """The context manager that yields the scorer called `name`."""
    if name == "caffe":
        return importlib.import_module("engines.caffe.network").tester(net, model, mean, folded, workers, gpu)
    return importlib.import_module("engines.torch.network").tester(net, model, mean, folded, workers, gpu, TORCH[name])
