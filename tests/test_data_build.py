"""data_prep's labels, balancing, duplicates, and what looks at a built set: check, preview, Caffe itself."""

import json
import os
import shutil
import subprocess

import cv2
import data_forms as forms
import lmdb
import numpy as np
import pytest

from common import built, errors
from common.caffe import binary, lmdbs
from data_prep import __main__ as data_prep
from data_prep import balance, check, images, labels, preview
from data_prep.sets import fer, ferplus
from demo.draw import Face
from paper import facts, ours


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("downloads")
    forms.fer(folder)
    forms.write_tar(folder / "cifar-10-python.tar.gz", forms.cifar10_members(forms.pictures(600), np.arange(600) % 10, names=forms.CINIC_CLASSES))
    return folder


@pytest.fixture(scope="module")
def faces(downloads, tmp_path_factory):
    return forms.build("ferplus", tmp_path_factory.mktemp("data"), "--from", downloads, "--per-class", 9)


def command(*words):
    args = data_prep.parser().parse_args([str(word) for word in words])
    return args.run(args)


# ---- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "votes, paper, reference",
    [
        # neutral happiness surprise sadness anger disgust fear contempt unknown NF
        ((4, 0, 0, 1, 3, 2, 0, 0, 0, 0), labels.NONE, labels.NONE),  # 4 of 9: no majority
        ((5, 0, 0, 1, 2, 2, 0, 0, 0, 0), 0, 0),  # 5 of 9: the single vote is gone
        ((4, 0, 0, 0, 2, 2, 0, 0, 0, 0), labels.NONE, labels.NONE),  # exactly half is no majority
        ((0, 4, 3, 0, 0, 0, 0, 0, 3, 0), 1, labels.NONE),  # 4 of 7 emotions, 4 of 10 votes
        ((0, 0, 0, 2, 0, 0, 0, 0, 8, 0), 3, labels.NONE),  # two votes on emotions, and most on unknown
        ((0, 0, 0, 0, 0, 0, 0, 0, 10, 0), labels.NONE, labels.NONE),
        ((0, 0, 0, 0, 0, 0, 0, 0, 0, 10), labels.NONE, labels.NONE),
        ((1, 1, 1, 1, 1, 1, 1, 1, 1, 1), labels.NONE, labels.NONE),  # single votes only: nothing remains
        ((0, 0, 0, 0, 0, 0, 0, 10, 0, 0), 7, 7),
    ],
)
def test_the_label_rules(votes, paper, reference):
    votes = np.array([votes])
    assert labels.by_votes("paper", votes) == [paper]
    assert labels.by_votes("ferplus", votes) == [reference]


def test_official_votes_must_give_the_papers_numbers():
    members = {part: range(count) for part, count in ours.FERPLUS_IMAGES.items()}
    ferplus._check_counts("paper", members)
    with pytest.raises(errors.Fail, match="26028"):
        ferplus._check_counts("paper", dict(members, train=range(26028)))
    with pytest.raises(errors.Fail, match="25045"):
        ferplus._check_counts("ferplus", members)


@pytest.mark.parametrize("separator", [",", " "])
def test_a_list_of_names_and_labels(separator, downloads, tmp_path):
    chosen = {
        line["name"]: 7 - int(line["label"])
        for part in ours.FERPLUS_IMAGES
        for line in built.table(forms.build("ferplus", tmp_path, "--from", downloads, "--per-class", 0), part)[:20]
    }
    text = "".join("%s %s\n" % (name, label if i % 2 else facts.EXPRESSIONS[label]) for i, (name, label) in enumerate(chosen.items()))
    text = text.replace(" ", ",") if separator == "," else "".join("some/folder/%s\n" % line for line in text.splitlines())
    (tmp_path / "list.txt").write_text("\ufeff" + text, encoding="utf-8")  # some editors mark UTF-8
    folder = forms.build("ferplus", tmp_path / "l", "--from", downloads, "--per-class", 0, "--labels", tmp_path / "list.txt")
    found = {line["name"]: int(line["label"]) for part in ours.FERPLUS_IMAGES for line in built.table(folder, part)}
    assert found == chosen


def test_a_part_of_which_a_list_names_nothing_is_left_out(downloads, tmp_path, capsys):
    lines = [line for part in ("train", "valid") for line in built.table(forms.build("ferplus", tmp_path, "--from", downloads, "--per-class", 0), part)]
    (tmp_path / "list.txt").write_text("".join("%s %s\n" % (line["name"], line["label"]) for line in lines))
    folder = forms.build("ferplus", tmp_path / "l", "--from", downloads, "--per-class", 9, "--labels", tmp_path / "list.txt")
    assert list(built.manifest(folder)["parts"]) == ["train", "valid"] and built.manifest(folder)["files"][-1]["name"] == "list.txt"
    assert not os.path.exists(os.path.join(folder, "test_lmdb")) and "test  left out" in capsys.readouterr().out
    command("check", "ferplus", "--out", tmp_path / "l")
    command("preview", "ferplus", "--out", tmp_path / "l")


def test_a_set_that_is_there_must_be_of_the_options_that_are_asked_for(downloads, tmp_path, capsys):
    folder = forms.build("ferplus", tmp_path, "--from", downloads, "--per-class", 9)
    before = os.stat(os.path.join(folder, "manifest.json")).st_mtime_ns
    forms.build("ferplus", tmp_path, "--per-class", 9, "--if-missing")
    assert "is there, built from fer2013.csv" in capsys.readouterr().out
    for change, words in ((("--per-class", 8), "per-class 9, not 8"), (("--per-class", 9, "--labels", "ferplus"), "labels paper, not ferplus")):
        with pytest.raises(errors.Fail, match=words):
            forms.build("ferplus", tmp_path, *change, "--if-missing")
    assert os.stat(os.path.join(folder, "manifest.json")).st_mtime_ns == before


def test_a_list_that_was_changed_since_is_not_taken_for_the_old_one(downloads, tmp_path, capsys):
    names = [line["name"] for line in built.table(forms.build("ferplus", tmp_path, "--from", downloads, "--per-class", 0), "train")[:9]]
    listed = tmp_path / "list.txt"
    listed.write_text("".join("%s 0\n" % name for name in names))
    words = ("ferplus", tmp_path / "l", "--from", downloads, "--per-class", 0, "--labels", listed)
    forms.build(*words)
    forms.build(*words, "--if-missing")
    assert "is there, built from" in capsys.readouterr().out
    listed.write_text("".join("%s 1\n" % name for name in names))
    with pytest.raises(errors.Fail, match="list.txt has changed since .*ferplus was built from it: remove"):
        forms.build(*words, "--if-missing")


def test_votes_of_a_list(downloads, tmp_path, capsys):
    names = [line["name"] for line in built.table(forms.build("ferplus", tmp_path, "--from", downloads, "--per-class", 0), "train")[:9]]
    listed = tmp_path / "list.txt"
    listed.write_text("".join("%s 0\n" % name for name in names))
    words = ("ferplus_votes", tmp_path / "v", "--from", downloads)
    forms.build(*words, "--labels", listed)
    assert "test  left out: %s names none" % listed in capsys.readouterr().out
    with pytest.raises(errors.Fail, match="labels .*list.txt, not any"):
        forms.build(*words, "--if-missing")


@pytest.mark.parametrize(
    "dataset, words, said",
    [
        ("cifar10", ("--pad-level", 256), "pad-level"),
        ("cifar10", ("--pad-level", -1), "pad-level"),
        ("cifar100", ("--jpeg", 101), "jpeg"),
        ("cinic10", ("--mean-of", "images"), "cifar10 and cifar100"),
        ("ferplus", ("--jpeg", 75), "leave it out for ferplus"),
        ("webface", ("--pad-level", 128), "leave it out for webface"),
    ],
)
def test_options_of_padded_sets_are_checked(dataset, words, said, tmp_path):
    with pytest.raises(errors.Fail, match=said) as refusal:
        forms.build(dataset, tmp_path, *words)
    assert "\n" not in str(refusal.value) and not os.listdir(tmp_path)


def test_padding_mean_and_jpeg_of_cifar(downloads, tmp_path):
    def built_with(name, *words):
        folder = forms.build("cifar10", tmp_path / name, "--from", downloads / "cifar-10-python.tar.gz", *words)
        command("check", "cifar10", "--out", tmp_path / name)
        keys = [row["key"] for row in built.table(folder, "train")]
        return lmdbs.read_images(os.path.join(folder, "train_lmdb"), keys), built.manifest(folder)["mean"]

    plain, stored = built_with("plain")
    inside, border = np.s_[:, :, 4:-4, 4:-4], np.ones((40, 40), bool)
    border[4:-4, 4:-4] = False
    assert not plain[:, :, border].any() and np.allclose(stored, plain.mean((0, 2, 3)), atol=1e-5)
    grey, _ = built_with("grey", "--pad-level", 128)
    assert np.array_equal(grey[inside], plain[inside]) and (grey[:, :, border] == 128).all()
    for words in ((), ("--pad-level", 128)):
        assert np.allclose(built_with("own%d" % len(words), "--mean-of", "images", *words)[1], plain[inside].mean((0, 2, 3)), atol=1e-3)
    jpeg, _ = built_with("jpeg", "--jpeg", 75)
    lost = np.abs(jpeg[inside].astype(int) - plain[inside])
    assert 0 < lost.mean() and not jpeg[:, :, border].any() and not np.array_equal(jpeg, plain)


@pytest.mark.parametrize(
    "text, words", [("fer9999999.png 1\n", "fer9999999.png"), ("fer0000001.png 8\n", "line 1"), ("fer0000001.png\n", "line 1"), (None, "paper or ferplus")]
)
def test_a_wrong_list_is_one_line(text, words, downloads, tmp_path):
    if text:
        (tmp_path / "list.txt").write_text(text)
    with pytest.raises(errors.Fail, match=words):
        forms.build("ferplus", tmp_path / "l", "--from", downloads, "--labels", tmp_path / "list.txt")


# ---- balancing ------------------------------------------------------------------------------------------------------


def test_every_class_of_the_training_part_has_as_many_and_the_others_are_left(faces):
    manifest = built.manifest(faces)
    assert manifest["parts"]["train"]["class_counts"] == [9] * 8
    for part in ("valid", "test"):
        assert manifest["parts"][part]["class_counts"] == [4] * 8
        assert not any(line["source"] for line in built.table(faces, part))
    made = [line for line in built.table(faces, "train") if line["source"]]
    assert len(made) == 40
    originals = {line["name"]: line["label"] for line in built.table(faces, "train") if not line["source"]}
    assert len(originals) == 32 and all(originals[line["source"]] == line["label"] for line in made)


def test_the_same_bytes_whatever_the_number_of_workers(faces, downloads, tmp_path):
    for workers in (2, 3):
        other = forms.build("ferplus", tmp_path / str(workers), "--from", downloads, "--per-class", 9, workers=workers)
        for part in ours.FERPLUS_IMAGES:
            assert forms.lmdb_bytes(other, part) == forms.lmdb_bytes(faces, part)
            assert built.table(other, part) == built.table(faces, part)
        assert built.manifest(other) == built.manifest(faces)


def test_a_balanced_image_is_its_source_transformed_before_the_resize(faces, downloads):
    votes = [str(downloads / "FERPlus" / folder / "label.csv") for folder in labels.PARTS.values()]
    table = fer.read(str(downloads / "fer2013.csv"), votes, str(downloads / "FERPlus" / "fer2013new.csv"), 1)
    count = table.parts.count("train")
    plan = balance.plan(labels.by_votes("paper", table.votes[:count]), 9, ours.BALANCE_SEED)
    places = {line["name"]: i for i, line in enumerate(built.table(faces, "train"))}
    _, stored, _ = forms.stored(faces, "train")
    assert len(plan) == 40
    for i, extra in enumerate(plan):
        expected = images.fit(balance.transform(table.faces[extra.source], extra), "resize")
        np.testing.assert_array_equal(stored[places["%s#%d" % (table.names[extra.source], i)]], expected)


def test_the_transformations_do_what_they_say():
    face = np.zeros((48, 48), np.uint8)
    face[10, 30] = 200

    def peak(**change):
        extra = balance.Extra(0, 0.0, 0.0, 0.0, 0.0, 5)._replace(**change)
        return np.unravel_index(balance.transform(face, extra).argmax(), face.shape)

    assert peak() == (10, 30) and peak(dx=3.0) == (10, 33) and peak(dy=-2.0) == (8, 30)
    assert peak(angle=90.0) == (47 - 30, 10)  # counter-clockwise about the centre
    noisy = balance.transform(np.full((48, 48), 128, np.uint8), balance.Extra(0, 0.0, 0.0, 0.0, 8.0, 5)).astype(int)
    assert 7.5 < noisy.std() < 8.5 and abs(noisy.mean() - 128) < 1


def test_the_plan_stays_in_its_ranges_and_takes_originals_in_turn():
    truth = np.repeat(np.arange(8), [50, 40, 30, 20, 10, 5, 3, 2])
    plan = balance.plan(truth, 100, 3)
    assert balance.plan(truth, 100, 3) == plan != balance.plan(truth, 100, 4)
    assert len(plan) == 800 - len(truth)
    uses = np.bincount([extra.source for extra in plan], minlength=len(truth))
    for label in range(8):
        mine = uses[truth == label]
        assert mine.sum() == 100 - len(mine) and mine.max() - mine.min() <= 1
    assert max(abs(extra.angle) for extra in plan) <= ours.AUGMENT_ROTATION
    assert max(max(abs(extra.dx), abs(extra.dy)) for extra in plan) <= ours.AUGMENT_SHIFT
    assert 0 <= min(extra.noise for extra in plan) and max(extra.noise for extra in plan) <= ours.AUGMENT_NOISE
    with pytest.raises(errors.Fail, match="cannot be balanced"):
        balance.plan(truth, 49, 3)


# ---- duplicates and blanks ------------------------------------------------------------------------------------------


def test_duplicates_of_training_images_are_written_and_blank_ones_counted(tmp_path, capsys):
    drawn = forms.fer(tmp_path, per_class=2)
    votes = [10] + [0] * 9
    known = [face for face in drawn if face[0] == "Training"][3]
    double = [
        Face("PrivateTest", "fer0900000.png", "neutral", votes, known[3]),
        Face("PublicTest", "fer0900001.png", "neutral", votes, known[3]),
        Face("PrivateTest", "fer0900002.png", "neutral", votes, np.zeros((48, 48), np.uint8)),
        Face("Training", "fer0900003.png", "neutral", votes, np.zeros((48, 48), np.uint8)),
    ]
    forms.fer(tmp_path, per_class=2, extra_rows=double)
    folder = forms.build("ferplus", tmp_path / "data", "--from", tmp_path, "--per-class", 5)
    with open(os.path.join(folder, "duplicates.csv")) as f:
        lines = [line.split(",") for line in f.read().splitlines()]
    keys = {part: {line["name"]: line["key"] for line in built.table(folder, part)} for part in ("valid", "test")}
    assert lines == [
        ["part", "key", "name", "of"],
        ["valid", keys["valid"]["fer0900001.png"], "fer0900001.png", known[1]],
        ["test", keys["test"]["fer0900000.png"], "fer0900000.png", known[1]],
    ]
    manifest = built.manifest(folder)
    assert manifest["duplicates"] == {"valid": 1, "test": 1}
    assert [manifest["parts"][part]["blank"] for part in ("valid", "test")] == [0, 1]
    said = capsys.readouterr().out
    assert "1 in valid, 1 in test" in said and "warning: 1 of them are blank" in said


# ---- check, preview, Caffe ------------------------------------------------------------------------------------------


def test_a_sound_set_passes(faces, capsys):
    command("check", "ferplus", "--out", os.path.dirname(faces))
    assert capsys.readouterr().out.count("as in the manifest") == 3


def test_caffes_data_layer_gives_testings_centre_crops(caffe, faces, downloads, tmp_path, capsys, monkeypatch):
    from engines.caffe import data

    forms.build("cifar10", tmp_path, "--from", downloads)
    monkeypatch.setattr("sys.argv", ["data", faces, str(tmp_path / "cifar10")])
    with pytest.raises(SystemExit) as end:
        data.main()
    assert not end.value.code
    assert capsys.readouterr().out.count("centre crops") == 5


@pytest.mark.caffe
def test_the_mean_is_compute_image_means_averaged_over_the_plane(faces, tmp_path):
    out = str(tmp_path / "mean.binaryproto")
    subprocess.run(["compute_image_mean", os.path.join(faces, "train_lmdb"), out], check=True, stderr=subprocess.DEVNULL)
    theirs, ours_ = binary.read_mean(out), binary.read_mean(os.path.join(faces, "mean.binaryproto"))
    np.testing.assert_allclose(ours_, np.broadcast_to(theirs.mean((1, 2), keepdims=True), ours_.shape), rtol=1e-5)


def edit_record(folder, part, change, place=3):
    with lmdb.open(os.path.join(folder, part + "_lmdb"), map_size=1 << 28) as env, env.begin(write=True) as transaction:
        key = b"%08d" % place
        image, label = binary.read_datum(transaction.get(key))
        change(transaction, key, image.copy(), label)


def put(image_of, label_of=lambda label: label):
    return lambda transaction, key, image, label: transaction.put(key, binary.datum(image_of(image), label_of(label)))


@pytest.mark.parametrize(
    "damage, words",
    [
        (put(lambda image: image ^ 1), "pixels_sha256"),
        (put(lambda image: image, lambda label: (label + 1) % 8), "record 3"),
        (put(lambda image: image, lambda label: 8), "record 3"),
        (put(lambda image: image[:, :35]), "record 3"),
        (lambda transaction, key, *_: transaction.delete(key), "record 3 has key"),
        (lambda transaction, *_: transaction.put(b"99999999", b"x"), "record"),
        (lambda transaction, key, *_: transaction.put(key, b"not a datum"), "train_lmdb: record 3 is no Datum"),
    ],
)
def test_a_damaged_lmdb_is_found(damage, words, faces, tmp_path):
    folder = str(tmp_path / "ferplus")
    shutil.copytree(faces, folder)
    edit_record(folder, "train", damage)
    with pytest.raises(errors.Fail, match=words):
        command("check", "ferplus", "--out", tmp_path)


def cut(share):
    return lambda f, size: f.truncate(int(share * size))


def written(data, at):
    return lambda f, size: (f.seek(int(at * size)), f.write(data))


@pytest.mark.parametrize(
    "damage, words",
    [
        (cut(0), "damaged"),
        (cut(0.1), "cut short"),
        (cut(0.5), "cut short"),
        (cut(0.999), "cut short"),
        (written(bytes(1 << 13), 0), "damaged"),
        (written(bytes(1 << 15), 0.5), "record"),
        (written(bytes(range(256)) * 2000, 0.02), "record|damaged"),
        (written(b"\xff" * (1 << 17), 0.02), "record|damaged"),
    ],
)
def test_a_damaged_file_is_found_and_kills_nothing(damage, words, faces, tmp_path):
    shutil.copytree(faces, str(tmp_path / "ferplus"))
    path = tmp_path / "ferplus" / "train_lmdb" / "data.mdb"
    with open(str(path), "r+b") as f:
        damage(f, path.stat().st_size)
    with pytest.raises(errors.Fail, match="train_lmdb.*(%s)" % words) as caught:
        command("check", "ferplus", "--out", tmp_path)
    assert "\n" not in str(caught.value) and "run `make data SRC=ferplus`" in str(caught.value)


def test_an_lmdb_that_kills_its_reader_is_one_line(faces, monkeypatch):
    monkeypatch.setattr(check, "_datum", lambda *_: os._exit(1))  # in the process that forks off
    with pytest.raises(errors.Fail, match="train_lmdb is damaged: reading it crashes LMDB"):
        command("check", "ferplus", "--out", os.path.dirname(faces))


@pytest.mark.parametrize(
    "name, change, words",
    [
        ("mean.binaryproto", None, "not there"),
        ("train.csv", None, "no .*train.csv"),
        ("manifest.json", None, "run `make data"),
        ("manifest.json", lambda text: text[:50], "damaged"),
        ("manifest.json", lambda text: json.dumps(dict(json.loads(text), mean=[1, 2, 3])), "not the mean"),
        ("train.csv", lambda text: text.replace("fer0000001.png", "fer0000002.png"), "table_sha256"),
        ("train.csv", lambda text: text[:5000] + "\0" + text[5000:], "train.csv is damaged|table_sha256"),
        ("train.csv", lambda text: "nothing", "train.csv is damaged"),
        ("train.csv", lambda text: text[:2000], "record"),
        ("manifest.json", lambda text: "{}", "manifest.json is damaged"),
        ("train_lmdb", None, "not there"),
    ],
)
def test_other_damage_is_found(name, change, words, faces, tmp_path):
    folder = tmp_path / "ferplus"
    shutil.copytree(faces, str(folder))
    if change:
        (folder / name).write_text(change((folder / name).read_text()))
    elif name.endswith("lmdb"):
        shutil.rmtree(str(folder / name))
    else:
        (folder / name).unlink()
    with pytest.raises(errors.Fail, match=words):
        command("check", "ferplus", "--out", tmp_path)


def test_contact_sheets_show_the_stored_images_in_their_colours(downloads, tmp_path):
    folder = forms.build("cifar10", tmp_path, "--from", downloads)
    command("preview", "cifar10", "--out", tmp_path)
    sheet = cv2.imread(os.path.join(folder, "preview_train.png"))
    line = next(line for line in built.table(folder, "train") if line["label"] == "0")
    keys, stored, _ = forms.stored(folder, "train")
    image = stored[keys.index(line["key"])].transpose(1, 2, 0).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(sheet[preview.TITLE : preview.TITLE + 80, preview.LABEL : preview.LABEL + 80], image)
    assert os.path.exists(os.path.join(folder, "preview_test.png"))


def test_balanced_images_stand_beside_their_sources(faces):
    command("preview", "ferplus", "--out", os.path.dirname(faces))
    width = {part: cv2.imread(os.path.join(faces, "preview_%s.png" % part)).shape[1] for part in ("train", "valid")}
    assert width["train"] > width["valid"]


def test_official_files_are_told_from_others(downloads, tmp_path):
    with pytest.raises(errors.Fail, match="not the official file.*UNOFFICIAL=1"):
        command("build", "cifar10", "--downloads", downloads, "--out", tmp_path)
    with pytest.raises(errors.Fail, match="there is no"):
        command("build", "cifar10", "--from", tmp_path / "nothing", "--out", tmp_path)
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize(
    "dataset, words", [("imagenet32", ("Imagenet32_train_npz.zip", "3,580,435,279", "sha256:94226337")), ("webface", ("faces_webface_112x112.zip", "research"))]
)
def test_what_needs_a_login_is_explained(dataset, words, tmp_path):
    with pytest.raises(errors.Fail) as caught:
        command("build", dataset, "--downloads", tmp_path / "downloads", "--out", tmp_path / "data")
    assert all(word in str(caught.value) for word in words + (str(tmp_path / "downloads"),))


def test_fer2013_is_asked_for_with_its_checksum(downloads, tmp_path):
    shutil.copytree(str(downloads / "FERPlus"), str(tmp_path / "FERPlus"))
    with pytest.raises(errors.Fail) as caught:
        command("build", "ferplus", "--downloads", tmp_path, "--out", tmp_path / "data", "--unofficial")
    assert all(word in str(caught.value) for word in ("kaggle.com", "fer2013.csv", "f8428a1edbd21e88f42c73edd2a14f95"))


def test_rebuilding_replaces_the_whole_set(downloads, tmp_path):
    folder = forms.build("ferplus", tmp_path, "--from", downloads, "--per-class", 5)
    open(os.path.join(folder, "old"), "w").close()
    forms.build("ferplus", tmp_path, "--from", downloads, "--per-class", 6)
    assert not os.path.exists(os.path.join(folder, "old")) and os.listdir(str(tmp_path)) == ["ferplus"]
    assert built.manifest(folder)["parts"]["train"]["count"] == 48
