"""Bundles for machines without data, and what comes back from them (training/bundle.py)."""

import json
import os

import numpy as np
import pytest
from evaluation_data import write_part

from common import errors, files
from paper import facts
from training import bundle, inputs

ROW = bundle.row("8")


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """A work folder with the data, nets and solvers of row 8, and its bundle; pieces of three images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bundle, "PIECE", 3 * 4000)
    for dataset in {"ferplus", ROW.source}:
        for part, count in (("train", 10), ("valid", 4), ("test", 3)):
            write_part("work/data/" + dataset, part, count)
        write_part("work/data/" + dataset, "train", 10)
    files_ = {"prototxt/resnet%d_ferplus_train.prototxt": "net", "solvers/resnet%d_ferplus_finetune.prototxt": "solver"}
    for name, content in files_.items():
        os.makedirs(os.path.dirname("work/" + name), exist_ok=True)
        with open("work/" + name % ROW.depth, "w") as f:
            f.write(content)
    bundle.pack([ROW], "work", "bundle")
    return tmp_path


def tree(root):
    return {name: files.sha256(os.path.join(root, name)) for name in bundle._tree(root) if "_lmdb" not in name}


def test_a_bundle_gives_the_same_files_and_records(packed):
    assert len(os.listdir("bundle/data/ferplus/train_lmdb")) == 4
    assert os.path.getsize("bundle/requirements.txt")
    for _ in range(2):  # the second time everything is there
        bundle.unpack("bundle", "there")
    assert tree("there") == tree("work")
    for part in ("train", "valid", "test"):
        ours, theirs = (inputs.read_part("%s/data/ferplus/%s_lmdb" % (where, part)) for where in ("there", "work"))
        assert ours.sha256 == theirs.sha256 and ours.images == theirs.images


@pytest.mark.parametrize(
    "manifest, says",
    [({}, "is no bundle"), ([], "is no bundle"), ({"files": {"../x": ""}, "lmdbs": {}}, "lies outside"), ({"files": {}, "lmdbs": {"/x": ""}}, "lies outside")],
)
def test_a_manifest_of_something_else_writes_nothing(tmp_path, manifest, says):
    (tmp_path / bundle.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(errors.Fail, match=says):
        bundle.unpack(str(tmp_path), str(tmp_path / "there"))
    assert os.listdir(str(tmp_path)) == [bundle.MANIFEST]


def test_a_damaged_bundle_and_other_files_are_refused(packed):
    bundle.unpack("bundle", "there")
    with open("there/solvers/resnet%d_ferplus_finetune.prototxt" % ROW.depth, "w") as f:
        f.write("another")
    with pytest.raises(errors.Fail, match="resnet.*finetune.*differs.*WORK="):
        bundle.unpack("bundle", "there")
    with open("bundle/data/ferplus/train_lmdb/001.npz", "r+b") as f:
        f.truncate(100)
    with pytest.raises(errors.Fail, match="001.npz is missing or damaged"):
        bundle.unpack("bundle", "elsewhere")
    assert not os.path.exists("elsewhere")
    with pytest.raises(errors.Fail, match="is there already"):
        bundle.pack([ROW], "work", "bundle")
    with pytest.raises(errors.Fail, match="make data SRC="):
        bundle.pack([ROW], "nowhere", "other")
    assert not os.path.exists("other")
    with pytest.raises(errors.Fail, match="no bundle"):
        bundle.unpack("work", "elsewhere")


def test_a_set_that_is_not_there_is_named_with_the_rows_that_need_it(packed):
    others = [row for row in facts.TABLE2 if row.depth == ROW.depth and row.source in ("cifar10", "webface", None)]
    (needing,) = [row for row in others if row.source == "webface"]
    with pytest.raises(errors.Fail, match="data/webface has no LMDB, and ROWS=%d need it: .*SRC=webface.*other rows" % needing.row):
        bundle.pack(others, "work", "another")
    assert not os.path.exists("another")


def test_results_come_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = "runs/resnet%d_ferplus_from_%s" % (ROW.depth, ROW.source)
    for trial in "12":
        os.makedirs("%s/trial%s" % (folder, trial))
        for name in ("run.json", "log.csv", "scores_test.npz", "metrics_test.json", "final.caffemodel", "snapshot_iter_8.json"):
            with open("%s/trial%s/%s" % (folder, trial, name), "w") as f:
                json.dump([name, trial], f)
    (archive,) = bundle.results([ROW], "runs", ".")
    bundle.unpack_results(archive, "back")
    gone = ["trial2/final.caffemodel", "trial1/snapshot_iter_8.json", "trial2/snapshot_iter_8.json"]
    expected = {name: sha for name, sha in tree("runs").items() if not name.endswith(tuple(gone))}
    assert tree("back") == expected and len(expected) == 9
    with open("%s/trial1/final.caffemodel" % folder, "wb") as f:
        f.write(np.random.RandomState(0).bytes(bundle.ARCHIVE))
    with pytest.raises(errors.Fail, match="larger than 16 MB"):
        bundle.results([ROW], "runs", ".")
    with pytest.raises(errors.Fail, match="no tested trial.*make row ROW=8"):
        bundle.results([ROW], "nowhere", ".")
    with open("torn.zip", "wb") as f:
        f.write(b"PK")
    with pytest.raises(errors.Fail, match="copy it again"):
        bundle.unpack_results("torn.zip", "back")


def test_rows_that_are_none():
    with pytest.raises(errors.Fail, match="13 is no row"):
        bundle.row("13")
