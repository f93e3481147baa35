"""Hold the networks against the SHA-256 that were written down when they were made, and say who signed these.

    fer-lite verify                     those of the installed package, or of this checkout
    fer-lite verify --signers FILE      signed by someone whom FILE names, in the form of ssh's allowed_signers

SHA256SUMS (what `sha256sum -c` reads) tells damage and change. SHA256SUMS.sig is a signature of it in OpenSSH's form; a package, which has
some of the files, has the list as it was signed in SHA256SUMS.signed. allowed_signers beside it names who may sign; whoever can change the
networks can change that file too, so who wants to know who made them keeps a copy of it from another source and gives it as FILE.
The same by hand (a checkout: SHA256SUMS in place of SHA256SUMS.signed):

    ssh-keygen -Y verify -f allowed_signers -I SIGNER -n fer-lite -s SHA256SUMS.sig < SHA256SUMS.signed
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
from typing import Any

from fer_lite import errors, names

SUMS = "SHA256SUMS"
SIGNED, SIGNATURE, SIGNERS = SUMS + ".signed", SUMS + ".sig", "allowed_signers"
NAMESPACE = "fer-lite"


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


def signer(root: str, signers: str | None = None) -> str | None:
    """Who signed SHA256SUMS of the folder `root`, by the file `signers` (default: the one in `root`, and then None where it is not signed).

    Fail where the signature is missing, of other bytes, of nobody named there, or cannot be verified.
    """
    sums, signed, signature = (os.path.join(root, name) for name in (SUMS, SIGNED, SIGNATURE))
    if not os.path.exists(signature):
        if signers:
            raise errors.Fail("%s is not there, so nobody that %s names made these files: get them again with it" % (signature, signers))
        return None
    signers = signers or os.path.join(root, SIGNERS)
    if not os.path.exists(signers):
        raise errors.Fail("%s is not there, so nobody can tell who signed %s: get it again (`git checkout models`), or give yours" % (signers, signature))
    signed = signed if os.path.exists(signed) else sums
    bad = "%s is not signed by anyone that %s names" % (signed, signers)
    name = ssh_keygen(bad, ["-Y", "find-principals", "-s", signature, "-f", signers]).splitlines()[0]
    with open(signed, "rb") as f:
        ssh_keygen(bad, ["-Y", "verify", "-f", signers, "-I", name, "-n", NAMESPACE, "-s", signature], stdin=f)
    with open(sums, "rb") as part, open(signed, "rb") as whole:
        if not set(part.read().splitlines()) <= set(whole.read().splitlines()):
            raise errors.Fail("%s has lines that %s has not, which %s signed: do not use these files, get them again" % (sums, signed, name))
    return name


def ssh_keygen(what: str, arguments: list[str], stdin: Any = subprocess.DEVNULL, stdout: Any = subprocess.PIPE) -> str:
    """What ssh-keygen says on stdout. Fail, with `what` and its reason, where it refuses."""
    if not shutil.which("ssh-keygen"):
        raise errors.Fail("ssh-keygen is not there, which signs and verifies: install OpenSSH's client (apt-get install openssh-client)")
    ran = subprocess.run(["ssh-keygen", *arguments], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
    if ran.returncode:
        reason = (ran.stderr.decode(errors="replace").strip().splitlines() or ["ssh-keygen refused"])[-1]
        raise errors.Fail("%s (%s): do not use these files; get them again, or give another key or file of signers" % (what, reason))
    return (ran.stdout or b"").decode(errors="replace")


def said(root: str, mend: str, signers: str | None = None) -> str:
    """A line on what `root` holds and who signed it. Fail as `verify` and `signer`."""
    count, name = verify(root, mend), signer(root, signers)
    return "%s: all %d files are those of %s, %s" % (
        root,
        count,
        SUMS,
        "signed by %s" % name if name else "which is not signed: it tells damage, not who made them",
    )


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="fer-lite verify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signers", metavar="FILE", help="whom to believe (default: allowed_signers beside the networks)")
    args = parser.parse_args(arguments)
    mend = "install the package again (`pip install --force-reinstall`)" if names.ROOT == names.HERE else "get it back (`git checkout models`)"
    print(said(os.path.join(names.ROOT, "models"), mend, args.signers))
