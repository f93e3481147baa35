"""netgen: the nets and solvers are the paper's, the committed files are the generators', and Caffe agrees."""

import glob
import os

import numpy as np
import pytest
from google.protobuf import text_format

from common import errors
from common.caffe import binary, text
from common.caffe import messages as m
from netgen import describe, fold, resnet, solver, weights
from netgen.__main__ import main, write_all
from paper import facts, ours

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SISTER = dict(relu_after_sum=False, conv_bias=True)  # the sister paper's form


def deploy(depth=20, **form):
    return resnet.deploy_net(depth, "ferplus", 8, **form)


def by_name(net):
    return {layer.name: layer for layer in net.layer}


# Exact counts from the paper's 280K and 474K and the arithmetic of the other shortcuts.
COUNTS = pytest.mark.parametrize(
    "depth, shortcut, count",
    [(20, "2x2", 280024), (32, "2x2", 474456), (20, "identity", 269592), (32, "identity", 464024), (20, "1x1", 272344), (32, "1x1", 466776)],
)


@COUNTS
def test_trainable_parameters(depth, shortcut, count):
    assert describe.trainable_parameters(deploy(depth, shortcut=shortcut)) == count


@COUNTS
def test_caffe_counts_the_same(caffe, tmp_path, depth, shortcut, count):
    net = deploy(depth, shortcut=shortcut)
    text.write(str(tmp_path / "net.prototxt"), net)
    loaded = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    learnt = [b for name, blobs in loaded.params.items() if not name.endswith("_bn") for b in blobs]
    assert sum(b.data.size for b in learnt) == count
    costs = {cost.name: cost for cost in describe.costs(net)}
    for layer in net.layer:
        shape = tuple(loaded.blobs[layer.top[0]].data.shape[1:])
        assert costs[layer.name].shape == shape, layer.name
    kept = sum(b.data.size for name, blobs in loaded.params.items() if name.endswith("_bn") for b in blobs)
    assert sum(cost.fixed for cost in costs.values()) == kept


@pytest.mark.parametrize("depth", facts.DEPTHS)
def test_the_paper_rounds_to_our_count(depth):
    assert round(describe.trainable_parameters(deploy(depth)) / 1000) == facts.PARAMETERS_K[depth]


def test_multiply_accumulates_by_hand():
    n, total = 3, 0
    total += 3 * 9 * 16 * 32 * 32
    total += 2 * n * 16 * 9 * 16 * 32 * 32
    for narrow, wide, side in ((16, 32, 16), (32, 64, 8)):
        total += (narrow * 9 * wide + narrow * 4 * wide + (2 * n - 1) * wide * 9 * wide) * side * side
    assert sum(cost.macs for cost in describe.costs(deploy(20))) == total + 64 * 8


@pytest.mark.parametrize("depth", [0, 2, 18, 19, 21, 51])
def test_other_depths_are_refused_with_the_list(depth):
    with pytest.raises(errors.Fail, match="6n.2 .8, 14, 20, 26, 32"):
        deploy(depth)


def test_other_shortcuts_are_refused_with_the_list():
    with pytest.raises(errors.Fail, match="2x2, 1x1, identity"):
        deploy(shortcut="3x3")


def test_one_whole_net_against_its_transcription():
    """tests/resnet20_ferplus.txt: every layer in its order, with what it reads, makes, and its width, kernel, stride and padding."""
    with open(os.path.join(ROOT, "tests", "resnet20_ferplus.txt")) as f:
        expected = [line.split() for line in f if not line.startswith("#")]
    net = text.read(os.path.join(ROOT, "prototxt", "resnet20_ferplus_deploy.prototxt"), m.NetParameter)
    found = []
    for layer in net.layer[1:]:
        p = layer.convolution_param
        width = p.num_output or layer.inner_product_param.num_output or "-"
        shape = (p.kernel_size[0], p.stride[0], p.pad[0] if p.pad else 0) if layer.type == "Convolution" else "---"
        found.append([layer.name, layer.type, ",".join(layer.bottom), ",".join(layer.top), *map(str, (width, *shape))])
    assert found == expected


def test_layers_of_table_1():
    for depth in facts.DEPTHS:
        n = resnet.blocks_per_group(depth)
        convolutions = [l for l in deploy(depth).layer if l.type == "Convolution" and not l.name.endswith("_proj")]
        widths = [l.convolution_param.num_output for l in convolutions]
        assert widths == [16] * (2 * n + 1) + [32] * (2 * n) + [64] * (2 * n)
        assert all(list(l.convolution_param.kernel_size) == [3] for l in convolutions)


def test_the_residual_unit_reads_as_he_et_al():
    layers = by_name(deploy())
    chain = [
        "group1_block0_conv0",
        "group1_block0_conv0_bn",
        "group1_block0_conv0_scale",
        "group1_block0_conv0_relu",
        "group1_block0_conv1",
        "group1_block0_conv1_bn",
        "group1_block0_conv1_scale",
        "group1_block0_sum",
        "group1_block0_sum_relu",
    ]
    names = [l.name for l in deploy().layer]
    assert [n for n in names if n in chain] == chain and "group1_block0_conv1_relu" not in layers
    assert list(layers["group1_block0_sum"].bottom) == ["group1_block0_proj", "group1_block0_conv1"]
    assert list(layers["group0_block0_sum"].bottom) == ["first_conv", "group0_block0_conv1"]
    projection = layers["group1_block0_proj"].convolution_param
    assert (list(projection.kernel_size), list(projection.stride), projection.bias_term) == ([2], [2], False)
    assert {"group1_block0_proj_bn", "group1_block0_proj_scale"} <= set(layers)
    assert all(l.convolution_param.weight_filler.type == "msra" for l in layers.values() if l.type == "Convolution")


def test_the_sister_form():
    layers = by_name(deploy(**SISTER))
    assert not [n for n in layers if n.endswith("sum_relu")]
    assert all(l.convolution_param.bias_term for l in layers.values() if l.type == "Convolution")


def test_batch_norm_leaves_the_phase_to_caffe():
    for layer in deploy().layer:
        if layer.type == "BatchNorm":
            assert not layer.batch_norm_param.HasField("use_global_stats")
            assert [(p.lr_mult, p.decay_mult) for p in layer.param] == [(0, 0)] * 3


def test_identity_takes_every_second_pixel_and_adds_zero_channels(caffe, tmp_path):
    import numpy as np

    path = str(tmp_path / "net.prototxt")
    text.write(path, deploy(shortcut="identity"))
    net = caffe.Net(path, caffe.TEST)
    net.blobs["data"].data[...] = np.random.RandomState(0).randn(*net.blobs["data"].data.shape)
    net.forward()
    before, after = net.blobs["group0_block2_sum"].data, net.blobs["group1_block0_widen"].data
    np.testing.assert_array_equal(after[:, :16], before[:, :, ::2, ::2])
    assert after.shape[1] == 32 and not after[:, 16:].any()


def test_train_and_deploy_nets_share_their_trunk():
    for path in glob.glob(os.path.join(ROOT, "prototxt", "*_train.prototxt")):
        train = text.read(path, m.NetParameter)
        other = text.read(path.replace("_train", "_deploy"), m.NetParameter)
        assert train.name == other.name
        assert list(train.layer)[2:-2] == list(other.layer)[1:-1]
        data = train.layer[0], train.layer[1]
        assert [l.include[0].phase for l in data] == [m.TRAIN, m.TEST]
        crop = 32 if "resnet" in path else 0  # what is beyond the paper takes whole images
        assert all(l.transform_param.crop_size == crop and not l.transform_param.mirror for l in data)
        assert train.layer[-1].type == "Accuracy" and train.layer[-1].include[0].phase == m.TEST


def test_the_final_layer_carries_its_data_set():
    for dataset, size in ours.DATASETS.items():
        net = text.read(os.path.join(ROOT, "prototxt", "resnet32_%s_deploy.prototxt" % dataset), m.NetParameter)
        final = [l for l in net.layer if l.type == "InnerProduct"]
        assert [(l.name, l.inner_product_param.num_output) for l in final] == [("fc_" + dataset, size["classes"])]


@pytest.mark.parametrize("depth", facts.DEPTHS)
@pytest.mark.parametrize("name", ["finetune", "scratch"])
def test_the_fine_tuning_solver_is_the_papers(depth, name):
    """8 epochs of 160,000 images in batches of 32, the rate times 0.1 at epochs 4 and 6; the numbers themselves, not ours.py's."""
    s = text.read(os.path.join(ROOT, "solvers", "resnet%d_ferplus_%s.prototxt" % (depth, name)), m.SolverParameter)
    assert s.type == "Nesterov" and s.lr_policy == "multistep"
    assert (round(s.base_lr, 7), round(s.gamma, 7), round(s.momentum, 7)) == (0.01, 0.1, 0.9)
    assert (s.max_iter, list(s.stepvalue)) == (40000, [20000, 30000])
    assert s.test_iter[0] * 144 == 3312


@pytest.mark.parametrize("source", [s.name for s in facts.SOURCES])
def test_pretraining_lasts_as_long_as_the_paper_says(source):
    for depth in facts.DEPTHS:
        s = text.read(os.path.join(ROOT, "solvers", "resnet%d_%s.prototxt" % (depth, source)), m.SolverParameter)
        size = ours.DATASETS[source]
        low, high = facts.PRETRAIN_EPOCHS_RANGE
        assert low <= s.max_iter * ours.PRETRAIN_BATCH / size["train"] <= high + 0.01
        assert s.type == "Nesterov"
        assert s.test_iter[0] * size["valid_batch"] == size["valid"], "each validation image once"
        assert s.max_iter % s.snapshot == 0 or s.max_iter // s.snapshot < ours.SNAPSHOTS


def test_iterations_are_rounded_up():
    assert solver.iterations(1, 50000, 128) == 391
    assert solver.iterations(8, 160000, 128) == 10000
    assert solver.iterations(0.1 * 3, 1280, 128) == 3


def test_committed_files_are_what_the_generators_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = write_all()
    committed = [os.path.relpath(p, ROOT) for d in ("prototxt", "solvers") for p in glob.glob(os.path.join(ROOT, d, "*"))]
    assert sorted(written) == sorted(committed)
    for path in written:
        with open(path) as new, open(os.path.join(ROOT, path)) as old:
            assert new.read() == old.read(), "%s: run `make prototxt`" % path


def test_another_root_stands_in_every_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in write_all(root="elsewhere"):
        assert path.startswith("elsewhere/")
        content = open(path).read()
        for key in ("source:", "mean_file:", "net:", "snapshot_prefix:"):
            assert all(line.split('"')[1].startswith("elsewhere/") for line in content.splitlines() if key in line)


def test_caffe_reads_every_committed_file(caffe):
    from google.protobuf import text_format

    pb2 = caffe.proto.caffe_pb2
    for folder, kind in (("prototxt", pb2.NetParameter), ("solvers", pb2.SolverParameter)):
        for path in glob.glob(os.path.join(ROOT, folder, "*.prototxt")):
            with open(path) as f:
                text_format.Parse(f.read(), kind())


def test_describe_prints_both_networks(capsys):
    for depth in facts.DEPTHS:
        print(describe.report(deploy(depth), facts.PARAMETERS_K[depth], layers=True))
    said = capsys.readouterr().out
    for part in ("280,024", "474,456", "280K", "474K", "group2_block4_sum", "41,599,488"):
        assert part in said


def test_other_batches_and_rates_by_the_command(tmp_path, monkeypatch, capsys):
    def command(*more):
        monkeypatch.setattr("sys.argv", ["netgen", "--root", str(tmp_path), "--depths", "20", *more])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code

    assert command("--pretrain-batch", "64", "--ferplus-batch", "16", "--rates", "scratch=0.01", "pretrain=0.05") is None
    rates = {"cifar10": 0.05, "ferplus_scratch": 0.01, "ferplus_finetune": facts.FINETUNE_RATE}
    for name, rate in rates.items():
        made = text.read(str(tmp_path / "solvers" / ("resnet20_%s.prototxt" % name)), m.SolverParameter)
        assert made.base_lr == pytest.approx(rate)
        net = text.read(made.net, m.NetParameter)
        batch = [layer.data_param.batch_size for layer in net.layer if layer.type == "Data"][0]
        assert batch == (16 if "ferplus" in name else 64)
        if "ferplus" in name:  # as many epochs as the paper's
            assert made.max_iter * batch == facts.FINETUNE_EPOCHS * ours.DATASETS["ferplus"]["train"]
    for wrong, said in (
        (["--ferplus-batch", "0"], "not 0"),
        (["--scratch-batch", "0"], "not 0"),
        (["--rates", "scratch"], "scratch is not"),
        (["--rates", "warm=1"], "warm=1 is not"),
    ):
        assert command(*wrong) in (1, 2)
        assert said in capsys.readouterr().err.strip().splitlines()[-1]


def test_the_papers_parts_as_printed_and_as_they_are():
    assert facts.FERPLUS_IMAGES == {"train": 26029, "valid": 3274, "test": 3312}  # III-B: validation 3,274, the rest of 32,615 for the test
    assert sum(facts.FERPLUS_IMAGES.values()) == 32615
    assert ours.FERPLUS_IMAGES == {"train": 26029, "valid": 3312, "test": 3274}
    assert ours.DATASETS["ferplus"]["valid"] == ours.FERPLUS_IMAGES["valid"]
    assert not any("test" in word for size in ours.DATASETS.values() for word in size)


BRANCHES = """
layer { name: "in" type: "Input" top: "a" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "three" type: "Convolution" bottom: "a" top: "x" convolution_param { num_output: 4 kernel_size: 3 pad: 1 %(three)s } }
%(between)s
layer { name: "one" type: "Convolution" bottom: "a" top: "y" convolution_param { num_output: 4 kernel_size: 1 bias_term: false %(one)s } }
layer { name: "both" type: "Eltwise" bottom: "y" bottom: "x" top: "z" %(both)s }
layer { name: "end" type: "InnerProduct" bottom: "z" top: "end" inner_product_param { num_output: 2 } }
%(after)s
"""


@pytest.mark.parametrize(
    "changed, one",
    (
        ({}, True),
        ({"three": "stride: 2", "one": "stride: 2"}, True),
        ({"between": 'layer { name: "r" type: "ReLU" bottom: "x" top: "x" }'}, False),
        ({"between": 'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }'}, False),
        ({"between": 'layer { name: "p" type: "ReLU" bottom: "x" top: "p" }'}, False),
        ({"both": "eltwise_param { coeff: 1 coeff: -1 }"}, False),
        ({"both": "eltwise_param { operation: MAX }"}, False),
        ({"after": 'layer { name: "later" type: "ReLU" bottom: "y" top: "later" }'}, False),
    ),
)
def test_branches_become_one_convolution_where_their_sum_is_one(changed, one):
    words = {**dict.fromkeys(("three", "between", "one", "both", "after"), ""), **changed}
    net = text_format.Parse(BRANCHES % words, m.NetParameter())
    folded, model = fold.fold(net, weights.random(net))
    names = [layer.name for layer in folded.layer]
    assert ("both" not in names and "one" not in names) == one and names[-1] == net.layer[-1].name
    if one:
        kernel, bias = binary.layers(model)["three"]
        begun = binary.layers(weights.random(net))
        np.testing.assert_allclose(kernel[:, :, 1, 1], begun["three"][0][:, :, 1, 1] + begun["one"][0][:, :, 0, 0], rtol=1e-6)
        np.testing.assert_array_equal(kernel[:, :, 0], begun["three"][0][:, :, 0].astype(np.float32))
