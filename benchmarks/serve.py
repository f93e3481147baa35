"""`fer-lite serve` under load, beside the same Predictor called in this process, in turns in one run.

    python3 -m benchmarks.serve [--clients 1 4 16] [--seconds 5] [--rounds 5]

Each client posts the same photograph (JPEG, 640x480, one face) to a server on loopback, and again as soon as it is answered; an answer that is not
the Predictor's faces is an error. Beside it as many threads as the server looks at images at once, or as there are clients if these are fewer, give the
same bytes to a Predictor. Server and clients share the machine, so the ratio has HTTP, JSON and the clients' own work in it.
"""

import argparse
import asyncio
import concurrent.futures
import contextlib
import os
import socket
import subprocess
import sys
import time

import cv2
import httpx
import numpy as np

from benchmarks.predict import JPEG, picture
from common import errors
from common.progress import Progress
from fer_lite import predict

START = 60  # seconds that the server may take to start


@contextlib.contextmanager
def server(model, at_once):
    """The address of a server that has started, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "fer_lite", "serve", "--port", port, "--model", model, "--at-once", str(at_once)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address, end = "http://127.0.0.1:" + port, time.monotonic() + START
    try:
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(address + "/health", trust_env=False)
                break
            if process.poll() is not None or time.monotonic() > end:
                raise errors.Fail("the server does not start: see what `python3 -m fer_lite serve --model %s` says" % model)
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait()


def load(address, data, wanted, clients, seconds):
    """(right answers a second, seconds of each, errors) of so many clients for so long."""
    times, wrong = [], []

    async def client(http, end):
        now = 0
        while now < end:
            start = time.perf_counter()
            try:
                answer = await http.post("/predict", content=data)
                right = answer.status_code == 200 and answer.json() == {"faces": wanted}
            except httpx.TransportError:
                right = False
            now = time.perf_counter()
            (times if right else wrong).append(now - start)

    async def together():
        async with httpx.AsyncClient(base_url=address, timeout=START, trust_env=False, limits=httpx.Limits(max_connections=clients)) as http:
            start = time.perf_counter()
            await asyncio.gather(*(client(http, start + seconds) for _ in range(clients)))
            return len(times) / (time.perf_counter() - start)

    return asyncio.run(together()), times, len(wrong)


def direct(predictor, data, threads, seconds):
    """Images a second of so many threads with one Predictor."""

    def work(end):
        count = 0
        while time.perf_counter() < end:
            predictor(data)
            count += 1
        return count

    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        counts = list(pool.map(work, [start + seconds] * threads))
    return sum(counts) / (time.perf_counter() - start)


def measure(address, predictor, data, clients, at_once, seconds, rounds, bar):
    """A printed line: medians over the rounds, the ratio's with its least and largest, percentiles over all answers. One round before them warms up."""
    wanted, threads = predictor(data), min(clients, at_once)
    ours, beside, times, wrong = [], [], [], 0
    for turn in range(rounds + 1):
        bar.update(bar.done, "%d clients" % clients)
        beside.append(direct(predictor, data, threads, seconds))
        rate, some, bad = load(address, data, wanted, clients, seconds)
        ours, times, wrong = ours + [rate], times + some if turn else [], wrong + bad
        bar.add()
    ratios = np.array(ours[1:]) / beside[1:]
    percentiles = np.percentile(times, (50, 95, 99)) * 1e3 if times else (float("nan"),) * 3
    return "%7d  %10.1f  %8.1f  %5.2f (%.2f to %.2f)  %7.1f  %7.1f  %7.1f  %6d" % (
        clients,
        np.median(ours[1:]),
        np.median(beside[1:]),
        np.median(ratios),
        ratios.min(),
        ratios.max(),
        *percentiles,
        wrong,
    )


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.serve", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=predict.DEFAULT, help="a network's folder (default: %(default)s)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16], choices=range(1, 257), metavar="1-256")
    parser.add_argument("--seconds", type=float, default=5, help="of each turn (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, choices=range(1, 100), default=5, metavar="1-99", help="turns that count; one goes before them (default: %(default)s)"
    )
    parser.add_argument(
        "--at-once",
        type=int,
        choices=range(1, 257),
        default=os.cpu_count() or 1,
        metavar="1-256",
        help="images that the server looks at together (default: %(default)s)",
    )
    args = parser.parse_args()
    data = cv2.imencode(".jpg", picture(640, 480, 1), [cv2.IMWRITE_JPEG_QUALITY, JPEG])[1].tobytes()
    predictor = predict.Predictor(args.model, threads=1)
    with Progress("benchmark", len(args.clients) * (args.rounds + 1)) as bar, server(args.model, args.at_once) as address:
        lines = [measure(address, predictor, data, clients, args.at_once, args.seconds, args.rounds, bar) for clients in args.clients]
    print(
        "a photograph of 640x480, faces: %d; medians of %d rounds of %g seconds; %d images at once\n"
        % (len(predictor(data)), args.rounds, args.seconds, args.at_once)
    )
    print("\n".join(["clients  requests/s  direct/s  ratio (least to largest)   p50 ms   p95 ms   p99 ms  errors", *lines]))


if __name__ == "__main__":
    main()
