"""The Predictor in users' hands: threads, every kind of input, phones' photographs, tilted faces, batches."""

import collections
import concurrent.futures
import errno
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from PIL import Image

import fer_lite
from benchmarks import predict as bench
from fer_lite import crops, errors, faces, images, names, predict, sources

MODEL = "resnet20_cifar10"


@pytest.fixture(scope="module")
def predictor():
    return fer_lite.Predictor(MODEL, ten_crops=False, threads=1)


@pytest.fixture(scope="module")
def photograph():
    """A photograph of a person (public domain, in scikit-image's wheel): uint8 512 x 512 x 3 BGR; the face is at about (224, 120)."""
    data = pytest.importorskip("skimage.data", reason="the photograph is scikit-image's")
    return np.ascontiguousarray(data.astronaut()[..., ::-1])


@pytest.fixture(scope="module")
def small(photograph):
    """Its face, at about (68, 60), and what is around it: uint8 160 x 160 x 3."""
    return np.ascontiguousarray(photograph[40:200, 144:304])


def turned(image, degrees):
    """Turned clockwise around its middle, its edge continued."""
    middle = (np.array(image.shape[1::-1]) - 1) / 2
    return cv2.warpAffine(image, cv2.getRotationMatrix2D(middle.tolist(), -degrees, 1), image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def test_threads_give_what_one_gives(predictor, small):
    """Images of other sizes beside each other, which one detector in two threads cannot hold; shared Predictors, and one a thread."""
    looks = [small, cv2.resize(small, (120, 150)), np.hstack([small, small[:, ::-1]]), np.full((100, 140, 3), 90, np.uint8)]
    wanted = [predictor(image, thorough=False) for image in looks]
    assert [len(found) for found in wanted] == [1, 1, 2, 0]
    ours = [fer_lite.Predictor(MODEL, ten_crops=False, threads=1) for _ in range(2)] + [predictor] * 6
    before = cv2.getNumThreads()

    def work(which):
        return [ours[which](looks[(i + which) % len(looks)], thorough=False) == wanted[(i + which) % len(looks)] for i in range(200)]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(map(all, pool.map(work, range(8))))
    assert cv2.getNumThreads() == before


def test_detectors_made_at_once_leave_opencvs_log_level(monkeypatch):
    monkeypatch.setattr(faces, "_idle", collections.deque())
    create, before = cv2.FaceDetectorYN.create, images.log_level(3)

    def slow(*arguments):
        time.sleep(0.05 + 0.1 * draw.pop())
        return create(*arguments)

    def hold(_):
        with faces.detector():
            time.sleep(0.3)

    draw = [1, 1, 1, 0]
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", slow)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(hold, range(4)))
    assert images.log_level(before) == 3


def test_every_way_to_hand_over_an_image(predictor, small, tmp_path):
    (wanted,) = predictor(small)
    assert cv2.imwrite(str(tmp_path / "a.png"), small)
    ways = [
        str(tmp_path / "a.png"),
        tmp_path / "a.png",
        (tmp_path / "a.png").read_bytes(),
        Image.fromarray(small[..., ::-1]),
        small.astype(np.uint16) * 257,
        np.dstack([small, np.zeros_like(small[..., :1])]),
        small[:, ::-1][:, ::-1],
    ]
    assert all(predictor(way) == [wanted] for way in ways)
    assert predictor(ways[:4] + [np.zeros((50, 50), np.uint8)]) == [[wanted]] * 4 + [[]] == predictor(tuple(ways[:4]) + (np.zeros((50, 50), np.uint8),))
    stream = predictor(way for way in ways * 10)
    assert next(stream) == [wanted] and sum(1 for _ in stream) == 69
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    assert predictor(grey) == predictor(grey[..., None]) == predictor(Image.fromarray(grey)) == predictor(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
    assert predictor([]) == []
    for many in ({1: ways[0]}.values(), collections.deque(ways[:1]), {ways[0]}):
        assert list(predictor(many)) == [[wanted]]


@pytest.mark.parametrize("wanted", ({"find": "Given"}, {"score": 7}, {"score": float("nan")}, {"threshold": 80}, {"threshold": -1}, {"largest_side": 0}))
def test_a_value_that_means_nothing_is_refused(wanted):
    with pytest.raises(ValueError, match=next(iter(wanted))):
        fer_lite.Predictor(MODEL, **wanted)


def test_a_predictor_goes_to_another_process(small):
    ours = fer_lite.Predictor(MODEL + "+resnet32_cifar10", ten_crops=True, threads=1, threshold=0.3)
    ours.threshold = 1.0
    theirs = pickle.loads(pickle.dumps(ours))
    assert theirs(small) == ours(small) and theirs(small)[0]["label"] == predict.UNCERTAIN


def test_the_installed_package_finds_a_checkouts_networks(tmp_path, monkeypatch):
    """README's names of networks that the wheel has not."""
    shutil.copytree(os.path.join(names.ROOT, "models", MODEL), tmp_path / "models" / MODEL)
    monkeypatch.setattr(names, "ROOT", str(tmp_path / "package"))
    monkeypatch.chdir(tmp_path)
    assert fer_lite.Predictor("%s+%s/model_int8.onnx" % (MODEL, MODEL)).size == 32


@pytest.mark.parametrize(
    "bad, kind",
    (
        (None, TypeError),
        (3, TypeError),
        (np.zeros((0, 5, 3), np.uint8), ValueError),
        (np.zeros((9, 9, 3)), ValueError),
        (np.zeros((9, 9, 2), np.uint8), ValueError),
        (np.zeros(9, np.uint8), ValueError),
        ([[1, 2]], TypeError),
        ("nowhere.jpg", errors.Fail),
        (b"", errors.Fail),
        (b"hello", errors.Fail),
        (io.BytesIO(b"hello"), TypeError),  # not a stream of images, line by line
        (os.path.dirname(__file__), errors.Fail),
    ),
)
def test_what_is_no_image_is_said_in_one_line(predictor, bad, kind):
    with pytest.raises(kind) as said:
        predictor(bad)
    assert "\n" not in str(said.value) and (bad if isinstance(bad, str) else "image") in str(said.value)


def test_what_came_before_a_bad_image_is_not_lost(predictor, small):
    answers = predictor(image for image in [small, small, b"hello"])
    assert next(answers) == next(answers) == predictor(small)
    with pytest.raises(errors.Fail):
        next(answers)


def test_a_video_is_called_one(predictor, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"x")
    with pytest.raises(errors.Fail, match="clip.mp4: a video .*sources.frames"):
        predictor(tmp_path / "clip.mp4")


def test_faces_go_through_the_network_together(predictor, small):
    sizes = []

    class Counting:
        def probabilities(self, shown):
            sizes.append(len(shown))
            return predictor.network.probabilities(shown)

    ours = fer_lite.Predictor(MODEL, ten_crops=False, threads=1)
    ours.network = Counting()
    assert ours([small] * 3 + [np.hstack([small, small])]) == predictor([small] * 3 + [np.hstack([small, small])]) and sizes == [5]
    face = cv2.cvtColor(small[20:120, 20:120], cv2.COLOR_BGR2GRAY)
    (one, other) = predictor.predict_faces([face, face[:, ::-1]])
    given = fer_lite.Predictor(MODEL, find="given", ten_crops=False, threads=1)(face)[0]
    assert one == {name: given[name] for name in ("label", "probabilities")} and other["probabilities"] != one["probabilities"]
    assert predictor.predict_faces(np.stack([face, face])) == [one, one] and predictor.predict_faces([]) == []
    for single in (face, small, "face.png"):
        with pytest.raises(TypeError, match="in a list"):
            predictor.predict_faces(single)


def test_below_the_threshold_a_label_is_uncertain(small):
    (sure,), (unsure,) = (fer_lite.Predictor(MODEL, threads=1, threshold=threshold)(small) for threshold in (0.0, 1.0))
    assert unsure["label"] == "uncertain" and sure["label"] == max(sure["probabilities"], key=sure["probabilities"].get)
    assert unsure["probabilities"] == sure["probabilities"]


def test_how_many_crops_is_the_models_own(tmp_path):
    folder = os.path.join(names.ROOT, "models", MODEL)
    shutil.copy(os.path.join(folder, "model.onnx"), str(tmp_path))
    assert fer_lite.Predictor(tmp_path).ten_crops
    (tmp_path / "model.json").write_text(json.dumps(dict(names.facts(folder), crops=1)))
    assert not fer_lite.Predictor(tmp_path).ten_crops and not fer_lite.Predictor().ten_crops
    assert fer_lite.Predictor(tmp_path, ten_crops=True).ten_crops


# Files

KINDS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "GIF": ".gif"}


def encoded(image, kind, **how):
    out = io.BytesIO()
    Image.fromarray(image[..., ::-1] if image.ndim == 3 else image).save(out, kind, **how)
    return out.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ("JPEG", "PNG", "WEBP", "TIFF"))
def test_every_format_is_turned_as_its_exif_says(small, kind, orientation):
    wanted = small[:120]
    backs = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a.swapaxes(0, 1), 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(np.ascontiguousarray(backs[orientation](wanted)), kind, exif=exif, **({"quality": 95} if kind != "TIFF" and kind != "PNG" else {}))
    read = sources.read_image(data)
    assert read.shape == wanted.shape and np.abs(read.astype(int) - wanted).mean() < 6


@pytest.mark.parametrize("how", (dict(subsampling=2), dict(progressive=True, quality=40), dict(grey=True)), ids=("4:2:0", "progressive", "grey"))
def test_jpegs_have_opencvs_pixels_and_can_be_drawn_on(small, how):
    how = dict(how)
    data = encoded(small[..., 0] if how.pop("grey", False) else small, "JPEG", **how)
    read = sources.read_image(data)
    np.testing.assert_array_equal(read, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    assert read.flags.writeable and read.flags.c_contiguous
    with pytest.raises(errors.Fail, match="cut short"):
        sources.read_image(data[: len(data) // 2])


def test_heic_is_turned_once(small):
    """The container's own turn (irot) is the decoder's to apply; what EXIF repeats of it is not applied again."""
    pytest.importorskip("pillow_heif", reason="needs pillow-heif: pip install -r env/package.txt")
    exif = Image.Exif()
    exif[0x0112] = 6
    read = sources.read_image(encoded(small[:120], "HEIF", exif=exif))
    assert read.shape == (120, 160, 3) and np.abs(read.astype(int) - small[:120]).mean() < 8


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_file_is_read_its_first_frame(small, tmp_path, kind):
    more = {"save_all": True, "append_images": [Image.new("RGB", (160, 160))]} if kind in ("GIF", "WEBP", "TIFF") else {}
    (tmp_path / ("a" + KINDS[kind])).write_bytes(encoded(small, kind, **more))
    read = sources.read_image(tmp_path / ("a" + KINDS[kind]))
    assert read.dtype == np.uint8 and read.shape == small.shape and np.abs(read.astype(int) - small).mean() < 8
    assert sources.expand([str(tmp_path)]) == [str(tmp_path / ("a" + KINDS[kind]))]


@pytest.mark.parametrize("suffix", (".png", ".tiff"))
def test_sixteen_bits_and_grey_are_read(small, tmp_path, suffix):
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    for image in (small.astype(np.uint16) * 257, grey.astype(np.uint16) * 257, grey):
        path = str(tmp_path / ("a" + suffix))
        assert cv2.imwrite(path, image)
        wanted = small if image.ndim == 3 else grey[..., None].repeat(3, axis=2)
        assert np.abs(sources.read_image(path).astype(int) - wanted).max() <= 1


def test_heic_needs_its_extra_and_says_so(monkeypatch, tmp_path, small):
    data = b"\0\0\0\x18ftypheic" + b"\0" * 99
    monkeypatch.setattr(sources, "pillow_heif", None)
    with pytest.raises(errors.Fail, match=r"fer-lite\[heif\]"):
        sources.read_image(data)


def test_folders_pass_over_what_is_hidden_and_say_what_they_leave_out(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sources, "pillow_heif", None)
    for name in (
        "a.jpg",
        "b/c.bmp",
        "._a.jpg",
        ".hidden/d.jpg",
        "__MACOSX/a.jpg",
        "Thumbs.db",
        "e.heic",
        "f.avif",
        "g.avif",
        "notes.txt",
        "b/.thumbnails/x/y.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert sources.expand([str(tmp_path)]) == [str(tmp_path / "a.jpg"), str(tmp_path / "b" / "c.bmp")]
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "5 hidden" in said and "1 .heic (pip install" in said and "2 .avif" in said and "txt" not in said
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "shut").mkdir()
    scan = os.scandir

    def scandir(path):
        if path == str(tmp_path / "shut"):
            raise PermissionError(errno.EACCES, "no", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read all
    assert len(sources.expand([str(tmp_path)])) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "1 linked folder (" in said and "%s (it may not be read)" % (tmp_path / "shut") in said
    hidden = tmp_path / ".hidden"  # asked for by name
    assert sources.expand([str(hidden)]) == [str(hidden / "d.jpg")]


# Faces


def test_a_small_face_in_a_large_photograph_is_found(photograph):
    large = cv2.copyMakeBorder(photograph[:300], 1850, 1850, 2750, 2750, cv2.BORDER_CONSTANT, value=(90, 100, 110))  # 24 million pixels, the face 90 wide
    assert not faces.detect(large, thorough=False)
    (found,) = faces.detect(large)
    x, y, width, height = found.box
    assert abs(x + width / 2 - 2750 - 224) < 20 and abs(y + height / 2 - 1850 - 120) < 25


@pytest.mark.parametrize("degrees", (-90, -60, 30, 60, 90, 135, 180))
def test_tilted_faces_are_read_as_upright_ones(predictor, photograph, degrees):
    (upright,), (tilted,) = predictor(photograph), predictor(turned(photograph, degrees))
    assert (tilted["label"], abs(upright["roll"]) <= 5) == (upright["label"], True)
    assert abs((tilted["roll"] - degrees + 180) % 360 - 180) <= 30
    assert tilted["probabilities"][upright["label"]] > upright["probabilities"][upright["label"]] - 0.05


@pytest.mark.parametrize("degrees", (-90, -45, 30, 45, 60, 90, 135, 180))
def test_a_turned_group_keeps_all_its_faces(degrees):
    """The first angle at which one of them was seen, weakly, was taken for that of all."""
    group = cv2.imread(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "deploy", "web", "page", "example.png"))  # drawn
    side = int(np.hypot(*group.shape[:2])) + 1
    margins = [(side - size) // 2 for size in group.shape[:2] for _ in range(2)]
    found = faces.detect(turned(cv2.copyMakeBorder(group, *margins, cv2.BORDER_REPLICATE), degrees))
    assert len(found) == len(faces.detect(group)) == 3


def test_a_large_tilted_face_is_looked_at_in_a_smaller_copy(photograph, monkeypatch):
    """A look gathered the pixels of a third of a photograph of 12 million, thirteen times."""
    seen = []
    monkeypatch.setattr(faces, "views", lambda image, *how, views=faces.views: seen.append(image.shape[0]) or views(image, *how))
    tilted = turned(photograph, 60)
    large = cv2.resize(tilted, None, fx=6, fy=6)
    ((small,), (big,)) = faces.detect(tilted), faces.detect(large)
    assert max(seen) <= 640 and abs(big.roll - small.roll) < 6
    np.testing.assert_allclose(np.array(big.box) / 6, small.box, atol=12)


def test_a_second_look_sees_no_faces_where_there_are_none(predictor):
    data = pytest.importorskip("skimage.data", reason="the pictures are scikit-image's")
    for picture in (data.coffee(), data.chelsea()):  # upside down, a cup of coffee and a cat score 0.82 and 0.76
        assert predictor(np.ascontiguousarray(picture[..., ::-1])) == []


def test_upright_faces_cost_one_look_and_are_cut_as_they_are(photograph, monkeypatch):
    looks = []
    monkeypatch.setattr(faces.Detector, "rows", lambda self, image, least, rows=faces.Detector.rows: looks.append(image.shape) or rows(self, image, least))
    (found,) = faces.detect(photograph)
    assert len(looks) == 1 and found.square is None
    np.testing.assert_array_equal(faces.shown(photograph, found), faces.cut(photograph, faces.square(found.box)))
    assert faces.detect(np.full((300, 300, 3), 90, np.uint8), thorough=False) == [] and len(looks) == 2


def test_a_view_is_the_square_turned(photograph):
    np.testing.assert_array_equal(faces.view(photograph, 199.5, 149.5, 100, 0, 100), photograph[100:200, 150:250])
    np.testing.assert_array_equal(faces.view(photograph, 199.5, 149.5, 100, 90, 100), np.rot90(photograph[100:200, 150:250], 1))
    assert faces.view(photograph, -50, 20, 64, 33, crops.SIDE).shape == (36, 36, 3)


def test_the_package_loads_nothing_before_it_is_asked(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", "import sys, fer_lite.errors; assert not {'onnxruntime', 'cv2', 'PIL'} & set(sys.modules)"],
        cwd=os.path.dirname(os.path.dirname(os.path.abspath(fer_lite.__file__))),
    )
    assert ran.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("shown", ("photograph", "drawn"))
def test_the_speed_of_the_whole_is_measured(monkeypatch, capsys, shown):
    if shown == "drawn":
        monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setenv("THREADS", "1")
    monkeypatch.setenv("OPENCV_FFMPEG_THREADS", "1")
    threads = cv2.getNumThreads()

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmarks.predict", "--images", "2", "--rounds", "1", *arguments])
        with pytest.raises(SystemExit) as end:
            bench.main()
        return (end.value.code or 0, *capsys.readouterr())

    try:
        status, out, _ = run("--sizes", "320x240", "--faces", "2")
        lines = [line.split() for line in out.splitlines()[-2:]]
        assert status == 0 and [line[1:4] for line in lines] == [["320x240", "2", kind] for kind in ("photographs", "video")]
        assert all(float(line[4]) > 0 and float(line[6]) == pytest.approx(float(line[4]) / float(line[5]), rel=0.1) for line in lines)
        status, out, err = run("--sizes", "64x64", "--faces", "8")  # faces of a few pixels
        assert (status, out, err.splitlines()[-1].startswith("error: ")) == (1, "", True) and "--sizes" in err
        status, out, err = run("--sizes", "320x240", "--faces", "2", "--fer", sys.executable)  # this Python has no fer
        assert (status, out) == (1, "") and "env/run --rivals" in err.splitlines()[-1]
    finally:
        cv2.setNumThreads(threads)


def test_the_notebook_runs_and_holds_no_output(monkeypatch, capsys):
    docs = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs")
    with open(os.path.join(docs, "quickstart.ipynb"), encoding="utf-8") as f:
        cells = [cell for cell in json.load(f)["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    monkeypatch.chdir(docs)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = {}
    for cell in cells:
        exec("".join(cell["source"]), known)
    printed = capsys.readouterr().out
    assert [face["label"] for face in sorted(known["faces"], key=lambda face: face["box"][0])] == ["happiness", "surprise", "anger"]  # as drawn
    assert "1.0  happiness" in printed
