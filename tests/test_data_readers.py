"""data_prep's readers: the same images through every form of a set give the same Datums, in the paper's geometry."""

import hashlib
import os
import subprocess

import cv2
import data_forms as forms
import numpy as np
import pytest

from common import built
from data_prep import images, official, pickles
from paper import ours


def by_name(folder, part):
    """Name -> (stored image, label)."""
    keys, stored, labels = forms.stored(folder, part)
    names = {line["key"]: line["name"] for line in built.table(folder, part)}
    return {names[key]: (image, label) for key, image, label in zip(keys, stored, labels)}


# ---- CIFAR ----------------------------------------------------------------------------------------------------------

CIFAR = forms.pictures(60, seed=1)
CIFAR_LABELS = np.arange(60) % 10
CINIC = list(forms.CINIC_CLASSES)


@pytest.fixture
def cifar10(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    forms.write_tar(path, forms.cifar10_members(CIFAR, CIFAR_LABELS, names=forms.CINIC_CLASSES))
    return forms.build("cifar10", tmp_path / "data", "--from", path)


def test_cifar_is_padded_and_bgr(cifar10):
    found = by_name(cifar10, "train")
    assert len(found) == 50 and len(by_name(cifar10, "test")) == 10
    image, label = found["data_batch_2_3.png"]  # the 13th
    assert image.shape == (3, 40, 40) and label == CIFAR_LABELS[13]
    np.testing.assert_array_equal(image[:, 4:36, 4:36], CIFAR[13].transpose(2, 0, 1)[::-1])
    image = image.copy()
    image[:, 4:36, 4:36] = 0
    assert not image.any()


def test_cifar_is_shuffled_with_keys_in_order(cifar10):
    keys, _, labels = forms.stored(cifar10, "train")
    assert keys == ["%08d" % i for i in range(50)]
    names = [line["name"] for line in built.table(cifar10, "train")]
    assert names != sorted(names) and sorted(labels) == sorted(CIFAR_LABELS[:50])
    assert labels != sorted(labels)


def test_the_mean_is_that_of_the_stored_training_images(cifar10):
    from common.caffe import binary

    mean = binary.read_mean(os.path.join(cifar10, "mean.binaryproto"))
    _, stored, _ = forms.stored(cifar10, "train")
    expected = stored.mean((0, 2, 3), dtype=np.float64)
    assert mean.shape == (3, 40, 40)
    np.testing.assert_allclose(mean, np.broadcast_to(expected[:, None, None], mean.shape), rtol=1e-6)
    np.testing.assert_allclose(built.manifest(cifar10)["mean"], expected, atol=1e-5)


@pytest.mark.parametrize("form", ["python3", "3", "4", "5", "binary", "folder", "official order"])
def test_every_form_of_cifar10_gives_the_same_lmdbs(form, cifar10, tmp_path):
    written = {"folder": "python2", "official order": "python2"}.get(form, form)
    members = list(forms.cifar10_members(CIFAR, CIFAR_LABELS, written, forms.CINIC_CLASSES))
    if form == "official order":  # of cifar-10-python.tar.gz
        batches = ["data_batch_4", "test_batch", "data_batch_3", "batches.meta", "data_batch_2", "data_batch_5", "data_batch_1"]
        members.sort(key=lambda member: batches.index(os.path.basename(member[0])))
    path = tmp_path / ("folder" if form == "folder" else "archive.tar.gz")
    (forms.write_folder if form == "folder" else forms.write_tar)(path, members)
    other = forms.build("cifar10", tmp_path / "other", "--from", path)
    for part in ("train", "test"):
        assert forms.lmdb_bytes(other, part) == forms.lmdb_bytes(cifar10, part)
    assert built.manifest(other)["class_names"] == list(forms.CINIC_CLASSES)


def test_cifar100_takes_the_fine_labels_in_every_form(tmp_path):
    pictures, fine = forms.pictures(120), np.arange(120) % 100
    folders = []
    for form in ("python2", "python3", "binary"):
        path = tmp_path / (form + ".tar.gz")
        forms.write_tar(path, forms.cifar100_members(pictures, fine, fine // 5, form))
        folders.append(forms.build("cifar100", tmp_path / form, "--from", path))
    labels = [line["label"] for line in built.table(folders[0], "train")]
    assert sorted(map(int, labels)) == sorted(fine[:100])
    for part in ("train", "test"):
        assert len({forms.lmdb_bytes(folder, part) for folder in folders}) == 1


# ---- CINIC-10, ImageNet32, WebFace ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cinic():
    return list(forms.cinic_members(forms.pictures(60, seed=2), np.arange(60) % 10))


@pytest.mark.parametrize("form", ["folder", "zip in zip", "dotted tar"])
def test_every_form_of_cinic10_gives_the_same_lmdbs(form, cinic, tmp_path):
    forms.write_tar(tmp_path / "CINIC-10.tar.gz", cinic)
    expected = forms.build("cinic10", tmp_path / "data", "--from", tmp_path / "CINIC-10.tar.gz")
    path = tmp_path / "CINIC-10"
    if form == "folder":
        forms.write_folder(path, cinic)
    elif form == "dotted tar":
        path = tmp_path / "dotted.tar.gz"
        forms.write_tar(path, [("./" + name, data) for name, data in reversed(cinic)] + [("./README", b"text")])
    else:
        path = tmp_path / "DS_10283_3192.zip"
        with open(str(tmp_path / "CINIC-10.tar.gz"), "rb") as f:
            forms.write_zip(path, [("license.txt", b"text"), ("CINIC-10.tar.gz", f.read())])
    other = forms.build("cinic10", tmp_path / "other", "--from", path)
    for part in ("train", "test"):
        assert forms.lmdb_bytes(other, part) == forms.lmdb_bytes(expected, part)


def test_cinic10_is_resized_and_one_channel_is_repeated(cinic, tmp_path):
    forms.write_folder(tmp_path / "CINIC-10", cinic)
    folder = forms.build("cinic10", tmp_path, "--from", tmp_path / "CINIC-10")
    found = by_name(folder, "train")
    assert len(found) == 20 and len(by_name(folder, "test")) == 20
    image, label = found["train/horse/cifar10-train-27.png"]
    source = cv2.imdecode(np.frombuffer(dict(cinic)["train/horse/cifar10-train-27.png"], np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(image, cv2.resize(source, (36, 36), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1))
    assert label == 7
    grey, _ = found["train/airplane/cifar10-train-30.png"]
    assert (grey[0] == grey[1]).all() and (grey[0] == grey[2]).all()
    with_valid = forms.build("cinic10", tmp_path / "valid", "--from", tmp_path / "CINIC-10", "--with-valid")
    assert set(by_name(with_valid, "train")) == {name for name, _ in cinic if not name.startswith("test/")}


@pytest.mark.parametrize("form", ["npz", "2", "4", "python3", "zip of 4", "folder of npz"])
def test_every_form_of_imagenet32_gives_the_same_lmdbs(form, tmp_path):
    pictures, labels = forms.pictures(40, seed=3), np.arange(40) * 25
    parts = {"train": slice(0, 30), "test": slice(30, 40)}
    names = {"train": "Imagenet32_train_npz.zip", "test": "Imagenet32_val_npz.zip"}
    os.makedirs(str(tmp_path / "a"))
    for part, some in parts.items():
        forms.write_zip(tmp_path / "a" / names[part], forms.imagenet32_members(pictures[some], labels[some], "npz", part))
    expected = forms.build("imagenet32", tmp_path / "data", "--from", tmp_path / "a")
    image, label = by_name(expected, "train")["train_data_batch_2_000001"]
    np.testing.assert_array_equal(image, images.fit(np.ascontiguousarray(pictures[16][..., ::-1]), "resize"))
    assert label == labels[16]
    other = tmp_path / "b"
    for part, some in parts.items():
        members = forms.imagenet32_members(pictures[some], labels[some], "npz" if "npz" in form else form.split()[-1], part)
        if form.startswith("zip"):
            os.makedirs(str(other), exist_ok=True)
            forms.write_zip(other / names[part].replace("_npz", ""), members)
        else:
            forms.write_folder(other, members)
    made = forms.build("imagenet32", tmp_path / "other", "--from", other)
    for part in parts:
        assert forms.lmdb_bytes(made, part) == forms.lmdb_bytes(expected, part)
    assert ("val_data" in built.manifest(made).get("unpublished", [])) == ("npz" not in form)


def test_published_batches_of_imagenet32_are_known(tmp_path, monkeypatch, capsys):
    for part in ("train", "test"):
        forms.write_folder(tmp_path / "i", forms.imagenet32_members(forms.pictures(4), np.arange(4), "2", part))
    published = {name: hashlib.md5((tmp_path / "i" / name).read_bytes()).hexdigest() for name in os.listdir(str(tmp_path / "i"))}
    monkeypatch.setattr(official, "IMAGENET32_BATCHES", dict(published, train_data_batch_2="0"))
    folder = forms.build("imagenet32", tmp_path, "--from", tmp_path / "i")
    assert built.manifest(folder)["unpublished"] == ["train_data_batch_2"]
    assert "not the published batches, by their MD5: train_data_batch_2" in capsys.readouterr().out


def test_every_form_of_webface_gives_the_same_images(tmp_path):
    files = [forms.jpeg(image) for image in forms.pictures(40, 112, seed=4)]
    labels = np.arange(40) // 8
    packed = forms.webface_members(files, labels, 5)
    forms.write_folder(tmp_path, packed)
    forms.write_zip(tmp_path / "faces.zip", packed)
    forms.write_folder(tmp_path / "CASIA-WebFace", [("%07d/%03d.jpg" % (label, i), data) for i, (label, data) in enumerate(zip(labels, files))])
    seen = []
    for number, path in enumerate(["faces_webface_112x112", "faces.zip", "CASIA-WebFace"]):
        folder = forms.build("webface", tmp_path / str(number), "--from", tmp_path / path)
        train, test = forms.stored(folder, "train"), forms.stored(folder, "test")
        assert (len(train[0]), len(test[0])) == (36, 4)
        seen.append(sorted((image.tobytes(), label) for _, part, part_labels in (train, test) for image, label in zip(part, part_labels)))
    assert seen[0] == seen[1] == seen[2] and built.manifest(folder)["classes"] == 5
    source = cv2.imdecode(np.frombuffer(files[11], np.uint8), cv2.IMREAD_COLOR)
    assert (images.fit(source, "resize").tobytes(), 1) in seen[0]


def test_held_out_faces_are_the_same_each_time_and_apart(tmp_path):
    files = [forms.jpeg(image) for image in forms.pictures(40, 112, seed=4)]
    forms.write_folder(tmp_path, forms.webface_members(files, np.arange(40) // 8, 5))
    folders = [forms.build("webface", tmp_path / str(n), "--from", tmp_path / "faces_webface_112x112", workers=n) for n in (1, 2)]
    names = [{line["name"] for line in built.table(folders[0], part)} for part in ("train", "test")]
    assert not names[0] & names[1] and len(names[0] | names[1]) == 40
    for part in ("train", "test"):
        assert forms.lmdb_bytes(folders[0], part) == forms.lmdb_bytes(folders[1], part)


# ---- FER+ -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["PNGs", "icml", "tar.gz", "zip", "crlf", "more columns", "marked"])
def test_every_form_of_fer_gives_the_same_lmdbs(form, tmp_path):
    faces = forms.fer(tmp_path / "a")
    expected = forms.build("ferplus", tmp_path / "data", "--from", tmp_path / "a", "--per-class", 6)
    with open(str(tmp_path / "a" / "fer2013.csv")) as f:
        csv = f.read()
    other = tmp_path / "b"
    os.makedirs(str(other))
    os.rename(str(tmp_path / "a" / "FERPlus"), str(other / "FERPlus"))
    if form == "PNGs":
        forms.write_pngs(other / "FERPlus", faces)
    elif form == "icml":
        forms.write_folder(other, [("icml_face_data.csv", forms.icml(csv).encode())])
    elif form == "tar.gz":
        forms.write_tar(other / "fer2013.tar.gz", [("fer2013/README", b"text"), ("fer2013/fer2013.csv", csv.encode())])
    elif form == "zip":
        forms.write_tar(tmp_path / "fer2013.tar.gz", [("fer2013/fer2013.csv", csv.encode())])
        with open(str(tmp_path / "fer2013.tar.gz"), "rb") as f:
            forms.write_zip(other / "challenges-in-representation-learning-facial-expression-recognition-challenge.zip", [("fer2013.tar.gz", f.read())])
    elif form == "more columns":  # as pandas writes it with its index
        lines = csv.splitlines()
        forms.write_folder(other, [("fer2013.csv", "".join("%s,%s,x\n" % (i or "", line) for i, line in enumerate(lines)).encode())])
    elif form == "marked":  # with the mark that Windows' programs put first
        forms.write_folder(other, [("fer2013.csv", b"\xef\xbb\xbf" + csv.encode())])
        for file in official.VOTES + (official.NAMES,):
            path = other / "FERPlus" / file.name
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    else:
        forms.write_folder(other, [("fer2013.csv", csv.replace("\n", "\r\n").encode())])
    made = forms.build("ferplus", tmp_path / "other", "--from", other, "--per-class", 6)
    for part in ours.FERPLUS_IMAGES:
        assert forms.lmdb_bytes(made, part) == forms.lmdb_bytes(expected, part)
        assert built.table(made, part) == built.table(expected, part)


def test_faces_are_found_by_name_and_not_by_row(tmp_path):
    faces = forms.fer(tmp_path)
    folder = forms.build("ferplus", tmp_path / "data", "--from", tmp_path, "--per-class", 0)
    for part, usage in (("train", "Training"), ("valid", "PublicTest"), ("test", "PrivateTest")):
        found = by_name(folder, part)
        assert set(found) == {name for each, name, _, _ in faces if each == usage}
        for each, name, label, image in faces:
            if each == usage:
                np.testing.assert_array_equal(found[name][0], images.fit(image, "resize"))
                assert found[name][1] == label


def test_of_a_name_that_comes_twice_the_later_row_counts(tmp_path):
    from demo.draw import Face

    late = np.full((48, 48), 77, np.uint8)
    faces = forms.fer(tmp_path)
    name, label = faces[0][1:3]
    votes = [0] * 10
    votes[label] = 10
    forms.fer(tmp_path, extra_rows=[Face("Training", name, "neutral", votes, late)])
    folder = forms.build("ferplus", tmp_path / "data", "--from", tmp_path, "--per-class", 0)
    assert (by_name(folder, "train")[name][0] == 77).all()


def test_votes_stand_beside_the_labels(tmp_path):
    forms.fer(tmp_path)
    folder = forms.build("ferplus", tmp_path / "data", "--from", tmp_path, "--per-class", 5)
    for line in built.table(folder, "train"):
        votes = [int(line[title]) for title in forms.official.VOTES]
        assert votes[int(line["label"])] == 10 and sum(votes) == 10
        assert bool(line["source"]) == ("#" in line["name"]) == bool(line["transformation"])


# ---- geometry and pickles -------------------------------------------------------------------------------------------


@pytest.mark.caffe
def test_the_datums_are_convert_imagesets(cinic, tmp_path):
    colour = [(name, data) for name, data in cinic if name.startswith("train/")]
    forms.write_folder(tmp_path / "CINIC-10", cinic)
    (tmp_path / "list").write_text("".join("%s %d\n" % (name, CINIC.index(name.split("/")[1])) for name, _ in colour))
    theirs = tmp_path / "theirs"
    os.makedirs(str(theirs))
    subprocess.run(
        ["convert_imageset", "--resize_height=36", "--resize_width=36", str(tmp_path / "CINIC-10") + "/", str(tmp_path / "list"), str(theirs / "train_lmdb")],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    _, stored, labels = forms.stored(str(theirs), "train")
    ours = by_name(forms.build("cinic10", tmp_path, "--from", tmp_path / "CINIC-10"), "train")
    for (name, _), image, label in zip(colour, stored, labels):
        np.testing.assert_array_equal(ours[name][0], image)
        assert ours[name][1] == label


@pytest.mark.parametrize("form", ["python2", "python3", "3", "4", "5"])
def test_a_batch_is_read_as_python_pickled_it(form):
    data = np.arange(12, dtype=np.uint8).reshape(3, 4)
    batch = pickles.load(forms.pickled(form, labels=[1, 2, 300], data=data, filenames=["a", "b"]), "x")
    np.testing.assert_array_equal(batch["data"], data)
    assert batch["labels"] == [1, 2, 300] and len(batch["filenames"]) == 2


def test_arrays_of_labels_and_other_orders_are_read():
    import pickle

    batch = {"a": np.arange(6, dtype=">i4").reshape(2, 3), "f": np.asfortranarray(np.arange(6).reshape(2, 3)), "n": np.int64(7), "x": [np.float32(1.5)]}
    for protocol in (2, 4, 5):
        found = pickles.load(pickle.dumps(batch, protocol), "x")
        np.testing.assert_array_equal(found["a"], batch["a"])
        np.testing.assert_array_equal(found["f"], batch["f"])
        assert found["n"] == 7 and found["x"] == [1.5]
