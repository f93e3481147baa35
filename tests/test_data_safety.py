"""Hostile and damaged input to data_prep: nothing runs, nothing leaves its folder, every mistake is one line."""

import io
import os
import pickle
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zipfile

import data_forms as forms
import numpy as np
import pytest

from common import errors
from data_prep import archives, images, pickles, store

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CIFAR = forms.pictures(12, seed=1)
LABELS = np.arange(12) % 10
FUZZED = int(os.environ.get("FUZZ", "120"))  # mutated files per run; FUZZ=2000 for more, of FUZZ_SEED


def refused(dataset, tmp_path, path, *words):
    """The build of `path` fails with a single line that has all `words`, and leaves no set."""
    with pytest.raises(errors.Fail) as caught:
        forms.build(dataset, tmp_path / "data", "--from", path)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message
    assert os.listdir(str(tmp_path / "data")) == []


def cifar_tar(tmp_path, change):
    """cifar-10-python.tar.gz whose members went through `change(name, data)`."""
    path = tmp_path / "cifar.tar.gz"
    forms.write_tar(path, [(name, change(name, data)) for name, data in forms.cifar10_members(CIFAR, LABELS)])
    return path


# ---- pickles --------------------------------------------------------------------------------------------------------


class Shell:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_pickle_that_calls_a_program_is_refused_and_runs_nothing(protocol, tmp_path):
    evil = pickle.dumps({b"data": Shell("touch " + str(tmp_path / "ran"))}, protocol)
    path = cifar_tar(tmp_path, lambda name, data: evil if name.endswith("batch_3") else data)
    refused("cifar10", tmp_path, path, "data_batch_3", "refused")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "evil",
    [
        b"\x80\x02cbuiltins\neval\n(U\x041+1.tR.",
        b"\x80\x02c__builtin__\ngetattr\n.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93.",
        b"\x80\x02cnumpy\nload\n.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)\x81.",  # NEWOBJ
        b"\x80\x02(cnumpy\nndarray\no.",  # OBJ
        b"\x80\x02(ios\nsystem\n.",  # INST
        b"\x80\x02c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.",
        b"\x80\x02P1\n.",  # a persistent id
        b"\x80\x02\x82\x01.",  # an extension code
        b"\x80\x02cnumpy\ndtype\nN}X\x08\x00\x00\x00functionK\x01s\x86b.",  # the state of what is named
    ],
)
def test_other_opcodes_and_names_are_refused(evil):
    with pytest.raises(errors.Fail, match="refused"):
        pickles.load(evil, "x")


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\x80",
        b".",
        b"\x80\x02}",
        b"\x80\x02T\xff\xff\xff\xffab.",
        b"\x80\x04\x8e" + b"\xff" * 8 + b".",
        b"\x80\x02u.",
        b"\x80\x02](K\x01e",
        b"\x80\x02h\x07.",
        b"\x80\x02}}K\x01s.",
        b"\x80\x02\x87.",
        b"\x80\x02(.",
    ],
)
def test_a_damaged_pickle_is_one_line(damaged):
    try:
        assert not isinstance(pickles.load(damaged, "x"), (dict, np.ndarray))
    except errors.Fail as failure:
        assert "damaged" in str(failure)


@pytest.mark.parametrize(
    "evil, words",
    [
        (b"\x80\x02})" + b"\x85" * 1000000 + b"K\x01s.", "tuples"),  # hashing that key would overflow the stack
        (b"\x80\x02c_codecs\nencode\n(X\x01\x00\x00\x00a)" + b"\x85" * 1000000 + b"tR.", "tuples"),  # and so would showing it
        (b"\x80\x02cnumpy\ndtype\nq\x01U\x02u1)q\x02" + b"0h\x01U\x02u1h\x02\x86q\x02R" * 5000 + b"}h\x02K\x01s.", "tuples"),  # and so would arguments, kept
        (b"\x80\x02]" + b"]a" * 30000 + b".", "steps"),  # lists take 30 times the memory of their opcodes
        (b"\x80\x02" + b"]" * 50000, "steps"),
        (b"\x80\x02K\x01r\xff\xff\xff\xff.", "steps"),  # a memo of 2^32 places
    ],
    ids=["key", "encoding", "arguments", "lists in a list", "lists on the stack", "memo"],
)
def test_a_pickle_that_wants_too_much_is_refused(evil, words, monkeypatch):
    if words == "steps":
        monkeypatch.setattr(pickles, "MOST_STEPS", 40000)
    with pytest.raises(errors.Fail, match=words):
        pickles.load(evil, "x")


def test_a_call_for_each_name_is_what_python_3_writes():
    names = [b"%d.png" % i for i in range(5000)]
    assert pickles.load(pickle.dumps({b"filenames": names}, 2), "x") == {"filenames": names}


def test_a_dtype_of_objects_is_refused():
    with pytest.raises(errors.Fail, match="refused"):
        pickles.load(pickle.dumps({"data": np.array([{}, []], object)}, 2), "x")


# ---- archives -------------------------------------------------------------------------------------------------------


def tar_with(path, name, kind=tarfile.REGTYPE, target=""):
    with tarfile.open(str(path), "w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        tar.addfile(info, io.BytesIO(b""))


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "C:/evil", "..\\evil"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_point_outside_are_refused(name, kind, tmp_path):
    path = tmp_path / ("a.tar.gz" if kind == "tar" else "a.zip")
    if kind == "tar":
        tar_with(path, name)
    else:
        forms.write_zip(path, [(name, b"x")])
    with pytest.raises(errors.Fail, match="outside"):
        list(archives.entries(str(path)))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE])
def test_links_and_devices_are_refused(kind, tmp_path):
    tar_with(tmp_path / "a.tar.gz", "cifar-10-batches-py/data_batch_1", kind, "/etc/passwd")
    with pytest.raises(errors.Fail, match="link or a device"):
        list(archives.entries(str(tmp_path / "a.tar.gz")))


def test_a_members_name_cannot_write_lines_of_its_own(tmp_path):
    forms.write_zip(tmp_path / "a.zip", [("train/cat/\x1b[2J\nall is well.png", b"no image")])
    refused("cinic10", tmp_path, tmp_path / "a.zip", "?[2J?all is well.png")


def test_a_link_in_a_zip_is_refused(tmp_path):
    info = zipfile.ZipInfo("train/cat/x.png")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(str(tmp_path / "a.zip"), "w") as packed:
        packed.writestr(info, "/etc/passwd")
    with pytest.raises(errors.Fail, match="is a link"):
        list(archives.entries(str(tmp_path / "a.zip")))


def test_a_size_is_bounded_before_it_is_believed(tmp_path):
    info = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
    for size, words in ((1 << 40, "claims to have"), (1 << 33, "at most"), (1 << 27, "cut short")):
        info.size = size
        forms.write_folder(tmp_path, [("a.tar", info.tobuf(tarfile.GNU_FORMAT) + b"x" * 700)])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        refused("cifar10", tmp_path, tmp_path / "a.tar", "data_batch_1", words)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10  # KB


def test_an_extended_header_is_bounded(tmp_path):
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 1 << 33
    forms.write_folder(tmp_path, [("a.tar", info.tobuf(tarfile.USTAR_FORMAT if info.size < 8**11 else tarfile.GNU_FORMAT))])
    with pytest.raises(errors.Fail, match="claims to have"):
        list(archives.entries(str(tmp_path / "a.tar")))


def test_long_names_are_read_in_both_ways(tmp_path):
    name = "a" * 120 + "/" + "b" * 90
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(str(tmp_path / "a.tar"), "w", format=kind) as tar:
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
        assert [(entry.name, archives.read(entry)) for entry in archives.entries(str(tmp_path / "a.tar"))] == [(name, b"abc")]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 0.999])
def test_a_truncated_archive_is_one_line_with_its_name(share, tmp_path):
    path = cifar_tar(tmp_path, lambda name, data: data)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    refused("cifar10", tmp_path, path, "cifar.tar.gz")


# ---- entries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda batch: batch.update(labels=[0, 10]), "label 10"),
        (lambda batch: batch.update(labels=[0, -1]), "label -1"),
        (lambda batch: batch.update(labels=[0, (1 << 32) + 1]), "label 4294967297"),  # 1, in 32 bits
        (lambda batch: batch.update(labels=[0, 1 << 200]), "label 1606938"),
        (lambda batch: batch.update(labels=[0]), "number of labels"),
        (lambda batch: batch.update(labels=["0", "1"]), "whole number"),
        (lambda batch: batch.update(labels=7), "number of labels"),
        (lambda batch: batch.pop("labels"), "without `labels`"),
        (lambda batch: batch.update(data=batch["data"][:, :-1]), "rows of 3072"),
        (lambda batch: batch.update(data=batch["data"].astype(np.float32)), "uint8"),
        (lambda batch: batch.update(data=[1, 2]), "uint8"),
    ],
)
def test_a_wrong_batch_is_one_line_with_file_and_entry(change, words, tmp_path):
    def changed(name, data):
        if not name.endswith("batch_4"):
            return data
        batch = dict(data=forms.rows(CIFAR[:2]), labels=[1, 2])
        change(batch)
        return pickle.dumps(batch, 2)

    refused("cifar10", tmp_path, cifar_tar(tmp_path, changed), "cifar.tar.gz", words)


def test_wrong_class_names_are_one_line(tmp_path):
    forms.write_tar(tmp_path / "a.tar", list(forms.cifar10_members(CIFAR, LABELS)) + [("batches.meta", b"\x80\x02].")])
    refused("cifar10", tmp_path, tmp_path / "a.tar", "batches.meta", "class names")


def test_another_number_of_class_names_is_refused(tmp_path):
    forms.write_tar(tmp_path / "a.tar", list(forms.cifar10_members(CIFAR, LABELS, names=["cat", "dog"])))
    refused("cifar10", tmp_path, tmp_path / "a.tar", "names 2 classes, not 10")


def test_strange_names_are_stored_as_text_of_one_line(tmp_path):
    images = forms.pictures(4, 32)
    names = [b"train/cat/\xff\n1.png", b"train/dog/" + b"x" * 240 + b".png", b"test/cat/\x1b2.png", b"test/dog/a.png"]
    for name, image in zip(names, images):
        path = os.path.join(os.fsencode(str(tmp_path)), b"c", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(forms.png(image))
    folder = forms.build("cinic10", tmp_path / "data", "--from", tmp_path / "c")
    lines = (tmp_path / "data" / "cinic10" / "train.csv").read_text().splitlines()
    assert len(lines) == 3 and any("train/cat/??1.png" in line for line in lines)
    check = forms.data_prep.parser().parse_args(["check", "cinic10", "--out", os.path.dirname(folder)])
    check.run(check)


def test_a_missing_and_a_double_batch_are_refused(tmp_path):
    members = list(forms.cifar10_members(CIFAR, LABELS))
    forms.write_tar(tmp_path / "a.tar", members[:3] + members[4:])
    refused("cifar10", tmp_path, tmp_path / "a.tar", "no data_batch_4")
    forms.write_tar(tmp_path / "b.tar", members + members[1:2])
    refused("cifar10", tmp_path, tmp_path / "b.tar", "data_batch_2 comes twice")


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "neither a PNG nor a JPEG"),
        (b"GIF89a" + b"\0" * 50, "neither"),
        (b"\x89PNG\r\n\x1a\n", "neither"),
        (forms.png(forms.pictures(1)[0])[:60], "damaged image"),
        (forms.png(forms.pictures(1)[0])[:-30], "damaged image"),
        (forms.jpeg(forms.pictures(1)[0])[:-30], "cut short"),
        (forms.jpeg(forms.pictures(1)[0])[:20], "damaged JPEG"),
        (forms.png(forms.pictures(1)[0])[:16] + struct.pack(">II", 60000, 60000) + b"\0" * 99, "60000x60000"),
    ],
)
def test_an_entry_that_is_no_image_is_one_line_with_file_and_entry(data, words, tmp_path):
    members = list(forms.cinic_members(forms.pictures(6), np.arange(6)))
    members[3] = (members[3][0], data)
    forms.write_zip(tmp_path / "c.zip", members)
    refused("cinic10", tmp_path, tmp_path / "c.zip", "c.zip: " + members[3][0], words)


def test_a_jpeg_that_claims_to_be_large_is_refused():
    data = bytearray(forms.jpeg(forms.pictures(1)[0]))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65000, 65000)
    with pytest.raises(errors.Fail, match="65000x65000"):
        images.decode(bytes(data), "x")


def test_an_unknown_class_is_refused(tmp_path):
    forms.write_folder(tmp_path / "c", [("train/unicorn/1.png", forms.png(forms.pictures(1)[0]))])
    refused("cinic10", tmp_path, tmp_path / "c", "unicorn")


@pytest.mark.parametrize(
    "labels, words", [([0, 1, 7], "identity 7"), ([0, 1, 0.5], "identity 0.5"), ([0, 1, float("nan")], "identity nan"), ([0, 1, float("inf")], "identity inf")]
)
def test_an_identity_out_of_range_is_refused(labels, words, tmp_path):
    files = [forms.jpeg(image) for image in forms.pictures(3, 112)]
    forms.write_folder(tmp_path, forms.webface_members(files, labels, 5))
    refused("webface", tmp_path, tmp_path / "faces_webface_112x112", "record 3", words)


def test_imagenets_labels_begin_with_1(tmp_path):
    for part in ("train", "test"):
        labels = np.arange(4) - (part == "train")  # label 0 in the file
        forms.write_folder(tmp_path / "i", forms.imagenet32_members(forms.pictures(4), labels, "npz", part))
    refused("imagenet32", tmp_path, tmp_path / "i", "train_data_batch_1", "label -1")


@pytest.mark.parametrize(
    "old, new, words",
    [
        (" 7", " 256", "no number from 0 to 255"),
        (" 7", " -7", "no number"),
        (" 7", " 7.5", "no number"),
        (" 7", "  7", "2304 pixels"),
        ("Training", "Trainig", "Usage"),
        ("emotion", "emotions", "titles"),
        (",", ";", "titles"),
        (",Training", ",Training,1", "columns"),
    ],
)
def test_a_wrong_fer2013_csv_is_one_line(old, new, words, tmp_path):
    forms.fer(tmp_path, per_class=1)
    path = tmp_path / "fer2013.csv"
    path.write_text(path.read_text().replace(old, new))
    refused("ferplus", tmp_path, tmp_path, words)


def test_fer2013_csv_without_its_last_row_is_refused(tmp_path):
    forms.fer(tmp_path, per_class=1)
    path = tmp_path / "fer2013.csv"
    path.write_text(path.read_text().rstrip().rsplit("\n", 1)[0])
    refused("ferplus", tmp_path, tmp_path, "rows")


@pytest.mark.parametrize(
    "text, words", [("", "no votes"), ("a.png,1,2\n", "line 1"), ("a.png,x" + ",1" * 10 + "\n", "missing"), ("a.png,x" + ",-1" * 10 + "\n", "line 1")]
)
def test_a_wrong_label_csv_is_one_line(text, words, tmp_path):
    forms.fer(tmp_path, per_class=1)
    (tmp_path / "FERPlus" / "FER2013Valid" / "label.csv").write_text(text)
    refused("ferplus", tmp_path, tmp_path, "FER2013Valid", words)


# ---- killed, interrupted, no space ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Enough images that a build takes seconds, packed."""
    path = tmp_path_factory.mktemp("large") / "CINIC-10"
    members = list(forms.cinic_members(forms.pictures(60), np.arange(60) % 10))
    forms.write_tar(str(path) + ".tar", [("%s/%s/%d_%s" % (*name.split("/")[:2], i, name.split("/")[2]), data) for i in range(300) for name, data in members])
    return str(path) + ".tar"


def start(source, out, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "data_prep", "build", "cinic10", "--from", source, "--out", str(out), "--workers", "2"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        **more,
    )


def gone(group):
    """Wait until no process of the group is left."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.5, 1.2, 2.0])
def test_a_killed_build_leaves_no_set_and_no_worker_and_the_next_completes_it(after, large, tmp_path):
    process = start(large, tmp_path)
    time.sleep(after)
    if process.poll() is None:
        process.kill()
        process.communicate()
        made = tmp_path / "cinic10"  # whole, where the kill came between its renaming and the end of the process
        assert not made.exists() or (made / "manifest.json").exists()
        assert gone(process.pid)
    assert start(large, tmp_path).wait() == 0
    assert os.listdir(str(tmp_path)) == ["cinic10"]


def test_ctrl_c_is_one_line_and_leaves_nothing(large, tmp_path):
    process = start(large, tmp_path)
    while not os.listdir(str(tmp_path)):
        time.sleep(0.05)
    time.sleep(0.3)  # the workers have begun
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130 and b"interrupted" in said and b"Traceback" not in said, said
    assert os.listdir(str(tmp_path)) == [] and gone(process.pid)


@pytest.mark.parametrize("most", [1 << 20, 30 << 20])
def test_a_full_disk_is_one_line_and_leaves_nothing(most, large, tmp_path):
    process = start(large, tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
    _, said = process.communicate()
    lines = [line for line in said.decode().splitlines() if line.startswith("error")]
    assert process.returncode == 1 and len(lines) == 1 and "free space" in lines[0] and "Traceback" not in said.decode()
    assert os.listdir(str(tmp_path)) == []


def test_an_lmdb_without_space_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_map_size", lambda *_: 1 << 15)
    refused("cifar10", tmp_path, cifar_tar(tmp_path, lambda name, data: data), "train_lmdb", "free space")


# ---- mutated files --------------------------------------------------------------------------------------------------


def seeds(folder):
    """(set, name of the file to give, function that writes it from its parts, parts as a list of (name, bytes))."""
    pictures = forms.pictures(12)
    jpegs = [forms.jpeg(image) for image in forms.pictures(4, 40)]
    yield "cifar10", "a.tar", forms.write_tar, list(forms.cifar10_members(CIFAR, LABELS, names="abcdefghij"))
    yield "cifar10", "a.tar.gz", forms.write_tar, list(forms.cifar10_members(CIFAR, LABELS, "python3"))
    yield "cifar10", "a.tar", forms.write_tar, list(forms.cifar10_members(CIFAR, LABELS, "binary"))
    yield "cifar100", "a", forms.write_folder, list(forms.cifar100_members(pictures, LABELS, LABELS, "4"))
    yield "cinic10", "a.zip", forms.write_zip, list(forms.cinic_members(pictures[:6], LABELS[:6]))
    yield "cinic10", "a.tar", forms.write_tar, list(forms.cinic_members(pictures[:6], LABELS[:6]))
    for form in ("npz", "4"):
        yield (
            "imagenet32",
            "a",
            forms.write_folder,
            [member for part in ("train", "test") for member in forms.imagenet32_members(pictures[:4], LABELS[:4], form, part)],
        )
    yield "webface", "a.zip", forms.write_zip, forms.webface_members(jpegs * 3, [0, 1, 2, 3] * 3, 4)
    yield "webface", "a", forms.write_folder, [("%d/%d.jpg" % (i % 2, i), data) for i, data in enumerate(jpegs * 3)]
    yield (
        "cinic10",
        "DS_10283_3192.zip",
        forms.write_zip,
        [("CINIC-10.tar", packed(folder, "a.tar", forms.write_tar, forms.cinic_members(pictures[:6], LABELS[:6])))],
    )
    yield (
        "imagenet32",
        "a",
        forms.write_folder,
        [
            ("Imagenet32_%s.zip" % name, packed(folder, "a.zip", forms.write_zip, forms.imagenet32_members(pictures[:4], LABELS[:4], "3", part)))
            for name, part in (("train", "train"), ("val", "test"))
        ],
    )
    faces = forms.fer(folder / "fer", per_class=1)
    members = [(entry.name, archives.read(entry)) for entry in archives.entries(str(folder / "fer"))]
    yield "ferplus", "a", forms.write_folder, members
    csv, votes = dict(members)["fer2013.csv"], [(name, data) for name, data in members if name != "fer2013.csv"]
    yield "ferplus", "a", forms.write_folder, [("icml_face_data.csv", forms.icml(csv.decode()).encode())] + votes
    yield "ferplus", "a", forms.write_folder, votes + [("fer2013.tar.gz", packed(folder, "a.tar.gz", forms.write_tar, [("fer2013/fer2013.csv", csv)]))]
    forms.write_pngs(folder / "png" / "FERPlus", faces)
    yield "ferplus", "a", forms.write_folder, votes + [(entry.name, archives.read(entry)) for entry in archives.entries(str(folder / "png"))]


def packed(folder, name, write, members):
    """The bytes of an archive."""
    write(folder / name, members)
    return (folder / name).read_bytes()


def mutated(rng, data):
    """`data` with a few things wrong: bits, numbers, cuts, repeats, insertions."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        at = rng.randrange(len(data) + 1) if rng.random() < 0.5 else rng.randrange(min(len(data), 700) + 1)
        end = min(len(data), at + rng.choice([1, 1, 2, 4, 8, 64, 512]))
        kind = rng.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at:end] = bytes(rng.randrange(256) for _ in range(end - at))
        elif kind == 2:
            data[at:end] = b""
        elif kind == 3:
            data[at:at] = data[at:end] * rng.choice([1, 2, 50])
        elif kind == 4:
            del data[at:]
        elif kind == 5:
            data[at:end] = rng.choice([b"\xff", b"\0", b"9", b",", b"\n", b" ", b"-"]) * (end - at)
        else:
            data[at:at] = rng.choice([b"../" * 3, b"/etc/passwd", b"\x80\x04cos\nsystem\n", b'"', b"\r\n", b"1e9", b"\xce\xd7#\n"])
    return bytes(data)


@pytest.mark.slow
def test_mutated_files_are_built_or_refused_in_one_line(tmp_path, capsys):
    rng = random.Random(int(os.environ.get("FUZZ_SEED", "1")))
    os.makedirs(str(tmp_path / "seed"))
    kinds = list(seeds(tmp_path / "seed"))
    outcomes = {True: 0, False: 0}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    home = set(os.listdir(ROOT))

    def too_long(*_):
        raise AssertionError("a file that hangs")

    signal.signal(signal.SIGALRM, too_long)
    for number in range(FUZZED):
        dataset, name, write, members = kinds[number % len(kinds)]
        box = tmp_path / "box"
        os.makedirs(str(box))
        if rng.random() < 0.7 or write is forms.write_folder:  # inside a sound archive, or the archive itself
            i = rng.randrange(len(members))
            write(box / name, members[:i] + [(members[i][0], mutated(rng, members[i][1]))] + members[i + 1 :])
        else:
            write(box / name, members)
            forms.write_folder(box, [(name, mutated(rng, (box / name).read_bytes()))])
        before = listing(box)
        signal.alarm(20)
        try:
            made = forms.build(dataset, box / "data", "--from", box / name, "--per-class", 2)
            assert sorted(os.listdir(str(box / "data"))) == [dataset] and os.path.exists(made + "/manifest.json")
            outcomes[True] += 1
        except errors.Fail as failure:
            assert str(failure).isprintable() and os.listdir(str(box / "data")) == [], failure
            outcomes[False] += 1
        finally:
            signal.alarm(0)
        assert {path for path in listing(box) if not path.startswith("data")} == before
        shutil.rmtree(str(box))
    assert set(os.listdir(ROOT)) == home
    assert sorted(os.listdir(str(tmp_path))) == ["seed"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 400 << 10  # KB
    with capsys.disabled():
        print("\n%d mutated files: %d built, %d refused in one line" % (FUZZED, outcomes[True], outcomes[False]))
    assert outcomes[False] > FUZZED // 4


def listing(folder):
    return {os.path.relpath(os.path.join(each, name), str(folder)) for each, _, names in os.walk(str(folder)) for name in names}


@pytest.mark.parametrize("name", ["png_chunk_too_large", "picture_chunk_too_large", "picture_end_too_large"])
def test_a_png_whose_chunk_claims_more_than_the_file_does_not_reach_opencv(name, monkeypatch):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", name), "rb") as f:
        data = f.read()
    monkeypatch.setattr(images.cv2, "imdecode", lambda *_: pytest.fail("OpenCV allocates what a chunk claims"))
    with pytest.raises(errors.Fail, match="damaged"):
        images.decode(data, "x")
