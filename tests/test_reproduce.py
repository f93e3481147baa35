"""`make reproduce`: short runs trained again from their record, in PyTorch; and the record as an in-toto statement."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import training_data as data

from common import files, runs
from common.caffe import binary, text
from common.caffe import messages as m
from deploy import reproduce as again
from evaluation.report import statement
from netgen import resnet

try:
    import torch
except ImportError:
    torch = None


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a pretraining, a fine-tuning from it, and models/tiny, which records both."""
    folder = tmp_path_factory.mktemp("reproduced")
    before = os.getcwd()
    os.chdir(str(folder))
    try:
        data.write_all("source", max_iter=4)
        data.write_all("tiny", max_iter=4)
        for name, more in (("source", []), ("tiny", ["--weights", "runs/source/final.caffemodel"])):
            python("training.run", "--solver", name + ".prototxt", "--out", "runs/" + name, "--engine", "torch", "--trial", "1", *more)
        training = [record("runs/" + name) for name in ("tiny", "source")]
        os.makedirs("models/tiny")
        write(
            "models/tiny/model.json", {"name": "tiny", "classes": ["a"], "training": training, "source": {"sha256": files.sha256("runs/tiny/final.caffemodel")}}
        )
        yield folder
    finally:
        os.chdir(before)


def record(out):
    """A run as model.json has it (deploy.making.account)."""
    run = runs.read(out)
    session = run["sessions"][-1]
    return {
        "command": " ".join(["python3 -m training.run"] + session["command"][1:]),
        "solver": run["inputs"]["solver"],
        "engine": run["inputs"]["engine"],
        "machine": session["machine"],
        "versions": session["versions"],
        "git_commit": [session["git_commit"]],
        "train": dict(run["inputs"]["train"], lmdb=session["lmdbs"]["train"]),
    }


def recorded(name, **versions):
    """runs/NAME: the record of runs/source, of another digest and with other versions."""
    about = dict(runs.read("runs/source"), final_sha256="0" * 64)
    about["sessions"][-1]["versions"].update(versions)
    os.makedirs("runs/" + name, exist_ok=True)
    write("runs/%s/run.json" % name, about)


def write(path, content):
    with open(path, "w") as f:
        json.dump(content, f)


def python(module, *arguments, status=0):
    ran = subprocess.run(
        [sys.executable, "-m", module, *arguments], env=data.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    )
    assert ran.returncode == status, ran.stdout
    return ran.stdout


def reproduce(model, out, status=0):
    return python("deploy.reproduce", model, "--out", out, "--torch", sys.executable, status=status)


@pytest.mark.torch
def test_a_network_is_trained_again_through_all_its_steps_to_the_same_bytes(model, monkeypatch):
    monkeypatch.chdir(model)
    assert "the same bytes as recorded" in reproduce("models/tiny", "again")
    assert files.sha256("again/step2/final.caffemodel") == files.sha256("runs/tiny/final.caffemodel")
    assert "the same bytes as recorded" in reproduce("runs/source", "alone")


@pytest.mark.torch
def test_other_bytes_and_other_versions_are_said(model, monkeypatch):
    monkeypatch.chdir(model)
    recorded("other", torch="1.0")
    said = reproduce("runs/other", "other", status=1)
    assert "other bytes" in said and "torch 1.0, here " in said


@pytest.mark.torch
def test_a_file_of_other_words_has_the_same_weights(model, monkeypatch):
    monkeypatch.chdir(model)
    shutil.copytree("runs/source", "runs/words")
    kept = binary.read("runs/source/final.caffemodel", m.NetParameter)
    kept.name = "trained in another folder"
    binary.write("runs/words/final.caffemodel", kept)
    write("runs/words/run.json", dict(runs.read("runs/source"), final_sha256=files.sha256("runs/words/final.caffemodel")))
    assert "the same weights as in runs/words, to the last bit" in reproduce("runs/words", "fifth")
    kept.layer[1].blobs[0].data[0] += 1
    binary.write("runs/words/final.caffemodel", kept)
    assert "other bytes" in reproduce("runs/words", "fifth", status=1)


@pytest.mark.torch
def test_what_cannot_be_reproduced_is_one_line(model, monkeypatch):
    monkeypatch.chdir(model)
    about = runs.read("runs/source")
    os.makedirs("runs/changed", exist_ok=True)
    write("runs/changed/run.json", dict(about, inputs=dict(about["inputs"], train=dict(about["inputs"]["train"], sha256="0" * 64))))
    for folder, words in (("runs/changed", "is not what the record was trained on"), ("runs", "has no record of a finished training")):
        (line,) = reproduce(folder, "none", status=1).splitlines()
        assert line.startswith("error: ") and words in line
    assert not os.path.exists("none")


@pytest.mark.torch
def test_the_statement_names_what_the_weights_were_made_from(model, monkeypatch):
    monkeypatch.chdir(model)
    said = json.loads(python("evaluation.report.statement", "runs/tiny"))
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["subject"] == [{"name": "final.caffemodel", "digest": {"sha256": files.sha256("runs/tiny/final.caffemodel")}}]
    found = {each["name"]: each["digest"] for each in said["predicate"]["buildDefinition"]["resolvedDependencies"]}
    assert found["tiny.prototxt"] == {"sha256": files.sha256("tiny.prototxt")}
    assert found["data/tiny/train_lmdb"] == {"lmdbContent": runs.read("runs/tiny")["inputs"]["train"]["sha256"]}
    assert found["runs/source/final.caffemodel"] == {"sha256": files.sha256("runs/source/final.caffemodel")}


def test_a_run_that_is_not_finished_has_no_statement(tmp_path):
    write(str(tmp_path / "run.json"), {"state": "running"})
    with pytest.raises(statement.errors.Fail, match="is not finished"):
        statement.of(str(tmp_path))


@pytest.mark.torch
def test_other_bytes_are_tested_on_what_was_trained_on_and_a_teachers_other_answers_are_said(model, monkeypatch):
    monkeypatch.chdir(model)
    source = record("runs/source")
    source["recipe"] = {"teachers": ["5" * 64]}
    about = {"name": "other", "classes": ["a"], "training": [source], "source": {"sha256": "0" * 64}}
    about["metrics"] = {"split": "test", "n": 7, "accuracy": 0.5, "one_crop_accuracy": 0.25}
    os.makedirs("models/other", exist_ok=True)
    write("models/other/model.json", about)
    text.write("other_deploy.prototxt", resnet.deploy_net(8, "source", 4))
    said = python("deploy.reproduce", "models/other", "--out", "third", "--torch", sys.executable, "--test", "other_deploy.prototxt", status=1)
    assert "a teacher's answers 555555555555, here " in said
    assert "one crop of data/source test: recorded 25.00% of 7, here " in said and "ten crops of data/source test: recorded 50.00% of 7, here " in said


def test_options_of_a_session_are_left_out_in_both_forms():
    words = ["--solver=a", "--out=b", "--stop-after", "1h", "--weights=c", "--trial", "1"]
    assert again._without(words, (*again.OF_A_SESSION, "--weights")) == ["--solver=a", "--trial", "1"]


@pytest.mark.torch
@pytest.mark.skipif(torch is None or "AVX" not in torch.backends.cpu.get_cpu_capability(), reason="a processor without AVX2")
def test_a_newer_processor_computes_as_the_recorded_one(model, monkeypatch):
    monkeypatch.chdir(model)
    recorded("older", device="cpu AVX2")
    assert "ATEN_CPU_CAPABILITY=avx2 " in reproduce("runs/older", "fourth", status=1)
    assert runs.read("fourth/step1")["sessions"][-1]["versions"]["device"] == "cpu AVX2"
