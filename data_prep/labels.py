"""FER+'s labels: by one of the rules of common/votes.py, or from a file that lists names and labels; and the files that votes come in."""

import csv
import os
import posixpath

import numpy as np

from common import errors
from common.votes import NONE, RULES, VOTES, by_votes
from paper import facts

PARTS = {"train": "FER2013Train", "valid": "FER2013Valid", "test": "FER2013Test"}  # part -> FER+'s folder
USAGES = {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}  # FER2013's word -> part


def apply(rule, names, votes):
    """Labels, int N, NONE where an image is left out. `votes`: int N x 10; `rule`: one of RULES or the path of a list."""
    if rule in RULES:
        return by_votes(rule, votes)
    listed = _listed(rule)
    unknown = set(listed) - set(names)
    if unknown:
        raise errors.Fail("%s lists %r, which FER+ has no votes for" % (rule, min(unknown)))
    return np.array([listed.get(name, NONE) for name in names], np.int64)


def read_votes(path):
    """label.csv as (names list of str, votes int64 N x 10). Lines are `name,box,ten counts`, in FER+'s script's copies
    `name,ten counts`; of a name that comes twice, the later line counts, as for its pixels."""
    votes = {}
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as f:
        for number, row in enumerate(_rows(f, path), 1):
            if not row:
                continue
            votes[row[0].strip()] = _votes(row, len(row) - len(VOTES), "%s, line %d" % (path, number))
    if not votes:
        raise errors.Fail("%s has no votes in it: get FER+'s label.csv files again" % path)
    return list(votes), np.array(list(votes.values()), np.int64)


def read_names(path):
    """fer2013new.csv as a list of (part, name), row for row as fer2013.csv; the name is "" where FER+ sees no face."""
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as f:
        rows = list(_rows(f, path))
    if not rows or [cell.strip() for cell in rows[0][:2]] != ["Usage", "Image name"]:
        raise errors.Fail("%s does not begin with `Usage,Image name`: get FER+'s fer2013new.csv again" % path)
    named = []
    for number, row in enumerate(rows[1:], 2):
        if len(row) < 2 or row[0] not in USAGES:
            raise errors.Fail("%s, line %d: Usage is none of %s" % (path, number, ", ".join(USAGES)))
        named.append((USAGES[row[0]], row[1].strip()))
    return named


def majority(path):
    """(part, name) -> FER+'s own label (rule `ferplus`) by the votes in fer2013new.csv, which differ from label.csv's in a few
    images: this is the rule of the literature (25,060, 3,199 and 3,153 images). Images without a majority are left out."""
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as f:
        rows = [row for row in list(_rows(f, path))[1:] if len(row) > 1 and row[1].strip()]
    votes = np.array([_votes(row, 2, "%s: the row of %r" % (path, row[1])) for row in rows], np.int64).reshape(-1, len(VOTES))
    return {(USAGES[row[0]], row[1].strip()): int(label) for row, label in zip(rows, by_votes("ferplus", votes)) if label != NONE}


def _rows(f, path):
    try:
        yield from csv.reader(f)
    except csv.Error as problem:
        raise errors.Fail("%s is no CSV file (%s): get it again" % (path, problem)) from None


def _votes(row, first, where):
    try:
        if first not in (1, 2) or len(row) - first != len(VOTES):
            raise ValueError
        votes = [int(cell) for cell in row[first:]]
        if min(votes) < 0 or max(votes) > 100:
            raise ValueError
    except ValueError:
        raise errors.Fail("%s: not a name and ten counts: get FER+'s label.csv files again" % where) from None
    return votes


def _listed(path):
    """Name -> label from lines `name label` (or with a comma), as Caffe's tools take them: the name may have folders before
    it. The label is a number or an expression."""
    if not os.path.isfile(path):
        raise errors.Fail("LABELS (--labels) takes %s or a file of names and labels; there is no %s" % (" or ".join(RULES), path))
    codes = {name: i for i, name in enumerate(facts.EXPRESSIONS)}
    codes.update({str(i): i for i in codes.values()})
    listed = {}
    with open(path, encoding="utf-8-sig", errors="replace") as f:
        for number, line in enumerate(f, 1):
            words = line.replace(",", " ").split()
            if not words:
                continue
            if len(words) != 2 or words[1] not in codes:
                raise errors.Fail(
                    "%s, line %d: not a name and a label (0 to %d or one of %s)" % (path, number, len(facts.EXPRESSIONS) - 1, ", ".join(facts.EXPRESSIONS))
                )
            listed[posixpath.basename(words[0])] = codes[words[1]]
    return listed
