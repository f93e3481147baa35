"""How far the work is, on stderr: a bar with the time left on a terminal, a plain line now and then without one."""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

PLAIN_EVERY, REDRAW_EVERY = 10.0, 0.1  # seconds between two lines, and two drawings of the bar


class Bar:
    """`update` as often as you like, `say` for lines of their own, `clear` at the end."""

    def __init__(self, stream: TextIO | None = None, records: TextIO | None = None) -> None:
        """`records`: where results go (stdout). Where that is a terminal too they show how far the work is, and nothing else is said."""
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.quiet = self.terminal and (records or sys.stdout).isatty()
        self.start = self.last = time.monotonic()
        self.drawn = False

    def update(self, name: str, share: float | None = None, count: int = 0) -> None:
        """`name`: what is looked at; `share`: of all work, 0 to 1, or None (a camera) with the `count` of frames."""
        now = time.monotonic()
        if self.quiet or now - self.last < (REDRAW_EVERY if self.terminal else PLAIN_EVERY):
            return
        self.last = now
        bar = "[%-20s] " % ("#" * int(20 * share)) if self.terminal and share is not None else ""
        left = "  %s left" % duration((now - self.start) * (1 - share) / share) if share else ""
        text = bar + ("%d frames" % count if share is None else "%3d%%" % (100 * share)) + left + "  " + name
        self.clear()
        self.drawn = self.terminal
        self.stream.write(text[: width(self.stream) - 1] if self.terminal else text + "\n")
        self.stream.flush()

    def say(self, line: str) -> None:
        self.clear()
        print(line, file=self.stream, flush=True)

    def clear(self) -> None:
        if self.drawn:
            self.stream.write("\r\033[K")
            self.drawn = False


def width(stream: TextIO) -> int:
    """Columns of the terminal behind a stream."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):  # the terminal is gone
        return 80


def duration(seconds: float) -> str:
    """Seconds as people write them: 42s, 3m05s, 2h07m."""
    seconds = int(round(seconds))
    if seconds < 60:
        return "%ds" % seconds
    if seconds < 3600:
        return "%dm%02ds" % divmod(seconds, 60)
    return "%dh%02dm" % (seconds // 3600, seconds % 3600 // 60)
