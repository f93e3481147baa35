"""How Table II stands: what is done, running, stopped, failed and missing, and the time left: `env/run --plain -m evaluation.report.status`.

A run that is not finished shows how far it is; a trained one that is tested shows its accuracy in percent.
"""

import argparse
import json
import os
from collections import Counter, namedtuple

from common import errors
from common import runs as kept_runs
from common.progress import duration
from evaluation.report import rows
from paper import experiments, facts

# state: missing, running, stopped, failed, trained, tested; share: of the iterations; left, took: seconds or None;
# accuracy: in percent, of a tested run; problem: why it failed.
Standing = namedtuple("Standing", "folder depth state share left took accuracy problem")
CELL = 14


def standing(folder, depth, split):
    """The Standing of the run in `folder`."""
    kept = kept_runs.read(folder)
    if os.path.exists(os.path.join(folder, kept_runs.FINAL)):
        accuracy = _accuracy(folder, split)
        return Standing(folder, depth, "trained" if accuracy is None else "tested", 1.0, 0, kept.get("seconds"), accuracy, None)
    if not kept:
        return Standing(folder, depth, "missing", 0.0, None, None, None, None)
    log, end = kept_runs.read_log(os.path.join(folder, "log.csv")), kept["inputs"]["solver"]["max_iter"]
    done, spent = (log[-1]["iteration"], log[-1]["seconds"]) if log else (0, 0)
    left = spent / done * (end - done) if done else None
    state = "running" if kept_runs.is_claimed(folder) else "failed" if kept.get("problem") else "stopped"
    return Standing(folder, depth, state, done / end, left, None, None, kept.get("problem"))


def _accuracy(folder, split):
    """Accuracy in percent of the network as it is now, None where that was not tested."""
    metrics, final = os.path.join(folder, "metrics_%s.json" % split), os.path.join(folder, kept_runs.FINAL)
    if not os.path.exists(metrics) or os.path.getmtime(metrics) < os.path.getmtime(final):
        return None
    with open(metrics) as f:
        return 100 * json.load(f)["accuracy"]


def overview(runs):
    """The whole overview as text."""
    table = [row for row in rows.table(runs) if row.paper]
    pretrained = {(row.paper.depth, row.paper.source): standing(rows.pretraining_folder(row, runs), row.paper.depth, None) for row in table if row.paper.source}
    trials = {(row.key, t): standing(experiments.trial(row.folder, t), row.paper.depth, runs.split) for row in table for t in facts.TRIALS}
    lines = [
        "Table II in %s; accuracy in percent on the %s part" % (runs.folder, runs.split),
        ("%-4s%-32s%-" + str(CELL) + "s%s") % ("row", "network", "pretrained", "".join(("trial %d" % t).ljust(CELL) for t in facts.TRIALS)),
    ]
    for row in table:
        source = pretrained.get((row.paper.depth, row.paper.source))
        cells = [_cell(source) if source else ""] + [_cell(trials[row.key, t]) for t in facts.TRIALS]
        lines.append(("%-4s%-32s%s" % (row.key, row.title, "".join(cell.ljust(CELL) for cell in cells))).rstrip())
    everything = list(pretrained.values()) + list(trials.values())
    lines += [""] + ["%s: %s" % (s.folder, s.problem) for s in everything if s.problem]
    for name, part in (("pretrainings", pretrained), ("fine-tunings and trainings from scratch", trials)):
        lines.append("%d %s: %s" % (len(part), name, _counts(part.values())))
    return "\n".join(lines + _time_left(pretrained, trials))


def _cell(s):
    if s.state in ("running", "stopped", "failed"):
        rest = " " + duration(s.left) if s.left is not None and s.state == "running" else ""
        return "%s %d%%%s" % (s.state if not rest else "run", 100 * s.share, rest)
    return {"missing": "-", "trained": "trained"}.get(s.state) or "%.2f" % s.accuracy


def _counts(standings):
    counts = Counter(s.state for s in standings)
    return ", ".join("%d %s" % (counts[state], state) for state in ("tested", "trained", "running", "stopped", "failed", "missing") if counts[state])


def _time_left(*parts):
    """What the rest takes, where runs of the same kind and depth tell how long one is; kinds of which none is known are named."""
    total, unknown, running = 0.0, 0, 0
    for part in parts:
        known = {}
        for s in part.values():
            took = s.took or (s.left / (1 - s.share) if s.left and s.share < 1 else None)
            if took:
                known.setdefault(s.depth, []).append(took)
        for s in part.values():
            running += s.state == "running"
            if s.left is not None:
                total += s.left
            elif s.depth in known:
                total += sum(known[s.depth]) / len(known[s.depth])
            else:
                unknown += 1
    if not total and not unknown:
        return ["all is trained"]
    text = "time left: %s if one run follows the other" % duration(total)
    if running > 1:
        text += ", %s with %d at once" % (duration(total / running), running)
    return [text + (", and %d runs of a kind that was never timed here" % unknown if unknown else "")]


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m evaluation.report.status", description=__doc__.splitlines()[0])
    rows.arguments(parser)
    print(overview(rows.chosen(parser.parse_args())))


if __name__ == "__main__":
    main()
