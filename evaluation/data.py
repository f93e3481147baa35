"""A part of a data set as testing reads it: the LMDB in key order, the mean, and the images' names."""

from __future__ import annotations

import argparse
import os
from collections import namedtuple
from collections.abc import Iterator

import cv2
import numpy as np

from common import built, errors
from common.caffe import binary, lmdbs
from fer_lite import crops
from paper import facts

# folder: path of the LMDB; count: images; shape: C x H x W of each there; shown: as the network is given them; mean: float32 of `shown`;
# names: key -> image name.
Part = namedtuple("Part", "folder count shape shown mean names")
Batch = namedtuple("Batch", "keys images labels")  # list of str; uint8 N x C x H x W, as shown; int64 N


def open_part(data: str, split: str, crop: tuple[int, int, int], mean: np.ndarray | None = None, side: int | None = None) -> Part:
    """The Part `split` of the data set in the folder `data`. Fail, in one line, on whatever Caffe would abort at.

    `crop`: (channels, height, width) of the deploy net's input. Images are made grey, or repeated on three channels, where it has others
    than they. `mean`: float32 1 or C of the network's own (default: the set's); `side`: images are resized to it first.
    """
    folder = os.path.join(data, split + "_lmdb")
    if not os.path.exists(folder) and os.path.exists(os.path.join(data, "manifest.json")):
        parts = built.manifest(data)["parts"]
        if split not in parts:  # building it again would make none
            raise errors.Fail("%s was built without a part %s: test on another (SPLIT, --split): %s" % (data, split, ", ".join(parts)))
    count, shape = lmdbs.first(folder)
    shown = crop[:1] + ((side, side) if side else shape[1:])
    if shape[0] not in (1, 3) or min(shown[1:]) < crop[1]:
        raise errors.Fail(
            "%s holds images of %s, too small for this net's input of %s: enlarge them with --resize %d, test on another set, or %s"
            % (folder, _size(shown if side else shape), _size(crop), crop[1] * facts.RESIZE // facts.CROP, lmdbs.remedy(folder))
        )
    if mean is None:
        mean = _mean(os.path.join(data, "mean.binaryproto"))
        if mean.shape != shape:
            raise errors.Fail("%s/mean.binaryproto is of %s, the images of %s: %s" % (data, _size(mean.shape), _size(shape), lmdbs.remedy(folder)))
        mean = _as_shown(mean[None], shown)[0]
    elif len(mean) not in (1, crop[0]):
        raise errors.Fail("a mean of %d numbers for a net of %d channels: give one, or one for each (blue, green, red)" % (len(mean), crop[0]))
    else:
        mean = np.ones(shown, np.float32) * np.asarray(mean, np.float32)[:, None, None]
    return Part(folder, count, shape, shown, mean, names(data, split))


def _as_shown(images, shown):
    """N x C x H x W images (uint8 or float32) with the channels and sides of `shown`."""
    if images.shape[1:] == shown:
        return images
    made = []
    for image in images.transpose(0, 2, 3, 1):
        if shown[0] == 1 and image.shape[-1] == 3:
            image = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY)
        image = crops.resized(np.ascontiguousarray(image), shown[1]) if image.shape[:2] != shown[1:] else image
        made.append(np.broadcast_to(np.atleast_3d(image).transpose(2, 0, 1), shown))
    return np.stack(made)


def batches(part: Part, size: int) -> Iterator[Batch]:
    """Yield a Batch of at most `size` images after the other, in key order, every image once."""
    for entries in _entries(part, size):
        keys, images, labels = zip(*entries)
        yield Batch(list(keys), _as_shown(np.stack(images), part.shown), np.array(labels, np.int64))


def _entries(part, size):
    with lmdbs.reading(part.folder) as transaction:
        found = []
        for key, value in transaction.cursor():
            image, label = binary.read_datum(value)
            if image.shape != part.shape:
                raise errors.Fail("%s holds images of %s and of %s: %s" % (part.folder, _size(part.shape), _size(image.shape), lmdbs.remedy(part.folder)))
            found.append((key.decode(), image, label))
            if len(found) == size:
                yield found
                found = []
        if found:
            yield found


def check_labels(part: Part, classes: int, net: str) -> None:
    """Fail, before anything is computed, where a label of the Part is none of the net's `classes`."""
    largest = max(label for entries in _entries(part, 1000) for *_, label in entries)
    if largest >= classes:
        raise errors.Fail(
            "%s holds labels up to %d, %s has %d classes: test it on a data set of its own (--data), or take this set's deploy net"
            % (part.folder, largest, net, classes)
        )


def names(data: str, split: str) -> dict[str, str]:
    """Key -> image name of a part, from the table that data_prep writes beside its LMDB; empty where there is none."""
    return {line["key"]: line["name"] for line in built.table(data, split, optional=True) or ()}


def blank(images: np.ndarray) -> int:
    """How many of N images are blank: every pixel 0."""
    return int((~images.reshape(len(images), -1).any(axis=1)).sum())


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options for networks of other people: what is subtracted from an image, how it is scaled and resized."""
    parser.add_argument(
        "--mean",
        nargs="+",
        metavar="V",
        help="what the network wants subtracted: a number, one for each channel (blue, green, red), or a mean file (default: the data set's)",
    )
    parser.add_argument("--scale", type=float, default=1.0, help="what pixels are multiplied by after that, such as 0.00390625")
    parser.add_argument("--resize", type=int, metavar="SIDE", help="resize the images to it before they are cropped")


def own_mean(words: list[str] | None) -> np.ndarray | None:
    """--mean's words, float32 1 or C: numbers, or one .binaryproto or .npy file of C x H x W (its average a channel). None for none."""
    if not words:
        return None
    try:
        return np.array([float(word) for word in words], np.float32)
    except ValueError:
        path = words[0]
    if len(words) > 1 or not os.path.isfile(path):
        raise errors.Fail("%s is no mean: give a number, one for each channel (blue, green, red), or a mean file" % " ".join(words))
    try:
        planes = np.load(path, allow_pickle=False) if path.endswith(".npy") else binary.read_mean(path)
    except (ValueError, EOFError):
        raise errors.Fail("%s is damaged or no array of numbers: give the mean's numbers" % path) from None
    if not isinstance(planes, np.ndarray):  # a zip, whatever it is called, is an archive of arrays
        raise errors.Fail("%s is an archive, not a mean of C x H x W: give the mean's numbers" % path)
    if planes.ndim not in (1, 3):
        raise errors.Fail("%s holds an array of %s, not a mean of C x H x W: give the mean's numbers" % (path, _size(planes.shape)))
    return planes.reshape(len(planes), -1).mean(axis=1).astype(np.float32)


def _mean(path):
    if not os.path.exists(path):
        raise errors.Fail("there is no %s: %s" % (path, lmdbs.remedy(path)))
    return binary.read_mean(path)


def _size(shape):
    return "x".join(map(str, shape))
