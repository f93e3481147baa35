"""Device and precision, in code that knows no make of device. Only the CPU has been run by us."""

import ctypes
import os
import re

import torch

from common import errors, parallel
from common.caffe import messages as m

PRECISIONS = ("fp32", "tf32", "bf16")
MALLOC = {-3: 32 << 20, -1: 2**31 - 1, -2: 64 << 20, -8: 1}  # mmap threshold, trim threshold, padding, arenas


def of_solver(solver):
    """The torch.device that a SolverParameter's solver_mode and device_id mean."""
    return find(solver.device_id if solver.solver_mode == m.SolverParameter.GPU else None)


def find(gpu):
    """The CPU for None, else accelerator number `gpu` of whichever kind PyTorch has. Fail where there is none."""
    if gpu is None:
        return torch.device("cpu")
    count = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    if gpu >= count:
        raise errors.Fail("no GPU %d: PyTorch %s finds %d here; leave GPU and DEVICE out, or install its build for your GPU" % (gpu, torch.__version__, count))
    torch.accelerator.set_device_index(gpu)  # a graph is captured on the current device
    return torch.device(torch.accelerator.current_accelerator().type, gpu)


def number_type(precision, device):
    """The dtype of activations under a precision: weights, their history, BatchNorm's blobs and the loss are fp32 always.

    tf32 and bf16 round what convolutions and products take in, tf32 on a CUDA device only. Fail where the device cannot.
    """
    if precision not in PRECISIONS:
        raise errors.Fail("no precision %r: choose one of %s" % (precision, ", ".join(PRECISIONS)))
    if precision == "tf32" and device.type != "cuda":
        raise errors.Fail("tf32 needs a CUDA device, not %s: take PRECISION=fp32 or bf16" % device.type)
    if precision == "bf16" and not _has_bf16(device):
        raise errors.Fail("this %s has no bf16 arithmetic: take PRECISION=fp32" % device.type)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.deterministic = True  # the same seed gives the same bytes
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _has_bf16(device):
    if device.type == "cpu":
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return device.type != "cuda" or torch.cuda.is_bf16_supported()


def to_device(array, device):
    """A NumPy array as tensor on `device`, through pinned memory and without waiting where that exists."""
    return pinned(array, device).to(device, non_blocking=True)


def pinned(array, device):
    """A NumPy array as tensor on the host, in memory that `device` can fetch from without waiting."""
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory()


def use_cores():
    """Threads of this process: THREADS where it is set, else every core, shared out among the jobs of `make -jN`."""
    jobs = re.search(r"(?:^|\s)-j(\d+)", os.environ.get("MAKEFLAGS", ""))
    torch.set_num_threads(parallel.count(int(jobs.group(1) if jobs else 1)))


def keep_memory():
    """Let glibc keep freed memory for the next tensors: giving each back to the system costs up to 15% of a training step.

    32 MB is the largest threshold that glibc takes; the largest activation of these networks is 8 MB.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # no glibc, no mallopt
    if mallopt:
        for name, value in MALLOC.items():
            mallopt(name, value)
