"""The expression of every face in an image.

    from fer_lite import predict
    p = predict.Predictor("models/resnet32_cifar10")
    p("photo.jpg")      # or uint8 H x W x 3 BGR: [{"box": [x, y, width, height], "label": "happiness", "probabilities": {...}, ...}]

Faces are found by YuNet (fer_lite/yunet, MIT licence); `find="given"` takes each image for a face. An expression is what a
face shows, not what a person feels: see models/README.md before any use.
"""
import json
import os

import cv2
import numpy as np

from fer_lite import crops, errors, faces, names, runtimes, sources

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = HERE if os.path.isdir(os.path.join(HERE, "models")) else os.path.dirname(HERE)  # models/ lies in the installed package, or beside it
DEFAULT = os.path.join("models", "resnet20_votes")


class Predictor:
    """A network with a face detector in front: called with an image, it gives a list of the faces in it."""

    def __init__(self, model=DEFAULT, find="detect", ten_crops=True, score=faces.SCORE, largest_side=faces.LARGEST_SIDE, threads=None):
        """`model`: a folder of models/ or exports/, or one of its .onnx files (model_int8.onnx), here or in this repository; several
        with "+" between them are the paper's ensemble: their probabilities are averaged;
        `find`: "detect", or "given" where images are faces already; `ten_crops`: the paper's ten, averaged, or the centre
        alone; `score`: the detector's least confidence, 0 to 1; `largest_side`: larger images are searched at this size;
        `threads`: None for all cores. Fail where the model is missing or no such model.
        """
        members = [_member(path, threads) for path in map(_model_file, _names(model))]
        self.network, self.classes, self.size = members[0]
        if len(members) > 1:
            if any(member[1:] != members[0][1:] for member in members):
                raise errors.Fail("%s: an ensemble's networks have the same classes and crops, these have not" % model)
            self.network = runtimes.ensemble([member[0] for member in members])
        self.find, self.ten_crops, self.score, self.largest_side = find, ten_crops, score, largest_side
        cv2.setNumThreads(threads or -1)  # -1: OpenCV's own choice

    def __call__(self, image):
        """The faces in an image (a path, or uint8 H x W x 3 BGR or H x W grey), the largest first, [] where there are none.

        Each is a dict: box ([x, y, width, height] in pixels), score (the detector's, 0 to 1; None where given), label,
        probabilities ({expression: 0 to 1}). Fail on a file that is no image.
        """
        image = sources.read_image(image) if isinstance(image, (str, os.PathLike)) else image
        if image.dtype != np.uint8 or not image.size or (image.ndim != 2 and image.shape[2:] != (3,)):
            raise ValueError("an image is uint8 H x W or H x W x 3 (BGR), not %s %s" % (image.dtype, image.shape))
        if self.find == "given":
            found = [faces.whole(image)]
        else:
            found = faces.detect(image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), self.score, self.largest_side)
        scores = self.scores([faces.shown(image, each, max(crops.SIDE, self.size)) for each in found]) if found else []
        return [{"box": list(each.box), "score": None if each.score is None else round(each.score, 4), "roll": None if each.roll is None else round(each.roll), "label": self.classes[int(p.argmax())],
                 "probabilities": {name: round(float(value), 6) for name, value in zip(self.classes, p)}}
                for each, p in zip(found, scores)]

    def scores(self, cuts):
        """float32 N x classes of N faces as faces.cut gives them (uint8 3 x S x S)."""
        stack = np.stack(cuts)
        if self.ten_crops:
            return crops.ten_crop_mean(self.network, stack, np.float32(0), self.size)[0]
        side = (stack.shape[-1] - self.size) // 2
        return self.network.probabilities(stack[..., side:side + self.size, side:side + self.size].astype(np.float32))


def _member(path, threads):
    """(Runtime, classes, crop) of an ONNX file. Fail where its metadata do not say them."""
    session = runtimes.session(path, threads)
    about = session.get_modelmeta().custom_metadata_map
    try:
        classes, size = json.loads(about["classes"]), int(about["crop"])
    except (KeyError, ValueError):
        raise errors.Fail("%s is no network of this project (its metadata name no classes): take one that `make export` wrote"
                          % path) from None
    return runtimes.of_session(session), classes, size


def _names(model):
    """The names in "a+b"; a file or folder that has a + in its own name is one."""
    model = os.fspath(model)
    return [model] if os.path.exists(model) else model.split("+")


def _model_file(model):
    """The ONNX file that a model's name means, looked for here, then in this repository."""
    for place in (model, os.path.join(ROOT, model), os.path.join(ROOT, "models", model)):
        if os.path.isdir(place) and os.path.exists(os.path.join(place, names.FLOAT)):
            return os.path.join(place, names.FLOAT)
        if os.path.isfile(place):
            if not place.endswith(".onnx"):
                raise errors.Fail("%s is no ONNX model: take a model.onnx or the folder that holds one (`make export` writes it)" % place)
            return place
    there = sorted(os.listdir(os.path.join(ROOT, "models"))) if os.path.isdir(os.path.join(ROOT, "models")) else []
    raise errors.Fail("there is no model %s (in models/: %s): MODEL is a folder that `make export` wrote, or its model.onnx"
                      % (model, ", ".join(name for name in there if os.path.isdir(os.path.join(ROOT, "models", name))) or "none"))
