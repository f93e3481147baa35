"""Test a network with the paper's ten crops (III-D): scores of every image of a part, and what they amount to.

    python3 -m evaluation.test --deploy prototxt/resnet20_ferplus_deploy.prototxt \\
        --weights runs/resnet20_ferplus_from_cifar10/trial1/final.caffemodel --data data/ferplus --split valid --out RUN

Writes RUN/scores_valid.npz (common/scores.py) and RUN/metrics_valid.json.
"""

import argparse
import contextlib
import json
import os
import sys
import time

import numpy as np

import engines
from common import built, errors, files, progress, streams
from common import runs as kept_runs
from common import scores as scores_file
from common.caffe import lmdbs
from evaluation import data, metrics
from evaluation.report.show import table
from fer_lite import names
from netgen import nets, weights
from paper import facts

IMAGES_AT_ONCE = 50  # read and handed to a process together


def score(test, part, split, classes):
    """Scores of every image of a data.Part, once, in key order. `test`: what nets.tester yields."""
    keys, labels, ten, one, blank = [], [], [], [], 0
    with progress.Progress("testing", part.count) as bar:
        for batch, (ten_crop, one_crop) in test(data.batches(part, IMAGES_AT_ONCE)):
            keys += batch.keys
            labels.append(batch.labels)
            ten.append(ten_crop)
            one.append(one_crop)
            blank += data.blank(batch.images)
            bar.add(len(batch.keys))
            _refuse_blank(part, blank, len(keys))
    if blank:
        print("warning: %d of the %d images in %s are blank" % (blank, len(keys), part.folder), file=sys.stderr)
    called = [part.names.get(key, "") for key in keys]
    return scores_file.Scores(np.array(keys), np.array(called), np.concatenate(labels), np.concatenate(ten), np.concatenate(one), np.array(classes), split)


def _refuse_blank(part, blank, seen):
    """Fail when all images so far are blank: some copies of FER2013 withhold the pixels of PrivateTest."""
    if blank == seen:
        raise errors.Fail(
            "the images in %s are blank (this copy of the data withholds their pixels): test on another part, "
            "SPLIT=valid, or get the complete file, remove %s and %s" % (part.folder, os.path.dirname(part.folder), lmdbs.remedy(part.folder))
        )


def inputs(deploy, weights_path, data_folder, split, engine, folded, mean=None, scale=1.0, side=None):
    """What decides a result, by content; None where data_prep's manifest is not there to say what the data are. Arguments as those of `run`."""
    with contextlib.suppress(errors.Fail, KeyError):
        manifest = built.manifest(data_folder)
        return {
            "deploy_sha256": files.sha256(deploy),
            "weights_sha256": files.sha256(weights_path),
            "engine": engine,
            "folded": folded,
            "data": [manifest["parts"][split][what] for what in ("pixels_sha256", "table_sha256")] + manifest["mean"],
            **({"shown": [None if mean is None else mean.tolist(), scale, side]} if mean is not None or scale != 1 or side else {}),
        }
    return None


def is_same(path, found):
    """Whether the metrics at `path` and the scores beside them are there, made from the inputs `found`."""
    with contextlib.suppress(OSError, ValueError, KeyError), open(path) as f:
        beside = os.path.join(os.path.dirname(path), os.path.basename(path).replace("metrics_", "scores_").replace(".json", ".npz"))
        return found is not None and json.load(f)["made_from"]["inputs"] == found and os.path.exists(beside)
    return False


def run(deploy, weights_path, data_folder, split, out, folded=True, workers=None, gpu=None, engine="caffe", mean=None, scale=1.0, side=None):
    """Test one network; write its scores and metrics in the folder `out`; return the metrics (dict).

    `mean`, `scale`: what is subtracted from a pixel (1 or C numbers; default: the data set's mean), and what it is then multiplied by;
    `side`: images are resized to it before they are cropped.
    """
    net = nets.read_deploy(deploy)
    if not os.path.exists(weights_path):
        raise errors.Fail("there are no weights %s: train them with `make finetune` (or `make pretrain`)" % weights_path)
    model = weights.load(weights_path, net)
    part = data.open_part(data_folder, split, nets.input_shape(net), mean, side)
    data.check_labels(part, nets.output_shape(net)[0], net.name)
    notes(net, weights_path, part, mean)
    ready = nets.with_softmax(nets.scaled(net, scale))
    start = time.time()
    with engines.scorer(engine, ready, model, part.mean, folded, workers, gpu) as test:
        scores = score(test, part, split, nets.class_names(net))
    seconds = time.time() - start
    scores_file.write(os.path.join(out, "scores_%s.npz" % split), scores)
    summary = metrics.summary(scores)
    summary["made_from"] = {
        "net": net.name,
        "deploy": deploy,
        "weights": weights_path,
        "weights_sha256": files.sha256(weights_path),
        "inputs": inputs(deploy, weights_path, data_folder, split, engine, folded, mean, scale, side),
        "lmdb": part.folder,
        "crops": facts.CROPS,
        "engine": engine,
        "folded": folded,
        "images_per_second": round(len(scores.labels) / seconds, 1),
    }
    if mean is not None or scale != 1 or side or part.shown != part.shape:
        summary["made_from"].update(mean=[float(x) for x in part.mean.mean(axis=(1, 2))], scale=scale, shown="x".join(map(str, part.shown)))
    with files.replacing(os.path.join(out, "metrics_%s.json" % split)) as temporary, open(temporary, "w") as f:
        json.dump(summary, f, indent=1)
        f.write("\n")
    return summary


def as_exported(weights_path, lmdb):
    """(mean, scale, side) of an exported network (model.json lies beside its weights) where the LMDB's images are of another size than it takes.

    (None, 1, None), the data set's own, everywhere else: a network that was made for 36x36 would see half a face in crops of 48x48.
    """
    beside = os.path.dirname(weights_path)
    about = names.facts(beside) if os.path.exists(os.path.join(beside, names.FACTS)) and os.path.exists(lmdb) else {}
    if not about.get("resize") or about["resize"] == lmdbs.first(lmdb)[1][1]:
        return None, 1.0, None
    print("note: the mean subtracted is the network's own, as %s says" % os.path.join(beside, names.FACTS), file=sys.stderr)
    return np.array(about["mean"], np.float32), about.get("scale", 1.0), about["resize"]


def notes(net, weights_path, part, mean):
    """Say what is not to be seen, and may be other than the network's owner expects."""
    said = []
    beside = os.path.dirname(weights_path)
    if mean is None and not kept_runs.read(beside) and not os.path.exists(os.path.join(beside, names.FACTS)):
        said.append(
            "the mean subtracted is that of %s (%s); for the network's own give --mean"
            % (os.path.dirname(part.folder), " ".join("%.4g" % x for x in part.mean.mean(axis=(1, 2))))
        )
    if part.shown != part.shape:
        said.append("images of %s are shown as %s" % tuple("x".join(map(str, shape)) for shape in (part.shape, part.shown)))
    if net.layer[-1].type != "Softmax":
        said.append("%s ends in %s: probabilities are the softmax of its scores" % (net.name, net.layer[-1].type))
    for layer in net.layer:
        p = layer.batch_norm_param
        if layer.type == "BatchNorm" and p.HasField("use_global_stats") and not p.use_global_stats:
            said.append("layer %s has use_global_stats: false: as in Caffe, an image's scores depend on the others of its batch" % layer.name)
            break
    for each in said:
        print("note: " + each, file=sys.stderr)


@errors.main
@streams.unfailing()
def main():
    parser = argparse.ArgumentParser(prog="python3 -m evaluation.test", description=__doc__.splitlines()[0])
    parser.add_argument("--deploy", required=True, help="deploy prototxt")
    parser.add_argument("--weights", required=True, help="caffemodel")
    parser.add_argument("--data", default="data/ferplus", help="folder with SPLIT_lmdb and mean.binaryproto")
    parser.add_argument("--split", default="test", help="test (PrivateTest, the paper's) or valid (PublicTest)")
    parser.add_argument("--out", help="folder for the scores (default: the weights' folder)")
    data.add_options(parser)
    parser.add_argument("--unfolded", action="store_true", help="keep BatchNorm and Scale as layers")
    parser.add_argument("--workers", type=int, help="processes (default: THREADS or one for each core)")
    parser.add_argument("--engine", choices=engines.NAMES, default="caffe")
    parser.add_argument("--gpu", type=int, help="GPU to use, with a Caffe built for it")
    parser.add_argument("--if-changed", action="store_true", help="leave a result of the same network and data as it is")
    args = parser.parse_args()
    shown = data.own_mean(args.mean), args.scale, args.resize
    if not args.mean and shown[1:] == (1, None):
        shown = as_exported(args.weights, os.path.join(args.data, args.split + "_lmdb"))
    out = args.out or os.path.dirname(args.weights) or "."
    made = os.path.join(out, "metrics_%s.json" % args.split)
    if (
        args.if_changed
        and os.path.exists(made)
        and is_same(made, inputs(args.deploy, args.weights, args.data, args.split, args.engine, not args.unfolded, *shown))
    ):
        os.utime(made)  # make goes by times, and found something newer
        print("%s stands: nothing that it was made from has changed" % made, file=sys.stderr)
        return
    summary = run(args.deploy, args.weights, args.data, args.split, out, not args.unfolded, args.workers, args.gpu, args.engine, *shown)
    print(table(summary))
    print("\nwrote %s" % os.path.join(out, "{scores_%s.npz,metrics_%s.json}" % (args.split, args.split)))


if __name__ == "__main__":
    main()
