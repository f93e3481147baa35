"""The soak (tests/soak.py), with kills at chosen iterations on drawn images; `make soak` draws its moments and takes real data."""

import pytest
import soak

KILLS = [3, 9]  # a snapshot is written each 8 iterations, a validation each 7; runs of 16


def both_stages(monkeypatch, tmp_path, engine):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(soak.run, "_memory", None)
    monkeypatch.setenv("THREADS", "1")
    stages = soak.prepare(engine, iterations=16)
    for one in stages:
        assert soak.killed(one, [dict(before=n) for n in KILLS]) == (len(KILLS), None)
    return stages


@pytest.mark.slow
@pytest.mark.torch
def test_killed_runs_of_the_pytorch_engine_end_in_the_same_bytes(monkeypatch, tmp_path):
    pretraining, _ = both_stages(monkeypatch, tmp_path, "torch")
    assert soak.killed(pretraining, [dict(after=0)]) == (1, None)
    met, wrong = soak.killed(pretraining._replace(whole=dict(pretraining.whole, gone="")), [])
    assert met == 0 and "gone" in wrong


@pytest.mark.slow
@pytest.mark.caffe
def test_killed_runs_of_caffe_end_in_the_same_bytes(monkeypatch, tmp_path):
    both_stages(monkeypatch, tmp_path, "caffe")
