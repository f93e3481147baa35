"""One way to classify a face, timed: deploy.py's other end. Runs under whichever Python has what it needs.

    python -m benchmarks.deploy_worker KIND FOLDER THREADS CROPS

Says {"ready": true}, then for each number N on stdin classifies N faces, one at a time, and says {"seconds": [N floats]}.
"""

import json
import os
import sys
import time
from collections import namedtuple

import numpy as np

from engines.caffe import load
from fer_lite import names

FACES, SEED = 16, 7  # drawn ones, in turn
WARM_UP = 5


# Each way is a function (folder, threads, crops) -> a function of one face, uint8 48 x 48, that gives its probabilities.


def caffe_as_trained(folder, threads, crops):
    return _caffe(folder, crops, names.CAFFE[0])


def caffe_folded(folder, threads, crops):
    return _caffe(folder, crops, names.CAFFE[1])


def opencv_caffe(folder, threads, crops):
    from fer_lite import runtimes

    return _opencv(runtimes.opencv_caffe(*_paths(folder, *names.CAFFE[1]), _mean(folder)), folder, threads, crops)


def opencv_onnx(folder, threads, crops):
    from fer_lite import runtimes

    return _opencv(runtimes.opencv_onnx(*_paths(folder, names.FLOAT)), folder, threads, crops)


def onnx(folder, threads, crops, file=names.FLOAT):
    from fer_lite import runtimes

    return _cropped(runtimes.onnx_runtime(*_paths(folder, file), threads=threads), folder, crops)


def onnx_int8(folder, threads, crops):
    return onnx(folder, threads, crops, names.INT8)


def fer(folder, threads, crops, lite=True):
    """fer's own API, told where the face is; its default network."""
    import cv2
    from fer.fer import FER

    _tensorflow(threads)
    made = FER(use_tflite=lite)
    return lambda face: made.detect_emotions(cv2.cvtColor(face, cv2.COLOR_GRAY2BGR), [(0, 0) + face.shape])


def fer_keras(folder, threads, crops):
    return fer(folder, threads, crops, lite=False)


def facex(folder, threads, crops):
    """facex's classifier, without its detector."""
    import facex as package

    _tensorflow(threads)
    made = package.EmotionClassifier(os.path.join(os.path.dirname(package.__file__), "assets", "model_optimized.tflite"))
    return made.detect_emotion


WAYS = {function.__name__: function for function in (caffe_as_trained, caffe_folded, opencv_caffe, opencv_onnx, onnx, onnx_int8, fer, fer_keras, facex)}


def _cropped(network, folder, crops):
    """A function of a face by a network (fer_lite.crops' kind) that takes crops, not centred."""
    from fer_lite import crops as cropping

    size = names.facts(folder)["crop"]
    side = max(cropping.SIDE, size)
    middle = slice((side - size) // 2, (side + size) // 2)

    def classify(face):
        image = np.repeat(cropping.resized(face, side)[None, None], 3, axis=1)
        if crops == 1:
            return network.probabilities(image[..., middle, middle].astype(np.float32))
        return cropping.ten_crop_mean(network, image, np.float32(0), size)[0]

    return classify


def _caffe(folder, crops, pair):
    caffe = load()
    net, mean = caffe.Net(*_paths(folder, *pair), caffe.TEST), _mean(folder)[:, None, None]

    def probabilities(shown):
        if len(shown) != net.blobs["data"].num:
            net.blobs["data"].reshape(*shown.shape)
        np.subtract(shown, mean, out=net.blobs["data"].data)
        return net.forward()["prob"].copy()

    return _cropped(namedtuple("Rival", "probabilities")(probabilities), folder, crops)


def _opencv(runtime, folder, threads, crops):
    import cv2

    cv2.setNumThreads(threads)
    return _cropped(runtime, folder, crops)


def _tensorflow(threads):
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(threads)


def _paths(folder, *files):
    return [os.path.join(folder, name) for name in files]


def _mean(folder):
    with open(os.path.join(folder, names.FACTS)) as f:
        return np.array(json.load(f)["mean"], np.float32)


def main(way, folder, threads, crops):
    from common.drawn import faces
    from paper import facts

    rng = np.random.RandomState(SEED)
    shown = [faces.face(rng, {facts.EXPRESSIONS[i % len(facts.EXPRESSIONS)]: 1.0}, 1.0) for i in range(FACES)]
    try:
        classify = WAYS[way](folder, int(threads), int(crops))
        for i in range(WARM_UP):
            classify(shown[i])
    except Exception as problem:  # whatever a package raises when it cannot run here
        print(json.dumps({"problem": "%s: %s" % (type(problem).__name__, (str(problem).splitlines() or [""])[0][:200])}), flush=True)
        return
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        seconds = []
        for i in range(int(line)):
            start = time.perf_counter()
            classify(shown[i % FACES])
            seconds.append(time.perf_counter() - start)
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
