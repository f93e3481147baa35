"""`make gpu-check` runs where there is no card, at a tiny size, and says that it was a CPU."""

import json
import os
import subprocess
import sys

import pytest
import training_data

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def test_it_runs_on_a_cpu_and_says_so(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--out", "gpu.json", "--tests", "tests/test_gpu.py::test_every_layer_type_has_a_case"],
        cwd=tmp_path,
        env=dict(training_data.environment(), THREADS="1", OMP_NUM_THREADS="1"),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert ran.returncode == 0
    with open(os.path.join(str(tmp_path), "gpu.json")) as f:
        found = json.load(f)
    assert found["device"] == "cpu" and found["parity"]["passed"] and found["row"]["trials"] == ["finished", "finished"]
    figures = found["images_per_second"]["fp32"]
    assert all(figures[name]["images_per_second"] > 0 for name in ("one trial", "5 trials", "bare", "usual"))
    assert min(*figures["limit"].values(), found["testing_images_per_second"], figures["ratio_to_bare"]) > 0
    assert figures["one trial"]["peak_memory_mb"] > 0 and "tf32 needs a CUDA device" in found["images_per_second"]["tf32"]
