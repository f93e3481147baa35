"""Export a trained network: Caffe's files, folded and not, and ONNX, float and int8; every file checked against Caffe.

    python -m deploy.export runs/resnet20_ferplus_from_cifar10/trial1/final.caffemodel --out exports/resnet20_cifar10
    python -m deploy.export their.caffemodel --deploy their.prototxt --mean 129.1 --scale 0.00390625 --data data/theirs

Writes deploy.prototxt, net.caffemodel, folded.prototxt, folded.caffemodel (BatchNorm and Scale in the convolutions), model.onnx (any
batch), model_batch1.onnx, model_int8.onnx (where there are training images) and model.json, or nothing at all: each is run
in Caffe, OpenCV's two importers and ONNX Runtime on the same crops, and the scores must agree.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
from collections.abc import Callable

import cv2
import numpy as np
import onnx
import onnxruntime

from common import built, errors, files, parallel
from common.caffe import binary, lmdbs, text
from common.caffe import messages as m
from common.progress import Progress
from common.votes import NONE, by_votes
from deploy import check, onnx_net, quantize
from evaluation import data
from fer_lite import crops, names, runtimes
from netgen import fold, nets, weights
from paper import facts, ours
from training import inputs

KINDS = {1: "grey, 0 to 255", 3: "%s, 0 to 255; a grey face is repeated on the three channels" % ours.COLOUR_ORDER}  # channels -> input
AT_ONCE = 50  # images


def find(model):
    """The caffemodel that MODEL means: a file, a run's or network's folder, or a name in models/."""
    for place in (model, os.path.join("models", model)):
        for path in (place, *(os.path.join(place, name) for name in ("final.caffemodel", names.CAFFE[0][1]))):
            if os.path.isfile(path):
                return path
    raise errors.Fail(
        "there is no network %s: MODEL is a .caffemodel, a folder that holds one, or one of models/ (%s)"
        % (model, ", ".join(sorted(os.path.basename(os.path.dirname(p)) for p in glob.glob("models/*/model.json"))) or "empty")
    )


def deploy_net(path, model, prototxts):
    """The deploy net (NetParameter) among `prototxts` whose blobs the caffemodel has; of several the one of its name. Fail where none has."""
    final = [layer.name for layer in model.layer if layer.blobs][-1:]
    refusals = []
    for net in sorted(map(nets.read_deploy, prototxts), key=lambda net: net.name != model.name):
        try:
            weights.check(model, net, path)
            return net
        except errors.Fail as refusal:
            if final and final[0] in [layer.name for layer in net.layer]:
                refusals.insert(0, refusal)
            else:
                refusals.append(refusal)
    if refusals and (not final or len(prototxts) == 1):
        raise refusals[0]
    raise errors.Fail(
        "%s (final layer %s) fits no deploy net of prototxt/: name its own with DEPLOY=its.prototxt (--deploy)" % (path, final[0] if final else "none")
    )


def mean_value(path, data_folder, channels=3):
    """The mean that the network was trained with: float32 C, from model.json beside it, else the data set's.

    Fail where there is none, or the run of this caffemodel was made with another.
    """
    beside = os.path.dirname(path)
    if os.path.exists(os.path.join(beside, names.FACTS)):
        return np.array(names.facts(beside)["mean"], np.float32)
    mean_file = os.path.join(data_folder, "mean.binaryproto")
    if not os.path.exists(mean_file):
        raise errors.Fail(
            "there is no %s, the mean that %s was trained with: run `%s`, name the folder with DATA=, or give the mean with MEAN="
            % (mean_file, path, "make data SRC=ferplus")
        )
    record = run_record(path)
    made_from = record.get("inputs", {})
    if made_from.get("mean") and made_from["mean"] != inputs.mean_sha256(mean_file, made_from.get("version", 1)):
        raise errors.Fail("%s is not the mean that %s was trained with (run.json): name that data set's folder with DATA=" % (mean_file, path))
    planes = binary.read_mean(mean_file)
    values = planes.mean(axis=(1, 2))
    if np.ptp(planes, axis=(1, 2)).any():
        raise errors.Fail(
            "%s is no mean value a channel but a picture, which no ten crops can share: build it with `%s`, or give its averages, "
            "MEAN='%s'" % (mean_file, "make data SRC=ferplus", " ".join("%.4g" % value for value in values))
        )
    values = planes[:, 0, 0]
    if len(values) != channels:
        if channels == 3 == 3 * len(values) or len(set(values)) == 1:
            values = np.repeat(values[:1], channels)
        else:
            raise errors.Fail("%s is a mean of colour, %s takes grey: give its own with MEAN=" % (mean_file, path))
    if not record:
        print("note: the mean subtracted is that of %s (%s); give the network's own with MEAN=" % (data_folder, " ".join("%.4g" % value for value in values)))
    return values


def run_record(path):
    """What run.json beside a caffemodel says of its training, {} where there is none."""
    try:
        with open(os.path.join(os.path.dirname(path), "run.json")) as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def shown_path(path):
    """A path as a model card may show it: from here on where it lies here, else its last three parts."""
    inside = os.path.relpath(path)
    return inside if not inside.startswith("..") else os.path.join("...", *os.path.abspath(path).split(os.sep)[-3:])


def describe(path: str, net: m.NetParameter, mean: np.ndarray, name: str, scale: float = 1.0, side: int | None = None) -> dict:
    """The beginnings of model.json. `scale`, `side`: as of `export`."""
    run, (channels, size, _) = run_record(path), nets.input_shape(net)
    last, classes = run.get("sessions", [{}])[-1], nets.class_names(net)
    return {
        "name": name,
        "net": net.name,
        "classes": classes,
        "input": "float32, N x %d x %d x %d, %s" % (channels, size, size, KINDS[channels]),
        **({"output": "logits"} if net.layer[-1].type != "Softmax" else {}),
        "colour_order": ours.COLOUR_ORDER,
        "crop": size,
        "mean": [round(float(value), 6) for value in mean],
        **({"scale": scale} if scale != 1 else {}),
        "crops": facts.CROPS if size < facts.RESIZE else 1,  # shown of a face unless asked otherwise
        **({"resize": max(facts.RESIZE, size)} if tuple(classes) == facts.EXPRESSIONS else {}),  # CIFAR's are padded instead
        **({"images_resized": side} if side else {}),
        "source": {
            "caffemodel": shown_path(path),
            "sha256": files.sha256(path),
            "engine": run.get("inputs", {}).get("engine"),
            "git_commit": last.get("git_commit"),
            "iterations": run.get("iteration"),
        },
    }


def metadata(about):
    """model.json's facts as ONNX metadata: strings, lists and numbers as JSON."""
    kept = {key: about[key] for key in about if key not in ("checks", "versions")}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in kept.items()}


def write(
    path: str, net: m.NetParameter, model: m.NetParameter, about: dict, folder: str, calibration: np.ndarray | None = None, test: Callable | None = None
) -> None:
    """Write the network's files in `folder`; `about` (model.json's dict) gains the accuracies that `test` finds."""
    mean = np.array(about["mean"], np.float32)
    folded = fold.fold(net, model)
    header = "%s\nInput: %s, %s, minus the mean %s." % (
        net.name,
        net.layer[0].top[0],
        about["input"].replace("N x", "%d x" % net.layer[0].input_param.shape[0].dim[0]),
        " ".join(map(str, about["mean"])),
    )
    for (prototxt, caffemodel), (some_net, some_model) in zip(names.CAFFE, ((net, _only_blobs(net, model)), folded)):
        text.write(os.path.join(folder, prototxt), some_net, header)
        binary.write(os.path.join(folder, caffemodel), some_model)
    made = {names.FLOAT: onnx_net.build(*folded, mean, {})}
    if calibration is not None:
        made[names.INT8] = quantize.int8(made[names.FLOAT], calibration)
    for name, onnx_model in made.items():
        onnx.save(onnx_model, os.path.join(folder, name))
    if test:
        about["accuracy"] = test({name: runtimes.onnx_runtime(os.path.join(folder, name), threads=parallel.count()) for name in made})
    made[names.BATCH1] = onnx_net.build(*folded, mean, {}, batch=1)
    for name, onnx_model in made.items():
        onnx.helper.set_model_props(onnx_model, metadata(about))
        onnx.save(onnx_model, os.path.join(folder, name))


def _only_blobs(net, model):
    """The caffemodel with the deploy net's layers alone: what Caffe's solver stored has data layers and losses too."""
    blobs = {layer.name: layer.blobs for layer in model.layer}
    kept = m.NetParameter()
    kept.CopyFrom(net)
    for layer in kept.layer:
        layer.blobs.extend(blobs.get(layer.name, ()))
    return kept


def accuracies(part, labels, split, size):
    """A function: {file: its Runtime} -> how many images of a data.Part each classifies right, as model.json has it.

    Of FER+'s votes (data/ferplus_votes) the images and `labels` of the paper's rule are counted, as for the other networks.
    """

    def test(ran):
        right, seen, count = {name: np.zeros(2, int) for name in ran}, 0, part.count if labels is None else int((labels != NONE).sum())
        with Progress("testing on %s" % split, part.count) as bar:
            for batch in data.batches(part, AT_ONCE):
                if not data.blank(batch.images) < len(batch.images):
                    raise errors.Fail("the images in %s are blank (this copy of the data withholds their pixels): SPLIT=valid" % part.folder)
                wanted = batch.labels if labels is None else labels[seen : seen + len(batch.labels)]
                for name, runtime in ran.items():
                    found = crops.ten_crop_mean(runtime, batch.images, np.float32(0), size)
                    right[name] += [(scores.argmax(axis=1) == wanted).sum() for scores in found]
                seen += len(batch.images)
                bar.add(len(batch.images))
        return dict(
            split=split,
            n=count,
            **{name: {"ten_crops": round(float(ten / count), 6), "one_crop": round(float(one / count), 6)} for name, (ten, one) in right.items()},
        )

    return test


def paper_labels(folder, split):
    """Labels by the paper's rule, int N, NONE where it leaves an image out, of a set that holds FER+'s votes; None of any other."""
    if not (os.path.exists(os.path.join(folder, "manifest.json")) and built.manifest(folder)["set"] == "ferplus_votes"):
        return None
    return by_votes("paper", built.votes(folder, split, built.table(folder, split)))


def part_of(about, folder, split, side, what):
    """The data.Part to use with a network, or None, with a line that says `what` is left out and why. `side`: as of `export`."""
    try:
        if not os.path.isfile(os.path.join(folder, split + "_lmdb", "data.mdb")):
            raise errors.Fail("no %s/%s_lmdb" % (folder, split))
        part = data.open_part(folder, split, (len(about["mean"]), about["crop"], about["crop"]), np.array(about["mean"], np.float32), side)
        if paper_labels(folder, split) is None:
            data.check_labels(part, len(about["classes"]), about["net"])
        return part
    except lmdbs.Damaged:
        raise
    except errors.Fail as reason:
        print("%s: %s" % (what, reason))
        return None


def export(
    path,
    out,
    data_folder,
    split="valid",
    caffe="bash env/run python3",
    prototxts=None,
    name=None,
    more={},
    extra=None,
    temperature=1.0,
    mean=None,
    scale=1.0,
    side=None,
    logits=False,
):
    """Export the caffemodel at `path` to the folder `out`, whole or not at all; return model.json's dict.

    `data_folder`: where train_lmdb (int8) and SPLIT_lmdb (what it costs) lie, neither needed; `caffe`: the command that runs
    Python with Caffe, "" to go without that check; `more`: further entries of model.json; `extra`: a function from that dict
    to {name: text} of further files; `temperature`: the final layer is divided by it (evaluation/temperature.py);
    `mean` (1 or C numbers), `scale`, `side`: of a foreign net, as of evaluation.test.run; `logits`: without a softmax of ours.
    """
    if os.path.exists(out) and not os.path.exists(os.path.join(out, names.FACTS)) and not (os.path.isdir(out) and not os.listdir(out)):
        raise errors.Fail("%s is there and no exported network: choose another OUT=" % out)
    model = binary.read(path, m.NetParameter)
    net = deploy_net(path, model, prototxts or _own_prototxt(path) or sorted(glob.glob("prototxt/*_deploy.prototxt")))
    channels = nets.input_shape(net)[0]
    if mean is not None and len(mean) not in (1, channels):
        raise errors.Fail("MEAN= has %d numbers, %s takes %d channels: give one, or one for each (blue, green, red)" % (len(mean), net.name, channels))
    mean = mean_value(path, data_folder, channels) if mean is None else np.resize(mean, channels)
    if not logits and net.layer[-1].type != "Softmax":
        print("note: %s ends in %s: a Softmax is added, so that its files give probabilities (LOGITS=1 leaves it out)" % (net.name, net.layer[-1].type))
    net = nets.scaled(net if logits else nets.with_softmax(net), scale)
    about = describe(path, net, mean, name or os.path.basename(os.path.normpath(out)), scale, side)
    if temperature != 1:
        model, about["temperature"] = fold.tempered(net, model, temperature), temperature
    training = part_of(about, data_folder, "train", side, "%s is left out" % names.INT8)
    tested = part_of(about, data_folder, split, side, "accuracies are not measured")
    calibration = quantize.calibration_crops(training, about["crop"]) if training else None
    test = accuracies(tested, paper_labels(data_folder, split), split, about["crop"]) if tested else None
    with files.replacing(out) as folder:
        os.makedirs(folder)
        write(path, net, model, about, folder, calibration, test)
        about["checks"] = check.compare(folder, about, caffe, check.some_crops(about, tested))
        if prototxts:
            check.set_aside(about["checks"])
        print(check.table(about["checks"]))
        check.require(about["checks"], path)
        about["versions"] = {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__, "opencv": cv2.__version__, "opset": onnx_net.OPSET}
        about.update(more)
        texts = {names.FACTS: json.dumps(about, indent=1) + "\n", **(extra(about) if extra else {})}
        for file, content in texts.items():
            with open(os.path.join(folder, file), "w") as f:
                f.write(content)
    return about


def _own_prototxt(path):
    beside = os.path.join(os.path.dirname(path), names.CAFFE[0][0])
    return [beside] if os.path.exists(beside) else None


def report(about, out):
    """What `make export` prints at the end."""
    lines = []
    if "accuracy" in about:
        a = about["accuracy"]
        for name, kind in ((names.FLOAT, "float"), (names.INT8, "int8")):
            if name in a:
                lines.append(
                    "%-6s ten crops %.2f%%, one crop %.2f%%   (%s, n = %d)" % (kind, 100 * a[name]["ten_crops"], 100 * a[name]["one_crop"], a["split"], a["n"])
                )
    sizes = ["%s %.2f MB" % (name, os.path.getsize(os.path.join(out, name)) / 1e6) for name in sorted(os.listdir(out))]
    return "\n".join(lines + ["wrote %s: %s" % (out, ", ".join(sizes))])


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python -m deploy.export", description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a caffemodel, a folder that holds one, or a name in models/")
    parser.add_argument("--out", help="folder (default: exports/ and the model's name)")
    parser.add_argument("--deploy", help="its deploy prototxt (default: the one of prototxt/ that fits)")
    parser.add_argument("--data", default="data/ferplus", help="data set's folder: mean, images for int8 and its accuracy")
    data.add_options(parser)
    parser.add_argument("--logits", action="store_true", help="the scores as the net gives them, without a softmax of ours")
    parser.add_argument("--split", default="valid", help="part on which accuracies are measured")
    parser.add_argument("--caffe", default="bash env/run python3", help='command that runs Python with Caffe; "" to go without')
    parser.add_argument("--temperature", type=float, default=1.0, help="divide the final layer by it (`python3 -m evaluation.temperature` fits it)")
    args = parser.parse_args()
    path = find(args.model)
    out = args.out or os.path.join("exports", default_name(path))
    about = export(
        path,
        out,
        args.data,
        args.split,
        args.caffe,
        [args.deploy] if args.deploy else None,
        temperature=args.temperature,
        mean=data.own_mean(args.mean),
        scale=args.scale,
        side=args.resize,
        logits=args.logits,
    )
    print(report(about, out))


def default_name(path):
    """A name for an export: runs/torch/resnet20_ferplus_from_cifar10/trial1/final.caffemodel -> resnet20_ferplus_from_cifar10_trial1."""
    parts = os.path.abspath(path).split(os.sep)[-3:]
    if os.path.basename(path) not in ("final.caffemodel", names.CAFFE[0][1]):
        return os.path.splitext(parts[-1])[0]
    return "_".join(parts[:2]) if parts[1].startswith("trial") else parts[1]


if __name__ == "__main__":
    main()
