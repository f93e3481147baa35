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
    "report": {"RESULTS": "--out=%s"},
    "reproduce": {"MODEL": "%s"},
    "sign": {"MODELS": "%s", "KEY": "--sign=%s", "SIGNER": "--as=%s"},
    "gpu-check DEVICE=cpu": {"OUT": "--out=%s"},
    "bench-predict": {"MODEL": "--model=%s"},
    "bench": {"DOWNLOADS": "--downloads=%s"},
    "study SHOW=1": {"STUDY_CSV": "--csv=%s"},
    "study OF=ladder SHOW=1": {"STUDY_CSV": "--csv=%s"},
}
# Targets whose commands name files in WORK and RUNS; `predict` and the like have environments too.
IN_FOLDERS = [
    "data",
    "order TRIAL=2",
    "preview",
    "pretrain",
    "transplant",
    "finetune",
    "eval",
    "row ROW=8",
    "table2 ROWS=1,8 TRIALS=2",
    "table3",
    "judge ROWS=8",
    "report",
    "best",
    "prototxt",
    "best RECIPE=small",
    "best SRC=cifar10",
    "trials-20-cifar10 ENGINE=torch",
    "soak",
    "bundle",
    "unbundle",
    "finetune NETGEN=--pretrain-batch=64",
    "eval ENGINE=torch PRECISION=bf16",
    "eval AGAIN=1 PRETRAIN_EPOCHS=1 FINETUNE_EPOCHS=2",
]


def dry(*words, root=ROOT):
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ("make", "-n", "RUN=", "CAFFE=none") + words, cwd=root, env=own, universal_newlines=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


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


def test_environments_reach_env_run_whole():
    """None can be made below /proc: the one line of env/run names the folder."""
    for folder in ["/proc/self/" + name for name in WILD + HELD]:
        made = subprocess.run(
            ["make", "predict", "IMAGE=x", "DEPLOY_PYTHON=true", "DEPLOY_ENV=" + folder], cwd=ROOT, universal_newlines=True, stderr=subprocess.PIPE
        )
        (error,) = [line for line in made.stderr.splitlines() if not line.startswith("make")]
        assert made.returncode == 2 and folder in error and "DEPLOY_ENV=" in error


@pytest.mark.parametrize("variable", ["WORK", "RUNS", "PRETRAIN_EPOCHS"])
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
        said = subprocess.run(
            run + ["pwd"],
            cwd=str(root),
            universal_newlines=True,
            stdout=subprocess.PIPE,
            env=dict(os.environ, CAFFE_ENV="system", FER_LITE_ENV="system", FER_LITE_PLACE="x"),
        )
        assert said.stdout.strip() == str(root) and said.returncode == 0


def test_without_a_home_the_password_database_says_it(tmp_path):
    import pwd

    own = {name: value for name, value in os.environ.items() if name not in ("HOME", "FER_LITE_CACHE", "XDG_CACHE_HOME", "FER_LITE_ENV")}
    script = 'eval "$(sed -n "/^\\[ -n .*HOME/,/^CACHE=/p" "$0")"; echo "$CACHE"'
    for home in ({}, {"HOME": ""}):
        said = subprocess.run(["bash", "-c", script, os.path.join(ROOT, "env", "run")], env=dict(own, **home), universal_newlines=True, stdout=subprocess.PIPE)
        assert said.stdout.strip() == os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".cache/fer-lite")


def test_help_is_grouped_and_short():
    """The paper's way first; what would only translate variables into options is a command (docs/environments.md)."""
    listed = subprocess.run(["make"], cwd=ROOT, universal_newlines=True, stdout=subprocess.PIPE).stdout
    assert re.findall(r"\n\n(.*)\n  ", listed) == ["The paper's way", "Networks in use", "Trust", "Development"]
    targets = re.findall(r"^  ([a-z0-9-]+)\s", listed, re.M)
    assert len(targets) == len(set(targets)) <= 41 and targets.index("pretrain") < targets.index("finetune") < targets.index("eval") < targets.index("table2")


# ---- without Caffe --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "prototxt",
        "describe",
        "data",
        "preview",
        "order TRIAL=2",
        "table2 SHOW=1",
        "table3",
        "judge ROWS=8",
        "report",
        "study SHOW=1",
        "study OF=ladder SHOW=1",
        "bundle",
        "unbundle",
    ],
)
def test_what_needs_no_caffe_makes_none(target):
    made = dry(*target.split(), "RUN=bash env/run")
    assert made.returncode == 0 and "--make" not in made.stdout and "env/run --plain -m" in made.stdout
    made = dry(*target.split(), "ENGINE=torch").stdout
    assert "env/run --torch -m" in made and made.count("env/run") == made.count("env/run --torch")


@pytest.mark.parametrize("target", ["pretrain", "finetune", "eval", "doctor"])
def test_what_computes_runs_in_caffe(target):
    assert "env/run python3 -m" in dry(target, "RUN=bash env/run").stdout


@pytest.mark.parametrize(
    "words, python",
    [
        (("TESTS=tests/test_web.py",), "env/run --web"),
        (("TESTS=tests/test_deploy.py::test_x -k a",), "env/run --package"),
        (("TESTS=tests/test_netgen.py",), "env/run python3"),
        (("TESTS=tests/test_netgen.py", "ENGINE=torch"), "env/run --torch"),
    ],
)
def test_a_part_of_the_tests_runs_where_it_can(words, python):
    (line,) = [line for line in dry("test", *words, "RUN=bash env/run").stdout.splitlines() if "pytest" in line]
    assert line == "bash %s -m pytest -q %s" % (python, words[0][len("TESTS=") :])


def test_all_the_tests_are_there():
    made = dry("test", "RUN=bash env/run").stdout
    named = re.findall(r"tests/\w+\.py", made)
    assert len(named) > 15 and not [path for path in named if not os.path.exists(os.path.join(ROOT, path))]
    assert made.rstrip().endswith("bash env/run python3 -m pytest -q")
