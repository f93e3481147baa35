"""Facial expression recognition: faces found, eight probabilities each.

    import fer_lite
    fer_lite.Predictor()("photo.jpg")

The rest of the repository imports single modules of this package, on Pythons without ONNX Runtime too: hence nothing is loaded here
before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fer_lite.errors import Fail as Fail
    from fer_lite.predict import Predictor as Predictor

__version__ = "0.1.0"
__all__ = ["Fail", "Predictor", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Predictor":
        from fer_lite.predict import Predictor

        return Predictor
    if name == "Fail":
        from fer_lite.errors import Fail

        return Fail
    raise AttributeError("module fer_lite has no attribute %r" % name)
