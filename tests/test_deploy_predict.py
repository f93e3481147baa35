"""Predict: faces given and found, images, folders, videos, what is printed and drawn, and everything that is no input."""

import csv
import errno
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib

import cv2
import evaluation_data
import numpy as np
import pytest

from common import errors, files
from data_prep import images
from deploy import check, export
from fer_lite import cli, copies, crops, faces, predict, sources, video
from paper import facts

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ["THREADS"] = "1"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An exported network with random weights (no int8), and its folder."""
    folder = str(tmp_path_factory.mktemp("predict"))
    mean = np.full((3, 36, 36), 120, np.float32)
    os.makedirs(os.path.join(folder, "data"))
    evaluation_data.binary.write_mean(os.path.join(folder, "data", "mean.binaryproto"), mean)
    out = os.path.join(folder, "model")
    export.export(evaluation_data.write_network(folder)[1], out, os.path.join(folder, "data"), caffe="")
    return out


@pytest.fixture(scope="module")
def photograph():
    """A photograph of a person (public domain, in scikit-image's wheel): uint8 512 x 512 x 3 BGR; the face is at about (224, 120)."""
    data = pytest.importorskip("skimage.data", reason="the photograph is scikit-image's")
    return np.ascontiguousarray(data.astronaut()[..., ::-1])


@pytest.fixture
def run(monkeypatch, capfd):
    """Runs the command; (exit status, its records, stderr)."""

    def run_(*arguments):
        monkeypatch.setattr(sys, "argv", ["predict"] + [str(a) for a in arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capfd.readouterr()
        records = out if "--csv" in arguments else [json.loads(line) for line in out.splitlines()]
        return end.value.code or 0, records, err

    return run_


def save(path, image):
    assert cv2.imwrite(str(path), image)
    return str(path)


def near_the_face(box):
    x, y, width, height = box
    return abs(x + width / 2 - 224) < 20 and abs(y + height / 2 - 120) < 25 and 60 < width < 130 and 80 < height < 150


def test_given_faces_give_what_evaluation_gives(model, tmp_path, run):
    drawn = check.drawn_faces(4)
    paths = [save(tmp_path / ("%d.png" % i), face) for i, face in enumerate(drawn)]
    network = predict.runtimes.onnx_runtime(os.path.join(model, "model.onnx"))
    ten, one = crops.ten_crop_mean(network, images.fit_all(drawn, "resize"), np.float32(0), 32)
    for count, wanted in ((10, ten), (1, one)):
        status, records, err = run("--model", model, "--faces", "given", "--crops", count, *paths)
        assert status == 0 and not err
        assert [r["file"] for r in records] == paths and all(r["box"] == [0, 0, 48, 48] and r["score"] is None for r in records)
        assert [list(r["probabilities"]) for r in records] == [list(facts.EXPRESSIONS)] * 4
        assert abs(np.array([list(r["probabilities"].values()) for r in records]) - wanted).max() < 1e-5
        assert [r["label"] for r in records] == [facts.EXPRESSIONS[i] for i in wanted.argmax(axis=1)]
    assert abs(ten - one).max() > 1e-4


def test_a_cut_face_is_what_data_prep_stores(photograph):
    face = check.drawn_faces(1)[0]
    assert (faces.cut(face, (0, 0, 48, 48)) == images.fit(face, "resize")).all()
    assert (faces.cut(cv2.cvtColor(face, cv2.COLOR_GRAY2BGR), (0, 0, 48, 48)) == images.fit(face, "resize")).all()
    beyond = faces.cut(photograph, (-40, -30, 100, 100))
    assert beyond.shape == (3, 36, 36) and (beyond[0, 20:, 2] == beyond[0, 20:, 10]).all()  # the edge is continued
    x, y, side, other = faces.square((100, 50, 80, 100))
    assert side == other == round(1.15 * (80 * 100) ** 0.5) and abs(x + side / 2 - 140) <= 1 and abs(y + side / 2 - 100) <= 1


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 3)])
def test_a_square_is_cut_alike_inside_an_image_and_beyond_its_edge(shape):
    image = np.random.RandomState(4).randint(0, 256, shape).astype(np.uint8)
    wider = np.pad(image, [(100, 100)] * 2 + [(0, 0)] * (len(shape) - 2), mode="edge")
    for x, y, side in ((0, 0, 40), (20, 0, 40), (21, 0, 40), (-3, 5, 20), (50, 30, 20), (-90, -90, 30), (10, 10, 1), (-20, -20, 90)):
        np.testing.assert_array_equal(faces.cut(image, (x, y, side, side)), faces.cut(wider, (x + 100, y + 100, side, side)))
        if side > 1:
            one, other = (faces.view(each, x + far + side / 2, y + far + side / 2, side, 30, 48) for each, far in ((image, 0), (wider, 100)))
            np.testing.assert_array_equal(one, other)


def test_faces_of_a_photograph_are_found_and_drawn(model, photograph, tmp_path, run):
    two = save(tmp_path / "two.png", np.hstack([photograph, photograph[:, ::-1]]))
    drawn = tmp_path / "drawn.jpg"
    status, records, err = run("--model", model, two, "--draw", drawn)
    assert status == 0 and err == "wrote %s\n" % drawn and len(records) == 2
    one, other = sorted(records, key=lambda r: r["box"])
    assert near_the_face(one["box"]) and near_the_face([1024 - other["box"][0] - other["box"][2]] + other["box"][1:]) and one["score"] > 0.8
    for record in records:
        shares = record["probabilities"]
        assert abs(sum(shares.values()) - 1) < 1e-4 and record["label"] == max(shares, key=shares.get)
    changed = cv2.absdiff(cv2.imread(str(drawn)), cv2.imread(two)).max(axis=2) > 60
    x, y, width, height = one["box"]
    assert changed[y, x : x + width].mean() > 0.8 and not changed[300:].any()
    assert not cv2.absdiff(cv2.imread(two)[:, :512], photograph).any()


def test_a_face_is_found_at_any_size(model, photograph):
    p = predict.Predictor(model)
    large = cv2.resize(photograph, None, fx=5, fy=5)
    for image, factor in ((large, 5), (photograph, 1), (cv2.copyMakeBorder(photograph, 300, 300, 900, 900, cv2.BORDER_REPLICATE), None)):
        found = p(image)
        assert len(found) == 1
        if factor:
            assert near_the_face([v / factor for v in found[0]["box"]])
    assert p(photograph[..., 0])[0]["box"] == pytest.approx(p(photograph)[0]["box"], abs=12)  # grey
    with pytest.raises(ValueError, match="uint8"):
        p(photograph.astype(np.float32))
    with pytest.raises(ValueError, match="uint8"):
        p(np.dstack([photograph, photograph]))
    assert [p(np.zeros(shape + (3,), np.uint8)) for shape in ((1, 1), (1, 5000), (5000, 1))] == [[], [], []]


def test_an_ensemble_is_the_mean_of_its_members(photograph, tmp_path):
    names = ["resnet20_cifar10", "resnet20_scratch"]

    def shares(model, **how):
        (found,) = predict.Predictor(model, **how)(photograph)
        assert found["label"] == max(found["probabilities"], key=found["probabilities"].get)
        return np.array(list(found["probabilities"].values()))

    for how in ({}, {"ten_crops": False, "find": "given"}):
        one, other = (shares(name, **how) for name in names)
        assert abs(one - other).max() > 1e-4
        np.testing.assert_allclose(shares("+".join(names), **how), (one + other) / 2, atol=2e-6)
    with pytest.raises(errors.Fail, match="no model resnet99"):
        predict.Predictor("resnet20_cifar10+resnet99")
    folder = tmp_path / "a+b"  # one network
    shutil.copytree(os.path.join(ROOT, "models", names[0]), folder)
    np.testing.assert_array_equal(shares(str(folder)), shares(names[0]))


def test_no_face_is_said(model, tmp_path, run):
    path = save(tmp_path / "grey.png", np.full((200, 300, 3), 128, np.uint8))
    status, records, err = run("--model", model, path)
    assert status == 0 and records == [{"file": path, "box": None, "label": None, "probabilities": None, "problem": "no face found"}]
    _, table, _ = run("--model", model, path, "--csv")
    assert list(csv.DictReader(io.StringIO(table)))[0]["problem"] == "no face found"


def test_a_folder_as_csv_with_a_bad_file_among_the_good(model, photograph, tmp_path, run):
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    save(tmp_path / "in" / "a.jpg", photograph)
    save(tmp_path / "in" / "deeper" / "b.webp", photograph)
    (tmp_path / "in" / "bad.png").write_text("no image")
    (tmp_path / "in" / "notes.txt").write_text("no matter")
    (tmp_path / "in" / "loop.png").symlink_to("loop.png")
    status, table, err = run("--model", model, tmp_path / "in", "--csv", "--draw", tmp_path / "out")
    lines = list(csv.DictReader(io.StringIO(table)))
    assert list(lines[0]) == ["file", "frame", "time", "track", "x", "y", "width", "height", "score", "roll", "label", *facts.EXPRESSIONS, "problem"]
    assert [os.path.basename(line["file"]) for line in lines] == ["a.jpg", "b.webp"]
    assert all(near_the_face([int(line[k]) for k in ("x", "y", "width", "height")]) for line in lines)
    assert status == 1 and err.splitlines() == [
        "error: %s: no image that is read (.jpg .jpeg .jfif .png .webp .bmp .tif .tiff .gif), and by its name no video" % (tmp_path / "in" / "bad.png"),
        "error: %s cannot be read: %s" % (tmp_path / "in" / "loop.png", os.strerror(errno.ELOOP)),
        "wrote drawn images to %s" % (tmp_path / "out"),
        "error: 2 of 4 files could not be read (named above)",
    ]
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")) == ["a.jpg", "deeper/b.webp"]


def write_video(path, frames, code="MJPG", rate=10):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), rate, frames[0].shape[1::-1])
    for frame in frames:
        writer.write(frame)
    writer.release()
    return str(path)


@pytest.fixture(scope="module")
def clip(photograph, tmp_path_factory):
    """30 frames at 10 a second, in which the face goes to the right by 3 pixels a frame."""
    small = photograph[:320, :384]
    return write_video(tmp_path_factory.mktemp("clip") / "clip.avi", [np.roll(small, 3 * i, axis=1) for i in range(30)])


def test_a_video_is_read_at_the_rate_asked_for(model, clip, tmp_path, run):
    drawn = tmp_path / "drawn.mp4"
    status, records, err = run("--model", model, clip, "--crops", 1, "--fps", 2, "--draw", drawn)
    assert status == 0 and err.startswith("wrote %s: 3.0 s, " % drawn) and err.count("\n") == 1
    assert [(r["frame"], r["time"]) for r in records] == [(0, 0.0), (5, 0.5), (10, 1.0), (15, 1.5), (20, 2.0), (25, 2.5)]
    left = [r["box"][0] for r in records]
    assert all(8 <= b - a <= 22 for a, b in zip(left, left[1:]))
    capture = cv2.VideoCapture(str(drawn))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 6 and capture.get(cv2.CAP_PROP_FPS) == pytest.approx(2)
    assert len(list(sources.frames(clip))) == 30
    assert len(run("--model", model, clip, "--crops", 1, "--limit", 3)[1]) == 3


@pytest.mark.parametrize(
    "kind, code, said", ((".avi", "MJPG", "ends after 1[0-9] frames: it is cut short"), (".mp4", "mp4v", "it is cut short, the last [0-9,]+ bytes"))
)
def test_a_video_that_is_cut_short_says_so_after_what_it_has(model, clip, tmp_path, run, kind, code, said):
    whole = write_video(tmp_path / ("whole" + kind), [frame.image for frame in sources.frames(clip)], code)
    with open(whole, "rb") as f:
        data = f.read()
    half = tmp_path / ("half" + kind)
    half.write_bytes(data[: len(data) // 2])
    status, records, err = run("--model", model, half, "--crops", 1, "--fps", 2)
    assert status == 1 and err.count("\n") == 1
    assert re.search(said, err)
    assert (len(records) >= 2) == (kind == ".avi")


def test_video_takes_constant_memory(tmp_path):
    noise = np.random.RandomState(0).randint(0, 256, (60, 80, 3)).astype(np.uint8)
    path = write_video(tmp_path / "long.avi", [cv2.resize(np.roll(noise, i, axis=1), (640, 480)) for i in range(400)])  # 370 MB decoded
    script = (
        "import resource, sys; sys.path.insert(0, %r)\nfrom fer_lite import sources\n"
        "stream = sources.frames(%r)\nfor _ in range(20): next(stream)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nprint(sum(1 for _ in stream))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)" % (ROOT, path)
    )
    count, grown = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True, universal_newlines=True).stdout.split()
    assert int(count) == 380 and int(grown) < 50 * 1024


def test_a_camera_gives_its_newest_frames_at_the_rate_asked_for(clip):
    """OpenCV reads a file where a camera's device would be: all 30 frames are there at once, so that few of them are due."""
    stream, seen = video.camera(clip, fps=20), []
    with pytest.raises(errors.Fail, match="gives no more frames"):
        for frame in stream:
            seen.append(frame)
    assert 1 <= len(seen) < 30 and all(b.time - a.time > 0.04 for a, b in zip(seen, seen[1:])) and [f.frame for f in seen] == list(range(len(seen)))


def png(width, height, body=b"0" * 1000):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


JPEG = cv2.imencode(".jpg", np.full((64, 64, 3), 99, np.uint8))[1].tobytes()
BAD = {
    "text.txt": (b"hello", "no image that is read"),
    "text.jpg": (b"hello", "no image that is read"),
    "empty.png": (b"", "empty, no image"),
    "huge.png": (png(60000, 60000), "at most 100 million pixels"),
    "huge.webp": (b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff" + b"\0" * 20, "huge.webp"),
    "cut.png": (png(60, 60)[:-30], "cut short"),
    "cut.jpg": (JPEG[: len(JPEG) // 2], "damaged JPEG"),
    "head.jpg": (JPEG[:12], "damaged JPEG"),
    "text.mp4": (b"hello" * 100, "no video that OpenCV can read"),
    "list.mp4": (b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", "no video that OpenCV can read"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_files_are_one_line(model, tmp_path, run, name):
    content, said = BAD[name]
    (tmp_path / name).write_bytes(content)
    status, records, err = run("--model", model, tmp_path / name)
    assert (status, records) == (1, []) and err.count("\n") == 1 and err.startswith("error: ") and said in err and name in err


def test_bad_arguments_are_one_line(model, photograph, tmp_path, run):
    photo, notes = save(tmp_path / "photo.png", photograph), tmp_path / "notes.txt"
    notes.write_text("no model")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    (tmp_path / "empty").mkdir()
    for arguments, said in (
        (("--model", model, tmp_path / "nowhere.jpg"), "is not there"),
        (("--model", model, tmp_path / "empty"), "holds no image and no video"),
        (("--model", model, "98"), "camera 98 cannot be opened"),
        (("--model", tmp_path / "nowhere", photo), "there is no model"),
        (("--model", notes, photo), "is no ONNX model"),
        (("--model", tmp_path / "bad.onnx", photo), "damaged or no ONNX model"),
        (("--model", faces.YUNET, photo), "is no network of this project"),
        (("--model", model, photo, "--draw", photo), "would be replaced by the drawn copy of"),
        (("--model", model, photo, "--draw", tmp_path / "x.gif"), "a drawn copy of"),
    ):
        status, records, err = run(*arguments)
        assert (status, records) == (1, []) and err.count("\n") == 1 and said in err, err
    assert not cv2.absdiff(cv2.imread(photo), photograph).any()


@pytest.mark.parametrize("option", ("--limit 0", "--limit -1", "--threads -1", "--search 0", "--score 7", "--threshold 80", "--threshold nan"))
def test_numbers_that_mean_nothing_are_refused(run, option):
    status, records, err = run("photo.jpg", *option.split())
    assert (status, records) == (2, []) and "%s: %s is not between" % tuple(option.split()) in err


def test_a_picture_that_its_kind_does_not_hold_is_one_line(model, tmp_path, run):
    wide = save(tmp_path / "wide.png", np.full((12, 16400, 3), 99, np.uint8))
    status, _, err = run("--model", model, wide, "--draw", tmp_path / "out.webp")
    assert status == 1 and err.count("\n") == 1 and wide in err and "16400x12" in err and os.listdir(tmp_path) == ["wide.png"]


def test_a_drawn_picture_on_a_full_disk_is_whole_or_absent(tmp_path, monkeypatch):
    """The half that was written was put in the place of the copy that was there."""
    (tmp_path / "out.png").write_bytes(b"earlier")

    class Full(io.FileIO):
        def write(self, data):
            super().write(data[:9])
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(copies, "open", Full, raising=False)
    image = np.zeros((50, 50, 3), np.uint8)
    with pytest.raises(OSError, match="full"), copies.copy("a.png", str(tmp_path / "out.png")) as keep:
        keep(image, video.Frame("a.png", None, None, image, None))
    assert (tmp_path / "out.png").read_bytes() == b"earlier" and os.listdir(tmp_path) == ["out.png"]


def test_three_lines_of_python_from_anywhere_with_light_dependencies(model, photograph, tmp_path):
    photo = save(tmp_path / "photo.png", photograph)
    script = (
        "import sys; sys.path.append(%r)\nfrom fer_lite import predict\n"
        "p = predict.Predictor(%r)\nprint(p(%r)[0]['label'])\n"
        "heavy = {'google.protobuf', 'onnx', 'lmdb', 'caffe', 'torch', 'scipy', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy" % (ROOT, model, photo)
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert ran.returncode == 0 and ran.stdout.strip() in facts.EXPRESSIONS, ran.stdout


def test_yunet_is_the_file_that_its_licence_is_for():
    assert files.sha256(faces.YUNET) == "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
    with open(os.path.join(os.path.dirname(faces.YUNET), "LICENSE")) as f:
        assert f.read().startswith("MIT License")


def test_a_terminal_gets_a_table_and_a_threshold_makes_labels_uncertain(model, photograph, tmp_path, run, monkeypatch):
    two = save(tmp_path / "two.png", np.hstack([photograph, photograph[:, ::-1]]))
    nobody = save(tmp_path / "nobody.png", np.full((99, 99, 3), 9, np.uint8))
    monkeypatch.setattr(sys, "argv", ["fer-lite", "--model", model, "--format", "table", "--threshold", "1", two, nobody])
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    with pytest.raises(SystemExit):
        cli.main()
    one, other, none = shown.getvalue().splitlines()
    assert two in one and two in other and "uncertain" in one and re.search(r"\w+ +\d+%  \w+ +\d+%  at \d+,\d+ ", one)
    assert none == nobody + "  no face found"
    odd = save(tmp_path / "odd.png", np.full((99, 99, 3), 9, np.uint8))
    os.rename(odd, tmp_path / "odd\x1b[31m\n.png")
    monkeypatch.setattr(sys, "argv", ["fer-lite", "--model", model, "--format", "table", str(tmp_path / "odd\x1b[31m\n.png")])
    with pytest.raises(SystemExit):
        cli.main()
    assert shown.getvalue().splitlines()[3:] == [str(tmp_path / "odd?[31m?.png") + "  no face found"]
