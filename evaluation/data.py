"""A part of a data set as testing reads it: the LMDB in key order, the mean, and the images' names."""
import os
from collections import namedtuple

import numpy as np

from common import built, errors
from common.caffe import binary, lmdbs

# folder: path of the LMDB; count: images; shape: C x H x W of each; mean: float32 C x H x W; names: key -> image name.
Part = namedtuple("Part", "folder count shape mean names")
Batch = namedtuple("Batch", "keys images labels")  # list of str; uint8 N x C x H x W; int64 N


def open_part(data, split, crop):
    """The Part `split` of the data set in the folder `data`. Fail, in one line, on whatever Caffe would abort at.

    `crop`: (channels, height, width) of the deploy net's input.
    """
    folder = os.path.join(data, split + "_lmdb")
    count, shape = lmdbs.first(folder)
    mean = _mean(os.path.join(data, "mean.binaryproto"))
    if shape[0] != crop[0] or shape[1] < crop[1] or shape[2] < crop[2]:
        raise errors.Fail("%s holds images of %s, too small for this net's input of %s: test on another set, or %s"
                          % (folder, _size(shape), _size(crop), lmdbs.remedy(folder)))
    if mean.shape != shape:
        raise errors.Fail("%s/mean.binaryproto is of %s, the images of %s: %s"
                          % (data, _size(mean.shape), _size(shape), lmdbs.remedy(folder)))
    return Part(folder, count, shape, mean, names(data, split))


def batches(part, size):
    """Yield a Batch of at most `size` images after the other, in key order, every image once."""
    with lmdbs.opened(part.folder) as env, env.begin() as transaction:
        keys, images, labels = [], [], []
        for key, value in transaction.cursor():
            image, label = binary.read_datum(value)
            if image.shape != part.shape:
                raise errors.Fail("%s holds images of %s and of %s: %s"
                                  % (part.folder, _size(part.shape), _size(image.shape), lmdbs.remedy(part.folder)))
            keys.append(key.decode())
            images.append(image)
            labels.append(label)
            if len(keys) == size:
                yield Batch(keys, np.stack(images), np.array(labels, np.int64))
                keys, images, labels = [], [], []
        if keys:
            yield Batch(keys, np.stack(images), np.array(labels, np.int64))


def names(data, split):
    """Key -> image name of a part, from the table that data_prep writes beside its LMDB; empty where there is none."""
    return {line["key"]: line["name"] for line in built.table(data, split, optional=True) or ()}


def blank(images):
    """How many of N images are blank: every pixel 0."""
    return int((~images.reshape(len(images), -1).any(axis=1)).sum())


def _mean(path):
    if not os.path.exists(path):
        raise errors.Fail("there is no %s: %s" % (path, lmdbs.remedy(path)))
    return binary.read_mean(path)


def _size(shape):
    return "x".join(map(str, shape))
