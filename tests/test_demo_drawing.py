"""What the demo draws: the official formats to the byte, the same each time, with work for the paper's label rule."""

import csv
import gzip
import hashlib
import os
import pickletools
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest

from common import errors
from common.caffe import binary
from common.drawn import faces, objects
from demo import draw, official, settings
from paper import facts

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ARCHIVE = "cifar-10-python.tar.gz"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """(folder, seconds that `python3 -m demo.draw` took)."""
    folder = str(tmp_path_factory.mktemp("demo"))
    start = time.monotonic()
    subprocess.check_call([sys.executable, "-m", "demo.draw", folder], cwd=ROOT, stdout=subprocess.DEVNULL)
    return folder, time.monotonic() - start


def members(folder):
    with tarfile.open(os.path.join(folder, ARCHIVE)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def unpickled(data):
    """The pickle's strings, as it was written: an independent reading by the opcodes, running nothing."""
    return [(opcode.name, argument) for opcode, argument, _ in pickletools.genops(data)]


def load(data):
    import pickle

    return pickle.loads(data, encoding="bytes")


def rows(path):
    with open(path, newline="") as f:
        return list(csv.reader(f))


def label(votes):
    """The paper's label rule in its plainest form: a class number, or None."""
    kept = [v if v > 1 else 0 for v in votes[:8]]
    return int(np.argmax(kept)) if 2 * max(kept) > sum(kept) else None


def test_cifar_archive_has_the_official_members_in_the_official_form(drawn):
    found = members(drawn[0])
    names = ["data_batch_%d" % i for i in range(1, 6)] + ["test_batch", "batches.meta"]
    assert list(found) == ["cifar-10-batches-py/" + name for name in names]
    for name in names[:6]:
        batch = load(found["cifar-10-batches-py/" + name])
        assert list(batch) == [b"batch_label", b"labels", b"data", b"filenames"]
        count = settings.SOURCE_TEST if name == "test_batch" else settings.SOURCE_TRAIN // 5
        assert batch[b"data"].dtype == np.uint8 and batch[b"data"].shape == (count, 3072)
        assert type(batch[b"labels"]) is list and set(map(type, batch[b"labels"])) == {int}
        assert len(batch[b"labels"]) == len(batch[b"filenames"]) == count
        assert all(isinstance(text, bytes) for text in batch[b"filenames"] + [batch[b"batch_label"]])
    meta = load(found["cifar-10-batches-py/batches.meta"])
    assert meta == {b"num_cases_per_batch": settings.SOURCE_TRAIN // 5, b"num_vis": 3072, b"label_names": [name.encode() for name in objects.CLASSES]}


def test_cifar_pickles_are_python_2s_of_protocol_2(drawn):
    data = members(drawn[0])["cifar-10-batches-py/data_batch_1"]
    opcodes = unpickled(data)
    assert opcodes[0] == ("PROTO", 2) and opcodes[-1][0] == "STOP"
    assert [a for name, a in opcodes if name == "GLOBAL"] == ["numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"]
    # Strings are Python 2's byte strings, not Python 3's `_codecs.encode` of text.
    assert {name for name, _ in opcodes if "STRING" in name or "UNICODE" in name or "BYTES" in name} == {"SHORT_BINSTRING", "BINSTRING"}


def test_cifar_rows_are_the_drawn_images_as_red_green_and_blue_planes(drawn, tmp_path):
    image = np.arange(5 * 32 * 32 * 3, dtype=np.uint32).reshape(5, 32, 32, 3).astype(np.uint8)
    official.write_cifar10(str(tmp_path / ARCHIVE), (image, np.arange(5)), (image[:2], np.arange(2)), objects.CLASSES)
    row = load(members(str(tmp_path))["cifar-10-batches-py/data_batch_3"])[b"data"][0]
    assert np.array_equal(row[:1024].reshape(32, 32), image[2, :, :, 0])
    assert np.array_equal(row[2048:].reshape(32, 32), image[2, :, :, 2])
    with pytest.raises(ValueError):
        official.write_cifar10(str(tmp_path / ARCHIVE), (image[:4], np.arange(4)), (image, np.arange(5)), objects.CLASSES)


def test_the_source_has_ten_equal_classes_that_mean_colour_does_not_tell():
    images, labels = draw.draw_source(np.random.RandomState(0), 1000)
    assert images.shape == (1000, 32, 32, 3) and images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [100] * settings.SOURCE_CLASSES
    colour = images.reshape(1000, -1, 3).mean(axis=1)
    centres = np.stack([colour[:500][labels[:500] == c].mean(axis=0) for c in range(10)])
    guess = ((colour[500:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert (guess == labels[500:]).mean() < 0.25


def test_fer2013_csv_has_the_official_columns_and_codes(drawn):
    found = rows(os.path.join(drawn[0], "fer2013.csv"))
    assert found[0] == ["emotion", "pixels", "Usage"]
    assert [row[2] for row in found[1:]] == [usage for usage, count in settings.ROWS.items() for _ in range(count)]
    assert {row[0] for row in found[1:]} == set("0123456")
    for row in found[1::50]:
        pixels = np.array(row[1].split(" "), int)
        assert pixels.size == 48 * 48 and pixels.min() >= 0 and pixels.max() <= 255 and pixels.std() > 3


def test_ferplus_files_have_the_official_columns_and_ten_votes(drawn):
    folder = os.path.join(drawn[0], "FERPlus")
    found = rows(os.path.join(folder, "fer2013new.csv"))
    assert found[0] == "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF".split(",")
    found = found[1:]
    assert [row[0] for row in found] == [row[2] for row in rows(os.path.join(drawn[0], "fer2013.csv"))[1:]]
    assert all(sum(map(int, row[2:])) == 10 for row in found)
    named = [row for row in found if row[1]]
    # As in FER+: some rows have no name and only NF votes, and from there on names are not row numbers.
    assert 0 < len(found) - len(named) < 0.05 * len(found)
    assert all(row[-1] == "10" for row in found if not row[1])
    assert len({row[1] for row in named}) == len(named)
    assert named[-1][1] != "fer%07d.png" % (len(found) - 1)
    for usage, part in official.PARTS.items():
        listed = rows(os.path.join(folder, part, "label.csv"))
        assert listed == [[row[1], "(0, 0, 48, 48)"] + row[2:] for row in named if row[0] == usage]
        with open(os.path.join(folder, part, "label.csv")) as f:
            assert ',"(0, 0, 48, 48)",' in f.readline()


def test_the_label_rule_drops_some_and_leaves_every_class_in_every_part(drawn):
    for part in official.PARTS.values():
        votes = [list(map(int, row[2:])) for row in rows(os.path.join(drawn[0], "FERPlus", part, "label.csv"))]
        labels = [label(v) for v in votes]
        counts = np.bincount([c for c in labels if c is not None], minlength=8)
        assert counts.min() >= 10 and counts[0] == counts.max() > 3 * counts.min()
        assert 0.01 < labels.count(None) / len(labels) < 0.15
        assert any(v[8] > 1 for v in votes)
        if part == "FER2013Train":
            assert counts.max() <= settings.BALANCED_PER_CLASS  # balancing only adds
    assert len(counts) == len(facts.EXPRESSIONS)


def test_most_labels_are_what_was_drawn():
    target = draw.draw_target(np.random.RandomState(4), {"Training": 300})
    labelled = [(facts.EXPRESSIONS[label(face.votes)], face.expression) for face in target if label(face.votes) is not None]
    assert np.mean([given == drawn for given, drawn in labelled]) > 0.85


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_one_others(drawn, tmp_path):
    draw.write(str(tmp_path))
    names = [ARCHIVE, "fer2013.csv", "FERPlus/fer2013new.csv", "FERPlus/FER2013Test/label.csv"]

    def digest(folder, name):
        with open(os.path.join(folder, name), "rb") as f:
            return hashlib.sha256(f.read()).hexdigest()

    assert [digest(drawn[0], name) for name in names] == [digest(str(tmp_path), name) for name in names]
    with open(os.path.join(drawn[0], ARCHIVE), "rb") as f:
        assert f.read(8)[4:8] == b"\0" * 4  # no time stamp
    one, other = (draw.draw_source(np.random.RandomState(seed), 10)[0] for seed in (1, 2))
    assert not np.array_equal(one, other)
    with gzip.open(os.path.join(drawn[0], ARCHIVE)) as f:
        assert len(f.read()) > 3072 * (settings.SOURCE_TRAIN + settings.SOURCE_TEST)


def test_drawing_takes_seconds(drawn):
    assert drawn[1] < 30  # about 3 s; the rest is for a busy machine


@pytest.mark.parametrize("name", facts.EXPRESSIONS)
def test_an_expression_changes_the_face(name):
    still = faces.face(np.random.RandomState(1), {"neutral": 1.0}, 1.0).astype(int)
    moved = faces.face(np.random.RandomState(1), {name: 1.0}, 1.0).astype(int)
    assert still.shape == (48, 48) and (abs(still - moved).max() > 40) == (name != "neutral")


def test_the_contact_sheet_is_a_png(tmp_path):
    train = draw.draw_source(np.random.RandomState(1), 40)
    target = draw.draw_target(np.random.RandomState(1), {"Training": 60})
    assert draw.contact_sheet(train, target).shape == (18 * 96, 16 * 96, 3)
    done = subprocess.run(
        [sys.executable, "-m", "demo.draw", str(tmp_path), "--sheet", "sheet.txt"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert done.returncode == 1 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


# The closing picture.


@pytest.fixture(scope="module")
def tested(tmp_path_factory):
    """A folder with a test LMDB and the scores of two networks on it."""
    lmdb = pytest.importorskip("lmdb")
    from common import scores

    folder, rng = tmp_path_factory.mktemp("tested"), np.random.RandomState(0)
    labels = np.repeat(np.arange(8), 3)
    keys = np.array(["%08d" % i for i in range(len(labels))])
    with lmdb.open(str(folder / "test_lmdb"), map_size=1 << 24) as db, db.begin(write=True) as transaction:
        for key, value in zip(keys, labels):
            transaction.put(key.encode(), binary.datum(np.full((3, 36, 36), 10 * value, np.uint8), value))
    for name in ("fine", "scratch"):
        p = rng.dirichlet(np.ones(8), len(labels)).astype(np.float32)
        scores.write(str(folder / (name + ".npz")), scores.Scores(keys, keys, labels, p, p, np.array(facts.EXPRESSIONS), "test"))
    return folder


def picture(tested, out, **changed):
    arguments = dict(finetuned=tested / "fine.npz", scratch=tested / "scratch.npz", lmdb=tested / "test_lmdb", out=out)
    arguments.update(changed)
    command = [sys.executable, "-m", "demo.picture"] + [x for k, v in arguments.items() for x in ("--" + k, str(v))]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


def test_the_picture_is_made_from_scores_and_lmdb(tested, tmp_path):
    done = picture(tested, tmp_path / "demo.png")
    assert done.returncode == 0, done.stderr
    cv2 = pytest.importorskip("cv2")
    assert cv2.imread(str(tmp_path / "demo.png")).shape[1] > 1500


@pytest.mark.slow
def test_the_picture_refuses_what_does_not_belong_together(tested, tmp_path):
    for wrong in (dict(finetuned=tmp_path / "none.npz"), dict(lmdb=tmp_path), dict(scratch=__file__)):
        done = picture(tested, tmp_path / "demo.png", **wrong)
        assert done.returncode == 1 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "demo.png").exists()


def test_no_drawn_text_of_the_picture_overlaps(tested, monkeypatch):
    from matplotlib.image import AxesImage

    from common import scores
    from demo import picture as module

    runs = [scores.read(str(tested / name)) for name in ("fine.npz", "scratch.npz")]
    shown = module.first_of_each(runs[0].labels, 8)
    assert runs[0].labels[shown].tolist() == list(range(8)) * 3
    images = module.read_images(str(tested / "test_lmdb"), runs[0].keys[shown])
    assert np.array_equal(images[:, 0, 0], 10 * runs[0].labels[shown])
    figure = module.compose(runs[0], runs[1], images, shown)
    drawn, draw_text = [], module.figures.plt.Text.draw
    monkeypatch.setattr(module.figures.plt.Text, "draw", lambda text, renderer: (drawn.append(text), draw_text(text, renderer)))
    figure.canvas.draw()
    renderer, boxes = figure.canvas.get_renderer(), []
    for text in drawn:  # not the ticks that Matplotlib keeps outside a plot
        # Rotated names: their boxes overlap although the letters do not.
        if text.get_text().strip() and text.get_visible() and not text.get_rotation() % 90:
            boxes.append((text.get_text(), text.get_window_extent(renderer)))
    boxes += [("an image", image.get_window_extent(renderer)) for image in figure.findobj(AxesImage)]
    assert len(boxes) > 24 + 24
    clashes = [(a, b) for i, (a, one) in enumerate(boxes) for b, other in boxes[:i] if one.overlaps(other)]
    assert not clashes
    with pytest.raises(errors.Fail):
        module.read_images(str(tested / "test_lmdb"), ["99999999"])


def test_the_confusion_matrix_is_coloured_by_row_and_annotated_with_counts():
    figures = pytest.importorskip("evaluation.report.figures")
    counts = np.array([[90, 10, 0], [0, 0, 0], [0, 1, 3]])
    _, ax = figures.plt.subplots()
    figures.confusion_matrix(ax, counts, ["a", "b", "c"])
    assert np.allclose(ax.collections[0].get_array().ravel(), [0.9, 0.1, 0, 0, 0, 0, 0, 0.25, 0.75])
    assert [t.get_text() for t in ax.texts] == ["90", "10", "1", "3"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a  n=100", "b  n=0", "c  n=4"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first class on top
    _, ax = figures.plt.subplots()
    figures.confusion_matrix(ax, counts, ["a", "b", "c"], annotate="percent")
    assert [t.get_text() for t in ax.texts] == ["90.0", "10.0", "25.0", "75.0"]
