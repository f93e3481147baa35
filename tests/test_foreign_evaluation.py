"""evaluation.test on other people's Caffe nets: scores beside those of their own files in real Caffe, options, and refusals in time."""

import cv2
import evaluation_data
import foreign_nets
import numpy as np
import pytest

import engines
from common import errors, scores
from common.caffe import binary
from evaluation import data
from evaluation import test as command
from fer_lite import crops
from netgen import fold, nets, weights

OFTEN = [("fields", {"side": 54}), ("grey", {"side": 54}), ("v1", {"side": 72}), ("squeeze", {}), ("norms", {})]


def softmax(rows):
    each = np.exp(rows - rows.max(axis=1, keepdims=True))
    return each / each.sum(axis=1, keepdims=True)


def in_caffe(caffe, files, shown):
    """Their own files in Caffe, at the batch of their prototxt."""
    net = caffe.Net(*files, caffe.TEST)
    blob, found = net.blobs[net.inputs[0]], []
    for i in range(0, len(shown), blob.num):
        part = shown[i : i + blob.num]
        blob.data[: len(part)] = part
        found.append(net.forward()[net.outputs[0]].reshape(blob.num, -1)[: len(part)].copy())
    return np.concatenate(found)


@pytest.mark.parametrize("name, options", OFTEN)
def test_scores_are_caffes_of_their_own_files(caffe, tmp_path, capsys, name, options):
    files = foreign_nets.write(tmp_path, name)
    net = nets.read_deploy(files[0])
    (channels, size, _), classes = nets.input_shape(net), len(nets.class_names(net))
    images, labels, _ = evaluation_data.write_part(str(tmp_path / "data"), "valid", 5, classes=3)
    mean = np.array(foreign_nets.MEAN[channels], np.float32)
    summary = command.run(files[0], files[1], str(tmp_path / "data"), "valid", str(tmp_path / "run"), workers=1, mean=mean, scale=foreign_nets.SCALE, **options)
    stored = scores.read(str(tmp_path / "run" / "scores_valid.npz"))
    side = options.get("side", 36)
    shown = np.stack([cv2.resize(image.transpose(1, 2, 0), (side, side)) for image in images])
    if channels == 1:
        shown = np.stack([cv2.cvtColor(np.stack([image.transpose(1, 2, 0) for image in images])[i], cv2.COLOR_BGR2GRAY) for i in range(5)])
        shown = np.stack([cv2.resize(image, (side, side)) for image in shown])[..., None]
    ten = crops.ten_crops(shown.transpose(0, 3, 1, 2), mean[:, None, None], size) * np.float32(foreign_nets.SCALE)
    theirs = in_caffe(caffe, files, ten.reshape((-1,) + ten.shape[2:]))
    theirs = (softmax(theirs) if name == "fields" else theirs).reshape(5, 10, classes)
    np.testing.assert_allclose(stored.probabilities, theirs.mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(stored.one_crop, theirs[:, crops.CENTRE], atol=1e-4)
    assert np.ptp(theirs, axis=(0, 1)).max() > 0.01
    assert summary["made_from"]["mean"] == list(mean) and summary["made_from"]["shown"] == "%dx%dx%d" % (channels, side, side)
    said = capsys.readouterr().err
    assert ("ends in InnerProduct: probabilities are the softmax" in said) == (name == "fields")
    assert (options == {}) == ("images of 3x36x36 are shown as" not in said)


@pytest.mark.parametrize("name", foreign_nets.NETS)
@pytest.mark.parametrize("folded", (False, True))
def test_the_engine_runs_every_net(caffe, tmp_path, name, folded):
    from engines.caffe.network import Network

    files = foreign_nets.write(tmp_path, name)
    net = nets.read_deploy(files[0])
    shown = (foreign_nets.pixels(name, 20) - np.float32(117)) / 128
    ours = Network(nets.with_softmax(net), weights.load(files[1], net), folded).probabilities(shown)
    theirs = in_caffe(caffe, files, shown)
    np.testing.assert_allclose(ours, softmax(theirs) if name == "fields" else theirs, atol=1e-4)


def test_statistics_of_the_batch_are_not_folded(caffe, tmp_path, capsys):
    from engines.caffe.network import Network

    text = foreign_nets.NORMS.replace("use_global_stats: true", "use_global_stats: false")
    files = foreign_nets.write(tmp_path, "batch", text.replace("dim: 1 dim: 3", "dim: 20 dim: 3"))
    net = nets.read_deploy(files[0])
    model = weights.load(files[1], net)
    assert "n" in [layer.name for layer in fold.fold(net, model)[0].layer]
    shown = (foreign_nets.pixels(foreign_nets.NORMS, 20) - np.float32(117)) / 128
    theirs = in_caffe(caffe, files, shown)
    for folded in (False, True):
        np.testing.assert_allclose(Network(net, model, folded).probabilities(shown), theirs, atol=1e-4)
    assert abs(Network(net, model).probabilities(shown[:3]) - theirs[:3]).max() > 1e-3
    part = data.open_part(evaluation_folder(tmp_path), "valid", nets.input_shape(net))
    command.notes(net, files[1], part, None)
    said = capsys.readouterr().err
    assert "layer n has use_global_stats: false: as in Caffe, an image's scores depend on the others" in said
    assert "the mean subtracted is that of" in said and "--mean" in said


def evaluation_folder(tmp_path, **options):
    evaluation_data.write_part(str(tmp_path / "set"), "valid", 12, **options)
    return str(tmp_path / "set")


@pytest.mark.parametrize(
    "name, options, said",
    (
        ("fields", {"side": 54}, "labels up to 7, fields has 7 classes: test it on a data set of its own"),
        ("fields", {}, "images of 3x36x36, too small for this net's input of 3x48x48: enlarge them with --resize 54"),
        ("squeeze", {"mean": np.ones(2, np.float32)}, "a mean of 2 numbers for a net of 3 channels"),
    ),
)
def test_what_does_not_fit_is_said_before_any_image_is_tested(tmp_path, monkeypatch, name, options, said):
    files = foreign_nets.write(tmp_path, name)
    monkeypatch.setattr(engines, "scorer", lambda *_: pytest.fail("tested already"))
    with pytest.raises(errors.Fail, match=said) as failure:
        command.run(*files, evaluation_folder(tmp_path, seed=3), "valid", str(tmp_path / "run"), **options)
    assert "\n" not in str(failure.value) and not (tmp_path / "run").exists()


def test_a_net_that_gives_no_probabilities_is_refused(tmp_path):
    files = foreign_nets.write(tmp_path, "squeeze", foreign_nets.SQUEEZE.replace('"Softmax"', '"Sigmoid"'))
    with pytest.raises(errors.Fail, match="squeeze ends in Sigmoid .layer prob."):
        command.run(*files, evaluation_folder(tmp_path, classes=3), "valid", str(tmp_path / "run"))


def test_a_mean_comes_as_numbers_or_as_any_file_of_it(tmp_path):
    picture = np.arange(3 * 4, dtype=np.float32).reshape(3, 2, 2)
    binary.write_mean(str(tmp_path / "mean.binaryproto"), picture)
    np.save(str(tmp_path / "mean.npy"), picture)
    for words in (["1.5", "5.5", "9.5"], [str(tmp_path / "mean.binaryproto")], [str(tmp_path / "mean.npy")]):
        np.testing.assert_array_equal(data.own_mean(words), np.float32([1.5, 5.5, 9.5]))
    assert data.own_mean(None) is None
    (tmp_path / "bad.npy").write_bytes(b"no array")
    (tmp_path / "empty.npy").touch()
    np.savez(str(tmp_path / "two"), picture)
    (tmp_path / "two.npz").rename(tmp_path / "two.npy")
    for name, said in (("empty", "damaged or no array"), ("two", "is an archive")):
        with pytest.raises(errors.Fail, match=said):
            data.own_mean([str(tmp_path / (name + ".npy"))])
    for words, said in ((["a"], "a is no mean: give a number"), (["1", "b"], "1 b is no mean"), ([str(tmp_path / "bad.npy")], "damaged or no array")):
        with pytest.raises(errors.Fail, match=said):
            data.own_mean(words)


@pytest.mark.parametrize("channels", (1, 3))
def test_images_are_shown_in_the_nets_channels_and_size(tmp_path, channels):
    folder = evaluation_folder(tmp_path)
    part = data.open_part(folder, "valid", (channels, 48, 48), side=50)
    batch = next(data.batches(part, 12))
    assert batch.images.shape == (12, channels, 50, 50) and batch.images.dtype == np.uint8 and part.mean.shape == (channels, 50, 50)
    np.testing.assert_allclose(part.mean.mean(axis=(1, 2)), [104, 117, 123] if channels == 3 else [0.114 * 104 + 0.587 * 117 + 0.299 * 123], rtol=1e-5)
