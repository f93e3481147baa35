"""One run's solver and net: the committed solver with the trial's seed, the length asked for, and the run's own paths."""
import os
from collections import namedtuple

from common import errors
from common.caffe import messages as m
from common.caffe import text
from netgen import nets
from netgen import solver as schedule

# One run: folder, resolved SolverParameter and NetParameter, {"train": Part, "valid": Part}, hash of what it is made from.
Job = namedtuple("Job", "out solver net parts identity")


def resolve(solver_path, out, trial=1, weights=None, gpu=None):
    """(SolverParameter, NetParameter) of the run in folder `out`; the same file serves the stock `caffe train`.

    `trial`: the seed of initialisation and crops, and, from 2 on, of the order of the training part, which then is
    another LMDB (`training.order`).
    """
    solver = text.read(solver_path, m.SolverParameter)
    if not solver.net or len(solver.test_iter) != 1 or solver.iter_size != 1:
        raise errors.Fail("%s must name one `net` and one `test_iter`, without iter_size: run `make prototxt`" % solver_path)
    if solver.lr_policy not in ("fixed", "step", "multistep", "poly"):
        raise errors.Fail("%s: lr_policy %r is not one of fixed, step, multistep, poly" % (solver_path, solver.lr_policy))
    net = text.read(solver.net, m.NetParameter)
    solver.random_seed = trial
    solver.snapshot_prefix = os.path.join(out, "snapshot")
    if weights:
        solver.weights.append(weights)
    if gpu is not None:
        solver.solver_mode, solver.device_id = m.SolverParameter.GPU, gpu
    if trial > 1:
        source = nets.data_layer(net, m.TRAIN).data_param
        source.source = order_path(source.source, trial)
        solver.net = os.path.join(out, "train.prototxt")
    return solver, net


def stretch(solver, net, images, epochs):
    """Make `solver` run `epochs` epochs of `images` images; its steps and snapshots keep their share of the run."""
    batch = nets.data_layer(net, m.TRAIN).data_param.batch_size
    before, solver.max_iter = solver.max_iter, schedule.iterations(epochs, images, batch)
    share = solver.max_iter / before
    solver.stepvalue[:] = [max(1, round(step * share)) for step in solver.stepvalue]
    for field in ("stepsize", "snapshot"):
        if getattr(solver, field):
            setattr(solver, field, max(1, round(getattr(solver, field) * share)))


def order_path(lmdb, trial):
    """Where the training part lies in the order of a trial; trial 1 has the order that data_prep wrote."""
    return "%s_trial%d" % (lmdb, trial) if trial > 1 else lmdb
