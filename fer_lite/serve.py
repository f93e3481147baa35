"""A server: POST an image, get its faces as JSON.

    fer-lite serve [--port 8000]
    curl --data-binary @photo.jpg http://127.0.0.1:8000/predict

It answers this machine alone unless --host says otherwise; it has neither encryption nor passwords, so put a proxy that has in front
of it before others reach it. Images are held in memory while they are read, and nowhere else. Needs the extra [api].
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import sys
from typing import Any

from fer_lite import __version__, errors, faces, sources
from fer_lite.predict import DEFAULT, Predictor

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import HTMLResponse, JSONResponse
    from starlette.routing import Route
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError:
    raise errors.Fail("serving needs the extra [api]: pip install 'fer-lite[api]'") from None

LARGEST = 20 << 20  # bytes of an image
PIXELS = 50 * 10**6  # decoded: 150 MB
PATIENCE = 30.0  # seconds that a client may take to send an image; twice that for a request's head
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>fer-lite</title>
<h1>fer-lite %s</h1><p>POST an image to <code>/predict</code>: <code>curl --data-binary @photo.jpg URL/predict</code>.
The description for programs: <a href="openapi.json">openapi.json</a>.</p>
<p><label>Try it: <input type="file" accept="image/*" id="file"></label></p><pre id="shown"></pre>
<script>file.onchange = async () => shown.textContent = JSON.stringify(await (await fetch("predict", {method: "POST", body: file.files[0]})).json(), null, 1)</script>
</html>"""
POLICY = "default-src 'none'; script-src 'unsafe-inline'; connect-src 'self'"


class Patient(H11Protocol):
    """Uvicorn's protocol, which by itself waits for a request's head for ever."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._look = self.loop.call_later(PATIENCE, self._let_go, None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._look.cancel()
        super().connection_lost(exc)

    def _let_go(self, last):
        if self.cycle is last and (last is None or last.response_complete):  # no request since the last look
            self.transport.close()
        else:
            self._look = self.loop.call_later(PATIENCE, self._let_go, self.cycle)


OPTIONS: dict[str, Any] = {"http": Patient, "server_header": False, "timeout_keep_alive": 5}  # of uvicorn


def _openapi(classes):
    """The OpenAPI description of what `application` answers."""
    number, text = {"type": "number"}, {"type": "string"}
    face = {
        "type": "object",
        "properties": {
            "box": {
                "type": "array",
                "items": {"type": "integer"},
                "minItems": 4,
                "maxItems": 4,
                "description": "x, y, width, height in pixels of the upright image",
            },
            "score": dict(number, description="the detector's, 0 to 1"),
            "roll": dict(number, description="degrees by which the face is tilted, clockwise"),
            "label": dict(text, enum=[*classes, "uncertain"]),
            "probabilities": {"type": "object", "properties": {name: number for name in classes}},
        },
    }
    problem = {"type": "object", "properties": {"error": text}}

    def answer(description, schema):
        return {"description": description, "content": {"application/json": {"schema": schema}}}

    refusals = {
        "400": "the body is not an image that is read",
        "408": "the body took too long",
        "413": "the image has too many bytes or pixels",
        "503": "too many images at once: try again",
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "fer-lite", "version": __version__},
        "paths": {
            "/predict": {
                "post": {
                    "summary": "The faces in an image, and what they express",
                    "requestBody": {
                        "required": True,
                        "content": {
                            kind: {"schema": {"type": "string", "format": "binary"}}
                            for kind in ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
                        },
                    },
                    "responses": {
                        "200": answer("the faces, the largest first", {"type": "object", "properties": {"faces": {"type": "array", "items": face}}}),
                        **{status: answer(why, problem) for status, why in refusals.items()},
                    },
                }
            },
            "/health": {"get": {"summary": "Whether it serves", "responses": {"200": answer("it does", {"type": "object", "properties": {"version": text}})}}},
        },
    }


def application(predictor: Predictor, at_once: int = 2, waiting: int = 16, largest: int = LARGEST, pixels: int = PIXELS) -> Starlette:
    """The server as an ASGI application: at most `at_once` images are looked at together while `waiting` more wait; the next is told 503."""
    turn, inside = asyncio.Semaphore(at_once), 0
    described = _openapi(predictor.classes)

    def look(data: bytes) -> list[dict[str, Any]]:
        return predictor(sources.read_image(data, pixels))

    async def predict(request: Request) -> JSONResponse:
        nonlocal inside
        if request.headers.get("content-type", "").startswith("multipart/"):
            raise HTTPException(400, "the body is a form: send the image itself (curl --data-binary @photo.jpg, not -F)")
        if inside >= at_once + waiting:
            raise HTTPException(503, "too many images at once: try again", {"Retry-After": "1"})
        inside += 1
        try:
            data = await asyncio.wait_for(_body(request, largest), PATIENCE)
            async with turn:
                return JSONResponse({"faces": await run_in_threadpool(look, data)})
        except asyncio.TimeoutError:
            raise HTTPException(408, "the image took more than %d seconds to come" % PATIENCE) from None
        except sources.TooLarge as problem:
            raise HTTPException(413, str(problem)) from None
        except errors.Fail as problem:
            raise HTTPException(400, str(problem)) from None
        except ClientDisconnect:
            raise HTTPException(400, "the image did not come whole") from None
        finally:
            inside -= 1

    def refused(_: Request, problem: Any) -> JSONResponse:
        return JSONResponse({"error": problem.detail}, problem.status_code, problem.headers)

    return Starlette(
        routes=[
            Route("/predict", predict, methods=["POST"]),
            Route("/openapi.json", lambda request: JSONResponse(described)),
            Route("/health", lambda request: JSONResponse({"version": __version__})),
            Route("/", lambda request: HTMLResponse(PAGE % __version__, headers={"Content-Security-Policy": POLICY})),
        ],
        exception_handlers={HTTPException: refused},
    )


async def _body(request, largest):
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > largest:
            raise HTTPException(413, "images of up to %d MB are taken" % (largest >> 20))
    return bytes(data)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="fer-lite serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="address to answer on (default: %(default)s, this machine alone)")
    parser.add_argument("--port", type=errors.between(int, 0, 65535), default=8000)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--score", type=errors.between(float, 0, 1), default=faces.SCORE, help="the detector's least confidence (default: %(default)s)")
    parser.add_argument(
        "--threshold", type=errors.between(float, 0, 1), default=0, metavar="P", help='label faces whose best probability is below it "uncertain"'
    )
    parser.add_argument(
        "--at-once", type=errors.between(int, 1, 1024), default=os.cpu_count() or 1, help="images that are looked at together (default: %(default)s)"
    )
    args = parser.parse_args(arguments)
    predictor = Predictor(args.model, score=args.score, threads=1, threshold=args.threshold)
    with _listening(args.host, args.port) as listening, contextlib.suppress(KeyboardInterrupt):
        host, port = listening.getsockname()[:2]
        print("serving on http://%s:%d (Ctrl-C ends it)" % ("[%s]" % host if ":" in host else host, port), file=sys.stderr, flush=True)
        uvicorn.Server(uvicorn.Config(application(predictor, args.at_once), log_level="info", **OPTIONS)).run(sockets=[listening])


def _listening(host, port):
    """A socket that listens there; Fail in one line where none can: Uvicorn would say it in its log."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)
    except OSError as problem:
        raise errors.Fail("nothing can be served on %s, port %d (%s): give another --port or --host" % (host, port, problem.strerror or problem)) from None
