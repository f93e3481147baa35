"""What is said cannot end the work: for commands that run for minutes or days, whoever reads along."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def unfailing() -> Iterator[None]:
    """Within it, and as a decorator of a command: stdout and stderr never raise OSError, and SIGHUP ends nothing.

    A terminal whose ssh dropped gives EIO, a `tee` or `less` that ended EPIPE, a log on a full disk ENOSPC. From then on what is
    written to that stream goes to /dev/null, what libraries and child processes write there too.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_Unfailing, before)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # here, where it may fail, and not when Python ends
        sys.stdout, sys.stderr = before
        signal.signal(signal.SIGHUP, hangup)


class _Unfailing:
    """A text stream that drops what it cannot write."""

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, words):
        return self._unless_lost(self._stream.write, words)

    def flush(self):
        self._unless_lost(self._stream.flush)

    def _unless_lost(self, function, *arguments):
        try:
            return function(*arguments)
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            return None
