"""What a test needs and this Python lacks is skipped, with the command that brings it.

Tests say what they need by a marker (pyproject.toml) or by importing it at the head of their module. A package that is not
named here is no excuse: the import fails.
"""

import importlib
import importlib.util
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import training  # noqa: F401  the BLAS threads with which training runs, set before any test imports NumPy

MARKERS = {"caffe": "caffe", "torch": "torch"}  # marker -> module that shows that it is there
BRINGS = {
    "env/run python3 -m pytest": ["caffe"],
    "make env ENGINE=torch": ["torch", "tensorboardX"],
    "pip install -r env/plain.txt": ["numpy", "google", "lmdb", "cv2", "sklearn", "scipy", "matplotlib", "jinja2"],
    "pip install -r env/deploy.txt -r env/export.txt": ["onnx", "onnxruntime", "PIL", "skimage"],
    "pip install -r env/package.txt": ["build", "hatchling", "starlette", "uvicorn", "httpx", "pillow_heif"],
    "pip install -r env/web.txt": ["playwright"],
}
COMMANDS = {module: command for command, modules in BRINGS.items() for module in modules}


def lacking(module):
    return "needs %s: %s" % (module, COMMANDS[module])


@pytest.fixture
def caffe():
    """Caffe itself; a test that asks for it is marked `caffe` by that."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    return importlib.import_module("caffe")


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    """The folder of a WORK under which every stage can begin: drawn downloads, the sets that data_prep builds from them, nets
    and solvers of netgen for them. Made once; a test that writes into it copies it."""
    import drawn_work

    return drawn_work.make(str(tmp_path_factory.mktemp("drawn") / "work"))


def _has_gpu():
    import torch  # its tests were collected, so it is there

    return torch.cuda.is_available() or "GPU_TESTS_ON" in os.environ


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(config, items):
    absent = {marker: lacking(module) for marker, module in MARKERS.items() if importlib.util.find_spec(module) is None}
    if "network" not in config.getoption("-m"):
        absent["network"] = "asks the network: pytest -m network"
    if any(item.get_closest_marker("gpu") for item in items) and not _has_gpu():
        absent["gpu"] = "needs an NVIDIA card: make test-gpu where there is one"
    for item in items:
        if "caffe" in item.fixturenames:
            item.add_marker("caffe")
        for marker in sorted(set(absent) & {mark.name for mark in item.iter_markers()}):
            item.add_marker(pytest.mark.skip(reason=absent[marker]))


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    """A module of tests whose imports are not all there is skipped as a whole."""
    report = (yield).get_result()
    failure = report.__dict__.get("call") and report.call.excinfo
    missing = getattr(failure and failure.value.__cause__, "name", None) or ""
    if report.failed and missing.split(".")[0] in COMMANDS:
        report.outcome, report.longrepr = "skipped", (str(collector.fspath), 0, "Skipped: " + lacking(missing.split(".")[0]))
