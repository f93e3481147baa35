"""The reader of a built set: its manifest, its tables of names, the votes in them. data_prep/ writes them."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence

import numpy as np

from common import errors
from common.votes import VOTES

NEEDED = {"set", "classes", "parts", "mean", "files"}  # of what a manifest says, what is read again


def manifest(folder: str) -> dict:
    """data/SET/manifest.json as a dict. Fail where there is none."""
    path = os.path.join(folder, "manifest.json")
    try:
        with open(path, encoding="utf-8") as f:
            found = json.load(f)
        if not (isinstance(found, dict) and NEEDED <= set(found)):
            raise ValueError
        return found
    except FileNotFoundError:
        raise errors.Fail("there is no %s: run `make data SRC=%s`" % (path, os.path.basename(folder))) from None
    except ValueError:
        raise _damaged(path, folder) from None


def table(folder: str, part: str, columns: Sequence[str] = ("key", "name", "label"), optional: bool = False) -> list[dict] | None:
    """The lines of data/SET/PART.csv as dicts. Fail where it has not these columns, or is not there (None if `optional`)."""
    path = os.path.join(folder, part + ".csv")
    try:
        with open(path, newline="", encoding="utf-8") as f:
            lines = csv.DictReader(f)
            if not set(columns) <= set(lines.fieldnames or ()):
                raise ValueError
            return list(lines)
    except FileNotFoundError:
        if optional:
            return None
        raise errors.Fail("there is no %s: remove %s and run `make data SRC=%s`" % (path, folder, os.path.basename(folder))) from None
    except (ValueError, csv.Error):
        raise _damaged(path, folder) from None


def votes(folder: str, part: str, lines: list[dict]) -> np.ndarray:
    """FER+'s ten votes, int64 N x 10, of lines of `table(folder, part)`. Fail where the set has none."""
    try:
        return np.array([[int(line[name]) for name in VOTES] for line in lines], np.int64).reshape(-1, len(VOTES))
    except (KeyError, ValueError, TypeError):
        raise errors.Fail("%s has no votes: run `make data SRC=ferplus_votes`" % os.path.join(folder, part + ".csv")) from None


def duplicates(folder: str, part: str) -> set[str] | None:
    """Names of a part's images that the training part holds too (duplicates.csv), as a set; None where they were not looked for."""
    lines = table(folder, "duplicates", ["name"], optional=True)
    return None if lines is None else {line["name"] for line in lines if line.get("part", part) == part}


def _damaged(path, folder):
    return errors.Fail("%s is damaged: remove %s and run `make data SRC=%s`" % (path, folder, os.path.basename(folder)))
