"""The doctor: Caffe is right by every check, and each wrong Caffe is refused by the check that is there for it.

A wrong Caffe is the real one with another word in the nets or solvers that it is given.
"""

import os
import re
import subprocess
import sys
import time

import caffe
import pytest

from common import errors
from engines import doctor, selfcheck

pytestmark = pytest.mark.caffe
REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WRONG = """
import importlib, os, sys
sys.path = [path for path in sys.path if path != os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
del sys.modules["caffe"]
sys.modules["caffe"] = real = importlib.import_module("caffe")
right = real.Net
def Net(path, phase):
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write(text.replace("batch_norm_param {", "batch_norm_param { use_global_stats: true"))
    return right(path, phase)
real.Net = Net
"""


class Changed:
    """Caffe whose nets and solvers have `old` replaced by `new`, in this phase or in both."""

    TRAIN, TEST = caffe.TRAIN, caffe.TEST

    def __init__(self, old, new, phase=None):
        self.old, self.new, self.phase, self.changed = old, new, phase, False

    def change(self, path):
        with open(path) as f:
            text = f.read()
        self.changed = self.changed or self.old in text
        with open(path, "w") as f:
            f.write(text.replace(self.old, self.new))

    def Net(self, path, phase):
        if self.phase in (None, phase):
            self.change(path)
        return caffe.Net(path, phase)

    def get_solver(self, path):
        self.change(path)
        return caffe.get_solver(path)


@pytest.mark.parametrize("name, check", selfcheck.CHECKS)
def test_this_caffe_is_right(name, check):
    check(caffe)


GLOBAL = ("batch_norm_param {", "batch_norm_param { use_global_stats: true")
BATCH = ("batch_norm_param {", "batch_norm_param { use_global_stats: false")


@pytest.mark.parametrize(
    "check, wrong, reason",
    [
        (selfcheck.check_convolution, Changed("pad: 1", "pad: 0"), "convolution 3x3, pad 1, stride 1 has shape"),
        (selfcheck.check_convolution, Changed("kernel_size: 2 pad: 0 stride: 2", "kernel_size: 2 stride: 1"), "convolution 2x2"),
        (selfcheck.check_pooling, Changed("pool: MAX", "pool: AVE"), "maximum pooling"),
        (selfcheck.check_pooling, Changed("pool: AVE", "pool: MAX"), "global average pooling"),
        (selfcheck.check_scale, Changed("bias_term: true", "bias_term: false"), "Scale is off by"),
        (selfcheck.check_batchnorm_train, Changed(*GLOBAL), "BatchNorm in TRAIN does not use the batch's own mean"),
        (selfcheck.check_batchnorm_train, Changed("eps: 1e-05", "eps: 0.1"), "BatchNorm in TRAIN"),
        (selfcheck.check_batchnorm_train, Changed("fraction: 0.999", "fraction: 0.9"), "BatchNorm's running mean is off"),
        (selfcheck.check_batchnorm_test, Changed(*BATCH), "BatchNorm in TEST is off"),
        (selfcheck.check_nesterov, Changed('"Nesterov"', '"SGD"'), "Nesterov solver's step 1"),
        (selfcheck.check_nesterov, Changed("weight_decay: 0.05", "weight_decay: 0"), "Nesterov solver's step 1"),
        (selfcheck.check_nesterov, Changed("momentum: 0.9", "momentum: 0.8"), "Nesterov solver's step 1"),
        (selfcheck.check_nesterov, Changed("gamma: 0.1", "gamma: 1"), "Nesterov solver's step 4"),
        (selfcheck.check_nesterov, Changed("stepvalue: 3", "stepvalue: 4"), "Nesterov solver's step 4"),
        (selfcheck.check_data, Changed("crop_size: 32", "crop_size: 30"), "Data layer in TEST"),
        (selfcheck.check_data, Changed("crop_size: 32", "crop_size: 32 mirror: true", caffe.TRAIN), "no window of its image"),
        (selfcheck.check_data, Changed("crop_size: 32", "crop_size: 32 scale: 0.5", caffe.TRAIN), "no window of its image"),
    ],
)
def test_a_wrong_caffe_is_refused(check, wrong, reason):
    with pytest.raises(errors.Fail, match=reason):
        check(wrong)
    assert wrong.changed


def test_data_crops_that_never_move_are_refused(monkeypatch):
    real = selfcheck.window
    monkeypatch.setattr(selfcheck, "window", lambda crop, image: real(crop, image) and (4, 4))
    with pytest.raises(errors.Fail, match="always cuts the same window"):
        selfcheck.check_data(caffe)


# ---------------------------------------------------------------- as training meets it


def with_caffe(folder, text):
    """Variables for a Python whose `import caffe` gives this text, run from the repository."""
    package = folder / "caffe"
    package.mkdir()
    (package / "__init__.py").write_text(text)
    more = {"PYTHONPATH": str(folder), "OPENBLAS_NUM_THREADS": "1"}
    return dict({name: value for name, value in os.environ.items() if not name.startswith("FER_LITE_")}, **more)


def run(command, env):
    return subprocess.run(command, cwd=REPO, env=env, universal_newlines=True, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


DOCTOR = [sys.executable, "-m", "engines.doctor"]
ENV_RUN = [os.path.join(REPO, "env", "run")]


@pytest.mark.parametrize(
    "text, words",
    ids=["wrong BatchNorm", "placeholder", "import fails", "aborts"],
    argvalues=[
        (WRONG, ["BatchNorm in TRAIN", "kendryte-caffe", "_caffe", "CAFFE_ENV=rootfs"]),
        ("", ["is no Caffe", "placeholder"]),
        ("raise TypeError('Descriptors cannot be created directly.\\nIf this call came from')", ["Descriptors cannot be"]),
        (
            "import os, sys; print('F1123 12:00:00.0 7 blob.cpp:9] Check failed: x', file=sys.stderr, flush=True); os.abort()",
            ["breaks down", "Check failed: x"],
        ),
    ],
)
@pytest.mark.parametrize("command", [DOCTOR, DOCTOR + ["--check"]])
def test_a_refusal_is_one_line(tmp_path, command, text, words):
    result = run(command, with_caffe(tmp_path, text))
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and all(word in line for word in words), line


def test_env_run_refuses_it_as_system_caffe_in_one_line(tmp_path):
    env = dict(with_caffe(tmp_path, WRONG), CAFFE_ENV="system", FER_LITE_CACHE=str(tmp_path / "cache"))
    result = run(ENV_RUN + ["--make"], env)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "refused: BatchNorm in TRAIN" in line


def test_env_run_takes_a_right_one_as_system_caffe(tmp_path):
    env = dict(os.environ, CAFFE_ENV="system", FER_LITE_CACHE=str(tmp_path / "cache"))
    env.pop("FER_LITE_ENV", None)
    result = run(ENV_RUN + ["--make"], env)
    assert result.returncode == 0 and result.stderr.startswith("environment: system, /")


def test_check_is_quick_and_silent(capfd):
    doctor.check.cache_clear()
    start = time.time()
    doctor.check()
    assert time.time() - start < 6  # under 2 s on an idle machine
    doctor.check()
    assert capfd.readouterr() == ("", "")


def test_check_raises_the_line(monkeypatch, tmp_path):
    doctor.check.cache_clear()
    monkeypatch.setattr(os, "environ", with_caffe(tmp_path, WRONG))
    with pytest.raises(errors.Fail, match="this Caffe is refused: BatchNorm in TRAIN"):
        doctor.check()


def test_the_report(monkeypatch):
    result = run(DOCTOR, dict(os.environ, OPENBLAS_NUM_THREADS="1"))
    assert result.returncode == 0 and result.stderr == ""
    lines = dict((line[:12].strip(), line[12:]) for line in result.stdout.splitlines() if not line.startswith("right "))
    assert {"Caffe", "caffe tool", "provider", "Python", "NumPy", "OpenCV", "protobuf", "lmdb", "BLAS"} <= set(lines)
    assert lines["Python"] == sys.version.split()[0] and "_caffe" in lines["Caffe"]
    assert re.search(r"threads: 1,.*; sgemm in Caffe: \d+ GFLOP/s$", lines["BLAS"])
    assert lines["import"] == "quiet" and lines["This Caffe c"] == "omputes right."
    assert result.stdout.count("\nright ") == len(selfcheck.CHECKS)


def test_importing_caffe_says_nothing():
    env = {name: value for name, value in os.environ.items() if name != "GLOG_minloglevel"}
    result = run([sys.executable, "-c", "import caffe"], env)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
