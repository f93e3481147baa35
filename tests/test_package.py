"""The package that people install: built as a wheel, put into a clean virtual environment outside the checkout, used there."""

import glob
import os
import shutil
import subprocess
import sys
import zipfile

import build  # noqa: F401  what the wheel is built with
import hatchling  # noqa: F401
import pytest

from deploy import check, signature

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
# The low end of each range in pyproject.toml; pip takes the newest where nothing is asked for.
OLDEST = ["numpy==1.24.*", "opencv-python-headless==4.9.*", "onnxruntime==1.18.*", "pillow==10.3.*"]
USE = """
import os, sys, numpy, fer_lite
assert not os.path.abspath(fer_lite.__file__).startswith(sys.argv[1]), fer_lite.__file__
drawn = numpy.random.RandomState(0).randint(0, 256, (48, 48)).astype("uint8")
for model in (None, "resnet20_votes/model_int8.onnx", "resnet32_cifar10"):
    (face,) = fer_lite.Predictor(*([model] if model else []), find="given")(drawn)
    assert len(face["probabilities"]) == 8 and abs(sum(face["probabilities"].values()) - 1) < 1e-4
assert fer_lite.Predictor()(numpy.zeros((99, 99, 3), "uint8")) == []
print(fer_lite.__version__, face["label"])
"""


def run(*command, **options):
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, **options)
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the source distribution, as pip and PyPI have it."""
    out = str(tmp_path_factory.mktemp("dist"))
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    (built,) = glob.glob(os.path.join(out, "*.whl"))
    return built


@pytest.mark.slow
def test_the_wheel_has_what_use_needs_and_nothing_else(wheel, tmp_path):
    assert os.path.getsize(wheel) < 5e6
    with zipfile.ZipFile(wheel) as z:
        names = {name for name in z.namelist() if ".dist-info/" not in name}
        about = z.read(next(name for name in z.namelist() if name.endswith("METADATA"))).decode()
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path), ROOT)  # as `pip install .` builds it
    with zipfile.ZipFile(str(tmp_path / os.path.basename(wheel))) as z:
        assert {name for name in z.namelist() if ".dist-info/" not in name} == names
    from fer_lite import __version__, predict

    own = {
        os.path.relpath(path, ROOT).replace(os.sep, "/")
        for path in glob.glob(os.path.join(ROOT, "fer_lite", "**", "*"), recursive=True)
        if os.path.isfile(path) and "__pycache__" not in path
    }
    networks = {
        "fer_lite/%s/%s" % (network.replace(os.sep, "/"), name)
        for network in (predict.DEFAULT, "models/resnet32_cifar10")
        for name in ("model.onnx", "model_int8.onnx", "model.json", "README.md")
    }
    sums = {"fer_lite/models/" + name for name in ("LICENSE.md", "SHA256SUMS")}
    signed = {"fer_lite/models/" + name for name in ("SHA256SUMS.signed", "SHA256SUMS.sig", "allowed_signers")}
    assert own | networks | sums == names - signed
    assert ("fer_lite/models/SHA256SUMS.signed" in names) == os.path.exists(os.path.join(ROOT, "models", "SHA256SUMS.sig"))
    assert "Version: %s\n" % __version__ in about and "License-Expression: MIT\n" in about


def verified(python_, package, *options):
    """(exit status, output) of `fer-lite verify` by the package in a folder."""
    ran = subprocess.run(
        [python_, "-m", "fer_lite", "verify", *options], cwd=package, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    )
    assert ran.stdout.count("\n") == 1
    return ran.returncode, ran.stdout


@pytest.mark.slow
def test_the_package_verifies_its_own_networks(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as z:
        z.extractall(str(tmp_path))
    models = tmp_path / "fer_lite" / "models"
    count = len(list(models.glob("*/*")))
    status, said = verified(sys.executable, str(tmp_path))
    assert count >= 8 and status == 0 and said.startswith("%s: all %d files are those of SHA256SUMS, " % (models, count))
    network = models / "resnet20_votes" / "model.onnx"
    content = network.read_bytes()
    for wrong in (content[:-1] + bytes([content[-1] ^ 1]), content[:-1], None):
        network.unlink()
        if wrong:
            network.write_bytes(wrong)
        status, said = verified(sys.executable, str(tmp_path))
        assert status == 1 and said.startswith("error: %s is " % network) and "install" in said
    (models / "SHA256SUMS").unlink()
    assert verified(sys.executable, str(tmp_path))[0] == 1


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen: apt-get install openssh-client")
def test_a_wheel_carries_the_signature_of_its_networks(tmp_path):
    """A checkout with signed models, its wheel, and the package as it is installed."""
    source, models, mine = tmp_path / "source", tmp_path / "package" / "fer_lite" / "models", str(tmp_path / "mine")
    for name in ("fer_lite", "models"):
        shutil.copytree(
            os.path.join(ROOT, name), str(source / name), ignore=shutil.ignore_patterns("__pycache__", "*.caffemodel", "SHA256SUMS.sig", "allowed_signers")
        )
    for name in ("pyproject.toml", "LICENSE", "docs/predict.md", "deploy/wheel.py"):
        (source / name).parent.mkdir(exist_ok=True)
        shutil.copy(os.path.join(ROOT, *name.split("/")), str(source / name))
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "x", "-f", mine)
    check.write_checksums(str(source / "models"))
    signature.sign(str(source / "models"), mine, "me@example.org")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(source))
    with zipfile.ZipFile(glob.glob(str(tmp_path / "*.whl"))[0]) as z:
        z.extractall(str(tmp_path / "package"))
    for signers in ([], ["--signers", str(source / "models" / "allowed_signers")]):
        status, said = verified(sys.executable, str(tmp_path / "package"), *signers)
        assert status == 0 and said.endswith(" files are those of SHA256SUMS, signed by me@example.org\n")
    (models / "resnet20_votes" / "model.onnx").write_bytes(b"others")
    check.write_checksums(str(models))  # of someone who can write sums too
    status, said = verified(sys.executable, str(tmp_path / "package"))
    assert status == 1 and said.startswith("error: %s has lines that " % (models / "SHA256SUMS"))


def test_a_checkout_verifies_its_own_networks():
    with open(os.path.join(ROOT, "models", "SHA256SUMS")) as f:
        count = len(f.readlines())
    status, said = verified(sys.executable, ROOT)
    assert status == 0 and said.startswith("%s: all %d files are those of SHA256SUMS, " % (os.path.join(ROOT, "models"), count))


def python(version):
    """An interpreter of this version, by its name or as pyenv keeps it; None where there is none."""
    for path in ["python" + version] + sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/%s.*/bin/python" % version))):
        try:
            subprocess.run(
                [path, "-c", "import ensurepip, sys; assert sys.version_info[:2] == (%s)" % version.replace(".", ",")], check=True, stderr=subprocess.DEVNULL
            )
            return path
        except (OSError, subprocess.CalledProcessError):
            continue


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("version, wanted", [("3.10", OLDEST)] + [(version, []) for version in PYTHONS])
def test_it_installs_in_a_clean_environment(wheel, tmp_path, version, wanted):
    own = python(version) or pytest.skip("no Python %s on this machine" % version)
    run(own, "-m", "venv", str(tmp_path / "venv"))
    python_ = str(tmp_path / "venv" / "bin" / "python")
    run(python_, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, *wanted)
    said = run(python_, "-I", "-c", USE, ROOT, cwd=str(tmp_path))
    assert said.split()[0] in wheel
    assert " files are those of SHA256SUMS" in run(str(tmp_path / "venv" / "bin" / "fer-lite"), "verify", cwd=str(tmp_path))
    missing = subprocess.run(
        [str(tmp_path / "venv" / "bin" / "fer-lite"), "nowhere.jpg"], cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True
    )
    assert missing.returncode == 1 and missing.stdout == "" and missing.stderr.count("\n") == 1 and "nowhere.jpg" in missing.stderr
