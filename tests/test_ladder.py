"""The ladder of the recipe: its rungs hold together, results come from runs and outlive them, what is missing becomes rules."""

import csv
import json
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest

from common import built, errors, votes
from common import scores as scores_file
from common.caffe import messages as m
from common.caffe import text
from evaluation.report import ladder
from netgen import __main__ as netgen
from netgen import describe, fold, weights
from paper import facts, recipe

RUNGS = tuple(recipe.RUNGS)


def test_a_rung_is_the_base_with_a_change_of_its_own():
    base, *others = recipe.RUNGS.values()
    plain = [each._replace(name="") for each in others]
    assert [name for name, each in zip(RUNGS[1:], plain) if each == base._replace(name="")] == [*recipe.TAUGHT, *recipe.TRANSFERRED]
    assert len(set(plain)) == len(plain) - len([*recipe.TAUGHT, *recipe.TRANSFERRED]) + 1 and all(each.epochs == recipe.LADDER_EPOCHS for each in others)
    identities = [json.dumps(recipe.described(each), sort_keys=True) for each in map(recipe.RECIPES.get, ("best", "small"))]
    assert not any(word in said for said in identities for word in ("hard", "mixup", "blur", "jpeg")), "runs of before stay what they were"


def test_networks_of_the_ladder_are_of_one_size(tmp_path):
    netgen.write_rungs(str(tmp_path))
    nets = {rung: text.read("%s/prototxt/%s_deploy.prototxt" % (tmp_path, rung), m.NetParameter) for rung in RUNGS}
    sizes = {rung: describe.trainable_parameters(net) for rung, net in nets.items()}
    source, rung = (text.read("%s/prototxt/%s_deploy.prototxt" % (tmp_path, name), m.NetParameter) for name in ("resnet14_cifar10", "small-cifar10"))
    assert [layer for layer in source.layer if layer.type == "Convolution"] == [layer for layer in rung.layer if layer.type == "Convolution"]
    # Branches are more while they are trained, and the base's network afterwards; a binomial one has smaller projections.
    base, branches = (fold.fold(net, weights.random(net))[0] for net in (nets["small-base"], nets["small-branches"]))
    assert describe.trainable_parameters(branches) == describe.trainable_parameters(base) and sizes.pop("small-branches") > 86853
    assert 0.95 < sizes.pop("small-binomial") / 86853 < 1
    assert sizes["small-base"] == 86853 and all(abs(size / 86853 - 1) < 0.03 for size in sizes.values()), sizes


def test_more_seeds_are_planned_after_one_of_each():
    runs = ladder.planned()
    assert runs[: len(RUNGS)] == [(rung, 1) for rung in RUNGS] and set(runs[len(RUNGS) :]) == {
        (rung, seed) for rung in ("small-base", "small-cifar10") for seed in (2, 3)
    }


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a tested run of two rungs and an unfinished one, and the votes that they are judged by."""
    monkeypatch.chdir(tmp_path)
    for name in ("ferplus_votes", "cifar10"):
        os.makedirs("data/" + name)
        with open("data/%s/manifest.json" % name, "w") as f:
            json.dump(dict.fromkeys(built.NEEDED), f)
    labels = np.arange(20) % 8
    with open("data/ferplus_votes/valid.csv", "w", newline="") as f:
        table = csv.writer(f)
        table.writerow(["key", "name", "label"] + list(votes.VOTES) + ["majority"])
        table.writerows([["%08d" % i, "%d.png" % i, label] + (10 * np.eye(10, dtype=int)[label]).tolist() + [label] for i, label in enumerate(labels)])
    with open("data/ferplus_votes/duplicates.csv", "w") as f:
        f.write("part,key,name,of\n")
    for rung, wrong, state in (("small-base", 4, "finished"), ("small-taught", 2, "finished"), ("small-hard", 0, "interrupted")):
        made = ladder.folder("ladder", rung, 1)
        os.makedirs(made)
        right = np.eye(8, dtype=np.float32)[labels]
        one = np.roll(right, 1, axis=1)
        one[wrong:] = right[wrong:]
        scores_file.write(
            made + "/scores_valid.npz",
            scores_file.Scores(
                np.array(["%08d" % i for i in range(20)]), np.array(["%d.png" % i for i in range(20)]), labels, right, one, np.array(facts.EXPRESSIONS), "valid"
            ),
        )
        with open(made + "/run.json", "w") as f:
            json.dump({"version": 2, "state": state, "seconds": 90.0, "inputs": {"engine": "torch"}, "sessions": [{"git_commit": "c0ffee"}]}, f)
    return "ladder"


def command(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["ladder", *words])
    with pytest.raises(SystemExit) as end:
        ladder.main()
    return end.value.code


def test_what_is_finished_is_kept_and_shown(work, monkeypatch, capsys):
    assert not command(monkeypatch, "--csv", "l.csv", "--work", work)
    said = capsys.readouterr().out
    assert "80.00" in said and "+10.00" in said and "missing: small-hard seed 1" in said and "n = 20" in said
    os.rename(work, "gone")
    assert not command(monkeypatch, "--csv", "l.csv") and capsys.readouterr().out == said


def test_a_picture_of_the_ladder(work, monkeypatch, capsys, tmp_path):
    assert not command(monkeypatch, "--csv", "l.csv", "--work", work, "--figure", "l.png")
    assert capsys.readouterr().out.endswith("wrote l.png\n")
    first = open("l.png", "rb").read()
    assert first[:4] == b"\x89PNG" and set(recipe.SAID) == {rung[len("small-") :] for rung in RUNGS[1:]}
    assert not command(monkeypatch, "--csv", "l.csv", "--figure", "l.png") and open("l.png", "rb").read() == first
    os.remove("l.png")
    capsys.readouterr()
    lines = open("l.csv").read()
    open("l.csv", "w").write(lines.replace("small-base", "small-hard"))
    assert (
        command(monkeypatch, "--csv", "l.csv", "--figure", "l.png") == 1 and "make study OF=ladder" in capsys.readouterr().err and not os.path.exists("l.png")
    )


def test_what_is_missing_becomes_rules_whose_teacher_comes_first(work, monkeypatch):
    args = SimpleNamespace(work=work, data="data", teacher="models/resnet20_votes", engine="torch", python="python3", rules="rules.mk")
    ladder.write_rules(args, [("small-taught", 1), ("small-side32", 1)])
    rules = open("rules.mk").read()
    assert "runs/small-taught/seed1/final.caffemodel: ladder/nets ladder/teacher/scores_train.npz\n" in rules and rules.count("--teacher") == 1
    assert "--resize 32" in rules and "--recipe small-side32 --trial 1" in rules
    os.remove("data/ferplus_votes/manifest.json")  # a ladder that is whole is printed without its data
    ladder.write_rules(args, [])
    assert open("rules.mk").read() == ""


def test_a_network_to_transfer_is_trained_first(work):
    args = SimpleNamespace(work=work, data="data", teacher="models/resnet20_votes", engine="torch", python="python3", rules="rules.mk")
    ladder.write_rules(args, [("small-cifar10", 1), ("small-cifar10", 2)])
    rules = open("rules.mk").read()
    assert rules.count("--solver ladder/solvers/resnet14_cifar10.prototxt") == 1 and rules.count("training.transplant") == 1
    assert "runs/small-cifar10/seed2/final.caffemodel: ladder/runs/small-cifar10/init.caffemodel\n" in rules
    assert len(re.findall("--weights ladder/runs/small-cifar10/init.caffemodel$", rules, re.M)) == 2
    with pytest.raises(errors.Fail, match="make data SRC=cifar100"):
        ladder.write_rules(args, [("small-cifar100", 1)])


@pytest.mark.parametrize("damage", [lambda s: "x" + s, lambda s: s.replace("small-base", "small-other"), lambda s: s.replace("80.00", "801.0")])
def test_a_table_of_something_else_is_one_line(work, monkeypatch, capsys, damage):
    command(monkeypatch, "--csv", "l.csv", "--work", work)
    with open("l.csv") as f:
        whole = f.read()
    with open("l.csv", "w") as f:
        f.write(damage(whole))
    with pytest.raises(errors.Fail, match="l.csv"):
        ladder.read("l.csv")
    assert command(monkeypatch, "--csv", "l.csv", "--rules", "r.mk") == 1
