"""Each stage takes what the stage before it wrote: data_prep's sets and netgen's nets, not data that a test made for it."""

import csv
import json
import os
import shutil

import drawn_work
import numpy as np
import pytest

from common import scores
from common.caffe import binary, lmdbs, text
from common.caffe import messages as m
from evaluation import data
from evaluation.report import judging
from netgen import nets
from paper import facts
from training import inputs

FERPLUS = "data/ferplus"


@pytest.fixture(autouse=True)
def there(work, monkeypatch):
    monkeypatch.chdir(work)


def manifest(folder=FERPLUS):
    with open(os.path.join(folder, "manifest.json")) as f:
        return json.load(f)["parts"]


def table(part, folder=FERPLUS):
    with open(os.path.join(folder, part + ".csv"), newline="") as f:
        return list(csv.DictReader(f))


@pytest.mark.parametrize("solver", ["resnet20_cifar10", "resnet20_ferplus_finetune", "resnet20_ferplus_scratch"])
def test_training_takes_the_data_that_the_nets_name(solver):
    solver = text.read("solvers/%s.prototxt" % solver, m.SolverParameter)
    net = text.read(solver.net, m.NetParameter)
    parts = inputs.check_data(net)
    built = manifest("data/" + ("ferplus" if "ferplus" in solver.net else "cifar10"))
    watched = "valid" if "ferplus" in solver.net else "test"
    assert [part.images for part in parts.values()] == [built[name]["count"] for name in ("train", watched)]
    assert solver.max_iter == drawn_work.ITERATIONS
    assert solver.test_iter[0] * nets.data_layer(net, m.TEST).data_param.batch_size == built[watched]["count"]


def test_balanced_training_images_are_those_that_the_tables_name():
    lines = table("train")
    stored = [binary.read_datum(value)[1] for value in values(FERPLUS + "/train_lmdb")]
    assert [int(line["label"]) for line in lines] == stored
    assert np.bincount(stored).tolist() == [drawn_work.PER_CLASS] * len(facts.EXPRESSIONS)


def values(folder):
    with lmdbs.opened(folder) as env, env.begin() as transaction:
        return [value for _, value in transaction.cursor()]


def test_an_order_holds_the_same_images_once(tmp_path):
    from training import order

    made = order.reorder(shutil.copytree(FERPLUS + "/train_lmdb", str(tmp_path / "train_lmdb")), 2)
    assert values(made) != values(FERPLUS + "/train_lmdb")
    assert sorted(values(made)) == sorted(values(FERPLUS + "/train_lmdb"))


@pytest.mark.parametrize("split", ["valid", "test"])
def test_testing_reads_each_image_once_with_its_name_and_the_mean_that_training_subtracts(split):
    net = text.read("prototxt/resnet20_ferplus_deploy.prototxt", m.NetParameter)
    part = data.open_part(FERPLUS, split, tuple(net.layer[0].input_param.shape[0].dim)[1:])
    keys = [key for batch in data.batches(part, 7) for key in batch.keys]
    assert keys == [line["key"] for line in table(split)] and len(keys) == manifest()[split]["count"] == part.count
    assert [part.names[key] for key in keys] == [line["name"] for line in table(split)]
    train = text.read("prototxt/resnet20_ferplus_train.prototxt", m.NetParameter)
    means = [layer.transform_param.mean_file for layer in train.layer if layer.type == "Data"]
    assert all(np.array_equal(binary.read_mean(mean), part.mean) for mean in means) and len(means) == 2


def test_judging_finds_the_votes_and_the_duplicates():
    lines = table("test")
    labels = np.array([int(line["label"]) for line in lines])
    said = np.eye(len(facts.EXPRESSIONS), dtype=np.float32)[labels]
    stored = scores.Scores(
        np.array([line["key"] for line in lines]), np.array([line["name"] for line in lines]), labels, said, said, np.array(facts.EXPRESSIONS), "test"
    )
    annotations = judging.annotations(FERPLUS, "test")
    found = {name: n for name, n, _ in judging.strata(stored, np.ones(len(lines)), annotations)}
    assert found.pop("without duplicates") <= len(lines)
    assert sum(found.values()) == len(lines)  # each image's label has a number of the ten votes


def test_a_result_of_the_same_contents_is_left_as_it_is(tmp_path, monkeypatch, capsys):
    """`touch solvers/...` makes make look at a finished network, and then at its result, anew: nothing is tested twice."""
    from evaluation import test

    weights, deploy, made = tmp_path / "final.caffemodel", tmp_path / "deploy.prototxt", tmp_path / "metrics_valid.json"
    weights.write_bytes(b"weights")
    deploy.write_bytes(b"net")
    (tmp_path / "scores_valid.npz").write_bytes(b"")
    arguments = str(deploy), str(weights), FERPLUS, "valid"
    made.write_text(json.dumps({"made_from": {"inputs": test.inputs(*arguments, "caffe", True)}}))
    words = ["test", "--deploy", arguments[0], "--weights", arguments[1], "--data", FERPLUS, "--split", "valid", "--if-changed"]
    os.utime(str(made), (1, 1))
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as end:
        test.main()
    assert not end.value.code and made.stat().st_mtime > 1 and "nothing" in capsys.readouterr().err
    monkeypatch.setattr(test, "run", lambda *_: pytest.skip("tested"))
    for change in (
        lambda: weights.write_bytes(b"others"),
        lambda: weights.write_bytes(b"weights") and deploy.write_bytes(b"another net"),
        lambda: deploy.write_bytes(b"net") and (tmp_path / "scores_valid.npz").unlink(),
    ):
        change()
        with pytest.raises(pytest.skip.Exception, match="tested"):
            test.main()
    assert test.inputs(arguments[0], arguments[1], str(tmp_path), "valid", "caffe", True) is None
    assert test.inputs(*arguments[:3], "test", "caffe", True) != test.inputs(*arguments, "caffe", True)
