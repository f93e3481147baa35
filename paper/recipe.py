"""Beyond the paper: how its backbone is trained on FER+'s votes for use (`make best RECIPE=...`). Nothing here is the paper's.

Every value is ours. docs/decisions.md says how they were chosen, and what they gave.
"""

from __future__ import annotations

from collections import namedtuple

# A network and its training. depth, width: ResNet-DEPTH with WIDTH, 2 WIDTH, 4 WIDTH channels; epochs, batch, rate, decay: of a
# Nesterov solver whose rate falls along a straight line to zero (Caffe's `poly` with power 1). sides: (share of the run, side of the
# images in pixels), one after the other: small images first, the same network, for less than half the cost of an epoch. stem: stride of
# the first convolution. teaching: share of the target that a teacher's answer has, where a run is given one; the votes have the rest.
# hard: the class of most votes is the whole target. mixup: alpha of the Beta by which two images and their targets are mixed, 0 for none.
# slope, binomial, branches: of the network (netgen.resnet.trunk).
Recipe = namedtuple(
    "Recipe",
    "name depth width epochs batch rate decay sides augment average stem teaching hard mixup slope binomial branches",
    defaults=(False, 0.0, 0.0, False, False),
)

# Drawn anew for every image that is shown. degrees and zoom: either way; shift: share of the side; contrast: share, either way;
# brightness: share of white, either way; erase: chance of one grey rectangle of up to `erased` of either side; blur: chance of a
# Gaussian of sigma 0 to BLUR pixels; jpeg: chance of JPEG, quality JPEG[0] to JPEG[1].
Augment = namedtuple("Augment", "mirror degrees shift zoom contrast brightness erase erased blur jpeg", defaults=(0.0, 0.0))
BLUR, JPEG = 1.2, (20, 90)

FACES = Augment(mirror=True, degrees=15.0, shift=0.08, zoom=0.12, contrast=0.3, brightness=0.15, erase=0.25, erased=0.4)
# A network that cannot even learn its training part by heart needs less of it.
GENTLE = FACES._replace(degrees=10.0, shift=0.06, zoom=0.1, contrast=0.2, brightness=0.1, erase=0.0)

# average: the weights tested and kept are an exponential average of those of the run: this share of the old one a step.
RECIPES = {
    "best": Recipe("best", 20, 16, 50, 128, 0.1, 0.0005, ((0.6, 32), (1.0, 48)), FACES, 0.998, 1, 0.5),
    # The first convolution halves the image, for the smallest devices are given 10 million multiply-accumulates: what is saved
    # on 48x48 pixels pays for twice the weights (width 8 at 36x36 came to 83.34%).
    "small": Recipe("small", 14, 11, 50, 128, 0.1, 0.0002, ((1.0, 48),), GENTLE, 0.998, 2, 0.7),
}
# Both again, for photographs that are neither sharp nor lossless; each learns from a teacher too.
RECIPES["robust"] = RECIPES["best"]._replace(name="robust", epochs=40, augment=FACES._replace(blur=0.25, jpeg=0.25))
RECIPES["small-robust"] = RECIPES["small"]._replace(name="small-robust", augment=GENTLE._replace(blur=0.25, jpeg=0.25))

# The ladder (docs/decisions.md, 2; `make study OF=ladder`): `small` for fewer epochs, and one change each time. The first is what the others
# are held against; TAUGHT learn from a teacher, TRANSFERRED begin with all but the final layer of a network of the same form.
LADDER_EPOCHS = 12
_BASE = RECIPES["small"]._replace(epochs=LADDER_EPOCHS)
RUNGS = {
    "small-" + name: _BASE._replace(name="small-" + name, **changes)
    for name, changes in {
        "base": {},
        "taught": {},
        "hard": {"hard": True},
        "mirror": {"augment": GENTLE._replace(degrees=0.0, shift=0.0, zoom=0.0, contrast=0.0, brightness=0.0)},
        "last": {"average": 0.0},
        "degraded": {"augment": GENTLE._replace(blur=0.25, jpeg=0.25)},
        "side32": {"sides": ((1.0, 32),)},
        "mixup": {"mixup": 0.1},
        "erase": {"augment": GENTLE._replace(erase=0.25)},
        "deeper": {"depth": 20, "width": 9},
        "shallower": {"depth": 8, "width": 16},
        "strong": {"augment": FACES},
        "decay": {"decay": 0.0005},
        "growing": {"sides": ((0.6, 32), (1.0, 48))},
        "cifar10": {},
        "cifar100": {},
        "leaky": {"slope": 0.1},
        "binomial": {"binomial": True},
        "branches": {"branches": True},
    }.items()
}
SAID = {  # in a picture
    "taught": "a teacher, 0.7 of the target",
    "hard": "the class of most votes alone",
    "mirror": "no alteration but mirror",
    "last": "the last weights, no average",
    "degraded": "blur, JPEG, a quarter each",
    "side32": "32x32 pixels",
    "mixup": "mixup 0.1",
    "erase": "erasing, a quarter",
    "deeper": "ResNet-20, width 9",
    "shallower": "ResNet-8, width 16",
    "strong": "the alterations of `best`",
    "decay": "weight decay 5e-4",
    "growing": "32x32 for the first 60%",
    "cifar10": "begun from CIFAR-10",
    "cifar100": "begun from CIFAR-100",
    "leaky": "leaky ReLU, 0.1",
    "binomial": "binomial halving",
    "branches": "1x1 branches, folded",
}
TAUGHT = ("small-taught",)
TRANSFERRED = {"small-cifar10": "cifar10", "small-cifar100": "cifar100"}  # rung -> the source that its network was pretrained on
LADDER_PRETRAIN_EPOCHS = 20
LADDER_SEEDS = {"small-base": (1, 2, 3), "small-cifar10": (1, 2, 3)}  # of the others: 1
NAMED = {**RECIPES, **RUNGS}

TRAIN, VALID = 28555, 3577  # images of data/ferplus_votes
VALID_BATCH = 73  # divides the validation part
EPOCHS_A_VALIDATION = 4
STATISTICS_BATCHES = 60  # batches of plain training images that the averaged network's BatchNorm statistics are made from


def side(recipe: Recipe) -> int:
    """The side of the images that a Recipe's network is tested on, in pixels: the last of its training's."""
    return recipe.sides[-1][1]


def described(recipe: Recipe, teachers: list[str] = ()) -> dict:
    """What of a Recipe stands neither in its net nor in its solver, as plain values for run.json. `teachers`: SHA-256 of their scores."""
    more = dict(teaching=recipe.teaching, teachers=sorted(teachers)) if teachers else {}
    # What came later stands there only where it is used: runs of before stay what they were.
    more.update({name: getattr(recipe, name) for name in ("hard", "mixup") if getattr(recipe, name)})
    if (BLUR, JPEG) != (1.2, (20, 90)):
        more.update(blur=BLUR, jpeg=list(JPEG))
    augment = {name: value for name, value in recipe.augment._asdict().items() if value or name not in ("blur", "jpeg")}
    return dict(more, sides=[list(pair) for pair in recipe.sides], augment=augment, average=recipe.average, statistics_batches=STATISTICS_BATCHES)
