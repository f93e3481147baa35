"""Hold the networks against the SHA-256 that were written down when they were made.

    fer-lite verify         those of the installed package, or of this checkout

It tells damage and change, not who made the files: the list lies beside them. models/SHA256SUMS is what `sha256sum -c` reads.
"""
from __future__ import annotations

import argparse
import hashlib
import os

from fer_lite import errors, names

SUMS = "SHA256SUMS"


def networks(root: str) -> list[str]:
    """Names of the networks in the folder `root`."""
    return sorted(name for name in os.listdir(root) if os.path.exists(os.path.join(root, name, names.FACTS))) if os.path.isdir(root) else []


def checksums(root: str) -> dict[str, str]:
    """{path below `root`, with /: SHA-256} of the files of the networks there."""
    found = {}
    for folder in networks(root):
        for name in sorted(os.listdir(os.path.join(root, folder))):
            with open(os.path.join(root, folder, name), "rb") as f:
                found["%s/%s" % (folder, name)] = hashlib.sha256(f.read()).hexdigest()
    return found


def verify(root: str, mend: str) -> int:
    """How many files `root` holds: exactly those of its SHA256SUMS, else Fail, which names the file and says to `mend` it."""
    path = os.path.join(root, SUMS)
    try:
        with open(path, encoding="utf-8") as f:
            wanted = {name: digest for digest, name in (line.split(None, 1) for line in f.read().splitlines() if line.strip())}
    except FileNotFoundError:
        raise errors.Fail("%s is not there: %s" % (path, mend)) from None
    except ValueError:
        raise errors.Fail("%s is damaged: %s" % (path, mend)) from None
    there = checksums(root)
    for name in sorted(set(wanted) | set(there)):
        if wanted.get(name) != there.get(name):
            problem = "is missing" if name not in there else "is in no line of SHA256SUMS" if name not in wanted else "is not the file of SHA256SUMS"
            raise errors.Fail("%s %s: %s" % (os.path.join(root, name), problem, mend))
    return len(there)


def main(arguments: list[str]) -> None:
    argparse.ArgumentParser(prog="fer-lite verify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(arguments)
    root = os.path.join(names.ROOT, "models")
    mend = "install the package again (`pip install --force-reinstall`)" if names.ROOT == names.HERE else "get it back (`git checkout models`)"
    print("%s: all %d files are those of %s" % (root, verify(root, mend), SUMS))
