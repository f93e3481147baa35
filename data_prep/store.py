"""What a built set consists of: images parked on disk in the order of reading, then LMDB, table of names and mean.

The Data layer reads an LMDB from front to back, so the order is shuffled here, once. Archives are read front to back
too; in between, the images wait in an unnamed file (`Shelf`), not in memory: a set of any size needs the same memory.
"""

import csv
import functools
import hashlib
import mmap
import os

import cv2
import lmdb
import numpy as np

from common import errors, files, parallel
from common.caffe import binary
from common.progress import Progress
from data_prep import archives, images
from paper import facts, ours

KEY = "%08d"
AT_ONCE = 4096  # images in one LMDB transaction
MEANS = ("stored", "images")  # over what is stored, or over a padded set's own pixels alone
RESERVE = 1 << 24  # bytes of an LMDB beyond what its images need, for its own pages


class Shelf:
    """Stored images uint8 3 x S x S in a file, by number. Workers write to it, each its own range."""

    def __init__(self, folder, geometry, level=ours.PAD_LEVEL):
        self.path, self.geometry, self.level = os.path.join(folder, "shelf"), geometry, level
        self.side = images.SIDES[geometry]
        self.count = 0
        open(self.path, "wb").close()

    def fill(self, batches, workers, label="reading"):
        """Put each item of `batches`, (function, arguments...), on the shelf: `function(*arguments)` is N images.

        The function runs in a worker and returns what `images.fit_all` takes; `len(arguments[0])` is N.
        """
        with Progress(label) as bar:
            for stored in parallel.work(_put, self._tasks(batches), workers):
                bar.add(stored)

    def _tasks(self, batches):
        for function, *arguments in batches:
            yield self.path, self.count, (self.geometry, self.level), function, arguments
            self.count += len(arguments[0])

    def take(self, numbers):
        """The images of these numbers, uint8 N x 3 x S x S. Read, not mapped: memory holds only what is asked for."""
        taken = np.empty((len(numbers), 3, self.side, self.side), np.uint8)
        size = 3 * self.side * self.side
        handle = os.open(self.path, os.O_RDONLY)
        try:
            for image, number in zip(taken.reshape(-1, size), numbers.tolist()):
                if os.preadv(handle, [image], number * size) != size:
                    raise errors.Fail("%s is shorter than what was written to it: build again" % self.path)
        finally:
            os.close(handle)
        return taken


def _put(path, first, form, function, arguments):
    """In a worker: make the images and write them at number `first`; how many."""
    cv2.setNumThreads(1)  # the work is spread over processes; threads inside each would only get in their way
    stored = images.fit_all(function(*arguments), *form)
    with open(path, "r+b") as f:
        f.seek(first * stored[0].size)
        f.write(stored.data)
    return len(stored)


def encoded(names):
    """Names as an array of UTF-8 bytes."""
    return np.array([archives.shown(name).encode() for name in names], bytes)


def write_set(folder, shelf, members, labels, names, classes, columns=(), mean_of=ours.MEAN_OF):
    """Write every part and the mean into `folder`, each part in a shuffled order, and remove the shelf.

    `members`: part -> shelf numbers; the others as for `write_part`. Returns (part -> shelf numbers in the order of
    keys, what goes into the manifest). `mean_of`: of MEANS.
    """
    rng = np.random.RandomState(ours.SHUFFLE_SEED)
    orders = {part: rng.permutation(numbers) for part, numbers in members.items()}
    measures = {part: write_part(folder, part, shelf, order, labels, names, classes, columns) for part, order in orders.items()}
    mean = measures["train"].mean() if mean_of == "stored" else without_padding(measures["train"].mean(), shelf.level)
    binary.write_mean(os.path.join(folder, "mean.binaryproto"), mean_plane(measures["train"].shape, mean))
    os.remove(shelf.path)
    return orders, dict(
        classes=classes,
        parts={part: measure.entry(table_path(folder, part)) for part, measure in measures.items()},
        mean=mean.round(6).tolist(),
        colour_order=ours.COLOUR_ORDER,
        geometry=shelf.geometry,
        interpolation=ours.INTERPOLATION,
        shuffle_seed=ours.SHUFFLE_SEED,
    )


def write_part(folder, name, shelf, order, labels, names, classes, columns=()):
    """Write NAME_lmdb and NAME.csv into `folder`: image order[i] of the shelf becomes record i.

    `labels`: int, and `names`: UTF-8 bytes, both arrays by shelf number; `columns`: (title, values by shelf number) pairs
    more for the table. Returns the part's Measure.
    """
    check_labels(labels[order], classes, name)
    measure = Measure(classes)

    def read(numbers):
        block = shelf.take(numbers)
        measure.add(block, labels[numbers])
        return numbers, block

    blocks = parallel.ahead(read, (order[start : start + AT_ONCE] for start in range(0, len(order), AT_ONCE)))
    lines = open(table_path(folder, name), "w", newline="", encoding="utf-8")
    with lines, Progress("writing %s_lmdb" % name, len(order)) as bar:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(["key", "name", "label"] + [title for title, _ in columns])
        for numbers, keys in write_lmdb(os.path.join(folder, name + "_lmdb"), blocks, labels, _map_size(len(order), shelf.side)):
            more = ([values[i] for i in numbers.tolist()] for _, values in columns)
            table.writerows(zip(keys, map(bytes.decode, names[numbers].tolist()), labels[numbers].tolist(), *more))
            bar.add(len(keys))
    return measure


def table_path(folder, name):
    """Where a part's table of names lies."""
    return os.path.join(folder, name + ".csv")


class Measure:
    """What the manifest says of a part, gathered block by block: on writing, and again by `check`."""

    def __init__(self, classes):
        self.count = self.blank = 0
        self.shape, self.channels, self.classes = [], np.zeros(3), np.zeros(classes, int)
        self.pixels = hashlib.sha256()

    def add(self, images, labels):
        """`images`: uint8 N x 3 x S x S, contiguous; `labels`: int N."""
        self.count += len(images)
        self.shape = list(images.shape[1:])
        flat = images.reshape(len(images), -1)
        self.channels += flat.sum(0, dtype=np.uint32).reshape(3, -1).sum(1)
        words = flat.view(np.uint64) if flat.shape[1] % 8 == 0 else flat  # eight pixels at once
        self.blank += int((~words.any(1)).sum())
        self.classes += np.bincount(labels, minlength=len(self.classes))
        self.pixels.update(images)

    def entry(self, table):
        """The part's entry in manifest.json. `table`: the path of its table, whose hash is that of the order."""
        return dict(
            count=self.count,
            shape=self.shape,
            blank=self.blank,
            class_counts=self.classes.tolist(),
            table_sha256=files.sha256(table),
            pixels_sha256=self.pixels.hexdigest(),
        )

    def mean(self):
        """The mean value of each channel, float64 x 3."""
        return self.channels / (self.count * self.shape[1] * self.shape[2])


def write_lmdb(path, blocks, labels, map_size):
    """Write Datums from `blocks`, (shelf numbers, images uint8 N x 3 x S x S); yields (shelf numbers, keys) of each block."""
    place = 0
    try:
        with lmdb.open(path, map_size=map_size, sync=False) as env:
            for numbers, block in blocks:
                keys = [KEY % i for i in range(place, place + len(numbers))]
                with env.begin(write=True) as transaction, transaction.cursor() as cursor:
                    cursor.putmulti(list(zip(map(str.encode, keys), _datums(block, labels[numbers].tolist()))), append=True)
                place += len(numbers)
                yield numbers, keys
            env.sync(True)
    except lmdb.Error as problem:  # mostly a full disk
        raise errors.Fail("writing %s failed (%s): check the free space" % (path, problem)) from None


def write_table(path, titles, rows):
    """A CSV file with a line of titles."""
    with open(path, "w", newline="", encoding="utf-8") as f:
        table = csv.writer(f, lineterminator="\n")
        table.writerow(titles)
        table.writerows(rows)


def mean_plane(shape, mean):
    """What mean.binaryproto holds: the mean value of each channel (float64 x 3) all over the plane, float32 3 x S x S (`shape`).

    Caffe subtracts the same number wherever the random crop lies.
    """
    return np.ones(shape, np.float32) * mean.astype(np.float32)[:, None, None]


def without_padding(mean, level):
    """The mean of CIFAR's own pixels from that of padded images (float64 x 3) whose padding has grey `level`."""
    whole, own = images.SIDES["pad"] ** 2, (images.SIDES["pad"] - 2 * facts.PAD) ** 2
    return (mean * whole - level * (whole - own)) / own


def check_labels(labels, classes, where):
    """Fail on one of `labels`, whole numbers of any size, outside 0 ... classes - 1: Caffe's loss would read outside its array."""
    if not len(labels):
        raise errors.Fail("%s has no images: is the archive complete?" % where)
    low, high = min(labels), max(labels)
    if low < 0 or high >= classes:
        raise errors.Fail("%s has label %d; its %d classes are 0 to %d" % (where, high if high >= classes else low, classes, classes - 1))


def _datums(images, labels):
    """The Datums of uint8 N x 3 x S x S as N views of one array: copied in one go, where one by one would take longer than LMDB."""
    count, size = len(images), images[0].size
    start, tails = _frame(images[0].shape, labels[0])[0], [_frame(images[0].shape, label)[1] for label in labels]
    longest = max(map(len, tails))
    rows = np.empty((count, len(start) + size + longest), np.uint8)
    rows[:, : len(start)] = np.frombuffer(start, np.uint8)
    rows[:, len(start) : len(start) + size] = images.reshape(count, size)
    rows[:, len(start) + size :] = np.frombuffer(b"".join(tail.ljust(longest) for tail in tails), np.uint8).reshape(count, longest)
    view, width = memoryview(rows.reshape(-1)), rows.shape[1]
    return [view[i * width : (i + 1) * width - longest + len(tail)] for i, tail in enumerate(tails)]


@functools.lru_cache(maxsize=None)
def _frame(shape, label):
    """(bytes of a Datum before the pixels, bytes after them): all Datums of one shape and label share them."""
    size = int(np.prod(shape))
    whole = binary.datum(np.zeros(shape, np.uint8), label)
    start = whole.index(bytes(size))
    return whole[:start], whole[start + size :]


def _map_size(count, side):
    """Bytes that LMDB must be allowed: a Datum over half a page takes whole pages of its own."""
    page = min(mmap.PAGESIZE, 1 << 15)
    datum = 3 * side * side + 64
    return count * (-(-datum // page) * page + 64) + RESERVE
