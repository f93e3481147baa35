"""The house's plan (docs/architecture.md): a folder is a stage, and imports go down only.

Read from the sources, without importing anything: `import_module("x.y")` and `"x.y"` in a table of modules count too.
"""

import ast
import glob
import os
import re

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FLOORS = [{"paper", "common", "fer_lite"}, {"netgen", "data_prep"}, {"engines"}, {"training", "evaluation"}, {"deploy"}, {"demo", "benchmarks"}, {"tests"}]
FLOOR = {folder: number for number, floor in enumerate(FLOORS) for folder in floor}
# Neighbours on one floor that may see each other.
BESIDE = {("common", "paper"), ("common", "fer_lite")}


def modules():
    return sorted(path for folder in FLOOR for path in glob.glob(os.path.join(ROOT, folder, "**", "*.py"), recursive=True) if "node_modules" not in path)


def imports(path):
    """The top-level folders of this project that a file imports, {folder: line}."""
    with open(path, encoding="utf-8") as f:
        tree = ast.parse(f.read())
    # `self.python("training.order", ...)` of the study's plan starts a process, as make does.
    commands = {id(node.args[0]) for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "python" and node.args}
    found = {}
    for node in ast.walk(tree):
        if id(node) in commands:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[a-z_]+(\.[a-z_0-9]+)+", node.value):
            names = [node.value] if os.path.exists(os.path.join(ROOT, *node.value.split(".")) + ".py") else []
        else:
            continue
        found.update({name.split(".")[0]: node.lineno for name in names if name.split(".")[0] in FLOOR})
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: os.path.relpath(path, ROOT))
def test_imports_go_down(path):
    own = os.path.relpath(path, ROOT).split(os.sep)[0]
    wrong = [
        "%s:%d imports %s" % (os.path.relpath(path, ROOT), line, folder)
        for folder, line in imports(path).items()
        if folder != own and FLOOR[folder] >= FLOOR[own] and (own, folder) not in BESIDE
    ]
    assert not wrong


def test_stages_know_only_each_others_files():
    """No arrow between data_prep, training and evaluation."""
    stages = {"data_prep", "training", "evaluation"}
    wrong = [
        (os.path.relpath(path, ROOT), folder)
        for path in modules()
        for folder in imports(path)
        if os.path.relpath(path, ROOT).split(os.sep)[0] in stages - {folder} and folder in stages
    ]
    assert not wrong


def test_fer_lite_stands_alone():
    wrong = [(path, folder) for path in modules() if path.startswith(os.path.join(ROOT, "fer_lite")) for folder in imports(path) if folder != "fer_lite"]
    assert not wrong


def test_the_ground_plan():
    """What `ls` shows is the plan's: a new wing is a decision, made in docs/architecture.md and here."""
    import shutil
    import subprocess

    if not shutil.which("git") or not os.path.exists(os.path.join(ROOT, ".git")):
        pytest.skip("this is no git checkout, or git is missing")
    tracked = subprocess.check_output(["git", "-c", "safe.directory=*", "-C", ROOT, "ls-files"], universal_newlines=True).splitlines()
    folders = {name.split("/")[0] for name in tracked if "/" in name}
    assert folders <= set(FLOOR) | {"prototxt", "solvers", "models", "env", "make", "docs", "runs", ".ci", ".github"}


def test_one_name_is_one_type():
    """A class or named tuple of one name means one thing wherever it stands."""
    found = {}
    for path in modules():
        if os.path.relpath(path, ROOT).split(os.sep)[0] == "tests":
            continue
        with open(path, encoding="utf-8") as f:
            tree = ast.parse(f.read())
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(path)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "namedtuple":
                found.setdefault(node.args[0].value, []).append(path)
    assert not {name: paths for name, paths in found.items() if len(paths) > 1}


# Modules whose functions are not annotated yet.
BARE = {"engines.caffe.network", "engines.torch.device", "engines.torch.engine", "engines.torch.solver", "netgen.__main__"}


def called_from_other_folders():
    """(module, FunctionDef) of each function that a module of another folder calls by `module.function`, or imports by name."""
    own = [path for path in modules() if os.path.relpath(path, ROOT).split(os.sep)[0] not in ("tests", "demo", "benchmarks")]
    trees = {os.path.relpath(path, ROOT)[:-3].replace(os.sep, ".").replace(".__init__", ""): ast.parse(open(path, encoding="utf-8").read()) for path in own}
    functions = {(name, node.name): node for name, tree in trees.items() for node in tree.body if isinstance(node, ast.FunctionDef)}
    found = set()
    for name, tree in trees.items():
        known, folder = {}, name.split(".")[0]
        for node in ast.walk(tree):
            for alias in getattr(node, "names", ()) if isinstance(node, (ast.Import, ast.ImportFrom)) else ():
                full = alias.name if isinstance(node, ast.Import) else "%s.%s" % (node.module, alias.name)
                known[alias.asname or alias.name] = full
                found |= {(node.module, alias.name)} if isinstance(node, ast.ImportFrom) and folder != node.module.split(".")[0] else set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and known.get(node.value.id, folder).split(".")[0] != folder:
                found.add((known[node.value.id], node.attr))
    return [(name, functions[name, function]) for name, function in sorted(found & set(functions))]


def test_what_other_folders_call_is_annotated():
    called = [(name, node) for name, node in called_from_other_folders() if name not in BARE and not name.startswith("fer_lite")]
    assert len(called) > 50
    assert not [
        "%s.%s" % (name, node.name)
        for name, node in called
        if node.returns is None or any(argument.annotation is None for argument in node.args.args + node.args.kwonlyargs)
    ]


def methods(path, name):
    """{method or property: its parameters after self} of a class in a file of the repository."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        (found,) = (node for node in ast.parse(f.read()).body if isinstance(node, ast.ClassDef) and node.name == name)
    return {node.name: [argument.arg for argument in node.args.args[1:]] for node in found.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("engine", ["caffe/engine.py CaffeEngine", "torch/engine.py TorchEngine", "torch/trials.py Trial"])
def test_an_engine_is_a_trainer(engine):
    wanted, found = methods("engines/__init__.py", "Trainer"), methods(*("engines/" + engine).split())
    assert len(wanted) == 8 and wanted.keys() <= found.keys()
    for name, parameters in wanted.items():
        assert found[name][: len(parameters)] == parameters and found[name][len(parameters) :] in ([], ["trial"])


def test_an_import_changes_no_global():
    """Not the environment, OpenCV's threads, or matplotlib's backend. (`training` alone sets BLAS's threads, which is read when BLAS is loaded.)"""
    import importlib.util
    import subprocess
    import sys

    if any(importlib.util.find_spec(name) is None for name in ("cv2", "matplotlib", "lmdb", "jinja2", "sklearn")):
        pytest.skip("needs what env/plain.txt lists")
    script = """
import importlib, os, cv2, matplotlib.pyplot, sklearn  # pyplot: the matplotlib of Debian 11 chooses a backend when it is imported
cv2.setNumThreads(3)
globals_ = lambda: (dict(os.environ), cv2.getNumThreads(), dict.get(matplotlib.rcParams, "backend"))
before = globals_()
for module in ("data_prep.__main__", "evaluation.report.page", "evaluation.report.curves", "evaluation.test", "netgen.__main__"):
    importlib.import_module(module)
    assert globals_() == before, module
"""
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0
