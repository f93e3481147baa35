"""What the paper states, number by number, and nothing that we chose (that is `ours.py`).

Wikaningrum, Rachmadi, Ogata: "Improving Lightweight Convolutional Neural Network for Facial Expression Recognition via
Transfer Learning". Section numbers in the comments are the paper's.
"""

from __future__ import annotations

from collections import namedtuple

# III-A, Table I: n residual modules a group, widths k, 2n+1 / 2n / 2n layers, one fully connected layer.
DEPTHS = (20, 32)
WIDTHS = (16, 32, 64)
PARAMETERS_K = {20: 280, 32: 474}  # Table II, in thousands

# III-B: FER+, eight classes; images for training, for validation, and the rest for the test, as printed (ours.FERPLUS_IMAGES: as they are).
EXPRESSIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
FERPLUS_SIDE = 48
FERPLUS_IMAGES = {"train": 26029, "valid": 3274, "test": 3312}

# III-C: pretraining input. CIFAR is zero padded, the others are resized, then a random crop; nothing else.
PAD = 4
RESIZE = 36
CROP = 32
Source = namedtuple("Source", "name title geometry")
SOURCES = (
    Source("cifar10", "CIFAR10", "pad"),
    Source("cifar100", "CIFAR100", "pad"),
    Source("imagenet32", "ImageNet32", "resize"),
    Source("cinic10", "CINIC-10", "resize"),
    Source("webface", "CASIA-WebFace", "resize"),
)
PRETRAIN_EPOCHS_RANGE = (20, 60)  # "around 20-60 epochs depending on the size of the dataset"

# III-C: fine-tuning.
FINETUNE_SOLVER = "Nesterov"
FINETUNE_EPOCHS = 8
FINETUNE_RATE = 0.01
FINETUNE_DROP = 0.1
FINETUNE_DROP_EPOCHS = (4, 6)

# III-D: the test.
CROPS = 10  # four corners, the centre, and their mirrors
TRIALS = (1, 2, 3, 4, 5)

# Table II: single networks, accuracy in percent. `source` None is training from scratch.
Single = namedtuple("Single", "row depth source trials average")
TABLE2 = (
    Single(1, 20, None, (79.32, 78.06, 78.46, 78.86, 78.49), 78.64),
    Single(2, 20, "cifar10", (82.43, 81.64, 81.76, 82.34, 81.85), 82.00),
    Single(3, 20, "cifar100", (82.55, 81.79, 82.04, 82.04, 81.82), 82.05),
    Single(4, 20, "imagenet32", (79.96, 79.19, 79.29, 79.19, 80.17), 79.56),
    Single(5, 20, "cinic10", (82.40, 82.52, 82.00, 82.68, 82.71), 82.46),
    Single(6, 20, "webface", (80.97, 81.33, 81.27, 80.60, 82.10), 81.25),
    Single(7, 32, None, (79.68, 79.93, 80.11, 79.99, 80.11), 79.96),
    Single(8, 32, "cifar10", (83.81, 84.05, 84.14, 84.05, 83.53), 83.92),
    Single(9, 32, "cifar100", (83.50, 83.32, 83.26, 82.86, 82.55), 83.09),
    Single(10, 32, "imagenet32", (78.50, 78.22, 79.41, 79.16, 78.95), 78.85),
    Single(11, 32, "cinic10", (83.75, 83.17, 83.99, 82.55, 83.62), 83.42),
    Single(12, 32, "webface", (81.45, 82.89, 82.28, 81.42, 82.04), 82.02),
)

# Table III: ensembles of rows of Table II, as printed (rows 11 and 12 are identical there; so they are here).
Ensemble = namedtuple("Ensemble", "number rows parameters_k trials average")
TABLE3 = (
    Ensemble(1, (2, 3), 560, (83.26, 82.65, 83.17, 82.83, 82.46), 82.87),
    Ensemble(2, (3, 5), 560, (83.41, 83.38, 83.04, 83.62, 82.71), 83.23),
    Ensemble(3, (2, 5), 560, (83.62, 83.01, 83.04, 83.47, 83.38), 83.304),
    Ensemble(4, (2, 3, 5), 840, (83.68, 83.32, 83.29, 83.32, 83.35), 83.39),
    Ensemble(5, (8, 9), 948, (84.17, 84.48, 84.45, 84.30, 84.05), 84.29),
    Ensemble(6, (8, 11), 948, (84.20, 84.11, 84.51, 84.33, 84.36), 84.30),
    Ensemble(7, (9, 11), 948, (84.17, 83.84, 84.33, 83.59, 84.02), 83.99),
    Ensemble(8, (2, 3, 8), 1034, (84.02, 84.14, 84.14, 84.02, 83.93), 84.05),
    Ensemble(9, (3, 5, 8), 1034, (83.96, 84.30, 83.87, 84.20, 83.65), 83.99),
    Ensemble(10, (2, 5, 8), 1034, (84.11, 84.14, 84.05, 84.17, 84.05), 84.10),
    Ensemble(11, (2, 3, 9), 1034, (83.96, 83.96, 83.87, 83.78, 83.29), 83.77),
    Ensemble(12, (3, 5, 9), 1034, (83.96, 83.96, 83.87, 83.78, 83.29), 83.77),
    Ensemble(13, (2, 5, 9), 1034, (83.68, 83.56, 83.81, 83.90, 83.35), 83.66),
)

# Figure 2: the confusion matrix of this ensemble.
FIGURE2_ENSEMBLE = 6
FIGURE2_ACCURACY = 84.30
FIGURE2_MEAN_CLASS_ACCURACY = 68.75

# Table IV (Figure 3 plots D of those with a parameter count). Parameters in millions, None where not given.
Method = namedtuple("Method", "name parameters_m at_least accuracy")
TABLE4 = (
    Method("VGG13 (majority vote)", 8.75, False, 83.8),
    Method("TFE-JL", None, False, 84.30),
    Method("CNN and BOVW + global SVM", 300.0, True, 87.76),
    Method("SHCNN", 8.7, False, 86.45),
    Method("STL + Laplacian RTNN", None, False, 88.16),
    Method("single network, best", 0.4, False, 83.92),
    Method("ensemble, best", 0.9, False, 84.30),
)


def source(name: str) -> Source:
    """The Source called `name`; KeyError where the paper has none."""
    return {s.name: s for s in SOURCES}[name]


def row(number: int) -> Single:
    """Row `number` (1 to 12) of Table II."""
    return TABLE2[number - 1]
