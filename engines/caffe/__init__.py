"""Real Caffe: training (engine), testing (network), what its Data layer makes of a built set (data). Only here is caffe imported."""

from __future__ import annotations

import os
from types import ModuleType

from common import errors


def load() -> ModuleType:
    """The module caffe, quiet. Fail where this Python has none."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        import caffe
    except ImportError as reason:
        raise errors.Fail("no Caffe in this Python (%s): run `make env`, and start this with env/run, as in `env/run python3 -m ...`" % reason) from None
    return caffe
