"""What a user did wrong, said in one line: Fail carries the sentence, main() prints it and sets the exit status."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from typing import Any, Callable


class Fail(Exception):
    """A mistake that the user can mend. Its text is one line: what is wrong, where, and what to do (the make target).

    It may quote a stranger's file: what would move a terminal's cursor or colour its text is shown as "?".
    """

    def __init__(self, words):
        super().__init__(shown(words))


def shown(words):
    """`words` (str) with "?" in place of what is neither printable nor the end of a line."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in words)


def between(kind: Callable[[str], Any], least: float, most: float) -> Callable[[str], Any]:
    """An argparse type: a number of `kind` (int, float) from `least` to `most`."""

    def number(text):
        value = kind(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError("%s is not between %s and %s" % (text, least, most))
        return value

    number.__name__ = kind.__name__  # argparse says "invalid int value"
    return number


def main(command: Callable[..., Any]) -> Callable[..., None]:
    """Decorate a command's main function: Fail becomes one line on stderr and exit status 1, Ctrl-C becomes 130.

    A full disk or a forbidden path is the user's to mend too, so OSError is answered in one line as well.
    """

    @functools.wraps(command)
    def run(*args, **kwargs):
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a file's name that the terminal's encoding lacks
                stream.reconfigure(errors="backslashreplace")
        try:
            sys.exit(command(*args, **kwargs))
        except Fail as mistake:
            problem = str(mistake)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)
        except BrokenPipeError:
            # The reader (head, less) went away; point stdout elsewhere so that the exit flush stays silent.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as mistake:
            if mistake.errno is None:
                raise
            where = " %s" % mistake.filename if mistake.filename else ""
            problem = "%s%s: check the path, its permissions and the free space" % (mistake.strerror, where)
        print("error: " + shown(problem), file=sys.stderr)
        sys.exit(1)

    return run
