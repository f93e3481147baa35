"""The expression of every face in an image.

    import fer_lite
    predictor = fer_lite.Predictor()
    predictor("photo.jpg")      # [{"box": [x, y, width, height], "label": "happiness", "probabilities": {...}, ...}]

Faces are found by YuNet (fer_lite/yunet, MIT licence); `find="given"` takes each image for a face. An expression is what a
face shows, not what a person feels: see models/README.md before any use.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np

from fer_lite import crops, errors, faces, names, runtimes, sources

DEFAULT = os.path.join("models", "resnet20_votes")
BATCH = 32  # images that are in memory at once, and whose faces go through the network together
UNCERTAIN = "uncertain"


class Predictor:
    """A network with a face detector in front: called with an image, it gives a list of the faces in it. Any number of threads may share one."""

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT,
        find: str = "detect",
        ten_crops: bool | None = None,
        score: float = faces.SCORE,
        largest_side: int = faces.LARGEST_SIDE,
        threads: int | None = None,
        threshold: float = 0.0,
    ) -> None:
        """`model`: a folder of models/ or exports/, or one of its .onnx files (model_int8.onnx), here or in this repository; several
        with "+" between them are the paper's ensemble: their probabilities are averaged;
        `find`: "detect", or "given" where images are faces already; `ten_crops`: the paper's ten, averaged, or the centre
        alone (None: as the model's metadata or model.json say, ten where they do not); `score`: the detector's least confidence, 0 to 1;
        `largest_side`: larger images are searched at this size; `threads`: cores for the network, None for all; `threshold`: faces
        whose best probability is below it are labelled "uncertain". Fail where the model is missing or no such model, ValueError on a value
        that means nothing: shares are 0 to 1, not per cent.
        """
        for name, value, least, most, range_ in (
            ("score", score, 0, 1, "0 to 1"),
            ("threshold", threshold, 0, 1, "0 to 1"),
            ("largest_side", largest_side, 1, math.inf, "1 pixel or more"),
        ):
            if not least <= value <= most:
                raise ValueError("%s is %s: %s" % (name, value, range_))
        if find not in ("detect", "given"):
            raise ValueError('find is %r: "detect" or "given"' % (find,))
        members = [_member(path, threads) for path in map(_model_file, _names(model))]
        self.network, self.classes, self.size, crops_ = members[0]
        if len(members) > 1:
            if any(member[1:3] != members[0][1:3] for member in members):
                raise errors.Fail("%s: an ensemble's networks have the same classes and crops, these have not" % model)
            self.network = runtimes.ensemble([member[0] for member in members])
            crops_ = max(member[3] for member in members)
        self._model, self._threads = model, threads
        self.find, self.score, self.largest_side, self.threshold = find, score, largest_side, threshold
        self.ten_crops = crops_ == 10 if ten_crops is None else ten_crops

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process, which cannot be handed a session, opens the files anew."""
        return type(self), (self._model, self.find, self.ten_crops, self.score, self.largest_side, self._threads, self.threshold)

    def __call__(self, image: Any, thorough: bool = True) -> Any:
        """The faces in an image (see sources.read_image), the largest first, [] where there are none.

        Each is a dict: box ([x, y, width, height] in pixels), score (the detector's, 0 to 1; None where given), roll (degrees by which the
        face is tilted, clockwise; None where given), label, probabilities ({expression: 0 to 1}). A list or tuple of images gives a
        list of such lists; any other iterable an iterator of them, which holds BATCH images at a time. `thorough`: where no
        face is found look for small and turned ones (faces.detect). Fail on a file that is no image, TypeError or ValueError on
        what else is none.
        """
        if isinstance(image, (list, tuple)):
            return list(self._of_many(image, thorough))
        if isinstance(image, Iterable) and not isinstance(image, sources.IMAGES) and not hasattr(image, "read"):
            return self._of_many(image, thorough)
        return next(self._of_many([image], thorough))

    def predict_faces(self, faces_: Iterable[Any]) -> list[dict[str, Any]]:
        """Label and probabilities of each of many images that are faces already (as FER2013 cuts them: the whole head, brow to chin)."""
        if isinstance(faces_, (str, bytes, os.PathLike)) or isinstance(faces_, np.ndarray) and (faces_.ndim < 3 or faces_.ndim == 3 and faces_.shape[2] <= 4):
            raise TypeError("predict_faces takes a list of faces, or an array N x H x W or N x H x W x 3 of them: put a single one in a list")
        shown = ((image, [faces.whole(image)]) for image in map(sources.read_image, faces_))
        return [{name: face[name] for name in ("label", "probabilities")} for (face,) in self._labelled(shown)]

    def _of_many(self, images: Iterable[Any], thorough: bool) -> Iterator[list[dict[str, Any]]]:
        return self._labelled((image, self._found(image, thorough)) for image in map(sources.read_image, images))

    def _found(self, image, thorough):
        if self.find == "given":
            return [faces.whole(image)]
        return faces.detect(image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), self.score, self.largest_side, thorough)

    def _labelled(self, images):
        """Yield a list of dicts for each (image, its Found faces); BATCH images' faces go through the network at once."""
        images = iter(images)
        while True:
            cuts, found, problem = [], [], None
            try:
                for image, each in itertools.islice(images, BATCH):
                    found.append(each)
                    cuts += [faces.shown(image, face, max(crops.SIDE, self.size)) for face in each]
            except Exception as mistake:  # of the next image: those before it are good
                problem = mistake
            scores = iter(self.scores(cuts) if cuts else ())
            for each in found:
                yield [self._face(face, next(scores)) for face in each]
            if problem:
                raise problem
            if not found:
                return

    def _face(self, found, shares):
        best = int(shares.argmax())
        return {
            "box": list(found.box),
            "score": None if found.score is None else round(found.score, 4),
            "roll": None if found.roll is None else round(found.roll),
            "label": self.classes[best] if shares[best] >= self.threshold else UNCERTAIN,
            "probabilities": {name: round(float(share), 6) for name, share in zip(self.classes, shares)},
        }

    def scores(self, cuts: list[np.ndarray]) -> np.ndarray:
        """float32 N x classes of N faces as faces.cut gives them (uint8 3 x S x S)."""
        stack = np.stack(cuts)
        if self.ten_crops:
            return crops.ten_crop_mean(self.network, stack, np.float32(0), self.size)[0]
        side = (stack.shape[-1] - self.size) // 2
        return self.network.probabilities(stack[..., side : side + self.size, side : side + self.size].astype(np.float32))


def _member(path, threads):
    """(Runtime, classes, crop, how many crops) of an ONNX file. Fail where its metadata do not say them."""
    session = runtimes.session(path, threads)
    about = session.get_modelmeta().custom_metadata_map
    try:
        facts = names.facts(os.path.dirname(path) or ".")
    except errors.Fail:  # the file stands alone
        facts = {}
    try:
        classes, size = json.loads(about["classes"]), int(about["crop"])
        shown = int(about.get("crops", facts.get("crops", 10)))
    except (KeyError, TypeError, ValueError):
        raise errors.Fail("%s is no network of this project (its metadata name no classes): take one that `make export` wrote" % path) from None
    if about.get("output") == "logits":
        raise errors.Fail("%s gives scores, not probabilities: export it again without LOGITS=1" % path)
    return runtimes.of_session(session), classes, size, shown


def _names(model):
    """The names in "a+b"; a file or folder that has a + in its own name is one."""
    model = os.fspath(model)
    return [model] if os.path.exists(model) else model.split("+")


def _model_file(model):
    """The ONNX file that a model's name means, looked for here, in models/ here (a checkout beside the installed package), then in this repository."""
    for place in (model, os.path.join("models", model), os.path.join(names.ROOT, model), os.path.join(names.ROOT, "models", model)):
        if os.path.isdir(place) and os.path.exists(os.path.join(place, names.FLOAT)):
            return os.path.join(place, names.FLOAT)
        if os.path.isfile(place):
            if not place.endswith(".onnx"):
                raise errors.Fail("%s is no ONNX model: take a model.onnx or the folder that holds one (`make export` writes it)" % place)
            return place
    there = sorted(os.listdir(os.path.join(names.ROOT, "models"))) if os.path.isdir(os.path.join(names.ROOT, "models")) else []
    raise errors.Fail(
        "there is no model %s (in models/: %s): MODEL is a folder that `make export` wrote, or its model.onnx"
        % (model, ", ".join(name for name in there if os.path.isdir(os.path.join(names.ROOT, "models", name))) or "none")
    )
