"""What a run is made from: checked before Caffe's own checks abort the process, and hashed for the record.

Everything that decides the final weights is here: solver, net, LMDBs in their order, mean, transplanted weights, engine.
"""
import hashlib
import json
import os
from collections import Counter, namedtuple

from google.protobuf.message import DecodeError

from common import errors, files
from common.caffe import binary, lmdbs, text
from common.caffe import messages as m
from netgen import nets

Part = namedtuple("Part", "path images shape labels sha256")  # shape C x H x W; labels: label -> images; hash of keys, values
# Fields of a solver that change no weight: how often something is shown or stored, and under which name.
NO_MATTER = ("net", "weights", "snapshot", "snapshot_prefix", "display", "average_loss", "test_iter", "test_interval",
             "test_initialization", "device_id")


def check_data(net):
    """Read the LMDBs and the mean that `net` names; {"train": Part, "test": Part}. Fail where Caffe would abort."""
    parts = {}
    for name, phase in (("train", m.TRAIN), ("test", m.TEST)):
        layer = nets.data_layer(net, phase)
        part = parts[name] = read_part(layer.data_param.source)
        _check_geometry(part, layer.transform_param)
        classes = nets.final_layer(net).inner_product_param.num_output
        if min(part.labels) < 0 or max(part.labels) >= classes:
            raise errors.Fail("%s holds labels %d to %d, but %s has %d outputs: it is another data set's; %s"
                              % (part.path, min(part.labels), max(part.labels), nets.final_layer(net).name, classes, lmdbs.remedy(part.path)))
    return parts


def read_part(path):
    """A Part, by reading the whole LMDB (about a second for 200,000 images)."""
    digest, labels, shapes = hashlib.sha256(), Counter(), Counter()
    try:
        with lmdbs.opened(path) as environment, environment.begin() as transaction:
            for key, value in transaction.cursor():
                digest.update(key)
                digest.update(value)
                datum = m.Datum.FromString(value)
                labels[datum.label] += 1
                shapes[datum.channels, datum.height, datum.width] += 1
    except DecodeError as mistake:
        raise errors.Fail("%s holds something other than Datums (%s): %s" % (path, mistake, lmdbs.remedy(path))) from None
    if len(shapes) != 1:
        raise errors.Fail("%s holds images of %d sizes: %s" % (path, len(shapes), lmdbs.remedy(path)))
    return Part(path, sum(labels.values()), next(iter(shapes)), dict(labels), digest.hexdigest())


def _check_geometry(part, transform):
    crop = transform.crop_size
    if min(part.shape[1:]) < crop:
        raise errors.Fail("%s holds images of %dx%d, smaller than the crop of %d: %s" % (part.path, *part.shape[1:], crop, lmdbs.remedy(part.path)))
    if transform.mean_file:
        if not os.path.isfile(transform.mean_file):
            raise errors.Fail("%s is not there: %s" % (transform.mean_file, lmdbs.remedy(transform.mean_file)))
        mean = binary.read_mean(transform.mean_file)
        if mean.shape != part.shape:
            raise errors.Fail("%s is %s and the images of %s are %s: they were not made together; %s" % (
                transform.mean_file, "x".join(map(str, mean.shape)), part.path, "x".join(map(str, part.shape)), lmdbs.remedy(part.path)))


def describe(solver, net, parts, weights, engine):
    """The inputs as a dict of what must be equal for two runs to be one: readable values, hashes where they are long."""
    found = {"engine": engine, "net": hashlib.sha256(text.dumps(net).encode()).hexdigest()}
    for name, part in parts.items():
        found[name] = {"lmdb": part.path, "images": part.images, "sha256": part.sha256}
    transform = nets.data_layer(net, m.TRAIN).transform_param
    found["mean"] = files.sha256(transform.mean_file) if transform.mean_file else list(transform.mean_value)
    found["weights"] = files.sha256(weights) if weights else None
    found["solver"] = {f.name: _plain(getattr(solver, f.name)) for f, _ in solver.ListFields() if f.name not in NO_MATTER}
    return found


def _plain(value):
    """A field's value for JSON; Caffe's floats have seven digits."""
    if isinstance(value, float):
        return float("%.7g" % value)
    return value if isinstance(value, (int, str)) else list(value)


def identity(described):
    """One hash for a description, to stand in snapshots. One engine's are another's too, so the engine is left out."""
    shared = {key: value for key, value in described.items() if key != "engine"}
    return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()


def differences(old, new):
    """What changed between two descriptions, as one line; empty where nothing did."""
    changed = []
    for key in sorted(set(old) | set(new)):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if key == "solver" and before and after:
            fields = sorted(set(before) | set(after))
            changed += ["%s %s -> %s" % (f, before.get(f), after.get(f)) for f in fields if before.get(f) != after.get(f)]
        else:
            changed.append({"train": "the training data", "test": "the validation data", "net": "the net"}.get(key, "the " + key))
    return ", ".join(changed)
