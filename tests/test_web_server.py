"""The server of the page: what it gives out, to whom, and what it bears. No browser is needed (tests/test_web.py has one)."""

import socket
import threading
import time
from concurrent import futures

import pytest

from deploy.web import serve


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """A server of a small page, with a secret beside its folder."""
    root = tmp_path_factory.mktemp("served")
    (root / "page" / "models").mkdir(parents=True)
    (root / "page" / "index.html").write_text("<p>the page</p>")
    (root / "page" / "models" / "a.wasm").write_bytes(b"\0asm" + bytes(300000))
    (root / "secret").write_text("secret")
    (root / "page-beside").mkdir()
    (root / "page-beside" / "index.html").write_text("secret")
    server = serve.server(str(root / "page"), 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def ask(port, request, wait=20):
    """All that comes back for some bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def repr_short(request):
    return repr(request[:12])


def get(port, path, method=b"GET"):
    return ask(port, method + b" " + path + b" HTTP/1.0\r\nHost: localhost\r\n\r\n")


@pytest.mark.parametrize("path, status", [(b"/", b"200"), (b"/models/a.wasm", b"200"), (b"/missing", b"404")])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_every_answer_has_the_headers(port, path, status, method):
    head, _, body = get(port, path, method).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].split()[1].encode() == status and (method == b"GET" or not body)
    assert all("%s: %s" % header in lines for header in serve.HEADERS.items())
    assert not [line for line in lines if "Python" in line]
    if path.endswith(b".wasm"):
        assert "Content-type: application/wasm" in lines


@pytest.mark.parametrize(
    "path",
    [
        b"/../secret",
        b"/..%2fsecret",
        b"/%2e%2e/secret",
        b"/models/../../secret",
        b"/models/%2e%2e/%2e%2e/secret",
        b"//secret",
        b"/../page-beside/index.html",
        b"/..\\secret",
        b"/etc/passwd",
        b"//etc/passwd",
        b"/./../secret",
        b"/models/..%00/../secret",
        b"/index.html%00",
        b"/\xff\xfe",
        b"/%ff%fe",
        b"/models",
        b"/models/",
        b"//localhost/%2f..",
        b"/index.html/",
        b"/?/../../secret/",
        b"http://127.0.0.1/../secret",
        b"*",
        b"/" + b"a/" * 2000,
        b"/%",
    ],
)
def test_no_path_leads_out_or_to_a_folder(port, path, capfd):
    said = get(port, path)
    assert b"secret" not in said and b"root:" not in said and b"\nLocation:" not in said
    assert said.split()[1] in (b"404", b"400") or b"the page" in said
    time.sleep(0.02)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.0\r\nContent-Length: 9\r\n\r\n123456789",
        b"PUT /x HTTP/1.0\r\n\r\n",
        b"DELETE /index.html HTTP/1.0\r\n\r\n",
        b"TRACE / HTTP/1.0\r\n\r\n",
        b"GET /" + b"a" * 70000 + b" HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\n" + b"a: b\r\n" * 300 + b"\r\n",
        b"GET / HTTP/1.0\r\na: " + b"b" * 70000 + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET / HTTP/1.0\r\nIf-Modified-Since: \xff\r\n\r\n",
        b"\r\n",
        b"",
    ],
    ids=repr_short,
)
def test_other_requests_are_refused_and_the_page_stays(port, request_, capfd):
    said = ask(port, request_)
    assert not said or b"Error code: " in said or b"If-Modified" in request_
    assert b"the page" in get(port, b"/")
    assert "Traceback" not in capfd.readouterr().err


def test_slow_clients_are_let_go_and_do_not_keep_others_waiting(port, monkeypatch):
    monkeypatch.setattr(serve.Page, "timeout", 0.5)
    slow = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(60)]
    for connection in slow:
        connection.sendall(b"GET / HT")
    began = time.monotonic()
    assert b"the page" in get(port, b"/")
    waited = time.monotonic() - began
    for connection in slow:
        assert connection.recv(9) == b""  # closed by the server
        connection.close()
    assert waited < 10


def test_many_clients_at_once_and_those_that_go_away(port, capfd):
    with futures.ThreadPoolExecutor(40) as pool:
        for body in pool.map(lambda _: get(port, b"/models/a.wasm"), range(200)):
            assert body.endswith(bytes(300000))
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET /models/a.wasm HTTP/1.0\r\n\r\n")
    assert b"the page" in get(port, b"/") and "Traceback" not in capfd.readouterr().err


def test_it_listens_on_this_machine_alone():
    assert serve.ADDRESS == "127.0.0.1"
