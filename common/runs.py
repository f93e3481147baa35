"""The readers of a run's folder: run.json, log.csv, and whether someone trains in it. training/ writes them."""

from __future__ import annotations

import contextlib
import csv
import datetime
import fcntl
import glob
import itertools
import json
import os
from collections.abc import Sequence

from common import errors

FINAL = "final.caffemodel"
TIME = "%Y-%m-%dT%H:%M:%S%z"
COLUMNS = ("iteration", "epoch", "rate", "loss", "validation_accuracy", "validation_loss", "images_per_second", "seconds")


def read(out: str) -> dict:
    """The run.json of folder `out`, {} where there is none or it is damaged."""
    try:
        with open(os.path.join(out, "run.json")) as f:
            return json.load(f)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}


def began(out: str) -> float:
    """When the run in folder `out` began, in seconds since 1970; 0 where no run.json says it."""
    sessions = read(out).get("sessions")
    return datetime.datetime.strptime(sessions[0]["began"], TIME).timestamp() if sessions else 0.0


def is_claimed(out: str) -> bool:
    """Whether a process is training in folder `out` now."""
    try:
        with open(os.path.join(out, ".lock")) as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def option(words: Sequence[str], name: str) -> str | None:
    """The value that a recorded command (its words) gives the option `name`, behind it or after a "="; None where it has none."""
    for word, after in zip(words, [*words[1:], None]):
        if word == name or word.startswith(name + "="):
            return after if word == name else word[len(name) + 1 :]
    return None


def read_log(path: str) -> list[dict]:
    """The rows of a log.csv: dicts of numbers, None where a cell is empty; a last line cut short is left out."""
    rows = []
    if os.path.exists(path):
        with open(path, newline="") as f:
            whole = [line for line in f if line.endswith("\n")]
        with contextlib.suppress(TypeError, ValueError, KeyError, csv.Error):  # a power cut may leave anything at the end
            for row in csv.DictReader(whole):
                numbers = {name: float(row[name]) if row[name] else None for name in COLUMNS}
                rows.append(dict(numbers, iteration=int(row["iteration"])))
    return rows


def logged(folder: str) -> list[str]:
    """The folders of runs in `folder` that have a log, in order; itself where there is none, for `read_logs` to say so."""
    found = [glob.glob(os.path.join(glob.escape(folder), *depth, "log.csv")) for depth in ("*", ("*", "trial*"))]
    return sorted(os.path.dirname(path) for path in itertools.chain(*found)) or [folder]


def read_logs(runs: Sequence[str]) -> list[tuple[str, list[dict]]]:
    """[(folder, rows of its log)] of those folders of `runs` that have a log. Fail where none has."""
    logs = [(run, read_log(os.path.join(run, "log.csv"))) for run in runs]
    logs = [(run, rows) for run, rows in logs if rows]
    if not logs:
        raise errors.Fail("no run with a log in %s: train first, `make pretrain` or `make finetune`" % " ".join(runs[:3]))
    return logs
