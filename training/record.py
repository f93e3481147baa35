"""run.json: what a run was made from, by what, when, and how it stands; and what to do with what a folder holds."""

import contextlib
import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import time

from common import errors, files, runs
from training import inputs, snapshots


@contextlib.contextmanager
def claimed(out):
    """Make folder `out` and hold it against a second process that would train in it. Fail where it cannot be written."""
    try:
        os.makedirs(out, exist_ok=True)
        handle = open(os.path.join(out, ".lock"), "w")
    except OSError as problem:
        raise errors.Fail("%s cannot be written (%s): choose another folder (WORK=) or mend its permissions" % (out, problem.strerror)) from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise errors.Fail("another process is training in %s: wait for it or stop it" % out) from None
        except OSError as problem:
            raise errors.Fail(
                "the file system of %s gives no locks (%s), so two processes could train in one folder: mount it with them "
                "(NFS 4, or Lustre with -o flock)" % (out, problem.strerror)
            ) from None
        try:
            yield
        finally:
            if os.listdir(out) == [".lock"]:  # of a run that was refused
                shutil.rmtree(out)


def write(out, record):
    with files.replacing(os.path.join(out, "run.json")) as temporary, open(temporary, "w") as f:
        json.dump(record, f, indent=1, sort_keys=True)
        f.write("\n")


def standing(out, described, say):
    """What folder `out` holds of the run described: ("finished", None), ("begun", state of a snapshot) or ("new", None).

    A finished run of other inputs is set aside, unless only the engine is another one; a begun one is not: Fail says what changed.
    """
    old, final = runs.read(out), os.path.join(out, runs.FINAL)
    changed = inputs.differences(old.get("inputs", {}), described)
    if os.path.exists(final):
        if not old:
            raise errors.Fail("%s is there, but no run.json says what it was made from: move it away to train here" % final)
        if old.get("final_sha256") != files.sha256(final):
            changed = changed or runs.FINAL
        if not changed:
            return "finished", None
        if changed == "the engine":
            raise errors.Fail(
                "%s was trained with the engine %s, not %s: it is kept; to have both, train in another folder (RUNS=)"
                % (final, old["inputs"]["engine"], described["engine"])
            )
        say("%s was made from other inputs (%s): kept in %s, training anew" % (final, changed, _set_aside(out)))
        return "new", None
    if old and changed == "the engine" and snapshots.iterations(out):
        say(
            "%s was begun with the engine %s and continues with %s: the same solver, data and order, other random crops"
            % (out, old["inputs"]["engine"], described["engine"])
        )
    elif old and changed and snapshots.iterations(out):
        raise errors.Fail("%s was begun with other inputs (%s): put them back to continue, or `rm -r %s` to start anew" % (out, changed, out))
    state = snapshots.last_good(out, inputs.identity(described), say)
    return ("begun", state) if state else ("new", None)


def _set_aside(out):
    """Move everything in `out` into a new folder out/replaced-N; its path."""
    names = [n for n in os.listdir(out) if not n.startswith(("replaced-", "."))]
    number = 1 + sum(n.startswith("replaced-") for n in os.listdir(out))
    aside = os.path.join(out, "replaced-%d" % number)
    os.mkdir(aside)
    for name in names:
        os.rename(os.path.join(out, name), os.path.join(aside, name))
    return aside


def begin(out, described, sources, parts, versions, start, say):
    """The record of a run that begins or continues at iteration `start`, written to run.json.

    `sources`: paths of the files that it was resolved from, recorded with their hashes; those that are not there are left out.
    `parts`: name -> inputs.Contents; where they lie is of the session, not of what the run is.
    """
    record = runs.read(out) if start else {}
    before = record.get("sessions", [{}])[-1].get("versions", versions)
    other = [key for key in versions if versions[key] != before.get(key)]
    if other:
        say(
            "warning: %s continues with another %s than before (%s): the final bytes may differ from those of an "
            "uninterrupted run" % (out, " and ".join(other), "; ".join("%s, now %s" % (before.get(k), versions[k]) for k in other))
        )
    session = {
        "command": sys.argv,
        "began": _now(),
        "from_iteration": start,
        "versions": versions,
        "pid": os.getpid(),
        "host": platform.node(),
        "machine": _machine(),
        "cores": os.cpu_count(),
        "git_commit": git_commit(),
        "lmdbs": {name: part.path for name, part in parts.items()},
        "files": {path: files.sha256(path) for path in sources if os.path.exists(path)},
    }
    record.pop("problem", None)
    record.update(inputs=described, sessions=record.get("sessions", []) + [session], state="running")
    write(out, record)
    return record


def finish(out, record, final, iteration, seconds):
    """Record that the run is finished, with the weights in the file `final`, which are moved to their place afterwards."""
    _end(record, "finished", iteration, seconds)
    record["final_sha256"] = files.sha256(final)
    write(out, record)


def end(out, record, state, iteration, seconds):
    """Record how the session ended where it did not finish: state is stopped or failed. A full disk is left as it is."""
    _end(record, state, iteration, seconds)
    with contextlib.suppress(OSError):
        write(out, record)


def _end(record, state, iteration, seconds):
    record["sessions"][-1].update(ended=_now(), to_iteration=iteration)
    record.update(state=state, iteration=iteration, seconds=round(seconds, 1))


def _now():
    return time.strftime(runs.TIME)


def _machine():
    """The processor's name: BLAS chooses its kernels by it."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def git_commit():
    """The commit of this checkout, with "+changes" where files differ from it; None outside git.

    env/run has asked git already, for there is none inside.
    """
    if "FER_LITE_COMMIT" in os.environ:
        return os.environ["FER_LITE_COMMIT"] or None
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    own = dict(os.environ, GIT_CEILING_DIRECTORIES=os.path.dirname(root))  # an unpacked archive in another project's checkout has none
    command = ["git", "-c", "safe.directory=*", "-C", root, "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty=+changes"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        return subprocess.check_output(command, env=own, stderr=subprocess.DEVNULL).decode().strip()
    return None
