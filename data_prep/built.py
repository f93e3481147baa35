"""A built set as `preview` and `check` read it back: its manifest and its tables of names."""
import csv
import json
import os

import errors


def manifest(folder):
    """data/SET/manifest.json as a dict. Fail where there is none."""
    path = os.path.join(folder, "manifest.json")
    try:
        with open(path) as f:
            return json.load(f)
    except FileNotFoundError:
        raise errors.Fail("there is no %s: run `make data SRC=%s`" % (path, os.path.basename(folder))) from None
    except ValueError:
        raise errors.Fail("%s is damaged: remove %s and run `make data SRC=%s`"
                          % (path, folder, os.path.basename(folder))) from None


def table(folder, part):
    """The lines of data/SET/PART.csv as dicts."""
    path = os.path.join(folder, part + ".csv")
    if not os.path.exists(path):
        raise errors.Fail("there is no %s: remove %s and run `make data SRC=%s`" % (path, folder, os.path.basename(folder)))
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))
