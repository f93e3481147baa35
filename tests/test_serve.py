"""`fer-lite serve`: what it answers, what it refuses, and many clients at once."""

import concurrent.futures
import contextlib
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
import zlib

import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

import fer_lite
from benchmarks import serve as bench
from fer_lite import errors, serve


@pytest.fixture(scope="module")
def predictor():
    return fer_lite.Predictor(threads=1)


@pytest.fixture(scope="module")
def photograph():
    data = pytest.importorskip("skimage.data", reason="the photograph is scikit-image's")
    return data.astronaut()


@pytest.fixture(scope="module")
def client(predictor):
    with TestClient(serve.application(predictor, largest=1 << 20, pixels=10**6)) as client_:
        yield client_


def encoded(image, kind="JPEG"):
    out = io.BytesIO()
    Image.fromarray(image).save(out, kind)
    return out.getvalue()


def test_an_image_is_answered_with_what_the_predictor_says(client, predictor, photograph):
    data = encoded(photograph)
    answer = client.post("/predict", content=data)
    assert answer.status_code == 200 and answer.json() == {"faces": json.loads(json.dumps(predictor(data)))} and len(answer.json()["faces"]) == 1
    assert client.post("/predict", content=encoded(np.zeros((99, 99, 3), np.uint8))).json() == {"faces": []}


def test_many_clients_at_once_get_each_its_own(predictor, photograph):
    images = [encoded(photograph[:300, 80 + shift : 380 + shift]) for shift in (0, 12, 24)]
    wanted = [{"faces": json.loads(json.dumps(predictor(data)))} for data in images]
    with TestClient(serve.application(predictor, at_once=4, waiting=99)) as client, concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: client.post("/predict", content=images[i % 3]).json(), range(48)))
    assert answers == [wanted[i % 3] for i in range(48)] and wanted[0] != wanted[1]


GOOD = encoded(np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8))
BOMB = b"IHDR" + struct.pack(">IIBBBBB", 65535, 65535, 8, 0, 0, 0, 0), b"IDAT" + zlib.compress(b"0" * 999), b"IEND"
HOSTILE = {
    "empty": (b"", 400),
    "text": (b"hello", 400),
    "cut": (GOOD[: len(GOOD) // 2], 400),
    "head": (GOOD[:12], 400),
    "playlist": (b"#EXTM3U\n/etc/hostname\n", 400),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 400),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 400),
    "too many bytes": (b"\xff\xd8" + b"0" * (1 << 20), 413),
    "too many pixels": (encoded(np.zeros((1001, 1000), np.uint8), "PNG"), 413),
    "a bomb": (b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in BOMB), 413),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_uploads_are_refused(client, name):
    data, status = HOSTILE[name]
    answer = client.post("/predict", content=data)
    assert answer.status_code == status and "\n" not in answer.json()["error"], answer.text
    assert client.get("/health").status_code == 200


def test_a_form_is_told_to_send_the_image_itself(client):
    """What `curl -F` sends."""
    answer = client.post("/predict", files={"file": ("photo.jpg", GOOD)})
    assert answer.status_code == 400 and "--data-binary" in answer.json()["error"]
    assert "video" not in client.post("/predict", content=b"hello").json()["error"]  # nothing has a name here


def test_damaged_files_of_every_kind_are_never_an_error_of_ours(client):
    draw = np.random.RandomState(1)
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"):
        whole = encoded(draw.randint(0, 256, (40, 40, 3)).astype(np.uint8), kind)
        for _ in range(25):
            damaged = bytearray(whole)
            for place in draw.randint(0, len(damaged), 8):
                damaged[place] = draw.randint(256)
            assert client.post("/predict", content=bytes(damaged)).status_code in (200, 400, 413), kind


def test_a_stream_without_a_length_is_bounded(client):
    assert client.post("/predict", content=(b"0" * 65536 for _ in range(40))).status_code == 413


@pytest.fixture
def address(predictor, monkeypatch):
    """(host, port) of a real server on loopback that has little patience."""
    monkeypatch.setattr(serve, "PATIENCE", 1.0)
    server = uvicorn.Server(uvicorn.Config(serve.application(predictor, at_once=1, waiting=3), log_level="error", **serve.OPTIONS))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()
        server.should_exit = True
        thread.join(20)


HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n"


@pytest.mark.parametrize(
    "sent, answer",
    [
        (b"", b""),
        (b"POST /pre", b""),
        (b"POST /predict HTTP/1.1\r\nX", b""),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET", b"HTTP/1.1 200 OK"),
        (b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n", b"HTTP/1.1 405 "),
        (HEAD, b"HTTP/1.1 408 "),
    ],
)
def test_a_client_that_drips_is_let_go_and_holds_up_nobody(address, sent, answer):
    """Slowloris: the start of a request, then a byte now and then."""

    def drip(client):
        with contextlib.suppress(OSError):
            while True:
                time.sleep(0.1)
                client.sendall(b"x")

    got, start = b"", time.monotonic()
    with socket.create_connection(address, timeout=8) as client:
        client.sendall(sent)
        dripping = threading.Thread(target=drip, args=(client,))
        dripping.start()
        with urllib.request.urlopen("http://%s:%d/predict" % address, GOOD, timeout=8) as other:
            assert other.status == 200
        with contextlib.suppress(ConnectionError):
            for part in iter(lambda: client.recv(9999), b""):
                got += part
    dripping.join()
    assert got.startswith(answer) and bool(got) == bool(answer) and 0.9 < time.monotonic() - start < 8


def test_the_benchmark_counts_right_answers_and_errors(address, predictor, monkeypatch):
    monkeypatch.setattr(serve, "PATIENCE", 30)
    url = "http://%s:%d" % address
    rate, times, wrong = bench.load(url, GOOD, predictor(GOOD), clients=3, seconds=0.3)
    assert rate > 0 and len(times) >= 3 and wrong == 0
    for data, wanted, clients in ((b"no image", [], 1), (GOOD, ["another"], 1)):
        rate, times, wrong = bench.load(url, data, wanted, clients, seconds=0.2)
        assert rate == 0 and times == [] and wrong > 0


def test_more_at_once_than_it_takes_is_told_to_wait(predictor):
    with TestClient(serve.application(predictor, at_once=0, waiting=0)) as client:
        answer = client.post("/predict", content=GOOD)
    assert answer.status_code == 503 and answer.headers["retry-after"] == "1"


def test_the_description_fits_the_answers(client, photograph):
    described = client.get("/openapi.json").json()
    face = client.post("/predict", content=encoded(photograph)).json()["faces"][0]
    schema = described["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["faces"]["items"]
    assert set(schema["properties"]) == set(face) and set(schema["properties"]["probabilities"]["properties"]) == set(face["probabilities"])
    assert described["info"]["version"] == fer_lite.__version__ and client.get("/predict").status_code == 405 and client.get("/nowhere").status_code == 404
    page = client.get("/")
    assert "openapi.json" in page.text and "http" not in page.text and "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize("option", ("--port 99999", "--at-once 0", "--score 7", "--threshold 80"))
def test_numbers_that_mean_nothing_are_refused(capsys, option):
    """With --at-once 0 the server took images and never answered."""
    with pytest.raises(SystemExit) as end:
        serve.main(option.split())
    assert end.value.code == 2 and "is not between" in capsys.readouterr().err


@pytest.mark.parametrize("where", ("127.0.0.1", "there.invalid"))
def test_a_port_that_is_taken_is_one_line(where):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(errors.Fail, match="nothing can be served on %s, port %d .*--port" % (where, taken.getsockname()[1])):
            serve.main(["--host", where, "--port", str(taken.getsockname()[1])])


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent otherwise there")
def test_it_says_where_it_serves_until_ctrl_c():
    with subprocess.Popen(
        [sys.executable, "-m", "fer_lite", "serve", "--port", "0"],
        stderr=subprocess.PIPE,
        universal_newlines=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    ) as serving:
        address = re.match(r"serving on (http://127\.0\.0\.1:[1-9]\d*) ", serving.stderr.readline()).group(1)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address + "/health", timeout=20) as answer:
            assert json.load(answer) == {"version": fer_lite.__version__}
        serving.send_signal(signal.SIGINT)
        assert "Traceback" not in serving.communicate(timeout=20)[1] and serving.returncode == 0


def test_ctrl_c_while_libraries_load_is_one_line(tmp_path):
    (tmp_path / "cv2.py").write_text("raise KeyboardInterrupt")
    ran = subprocess.run(
        [sys.executable, "-m", "fer_lite", "photo.jpg"],
        stderr=subprocess.PIPE,
        universal_newlines=True,
        cwd=os.path.dirname(os.path.dirname(os.path.abspath(fer_lite.__file__))),
        env=dict(os.environ, PYTHONPATH=str(tmp_path)),
    )
    assert (ran.returncode, ran.stderr) == (130, "interrupted\n")


def test_without_its_packages_serving_names_the_extra(tmp_path):
    for name in ("uvicorn", "starlette"):
        (tmp_path / (name + ".py")).write_text("raise ImportError")
    ran = subprocess.run(
        [sys.executable, "-m", "fer_lite", "serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        cwd=os.path.dirname(os.path.dirname(os.path.abspath(fer_lite.__file__))),
        env=dict(os.environ, PYTHONPATH=str(tmp_path)),
    )
    assert ran.returncode == 1 and ran.stderr.count("\n") == 1 and "fer-lite[api]" in ran.stderr
