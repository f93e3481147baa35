"""Who vouches for the networks: models/SHA256SUMS signed with an SSH key, verified without a network.

    python -m deploy.signature models --sign ~/.ssh/id_ed25519 --as maintainer@example.org        make sign KEY=... SIGNER=...
    python -m deploy.signature models [--signers FILE]                                            make models-check [SIGNERS=FILE]

The form is OpenSSH's own (`ssh-keygen -Y sign`, namespace "fer-lite"), for ssh-keygen is where git is, a key may lie on a token or in an
agent, and nothing needs to be installed. SHA256SUMS.sig is the signature; allowed_signers names who may sign, in ssh's form, beside it.
Whoever can change the networks can change that file too: who wants to know more than that nothing was damaged keeps a copy of it from
another source and gives it as SIGNERS=FILE. The same by hand:

    ssh-keygen -Y verify -f allowed_signers -I SIGNER -n fer-lite -s SHA256SUMS.sig < SHA256SUMS
"""
import argparse
import os
import shutil
import subprocess

from common import errors, files
from deploy import check
from fer_lite.verify import SUMS

NAMESPACE = "fer-lite"
SIGNATURE, SIGNERS = SUMS + ".sig", "allowed_signers"


def sign(root, key, signer):
    """Sign SHA256SUMS of the folder `root` with the private key in the file `key` (or its public half, of an agent's key), and name
    `signer` in allowed_signers. Fail where the sums are not those of the files, or ssh-keygen does not take the key."""
    check.check_checksums(root)
    if any(c.isspace() for c in signer) or not signer:
        raise errors.Fail("SIGNER=%s: a name without blanks, such as an address" % signer)
    sums = os.path.join(root, SUMS)
    with files.replacing(os.path.join(root, SIGNATURE)) as temporary:
        with open(sums, "rb") as f, open(temporary, "wb") as made:
            _ssh_keygen("the key %s" % key, ["-Y", "sign", "-f", key, "-n", NAMESPACE], stdin=f, stdout=made)
    if key.endswith(".pub"):
        with open(key) as f:
            public = f.read()
    else:
        public = _ssh_keygen("the key %s" % key, ["-y", "-f", key])
    path, line = os.path.join(root, SIGNERS), '%s namespaces="%s" %s\n' % (signer, NAMESPACE, " ".join(public.split()[:2]))
    known = _lines(path)
    if line not in known:
        with files.replacing(path) as temporary, open(temporary, "w") as f:
            f.writelines(known + [line])


def withdraw(root):
    """Remove the signature of `root` where SHA256SUMS is no longer what was signed; whether it was removed."""
    try:
        verify(root)
    except errors.Fail:
        os.remove(os.path.join(root, SIGNATURE))
        return True
    return False


def verify(root, signers=None):
    """Who signed SHA256SUMS of the folder `root`, by the file `signers` (default: the one in `root`); None where it is not signed.

    Fail where the signature is of other bytes, of nobody named there, or cannot be verified.
    """
    signature, signers = os.path.join(root, SIGNATURE), signers or os.path.join(root, SIGNERS)
    if not os.path.exists(signature):
        return None
    if not os.path.exists(signers):
        raise errors.Fail("%s is not there, so nobody can tell who signed %s: get it back (`git checkout models`), or give yours as SIGNERS=FILE"
                          % (signers, signature))
    bad = "%s is not signed by anyone that %s names" % (os.path.join(root, SUMS), signers)
    name = _ssh_keygen(bad, ["-Y", "find-principals", "-s", signature, "-f", signers]).splitlines()[0]
    with open(os.path.join(root, SUMS), "rb") as f:
        _ssh_keygen(bad, ["-Y", "verify", "-f", signers, "-I", name, "-n", NAMESPACE, "-s", signature], stdin=f)
    return name


def _ssh_keygen(what, arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE):
    """What ssh-keygen says on stdout. Fail, with `what` and its reason, where it refuses."""
    if not shutil.which("ssh-keygen"):
        raise errors.Fail("ssh-keygen is not there: install OpenSSH's client (apt-get install openssh-client)")
    ran = subprocess.run(["ssh-keygen", *arguments], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
    if ran.returncode:
        reason = (ran.stderr.decode(errors="replace").strip().splitlines() or ["ssh-keygen refused"])[-1]
        raise errors.Fail("%s (%s): do not use these files; get them again, or give another KEY= or SIGNERS=" % (what, reason))
    return (ran.stdout or b"").decode(errors="replace")


def _lines(path):
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return f.readlines()


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python -m deploy.signature", description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", default="models")
    parser.add_argument("--sign", metavar="KEY", help="sign with this key of ssh's")
    parser.add_argument("--as", dest="signer", help="the name under which allowed_signers has the key")
    parser.add_argument("--signers", help="whom to believe (default: allowed_signers in the folder)")
    args = parser.parse_args()
    if args.sign:
        if not args.signer:
            raise errors.Fail("whose key is it? SIGNER=name@example.org")
        sign(args.root, args.sign, args.signer)
    check.check_checksums(args.root)
    print(said(args.root, args.signers))


def said(root, signers=None):
    """A line on who signed. Fail as `verify`."""
    name = verify(root, signers)
    sums = os.path.join(root, SUMS)
    return "%s is signed by %s" % (sums, name) if name else "%s is not signed: its sums tell damage, not who made the files" % sums


if __name__ == "__main__":
    main()
