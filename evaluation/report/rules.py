"""What the study and the ladder share: their command's options, and rules for make of what they have not run yet.

Each target of the rules is a file that a run makes, its recipe a list of commands, each a list of words.
"""

import argparse
import csv
import shlex

from common import errors, files


def options(name, about):
    """A parser of the options of both: evaluation.report.NAME, its results in docs/results/NAME.csv."""
    parser = argparse.ArgumentParser(prog="python3 -m evaluation.report." + name, description=about.splitlines()[0])
    parser.add_argument("--csv", default="docs/results/%s.csv" % name, help="the results (default: %(default)s)")
    parser.add_argument("--work", help="the folder of its runs: collect what is finished there")
    parser.add_argument("--rules", help="write rules for make of what is missing here; nothing is printed then")
    parser.add_argument("--data", default="data", help="where `make data` builds (default: %(default)s)")
    parser.add_argument("--engine", default="torch", help="what trains (default: %(default)s); what tests is torch")
    parser.add_argument("--python", default="python3", help="what runs a training (default: %(default)s)")
    return parser


def run(args, read, collect, write, write_rules, report):
    """The command: collect what is finished, then write the rules of what is missing, or print the table."""
    if args.rules and not args.work:
        raise errors.Fail("--rules needs --work, the folder of the runs")
    lines = read(args.csv)
    if args.work:
        collected = collect(args, lines)
        if collected != lines:
            write(args.csv, collected)
        lines = read(args.csv)
    if args.rules:
        write_rules(args, lines)
    else:
        print(report(lines))


def write(path, columns, lines):
    """Write the results, dicts of `columns`, to the CSV `path`."""
    with files.replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def percent(share):
    return "%.2f" % (100 * share)


def minutes(kept):
    """How long a run took, by its run.json; "" where that does not say."""
    return "%.1f" % (kept["seconds"] / 60) if "seconds" in kept else ""


class Rules:
    def __init__(self, args):
        """`args`: what a study's command was given; args.python runs a training, args.engine trains."""
        self.args, self.rules = args, {}

    def add(self, target, needs, *commands):
        self.rules[target] = (needs, commands)
        return target

    def python(self, module, *words):
        return shlex.split(self.args.python) + ["-m", module] + [str(word) for word in words]

    def training(self, solver, out, *words):
        return self.python("training.run", "--engine", self.args.engine, "--solver", solver, "--out", out, *words)

    def testing(self, deploy, weights, data, split, *words):
        return self.python("evaluation.test", "--deploy", deploy, "--weights", weights, "--data", data, "--split", split, "--engine", "torch", *words)

    def write(self, path, goals):
        """Write them as a makefile whose target `all` is the goals; an empty file where there are none."""
        with files.replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as f:
            f.write(self._text(list(dict.fromkeys(goals))) if goals else "")

    def _text(self, goals):
        # Every target is written whole or not at all: make must not remove one when it is stopped.
        lines = ["all: " + " ".join(goals), ".PRECIOUS: " + " ".join(self.rules)]
        for target, (needs, commands) in self.rules.items():
            lines.append("%s: %s" % (target, " ".join(needs)))
            lines += ["\t@" + " ".join(map(shlex.quote, command)).replace("$", "$$") for command in commands]
        return "\n".join(lines) + "\n"
