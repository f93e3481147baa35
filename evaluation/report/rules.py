"""Rules for make of what a study has not run yet: each target is a file that a run makes, its recipe a list of commands, each a list of words."""

import shlex

from common import files


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
