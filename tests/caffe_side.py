"""Caffe's side of test_torch_parity.py: what real Caffe computes, written to FOLDER for the PyTorch engine to be held against.

env/run python3 tests/caffe_side.py FOLDER               everything that needs no PyTorch
env/run python3 tests/caffe_side.py FOLDER --continue    go on from the snapshot that the PyTorch engine left there
"""

import os
import sys

import numpy as np

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]

import evaluation_data
from google.protobuf import text_format

from common.caffe import binary, text
from common.caffe import messages as m
from netgen import resnet

SHAPE = (4, 6, 9, 7)
BATCH, IMAGES, ITERATIONS, HALF = 8, 60, 100, 50
NUDGE = 1e-7  # float32's own precision
GAUSS = 'weight_filler { type: "gaussian" std: 0.3 } bias_filler { type: "constant" value: 0.1 }'
FOUR = 'bottom: "a" top: "x" '
# Name -> layers between the inputs a, b (SHAPE), scores (7 x 5), label (7) and the top x.
CASES = {
    "convolution": FOUR + 'type: "Convolution" convolution_param { num_output: 5 kernel_size: 3 pad: 1 stride: 2 %s }' % GAUSS,
    "convolution, oblong": FOUR + 'type: "Convolution" convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 stride_h: 2 '
    "stride_w: 1 pad_h: 0 pad_w: 1 bias_term: false %s }" % GAUSS,
    "convolution, groups": FOUR + 'type: "Convolution" convolution_param { num_output: 6 group: 3 kernel_size: 3 dilation: 2 %s }' % GAUSS,
    "projection": FOUR + 'type: "Convolution" convolution_param { num_output: 8 kernel_size: 2 stride: 2 bias_term: false %s }' % GAUSS,
    "batch norm": FOUR + 'type: "BatchNorm"',
    "batch norm, eps": FOUR + 'type: "BatchNorm" batch_norm_param { eps: 0.01 moving_average_fraction: 0.9 }',
    "batch norm, stored": FOUR + 'type: "BatchNorm" batch_norm_param { use_global_stats: true }',
    "scale": FOUR + 'type: "Scale" scale_param { bias_term: true }',
    "scale, no bias": FOUR + 'type: "Scale"',
    "norm, scale, relu in place": FOUR + 'type: "BatchNorm" } layer { name: "s" type: "Scale" bottom: "x" top: "x" scale_param '
    '{ bias_term: true } } layer { name: "r" type: "ReLU" bottom: "x" top: "x"',
    "relu": FOUR + 'type: "ReLU"',
    "relu, leaking": FOUR + 'type: "ReLU" relu_param { negative_slope: 0.1 }',
    "sum": 'bottom: "a" bottom: "b" top: "x" type: "Eltwise"',
    "sum, weighted": 'bottom: "a" bottom: "b" top: "x" type: "Eltwise" eltwise_param { operation: SUM coeff: 1 coeff: -0.5 }',
    "max pooling, rounded up": FOUR + 'type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }',
    "max pooling, padded": FOUR + 'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 pad: 1 }',
    "average pooling, rounded up": FOUR + 'type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 }',
    "average pooling, padded": FOUR + 'type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }',
    "max pooling, rounded down": FOUR + 'type: "Pooling" pooling_param { kernel_size: 1 stride: 2 round_mode: FLOOR }',
    "global average": FOUR + 'type: "Pooling" pooling_param { pool: AVE global_pooling: true }',
    "global maximum": FOUR + 'type: "Pooling" pooling_param { pool: MAX global_pooling: true }',
    "inner product": FOUR + 'type: "InnerProduct" inner_product_param { num_output: 5 %s }' % GAUSS,
    "concat": 'bottom: "a" bottom: "b" top: "x" type: "Concat"',
    "power": FOUR + 'type: "Power" power_param { scale: 0.5 shift: 2 }',
    "power of three": FOUR + 'type: "Power" power_param { scale: 0.5 power: 3 }',
    "softmax": 'bottom: "scores" top: "x" type: "Softmax"',
    "loss": 'bottom: "scores" bottom: "label" top: "x" type: "SoftmaxWithLoss"',
    "accuracy": 'bottom: "scores" bottom: "label" top: "x" type: "Accuracy"',
    "accuracy, top 3": 'bottom: "scores" bottom: "label" top: "x" type: "Accuracy" accuracy_param { top_k: 3 }',
}
FORMS = {"resnet8": {"shortcut": "identity"}, "resnet8_branches": {"branches": True, "binomial": True}}  # ResNet-8 in other forms than the paper's
NETS = ("small", *FORMS, "resnet20", "resnet32")
SOLVERS = {  # on the small net, one each of the policies
    "sgd fixed": 'type: "SGD" lr_policy: "fixed" base_lr: 0.02',
    "sgd step": 'type: "SGD" lr_policy: "step" stepsize: 30 gamma: 0.5 base_lr: 0.02',
    "nesterov multistep": 'type: "Nesterov" lr_policy: "multistep" stepvalue: 40 stepvalue: 70 gamma: 0.1 base_lr: 0.05',
    "nesterov poly": 'type: "Nesterov" lr_policy: "poly" power: 0.9 base_lr: 0.05',
}
SMALL = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 3 bias_term: false weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" param { lr_mult: 0.5 }
  param { lr_mult: 2 decay_mult: 0 } inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label" top: "accuracy" include { phase: TEST } }
"""


def inputs():
    """Top -> array of what the cases begin with; two scores are equal, for accuracy."""
    draw = np.random.RandomState(3)
    scores = draw.randn(7, 5).astype(np.float32)
    scores[0, 1:3] = scores[0].max() + 1
    label = draw.randint(0, 5, 7)
    label[0] = 1
    return {"a": draw.randn(*SHAPE).astype(np.float32), "b": draw.randn(*SHAPE).astype(np.float32), "scores": scores, "label": label}


def case_net(name):
    """The net of a case, without inputs (a NetParameter)."""
    return text_format.Parse('name: "case" layer { name: "x" %s }' % CASES[name], m.NetParameter())


def case_files(folder, name):
    """The path of a case's net and of its results, without ending."""
    return os.path.join(folder, name.replace(",", "").replace(" ", "_"))


def write_lmdb(folder, name, count, side, classes, seed):
    images, labels, mean = evaluation_data.write_part(folder, name, count, side, seed, classes)
    mean = mean + np.random.RandomState(seed).randn(*mean.shape).astype(np.float32)  # another number at each pixel
    binary.write_mean(os.path.join(folder, "mean.binaryproto"), mean)


def data_layers(folder, crop):
    """A NetParameter that begins with the Data layers of both phases."""
    net = m.NetParameter(name="small")
    for phase, part, extra in ((m.TRAIN, "train", 1), (m.TEST, "valid", 0.5)):
        layer = net.layer.add(name="data", type="Data", top=["data", "label"])
        layer.include.add(phase=phase)
        layer.transform_param.crop_size, layer.transform_param.mean_file = crop, folder + "/mean.binaryproto"
        layer.transform_param.scale = extra
        layer.data_param.source, layer.data_param.batch_size = "%s/%s_lmdb" % (folder, part), BATCH
        layer.data_param.backend = m.DataParameter.LMDB
    return net


def write_nets(folder):
    """LMDBs, train nets, solvers: everything that both engines read. TRAIN images have the crop's size: no random crops."""
    small, faces = os.path.join(folder, "small"), os.path.join(folder, "faces")
    for data, side in ((small, 10), (faces, 32)):
        write_lmdb(data, "train", IMAGES, side, 5, 1)
    write_lmdb(small, "valid", IMAGES, 10, 5, 2)
    evaluation_data.write_part(faces, "valid", IMAGES, 32, 2, 5)
    net = data_layers(small, 10)
    net.MergeFrom(text_format.Parse(SMALL, m.NetParameter()))
    text.write(folder + "/small.prototxt", net)
    for depth in (20, 32):
        net = resnet.train_net(depth, "ferplus", 5, faces + "/train_lmdb", faces + "/valid_lmdb", faces + "/mean.binaryproto", BATCH, BATCH)
        text.write("%s/resnet%d.prototxt" % (folder, depth), net)
    for name, form in FORMS.items():
        net = resnet.train_net(8, "ferplus", 5, faces + "/train_lmdb", faces + "/valid_lmdb", faces + "/mean.binaryproto", BATCH, BATCH, **form)
        text.write("%s/%s.prototxt" % (folder, name), net)
    for name, fields in list(SOLVERS.items()) + [("resnet20", SOLVERS["nesterov multistep"].replace("0.05", "0.001"))]:
        solver = text_format.Parse(fields, m.SolverParameter())
        solver.net = folder + ("/resnet20.prototxt" if name == "resnet20" else "/small.prototxt")
        solver.momentum, solver.weight_decay, solver.max_iter, solver.random_seed = 0.9, 0.01, ITERATIONS, 1
        solver.test_iter.append(2)
        solver.test_interval, solver.test_initialization = 1000, False
        solver.snapshot_prefix, solver.snapshot_after_train = case_files(folder, name), False
        solver.solver_mode = m.SolverParameter.CPU
        text.write(case_files(folder, name) + "_solver.prototxt", solver)


def run_case(folder, name, phase):
    """Top, gradients and blobs of a case in a phase -> PATH.npz."""
    import caffe

    net = case_net(name)
    used = {bottom for layer in net.layer for bottom in layer.bottom} & set(inputs())
    whole = m.NetParameter(name="case", force_backward=True)
    for bottom in sorted(used):
        whole.layer.add(name=bottom, type="Input", top=[bottom]).input_param.shape.add(dim=inputs()[bottom].shape)
    whole.layer.extend(net.layer)
    path = "%s_%d" % (case_files(folder, name), phase)
    text.write(path + ".prototxt", whole)
    made, draw, found = caffe.Net(path + ".prototxt", phase), np.random.RandomState(5), {}
    for layer in net.layer:
        for i, blob in enumerate(made.params.get(layer.name, [])):
            blob.data[...] = draw.uniform(0.5, 2, blob.data.shape) * (3 if layer.type == "BatchNorm" and i == 2 else 1)
            found["blob_%s_%d" % (layer.name, i)] = blob.data.copy()
    for bottom in used:
        made.blobs[bottom].data[...] = inputs()[bottom]
    made.forward()
    found["x"] = made.blobs["x"].data.copy()
    for layer in net.layer:
        for i, blob in enumerate(made.params.get(layer.name, [])):
            found["after_%s_%d" % (layer.name, i)] = blob.data.copy()
    if net.layer[0].type != "Accuracy":
        loss = net.layer[0].type == "SoftmaxWithLoss"
        found["top_diff"] = np.ones(()) if loss else draw.randn(*found["x"].shape).astype(np.float32)
        made.backward(**({} if loss else {"x": found["top_diff"]}))
        for bottom in used - {"label"}:
            found["diff_" + bottom] = made.blobs[bottom].diff.copy()
        for layer in net.layer:
            for i, blob in enumerate(made.params.get(layer.name, [])):
                found["diff_%s_%d" % (layer.name, i)] = blob.diff.copy()
    np.savez(path + ".npz", **found)


def run_net(folder, name):
    """A whole train net, TRAIN forward and backward, TEST forward: NAME.caffemodel (before), NAME_0.npz, NAME_1.npz."""
    import caffe

    caffe.set_random_seed(1)
    for phase in (caffe.TRAIN, caffe.TEST):
        net = caffe.Net("%s/%s.prototxt" % (folder, name), phase)
        if phase == caffe.TRAIN:
            net.save("%s/%s_fresh.caffemodel" % (folder, name))
            for _ in range(3):  # BatchNorm's sums are no longer those of a fresh net
                net.forward()
            net.save("%s/%s.caffemodel" % (folder, name))
        else:
            net.copy_from("%s/%s.caffemodel" % (folder, name))
        net.forward()
        found = {"top_" + top: blob.data.copy() for top, blob in net.blobs.items()}
        if phase == caffe.TRAIN:
            net.backward()
            found.update(("diff_%s_%d" % (layer, i), blob.diff.copy()) for layer, blobs in net.params.items() for i, blob in enumerate(blobs))
        np.savez("%s/%s_%d.npz" % (folder, name, phase), **found)


def run_solver(path, fresh, nudge=0.0):
    """A solver from the weights `fresh` to its end, with a snapshot half-way and at the end (Caffe's names); losses -> .npy.

    With `nudge` every number is first changed by about that share of itself, and only the end is written, as PATH_nudged.
    """
    import caffe

    solver = caffe.get_solver(path + "_solver.prototxt")
    solver.net.copy_from(fresh)
    if nudge:
        draw = np.random.RandomState(7)
        for blob in (blob for blobs in solver.net.params.values() for blob in blobs):
            blob.data[...] *= 1 + nudge * draw.randn(*blob.data.shape)
        solver.step(ITERATIONS)
        solver.snapshot()
        for ending in (".caffemodel", ".solverstate"):
            os.rename("%s_iter_%d%s" % (path, ITERATIONS, ending), path + "_nudged" + ending)
        return
    losses = []
    for iteration in range(1, ITERATIONS + 1):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
        if iteration in (HALF, ITERATIONS):
            solver.snapshot()
    np.save(path + "_losses.npy", losses)


def go_on(folder):
    """From the PyTorch engine's snapshot half-way to the end: NAME_continued.{caffemodel,solverstate}."""
    import caffe

    path = case_files(folder, "nesterov multistep")
    solver = caffe.get_solver(path + "_solver.prototxt")
    solver.restore(path + "_torch.solverstate")
    assert solver.iter == HALF
    for _ in range(HALF):  # the data's place is not in a snapshot
        solver.net._forward(0, 0)
    solver.step(ITERATIONS - HALF)
    solver.net.save(path + "_continued.caffemodel")


def test_network(folder):
    """Ten-crop scores of a random network: scores_valid.npz in FOLDER/tested."""
    from evaluation import test as tester

    tested = os.path.join(folder, "tested")
    evaluation_data.write_part(tested, "valid", 30)
    deploy, caffemodel = evaluation_data.write_network(tested)
    tester.run(deploy, caffemodel, tested, "valid", tested, workers=1)


def main(folder, *option):
    import caffe

    os.makedirs(folder, exist_ok=True)
    caffe.set_mode_cpu()
    if option:
        return go_on(folder)
    write_nets(folder)
    for name in CASES:
        for phase in (m.TRAIN, m.TEST):
            run_case(folder, name, phase)
    for name in NETS:
        run_net(folder, name)
    for name in list(SOLVERS) + ["resnet20"]:
        fresh = "%s/%s_fresh.caffemodel" % (folder, "resnet20" if name == "resnet20" else "small")
        run_solver(case_files(folder, name), fresh, NUDGE)
        run_solver(case_files(folder, name), fresh)
    test_network(folder)


if __name__ == "__main__":
    os.environ.setdefault("GLOG_minloglevel", "2")
    main(*sys.argv[1:])
