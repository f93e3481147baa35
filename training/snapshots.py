"""Snapshots of a run: snapshot_iter_N.caffemodel, .solverstate (both Caffe's) and .json, which is written last.

The .json holds what Caffe's files do not (hashes, time spent, the loss since the last row of the log) and marks the
snapshot as whole. The engine writes into a scratch folder in memory; the copy into the run's folder is ours, so that a
full disk is an error that the run survives, and no file is ever there by half.
"""

import errno
import glob
import json
import os
import shutil

from common import errors, files
from common.caffe import binary
from common.caffe import messages as m

ENDINGS = (".caffemodel", ".solverstate")


def write(engine, out, scratch, state):
    """Snapshot `engine` into folder `out`; `state`: dict stored with it. OSError where the disk does not take it."""
    os.makedirs(scratch, exist_ok=True)  # systemd's RemoveIPC empties /dev/shm when its user logs out
    made, kept = os.path.join(scratch, "snapshot"), prefix(out, engine.iter)
    require_room(engine, scratch)
    engine.snapshot(made)
    _point(made + ".solverstate", kept + ".caffemodel")
    hashes = {ending: files.sha256(made + ending) for ending in ENDINGS}
    for ending in ENDINGS:
        move(made + ending, kept + ending)
    with files.replacing(kept + ".json") as temporary, open(temporary, "w") as f:
        json.dump(dict(state, iteration=engine.iter, sha256=hashes), f, indent=1)


def require_room(engine, scratch):
    """OSError where `scratch` is too full for a snapshot: Caffe would abort the process."""
    need = 3 * sum(blob.nbytes for blobs in engine.weights().values() for blob in blobs)
    if shutil.disk_usage(scratch).free < need:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), scratch)


def move(source, target):
    """Move a file between file systems, whole or not at all."""
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)
    os.remove(source)


def _point(solverstate, caffemodel):
    """Name the weights in a solverstate: Caffe wrote the name that they had in the scratch folder."""
    state = binary.read(solverstate, m.SolverState)
    state.learned_net = caffemodel
    binary.write(solverstate, state)


def prefix(out, iteration):
    """The path of a snapshot without its ending, named as the stock `caffe train` names it."""
    return os.path.join(out, "snapshot_iter_%d" % iteration)


def iterations(out):
    """Iterations of the snapshots in folder `out` that have any file, newest first."""
    found = {os.path.basename(p).split("_")[2].split(".")[0] for p in glob.glob(os.path.join(out, "snapshot_iter_*.*"))}
    return sorted((int(n) for n in found if n.isdigit()), reverse=True)


def last_good(out, identity, say):
    """State of the newest whole snapshot of the run `identity`, None where there is none; `say` is told of bad ones."""
    for iteration in iterations(out):
        state, problem = _load(prefix(out, iteration), identity)
        if state:
            return state
        say("skipped snapshot %s: %s" % (prefix(out, iteration), problem))
    return None


def _load(path, identity):
    try:
        with open(path + ".json") as f:
            state = json.load(f)
        for ending in ENDINGS:
            if files.sha256(path + ending) != state["sha256"][ending]:
                return None, "%s is damaged" % (path + ending)
    except FileNotFoundError as mistake:
        return None, "%s is not there" % mistake.filename
    except (ValueError, KeyError, TypeError):
        return None, "%s is damaged" % (path + ".json")
    if state.get("inputs") != identity:
        return None, "it is of another run (other net, solver, data or weights)"
    return state, None


def restore(engine, out, scratch, state):
    """Set `engine` behind the snapshot that `state` describes, wherever the run's folder lies now."""
    kept, named = prefix(out, state["iteration"]), os.path.join(scratch, "restored.solverstate")
    shutil.copyfile(kept + ".solverstate", named)
    _point(named, kept + ".caffemodel")
    engine.restore(named, state["validations"])
    os.remove(named)
    if engine.iter != state["iteration"]:
        raise errors.Fail("%s.solverstate says iteration %d: remove %s.* and start again" % (kept, engine.iter, kept))


def remove(out, iteration):
    """Remove one snapshot, its mark of being whole first."""
    for ending in (".json",) + ENDINGS:
        if os.path.exists(prefix(out, iteration) + ending):
            os.remove(prefix(out, iteration) + ending)
