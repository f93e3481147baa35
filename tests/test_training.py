"""Training in real Caffe, on tiny data: equal to the stock tool, byte for byte the same after any interruption."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent import futures

import numpy as np
import pytest
import training_data as data

from common import files, runs
from common.caffe import binary, text
from common.caffe import messages as m
from netgen import resnet
from netgen import solver as schedule
from training import inputs, job, loop, order, record, run, snapshots, transplant


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


def train(monkeypatch, *arguments):
    """`python3 -m training.run` in this process; its exit status."""
    monkeypatch.setattr(sys, "argv", ["training.run"] + list(arguments))
    with pytest.raises(SystemExit) as end:
        run.main()
    return end.value.code or 0


def contents(path):
    with open(path, "rb") as f:
        return f.read()


def rows(out):
    """The log without the columns that tell the time."""
    return [{k: v for k, v in row.items() if k not in ("images_per_second", "seconds")} for row in runs.read_log(os.path.join(out, "log.csv"))]


def refusal(capsys):
    """What was printed as error, which must be one line."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


# ---- the run -------------------------------------------------------------------------------------------------------


@pytest.mark.caffe
@pytest.mark.parametrize("trial", ["1", "2"])
def test_losses_and_bytes_are_those_of_the_stock_tool(monkeypatch, trial):
    data.write_all("source", display=1)
    assert train(monkeypatch, "--solver", "source.prototxt", "--out", "pre") == 0
    solver = data.write_all(display=1)
    order.reorder("data/tiny/train_lmdb", 2)
    transplant.write("pre/final.caffemodel", resnet.deploy_net(8, "tiny", 4), "init.caffemodel")
    assert train(monkeypatch, "--solver", solver, "--out", "run", "--weights", "init.caffemodel", "--trial", trial) == 0
    resolved = text.read("run/solver.prototxt", m.SolverParameter)
    resolved.snapshot_prefix = "stock"
    resolved.average_loss = 1
    assert list(resolved.weights) == ["init.caffemodel"]
    resolved.ClearField("weights")
    text.write("stock.prototxt", resolved)
    stock = subprocess.run(
        ["caffe", "train", "--solver=stock.prototxt", "--weights=init.caffemodel"],
        env=data.environment(log="0"),
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert stock.returncode == 0
    losses = re.findall(r"Train net output #0: loss = (\S+)", stock.stderr)[: data.ITERATIONS]
    assert [float(loss) for loss in losses] == pytest.approx([row["loss"] for row in rows("run")], rel=5e-6)  # all digits printed
    tested = re.findall(r"Test net output #0: accuracy = (\S+)", stock.stderr)
    ours = [row["validation_accuracy"] for row in rows("run") if row["validation_accuracy"] is not None]
    assert tested == ["%.6g" % accuracy for accuracy in ours[: len(tested)]] and len(tested) == 3 and len(ours) == 4
    assert contents("stock_iter_%d.caffemodel" % data.ITERATIONS) == contents("run/final.caffemodel")
    assert [row["rate"] for row in rows("run")] == pytest.approx([0.05] * 10 + [0.005] * 7 + [0.0005] * 7)


@pytest.mark.caffe
def test_what_a_run_leaves(monkeypatch, capsys):
    assert train(monkeypatch, "--solver", data.write_all(), "--out", "runs/a", "--trial", "1") == 0
    words = capsys.readouterr().err
    assert re.search(r"runs/a 100%  24/24 .* epoch 2\.\d+  rate 0\.0005  loss \S+  validation \S+%  \d+ images/s", words)
    assert "runs/a validates on 35 images in 5 batches, of a part of 30: some of them twice" in words and "n = 30" not in words
    assert [row["iteration"] for row in rows("runs/a")] == sorted(set(range(1, 25)))[:24]
    kept = runs.read("runs/a")
    assert kept["state"] == "finished" and kept["iteration"] == data.ITERATIONS
    assert kept["inputs"]["train"]["images"] == data.TRAIN and kept["inputs"]["solver"]["random_seed"] == 1
    session = kept["sessions"][-1]
    assert session["versions"]["blas"] and session["versions"]["blas_settings"] and session["command"] and session["began"] <= session["ended"]
    assert session["files"] == {path: files.sha256(path) for path in ("tiny.prototxt", "tiny_net.prototxt")}
    assert session["git_commit"] == record.git_commit()
    assert kept["final_sha256"] == files.sha256("runs/a/final.caffemodel")
    assert sorted(snapshots.iterations("runs/a")) == [8, 16, 24]
    assert not [name for name in os.listdir("runs/a") if ".partial" in name or name.endswith(".new")]


@pytest.mark.caffe
def test_the_seed_decides(monkeypatch):
    solver = data.write_all()
    order.reorder("data/tiny/train_lmdb", 2)
    for out, trial in (("a", "1"), ("b", "1"), ("c", "2")):
        assert train(monkeypatch, "--solver", solver, "--out", out, "--trial", trial, "--epochs", "0.5") == 0
    assert contents("a/final.caffemodel") == contents("b/final.caffemodel") != contents("c/final.caffemodel")


def test_epochs_stretch_the_whole_schedule():
    solver, net, _ = job.resolve(data.write_all(), "out")
    job.stretch(solver, net, data.TRAIN, 1)
    assert solver.max_iter == schedule.iterations(1, data.TRAIN, data.BATCH) == 12
    assert list(solver.stepvalue) == [5, 8] and solver.snapshot == 4
    assert [schedule.rate(solver, i) for i in (0, 4, 5, 8)] == pytest.approx([0.05, 0.05, 0.005, 0.0005])


def test_order_of_a_trial():
    data.write_all()
    order.reorder("data/tiny/train_lmdb", 2)
    one, two = (inputs.read_part("data/tiny/train_lmdb" + end) for end in ("", "_trial2"))
    assert one.sha256 != two.sha256 and one.labels == two.labels and one.images == two.images
    left_over = "data/tiny/train_lmdb_trial2.partial-%s-%d" % (os.uname()[1], os.getpid())
    shutil.copytree("data/tiny/train_lmdb", left_over)  # of a writer that was killed, of other data: it is not gone on with
    first = inputs.read_part(order.reorder("data/tiny/train_lmdb", 2))
    assert first.sha256 == two.sha256 and not os.path.exists(left_over)


# ---- interruptions -------------------------------------------------------------------------------------------------


SIGNALLED = """
import os, sys
from training import loop, run
moments = [tuple(map(int, word.split(":"))) for word in sys.argv.pop(1).split(",")]
step = loop.Training._step
def stepping(self):
    for iteration, number in moments:
        if self.engine.iter == iteration:
            os.kill(os.getpid(), number)
    step(self)
loop.Training._step = stepping
run.main()
"""


def signalled(moments, *arguments):
    """Train in a process of its own that sends itself signals, [(before iteration, signal)]: (its status, its words)."""
    listed = ",".join("%d:%d" % moment for moment in moments)
    ran = subprocess.run(
        [sys.executable, "-c", SIGNALLED, listed] + list(arguments),
        env=data.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    return ran.returncode, ran.stdout


def continued(words):
    """From which iteration a run went on; None where it began anew."""
    found = re.search(r"continues from iteration (\d+)", words)
    return int(found.group(1)) if found else None


def pieces(solver, out, number, moments):
    """Train in `out`, ended by signal `number` before each iteration of `moments`, and then to the end: from where each went on."""
    found = []
    for moment in moments + [None]:
        status, words = signalled([(moment, number)] if moment is not None else [(-1, 0)], "--solver", solver, "--out", out)
        assert status in ((0,) if moment is None else (-number, 128 + number)), words
        found.append(continued(words))
    return found


@pytest.mark.caffe
# Killed, a run goes on from the last snapshot (every 10); asked to stop, from where it was: after the step in which it was asked.
@pytest.mark.parametrize("number, expected", [(signal.SIGKILL, [None, None, 20, 40, 40]), (signal.SIGTERM, [None, 4, 26, 41, 49])])
def test_interrupted_at_chosen_iterations_ends_in_the_same_bytes(monkeypatch, number, expected):
    solver = data.write_all(max_iter=50, snapshot=10)  # validations at 7, 14, ..., the rate drops at 10 and 17
    assert train(monkeypatch, "--solver", solver, "--out", "whole") == 0
    assert pieces("tiny.prototxt", "pieces", number, [3, 25, 40, 48]) == expected
    assert contents("pieces/final.caffemodel") == contents("whole/final.caffemodel")
    assert rows("pieces") == rows("whole")


@pytest.mark.caffe
def test_two_interrupted_runs_side_by_side(monkeypatch):
    solver = data.write_all(max_iter=30, snapshot=10)
    assert train(monkeypatch, "--solver", solver, "--out", "whole") == 0
    with futures.ThreadPoolExecutor() as pool:
        both = [pool.submit(pieces, solver, out, number, [15, 21]) for out, number in (("a", signal.SIGKILL), ("b", signal.SIGTERM))]
        assert [each.result() for each in both] == [[None, 10, 20], [None, 16, 22]]
    assert contents("a/final.caffemodel") == contents("b/final.caffemodel") == contents("whole/final.caffemodel")


@pytest.mark.caffe
def test_a_snapshot_that_was_asked_for_is_gone_on_from(monkeypatch):
    """SIGHUP before iteration 12, power cut before 15."""
    solver = data.write_all()
    assert train(monkeypatch, "--solver", solver, "--out", "whole") == 0
    status, words = signalled([(12, signal.SIGHUP), (15, signal.SIGKILL)], "--solver", solver, "--out", "out")
    assert status == -signal.SIGKILL and "SIGHUP: a snapshot at iteration 13" in words
    assert snapshots.iterations("out") == [13, 8]
    status, words = signalled([(-1, 0)], "--solver", solver, "--out", "out")
    assert status == 0 and continued(words) == 13
    assert contents("out/final.caffemodel") == contents("whole/final.caffemodel") and rows("out") == rows("whole")


@pytest.mark.caffe
def test_stopped_after_every_single_iteration(monkeypatch):
    """So also before, at and after validations (which are broken off), snapshots and drops of the rate."""
    solver, steps = data.write_all(), []
    assert train(monkeypatch, "--solver", solver, "--out", "whole") == 0
    step = loop.Training._step
    monkeypatch.setattr(loop.Training, "_step", lambda self: (step(self), steps.append(1)))
    monkeypatch.setattr(loop.Stop, "__call__", lambda self: loop.TIME_LIMIT if steps else None)
    for _ in range(data.ITERATIONS):
        assert train(monkeypatch, "--solver", solver, "--out", "pieces") == 75
        steps.clear()
    assert train(monkeypatch, "--solver", solver, "--out", "pieces") == 0
    assert contents("pieces/final.caffemodel") == contents("whole/final.caffemodel")
    assert rows("pieces") == rows("whole")
    assert snapshots.iterations("pieces") == [24, 16, 8]


@pytest.mark.caffe
def test_killed_while_the_final_weights_get_their_name(monkeypatch):
    """Whichever of record and weights is there alone: the run goes on, and nothing that was finished is trained anew."""
    solver, move = data.write_all(), snapshots.move
    assert train(monkeypatch, "--solver", solver, "--out", "whole") == 0

    def killed(after):
        def moving(source, target):
            if target == "a/final.caffemodel":
                if after:
                    move(source, target)
                raise RuntimeError("killed")
            move(source, target)

        return moving

    for after in (False, True):
        monkeypatch.setattr(snapshots, "move", killed(after))
        with pytest.raises(RuntimeError):
            train(monkeypatch, "--solver", solver, "--out", "a")
    monkeypatch.setattr(snapshots, "move", move)
    written = os.stat("a/final.caffemodel").st_ino
    assert train(monkeypatch, "--solver", solver, "--out", "a") == 0
    assert os.stat("a/final.caffemodel").st_ino == written and contents("a/final.caffemodel") == contents("whole/final.caffemodel")


def test_a_signal_that_comes_twice_is_one(monkeypatch):
    stop = loop.Stop(None)
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop() == "SIGTERM" and stop.status() == 143
    code = (
        "import os, signal, time; from training import loop; loop.ECHO = 0.1; loop.Stop(None)\n"
        "for _ in range(2): os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.2)\nprint('still there')"
    )
    again = subprocess.run([sys.executable, "-c", code], env=data.environment(), stdout=subprocess.PIPE)
    assert again.returncode == -signal.SIGTERM and not again.stdout


@pytest.mark.caffe
def test_a_plain_resume_would_differ(monkeypatch):
    """The test above can fail: without the data layer's position, the bytes are others."""
    from engines.caffe import engine as caffe_engine

    solver = data.write_all()
    assert train(monkeypatch, "--solver", solver, "--out", "whole") == 0
    shutil.copytree("whole", "pieces")
    for name in ("final.caffemodel", "snapshot_iter_24.json", "snapshot_iter_16.json"):
        os.remove("pieces/" + name)
    monkeypatch.setattr(caffe_engine.CaffeEngine, "restore", lambda self, path, validations: self.solver.restore(path))
    assert train(monkeypatch, "--solver", solver, "--out", "pieces") == 0
    assert contents("pieces/final.caffemodel") != contents("whole/final.caffemodel")


@pytest.fixture
def stopped(monkeypatch):
    """A solver and its run in folder `part`, with snapshots at 8 and 16 and no end."""
    solver = data.write_all()
    assert train(monkeypatch, "--solver", solver, "--out", "part") == 0
    os.rename("part/final.caffemodel", "whole.caffemodel")
    snapshots.remove("part", 24)
    return solver


@pytest.mark.caffe
@pytest.mark.parametrize(
    "ending, harm",
    [(".caffemodel", lambda path: os.truncate(path, 1000)), (".solverstate", os.remove), (".json", lambda path: os.truncate(path, 10)), (".json", os.remove)],
)
def test_a_damaged_snapshot_is_skipped_with_a_line(monkeypatch, capsys, stopped, ending, harm):
    harm("part/snapshot_iter_16" + ending)
    assert train(monkeypatch, "--solver", stopped, "--out", "part") == 0
    words = capsys.readouterr().err
    assert "skipped snapshot part/snapshot_iter_16: part/snapshot_iter_16%s is " % ending in words
    assert "part continues from iteration 8 of 24" in words
    assert contents("part/final.caffemodel") == contents("whole.caffemodel")


@pytest.mark.caffe
def test_a_snapshot_of_another_net_is_skipped_with_a_line(monkeypatch, capsys, stopped):
    assert train(monkeypatch, "--solver", data.write_all("other", depth=14), "--out", "other") == 0
    for ending in (".caffemodel", ".solverstate", ".json"):
        shutil.copy("other/snapshot_iter_24" + ending, "part/snapshot_iter_24" + ending)
    assert train(monkeypatch, "--solver", stopped, "--out", "part") == 0
    words = capsys.readouterr().err
    assert "skipped snapshot part/snapshot_iter_24: it is of another run (other net, solver, data or weights)" in words
    assert contents("part/final.caffemodel") == contents("whole.caffemodel")


@pytest.mark.caffe
def test_a_run_continues_where_its_folder_was_moved_to(monkeypatch, stopped):
    os.rename("part", "moved")
    assert train(monkeypatch, "--solver", stopped, "--out", "moved") == 0
    assert contents("moved/final.caffemodel") == contents("whole.caffemodel")


@pytest.mark.caffe
def test_a_solver_edited_after_a_snapshot_is_refused(monkeypatch, capsys, stopped):
    data.write_all(base_lr=0.01)
    assert train(monkeypatch, "--solver", stopped, "--out", "part") == 1
    assert "part was begun with other inputs (base_lr 0.05 -> 0.01)" in refusal(capsys)
    data.write_all(display=1)  # what decides no weight may change
    assert train(monkeypatch, "--solver", stopped, "--out", "part") == 0


# ---- what it was made from -----------------------------------------------------------------------------------------


@pytest.mark.caffe
def test_a_finished_run_is_trusted_only_while_its_inputs_are_the_same(monkeypatch, capsys):
    solver = data.write_all()
    again = lambda: train(monkeypatch, "--solver", solver, "--out", "a")
    assert again() == 0
    first = contents("a/final.caffemodel")
    os.utime("a/final.caffemodel", (0, 0))
    assert again() == 0 and os.stat("a/final.caffemodel").st_mtime > 0  # make sees that it is new
    assert "nothing that it was made from has changed" in capsys.readouterr().err
    shutil.rmtree("data/tiny/train_lmdb")
    data.write_part("data/tiny", "train", data.TRAIN, seed=3, classes=4)
    assert again() == 0
    assert "made from other inputs (the training data): kept in a/replaced-1, training anew" in capsys.readouterr().err
    assert contents("a/final.caffemodel") != first == contents("a/replaced-1/final.caffemodel")
    with open("a/final.caffemodel", "ab") as f:
        f.write(b"\0")
    assert again() == 0 and os.path.isdir("a/replaced-2")


def test_weights_from_elsewhere_are_not_overwritten(monkeypatch, capsys):
    solver = data.write_all()
    os.mkdir("a")
    with open("a/final.caffemodel", "wb") as f:
        f.write(b"mine")
    assert train(monkeypatch, "--solver", solver, "--out", "a") == 1
    assert "no run.json says what it was made from" in refusal(capsys)
    assert contents("a/final.caffemodel") == b"mine"


@pytest.mark.caffe
def test_another_number_of_threads_is_said(monkeypatch, capsys, stopped):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    assert train(monkeypatch, "--solver", stopped, "--out", "part") == 0
    assert "continues with another blas_settings than before" in capsys.readouterr().err


# ---- what a person would notice ------------------------------------------------------------------------------------


@pytest.mark.caffe
def test_an_exploding_loss_stops_the_run(monkeypatch, capsys):
    assert train(monkeypatch, "--solver", data.write_all(rate=1e4, momentum=0.99), "--out", "a") == 1
    line = refusal(capsys)
    assert re.search(r"a: (the loss (is nan|exploded)|a weight is not finite).* at iteration \d+, rate 10000; last good snapshot", line)
    assert not os.path.exists("a/final.caffemodel") and runs.read("a")["state"] == "failed"
    assert runs.read("a")["problem"] in line


@pytest.mark.caffe
def test_loss_far_above_guessing_for_long(monkeypatch, capsys):
    data.write_all()
    monkeypatch.setattr(loop, "EXPLODED", 1e-6)
    assert train(monkeypatch, "--solver", "tiny.prototxt", "--out", "a") == 1
    assert "the loss exploded: above 0.0 for 20 iterations at iteration 20, rate 0.0005; last good snapshot: a/snapshot_iter_16" in refusal(capsys)


@pytest.mark.caffe
def test_chance_is_said(monkeypatch, capsys):
    monkeypatch.setattr(loop, "CHANCE", 100)
    assert train(monkeypatch, "--solver", data.write_all(), "--out", "a") == 0
    words = capsys.readouterr().err
    assert words.count("is chance (the largest class has") == 1


@pytest.mark.caffe
def test_a_full_disk_is_foreseen(monkeypatch, capsys):
    monkeypatch.setattr(run.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 100000))
    assert train(monkeypatch, "--solver", data.write_all(), "--out", "a") == 1
    assert "a has 0.1 MB free, and this run's snapshots need" in refusal(capsys)


@pytest.mark.caffe
def test_a_full_disk_is_survived(monkeypatch, capsys):
    solver, copy, refused = data.write_all(), shutil.copyfile, []
    assert train(monkeypatch, "--solver", solver, "--out", "whole") == 0

    def full(source, target):
        if "snapshot_iter_16" in target and len(refused) < 2:
            refused.append(target)
            with open(target, "wb") as f:
                f.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", target)
        return copy(source, target)

    monkeypatch.setattr(snapshots.shutil, "copyfile", full)
    assert train(monkeypatch, "--solver", solver, "--out", "a") == 0
    words = capsys.readouterr().err
    assert "no snapshot at iteration 16" in words and "No space left on device" in words
    assert "training goes on, the last good one is a/snapshot_iter_8" in words
    assert contents("a/final.caffemodel") == contents("whole/final.caffemodel")
    assert refused and not [name for name in os.listdir("a") if "partial" in name]


@pytest.mark.caffe
def test_a_full_memory_is_survived(monkeypatch, capsys):
    """Where Caffe itself writes: it would abort."""
    solver, usage, refused = data.write_all(), shutil.disk_usage, []
    assert train(monkeypatch, "--solver", solver, "--out", "whole") == 0

    def full(path):
        due = not refused or len(refused) == 1 and os.path.exists("a/snapshot_iter_24.json")  # at first, and at the end
        if not due or not os.path.basename(path).startswith("fer-lite-"):
            return usage(path)
        refused.append(path)
        return usage(path)._replace(free=0)

    monkeypatch.setattr(snapshots.shutil, "disk_usage", full)
    monkeypatch.setattr(loop, "RETRY", 0.1)
    assert train(monkeypatch, "--solver", solver, "--out", "a") == 0
    words = capsys.readouterr().err
    assert re.search(r"no snapshot at iteration 8: No space left on device \(.*fer-lite-", words)
    assert re.search(r"fer-lite-.* cannot be written: No space left on device; make room", words)
    assert contents("a/final.caffemodel") == contents("whole/final.caffemodel")


@pytest.mark.caffe
def test_the_end_waits_for_room(monkeypatch, capsys):
    solver, copy, refused = data.write_all(), shutil.copyfile, []
    assert train(monkeypatch, "--solver", solver, "--out", "whole") == 0

    def full(source, target):
        if "final.caffemodel" in target and len(refused) < 2:
            refused.append(target)
            raise OSError(errno.ENOSPC, "No space left on device")
        return copy(source, target)

    monkeypatch.setattr(snapshots.shutil, "copyfile", full)
    monkeypatch.setattr(loop, "RETRY", 0.1)
    assert train(monkeypatch, "--solver", solver, "--out", "a") == 0
    assert capsys.readouterr().err.count("a/final.caffemodel cannot be written: No space left on device; make room") == 2
    assert contents("a/final.caffemodel") == contents("whole/final.caffemodel")


# ---- bad input -----------------------------------------------------------------------------------------------------


def _mean(shape):
    binary.write_mean("data/tiny/mean.binaryproto", np.zeros(shape, np.float32))


def _scribble(path):
    """The page behind the two that LMDB looks at when it is opened."""
    with open(path, "r+b") as f:
        f.seek(2 * 4096)
        f.write(b"\xa5" * 4096)


def _with_means(*values):
    """The net of data.write_all with `mean_value`s beside its mean_file (three), or in place of it."""
    net = text.read("tiny_net.prototxt", m.NetParameter)
    for layer in net.layer:
        if layer.type == "Data":
            layer.transform_param.mean_value.extend(values)
            if len(values) < 3:
                layer.transform_param.ClearField("mean_file")
    text.write("tiny_net.prototxt", net)


@pytest.mark.parametrize(
    "spoil, says",
    [
        (lambda: shutil.rmtree("data/tiny/train_lmdb"), "data/tiny/train_lmdb is not there: run `make data SRC=tiny`"),
        (lambda: os.remove("data/tiny/mean.binaryproto"), "data/tiny/mean.binaryproto is not there: run `make data SRC=tiny`"),
        (lambda: _mean((3, 40, 40)), "mean.binaryproto is 3x40x40 and the images of data/tiny/train_lmdb are 3x36x36"),
        (lambda: data.write_part("data/tiny", "train", 20, side=40), "data/tiny/train_lmdb holds images of 2 sizes"),
        (lambda: (shutil.rmtree("data/tiny/train_lmdb"), data.write_part("data/tiny", "train", 20, side=20)), "smaller than the crop of 32"),
        (lambda: data.write_all(classes=3), "holds labels 0 to 3, but fc_tiny has 3 outputs"),
        (lambda: os.truncate("data/tiny/train_lmdb/data.mdb", 100), "data/tiny/train_lmdb is damaged"),
        (lambda: os.truncate("data/tiny/train_lmdb/data.mdb", 20000), "data/tiny/train_lmdb is cut short"),
        (lambda: _scribble("data/tiny/train_lmdb/data.mdb"), "data/tiny/train_lmdb is damaged"),
        (lambda: _with_means(1, 2), "one mean_value, or one for each channel"),
        (lambda: _with_means(1, 2, 3), "needs a mean_file, or one mean_value"),
        (lambda: data.write_all(test_interval=0), "needs max_iter, test_interval"),
        (lambda: data.write_all(lr_policy="step"), "stepsize of 1 or more"),
        (lambda: os.remove("tiny_net.prototxt"), "tiny_net.prototxt is not there: run `make prototxt`"),
        (lambda: os.remove("tiny.prototxt"), "tiny.prototxt is not there: run `make prototxt`"),
        (lambda: data.write_all(iter_size=2), "without iter_size"),
        (lambda: data.write_all(lr_policy="inv"), "lr_policy 'inv' is not one of"),
        (lambda: open("out", "w").close(), "out cannot be written"),
    ],
)
def test_bad_input_is_one_line(monkeypatch, capsys, spoil, says):
    solver = data.write_all()
    spoil()
    assert train(monkeypatch, "--solver", solver, "--out", "out") == 1
    assert says in refusal(capsys)


@pytest.mark.caffe
def test_bad_weights_are_one_line(monkeypatch, capsys):
    assert train(monkeypatch, "--solver", data.write_all("other", depth=14), "--out", "other") == 0
    solver = data.write_all()
    for weights, says in (
        ("none", "none is not there"),
        ("tiny.prototxt", "damaged or no NetParameter"),
        ("other/final.caffemodel", "other/final.caffemodel is of another network (another depth?): it has 18 layers more"),
        ("other/snapshot_iter_8.solverstate", "holds no weights"),
    ):
        capsys.readouterr()
        assert train(monkeypatch, "--solver", solver, "--out", "out", "--weights", weights) == 1
        assert says in refusal(capsys)
        assert not os.path.exists("out")


def test_a_trial_without_its_order(monkeypatch, capsys):
    assert train(monkeypatch, "--solver", data.write_all(), "--out", "out", "--trial", "2") == 1
    assert "data/tiny/train_lmdb_trial2 is not there: run `make order TRIAL=2`" in refusal(capsys)


@pytest.mark.caffe
def test_a_gpu_that_is_not_there(monkeypatch, capsys):
    assert train(monkeypatch, "--solver", data.write_all(), "--out", "out", "--gpu", "0") == 1
    assert "this Caffe has no GPU 0" in refusal(capsys)


def test_one_process_a_folder(monkeypatch, capsys):
    with record.claimed("out"):
        first = data.start("--solver", data.write_all(), "--out", "out")
        assert "error: another process is training in out" in first.communicate()[0] and first.returncode == 1
    assert not runs.is_claimed("out")


def test_a_file_system_without_locks(monkeypatch, capsys):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    solver = data.write_all()
    monkeypatch.setattr(record.fcntl, "flock", flock)
    assert train(monkeypatch, "--solver", solver, "--out", "out") == 1
    assert "the file system of out gives no locks (No locks available)" in refusal(capsys)


def test_commit_of_this_checkout(monkeypatch):
    monkeypatch.setenv("FER_LITE_COMMIT", "0123+changes")
    assert record.git_commit() == "0123+changes"
    monkeypatch.setenv("FER_LITE_COMMIT", "")
    assert record.git_commit() is None
    if shutil.which("git"):
        monkeypatch.delenv("FER_LITE_COMMIT")
        assert record.git_commit() is None or re.fullmatch(r"[0-9a-f]{40}(\+changes)?", record.git_commit())


def test_times():
    assert [run.seconds(t) for t in ("90m", "2h", "45s", "45")] == [5400, 7200, 45, 45]


@pytest.mark.parametrize(
    "option, value, says",
    [
        ("--stop-after", "soon", "STOP_AFTER=soon is no time: write 90m, 2h or 45s"),
        ("--epochs", "0", "0 is no number above 0"),
        ("--epochs", "few", "few is no number above 0"),
        ("--trial", "0", "trial 0 is no number from 1 on"),
    ],
)
def test_options_that_make_no_sense(monkeypatch, capsys, option, value, says):
    assert train(monkeypatch, "--solver", "tiny.prototxt", "--out", "out", option, value) == 1
    assert says in refusal(capsys)


def test_what_a_killed_run_left_in_memory_is_removed_and_no_other(tmp_path):
    path = str(tmp_path / run.SCRATCH)
    for name in ("left", "young", "other"):
        folder = tmp_path / (name if name == "other" else run.SCRATCH + files.MARK + name)
        folder.mkdir()
        (folder / "snapshot.caffemodel").write_bytes(b"x" * 1000)
        if name != "young":
            os.utime(folder, (1, 1))
    with files.scratch(path, run.ABANDONED) as held:
        os.utime(held, (1, 1))
        with files.scratch(path, run.ABANDONED) as folder:
            assert os.path.isdir(folder)
        assert sorted(os.listdir(tmp_path)) == sorted([os.path.basename(held), run.SCRATCH + files.MARK + "young", "other"])
