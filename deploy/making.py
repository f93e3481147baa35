"""How a network was made, as model.json tells it: the runs behind a caffemodel, by their run.json and log.csv."""

import os
import re
import shlex

from common import files
from common import runs as kept_runs
from deploy import export
from training import transplant


def chain(path):
    """The runs that made a caffemodel, the last first: [(folder, run.json)]; a fine-tuning is followed by its pretraining."""
    folder = os.path.dirname(path)
    found = [(folder, export.run_record(path))]
    given = [kept_runs.option(session.get("command", []), "--weights") for session in found[0][1].get("sessions", [])]
    for path_then in filter(None, given):
        wanted, weights = _source(found[0][1], folder, path_then)
        for place in (weights, os.path.join(folder, "..", "..", os.path.basename(os.path.dirname(weights)), "final.caffemodel")):
            if os.path.isfile(place) and files.sha256(place) == wanted:
                return found + [(os.path.dirname(os.path.normpath(place)), export.run_record(place))]
    return found


def _source(run, folder, weights):
    """(hash, path) of the pretrained caffemodel of a fine-tuning in `folder` that was given the path `weights`, as it was then."""
    for place in (weights, os.path.join(folder, "..", os.path.basename(weights))):
        if os.path.isfile(place):
            source = transplant.origin(place)
            if source.path != place:
                return source.sha256, source.path
    return run.get("inputs", {}).get("weights"), weights  # version 1 of a run's description has the file's hash


def account(path):
    """model.json's account of the training: the runs, the first one last, and the data behind them."""
    runs = []
    for folder, run in chain(path):
        inputs, sessions = run.get("inputs", {}), run.get("sessions", [])
        if not run:
            continue
        log = kept_runs.read_log(os.path.join(folder, "log.csv"))
        first, last = (sessions[i] if sessions else {} for i in (0, -1))
        words = last.get("command", [])[1:]
        work = _work(words)
        runs.append(
            {
                "folder": _shown(os.path.abspath(folder), work),
                "command": shlex.join(["python3", "-m", "training.run"] + [_shown(word, work) for word in words]),
                "engine": inputs.get("engine"),
                "git_commit": sorted({s.get("git_commit") or "unknown" for s in sessions}),
                "sessions": len(sessions),
                "began": first.get("began"),
                "ended": last.get("ended"),
                "machine": last.get("machine"),
                "versions": last.get("versions"),
                "iterations": run.get("iteration"),
                "epochs": log[-1]["epoch"] if log else None,
                "seconds": run.get("seconds"),
                "solver": inputs.get("solver"),
                **({"recipe": inputs["recipe"]} if inputs.get("recipe") else {}),
                "train": dict(
                    {key: inputs.get("train", {}).get(key) for key in ("images", "sha256")},
                    lmdb=_shown(last.get("lmdbs", {}).get("train") or inputs.get("train", {}).get("lmdb") or "", work),
                ),
            }
        )
    return runs


def _work(words):
    """The folder that has the solvers/ of a recorded command, where it is an absolute path; else None."""
    solver = kept_runs.option(words, "--solver")
    return os.path.dirname(os.path.dirname(solver)) if solver and os.path.isabs(solver) else None


def _shown(word, work):
    """A word of a recorded command as a model card may show it: a path, or an option's, as from the folder `work`, in which the run was made."""
    option, path = re.fullmatch("(--[a-z-]+=)?(.*)", word, re.S).groups(default="")
    if not os.path.isabs(path):
        return word
    inside = work is not None and os.path.commonpath([path, work]) == work
    return option + (os.path.relpath(path, work) if inside else export.shown_path(path))
