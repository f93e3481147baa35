"""What a user gives to make reaches the commands as it is, one word each: dry runs, read as the shell would. No Caffe, no network."""
import os
import re
import shlex
import shutil
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="no make")

WILD = ["my photo.jpg", "it's.jpg", 'two "5" (1).jpg', "a&b;c|d>e.jpg", "лицо 笑.jpg", "$HOME `id` $(id).jpg", "100%, #1 \\ *.jpg", "a=b:c~.jpg"]
HELD = ["w'ö", "w(ö)", "w)ö&,!", "wö,笑@{x}^"]  # what make can hold in targets too

# Target -> {variable: how its value stands in a command}.
GIVEN = {
    "predict": {"IMAGE": "%s", "MODEL": "--model=%s", "DRAW": "--draw=%s"},
    "export": {"MODEL": "%s", "OUT": "--out=%s", "DATA": "--data=%s"},
    "model": {"MODEL": "%s", "NAME": "--name=%s", "MODELS": "--root=%s", "DATA": "--data=%s"},
    "models-check": {"MODELS": "%s"},
    "try": {"MODEL": "--model=%s"},
    "data SRC=ferplus": {"FROM": "--from=%s", "DOWNLOADS": "--downloads=%s", "LABELS": "--labels=%s"},
    "table2 SHOW=1": {"RESULTS": "--out=%s"},
    "fig2 ROWS=8": {"RESULTS": "--out=%s"},
    "report": {"RESULTS": "--out=%s"},
    "reproduce": {"MODEL": "%s"},
    "sign": {"MODELS": "%s", "KEY": "--sign=%s", "SIGNER": "--as=%s"},
    "gpu-check DEVICE=cpu": {"OUT": "--out=%s"},
    "bench-data": {"DOWNLOADS": "--downloads=%s"},
    "study SHOW=1": {"STUDY_CSV": "--csv=%s"},
}
# Targets whose commands name files in WORK and RUNS; `predict` and the like have environments too.
IN_FOLDERS = ["data", "order TRIAL=2", "preview", "check-data", "pretrain", "transplant", "finetune", "eval", "row ROW=8", "table2 ROWS=1,8 TRIALS=2",
              "table3", "fig2", "fig3", "reliability", "ensemble ROWS=8", "judge ROWS=8", "report", "status", "curves", "tensorboard", "best", "small", "trials ENGINE=torch",
              "finetune NETGEN=--pretrain-batch=64", "eval ENGINE=torch PRECISION=bf16", "eval AGAIN=1 PRETRAIN_EPOCHS=1 FINETUNE_EPOCHS=2"]


def dry(*words, root=ROOT):
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(("make", "-n", "RUN=", "CAFFE=none") + words, cwd=root, env=own, universal_newlines=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def words_of(made):
    """The words of all commands of a dry run, as the shell takes them apart."""
    assert made.returncode == 0, made.stderr
    assert subprocess.run(["bash", "-n"], input=made.stdout, universal_newlines=True).returncode == 0
    return shlex.split(re.sub(r"\\\n", " ", made.stdout))


@pytest.mark.parametrize("target, variable", [(target, variable) for target, given in GIVEN.items() for variable in given])
def test_a_value_is_one_word(target, variable):
    for value in WILD if variable in ("IMAGE", "FROM", "DATA") else WILD[::3]:
        given = {name: "plain" for name in GIVEN[target]}
        given[variable] = value
        found = words_of(dry(*target.split(), *("%s=%s" % pair for pair in given.items())))
        for name, form in GIVEN[target].items():
            assert form % given[name] in found, (value, found)


@pytest.mark.parametrize("given, taken", [("-photo.jpg", "./-photo.jpg"), ("~/a b.jpg", os.path.expanduser("~/a b.jpg")), ("a~/b", "a~/b"), ("0", "0")])
def test_a_leading_dash_is_no_option_and_a_leading_tilde_the_home(given, taken):
    assert taken in words_of(dry("predict", "IMAGE=" + given))
    assert "--downloads=" + taken in words_of(dry("data", "DOWNLOADS=" + given))


@pytest.mark.parametrize("target", IN_FOLDERS)
def test_folders_that_make_holds_reach_the_commands_whole(target):
    for folder, variable in zip(HELD[:3] * 2, ["WORK"] * 3 + ["RUNS"] * 3 * ("NETGEN" not in target)):
        found = words_of(dry(*target.split(), "%s=%s" % (variable, folder)))
        broken = [word for word in found if "ö" in word and folder not in word.replace("./-", "-")]
        assert not broken and (variable == "RUNS" or any(folder in word for word in found)), (folder, broken)


@pytest.mark.parametrize("variable, target", [("TORCH_ENV", "env ENGINE=torch"), ("DEPLOY_ENV", "export MODEL=x"), ("CHECK_ENV", "check"), ("DEPLOY_ENV", "test-web")])
def test_environments_reach_the_commands_whole(variable, target, tmp_path):
    for folder in HELD:
        folder = str(tmp_path / folder)
        assert folder + "/bin/python" in words_of(dry(*target.split(), "%s=%s" % (variable, folder)))


@pytest.mark.parametrize("variable", ["WORK", "RUNS", "TORCH_ENV", "DEPLOY_ENV", "CHECK_ENV", "PRETRAIN_EPOCHS"])
@pytest.mark.parametrize("value", ["my work", "a:b", "50%", "a#b", "a$b", "x*", 'a"b', "a;b"])
def test_what_make_cannot_hold_is_one_line(variable, value):
    made = dry("eval", "%s=%s" % (variable, value))
    assert made.returncode == 2 and made.stdout == "" and len(made.stderr.splitlines()) == 1
    assert "%s=%s" % (variable, value) in made.stderr and "another folder" in made.stderr


@pytest.mark.parametrize("words", [("THREADS=1' x",), ("GPU=$(id)",), ("JOBS=1;id",)])
def test_numbers_are_checked_as_they_are(words):
    assert dry("eval", *words).returncode == 2


@pytest.mark.parametrize("name", ["my repo", "it's (1) & co", "дом"])
def test_the_repositorys_own_path_may_be_any(name, tmp_path):
    root = tmp_path / name
    for folder in ("make", "env", "prototxt", "solvers"):
        if os.path.isdir(os.path.join(ROOT, folder)):
            shutil.copytree(os.path.join(ROOT, folder), str(root / folder))
    for file in ("Makefile", "Dockerfile", "environment.yml"):
        shutil.copy(os.path.join(ROOT, file), str(root))
    for target in ("eval", "row ROW=8", "predict IMAGE=x", "report", "demo", "help"):
        assert str(root) not in " ".join(words_of(dry(*target.split(), root=str(root))))
    for run in (["bash", "env/run"], ["bash", str(root / "env" / "run")]):
        said = subprocess.run(run + ["pwd"], cwd=str(root), universal_newlines=True, stdout=subprocess.PIPE, env=dict(os.environ, CAFFE_ENV="system", FER_LITE_ENV="system", FER_LITE_PLACE="x"))
        assert said.stdout.strip() == str(root) and said.returncode == 0


def test_without_a_home_the_password_database_says_it(tmp_path):
    import pwd

    own = {name: value for name, value in os.environ.items() if name not in ("HOME", "FER_LITE_CACHE", "XDG_CACHE_HOME", "FER_LITE_ENV")}
    script = 'eval "$(sed -n "/^\\[ -n .*HOME/,/^CACHE=/p" "$0")"; echo "$CACHE"'
    for home in ({}, {"HOME": ""}):
        said = subprocess.run(["bash", "-c", script, os.path.join(ROOT, "env", "run")], env=dict(own, **home), universal_newlines=True, stdout=subprocess.PIPE)
        assert said.stdout.strip() == os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".cache/fer-lite")


# ---- without Caffe --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("target", ["prototxt", "describe", "data", "preview", "check-data", "order TRIAL=2", "table2 SHOW=1", "table3", "fig2", "ensemble ROWS=8",
                                    "judge ROWS=8", "report", "status", "curves", "study SHOW=1"])
def test_what_needs_no_caffe_makes_none(target):
    made = dry(*target.split(), "RUN=bash env/run")
    assert made.returncode == 0 and "--make" not in made.stdout and "env/run --plain python3 -m" in made.stdout
    assert "env/run" not in dry(*target.split(), "ENGINE=torch").stdout


@pytest.mark.parametrize("target", ["pretrain", "finetune", "eval", "doctor"])
def test_what_computes_runs_in_caffe(target):
    assert "env/run python3 -m" in dry(target, "RUN=bash env/run").stdout


PYTHON = """#!/bin/bash
# In place of python3: makes environments, and says what it runs in.
case "$*" in
*sys.version_info*|"-c import importlib"*) exit ${OLD:-0};;
"-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python3"; echo made;;
*pip*install*) exit ${OFFLINE:-0};;
*) echo "$0 $*";;
esac
"""


def test_a_plain_environment_is_made_once_in_the_cache(tmp_path):
    cache, shell = tmp_path / "my cache", {name: value for name, value in os.environ.items() if not name.startswith("FER_LITE")}
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text(PYTHON)
    (tmp_path / "bin" / "python3").chmod(0o755)

    def run(**more):
        own = dict(shell, PATH="%s:%s" % (tmp_path / "bin", os.environ["PATH"]), FER_LITE_CACHE=str(cache), CAFFE_ENV="rootfs", **more)
        return subprocess.run(["bash", os.path.join(ROOT, "env", "run"), "--plain", "python3", "-m", "x", "a b"], env=own, universal_newlines=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    for more in (dict(OFFLINE="1"), dict(OLD="1")):
        refused = run(**more)
        assert refused.returncode == 1 and [line[:5] for line in refused.stderr.splitlines() if not line.startswith("making")] == ["error"]
    for said in (1, 0):
        made = run(OFFLINE="" if said else "1")
        assert made.returncode == 0 and len(made.stderr.splitlines()) == said and made.stdout.strip().endswith("/bin/python3 -m x a b")
        assert made.stdout.startswith(str(cache / "plain-"))


@pytest.mark.parametrize("variable, value, folder", [("FER_LITE_CACHE", "/x/c", "/x/c/"), ("XDG_CACHE_HOME", "/x", "/x/fer-lite/"), ("HOME", "/x", "/x/.cache/fer-lite/")])
def test_environments_lie_in_the_cache(variable, value, folder):
    own = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "FER_LITE_CACHE", "XDG_CACHE"))}
    for target in ("env ENGINE=torch", "predict IMAGE=x", "check"):
        made = subprocess.run(["make", "-n", *target.split()], cwd=ROOT, env=dict(own, **{variable: value}), universal_newlines=True, stdout=subprocess.PIPE).stdout
        assert " '%s" % folder in made or "'%s" % folder in made
