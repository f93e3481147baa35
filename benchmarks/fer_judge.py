"""What the package `fer` calls faces, in FER+'s words: the other end of benchmarks/robustness.py, in the Python of env/rivals.txt.

    python -m benchmarks.fer_judge FACES.npy SAID.npy

FACES.npy: uint8 N x S x S; SAID.npy: str N. Its own API and default network, told that the face is the whole image and to take no more than that.
"""

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


if __name__ == "__main__":
    main(*sys.argv[1:])
