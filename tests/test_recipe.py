"""Training on FER+'s votes (engines/torch/recipe.py): exact resume, targets from the votes, images altered as drawn; and votes.py's figures."""

import csv
import os

import cv2
import evaluation_data
import numpy as np
import pytest

from common import errors, votes
from common import scores as scores_file
from evaluation import temperature
from evaluation import votes as command
from netgen import fold, resnet, solver, weights
from paper import facts
from paper import recipe as recipes

torch = pytest.importorskip("torch")
recipe_engine = pytest.importorskip("engines.torch.recipe")

pytestmark = pytest.mark.torch
TRAIN, VALID, BATCH = 30, 10, 8
RECIPE = recipes.RECIPES["best"]._replace(epochs=4, batch=BATCH)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A function that makes the engine for a small set of the 48x48 form, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recipes, "STATISTICS_BATCHES", 3)
    rng = np.random.RandomState(3)
    for split, count in (("train", TRAIN), ("valid", VALID)):
        evaluation_data.write_part("data/ferplus_votes", split, count, side=48, seed=count)
        with open("data/ferplus_votes/%s.csv" % split, newline="") as f:
            rows = list(csv.DictReader(f))
        with open("data/ferplus_votes/%s.csv" % split, "w", newline="") as f:
            table = csv.writer(f)
            table.writerow(["key", "name", "label"] + list(votes.VOTES) + ["majority"])
            for row in rows:  # four votes for the label, the other six anywhere
                counts = 4 * np.eye(10, dtype=int)[int(row["label"])] + rng.multinomial(6, [0.1] * 10)
                table.writerow([row["key"], row["name"], row["label"]] + counts.tolist() + [row["label"]])
    paths = ["data/ferplus_votes/" + name for name in ("train_lmdb", "valid_lmdb", "mean.binaryproto")]
    net = resnet.train_net(8, "ferplus", 8, *paths, BATCH, VALID, crop=0, widths=(4, 8, 16))
    schedule = solver.falling("net", "unused", RECIPE, TRAIN, VALID, VALID, 1)
    schedule.random_seed = 5
    return lambda *teachers, recipe=RECIPE: recipe_engine.make(schedule, net, None, recipe, teachers=teachers)


def saved(engine, name):
    engine.save(name)
    with open(name, "rb") as f:
        return f.read()


def test_a_run_goes_on_to_the_same_bytes(made):
    whole = made()
    losses = [whole.step(1) for _ in range(12)]
    assert whole.side() == 48 and made().side() == 32
    cut = made()
    cut.step(7)
    cut.snapshot("half")
    other = made()
    other.restore("half.solverstate", 0)
    assert other.iter == 7 and [other.step(1) for _ in range(5)] == losses[7:]
    assert saved(other, "b.caffemodel") == saved(whole, "a.caffemodel")


def answers(path, count, seed=1):
    """A teacher's scores of the training part; its probabilities."""
    shares = np.random.RandomState(seed).dirichlet([1] * 8, count).astype(np.float32)
    keys = ["%08d" % i for i in range(count)]
    scores_file.write(path, scores_file.Scores(keys, [""] * count, np.zeros(count, int), shares, shares, list("abcdefgh"), "train"))
    return shares


def test_teachers_have_their_share_of_the_target(made):
    votes_alone = made().faces.targets.numpy()
    said = [answers(path, TRAIN, seed) for seed, path in enumerate(("a.npz", "b.npz"))]
    taught = made("a.npz", "b.npz").faces.targets.numpy()
    np.testing.assert_allclose(taught, (1 - RECIPE.teaching) * votes_alone + RECIPE.teaching * (said[0] + said[1]) / 2, atol=1e-6)


def test_a_teacher_that_saw_other_images_is_refused(made, tmp_path):
    answers("other.npz", TRAIN - 1)
    (tmp_path / "none.npz").write_bytes(b"PK no scores")
    for path, words in (("other.npz", "evaluation.test.*--split train"), ("none.npz", "damaged or no scores")):
        with pytest.raises(errors.Fail, match=path + ".*" + words):
            made(path)


def test_what_is_kept_is_the_average_and_the_run_goes_on_with_its_own(made):
    engine = made()
    engine.step(5)
    own = engine.weights()["first_conv"][0]
    engine.validate(lambda: False)
    saved(engine, "a.caffemodel")
    np.testing.assert_array_equal(engine.weights()["first_conv"][0], own)
    average = engine.blobs.arrays(engine.average)["first_conv"][0]
    np.testing.assert_array_equal(engine.test_net.blobs.arrays()["first_conv"][0], average)
    assert abs(average - own).max() > 0
    assert engine.test_net.blobs.arrays()["first_conv_bn"][2] == pytest.approx(sum(0.999**i for i in range(3)))


def test_the_average_begins_with_what_the_run_begins_with(made):
    """What is transferred is the network, not a random one that it is averaged with."""
    begun, source = made(), made().weights()
    source["first_conv"][0][:] = 0.25
    begun.load_weights({"first_conv": source["first_conv"]})
    for blobs in (begun.blobs.arrays(), begun.blobs.arrays(begun.average)):
        assert (blobs["first_conv"][0] == 0.25).all()


def test_every_epoch_shows_every_image_once_with_the_shares_of_its_votes(made):
    faces = made().faces
    rows = torch.cat([faces._rows(n) for n in range(15)]).tolist()  # 15 batches of 8: four epochs of 30
    assert all(sorted(rows[i : i + TRAIN]) == list(range(TRAIN)) for i in range(0, 120, TRAIN)) and rows[:TRAIN] != rows[TRAIN : 2 * TRAIN]
    targets = faces.batch(0, 32)[1]
    assert targets.shape == (BATCH, 8) and torch.allclose(targets.sum(1), torch.ones(BATCH))
    counts = np.array([[3, 1, 0, 0, 5, 0, 0, 0, 1, 0]])
    np.testing.assert_allclose(votes.shares(counts)[0], [3 / 8, 0, 0, 0, 5 / 8, 0, 0, 0], atol=1e-6)


def test_images_are_altered_as_much_as_the_recipe_says():
    images = torch.arange(48.0).expand(6, 1, 48, 48) - 20
    still = recipes.FACES._replace(mirror=False, degrees=0, shift=0, zoom=0, contrast=0, brightness=0, erase=0)
    draw = np.random.Generator(np.random.Philox(key=1))
    torch.testing.assert_close(recipe_engine.alter(images, still, draw, 48), images, atol=1e-3, rtol=0)
    mirrored = recipe_engine.alter(images, still._replace(mirror=True), draw, 48)
    flips = [bool(torch.allclose(each, images[0].flip(-1), atol=1e-3)) for each in mirrored]
    assert any(flips) and not all(flips)
    erased = recipe_engine.alter(images, still._replace(erase=1), draw, 48)
    assert all((each == 0).any() for each in erased) and recipe_engine.alter(images, recipes.FACES, draw, 32).shape == (6, 1, 32, 32)


def test_a_table_without_votes_is_one_line(made):
    path = "data/ferplus_votes/train.csv"
    with open(path) as f:
        lines = f.readlines()
    with open(path, "w") as f:
        f.writelines(lines[:-1])
    with pytest.raises(errors.Fail, match="train.csv.*make data SRC=ferplus_votes"):
        made()


def test_both_rules_are_counted_with_and_without_duplicates(made, capsys, monkeypatch):
    with open("data/ferplus_votes/valid.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    labels = np.array([int(row["label"]) for row in rows])
    right = np.eye(8, dtype=np.float32)[labels]
    wrong = np.roll(right, 1, axis=1)
    with open("data/ferplus_votes/duplicates.csv", "w") as f:
        f.write("part,key,name,of\nvalid,%s,%s,x.png\n" % (rows[0]["key"], rows[0]["name"]))
    one = np.concatenate([wrong[:1], right[1:]])
    scores_file.write(
        "s.npz",
        scores_file.Scores(np.array([r["key"] for r in rows]), np.array([r["name"] for r in rows]), labels, right, one, np.array(facts.EXPRESSIONS), "valid"),
    )
    monkeypatch.setattr("sys.argv", ["votes", "s.npz", os.path.join("data", "ferplus_votes")])
    with pytest.raises(SystemExit) as end:
        command.main()
    said = capsys.readouterr().out.splitlines()
    assert not end.value.code
    assert said[1].split()[-3:] == ["10", "90.00%", "100.00%"] and said[2].split()[-3:] == ["9", "100.00%", "100.00%"]


def test_a_temperature_is_the_one_that_the_probabilities_were_flattened_by():
    rng = np.random.RandomState(0)
    shares = rng.dirichlet(np.full(8, 0.5), 4000)
    labels = np.array([rng.choice(8, p=p) for p in shares])  # so that `shares` are calibrated
    for flattened in (0.5, 1.0, 2.0):
        given = temperature.tempered(shares, 1 / flattened).astype(np.float32)
        found = temperature.judged(labels, given)
        assert abs(found["temperature"] - flattened) < 0.1 * flattened and found["n"] == found["fitted_on"] == 2000
        assert found["ece"] < 0.04 and (flattened == 1 or found["ece"] < found["ece_before"] / 2)
        np.testing.assert_array_equal(temperature.tempered(given, found["temperature"]).argmax(1), given.argmax(1))


def test_a_tempered_network_has_its_logits_divided():
    net = resnet.deploy_net(20, "ferplus", 8)
    model = weights.random(net)
    before, after = (dict((layer.name, layer.blobs) for layer in each.layer) for each in (model, fold.tempered(net, model, 0.5)))
    changed = [name for name in before if any(list(a.data) != list(b.data) for a, b in zip(before[name], after[name]))]
    assert changed == ["fc_ferplus"]
    np.testing.assert_allclose(after["fc_ferplus"][0].data, 2 * np.array(before["fc_ferplus"][0].data), rtol=1e-6)


def test_hard_targets_are_the_class_of_most_votes(made):
    shares = made().faces.targets
    hard = made(recipe=RECIPE._replace(hard=True)).faces.targets
    assert hard.sum(1).eq(1).all() and hard.max(1).values.eq(1).all() and torch.equal(hard.argmax(1), shares.argmax(1))


def test_faces_are_degraded_by_chance_and_alike_each_time():
    rng = np.random.RandomState(0)
    images = torch.from_numpy(rng.randint(0, 256, (40, 1, 48, 48)).astype(np.float32)) - 128

    def draw():
        return np.random.Generator(np.random.Philox(key=1))

    assert torch.equal(recipe_engine.degrade(images.clone(), recipes.FACES, draw(), 128.0), images)
    for kind in ("blur", "jpeg"):
        augment = recipes.FACES._replace(**{kind: 0.5})
        seen = recipe_engine.degrade(images.clone(), augment, draw(), 128.0)
        changed = (seen - images).abs().amax((1, 2, 3)) > 0.5
        assert 8 < changed.sum() < 32 and seen.abs().max() <= 128 and torch.equal(seen, recipe_engine.degrade(images.clone(), augment, draw(), 128.0))
    blurred = recipe_engine._blurred(images, np.full(40, 1.0, np.float32)).numpy()[:, 0, 8:-8, 8:-8]
    theirs = np.stack([cv2.GaussianBlur(face, (7, 7), 1.0) for face in images.numpy()[:, 0]])[:, 8:-8, 8:-8]
    np.testing.assert_allclose(blurred, theirs, atol=1e-3)


def test_mixed_images_have_their_targets_mixed_alike():
    images, targets = torch.arange(8.0).view(8, 1, 1, 1), torch.eye(8)
    seen, wanted = recipe_engine.mixed(images, targets, 0.5, np.random.Generator(np.random.Philox(key=2)))
    np.testing.assert_allclose(seen.flatten(), wanted @ torch.arange(8.0), atol=1e-5)
    np.testing.assert_allclose(wanted.sum(1), 1, atol=1e-6)
    assert not torch.equal(wanted, targets)
