"""models/SHA256SUMS signed and verified, with keys that are thrown away."""

import os
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install -r env/deploy.txt -r env/export.txt")
pytest.importorskip("onnx", reason="needs onnx: pip install -r env/deploy.txt -r env/export.txt")

from common import errors
from deploy import check, signature
from fer_lite import verify

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen: apt-get install openssh-client")


def key(folder, name):
    subprocess.check_call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "x", "-f", str(folder / name)])
    return str(folder / name)


@pytest.fixture
def models(tmp_path):
    """A folder of one network, with sums."""
    root = tmp_path / "models"
    (root / "net").mkdir(parents=True)
    (root / "net" / "model.json").write_text("{}")
    (root / "net" / "model.onnx").write_bytes(b"weights")
    check.write_checksums(str(root))
    return root


def command(*arguments):
    ran = subprocess.run(
        [sys.executable, "-m", "deploy.signature", *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True
    )
    return ran.returncode, ran.stdout.strip() or ran.stderr.strip()


def refused(root, words, signers=None):
    status, said = command(root, *(["--signers", signers] if signers else []))
    assert status == 1 and said.startswith("error: ") and "\n" not in said and words in said, said


def test_signed_and_verified(models, tmp_path):
    status, said = command(models)
    assert status == 0 and said.startswith("%s: all 2 files are those of SHA256SUMS, which is not signed" % models)
    signature.sign(str(models), key(tmp_path, "ours"), "me@example.org")
    assert command(models) == (0, "%s: all 2 files are those of SHA256SUMS, signed by me@example.org" % models)
    signature.sign(str(models), str(tmp_path / "ours"), "me@example.org")
    assert len((models / "allowed_signers").read_text().splitlines()) == 1
    by_hand = subprocess.run(
        ["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", "me@example.org", "-n", "fer-lite", "-s", "SHA256SUMS.sig"],
        cwd=str(models),
        input=(models / "SHA256SUMS").read_bytes(),
        stdout=subprocess.PIPE,
    )
    assert by_hand.returncode == 0


def test_what_is_not_as_signed_is_refused(models, tmp_path):
    signature.sign(str(models), key(tmp_path, "ours"), "me@example.org")
    (models / "net" / "model.onnx").write_bytes(b"others")
    refused(models, "model.onnx is not the file of SHA256SUMS")
    check.write_checksums(str(models))  # of someone who can write sums too
    refused(models, "is not signed by anyone")
    assert signature.withdraw(str(models)) and not signature.withdraw(str(models)) and not (models / "SHA256SUMS.sig").exists()


def test_a_signature_that_cannot_be_held_against_anything_stays(models, tmp_path, monkeypatch):
    signature.sign(str(models), key(tmp_path, "ours"), "me@example.org")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.Fail, match="ssh-keygen"):
        signature.withdraw(str(models))
    assert (models / "SHA256SUMS.sig").exists()


def test_who_may_sign_is_the_users_choice(models, tmp_path):
    signature.sign(str(models), key(tmp_path, "ours"), "me@example.org")
    mine = tmp_path / "mine"
    shutil.copy(str(models / "allowed_signers"), str(mine))
    signature.sign(str(models), key(tmp_path, "theirs"), "you@example.org")  # both names lie beside the files now
    assert verify.signer(str(models)) == "you@example.org"
    refused(models, "is not signed by anyone that %s names" % mine, mine)
    (models / "allowed_signers").unlink()
    refused(models, "allowed_signers is not there")
    (models / "SHA256SUMS.sig").unlink()  # whom one believes has signed, else nobody has
    refused(models, "SHA256SUMS.sig is not there", mine)


def test_a_signature_for_another_purpose_does_not_count(models, tmp_path):
    signature.sign(str(models), key(tmp_path, "ours"), "me@example.org")
    (models / "allowed_signers").write_text((models / "allowed_signers").read_text().replace(' namespaces="fer-lite"', ""))
    (models / "SHA256SUMS.sig").unlink()
    subprocess.check_call(["ssh-keygen", "-q", "-Y", "sign", "-f", str(tmp_path / "ours"), "-n", "git", str(models / "SHA256SUMS")], stderr=subprocess.DEVNULL)
    refused(models, "is not signed by anyone")
    for damaged in (b"", b"\0" * 99, b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"):
        (models / "SHA256SUMS.sig").write_bytes(damaged)
        refused(models, "is not signed by anyone")


def test_what_cannot_be_signed_says_so_and_leaves_nothing(models, tmp_path):
    for arguments, words in (
        (["--sign", tmp_path / "none", "--as", "me"], "the key"),
        (["--sign", key(tmp_path, "ours")], "SIGNER="),
        (["--sign", tmp_path / "ours", "--as", "a b"], "without blanks"),
    ):
        status, said = command(models, *arguments)
        assert status == 1 and said.startswith("error: ") and "\n" not in said and words in said, said
    assert sorted(os.listdir(str(models))) == ["SHA256SUMS", "net"]
    (models / "net" / "model.onnx").write_bytes(b"others")
    with pytest.raises(errors.Fail, match="is not the file"):
        signature.sign(str(models), str(tmp_path / "ours"), "me")


def test_the_sums_of_a_part_are_those_that_were_signed(models, tmp_path):
    """As a package has them: some of the files, their sums, and the list that was signed."""
    signature.sign(str(models), key(tmp_path, "ours"), "me@example.org")
    shutil.copy(str(models / "SHA256SUMS"), str(models / "SHA256SUMS.signed"))
    (models / "net" / "model.onnx").unlink()
    check.write_checksums(str(models))
    assert command(models) == (0, "%s: all 1 files are those of SHA256SUMS, signed by me@example.org" % models)
    (models / "net" / "model.json").write_text("{ }")
    check.write_checksums(str(models))
    refused(models, "SHA256SUMS has lines that")
