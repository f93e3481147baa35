"""The plain figures of scores: accuracy, mean class accuracy, per-class figures, the confusion matrix (scikit-learn's).

Every function takes labels (int N) and probabilities (float N x K) and returns plain numbers or arrays. Intervals, tests
and calibration are judging.py's.
"""

from __future__ import annotations

import numpy as np
from sklearn import metrics


def predictions(probabilities):
    """The class of the largest probability, int N."""
    return probabilities.argmax(axis=1)


def accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The share of images classified right, 0 to 1."""
    return float(metrics.accuracy_score(labels, predictions(probabilities)))


def confusion(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Counts K x K: rows are labels, columns predictions."""
    return metrics.confusion_matrix(labels, predictions(probabilities), labels=range(probabilities.shape[1]))


def mean_class_accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean over classes of each one's recall, 0 to 1, over the classes that have images."""
    present = np.unique(labels)
    return float(metrics.recall_score(labels, predictions(probabilities), labels=present, average="macro"))


def per_class(labels, probabilities, classes):
    """For each class a dict: name, n, precision, recall, f1 (0 to 1; 0 where undefined)."""
    columns = metrics.precision_recall_fscore_support(labels, predictions(probabilities), labels=range(len(classes)), zero_division=0)
    return [dict(name=str(name), n=int(n), precision=float(p), recall=float(r), f1=float(f)) for name, p, r, f, n in zip(classes, *columns)]


def summary(scores):
    """The figures of metrics_SPLIT.json for Scores: n, accuracies, per-class figures, the confusion matrix."""
    labels, probabilities = scores.labels, scores.probabilities
    return {
        "split": scores.split,
        "n": len(labels),
        "accuracy": accuracy(labels, probabilities),
        "one_crop_accuracy": accuracy(labels, scores.one_crop),
        "mean_class_accuracy": mean_class_accuracy(labels, probabilities),
        "classes": [str(name) for name in scores.classes],
        "per_class": per_class(labels, probabilities, scores.classes),
        "confusion": confusion(labels, probabilities).tolist(),
    }
