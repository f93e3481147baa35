"""Every choice that the paper leaves open, each with its reason. What the paper gives is in `facts.py`."""

from paper import facts

# Networks (III-A). facts.md's arithmetic: only 2x2 stride-2 projections give exactly 280K and 474K.
SHORTCUT = "2x2"
RELU_AFTER_SUM = True  # He et al.; the sister paper's nets have none
CONV_BIAS = False  # BatchNorm removes any bias; with biases the counts would be 281K and 476K

# Solver (III-C names NAG and its rate for fine-tuning only). The rest is He et al.'s for CIFAR.
MOMENTUM = 0.9
WEIGHT_DECAY = 0.0001
FINAL_RATE = 1  # the new layer learns as fast as the copied ones
PRETRAIN_BATCH = 128
PRETRAIN_SOLVER = "Nesterov"  # the same method in both steps
PRETRAIN_RATE = 0.1
PRETRAIN_DROP = 0.1
PRETRAIN_DROP_AT = (0.5, 0.75)  # as shares of the run: He et al.'s 32k and 48k of 64k iterations
# "20-60 epochs depending on the size of the dataset": the smaller the set, the more epochs.
PRETRAIN_EPOCHS = {"cifar10": 60, "cifar100": 60, "cinic10": 40, "webface": 20, "imagenet32": 20}
# FER+, fine-tuning and from scratch. Row 2 was tried with 128 (79.02% of PublicTest) and with 32 (82.07%; the paper: 82.00%).
FERPLUS_BATCH = 32
# From scratch on FER+: fine-tuning's solver as it is, so that the rows differ by the weights they begin with alone.
SCRATCH_RATE = facts.FINETUNE_RATE
# The five trials of a row share one pretrained network; its own seed:
PRETRAIN_TRIAL = 1
SNAPSHOTS = 10  # a run writes so many snapshots, evenly spaced
VALIDATIONS_PER_EPOCH = 1

# Sizes of the parts that training reads. train: official counts. valid: looked at while training, by Caffe's phase TEST; of the sources it
# is the official test part (WebFace has none: a seeded 10,000 images are held out of InsightFace's 490,623), of FER+ PublicTest.
# valid_batch divides it, so that every image is seen once. FER+'s test part, PrivateTest, is reported and never read in training.
DATASETS = {
    "cifar10": dict(classes=10, train=50000, valid=10000, valid_batch=100),
    "cifar100": dict(classes=100, train=50000, valid=10000, valid_batch=100),
    "cinic10": dict(classes=10, train=90000, valid=90000, valid_batch=100),
    "imagenet32": dict(classes=1000, train=1281167, valid=50000, valid_batch=100),
    "webface": dict(classes=10572, train=480623, valid=10000, valid_batch=100),
    # Balanced to 20,000 a class: rezafuad/ferplus-keras, a repository of one of the authors, lists as many augmented images.
    "ferplus": dict(classes=8, train=160000, valid=3312, valid_batch=144),
}
WEBFACE_HELD_OUT = 10000
BALANCED_PER_CLASS = 20000

# Data (III-B, III-C).
MIRROR = False  # III-C: "no data augmentation except random region cropping", so no mirrors while training
PAD_LEVEL = 0  # CIFAR is "zero padded": black, before the mean is subtracted
MEAN_OF = "stored"  # the mean of CIFAR is taken over what the LMDB holds, the padding too: 0.64 of the images' own
SHUFFLE_SEED = 1  # LMDB order: the Data layer never shuffles
COLOUR_ORDER = "BGR"  # OpenCV's and convert_imageset's; grey images are repeated on the three channels

# Training.
SNAPSHOT_MINUTES = 10  # beside SNAPSHOTS: what a power cut may cost, on a machine of any speed

# Judging.
BOOTSTRAP_RESAMPLES, BOOTSTRAP_SEED = 2000, 1  # enough that the ends of a 95% interval are steady to 0.05 points
CALIBRATION_BINS = 15  # the usual number (Guo et al., 2017)
AGREEMENT = ((0, 4), (5, 5), (6, 6), (7, 7), (8, 8), (9, 9), (10, 10))  # votes for the label, of ten annotators

# Data preparation.
INTERPOLATION = "linear"  # what Caffe's convert_imageset does: the same files give the same Datums
# Balancing: the ranges of FER+'s reference code (its reader turns by up to 20 degrees and shifts by up to 8% of 48 pixels).
AUGMENT_ROTATION = 20.0  # degrees, either way
AUGMENT_SHIFT = 3.84  # pixels of 48, either way, in each direction
AUGMENT_NOISE = 10.0  # grey levels, standard deviation, drawn from 0 to this: grain as in FER2013's poorer photographs
BALANCE_SEED = 1
WEBFACE_SPLIT_SEED = 1  # which images are held out
LABEL_RULE = "paper"  # the one rule that gives the paper's numbers of images
# What the paper's label rule gives. Its text has 3,274 images for validation, "the rest" for the test: they are swapped there, for
# PublicTest has 3,312 (the author's own lists of it have the same names) and the paper's accuracies are counts out of 3,273 or 3,274.
FERPLUS_IMAGES = dict(facts.FERPLUS_IMAGES, valid=facts.FERPLUS_IMAGES["test"], test=facts.FERPLUS_IMAGES["valid"])
FERPLUS_RULE_IMAGES = {"train": 25045, "valid": 3191, "test": 3137}  # FER+'s own majority rule on its label.csv files
