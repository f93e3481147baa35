"""A network's files in each runtime that reads them, as functions from crops to probabilities.

Every Runtime takes float32 N x 3 x 32 x 32, BGR, 0 to 255 (not centred), and gives float32 N x classes. Needs numpy,
OpenCV 4 and ONNX Runtime alone.
"""

from __future__ import annotations

import functools
import os
from collections import namedtuple
from typing import Callable, Sequence

import cv2
import numpy as np
import onnxruntime

from fer_lite import errors, names

Runtime = namedtuple("Runtime", "name probabilities")  # fer_lite.crops.ten_crop_mean takes one as its network


def session(path: str, threads: int | None = None) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on `threads` cores (None: all). Fail where the file is missing or no ONNX model."""
    if not os.path.isfile(path):
        raise errors.Fail("%s is not there: make it with `make export`" % path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what matters comes as exception
    options.add_session_config_entry("session.x64quantprecision", "1")  # without VNNI, sums of int8 products would be cut off
    if threads:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception:  # ONNX Runtime's own kinds have no common class of their own
        raise errors.Fail("%s is damaged or no ONNX model: take a model.onnx that `make export` wrote" % path) from None


def onnx_runtime(path: str, name: str = "ONNX Runtime", threads: int | None = None) -> Runtime:
    """A Runtime from an ONNX file."""
    return of_session(session(path, threads), name)


def of_session(made: onnxruntime.InferenceSession, name: str = "ONNX Runtime") -> Runtime:
    """A Runtime from an ONNX Runtime session; a model of batch 1 is given the crops one by one."""
    data = made.get_inputs()[0]

    def probabilities(crops):
        crops = crops[:, : data.shape[1]]  # faces are grey on all three channels: a network of one takes the first
        parts = [crops[i : i + 1] for i in range(len(crops))] if data.shape[0] == 1 else [crops]
        return np.concatenate([made.run(None, {data.name: part})[0] for part in parts])

    return Runtime(name, probabilities)


def ensemble(members: Sequence[Runtime]) -> Runtime:
    """A Runtime whose probabilities are the mean of its members' (the paper's III-D)."""
    return Runtime(" + ".join(member.name for member in members), lambda crops: np.mean([member.probabilities(crops) for member in members], axis=0))


def opencv_onnx(path: str, name: str = "OpenCV, ONNX importer", one_by_one: bool = False) -> Runtime:
    """A Runtime from an ONNX file by OpenCV's importer."""
    net = _opencv(path, lambda: cv2.dnn.readNetFromONNX(path))
    return Runtime(name, lambda crops: _opencv(path, lambda: _forward(net, crops, one_by_one)))


def opencv_caffe(prototxt: str, caffemodel: str, mean: np.ndarray, name: str = "OpenCV, Caffe importer") -> Runtime:
    """A Runtime from Caffe's files by OpenCV 4's importer. `mean`: float32 3."""
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        raise errors.Fail("OpenCV %s has no Caffe importer: take an OpenCV 4 (env/deploy.txt)" % cv2.__version__)
    net = _opencv(caffemodel, lambda: cv2.dnn.readNetFromCaffe(prototxt, caffemodel))
    return Runtime(name, lambda crops: _opencv(caffemodel, lambda: _forward(net, crops - mean[:, None, None])))


def of_folder(folder: str, mean: np.ndarray) -> list[tuple[str, Callable[[], Runtime]]]:
    """Every Runtime of an exported network, int8 last (where the folder has it), as (name, function that opens it). One thread each: for
    a few crops more are slower."""

    def path(name):
        return os.path.join(folder, name)

    found = [
        ("OpenCV, Caffe importer, " + prototxt, functools.partial(opencv_caffe, path(prototxt), path(caffemodel), mean)) for prototxt, caffemodel in names.CAFFE
    ]
    for file in (names.FLOAT, names.BATCH1):
        if os.path.exists(path(file)):
            found += [
                ("OpenCV, ONNX importer, " + file, functools.partial(opencv_onnx, path(file), one_by_one=file == names.BATCH1)),
                ("ONNX Runtime, " + file, functools.partial(onnx_runtime, path(file), threads=1)),
            ]
    if os.path.exists(path(names.INT8)):
        found.append(("ONNX Runtime, " + names.INT8, functools.partial(onnx_runtime, path(names.INT8), threads=1)))
    return found


def _opencv(path, work):
    try:
        return work()
    except cv2.error as problem:
        raise errors.Fail("%s: OpenCV %s cannot import it (%s)" % (path, cv2.__version__, " ".join(problem.err.split()))) from None


def _forward(net, crops, one_by_one=False):
    found = []
    for part in [crops[i : i + 1] for i in range(len(crops))] if one_by_one else [crops]:
        net.setInput(np.ascontiguousarray(part))
        found.append(net.forward().reshape(len(part), -1).copy())
    return np.concatenate(found)
