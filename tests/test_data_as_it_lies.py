"""Downloads as they lie on people's disks: companions of other systems, links, packed once more or once less, glued, half there."""

import os
import shutil

import data_forms as forms
import numpy as np
import pytest

from common import built, errors
from data_prep import archives, fetch
from paper import ours

JUNK = [
    ("%s._%s", b"\0\5\x16\7"),
    ("__MACOSX/%s._%s", b"\0\5\x16\7"),
    ("%sThumbs.db", b"db"),
    ("%s.DS_Store", b"store"),
    (".thumbnails/%s%s", b"\xff\xd8small"),
    ("%s@eaDir/%s", b"small"),
]


def with_junk(members):
    """The members and, beside each, what macOS, Windows and a NAS put there."""
    for name, data in members:
        folder, base = os.path.split(name)
        for form, junk in JUNK:
            yield form % ((folder and folder + "/", base)[: form.count("%s")]), junk
        yield name, data


def webface():
    return [("%07d/%03d.jpg" % (i // 5, i), forms.jpeg(image)) for i, image in enumerate(forms.pictures(20, 40))]


SETS = {
    "cifar10": lambda: list(forms.cifar10_members(forms.pictures(12), np.arange(12) % 10)),
    "cinic10": lambda: list(forms.cinic_members(forms.pictures(12), np.arange(12) % 10)),
    "webface": webface,
    "imagenet32": lambda: [m for part in ("train", "test") for m in forms.imagenet32_members(forms.pictures(6), np.arange(6), "npz", part)],
}


@pytest.mark.parametrize(
    "dataset, write",
    [
        (dataset, form)
        for dataset in SETS
        for form in ("folder", "tar.gz", "zip")
        if (dataset, form) != ("imagenet32", "zip") and (dataset, form) != ("imagenet32", "tar.gz")
    ],
)
def test_what_systems_put_there_is_passed_over_and_counted(dataset, write, tmp_path, capsys):
    writer = {"folder": forms.write_folder, "tar.gz": forms.write_tar, "zip": forms.write_zip}[write]
    made = []
    for name, members in (("clean", SETS[dataset]()), ("junk", list(dict(with_junk(SETS[dataset]())).items()))):
        path = tmp_path / (name if write == "folder" else "%s.%s" % (name, write))
        writer(path, members)
        made.append(forms.build(dataset, tmp_path / ("data " + name), "--from", path))
        said = [line for line in capsys.readouterr().out.splitlines() if "passed over" in line]
        assert len(said) == (name == "junk") and ("passed_over" in built.manifest(made[-1])) == (name == "junk")
    for part in ("train", "test"):
        assert forms.lmdb_bytes(made[0], part) == forms.lmdb_bytes(made[1], part)


def test_the_count_is_that_of_what_was_passed_over(tmp_path):
    forms.write_folder(tmp_path / "a", [("x/1.png", b""), ("x/._1.png", b""), (".hidden/2.png", b""), (".hidden/3.png", b""), ("x/Thumbs.db", b"")])
    forms.write_zip(tmp_path / "a.zip", [("x/1.png", b""), ("__MACOSX/x/._1.png", b"")])
    for path, count in (("a", 3), ("a.zip", 1)):
        passed = set()
        assert [entry.name for entry in archives.entries(str(tmp_path / path), passed)] == ["x/1.png"]
        assert len(passed) == count and ("%d file" % count) in archives.passed_over_line(passed)
    os.rename(str(tmp_path / "a"), str(tmp_path / ".a"))  # what a user names is taken
    assert [entry.name for entry in archives.entries(str(tmp_path / ".a"))] == ["x/1.png"]


def test_folders_of_faces_may_have_companions(tmp_path):
    faces = forms.fer(tmp_path / "a", per_class=1)
    forms.write_pngs(tmp_path / "a" / "FERPlus", faces)
    forms.write_folder(tmp_path / "a" / "FERPlus" / "FER2013Train", [("._fer0000000.png", b"\0\5"), (".DS_Store", b"x"), ("Thumbs.db", b"x")])
    assert os.path.exists(forms.build("ferplus", tmp_path / "data", "--from", tmp_path / "a", "--per-class", 2))


@pytest.mark.parametrize("given", ["mine", "mine/fer2013.csv"])
def test_what_is_named_goes_before_the_pngs_of_downloads(given, tmp_path):
    forms.fer(tmp_path / "mine", per_class=1)
    forms.write_pngs(tmp_path / "downloads" / "FERPlus", forms.fer(tmp_path / "downloads", per_class=1))
    pixels = fetch.ferplus(str(tmp_path / given), str(tmp_path / "downloads"), True)[0]
    assert pixels.path == str(tmp_path / "mine" / "fer2013.csv")
    assert fetch.ferplus(None, str(tmp_path / "downloads"), True)[0].path == str(tmp_path / "downloads" / "FERPlus")


@pytest.mark.parametrize("dataset", ["cinic10", "webface"])
def test_links_to_class_folders_are_taken(dataset, tmp_path):
    forms.write_folder(tmp_path / "a", SETS[dataset]())
    expected = forms.build(dataset, tmp_path / "data", "--from", tmp_path / "a")
    place = tmp_path / "a" / ("train" if dataset == "cinic10" else "")
    for name in sorted(os.listdir(str(place)))[:2]:
        shutil.move(str(place / name), str(tmp_path / "disk" / name))
        os.symlink(str(tmp_path / "disk" / name), str(place / name))
    made = forms.build(dataset, tmp_path / "other", "--from", tmp_path / "a")
    for part in ("train", "test"):
        assert forms.lmdb_bytes(expected, part) == forms.lmdb_bytes(made, part)


@pytest.mark.parametrize("target, words", [("/usr/share/elsewhere", "not there"), ("..", "lies in")])
def test_a_link_that_leads_nowhere_or_upwards_is_one_line(target, words, tmp_path):
    forms.write_folder(tmp_path / "a", SETS["webface"]())
    os.symlink(target, str(tmp_path / "a" / ".link"))  # hidden: passed over
    forms.build("webface", tmp_path / "data", "--from", tmp_path / "a")
    os.symlink(target, str(tmp_path / "a" / "0000001" / "link"))
    with pytest.raises(errors.Fail, match="a/0000001/link is a link.*%s" % words) as failure:
        forms.build("webface", tmp_path / "data2", "--from", tmp_path / "a")
    assert len(str(failure.value).splitlines()) == 1


# ---- FER2013 --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fer(tmp_path_factory):
    """(FERPlus, the text of fer2013.csv, the set built from both)."""
    folder = tmp_path_factory.mktemp("fer")
    forms.fer(folder, per_class=1)
    return folder / "FERPlus", (folder / "fer2013.csv").read_bytes(), forms.build("ferplus", folder / "data", "--from", folder, "--per-class", 2)


@pytest.fixture
def place(fer, tmp_path):
    shutil.copytree(str(fer[0]), str(tmp_path / "a" / "FERPlus"))
    return tmp_path / "a"


def tarred(path, csv):
    forms.write_tar(path, [("fer2013/README", b"text"), ("fer2013/fer2013.csv", csv)])


@pytest.mark.parametrize(
    "name, write, form",
    [
        ("fer2013", tarred, "tar"),
        ("fer2013", tarred, "gz"),
        ("fer2013.tar", tarred, "tar"),
        ("fer2013.csv", tarred, "tar"),
        ("fer2013.csv", tarred, "gz"),
        ("fer2013.tar.gz", tarred, "tar"),
        ("fer2013.csv.zip", lambda path, csv: forms.write_zip(path, [("fer2013.csv", csv)]), "zip"),
        ("icml_face_data.csv.zip", lambda path, csv: forms.write_zip(path, [("icml_face_data.csv", forms.icml(csv.decode()).encode())]), "zip"),
        ("fer2013.zip", lambda path, csv: forms.write_zip(path, [("__MACOSX/._fer2013.csv", b"\0\5"), ("fer2013/fer2013.csv", csv)]), "zip"),
        ("fer2013/fer2013.csv", lambda path, csv: path.write_bytes(csv), "csv"),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_fer2013_is_taken_for_what_it_is(name, write, form, named, fer, place, tmp_path):
    packed = tmp_path / ("made." + form)
    write(packed, fer[1])
    os.makedirs(str((place / name).parent), exist_ok=True)
    os.rename(str(packed), str(place / name))
    given = ["--from", place / name, "--downloads", place] if named else ["--from", place]
    made = forms.build("ferplus", tmp_path / "data", *given, "--per-class", 2)
    assert all(forms.lmdb_bytes(made, part) == forms.lmdb_bytes(fer[2], part) for part in ours.FERPLUS_IMAGES)


def test_a_packed_csv_says_what_it_is(fer, place, tmp_path):
    import gzip

    (place / "fer2013.csv.gz").write_bytes(gzip.compress(fer[1]))
    with pytest.raises(errors.Fail, match="fer2013.csv.gz is one packed file.*gunzip"):
        forms.build("ferplus", tmp_path / "data", "--from", place / "fer2013.csv.gz", "--downloads", place)


@pytest.mark.parametrize(
    "glue, words",
    [
        (lambda lines: lines + lines[1:3], "goes on after the 27 rows"),
        (lambda lines: lines[:-1] + [lines[-1] + lines[1]], "line 28: 5 columns"),
        (lambda lines: lines + lines, "line 29: not 2304 pixels"),
        (lambda lines: lines[:9] + ["", lines[9].replace(" ", "  ", 1)] + lines[10:], "line 11: not 2304 pixels, but 2305"),
    ],
)
def test_glued_rows_are_named_by_their_line(glue, words, fer, place, tmp_path):
    lines = fer[1].decode().split("\n")[:-1]
    assert len(lines) == 28
    (place / "fer2013.csv").write_text("\n".join(glue(lines)) + "\n")
    with pytest.raises(errors.Fail, match="fer2013.csv.*" + words) as failure:
        forms.build("ferplus", tmp_path / "data", "--from", place, "--per-class", 2)
    assert len(str(failure.value).splitlines()) == 1


# ---- ImageNet32 -----------------------------------------------------------------------------------------------------


def test_one_part_of_imagenet32_says_what_is_missing(tmp_path):
    for part, name, other in (("test", "Imagenet32_val_npz.zip", "Imagenet32_train_npz.zip"), ("train", "Imagenet32_train_npz.zip", "Imagenet32_val_npz.zip")):
        folder = tmp_path / part
        os.makedirs(str(folder))
        members = list(forms.imagenet32_members(forms.pictures(4), np.arange(4), "npz", part))
        forms.write_zip(folder / name, members)
        with pytest.raises(errors.Fail, match="%s is there, %s is not" % (name, other)):
            fetch.imagenet32(None, str(folder), unofficial=True)
        forms.write_folder(tmp_path / (part + " unpacked"), members)
        with pytest.raises(errors.Fail, match={"test": "no train_data_batch_1 to _10", "train": "no val_data"}[part]):
            forms.build("imagenet32", tmp_path / "data", "--from", tmp_path / (part + " unpacked"))
