"""What the runtimes of devices read, made of an exported network and put beside its files: .tflite for LiteRT, float and int8, and ncnn's pair.

    env/run --export -m deploy.devices models/resnet20_votes --data data/ferplus_votes --python python3.12

onnx2tf and pnnx, each in an environment of its own (deploy/runtimes.py has their versions), convert model_batch1.onnx; int8 is calibrated on the
training images of model_int8.onnx. Every runtime is held against Caffe again, and model.json and the card say so: the folder is replaced
whole or not at all. The same versions make the same bytes.
"""
import argparse
import json
import os
import shutil
import sys
import tempfile

from common import errors, files
from deploy import card, check, export, quantize, runtimes
from fer_lite import names


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


def add(folder, data_folder, caffe, venvs, by):
    """Add the files to the exported network in `folder`, whole or not at all; return model.json's dict. Arguments as of export.export and `convert`."""
    about = names.facts(folder)
    side, split = about.get("images_resized"), about.get("accuracy", {}).get("split", "valid")
    training = export.part_of(about, data_folder, "train", side, "%s is left out" % names.LITERT_INT8)
    tested = export.part_of(about, data_folder, split, side, "accuracies are not measured")
    with files.replacing(folder) as out:
        shutil.copytree(folder, out, ignore=shutil.ignore_patterns(names.LITERT, names.LITERT_INT8, *names.NCNN))
        convert(folder, quantize.calibration_crops(training, about["crop"]) if training else None, venvs, by, out)
        ran = check.of_devices(out)
        if len(ran) < 2 + bool(training):
            raise errors.Fail("without these runtimes nobody can tell whether the files are right: `env/run --export -m deploy.devices`")
        known = {key: value for key, value in about.get("accuracy", {}).items() if key not in check.DEVICES}
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


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python -m deploy.devices", description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="an exported network, such as models/resnet20_votes")
    parser.add_argument("--data", default="data/ferplus", help="data set's folder: images for int8 and the accuracies")
    parser.add_argument("--caffe", default="bash env/run python3", help='command that runs Python with Caffe; "" to go without')
    parser.add_argument("--venvs", default=".venv-runtimes", help="folder of the converters' environments")
    parser.add_argument("--python", default=sys.executable, help="what makes them: Python 3.12 or later (default: this one)")
    args = parser.parse_args()
    add(args.folder, args.data, args.caffe, args.venvs, args.python)
    print("wrote " + ", ".join("%s %.2f MB" % (name, os.path.getsize(os.path.join(args.folder, name)) / 1e6)
                               for name in (names.LITERT, names.LITERT_INT8, *names.NCNN) if os.path.exists(os.path.join(args.folder, name))))


if __name__ == "__main__":
    main()
