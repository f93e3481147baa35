"""The package that people install: built as a wheel, put into a clean virtual environment outside the checkout, used there."""
import glob
import os
import subprocess
import sys
import zipfile

import build  # noqa: F401  what the wheel is built with
import hatchling  # noqa: F401
import pytest

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

    own = {os.path.relpath(path, ROOT).replace(os.sep, "/") for path in glob.glob(os.path.join(ROOT, "fer_lite", "**", "*"), recursive=True)
           if os.path.isfile(path) and "__pycache__" not in path}
    networks = {"fer_lite/%s/%s" % (network.replace(os.sep, "/"), name) for network in (predict.DEFAULT, "models/resnet32_cifar10")
                for name in ("model.onnx", "model_int8.onnx", "model.json", "README.md")}
    assert own | networks | {"fer_lite/models/LICENSE.md", "fer_lite/models/SHA256SUMS"} == names
    assert "Version: %s\n" % __version__ in about and "License-Expression: MIT\n" in about


def verified(python_, package):
    """(exit status, output) of `fer-lite verify` by the package in a folder."""
    ran = subprocess.run([python_, "-m", "fer_lite", "verify"], cwd=package, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert ran.stdout.count("\n") == 1
    return ran.returncode, ran.stdout


@pytest.mark.slow
def test_the_package_verifies_its_own_networks(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as z:
        z.extractall(str(tmp_path))
    models = tmp_path / "fer_lite" / "models"
    count = len(list(models.glob("*/*")))
    assert count >= 8 and verified(sys.executable, str(tmp_path)) == (0, "%s: all %d files are those of SHA256SUMS\n" % (models, count))
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


def test_a_checkout_verifies_its_own_networks():
    with open(os.path.join(ROOT, "models", "SHA256SUMS")) as f:
        assert verified(sys.executable, ROOT) == (0, "%s: all %d files are those of SHA256SUMS\n" % (os.path.join(ROOT, "models"), len(f.readlines())))


def python(version):
    """An interpreter of this version, by its name or as pyenv keeps it; None where there is none."""
    for path in ["python" + version] + sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/%s.*/bin/python" % version))):
        try:
            subprocess.run([path, "-c", "import ensurepip, sys; assert sys.version_info[:2] == (%s)" % version.replace(".", ",")], check=True, stderr=subprocess.DEVNULL)
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
    missing = subprocess.run([str(tmp_path / "venv" / "bin" / "fer-lite"), "nowhere.jpg"], cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             universal_newlines=True)
    assert missing.returncode == 1 and missing.stdout == "" and missing.stderr.count("\n") == 1 and "nowhere.jpg" in missing.stderr
