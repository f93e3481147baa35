"""The package `fer` in the Python of env/rivals.txt: the other end of benchmarks/robustness.py and benchmarks/predict.py.

    python -m benchmarks.fer_judge FACES.npy SAID.npy      what it calls faces, in FER+'s words
    python -m benchmarks.fer_judge                         for each line PATH COUNT: the faces that it finds and judges, image by image

FACES.npy: uint8 N x S x S; SAID.npy: str N. Its own API and default network, told that the face is the whole image and to take no more than that; where it
is not told, its own default detector, OpenCV's cascade. COUNT: how often a photograph is read; 0 for a video, once and every frame.
"""

import itertools
import os
import sys

import cv2
import numpy as np

WORDS = dict(angry="anger", disgust="disgust", fear="fear", happy="happiness", sad="sadness", surprise="surprise", neutral="neutral")


def main(given, said):
    from fer.fer import FER

    judge, found = FER(use_tflite=True, offsets=(0, 0)), []
    for face in np.load(given):
        scores = judge.detect_emotions(cv2.cvtColor(face, cv2.COLOR_GRAY2BGR), [(0, 0) + face.shape])[0]["emotions"]
        found.append(WORDS[max(scores, key=scores.get)])
    np.save(said, np.array(found))


def images(path, count):
    """The images of a line, uint8 H x W x 3, BGR."""
    if count:
        return (cv2.imread(path) for _ in range(count))
    capture = cv2.VideoCapture(path)
    return itertools.takewhile(lambda image: image is not None, (capture.read()[1] for _ in itertools.count()))


def answer():
    said, sys.stdout = sys.stdout, sys.stderr  # TensorFlow and fer speak too
    from fer.fer import FER

    cv2.setNumThreads(int(os.environ["THREADS"]))
    judge = FER(use_tflite=True)
    for line in sys.stdin:
        path, count = line.rsplit(None, 1)
        print(*(len(judge.detect_emotions(image)) for image in images(path, int(count))), file=said, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 1 else answer()
