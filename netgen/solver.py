"""NAG solvers: schedules in epochs (the paper's III-C) turned into Caffe's iterations."""

from __future__ import annotations

import math
from collections.abc import Sequence

from common.caffe import messages as m
from paper import facts, ours

DISPLAY = 100  # iterations between two loss lines of the stock `caffe train`


def pretraining(net, prefix, train, valid, valid_batch, epochs, batch=ours.PRETRAIN_BATCH, rate=ours.PRETRAIN_RATE, decay=ours.WEIGHT_DECAY):
    """Pretraining on a source of `train` images, validated on `valid` others (counts). Rate and steps are ours (paper/ours.py)."""
    drops = [share * epochs for share in ours.PRETRAIN_DROP_AT]
    return nag(net, prefix, train, valid, valid_batch, epochs, batch, rate, ours.PRETRAIN_DROP, drops, ours.PRETRAIN_SOLVER, decay)


def finetuning(
    net, prefix, train, valid, valid_batch, epochs=facts.FINETUNE_EPOCHS, batch=ours.FERPLUS_BATCH, rate=facts.FINETUNE_RATE, decay=ours.WEIGHT_DECAY
):
    """Fine-tuning on FER+: 8 epochs, 0.01, times 0.1 at epochs 4 and 6 (III-C). Other lengths keep the proportions."""
    drops = [drop * epochs / facts.FINETUNE_EPOCHS for drop in facts.FINETUNE_DROP_EPOCHS]
    return nag(net, prefix, train, valid, valid_batch, epochs, batch, rate, facts.FINETUNE_DROP, drops, facts.FINETUNE_SOLVER, decay)


def from_scratch(
    net, prefix, train, valid, valid_batch, epochs=facts.FINETUNE_EPOCHS, batch=ours.FERPLUS_BATCH, rate=ours.SCRATCH_RATE, decay=ours.WEIGHT_DECAY
):
    """Training on FER+ from random weights: fine-tuning's epochs and drops; the rate is ours."""
    return finetuning(net, prefix, train, valid, valid_batch, epochs, batch, rate, decay)


def nag(
    net: str,
    prefix: str,
    train: int,
    valid: int,
    valid_batch: int,
    epochs: float,
    batch: int,
    rate: float,
    drop: float,
    drop_epochs: Sequence[float],
    kind: str,
    decay: float = ours.WEIGHT_DECAY,
) -> m.SolverParameter:
    """A SolverParameter: rate x `drop` at each of `drop_epochs`; a validation each epoch; the whole validation part each time.

    `net`: path of the train prototxt; `prefix`: of snapshots; both as Caffe sees them from its working directory.
    """
    max_iter = iterations(epochs, train, batch)
    return m.SolverParameter(
        net=net,
        type=kind,
        base_lr=rate,
        lr_policy="multistep",
        gamma=drop,
        stepvalue=[iterations(epoch, train, batch) for epoch in drop_epochs],
        max_iter=max_iter,
        momentum=ours.MOMENTUM,
        weight_decay=decay,
        test_iter=[math.ceil(valid / valid_batch)],
        test_interval=iterations(1 / ours.VALIDATIONS_PER_EPOCH, train, batch),
        test_initialization=False,
        display=DISPLAY,
        average_loss=DISPLAY,
        snapshot=math.ceil(max_iter / ours.SNAPSHOTS),
        snapshot_prefix=prefix,
        random_seed=ours.PRETRAIN_TRIAL,
        solver_mode=m.SolverParameter.CPU,
    )


def falling(net, prefix, recipe, train, valid, valid_batch, epochs_a_validation):
    """The solver of a paper.recipe.Recipe on `train` images: Nesterov, the rate falls along a straight line to zero."""
    solver = nag(net, prefix, train, valid, valid_batch, recipe.epochs, recipe.batch, recipe.rate, 1, (), "Nesterov", recipe.decay)
    solver.lr_policy, solver.power = "poly", 1
    solver.ClearField("gamma")
    solver.test_interval = iterations(epochs_a_validation, train, recipe.batch)
    return solver


def iterations(epochs: float, images: int, batch: int) -> int:
    """Iterations that show `images` images `epochs` times in batches of `batch`, rounded up."""
    return math.ceil(round(epochs * images / batch, 6))


def rate(solver: m.SolverParameter, iteration: int) -> float:
    """The learning rate that Caffe uses in iteration `iteration` (counted from 0)."""
    if solver.lr_policy == "poly":
        return solver.base_lr * (1 - iteration / solver.max_iter) ** solver.power
    if solver.lr_policy == "fixed":
        drops = 0
    elif solver.lr_policy == "step":
        drops = iteration // solver.stepsize
    else:
        drops = sum(iteration >= step for step in solver.stepvalue)
    return solver.base_lr * solver.gamma**drops
