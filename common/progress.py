"""Progress of long work on stderr: a bar with the time left on a terminal, a plain line now and then without one."""

from __future__ import annotations

import sys
import time

from fer_lite.progress import PLAIN_EVERY, REDRAW_EVERY, duration, width


class Progress:
    """`with Progress("writing", total) as p: p.update(done, "note")`; total None where it is not known."""

    def __init__(self, label, total=None, stream=None, every=PLAIN_EVERY):
        self.label, self.total, self.every = label, total, every
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.start = self.last = time.monotonic()
        self.first = None
        self.done, self.note = 0, ""

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self._draw(final=True)
        elif self.terminal:
            self.stream.write("\n")

    def update(self, done, note=""):
        """Say that `done` of `total` is done; cheap enough to call for every item."""
        self.done, self.note = done, note
        if self.first is None:
            self.first = done  # work that an earlier run did must not count towards the rate
        now = time.monotonic()
        if now - self.last >= (REDRAW_EVERY if self.terminal else self.every):
            self.last = now
            self._draw()

    def add(self, n=1):
        """Say that `n` more are done."""
        self.update(self.done + n, self.note)

    def say(self, line):
        """Print a line of its own, clear of the bar."""
        if self.terminal:
            line = "\r" + line.ljust(width(self.stream) - 1)
        self.stream.write(line + "\n")
        self.stream.flush()

    def _draw(self, final=False):
        text = self._text(final)
        if self.terminal:
            columns = width(self.stream)
            if len(text) >= columns:  # what is said matters more than the bar
                text = self._text(final, bar=False)
            self.stream.write("\r" + text[: columns - 1].ljust(columns - 1) + ("\n" if final else ""))
        else:
            self.stream.write(text + "\n")
        self.stream.flush()

    def _text(self, final, bar=True):
        spent = time.monotonic() - self.start
        rest = self._left(spent)
        text = "%s %s  %s" % (self.label, self._amount(bar and self.terminal), duration(spent) if final or rest is None else duration(rest) + " left")
        return text + "  " + self.note if self.note else text

    def _amount(self, bar):
        if not self.total:
            return "{:,}".format(self.done)
        share = min(1.0, self.done / self.total)
        drawn = "[%-20s] " % ("#" * int(20 * share)) if bar else ""
        return "%s%3d%%  %s/%s" % (drawn, 100 * share, "{:,}".format(self.done), "{:,}".format(self.total))

    def _left(self, spent):
        fresh = self.done - (self.first or 0)
        if not self.total or fresh <= 0:
            return None
        return spent / fresh * max(0, self.total - self.done)
