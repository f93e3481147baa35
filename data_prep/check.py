"""Verify a built set: `python3 -m data_prep check SET`.

Every record is read again: keys, shapes, labels, and the SHA-256 of order and pixels in the manifest; the mean is computed
anew. Then Caffe's Data layer must yield, for the centre crop, the arrays that testing makes itself.
"""
import os
import tempfile

import lmdb
import numpy as np

from common import errors
from common.caffe import binary, text
from common.caffe import messages as m
from data_prep import built, store
from common import parallel
from fer_lite import crops
from engines.caffe.network import import_caffe
from paper import facts
from common.progress import Progress

COMPARED = 256  # images whose centre crop is held against Caffe's


def add_arguments(parser):
    parser.add_argument("set", metavar="SET", help="the name of a built set")
    parser.add_argument("--out", default="data", help="where the folder SET lies (default: %(default)s)")
    parser.add_argument("--no-caffe", action="store_true", help="leave out the comparison with Caffe's Data layer")


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
        print("%-5s %s images of %dx%dx%d: keys, labels, order and pixels as in the manifest"
              % ((part, format(found["count"], ",")) + tuple(found["shape"])))
        if part == "train":
            options = manifest["options"]
            if options.get("mean_of") == "images":
                mean = store.without_padding(mean, options["pad_level"])
            _check_mean(folder, found["shape"], mean, manifest["mean"], again)
    for part in () if args.no_caffe else manifest["parts"]:
        print("%-5s Caffe's Data layer gives testing's own centre crops of the first %d images"
              % (part, compare_with_caffe(folder, part, again)))


def measure(folder, part, manifest, again):
    """(what the manifest should say of a part, mean value of each channel), read from its LMDB and its table.

    Fail, ending in `again`, on the first record that is not as it was written. To be called in a process of its own: LMDB
    trusts what a file says of itself, and some damage kills the process that reads it.
    """
    path, table, classes = os.path.join(folder, part + "_lmdb"), built.table(folder, part), manifest["classes"]
    measured, shape = store.Measure(classes), tuple(manifest["parts"][part]["shape"])
    try:
        with _opened(path, again) as env, env.begin() as transaction, Progress("checking " + path, len(table)) as bar:
            for number, (key, value) in enumerate(transaction.cursor()):
                line = table[number] if number < len(table) else {}
                if not key.decode("ascii", "replace") == line.get("key") == store.KEY % number:
                    raise errors.Fail("%s: record %d has key %r, or the table beside it another one: %s" % (path, number, key, again))
                image, label = _datum(value, "%s: record %d is no Datum: %s" % (path, number, again))
                if image.shape != shape or not 0 <= label < classes or str(label) != line["label"]:
                    raise errors.Fail("%s: record %d is of %s with label %d; %s with label %s was written: %s"
                                      % (path, number, image.shape, label, shape, line["label"], again))
                measured.add(image[None], [label])
                bar.add()
    except lmdb.Error as problem:
        raise errors.Fail("%s is damaged or not there (%s): %s" % (path, str(problem).replace(path + ": ", ""), again)) from None
    return measured.entry(store.table_path(folder, part)), measured.mean()


def _opened(path, again):
    """The LMDB at `path`, if its file is as long as it claims: to read behind a mapped file's end kills the process."""
    env = lmdb.open(path, readonly=True, lock=False)
    claimed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    size = os.path.getsize(os.path.join(path, "data.mdb"))
    if size < claimed:
        raise errors.Fail("%s is cut short, %s bytes of %s: %s" % (path, format(size, ","), format(claimed, ","), again))
    return env


def _datum(value, otherwise):
    try:
        return binary.read_datum(value)
    except errors.Fail:
        raise errors.Fail(otherwise) from None


def compare_with_caffe(folder, part, again):
    """Hold the centre crops that Caffe's Data layer makes of the part's first images against testing's; how many."""
    caffe = import_caffe()
    path, mean_path = os.path.join(folder, part + "_lmdb"), os.path.join(folder, "mean.binaryproto")
    with lmdb.open(path, readonly=True, lock=False) as env, env.begin() as transaction:
        count = min(COMPARED, env.stat()["entries"])
        records = [binary.read_datum(value) for _, (_, value) in zip(range(count), transaction.cursor())]
    images, labels = np.stack([image for image, _ in records]), [label for _, label in records]
    layer = m.LayerParameter(name="data", type="Data", top=["data", "label"])
    layer.data_param.source, layer.data_param.backend, layer.data_param.batch_size = path, m.DataParameter.LMDB, count
    layer.transform_param.crop_size, layer.transform_param.mean_file = facts.CROP, mean_path
    with tempfile.TemporaryDirectory() as temporary:
        prototxt = os.path.join(temporary, "data.prototxt")
        text.write(prototxt, m.NetParameter(name="data", layer=[layer]))
        net = caffe.Net(prototxt, caffe.TEST)
    net.forward()
    ours = crops.ten_crops(images, binary.read_mean(mean_path), facts.CROP)[:, crops.CENTRE]
    if not np.array_equal(net.blobs["data"].data, ours) or net.blobs["label"].data.astype(int).tolist() != labels:
        raise errors.Fail("%s: Caffe's Data layer gives other arrays than testing makes: %s" % (path, again))
    return count


def _check_mean(folder, shape, found, expected, again):
    mean = binary.read_mean(os.path.join(folder, "mean.binaryproto"))
    if not np.array_equal(mean, store.mean_plane(shape, found)) or not np.allclose(found, expected, atol=1e-5):
        raise errors.Fail("%s/mean.binaryproto is not the mean of the training part: %s" % (folder, again))
    print("train mean value of each channel as in mean.binaryproto: %s" % ", ".join("%.3f" % value for value in found))
