"""Videos and drawn copies: where copies go, frames upright and at their own times, what is cut short, tracks, labels, what is written."""

import fractions
import json
import os
import re
import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest

from fer_lite import cli, containers, copies, drawing, errors, outputs, progress, sources, tracks, video

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TIMES = [i / 30 for i in range(20)] + [2 / 3 + i / 5 for i in range(10)] + [2.7 + i / 30 for i in range(10)]  # slow in the middle
NEEDS_AV = "PyAV makes this test's videos: pip install av"
KINDS = (".mp4", ".mov", ".m4v", ".3gp", ".mkv", ".webm", ".avi", ".ts", ".flv")


def frame(i, corner=0, size=(96, 64)):
    """A grey frame that says its number, white in the corner 0 (top left), 1, 2, 3 (clockwise)."""
    image = np.full((size[1], size[0], 3), round(15 + 5.5 * i) % 250, np.uint8)
    y, x = ((0, 0), (0, 1), (1, 1), (1, 0))[corner]
    image[y * size[1] // 2 : (y + 1) * size[1] // 2, x * size[0] // 2 : (x + 1) * size[0] // 2] = 250
    return image


def film(path, times=TIMES, codec=None, sound=0, rotation=0):
    """A video of frames at `times`, with `sound` seconds of silence, and metadata that turn it by `rotation` degrees clockwise."""
    av = pytest.importorskip("av", reason=NEEDS_AV)
    kind = os.path.splitext(str(path))[1]
    clock = fractions.Fraction(1, 1000)
    if codec and codec not in av.codecs_available:
        pytest.skip("this PyAV has no %s" % codec)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec or {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(kind, "libx264"), rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = clock
        if rotation:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV writes no rotation: 17.1 does")
            stream.set_display_rotation(360 - rotation)
        audio = out.add_stream({".webm": "libopus", ".avi": "libmp3lame"}.get(kind, "aac"), rate=48000, layout="mono") if sound else None
        for i, time in enumerate(times):
            picture = av.VideoFrame.from_ndarray(frame(i), format="bgr24")
            picture.pts, picture.time_base = round(1000 * time), clock
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
        if audio:
            for start in range(0, int(48000 * sound), 960):
                samples = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
                samples.sample_rate, samples.pts, samples.time_base = 48000, start, fractions.Fraction(1, 48000)
                out.mux(audio.encode(samples))
            out.mux(audio.encode())
    return str(path)


@pytest.fixture
def run(monkeypatch, capfd):
    """Runs the command with a predictor of one face a frame, half as happy in each second frame; (exit status, records, stderr)."""

    class Predictor:
        classes, threshold = ("happiness", "sadness"), 0.0

        def __init__(self, *arguments):
            self.calls = 0

        def __call__(self, image, **how):
            self.calls += 1
            return [face(10 + self.calls, happy=self.calls % 2, y=10)]

    def run_(*arguments):
        monkeypatch.setattr(cli, "Predictor", Predictor)
        monkeypatch.setattr(sys, "argv", ["fer-lite", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capfd.readouterr()
        return end.value.code or 0, [json.loads(each) for each in out.splitlines()], err

    return run_


def numbers(frames):
    return [round((float(each.image[-8:, -8:].mean()) - 15) / 5.5) for each in frames]


# Where copies go.


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/face.jpg", "b/face.jpg", "b/deep/face.jpg", "v/a.avi", "v/a.mp4", "v/b.MKV"):
        os.makedirs(os.path.dirname(name), exist_ok=True)
        with open(name, "w") as f:
            f.write(name)
    return tmp_path


def planned(out, *given):
    return outputs.plan(sources.expand(given), given, out)


def test_the_tree_below_a_given_folder_is_kept(tree):
    assert planned("drawn", "b")[1] == {"b/face.jpg": "drawn/face.jpg", "b/deep/face.jpg": "drawn/deep/face.jpg"}
    os.remove("v/a.avi")
    assert planned("drawn", ".")[1]["./b/deep/face.jpg"] == "drawn/b/deep/face.jpg"
    assert planned("drawn", "a/face.jpg", "v/b.MKV")[1] == {"a/face.jpg": "drawn/face.jpg", "v/b.MKV": "drawn/b.mp4"}
    assert planned("one.png", "a/face.jpg")[1] == {"a/face.jpg": "one.png"}
    os.mkdir("dotted.d")
    assert planned("dotted.d", "a/face.jpg")[1] == {"a/face.jpg": "dotted.d/face.jpg"}
    assert planned("drawn", "0", "a")[1]["0"] == "drawn/camera0.mp4"


def test_the_draw_folder_is_no_input_of_a_second_run(tree):
    first = planned("b/drawn", "b")
    os.makedirs("b/drawn/deep")
    for path in first[1].values():
        open(path, "w").close()
    assert planned("b/drawn", "b") == first
    assert planned(os.path.abspath("b/drawn"), "b")[0] == first[0]
    assert planned("other", "b/drawn")[0] == ["b/drawn/deep/face.jpg", "b/drawn/face.jpg"]


@pytest.mark.parametrize(
    "out, given, named",
    (
        ("b", ("a/face.jpg", "b/face.jpg"), "b/face.jpg"),  # the user's own file
        ("b", ("b",), "would be replaced"),
        ("drawn", ("a", "b"), "drawn/face.jpg"),
        ("drawn", ("v",), "drawn/a.mp4"),
        ("v", ("v/a.avi", "a"), "v/a.mp4 is there"),  # no input, and yet the user's own
        ("v", ("v/b.MKV", "a"), None),
        ("v/b.MKV", ("v/a.avi", "v/b.MKV"), "v/b.MKV is a file"),
        ("b/face.jpg", ("b/face.jpg",), "b/face.jpg"),
        ("linked/face.jpg", ("b/face.jpg",), "b/face.jpg"),
        ("hard.jpg", ("b/face.jpg",), "b/face.jpg"),
        ("linked", ("b/deep/../face.jpg",), "face.jpg"),
    ),
)
def test_copies_meet_neither_each_other_nor_an_input(tree, out, given, named):
    os.symlink("b", "linked")
    os.link("b/face.jpg", "hard.jpg")
    before = sorted(str(p) for p in tree.rglob("*"))
    if named is None:
        planned(out, *given)
    else:
        with pytest.raises(errors.Fail) as said:
            planned(out, *given)
        assert named in str(said.value) and "\n" not in str(said.value) and re.search("--draw|give the folder", str(said.value))
    assert sorted(str(p) for p in tree.rglob("*")) == before


def test_letters_that_a_file_system_takes_for_the_same(tree, monkeypatch):
    os.rename("a/face.jpg", "a/Face.JPG")
    assert len(planned("drawn", "a/Face.JPG", "b/face.jpg")[1]) == 2
    monkeypatch.setattr(outputs, "_folds_case", lambda folder: True)
    with pytest.raises(errors.Fail, match="would both be drawn"):
        planned("drawn", "a/Face.JPG", "b/face.jpg")


def test_the_command_writes_a_tree_and_says_so_or_writes_nothing(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photos/one.png", "photos/deep/one.png", "other/one.png"):
        os.makedirs(os.path.dirname(name), exist_ok=True)
        assert cv2.imwrite(name, frame(0))
    for _ in range(2):
        status, records, err = run("photos", "--draw", "photos/drawn")
        assert (status, err) == (0, "wrote drawn images to photos/drawn\n") and [r["file"] for r in records] == ["photos/deep/one.png", "photos/one.png"]
        assert sorted(str(p) for p in (tmp_path / "photos/drawn").rglob("*.*")) == [str(tmp_path / "photos/drawn" / n) for n in ("deep/one.png", "one.png")]
    status, records, err = run("photos/one.png", "other", "--draw", "new")
    assert (status, records) == (1, []) and err.count("\n") == 1 and "photos/one.png and other/one.png would both" in err and not os.path.exists("new")


# What is read.


@pytest.mark.parametrize("kind", KINDS)
def test_frames_have_their_own_times_and_whole_files_are_whole(tmp_path, kind):
    seen = list(sources.frames(film(tmp_path / ("film" + kind), sound=0 if kind == ".3gp" else 6)))
    assert numbers(seen) == pytest.approx(list(range(len(TIMES))), abs=1)
    start = 0.03 if kind == ".avi" else 0.002  # AVI stores ticks, and its first sound comes before its pictures
    assert [each.time for each in seen] == pytest.approx(TIMES, abs=start)
    assert [each.until for each in seen[:-1]] == [each.time for each in seen[1:]] and seen[-1].until == pytest.approx(TIMES[-1] + 1 / 30, abs=start)


def test_fps_picks_by_time(tmp_path):
    path = film(tmp_path / "film.mp4")
    seen = list(sources.frames(path, fps=4))
    assert all(0.15 < b.time - a.time < 0.41 for a, b in zip(seen, seen[1:])) and seen[0].time == 0 and seen[-1].time > 2.6
    assert numbers(seen) == pytest.approx([min(range(len(TIMES)), key=lambda i: abs(TIMES[i] - each.time)) for each in seen], abs=1)
    assert len(list(sources.frames(path, fps=100))) == len(TIMES)


@pytest.mark.parametrize("kind", (".mp4", ".mov", ".m4v", ".mkv", ".webm"))
@pytest.mark.parametrize("rotation", (0, 90, 180, 270))
def test_frames_are_upright(tmp_path, kind, rotation):
    image = next(iter(sources.frames(film(tmp_path / ("film" + kind), TIMES[:3], rotation=rotation)))).image
    wanted = frame(0, rotation // 90, (96, 64) if rotation % 180 == 0 else (64, 96))
    assert image.shape == wanted.shape and np.abs(image.astype(int) - wanted).mean() < 8


def test_a_turned_mp4_needs_no_pyav(tmp_path):
    """A phone's: tkhd's matrix, patched into what OpenCV writes."""
    path = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (96, 64))
    for i in range(5):
        writer.write(frame(i))
    writer.release()
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    assert struct.unpack(">9i", data[at : at + 36]) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    data[at : at + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    seen = list(sources.frames(str(path)))
    assert len(seen) == 5 and np.abs(seen[0].image.astype(int) - frame(0, 1, (64, 96))).mean() < 8


@pytest.mark.parametrize("kind", (".mp4", ".mov", ".mkv", ".webm", ".avi"))
def test_what_is_cut_short_is_called_so(tmp_path, kind):
    path = film(tmp_path / ("film" + kind), [i / 30 for i in range(40)])
    assert containers.missing(path) == 0
    with open(path, "rb+") as f:
        f.truncate(os.path.getsize(path) * 3 // 4)
    assert containers.missing(path) > 100
    with pytest.raises(errors.Fail, match="%s: .*cut short, the last [0-9,]+ bytes are not there; get the file again" % re.escape(path)):
        list(sources.frames(path))


@pytest.mark.parametrize("kind", (".mp4", ".mov", ".avi"))
def test_a_hole_in_the_pictures_is_said_after_what_can_be_decoded(tmp_path, monkeypatch, kind):
    noise = np.random.RandomState(0).randint(0, 256, (64, 96, 3)).astype(np.uint8)
    monkeypatch.setattr(sys.modules[__name__], "frame", lambda i: np.roll(noise, i, axis=1))
    path = film(tmp_path / ("film" + kind), [i / 30 for i in range(100)], sound=6)
    assert len(list(sources.frames(path))) == 100
    data = bytearray(open(path, "rb").read())
    data[len(data) * 3 // 10 : len(data) * 8 // 10] = bytes(len(data) * 8 // 10 - len(data) * 3 // 10)
    with open(path, "wb") as f:
        f.write(data)
    seen = []
    with pytest.raises(errors.Fail, match=r"film\%s: only \d\.\d of its 3\.[34] seconds can be decoded: it is damaged; get the file again" % kind):
        for each in sources.frames(path):
            seen.append(each)
    assert 10 < len(seen) < 97


def test_a_trimmed_mp4_is_whole(tmp_path):
    """Phones trim by the track's header: the frames stay in the file, and are not shown."""
    path = film(tmp_path / "film.mp4", [i / 30 for i in range(90)])
    data = bytearray(open(path, "rb").read())
    for name, place in ((b"tkhd", 24), (b"elst", 12)):  # its duration, in thousandths of a second
        at = data.index(name) + place
        assert abs(int.from_bytes(data[at : at + 4], "big") - 3000) < 5
        data[at : at + 4] = struct.pack(">I", 1000)
    with open(path, "wb") as f:
        f.write(data)
    assert 28 <= len(list(sources.frames(path))) <= 34


@pytest.mark.parametrize(
    "data", (b"", b"x", b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x00\x00\x00\x00\x00", b"RIFF\0\0\0\0AVI ", b"\0\0\0\0ftypisom", b"\0\0\0\1ftyp" + b"\xff" * 3)
)
def test_any_bytes_have_a_length(tmp_path, data):
    (tmp_path / "film.mp4").write_bytes(data)
    assert containers.missing(str(tmp_path / "film.mp4")) >= 0
    with pytest.raises(errors.Fail, match="film.mp4: (no video that OpenCV can read|it is cut short)"):
        list(sources.frames(str(tmp_path / "film.mp4")))


@pytest.mark.parametrize("kind", (".mp4", ".mkv"))
def test_a_codec_that_opencv_lacks_is_named(tmp_path, kind):
    path = film(tmp_path / ("film" + kind), TIMES[:8], "libsvtav1")
    if cv2.VideoCapture(path).grab():
        pytest.skip("this OpenCV decodes AV1")
    with pytest.raises(errors.Fail, match="lacks the codec of its video, AV1: turn it into H.264 .ffmpeg"):
        list(sources.frames(path))


# Tracks.


def face(x, happy=1.0, y=50, side=40):
    return {"box": [x, y, side, side], "label": "happiness" if happy >= 0.5 else "sadness", "probabilities": {"happiness": happy, "sadness": 1 - happy}}


def test_faces_keep_their_numbers():
    track = tracks.Tracker()
    steps = [[face(0), face(100)], [face(108), face(8)], [face(16)], [], [face(118), face(24), face(300)]]
    assert [[each["track"] for each in track(found, i / 10)] for i, found in enumerate(steps)] == [[1, 2], [2, 1], [1], [], [2, 1, 3]]
    assert track([face(24)], 9.0)[0]["track"] == 4  # out of sight for too long
    assert {k: v for k, v in track([face(24, 0.7)], 9.1)[0].items() if k != "track"} == face(24, 0.7)


@pytest.mark.parametrize("fps", (0.5, 1, 5, None))
def test_faces_keep_their_numbers_where_frames_come_seldom(fps):
    track = tracks.Tracker(fps=fps)
    step = 1.001 / (fps or 30)
    assert {track([face(i)], i * step)[0]["track"] for i in range(4)} == {1}
    assert track([face(0)], 9 * step + max(1, 2 / (fps or 30)))[0]["track"] == 2


def test_a_film_that_is_not_there_does_not_end_a_folder(tmp_path, run):
    os.symlink(str(tmp_path / "gone"), str(tmp_path / "a.mp4"))
    cv2.imwrite(str(tmp_path / "b.png"), frame(0))
    status, records, err = run(tmp_path)
    assert status == 1 and [os.path.basename(r["file"]) for r in records] == ["b.png"] and "a.mp4 cannot be read" in err and "1 of 2 files" in err


def test_probabilities_are_averaged_over_seconds_of_one_face():
    track = tracks.Tracker(smooth=1.0)
    shares = [track([face(0, happy), face(200, 1.0)], i / 2) for i, happy in enumerate((1.0, 0.0, 0.2, 0.3))]
    assert [found[0]["probabilities"]["happiness"] for found in shares] == pytest.approx([1.0, 0.5, 0.4, 0.5 / 3], abs=1e-6)
    assert [found[0]["label"] for found in shares] == ["happiness", "happiness", "sadness", "sadness"]
    unsure = tracks.Tracker(1.0, threshold=0.6)
    assert [unsure([face(0, happy)], i / 10)[0]["label"] for i, happy in enumerate((1.0, 0.0, 0.0))] == ["happiness", "uncertain", "sadness"]
    assert all(found[1]["probabilities"] == {"happiness": 1.0, "sadness": 0.0} for found in shares)


def test_the_command_tracks_and_smooths_a_video(tmp_path, run):
    path = film(tmp_path / "film.mkv", sound=6)
    status, records, err = run(path)
    assert (status, err) == (0, "") and {r["track"] for r in records} == {1} and [r["time"] for r in records] == pytest.approx(TIMES, abs=0.002)
    assert {r["probabilities"]["happiness"] for r in records} == {0.0, 1.0}
    status, records, err = run(path, "--smooth", 2, "--draw", tmp_path / "drawn.mp4")
    assert status == 0 and re.fullmatch("wrote .*drawn.mp4: 3.0 s, H.264, with its sound\n", err)
    assert all(0.4 < r["probabilities"]["happiness"] < 0.6 for r in records[8:])
    assert "track" not in run(cv2.imwrite(str(tmp_path / "i.png"), frame(0)) and tmp_path / "i.png")[1][0]


# What is drawn and written.


def labels(monkeypatch, image, found):
    seen = []
    real = drawing._write
    monkeypatch.setattr(drawing, "_write", lambda drawn, text, place, size: (seen.append((text, place, size)), real(drawn, text, place, size)))
    drawing.draw(image, found)
    return seen


@pytest.mark.parametrize("gap, side", ((45, 40), (20, 40), (62, 60), (12, 90)))
def test_labels_do_not_cover_each_other(monkeypatch, gap, side):
    seen = labels(monkeypatch, np.zeros((400, 600, 3), np.uint8), [face(20 + gap * i, y=20 + 70 * row, side=side) for row in range(2) for i in range(8)])
    places = [place for _, place, _ in seen]
    assert len(places) == 16 and not any(tracks.common(a, b) for i, a in enumerate(places) for b in places[:i])
    assert all(x >= 0 and y >= 0 and x + w <= 600 and y + h <= 400 for x, y, w, h in places)


def test_a_pixel_can_be_drawn_on():
    assert drawing.draw(np.zeros((1, 1, 3), np.uint8), [face(0, y=0, side=1)]).shape == (1, 1, 3)


@pytest.mark.parametrize("shape, side", (((64, 64), 60), ((400, 600), 20), ((400, 600), 390), ((3000, 4000), 60), ((3000, 4000), 2900)))
def test_the_size_of_text_is_bounded(monkeypatch, shape, side):
    ((text, (x, y, wide, high), size),) = labels(monkeypatch, np.zeros(shape + (3,), np.uint8), [face(0, y=0, side=side)])
    assert text == "happiness 100%" and wide <= shape[1] and high <= max(20, 0.07 * max(shape)) and (high >= 14 or wide == shape[1])
    assert wide <= max(160, 4.5 * side)


@pytest.mark.parametrize(
    "source, kind, codec, sound",
    ((".mp4", ".mp4", "h264", "aac"), (".mov", ".mkv", "h264", "aac"), (".webm", ".webm", "vp9", "opus"), (".mp4", ".webm", "vp9", None)),
)
def test_a_copy_plays_in_browsers_at_the_source_s_times_with_its_sound(tmp_path, source, kind, codec, sound):
    av = pytest.importorskip("av", reason=NEEDS_AV)
    path, out, said = film(tmp_path / ("film" + source), sound=5), str(tmp_path / ("copy" + kind)), []
    with copies.copy(path, out, said.append) as write:
        for each in sources.frames(path):
            write(each.image[:63, :95], each)  # odd sides
    assert len(said) == 1 and said[0].startswith("wrote %s: 3.0 s, " % out) and ("with its sound" if sound else "without its sound (aac)") in said[0]
    with av.open(out) as made:
        assert [stream.codec_context.name for stream in made.streams] == [codec] + [sound] * bool(sound)
        assert made.streams.video[0].codec_context.pix_fmt == "yuv420p"
        times = [float(packet.pts * packet.time_base) for packet in made.demux(video=0) if packet.pts is not None]
    assert times == pytest.approx(TIMES, abs=0.002)
    with av.open(out) as made:
        assert made.duration / 1e6 == pytest.approx(TIMES[-1] + 1 / 30, abs=0.06)
    assert numbers(sources.frames(out)) == pytest.approx(list(range(len(TIMES))), abs=2)  # through two codecs
    assert sorted(os.listdir(str(tmp_path))) == sorted({"film" + source, "copy" + kind})


@pytest.mark.parametrize("kind", (".mp4", ".avi"))
def test_without_pyav_a_copy_lasts_as_long_and_says_what_it_is(tmp_path, monkeypatch, kind):
    path, out, said = film(tmp_path / "film.mp4"), str(tmp_path / ("copy" + kind)), []
    monkeypatch.setattr(copies, "av", None)
    with copies.copy(path, out, said.append) as write:
        for each in sources.frames(path, fps=5):
            write(each.image, each)
    made = cv2.VideoCapture(out)
    assert made.get(cv2.CAP_PROP_FRAME_COUNT) / made.get(cv2.CAP_PROP_FPS) == pytest.approx(TIMES[-1] + 1 / 30, abs=0.15)
    assert said[0].count("\n") == 0 and "browsers do not play it" in said[0] and "no sound" in said[0]


def test_an_interrupted_copy_is_kept_as_far_as_it_came_and_links_stay(tmp_path):
    path = film(tmp_path / "film.mp4")
    os.mkdir(str(tmp_path / "disk"))
    os.symlink("disk/copy.mp4", str(tmp_path / "copy.mp4"))
    with pytest.raises(KeyboardInterrupt), copies.copy(path, str(tmp_path / "copy.mp4")) as write:
        for each in sources.frames(path):
            if each.frame == 20:
                raise KeyboardInterrupt
            write(each.image, each)
    assert os.path.islink(str(tmp_path / "copy.mp4")) and len(list(sources.frames(str(tmp_path / "copy.mp4")))) == 20
    assert os.listdir(str(tmp_path / "disk")) == ["copy.mp4"]


@pytest.mark.parametrize("kind", (".mp4", ".webm", ".avi"))
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, kind):
    resource = pytest.importorskip("resource", reason="a bound on files, for a full disk")
    path = film(tmp_path / "film.mp4")
    script = (
        "import resource, signal\nimport numpy as np\nfrom fer_lite import copies, errors, sources\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (30000, %d))\n"
        "noise = np.random.RandomState(0).randint(0, 256, (240, 320, 3)).astype(np.uint8)\n"
        "@errors.main\ndef main():\n    with copies.copy(%r, %r, print) as write:\n        for each in sources.frames(%r):\n"
        "            write(np.roll(noise, each.frame, axis=1), each)\nmain()" % (resource.RLIM_INFINITY, path, str(tmp_path / ("copy" + kind)), path)
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, env=dict(os.environ, PYTHONPATH=ROOT)
    )
    assert (ran.returncode, ran.stdout) == (1, "") and re.fullmatch(
        "error: .*%s.*(disk full|free space).*\n" % re.escape(str(tmp_path)), ran.stderr.split("[")[0]
    ), ran.stderr
    assert os.listdir(str(tmp_path)) == ["film.mp4"]


@pytest.mark.slow
def test_writing_takes_constant_memory(tmp_path):
    pytest.importorskip("av", reason=NEEDS_AV)
    path = film(tmp_path / "film.mp4", [i / 30 for i in range(20)], sound=20)
    script = (
        "import resource\nimport numpy as np\nfrom fer_lite import copies, video\n"
        "image, grown = np.repeat(np.repeat(np.random.RandomState(0).randint(0, 256, (30, 40, 3)).astype(np.uint8), 16, 0), 16, 1), []\n"
        "with copies.copy(%r, %r) as write:\n"
        "    for i in range(300):\n"
        "        write(np.roll(image, i, axis=1), video.Frame('', i, i / 30, image, 30, (i + 1) / 30))\n"
        "        grown.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        "print(grown[-1] - grown[100])" % (path, str(tmp_path / "copy.mp4"))
    )
    grown = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True, env=dict(os.environ, PYTHONPATH=ROOT))
    assert int(grown.stdout) < 60 * 1024  # 200 more frames are 184 MB


class Terminal:
    def __init__(self, terminal):
        self.terminal, self.text = terminal, ""

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def fileno(self):
        raise OSError


@pytest.mark.parametrize(
    "terminal, records, wanted",
    (
        (True, False, r"\[#{10} +\]  50%  (20|19)s left  film.mp4\r\x1b\[Kwrote it\n$"),
        (False, False, r"^ 50%  (20|19)s left  film.mp4\nwrote it\n$"),
        (True, True, "^wrote it\n$"),
    ),
)
def test_progress_on_a_terminal_and_without(terminal, records, wanted):
    stream = Terminal(terminal)
    shown = progress.Bar(stream, Terminal(records))
    shown.update("film.mp4", 0.1)
    shown.start, shown.last = shown.start - 20, shown.last - 20
    shown.update("film.mp4", 0.5)
    shown.say("wrote it")
    assert re.search(wanted, stream.text), repr(stream.text)


def test_kinds_that_are_drawn_can_be_read():
    assert set(outputs.VIDEOS) <= set(video.FILES) and set(sources.READ) <= set(outputs.IMAGES) | {".gif", ".jfif"}
