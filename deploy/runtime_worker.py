"""One file in one runtime: run by deploy/runtimes.py with the Python of an environment that has little else. Needs NumPy.

    python runtime_worker.py opencv model.onnx crops.npy scores.npy

crops.npy: float32 N x C x S x S, 0 to 255; scores.npy: float32 N x classes. A problem ends it, its name on the last line.
Converters write into the working folder, where deploy/devices.py finds what it keeps.
"""

import os
import subprocess
import sys

import numpy as np


def onnx_runtime(path, crops):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    data = session.get_inputs()[0]
    parts = np.split(crops, len(crops)) if data.shape[0] == 1 else [crops]
    return np.concatenate([session.run(None, {data.name: part})[0] for part in parts])


def opencv(path, crops):
    import cv2

    net, found = cv2.dnn.readNetFromONNX(path), []
    for crop in crops:
        net.setInput(crop[None])
        found.append(net.forward().copy())
    return np.concatenate(found)


def openvino(path, crops):
    import openvino

    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([model(crop[None])[0].copy() for crop in crops])


def pnnx(path, crops):
    from importlib import util

    # The package's Python needs PyTorch, its program does not.
    run(
        [
            os.path.join(os.path.dirname(util.find_spec("pnnx").origin), "pnnx"),
            path,
            "inputshape=[%s]" % ",".join(map(str, (1,) + crops.shape[1:])),
            "fp16=0",
            "ncnnparam=net.param",
            "ncnnbin=net.bin",
        ]
    )
    return ncnn("net.param", crops)


def ncnn(path, crops):
    """`path`: the .param; the .bin lies beside it."""
    import ncnn as runtime

    net = runtime.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    if net.load_param(path) or net.load_model(os.path.splitext(path)[0] + ".bin"):
        raise RuntimeError("ncnn cannot load %s" % os.path.basename(path))
    found = []
    for crop in crops:
        with net.create_extractor() as extractor:
            extractor.input(net.input_names()[0], runtime.Mat(np.ascontiguousarray(crop)))
            found.append(np.array(extractor.extract(net.output_names()[0])[1]).ravel())
    return np.stack(found)


def mnn(path, crops):
    import MNN

    run([os.path.join(os.path.dirname(sys.executable), "mnnconvert"), "-f", "ONNX", "--modelFile", path, "--MNNModel", "net.mnn", "--bizCode", "MNN"])
    net, found = MNN.nn.load_module_from_file("net.mnn", [], []), []
    for crop in crops:
        given = MNN.expr.placeholder((1,) + crops.shape[1:], MNN.expr.NCHW)
        given.write(np.ascontiguousarray(crop[None]))
        found.append(np.array(MNN.expr.convert(net.forward(given), MNN.expr.NCHW).read()).ravel().copy())
    return np.stack(found)


def onnxsim(path, crops):
    import onnx
    import onnxsim as simplifier

    model, same = simplifier.simplify(onnx.load(path), test_input_shapes={onnx.load(path).graph.input[0].name: (1,) + crops.shape[1:]})
    if not same:
        raise RuntimeError("onnxsim says itself that it changed what the model computes")
    onnx.save(model, "net.onnx")
    return onnx_runtime("net.onnx", crops)


def litert(path, crops):
    from ai_edge_litert.interpreter import Interpreter

    net, found = Interpreter(path, num_threads=1), []
    net.allocate_tensors()
    for crop in crops:
        net.set_tensor(net.get_input_details()[0]["index"], np.ascontiguousarray(crop.transpose(1, 2, 0)[None]))
        net.invoke()
        found.append(net.get_tensor(net.get_output_details()[0]["index"])[0])
    return np.stack(found)


def onnx2tf(path, crops, *more, made="float32"):
    run([sys.executable, "-m", "onnx2tf", "-i", path, "-o", "tflite", "-nuo", "-n", *more])  # -nuo: without onnxsim, whose program it finds on PATH alone
    return litert(os.path.join("tflite", "%s_%s.tflite" % (os.path.splitext(os.path.basename(path))[0], made)), crops)


def onnx2tf_int8(path, crops):
    """The same, and int8 calibrated on the crops, whose scores these are."""
    import onnx

    np.save("calibration.npy", np.ascontiguousarray(crops.transpose(0, 2, 3, 1)))
    zeros, ones = ("[[[%s]]]" % ([value] * crops.shape[1]) for value in (0, 1))  # mean and deviation: the file subtracts its mean itself
    return onnx2tf(path, crops, "-oiqt", "-cind", onnx.load(path).graph.input[0].name, "calibration.npy", zeros, ones, made="integer_quant")


def caffe2onnx(path, crops):
    """`path`: the caffemodel; the prototxt lies beside it, `crops` are minus the mean."""
    run([sys.executable, "-m", "caffe2onnx.convert", "--prototxt", os.path.splitext(path)[0] + ".prototxt", "--caffemodel", path, "--onnx", "net.onnx"])
    return onnx_runtime("net.onnx", crops)


def run(command):
    """Run a converter; where it fails, what it said last is the problem."""
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, errors="replace")
    if ran.returncode:
        raise RuntimeError("%s: %s" % (os.path.basename(command[0]), (ran.stdout.strip().splitlines() or ["exit %d" % ran.returncode])[-1]))


if __name__ == "__main__":
    name, model, shown, out = sys.argv[1:]
    np.save(out, globals()[name](model, np.load(shown)))
