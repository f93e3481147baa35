"""Environments by hash: what the locks hold, and how env/lock installs them."""

import glob
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOCK = os.path.join(ROOT, "env", "lock")


def locked(name):
    """{(package, its marker): version} of env/NAME.lock; each has a hash."""
    with open(os.path.join(ROOT, "env", name + ".lock"), encoding="utf-8") as f:
        lock = f.read()
    found = re.findall(r"^([a-z0-9-]+)==(\S+)(?: ; ([^\\]*))? \\\n {4}--hash=sha256:[0-9a-f]{64}", lock, re.M)
    assert len(found) == len(re.findall(r"^[a-z]", lock, re.M)) and "://" not in lock
    return {(package, marker): version for package, version, marker in found}


@pytest.mark.parametrize("name", sorted(os.path.basename(path)[:-5] for path in glob.glob(os.path.join(ROOT, "env", "*.lock"))))
def test_a_lock_is_of_its_list(name):
    """Written by env/lock, from env/NAME.txt: whoever changes a list writes the locks anew. PyTorch's own build is in none."""
    with open(os.path.join(ROOT, "env", name + ".txt"), encoding="utf-8") as f:
        wanted = {package.lower(): version for package, version in re.findall(r"^([\w-]+)(?:==(\S+)|>=)", f.read(), re.M) if package != "torch"}
    lock = locked(name)
    assert wanted and {package for package, _ in lock} >= set(wanted)
    assert all({version} == {held for (name_, _), held in lock.items() if name_ == package} for package, version in wanted.items() if version)
    assert not [package for package, _ in lock if package.startswith(("torch", "nvidia-", "cuda-"))]


def test_locks_of_one_environment_agree():
    for names in (("deploy", "export", "package", "web"), ("plain", "fuzz")):
        versions = {}
        for name in names:
            for (package, _), version in locked(name).items():
                versions.setdefault(package, {}).setdefault(name, set()).add(version)
        assert not {package: of for package, of in versions.items() if len(set(map(frozenset, of.values()))) > 1}


PYTHON = (
    """#!/bin/sh
# In place of an environment's Python: of version VERSION, and says what it runs.
case "$1" in -c) exec %s -c "import sys; sys.version_info = $VERSION; exec(sys.argv[1])" "$2" ;; esac
echo "$@"
"""
    % sys.executable
)


@pytest.mark.parametrize("version, hashes", [((3, 9, 1), True), ((3, 14, 2), True), ((3, 15, 0), False)])
def test_a_python_that_the_locks_do_not_know_gets_the_lists_versions(tmp_path, version, hashes):
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    ran = subprocess.run(
        [LOCK, str(python), "plain", "--index-url=a b"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        env=dict(os.environ, VERSION=str(version)),
    )
    assert ran.returncode == 0 and "--index-url=a b" in ran.stdout
    assert ran.stdout.strip().endswith("--require-hashes -r %s/env/plain.lock" % ROOT if hashes else " -r %s/env/plain.txt" % ROOT)
    assert [line[:5] for line in ran.stderr.splitlines()] == ([] if hashes else ["note:"])


@pytest.mark.skipif(not importlib.util.find_spec("pip"), reason="needs pip")
def test_a_file_of_another_hash_is_not_installed(tmp_path):
    wheel, shell = tmp_path / "drawn-1-py3-none-any.whl", {name: text for name, text in os.environ.items() if not name.startswith("PIP_")}
    with zipfile.ZipFile(str(wheel), "w") as z:
        z.writestr("drawn.py", "")
        z.writestr("drawn-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: drawn\nVersion: 1\n")
        z.writestr("drawn-1.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr("drawn-1.dist-info/RECORD", "")
    shutil.copy(LOCK, str(tmp_path / "lock"))
    for digest, taken in ((hashlib.sha256(b"other").hexdigest(), False), (hashlib.sha256(wheel.read_bytes()).hexdigest(), True)):
        (tmp_path / "x.lock").write_text("drawn==1 \\\n    --hash=sha256:%s\n" % digest)
        ran = subprocess.run(
            [str(tmp_path / "lock"), sys.executable, "x", "--isolated", "--no-index", "--find-links", str(tmp_path), "--target", str(tmp_path / "to")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            env=shell,
        )
        assert (ran.returncode == 0) == (tmp_path / "to" / "drawn.py").exists() == taken, ran.stdout
        assert taken or digest in ran.stdout


def test_writing_locks_without_uv_names_it(tmp_path):
    (tmp_path / "dirname").symlink_to(shutil.which("dirname"))
    ran = subprocess.run(
        [shutil.which("bash"), LOCK, "--write"],
        env=dict(os.environ, PATH=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert ran.returncode == 1 and ran.stderr.count("\n") == 1 and "pip install uv" in ran.stderr
