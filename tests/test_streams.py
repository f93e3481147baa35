"""What is said cannot end the work: readers that went away, lost terminals, full disks. Needs no Caffe."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest
import training_data as data

WORK = """
import os, sys, time
from common import errors, streams
from common.progress import Progress

@errors.main
@streams.unfailing()
def main():
    with Progress("work", 50, every=0) as bar:
        for done in range(50):
            time.sleep(0.01)
            bar.update(done)
            print("line", done, flush=True)
            os.system("echo of another process >&2")
    bar.say("end")
    open("done", "w").close()

main()
"""


def start(tmp_path, **streams):
    return subprocess.Popen([sys.executable, "-c", WORK], env=data.environment(), cwd=str(tmp_path), **streams)


@pytest.mark.parametrize("which", ["stdout", "stderr"])
def test_a_reader_that_went_away(tmp_path, which):
    other = "stderr" if which == "stdout" else "stdout"
    work = start(tmp_path, **{which: subprocess.PIPE, other: subprocess.DEVNULL})
    pipe = getattr(work, which)
    assert pipe.readline()
    pipe.close()
    assert work.wait(timeout=30) == 0 and os.path.exists(tmp_path / "done")


def test_a_full_disk(tmp_path):
    with open("/dev/full", "w") as full:
        assert start(tmp_path, stdout=full, stderr=full).wait(timeout=30) == 0
    assert os.path.exists(tmp_path / "done")


def lose_terminal(command, tmp_path, awaited):
    """Run `command` on a terminal, take the terminal away after the word `awaited`; the exit status."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(str(tmp_path))
        os.execve(command[0], command, data.environment())
    seen = b""
    while awaited not in seen:
        seen += os.read(terminal, 1000)
    os.close(terminal)
    return os.waitpid(pid, 0)[1]


def test_a_lost_terminal(tmp_path):
    assert lose_terminal([sys.executable, "-c", WORK], tmp_path, b"line 3") == 0
    assert os.path.exists(tmp_path / "done")


def test_an_order_is_written_to_its_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data.write_all()
    reading, writing = os.pipe()
    os.close(reading)
    made = subprocess.run(
        [sys.executable, "-m", "training.order", "--lmdb", "data/tiny/train_lmdb", "--trial", "2"], env=data.environment(), stdout=writing, stderr=writing
    )
    os.close(writing)
    assert made.returncode == 0 and os.path.exists("data/tiny/train_lmdb_trial2/data.mdb")


@pytest.mark.caffe
def test_a_training_goes_on_without_its_terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    solver = data.write_all(max_iter=60, snapshot=0)
    command = [sys.executable, "-m", "training.run", "--solver", solver, "--out", "out"]
    assert lose_terminal(command, tmp_path, b"epoch") == 0
    assert os.path.exists("out/final.caffemodel")
    for _ in range(2):  # finished: said to nobody, with the same status
        piped = subprocess.Popen(command, env=data.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        piped.stdout.close(), piped.stderr.close()
        assert piped.wait(timeout=60) == 0


@pytest.mark.caffe
def test_hangup_takes_a_snapshot_and_the_training_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    work = data.start("--solver", data.write_all(max_iter=200, snapshot=0, test_interval=500), "--out", "out")
    while not os.path.exists("out/log.csv"):
        time.sleep(0.01)
    work.send_signal(signal.SIGHUP)
    words = work.communicate()[0]
    assert work.returncode == 0 and "SIGHUP: a snapshot at iteration " in words and os.path.exists("out/final.caffemodel")


def test_names_that_the_terminals_encoding_lacks_are_spelt():
    script = (
        "from fer_lite import errors\n@errors.main\ndef main():\n    print('\u043b.png', flush=True)\n    raise errors.Fail('\u7b11.png is not there')\nmain()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=data.ROOT,
        env=dict(os.environ, PYTHONIOENCODING="ascii:strict"),
        universal_newlines=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "\\u043b.png\n", "error: \\u7b11.png is not there\n")
