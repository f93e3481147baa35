"""data_prep.download against a server on this machine that misbehaves in every way named."""

import hashlib
import http.server
import os
import threading

import data_forms as forms
import pytest

from common import errors
from data_prep import download, official
from data_prep import fetch as fetch_

DATA = bytes(range(256)) * 2000


class Handler(http.server.BaseHTTPRequestHandler):
    """What a path does: /good, /cut (sends half, ever again), /slow-start (fails twice), /ranges-ignored, and so on."""

    seen = []
    failures = 0

    def do_GET(self):
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.seen.append((self.path, start))
        getattr(self, "answer_" + self.path[1:].replace("-", "_"))(start)

    def send(self, data, start=0, code=None, kind="application/gzip", length=None, **headers):
        self.send_response(code or (206 if start else 200))
        self.send_header("Content-Type", kind)
        if length is not False:
            self.send_header("Content-Length", str(len(data) if length is None else length))
        if start:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (start, len(DATA) - 1, len(DATA)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def answer_good(self, start):
        self.send(DATA[start:], start)

    def answer_cut(self, start):
        """Half of what is left, and then the line is dead."""
        rest = DATA[start:]
        self.send(rest[: len(rest) // 2 + 1], start, length=len(rest))

    def answer_dead(self, start):
        self.send(b"", start, length=len(DATA) - start)

    def answer_busy(self, start):
        Handler.failures += 1
        if Handler.failures < 3:
            self.send_error(503)
        else:
            self.answer_good(start)

    def answer_ranges_ignored(self, start):
        self.send(DATA)

    def answer_ranges_refused(self, start):
        self.send_error(416) if start else self.send(DATA)

    def answer_missing(self, start):
        self.send_error(404)

    def answer_page(self, start):
        self.send(b"<html>log in</html>", kind="text/html; charset=utf-8")

    def answer_to_page(self, start):
        self.send(b"", code=302, Location="/page")

    def answer_to_good(self, start):
        self.send(b"", code=302, Location="/good")

    def answer_wrong_bytes(self, start):
        self.send(DATA[start:][::-1], start)

    def answer_wrong_size(self, start):
        self.send(DATA[start:] + b"more", start)

    def answer_endless(self, start):
        self.send(DATA[start:] + b"more" * 100000, start, length=False)

    def answer_short(self, start):
        self.send(DATA[start:-10], start)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setattr(download, "PATIENCE", 3.0)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    Handler.seen, Handler.failures = [], 0
    yield "http://127.0.0.1:%d/" % server.server_port
    server.shutdown()
    server.server_close()


def fetch(server, path, *ways):
    file = official.File("x.tar.gz", len(DATA), "sha256:" + hashlib.sha256(DATA).hexdigest(), [server + way for way in ways])
    download.fetch(file, str(path))


@pytest.mark.parametrize("way", ["good", "cut", "busy", "to-good", "ranges-ignored"])
def test_the_whole_file_arrives(way, server, tmp_path):
    fetch(server, tmp_path / "d" / "x.tar.gz", way)
    assert (tmp_path / "d" / "x.tar.gz").read_bytes() == DATA and os.listdir(str(tmp_path / "d")) == ["x.tar.gz"]


@pytest.mark.parametrize("way, starts", [("good", [1000]), ("cut", None), ("ranges-ignored", [1000]), ("ranges-refused", [1000, 0])])
def test_it_goes_on_where_it_was_cut(way, starts, server, tmp_path):
    (tmp_path / "x.part").write_bytes(DATA[:1000])
    fetch(server, tmp_path / "x", way)
    assert (tmp_path / "x").read_bytes() == DATA
    seen = [start for _, start in Handler.seen]
    assert seen == starts if starts else seen[0] == 1000 and len(seen) > 5 and seen == sorted(seen)


def test_a_part_of_another_file_is_found_out_and_fetched_anew(server, tmp_path):
    (tmp_path / "x.part").write_bytes(b"junk" * 100)
    fetch(server, tmp_path / "x", "good", "good")  # the first try ends with a wrong checksum
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize(
    "way, words",
    [
        ("missing", "answers 404"),
        ("page", "web page"),
        ("to-page", "web page"),
        ("wrong-bytes", "sha256"),
        ("wrong-size", "has a file of 512,004 bytes, not 512,000"),
        ("endless", "more than 512,000 bytes"),
        ("short", "511,990"),
        ("dead", "cut off"),
    ],
)
def test_a_wrong_answer_is_told_and_leaves_no_file(way, words, server, tmp_path):
    with pytest.raises(errors.Fail) as caught:
        fetch(server, tmp_path / "x", way)
    assert words in str(caught.value) and server + way in str(caught.value) and "by hand" in str(caught.value)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("first", ["missing", "page", "wrong-bytes", "wrong-size", "dead", "endless"])
def test_the_next_address_is_tried(first, server, tmp_path):
    fetch(server, tmp_path / "x", first, "good")
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_server_that_is_not_there_is_one_reason(server, tmp_path):
    with pytest.raises(errors.Fail, match="does not answer"):
        fetch("http://127.0.0.1:1/", tmp_path / "x", "good")


def test_a_full_disk_is_one_line(server, tmp_path):
    (tmp_path / "x.part").symlink_to("/dev/full")
    with pytest.raises(errors.Fail, match="x.part could not be written .No space left on device.*free space"):
        fetch(server, tmp_path / "x", "good")


def test_the_next_file_of_a_set_is_tried(server, tmp_path, monkeypatch):
    def file(name, *ways):
        return official.File(name, len(DATA), "sha256:" + hashlib.sha256(DATA).hexdigest(), [server + way for way in ways])

    monkeypatch.setitem(official.FILES, "cifar10", (file("a.tar.gz", "missing", "page"), file("b.tar.gz", "good"), file("b")))
    assert fetch_.sets_file("cifar10", None, str(tmp_path)).path == str(tmp_path / "b.tar.gz")
    monkeypatch.setitem(official.FILES, "cifar10", (file("c.tar.gz", "missing"), file("d.tar.gz", "page")))
    with pytest.raises(errors.Fail) as caught:
        fetch_.sets_file("cifar10", None, str(tmp_path))
    assert all(words in str(caught.value) for words in ("c.tar.gz", "answers 404", "d.tar.gz", "web page"))


def test_make_data_fetches_checks_and_builds_and_does_not_fetch_again(server, tmp_path, monkeypatch):
    archive = tmp_path / "made.tar.gz"
    forms.write_tar(archive, forms.cifar10_members(forms.pictures(12), list(range(10)) + [0, 1]))
    data = archive.read_bytes()
    monkeypatch.setattr(Handler, "answer_cifar", lambda self, start: self.send(data[start:], start), raising=False)
    file = official.File("cifar-10-python.tar.gz", len(data), "sha256:" + hashlib.sha256(data).hexdigest(), [server + "cifar"])
    monkeypatch.setitem(official.FILES, "cifar10", (file,))
    for _ in range(2):
        args = forms.data_prep.parser().parse_args(
            ["build", "cifar10", "--downloads", str(tmp_path / "downloads"), "--out", str(tmp_path / "data"), "--workers", "1"]
        )
        args.run(args)
    assert len(Handler.seen) == 1 and os.listdir(str(tmp_path / "downloads")) == ["cifar-10-python.tar.gz"]
    (tmp_path / "downloads" / "cifar-10-python.tar.gz").write_bytes(data[:-1])
    with pytest.raises(errors.Fail, match="not the official file"):
        args.run(args)
