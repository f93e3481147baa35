"""Verify a built set: `python3 -m data_prep check SET`.

Every record is read again: keys, shapes, labels, and the SHA-256 of order and pixels in the manifest; the mean is computed
anew. Then Caffe's Data layer must yield, for the centre crop, the arrays that testing makes itself.
"""
import os
import tempfile

import lmdb
import numpy as np

import errors
from caffe_files import binary, text
from caffe_files import messages as m
from data_prep import built, store
from evaluation import crops
from evaluation.network import import_caffe
from paper import facts
from progress import Progress

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
        table = built.table(folder, part)
        measured = measure(path, table, manifest["classes"], again)
        found = measured.entry(store.table_path(folder, part))
        for what, value in expected.items():
            if found[what] != value:
                raise errors.Fail("%s: %s is %s, the manifest says %s: %s" % (path, what, found[what], value, again))
        print("%-5s %s images of %dx%dx%d: keys, labels, order and pixels as in the manifest"
              % ((part, format(found["count"], ",")) + tuple(found["shape"])))
        if part == "train":
            _check_mean(folder, measured, manifest["mean"], again)
        if not args.no_caffe:
            print("%-5s Caffe's Data layer gives testing's own centre crops of the first %d images"
                  % (part, compare_with_caffe(folder, part, again)))


def measure(path, table, classes, again):
    """The store.Measure of a part, from the LMDB and the lines of its table.

    Fail, ending in `again`, on the first record that is not as it should be.
    """
    measured, shape = store.Measure(classes), None
    try:
        env = lmdb.open(path, readonly=True, lock=False)
    except lmdb.Error:
        raise errors.Fail("%s is damaged or not there: %s" % (path, again)) from None
    with env, env.begin() as transaction, Progress("checking " + path, len(table)) as bar:
        for number, (key, value) in enumerate(transaction.cursor()):
            line = table[number] if number < len(table) else None
            if not line or key.decode("ascii", "replace") != store.KEY % number or line["key"] != store.KEY % number:
                raise errors.Fail("%s: record %d has key %r, or the table beside it another one: %s" % (path, number, key, again))
            image, label = binary.read_datum(value)
            shape = shape or image.shape
            if image.shape != shape or not 0 <= label < classes or str(label) != line["label"]:
                raise errors.Fail("%s: record %d is of %s with label %d; %s with label %s was written: %s"
                                  % (path, number, image.shape, label, shape, line["label"], again))
            measured.add(image[None], [label])
            bar.add()
    return measured


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


def _check_mean(folder, measured, expected, again):
    mean = binary.read_mean(os.path.join(folder, "mean.binaryproto"))
    if not np.array_equal(mean, store.mean_plane(measured)) or not np.allclose(measured.mean(), expected, atol=1e-5):
        raise errors.Fail("%s/mean.binaryproto is not the mean of the training part: %s" % (folder, again))
    print("train mean value of each channel as in mean.binaryproto: %s" % ", ".join("%.3f" % value for value in measured.mean()))
