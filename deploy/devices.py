"""What the runtimes of devices read, made of an exported network and put beside its files: .tflite for LiteRT, float and int8, and ncnn's pair.

    env/run --export -m deploy.devices models/resnet20_votes --data data/ferplus_votes --python python3.12

onnx2tf and pnnx, each in an environment of its own (deploy/runtimes.py has their versions), convert model_batch1.onnx; int8 is calibrated on the
training images of model_int8.onnx. Every runtime is held against Caffe again, and model.json and the card say so: the folder is replaced
whole or not at all. The same versions make the same bytes. `--int8` makes model_int8.onnx anew instead, of model.onnx: for a network whose run
is not at hand.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile

import onnx

from common import errors, files, parallel
from deploy import card, check, export, quantize, runtimes
from fer_lite import names
from fer_lite import runtimes as onnx_runtimes


def convert(folder, calibration, venvs, by, out):
    """Write the files of check.DEVICES into `out`, from model_batch1.onnx in `folder`. `calibration`: float32 N x C x S x S, 0 to 255; without it no int8.

    `venvs`, `by`: as of runtimes.environment. Fail, with a converter's last line, where it does not install or refuses the net.
    """
    source, stem = os.path.join(folder, names.BATCH1), os.path.splitext(names.BATCH1)[0]
    made = {"onnx2tf": {"tflite/%s_float32.tflite" % stem: names.LITERT}, "pnnx": dict(zip(("net.param", "net.bin"), names.NCNN))}
    shown, worker = check.some_crops(names.facts(folder))[:1] if calibration is None else calibration, {}
    if calibration is not None:
        made["onnx2tf"]["tflite/%s_integer_quant.tflite" % stem], worker["onnx2tf"] = names.LITERT_INT8, "onnx2tf_int8"
    for name, kept in made.items():
        with tempfile.TemporaryDirectory(prefix="fer-lite-") as scratch:
            try:
                python = runtimes.environment(name, venvs, by)
                runtimes.scores(python, worker.get(name, name), source, shown, scratch)
            except errors.Fail as problem:
                raise errors.Fail("%s: %s: %s (a Python 3.12 or later: --python python3.12)" % (source, name, problem)) from None
            for there, file in kept.items():
                shutil.copy(os.path.join(scratch, there), os.path.join(out, file))


def add(folder, data_folder, caffe, venvs, by, int8=False):
    """Add the files to the exported network in `folder`, whole or not at all; return model.json's dict. Arguments as of export.export and `convert`.

    `int8`: make model_int8.onnx anew, and nothing else.
    """
    about = names.facts(folder)
    side, split = about.get("images_resized"), about.get("accuracy", {}).get("split", "valid")
    training = export.part_of(about, data_folder, "train", side, "%s is left out" % names.LITERT_INT8)
    tested = export.part_of(about, data_folder, split, side, "accuracies are not measured")
    if int8 and not training:
        raise errors.Fail("%s has no training images to calibrate int8 on: name the data set's folder with --data" % data_folder)
    calibration = quantize.calibration_crops(training, about["crop"]) if training else None
    remade = (names.INT8,) if int8 else tuple(check.DEVICES)
    with files.replacing(folder) as out:
        shutil.copytree(folder, out, ignore=shutil.ignore_patterns(*remade, *(() if int8 else names.NCNN)))
        if int8:
            ran = {names.INT8: _quantised(folder, about, calibration, os.path.join(out, names.INT8))}
        else:
            convert(folder, calibration, venvs, by, out)
            ran = check.of_devices(out)
            if len(ran) < 2 + bool(training):
                raise errors.Fail("without these runtimes nobody can tell whether the files are right: `env/run --export -m deploy.devices`")
        known = {key: value for key, value in about.get("accuracy", {}).items() if key not in remade}
        if tested:
            known.update(export.accuracies(tested, export.paper_labels(data_folder, split), split, about["crop"])(ran))
        about.update({"accuracy": known} if known else {})
        about["checks"] = check.compare(out, about, caffe, check.some_crops(about, tested))
        print(check.table(about["checks"]))
        check.require(about["checks"], folder)
        with open(os.path.join(out, names.FACTS), "w") as f:
            f.write(json.dumps(about, indent=1) + "\n")
    if os.path.exists(os.path.join(folder, card.README)):
        card.rewrite(os.path.dirname(os.path.abspath(folder)))
    return about


def _quantised(folder, about, calibration, path):
    """Write model_int8.onnx of the model.onnx in `folder` to `path`; its Runtime."""
    made = quantize.int8(onnx.load(os.path.join(folder, names.FLOAT)), calibration)
    onnx.helper.set_model_props(made, export.metadata(about))
    onnx.save(made, path)
    return onnx_runtimes.onnx_runtime(path, threads=parallel.count())


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python -m deploy.devices", description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="an exported network, such as models/resnet20_votes")
    parser.add_argument("--data", default="data/ferplus", help="data set's folder: images for int8 and the accuracies")
    parser.add_argument("--caffe", default="bash env/run python3", help='command that runs Python with Caffe; "" to go without')
    parser.add_argument("--venvs", default=".venv-runtimes", help="folder of the converters' environments")
    parser.add_argument("--python", default=sys.executable, help="what makes them: Python 3.12 or later (default: this one)")
    parser.add_argument("--int8", action="store_true", help="make model_int8.onnx anew instead")
    args = parser.parse_args()
    add(args.folder, args.data, args.caffe, args.venvs, args.python, args.int8)
    print(
        "wrote "
        + ", ".join(
            "%s %.2f MB" % (name, os.path.getsize(os.path.join(args.folder, name)) / 1e6)
            for name in ((names.INT8,) if args.int8 else (names.LITERT, names.LITERT_INT8, *names.NCNN))
            if os.path.exists(os.path.join(args.folder, name))
        )
    )


if __name__ == "__main__":
    main()
