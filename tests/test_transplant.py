"""The transplant: exactly the final layer starts afresh; anything else stops with one line. Needs no Caffe."""

import numpy as np
import pytest

from common import errors
from common.caffe import binary
from netgen import resnet
from netgen import weights as net_weights
from training import transplant


class Engine:
    """As much of an engine as a transplant needs."""

    def __init__(self, net, seed=9, loses=None):
        self.held, self.loses = binary.layers(net_weights.random(net, seed)), loses

    def weights(self):
        return {name: [b.copy() for b in blobs] for name, blobs in self.held.items()}

    def load_weights(self, weights):
        self.held.update({name: [b.copy() for b in blobs] for name, blobs in weights.items() if name != self.loses})


def caffemodel(tmp_path, depth=8, dataset="cifar10", classes=10, **form):
    path = str(tmp_path / ("%d_%s.caffemodel" % (depth, dataset)))
    binary.write(path, net_weights.random(resnet.deploy_net(depth, dataset, classes, **form), 1))
    return path


TARGET = resnet.deploy_net(8, "ferplus", 8)


def test_all_but_the_final_layer_arrives_bit_for_bit(tmp_path):
    path, engine = caffemodel(tmp_path), Engine(TARGET)
    source, fresh = transplant.read(path), engine.weights()["fc_ferplus"]
    source["first_conv"][0].flat[0] = -0.0  # compared by bits, not by ==
    table = transplant.transplant(path, engine, "fc_ferplus")
    for name, blobs in engine.weights().items():
        for got, expected in zip(blobs, fresh if name == "fc_ferplus" else transplant.read(path)[name]):
            assert got.tobytes() == expected.tobytes(), name
    assert len(engine.weights()["first_conv_bn"]) == 3
    lines = table.splitlines()
    assert sum(line.endswith("copied") for line in lines) == len(source) - 1
    assert sum(line.endswith("starts afresh") for line in lines) == 1 and "fc_ferplus" in lines[-3]
    assert "fc_cifar10" in lines[-2] and lines[-2].endswith("left behind")
    assert "28 layers" not in lines[-1] and "27 layers" in lines[-1]


@pytest.mark.parametrize(
    "made, says",
    [
        (dict(depth=14), "more (group0_block1_conv0"),
        (dict(dataset="ferplus", classes=8), "already ends in fc_ferplus: it was trained on this data set"),
        (dict(dataset="ferplus", classes=7), "already ends in fc_ferplus with 7 outputs instead of 8"),
        (dict(shortcut="1x1"), "other shapes (group1_block0_proj: 32x16x1x1, this net has 32x16x2x2)"),
        (dict(shortcut="identity"), "fewer (group1_block0_proj"),
        (dict(conv_bias=True), "other shapes (first_conv: 16x3x3x3, 16, this net has 16x3x3x3)"),
    ],
)
def test_another_network_is_refused_in_one_line(tmp_path, made, says):
    engine = Engine(TARGET)
    before = engine.weights()
    with pytest.raises(errors.Fail) as refusal:
        transplant.transplant(caffemodel(tmp_path, **made), engine, "fc_ferplus")
    assert says in str(refusal.value) and "\n" not in str(refusal.value)
    assert all(np.array_equal(a, b) for name in before for a, b in zip(before[name], engine.weights()[name]))


def test_a_layer_that_does_not_arrive_is_noticed(tmp_path):
    with pytest.raises(errors.Fail, match="did not arrive bit by bit .group0_block0_conv1_bn"):
        transplant.transplant(caffemodel(tmp_path), Engine(TARGET, loses="group0_block0_conv1_bn"), "fc_ferplus")


def test_files_that_hold_no_weights(tmp_path):
    for name, content in (("a.solverstate", b"x"), ("b.caffemodel", b""), ("c.caffemodel", b"\xff" * 100)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(errors.Fail):
            transplant.read(str(tmp_path / name))
    with pytest.raises(errors.Fail, match="is not there"):
        transplant.read(str(tmp_path / "none.caffemodel"))
