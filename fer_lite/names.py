"""The files of an exported network's folder, named once, and the facts in one of them. Needs no package."""

from __future__ import annotations

import json
import os
from typing import Any

from fer_lite import errors

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = HERE if os.path.isdir(os.path.join(HERE, "models")) else os.path.dirname(HERE)  # models/ lies in the installed package, or beside it
CAFFE = (("deploy.prototxt", "net.caffemodel"), ("folded.prototxt", "folded.caffemodel"))
FLOAT = "model.onnx"  # any batch
BATCH1 = "model_batch1.onnx"
INT8 = "model_int8.onnx"
LITERT, LITERT_INT8 = "model.tflite", "model_int8.tflite"  # where deploy.devices added them; one crop, H x W x C
NCNN = ("model.ncnn.param", "model.ncnn.bin")
FACTS = "model.json"  # what the network is, how good, made from what, checked how


def facts(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The dict in a network's model.json. Fail where `folder` is none of an exported network."""
    try:
        with open(os.path.join(folder, FACTS)) as f:
            found = json.load(f)
        found["name"], found["classes"]
        return found
    except (FileNotFoundError, NotADirectoryError):
        raise errors.Fail("%s holds no exported network (no %s): make one with `make export MODEL=...`" % (folder, FACTS)) from None
    except (ValueError, KeyError, TypeError):
        raise errors.Fail("%s is damaged: make it again with `make export`" % os.path.join(folder, FACTS)) from None


def takes_whole_face(about: dict) -> bool:
    """Whether a network (its model.json's dict) is shown the whole face, so that its ten crops are the face and its mirror."""
    return about["crop"] == about.get("resize")
