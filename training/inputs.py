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
from training import transplant

Contents = namedtuple("Contents", "path images shape labels sha256")  # shape C x H x W; labels: label -> images; hash of keys, values
VERSION = 2  # of `describe`
# A run's two parts by the phase of its net that reads them: what is looked at while training is Caffe's TEST.
PHASES = {"train": m.TRAIN, "valid": m.TEST}
# Fields of a solver that change no weight: how often something is shown or stored, under which name, and on what it is computed.
NO_MATTER = (
    "net",
    "weights",
    "snapshot",
    "snapshot_prefix",
    "display",
    "average_loss",
    "test_iter",
    "test_interval",
    "test_initialization",
    "device_id",
    "solver_mode",
)


def check_data(net):
    """Read the LMDBs and the mean that `net` names; {"train": Contents, "valid": Contents}. Fail where Caffe would abort."""
    parts = {}
    for name, phase in PHASES.items():
        layer = nets.data_layer(net, phase)
        part = parts[name] = read_part(layer.data_param.source)
        _check_geometry(part, layer.transform_param)
        classes = nets.final_layer(net).inner_product_param.num_output
        if min(part.labels) < 0 or max(part.labels) >= classes:
            raise errors.Fail(
                "%s holds labels %d to %d, but %s has %d outputs: it is another data set's; %s"
                % (part.path, min(part.labels), max(part.labels), nets.final_layer(net).name, classes, lmdbs.remedy(part.path))
            )
    return parts


def validated_on(solver, net, part):
    """What a validation is of, in words: "n = 3,312", or that the solver's batches show other images than each of the part once."""
    shown = solver.test_iter[0] * nets.data_layer(net, m.TEST).data_param.batch_size
    if shown == part.images:
        return "n = {:,}".format(part.images)
    return "{:,} images in {} batches, of a part of {:,}: {}".format(
        shown, solver.test_iter[0], part.images, "some of them twice" if shown > part.images else "not all of them"
    )


def read_part(path: str) -> Contents:
    """The Contents of an LMDB, by reading the whole LMDB (about a second for 200,000 images)."""
    digest, labels, shapes = hashlib.sha256(), Counter(), Counter()
    try:
        with lmdbs.reading(path) as transaction:
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
    return Contents(path, sum(labels.values()), next(iter(shapes)), dict(labels), digest.hexdigest())


def _check_geometry(part, transform):
    crop = transform.crop_size
    if min(part.shape[1:]) < crop:
        raise errors.Fail("%s holds images of %dx%d, smaller than the crop of %d: %s" % (part.path, *part.shape[1:], crop, lmdbs.remedy(part.path)))
    if len(transform.mean_value) not in (0, 1, part.shape[0]) or transform.mean_file and transform.mean_value:
        raise errors.Fail("the Data layer of %s needs a mean_file, or one mean_value, or one for each channel" % part.path)
    if transform.mean_file:
        if not os.path.isfile(transform.mean_file):
            raise errors.Fail("%s is not there: %s" % (transform.mean_file, lmdbs.remedy(transform.mean_file)))
        mean = binary.read_mean(transform.mean_file)
        if mean.shape != part.shape:
            raise errors.Fail(
                "%s is %s and the images of %s are %s: they were not made together; %s"
                % (transform.mean_file, "x".join(map(str, mean.shape)), part.path, "x".join(map(str, part.shape)), lmdbs.remedy(part.path))
            )


def describe(solver, net, parts, weights, engine, recipe=None):
    """The inputs as a dict of what must be equal for two runs to be one: readable values, hashes where they are long.

    Version 2: contents alone, no path, so that a run whose folder, data or WORK was moved or built again stays the same run.
    `weights`: path of the weights that the run begins with, or None; `recipe`: more plain values, or None.
    """
    found = {"version": VERSION, "engine": engine, "net": _sha256(text.dumps(_without_paths(net)).encode())}
    for name, part in parts.items():
        found[name] = {"images": part.images, "sha256": part.sha256}
    transform = nets.data_layer(net, m.TRAIN).transform_param
    found["mean"] = mean_sha256(transform.mean_file) if transform.mean_file else list(transform.mean_value)
    found["weights"] = _array_sha256(transplant.copied(weights, net)) if weights else None
    return dict(found, **_settings(solver, recipe))


def describe_as(old, solver, net, parts, weights, engine, recipe=None):
    """The description in the version of `old`, an earlier run's, for the two to be compared; version 2 where there is none.

    Version 1 (until November 2026) held the paths of the LMDBs, a net whose hash holds those of LMDBs and mean, and hashes of
    whole files. The paths are taken from `old`: wherever the same data lie now, the run is the same.
    """
    if not old or "version" in old:
        return describe(solver, net, parts, weights, engine, recipe)
    named = m.NetParameter()
    named.CopyFrom(net)
    found = {"engine": engine}
    for name, part in parts.items():
        first = {"train": "train", "valid": "test"}[name]
        path = old.get(first, {}).get("lmdb", part.path)
        layer = nets.data_layer(named, PHASES[name])
        layer.data_param.source, mean = path, layer.transform_param.mean_file
        if mean and path != part.path:
            layer.transform_param.mean_file = os.path.join(os.path.dirname(path), os.path.basename(mean))
        found[first] = {"lmdb": path, "images": part.images, "sha256": part.sha256}
    found["net"] = _sha256(text.dumps(named).encode())
    transform = nets.data_layer(net, m.TRAIN).transform_param
    found["mean"] = mean_sha256(transform.mean_file, 1) if transform.mean_file else list(transform.mean_value)
    found["weights"] = transplant.origin(weights).sha256 if weights else None
    found.update(_settings(solver, recipe))
    mode = old.get("solver", {}).get("solver_mode")  # a GPU in place of the processor changes last bits, as another engine does
    return found if mode is None else dict(found, solver=dict(found["solver"], solver_mode=mode))


def _settings(solver, recipe):
    """What both versions say alike."""
    fields = {f.name: _plain(getattr(solver, f.name)) for f, _ in solver.ListFields() if f.name not in NO_MATTER}
    return dict({"solver": fields}, **({"recipe": recipe} if recipe else {}))


def _without_paths(net):
    """A copy of `net` that names neither LMDB nor mean: where they lie decides nothing."""
    bare = m.NetParameter()
    bare.CopyFrom(net)
    for layer in bare.layer:
        if layer.type == "Data":
            layer.data_param.ClearField("source")
            layer.transform_param.ClearField("mean_file")
    return bare


def mean_sha256(path: str, version: int = VERSION) -> str:
    """The hash by which a description of that version knows the mean in the file `path`."""
    return files.sha256(path) if version == 1 else _array_sha256({"mean": [binary.read_mean(path)]})


def _sha256(content):
    return hashlib.sha256(content).hexdigest()


def _array_sha256(arrays):
    """One hash of named lists of arrays: names, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        for array in arrays[name]:
            digest.update(("%s %s " % (name, array.shape)).encode() + array.tobytes())
    return digest.hexdigest()


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
            changed.append(
                {"train": "the training data", "test": "the validation data", "valid": "the validation data", "net": "the net"}.get(key, "the " + key)
            )
    return ", ".join(changed)
