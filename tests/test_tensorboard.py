"""Event files for TensorBoard hold what log.csv holds. Run where the PyTorch engine's packages are."""

import os
import struct

import pytest
from tensorboardX.proto import event_pb2

from evaluation.report import tensorboard
from training import loop, record

pytestmark = pytest.mark.torch  # its packages bring tensorboardX
ROW = dict(epoch=0.5, rate=0.1, loss=2.25, validation_accuracy=None, validation_loss=None, images_per_second=100.0, seconds=1.5)


def scalars(folder):
    """{(tag, step): (value, time)} of the event file in `folder`: records of length, checksum, Event, checksum."""
    (name,) = os.listdir(folder)
    with open(os.path.join(folder, name), "rb") as f:
        data, place, found = f.read(), 0, {}
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        event = event_pb2.Event.FromString(data[place + 12 : place + 12 + length])
        found.update({(v.tag, event.step): (v.simple_value, event.wall_time) for v in event.summary.value})
        place += length + 16
    return found


def write_run(folder, rows):
    os.makedirs(folder)
    log = loop.Log(os.path.join(folder, "log.csv"), 0)
    for row in rows:
        log.write(row)
    record.write(folder, {"sessions": [{"began": "2026-01-02T03:04:05+0000"}]})


def test_what_the_log_holds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_run("runs/a/trial1", [dict(ROW, iteration=1), dict(ROW, iteration=2, validation_accuracy=0.5, validation_loss=1.0)])
    os.makedirs("runs/b")
    for _ in range(2):  # again: what was there is replaced
        monkeypatch.setattr("sys.argv", ["x", "runs/a/trial1", "runs/b", "--out", "tb"])
        with pytest.raises(SystemExit) as end:
            tensorboard.main()
        assert not end.value.code
    assert "wrote the logs of 1 runs" in capsys.readouterr().out
    found = scalars("tb/a/trial1")
    began = 1767323045 + 1.5
    assert found[("training/loss", 1)] == (2.25, began) and found[("validation/accuracy", 2)] == (0.5, began)
    assert ("validation/accuracy", 1) not in found and len(found) == 3 * 2 + 2


@pytest.mark.parametrize("words", [("study/a", "--out", "tb"), ("runs/b", "--out", "runs"), ("study/a", "--runs", "study", "--out", "study")])
def test_no_run_is_ever_replaced(tmp_path, monkeypatch, capsys, words):
    """tb/../study/a is the run: its network went, and an event file stood in its place."""
    monkeypatch.chdir(tmp_path)
    write_run("study/a", [dict(ROW, iteration=1)])
    write_run("runs/b", [dict(ROW, iteration=1)])
    monkeypatch.setattr("sys.argv", ["x", *words])
    with pytest.raises(SystemExit) as end:
        tensorboard.main()
    said = capsys.readouterr().err
    assert end.value.code == 1 and said.count("\n") == 1 and words[0] in said
    assert sorted(os.listdir(words[0])) == ["log.csv", "run.json"] and not os.path.exists("tb")


def test_no_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["x", str(tmp_path), "--out", str(tmp_path / "tb")])
    with pytest.raises(SystemExit) as end:
        tensorboard.main()
    assert end.value.code == 1 and "train first" in capsys.readouterr().err
