"""A small WORK folder, as `make` has it before the first training: data_prep's sets of drawn downloads, netgen's nets for them."""

import os

import data_forms as forms
import numpy as np

from common.drawn import objects
from demo import draw, make_nets, official, settings
from netgen import __main__ as netgen
from paper import facts

ROWS = {"Training": 120, "PublicTest": 60, "PrivateTest": 80}
SHARES = dict.fromkeys(facts.EXPRESSIONS, 1 / len(facts.EXPRESSIONS))
OBJECTS = 100, 50  # for training and for testing
PER_CLASS = 20
ITERATIONS, BATCH = 20, 8
ARCHIVE = "cifar-10-python.tar.gz"


def make(folder):
    """Write everything into the new `folder`; its path."""
    draw_downloads(os.path.join(folder, "downloads"))
    forms.build("cifar10", os.path.join(folder, "data"), "--from", os.path.join(folder, "downloads", ARCHIVE))
    forms.build("ferplus", os.path.join(folder, "data"), "--from", os.path.join(folder, "downloads"), "--per-class", PER_CLASS)
    write_nets(folder)
    return folder


def draw_downloads(folder):
    os.makedirs(folder)
    rng = np.random.RandomState(settings.SEED)
    train, test = (draw.draw_source(rng, count) for count in OBJECTS)
    official.write_cifar10(os.path.join(folder, ARCHIVE), train, test, objects.CLASSES)
    drawn = draw.draw_target(rng, ROWS, SHARES)
    official.write_fer2013(os.path.join(folder, "fer2013.csv"), drawn)
    official.write_ferplus(os.path.join(folder, "FERPlus"), drawn)


def write_nets(folder):
    """Nets and solvers for the sets built in `folder`, for runs of ITERATIONS."""
    sizes = make_nets.sizes(folder)
    epochs = {name: ITERATIONS * BATCH / size["train"] for name, size in sizes.items()}
    netgen.write_all(
        folder,
        depths=(settings.DEPTH,),
        datasets=sizes,
        pretrain_epochs=epochs,
        ferplus_epochs=epochs["ferplus"],
        pretrain_batch=BATCH,
        ferplus_batch=BATCH,
        form=dict(moving_average_fraction=settings.MOVING_AVERAGE_FRACTION),
    )
