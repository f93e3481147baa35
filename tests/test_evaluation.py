"""The ten-crop test, against real Caffe: the Data layer's pixels, the folded net, every image once, and bad input."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import evaluation_data
import numpy as np
import pytest

from common import errors, scores
from common.caffe import binary, text
from common.caffe import messages as m
from evaluation import data, metrics
from fer_lite import crops
from netgen import fold, resnet
from netgen import weights as net_weights

SHAPE = (3, 32, 32)


@pytest.fixture
def ferplus(tmp_path):
    folder = tmp_path / "data" / "ferplus"
    images, labels, mean = evaluation_data.write_part(str(folder), "valid", 23)
    return folder, images, labels, mean


def test_ten_crops_of_an_asymmetric_image_are_ten_pictures():
    images = np.arange(2 * 3 * 36 * 36).reshape(2, 3, 36, 36) % 251
    mean = np.full((3, 36, 36), 100, np.float32)
    ten = crops.ten_crops(images.astype(np.uint8), mean, 32)
    assert ten.shape == (2, 10, 3, 32, 32) and ten.dtype == np.float32
    assert len({crop.tobytes() for crop in ten[0]}) == 10
    np.testing.assert_array_equal(ten[1, 0], images[1, :, :32, :32] - 100)
    np.testing.assert_array_equal(ten[1, 3], images[1, :, 4:, 4:] - 100)
    np.testing.assert_array_equal(ten[1, crops.CENTRE], images[1, :, 2:34, 2:34] - 100)
    np.testing.assert_array_equal(ten[1, 6], ten[1, 1, ..., ::-1])


def test_centre_crop_equals_caffes_data_layer(caffe, ferplus, tmp_path):
    folder, images, labels, mean = ferplus
    net = resnet.train_net(20, "ferplus", 8, "none", str(folder / "valid_lmdb"), str(folder / "mean.binaryproto"), 1, 23)
    del net.layer[2:], net.layer[0]
    text.write(str(tmp_path / "data.prototxt"), net)
    loaded = caffe.Net(str(tmp_path / "data.prototxt"), caffe.TEST)
    loaded.forward()
    part = data.open_part(str(folder), "valid", SHAPE)
    ((keys, ours, our_labels),) = data.batches(part, 100)
    np.testing.assert_array_equal(loaded.blobs["data"].data, crops.ten_crops(ours, part.mean, 32)[:, crops.CENTRE])
    np.testing.assert_array_equal(loaded.blobs["label"].data, our_labels)
    assert keys == ["%08d" % i for i in range(23)] and part.names["00000022"] == "fer0000022.png"


def test_batches_show_every_image_once_in_key_order(ferplus):
    folder, images, labels, _ = ferplus
    found = list(data.batches(data.open_part(str(folder), "valid", SHAPE), 10))
    assert [len(batch.keys) for batch in found] == [10, 10, 3]
    np.testing.assert_array_equal(np.concatenate([batch.images for batch in found]), images)
    np.testing.assert_array_equal(np.concatenate([batch.labels for batch in found]), labels)


FORMS = [{}, {"shortcut": "identity"}, {"relu_after_sum": False, "conv_bias": True}, {"slope": 0.1}, {"binomial": True}, {"branches": True, "stem": 2}]


@pytest.mark.parametrize("form", FORMS)
def test_folded_net_scores_as_the_deploy_net(caffe, form):
    from engines.caffe.network import Network

    net = resnet.deploy_net(20, "ferplus", 8, **form)
    model = net_weights.random(net)
    folded, _ = fold.fold(net, model)
    assert not {"BatchNorm", "Scale"} & {layer.type for layer in folded.layer}
    assert sum(layer.type == "Convolution" for layer in folded.layer) == 19 + 2 * ("shortcut" not in form) + 2 * ("binomial" in form)
    coarse = np.random.RandomState(1).randint(-120, 130, (30, 3, 4, 4))
    shown = np.kron(coarse, np.ones((8, 8))).astype(np.float32)
    plain, quick = (Network(net, model, folded=way).probabilities(shown) for way in (False, True))
    assert plain.std(axis=0).max() > 1e-3  # the images differ in the random net's eyes
    np.testing.assert_allclose(quick, plain, atol=1e-5)
    np.testing.assert_allclose(np.log(quick), np.log(plain), atol=1e-4)
    # An image's scores do not depend on its batch mates, nor on the size of the batch.
    np.testing.assert_allclose(Network(net, model).probabilities(shown[7:8])[0], quick[7], atol=1e-5)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_image_once_and_the_files(caffe, ferplus, tmp_path, workers):
    from engines.caffe import network
    from evaluation import test as command

    folder, images, labels, mean = ferplus
    deploy, caffemodel = evaluation_data.write_network(tmp_path)
    summary = command.run(deploy, caffemodel, str(folder), "valid", str(tmp_path / "run"), workers=workers)
    stored = scores.read(str(tmp_path / "run" / "scores_valid.npz"), "valid")
    np.testing.assert_array_equal(stored.labels, labels)
    assert list(stored.keys) == ["%08d" % i for i in range(23)] and stored.names[3] == "fer0000003.png"
    tested = network.Network(text.read(deploy, m.NetParameter), binary.read(caffemodel, m.NetParameter), False)
    ten = tested.probabilities(crops.ten_crops(images[5:6], mean, 32)[0])
    np.testing.assert_allclose(stored.probabilities[5], ten.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(stored.one_crop[5], ten[crops.CENTRE], atol=1e-4)
    assert summary["n"] == 23 and np.sum(summary["confusion"]) == 23
    right = stored.probabilities.argmax(axis=1) == labels
    assert summary["accuracy"] == pytest.approx(right.mean())
    assert summary["mean_class_accuracy"] == pytest.approx(np.mean([right[labels == c].mean() for c in set(labels)]))
    with open(str(tmp_path / "run" / "metrics_valid.json")) as f:
        assert json.load(f) == summary
    assert "n = 23" in command.table(summary)


def _session(leader):
    """{process of the session that `leader` began: whether it has loaded Caffe}; those that have ended and wait to be asked left out."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open("/proc/%s/stat" % pid) as f:
            state, _, _, session = f.read().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                with open("/proc/%s/maps" % pid) as maps:
                    found[pid] = "_caffe" in maps.read()
    return found


def test_a_killed_test_leaves_no_process(caffe, ferplus, tmp_path):
    """Its workers waited for ever for a parent that was gone, each with a net in memory."""
    deploy, caffemodel = evaluation_data.write_network(tmp_path)
    evaluation_data.write_part(str(tmp_path / "many"), "valid", 2000)
    words = [
        "--deploy",
        deploy,
        "--weights",
        caffemodel,
        "--data",
        str(tmp_path / "many"),
        "--split",
        "valid",
        "--out",
        str(tmp_path / "out"),
        "--workers",
        "2",
    ]
    testing = subprocess.Popen([sys.executable, "-m", "evaluation.test", *words], stderr=subprocess.DEVNULL, start_new_session=True)
    end = time.monotonic() + 60
    while sum(_session(testing.pid).values()) < 3 and time.monotonic() < end and testing.poll() is None:
        time.sleep(0.02)
    testing.send_signal(signal.SIGSTOP)  # its workers come to the end of their tasks
    time.sleep(2)
    workers = sum(_session(testing.pid).values())
    testing.kill()
    testing.wait()
    while _session(testing.pid) and time.monotonic() < end:
        time.sleep(0.1)
    left = list(_session(testing.pid))
    for pid in left:
        os.kill(int(pid), signal.SIGKILL)
    assert workers >= 2 and not left


@pytest.mark.parametrize(
    "depth, dataset, classes, words", [(32, "ferplus", 8, "depth 32"), (20, "cifar10", 8, "ends in fc_cifar10"), (20, "ferplus", 7, "7 classes")]
)
def test_weights_of_another_network_are_refused(tmp_path, depth, dataset, classes, words):
    _, caffemodel = evaluation_data.write_network(tmp_path, depth, dataset, classes)
    with pytest.raises(errors.Fail, match=words):
        net_weights.load(caffemodel, resnet.deploy_net(20, "ferplus", 8))


def test_what_a_user_can_have_wrong_is_said_in_one_line(ferplus, tmp_path):
    folder = str(ferplus[0])
    with pytest.raises(errors.Fail, match="test_lmdb is not there: run `make data SRC=ferplus`"):
        data.open_part(folder, "test", SHAPE)
    evaluation_data.write_part(str(tmp_path / "two"), "valid", 2)
    (tmp_path / "two" / "manifest.json").write_text(json.dumps(dict(set="ferplus", classes=8, parts=dict(train={}, valid={}), mean=[0], files=[])))
    with pytest.raises(errors.Fail, match="two was built without a part test: .*SPLIT.*: train, valid"):
        data.open_part(str(tmp_path / "two"), "test", SHAPE)
    evaluation_data.write_part(str(tmp_path / "big"), "valid", 2, side=24)
    with pytest.raises(errors.Fail, match="3x24x24.*make data SRC=big"):
        data.open_part(str(tmp_path / "big"), "valid", SHAPE)
    evaluation_data.write_part(str(tmp_path / "other"), "valid", 2, side=40)
    (tmp_path / "other" / "mean.binaryproto").write_bytes((ferplus[0] / "mean.binaryproto").read_bytes())
    with pytest.raises(errors.Fail, match="mean.binaryproto is of 3x36x36, the images of 3x40x40"):
        data.open_part(str(tmp_path / "other"), "valid", SHAPE)
    (tmp_path / "other" / "valid_lmdb" / "data.mdb").write_bytes(b"no lmdb" * 1000)
    with pytest.raises(errors.Fail, match="damaged"):
        data.open_part(str(tmp_path / "other"), "valid", SHAPE)


def test_an_exported_network_sees_images_of_its_own_size(tmp_path):
    """A teacher made for 36x36, on FER+'s votes of 48x48, saw crops of half a face, less the mean of other images."""
    from evaluation import test as command

    weights_path = str(tmp_path / "model" / "net.caffemodel")
    for side, expected in ((48, ([1, 2, 3], 1.0, 36)), (36, (None, 1.0, None))):
        folder = str(tmp_path / str(side))
        evaluation_data.write_part(folder, "valid", 2, side=side)
        lmdb = os.path.join(folder, "valid_lmdb")
        assert command.as_exported(weights_path, lmdb) == (None, 1.0, None)
        os.makedirs(os.path.dirname(weights_path), exist_ok=True)
        with open(os.path.join(os.path.dirname(weights_path), "model.json"), "w") as f:
            json.dump(dict(name="small", classes=list("abcdefgh"), crop=32, resize=36, mean=[1, 2, 3]), f)
        mean, scale, shown = command.as_exported(weights_path, lmdb)
        assert (mean if mean is None else list(mean), scale, shown) == expected
        os.remove(os.path.join(os.path.dirname(weights_path), "model.json"))


@pytest.mark.parametrize("blank", [3, 23])
def test_blank_images_are_refused_or_counted(tmp_path, capsys, blank):
    from evaluation import test as command

    def uniform(batches):
        return ((batch, [np.full((len(batch.keys), 8), 1 / 8, np.float32)] * 2) for batch in batches)

    folder = str(tmp_path / "data")
    evaluation_data.write_part(folder, "test", 23, blank=blank)
    part = data.open_part(folder, "test", SHAPE)
    if blank == 23:
        with pytest.raises(errors.Fail, match="blank.*SPLIT=valid.*remove .*data and run"):
            command.score(uniform, part, "test", list("abcdefgh"))
    else:
        command.score(uniform, part, "test", list("abcdefgh"))
        assert "3 of the 23 images" in capsys.readouterr().err


def test_metrics_of_a_small_example():
    labels = np.array([0, 0, 0, 1, 2, 2])
    probabilities = np.eye(4)[[0, 0, 1, 1, 2, 0]]
    assert metrics.accuracy(labels, probabilities) == pytest.approx(4 / 6)
    assert metrics.mean_class_accuracy(labels, probabilities) == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert metrics.confusion(labels, probabilities).tolist() == [[2, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    second = metrics.per_class(labels, probabilities, "abcd")[1]
    assert second == dict(name="b", n=1, precision=0.5, recall=1.0, f1=pytest.approx(2 / 3))


def test_the_bench_notices_other_predictions(caffe, tmp_path):
    from benchmarks import evaluation as bench
    from engines.caffe import network

    net = resnet.deploy_net(20, "ferplus", 8)
    coarse = np.random.RandomState(2).randint(0, 256, (12, 3, 9, 9))
    images, mean = np.kron(coarse, np.ones((4, 4))).astype(np.uint8), np.full((3, 36, 36), 120, np.float32)
    model = bench.random_weights(net, images, mean)
    deploy, caffemodel = str(tmp_path / "deploy.prototxt"), str(tmp_path / "net.caffemodel")
    text.write(deploy, net)
    binary.write(caffemodel, model)
    with network.tester(net, model, mean, workers=1) as test:
        rows = bench.compare({"theirs": bench.classifier(deploy, caffemodel, mean), "ours": bench.ours(test)}, images, 1)
    bench.check(rows)
    (_, _, theirs), (name, rate, found) = rows
    assert len(set(theirs.argmax(axis=1))) > 1  # the same predictions are no chance
    for wrong, words in ((found[::-1], "predictions are others"), (found + 2e-4, "0 predictions .* differ by up to 2")):
        with pytest.raises(errors.Fail, match=words):
            bench.check([rows[0], (name, rate, wrong)])


def test_scores_that_the_disk_refuses_leave_nothing_and_no_traceback(tmp_path):
    """NumPy writes an .npz by a ZipFile, which speaks once more when it is collected."""
    code = (
        "import resource, signal; import numpy as np; from common import scores\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))\n"
        "p = np.random.rand(99, 8).astype(np.float32)\n"
        "scores.write('s.npz', scores.Scores(['k'] * 99, [''] * 99, np.zeros(99, int), p, p, list('abcdefgh'), 'test'))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=str(tmp_path),
        env=dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert ran.returncode == 1 and "OSError: [Errno 27]" in ran.stderr and "Exception ignored" not in ran.stderr
    assert not os.listdir(str(tmp_path))
