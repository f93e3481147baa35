"""Verify a built set: `python3 -m data_prep check SET`.

Every record is read again: keys, shapes, labels, and the SHA-256 of order and pixels in the manifest; the mean is computed
anew. (`python3 -m engines.caffe.data` holds the same folder against Caffe's Data layer.)
"""

import os

import lmdb
import numpy as np

from common import built, errors, parallel
from common.caffe import binary, lmdbs
from common.progress import Progress
from data_prep import store


def run(args):
    folder = os.path.join(args.out, args.set)
    manifest = built.manifest(folder)
    again = "remove %s and run `make data SRC=%s`" % (folder, args.set)
    for part, expected in manifest["parts"].items():
        path = os.path.join(folder, part + "_lmdb")
        found, mean = parallel.apart("%s is damaged: reading it crashes LMDB: %s" % (path, again), measure, folder, part, manifest, again)
        for what, value in expected.items():
            if found[what] != value:
                raise errors.Fail("%s: %s is %s, the manifest says %s: %s" % (path, what, found[what], value, again))
        print("%-5s %s images of %dx%dx%d: keys, labels, order and pixels as in the manifest" % ((part, format(found["count"], ",")) + tuple(found["shape"])))
        if part == "train":
            options = manifest["options"]
            if options.get("mean_of") == "images":
                mean = store.without_padding(mean, options["pad_level"])
            _check_mean(folder, found["shape"], mean, manifest["mean"], again)


def measure(folder, part, manifest, again):
    """(what the manifest should say of a part, mean value of each channel), read from its LMDB and its table.

    Fail, ending in `again`, on the first record that is not as it was written. To be called in a process of its own: LMDB
    trusts what a file says of itself, and some damage kills the process that reads it.
    """
    path, table, classes = os.path.join(folder, part + "_lmdb"), built.table(folder, part), manifest["classes"]
    measured, shape = store.Measure(classes), tuple(manifest["parts"][part]["shape"])
    try:
        with lmdbs.opened(path) as env, env.begin() as transaction, Progress("checking " + path, len(table)) as bar:
            for number, (key, value) in enumerate(transaction.cursor()):
                line = table[number] if number < len(table) else {}
                if not key.decode("ascii", "replace") == line.get("key") == store.KEY % number:
                    raise errors.Fail("%s: record %d has key %r, or the table beside it another one: %s" % (path, number, key, again))
                image, label = _datum(value, "%s: record %d is no Datum: %s" % (path, number, again))
                if image.shape != shape or not 0 <= label < classes or str(label) != line["label"]:
                    raise errors.Fail(
                        "%s: record %d is of %s with label %d; %s with label %s was written: %s"
                        % (path, number, image.shape, label, shape, line["label"], again)
                    )
                measured.add(image[None], [label])
                bar.add()
    except lmdb.Error as problem:
        raise errors.Fail("%s is damaged or not there (%s): %s" % (path, str(problem).replace(path + ": ", ""), again)) from None
    return measured.entry(store.table_path(folder, part)), measured.mean()


def _datum(value, otherwise):
    try:
        return binary.read_datum(value)
    except errors.Fail:
        raise errors.Fail(otherwise) from None


def _check_mean(folder, shape, found, expected, again):
    mean = binary.read_mean(os.path.join(folder, "mean.binaryproto"))
    if not np.array_equal(mean, store.mean_plane(shape, found)) or not np.allclose(found, expected, atol=1e-5):
        raise errors.Fail("%s/mean.binaryproto is not the mean of the training part: %s" % (folder, again))
    print("train mean value of each channel as in mean.binaryproto: %s" % ", ".join("%.3f" % value for value in found))
