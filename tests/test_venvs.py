"""env/run --NAME: virtual environments are made once, whole, and where they are asked for; with a stand-in for Python and no network."""

import os
import shutil
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# It makes environments, notes what is installed, and says where it runs and with what.
PYTHON = """#!/bin/bash
case "$*" in
*ensurepip*) exit ${OLD:-0};;
*importlib*) exit 1;;
"-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; exit ${NO_VENV:-0};;
*"pip --version") exit ${UPGRADED:-0};;
*"pip install"*) sleep ${SLOW:-0}; echo "$*" >>"$NOTES"; echo "no route to host"; exit ${OFFLINE:-0};;
*site-packages*) exit ${UPGRADED:-0};;
*) echo "$0 $* ${PYTHONPATH:-}";;
esac
"""
# Name -> its folder in the cache, and what pip is told at the end.
NAMES = {
    "plain": ("check", "--require-hashes -r env/plain.lock"),
    "check": ("check", "--require-hashes -r env/plain.lock"),
    "torch": ("torch", "-r env/torch.txt"),
    "deploy": ("deploy", "--require-hashes -r env/deploy.lock"),
    "export": ("deploy", "--require-hashes -r env/export.lock"),
    "web": ("deploy", "--require-hashes -r env/web.lock"),
    "fuzz": ("fuzz", "--require-hashes -r env/fuzz.lock"),
    "rivals": ("rivals", "--no-deps -r env/rivals.txt"),
}


class Checkout:
    def __init__(self, folder):
        self.folder, self.notes = folder, folder / "notes"
        (folder / "bin").mkdir()
        (folder / "bin" / "python3").write_text(PYTHON)
        (folder / "bin" / "python3").chmod(0o755)
        shutil.copytree(os.path.join(ROOT, "env"), str(folder / "env"))

    def start(self, *words, **more):
        own = {name: value for name, value in os.environ.items() if not name.startswith(("FER_LITE", "PYTHON")) and not name.endswith("_ENV")}
        own.update(
            PATH="%s:%s" % (self.folder / "bin", os.environ["PATH"]), CAFFE_ENV="rootfs", FER_LITE_CACHE=str(self.folder / "my cache"), NOTES=str(self.notes)
        )
        own.update(more)
        return subprocess.Popen(
            ["bash", str(self.folder / "env" / "run"), *words],
            env={name: value for name, value in own.items() if value is not None},
            universal_newlines=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words, **more):
        ran = self.start(*words, **more)
        out, err = ran.communicate(timeout=60)
        return ran.returncode, out.strip(), err.splitlines()

    def installed(self):
        return self.notes.read_text().replace(str(self.folder) + "/", "").splitlines() if self.notes.exists() else []


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def refused(ran, *words):
    """Status 1 and one line of error, after at most the one that says what is made."""
    status, out, said = ran
    assert status == 1 and not out and [line[:5] for line in said if not line.startswith("making ")] == ["error"]
    assert all(word in said[-1] for word in words), said


@pytest.mark.parametrize("name", NAMES)
def test_it_is_made_once_in_the_cache(checkout, name):
    base, told = NAMES[name]
    refused(checkout.run("--" + name, "-m", "x", OFFLINE="1"), "no route to host", "network", "/log")
    refused(checkout.run("--" + name, "-m", "x", OLD="1"), "Python 3.", base.upper() + "_PYTHON=")
    for said in (1, 0):
        status, out, err = checkout.run("--" + name, "-m", "x", "a b", OFFLINE="0" if said else "1")
        assert (status, len(err)) == (0, said) and out.endswith("/bin/python -m x a b")
        assert out.startswith("%s/%s-" % (checkout.folder / "my cache", base))
    assert checkout.installed()[-1].endswith(told)
    status, out, err = checkout.run("--" + name) if name != "plain" else (0, "", ["environment: "])
    assert status == 0 and not out and err[0].startswith("environment: ")


def test_what_adds_to_an_environment_lies_in_it(checkout):
    checkout.run("--deploy"), checkout.run("--export"), checkout.run("--web")
    made = checkout.installed()
    assert len(os.listdir(str(checkout.folder / "my cache"))) == 1 and {line.split("/")[-1] for line in made} == {"deploy.lock", "export.lock", "web.lock"}
    checkout.run("--deploy"), checkout.run("--export"), checkout.run("--web")
    assert checkout.installed() == made


def test_a_changed_list_goes_into_a_folder_that_was_named(checkout):
    named = dict(TORCH_ENV=str(checkout.folder / "it's mine"))
    assert "/it's mine/bin/python -m x" in checkout.run("--torch", "-m", "x", **named)[1]
    (checkout.folder / "env" / "torch.txt").write_text("numpy\n")
    assert len(checkout.run("--torch", "-m", "x", **named)[2]) == 1 and len(checkout.installed()) == 4


def test_one_whose_python_was_upgraded_away_is_made_again(checkout):
    checkout.run("--deploy"), checkout.run("--export")
    refused(checkout.run("--deploy", "-m", "x", UPGRADED="1", NO_VENV="1"), "could not be made")
    assert len(checkout.run("--export", "-m", "x")[2]) == 1  # its packages went with the Python


def test_two_at_once_make_one(checkout):
    ran = [checkout.start("--torch", "-m", "x", SLOW="0.5") for _ in range(2)]
    assert all(each.communicate(timeout=60)[0].endswith("-m x \n") and each.returncode == 0 for each in ran) and len(checkout.installed()) == 2


@pytest.mark.parametrize(
    "variable, value", [("FER_LITE_CACHE", "/proc/self/c"), ("XDG_CACHE_HOME", "/proc/self"), ("HOME", "/proc/self"), ("TORCH_ENV", "/proc/self/venv")]
)
def test_a_place_that_cannot_be_written_is_one_line(checkout, variable, value):
    below = {"XDG_CACHE_HOME": "/fer-lite/torch-", "HOME": "/.cache/fer-lite/torch-"}.get(variable, "")
    own = dict({"FER_LITE_CACHE": None, "XDG_CACHE_HOME": None}, **{variable: value})
    refused(checkout.run("--torch", "-m", "x", **own), value + below, "TORCH_ENV=")


def test_the_shells_python_path_stays_outside(checkout):
    assert checkout.run("--torch", "-m", "x", PYTHONPATH="/ros")[1].endswith("-m x")
