"""Who vouches for the networks: models/SHA256SUMS signed with an SSH key, verified without a network.

    python -m deploy.signature models --sign ~/.ssh/id_ed25519 --as maintainer@example.org        make sign KEY=... SIGNER=...
    python -m deploy.signature models [--signers FILE]                                            make models-check [SIGNERS=FILE]

The form is OpenSSH's own (`ssh-keygen -Y sign`, namespace "fer-lite"), for ssh-keygen is where git is, a key may lie on a token or in an
agent, and nothing needs to be installed. fer_lite/verify.py verifies; the package that people install carries the signature.
"""

import argparse
import os
import shutil

from common import errors, files
from deploy import check
from fer_lite import verify


def sign(root, key, signer):
    """Sign SHA256SUMS of the folder `root` with the private key in the file `key` (or its public half, of an agent's key), and name
    `signer` in allowed_signers. Fail where the sums are not those of the files, or ssh-keygen does not take the key."""
    check.check_checksums(root)
    if any(c.isspace() for c in signer) or not signer:
        raise errors.Fail("SIGNER=%s: a name without blanks, such as an address" % signer)
    with files.replacing(os.path.join(root, verify.SIGNATURE)) as temporary:
        with open(os.path.join(root, verify.SUMS), "rb") as f, open(temporary, "wb") as made:
            verify.ssh_keygen("the key %s" % key, ["-Y", "sign", "-f", key, "-n", verify.NAMESPACE], stdin=f, stdout=made)
    if key.endswith(".pub"):
        with open(key) as f:
            public = f.read()
    else:
        public = verify.ssh_keygen("the key %s" % key, ["-y", "-f", key])
    path, line = os.path.join(root, verify.SIGNERS), '%s namespaces="%s" %s\n' % (signer, verify.NAMESPACE, " ".join(public.split()[:2]))
    known = _lines(path)
    if line not in known:
        with files.replacing(path) as temporary, open(temporary, "w") as f:
            f.writelines(known + [line])


def withdraw(root):
    """Remove the signature of `root` where SHA256SUMS is no longer what was signed; whether it was removed."""
    path = os.path.join(root, verify.SIGNATURE)
    if os.path.exists(path) and not (shutil.which("ssh-keygen") and os.path.exists(os.path.join(root, verify.SIGNERS))):
        raise errors.Fail("whether %s is of these files cannot be told without ssh-keygen and %s: get what is missing" % (path, verify.SIGNERS))
    try:
        verify.signer(root)
    except errors.Fail:
        os.remove(path)
        return True
    return False


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
    print(verify.said(args.root, check.MEND, args.signers))


if __name__ == "__main__":
    main()
