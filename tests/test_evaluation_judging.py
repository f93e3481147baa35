"""Rows, ensembles and what judges them, on synthetic scores."""

import os
import shutil

import numpy as np
import pytest
import synthetic_scores
from scipy import stats

from common import errors, scores
from evaluation import metrics
from evaluation.report import ensemble, judging, rows

N = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = str(tmp_path_factory.mktemp("runs"))
    synthetic_scores.write(made, only=(1, 2, 3, 8), trials=(1, 2), n=N)
    return made


@pytest.fixture
def runs(folder):
    return rows.Runs(folder, "test", (None, None), rows.ADDED)


def load(runs, spec):
    members = rows.find(rows.table(runs), spec)
    return members, rows.load(members, runs)


def test_an_ensemble_averages_trial_by_trial(runs):
    members, found = load(runs, "2+8")
    made = ensemble.result(members, found)
    assert made.parameters == 280024 + 474456 and sorted(made.trials) == [1, 2] and sorted(made.missing) == [3, 4, 5]
    mean = (found["2"][2].probabilities + found["8"][2].probabilities) / 2
    np.testing.assert_allclose(made.trials[2].probabilities, mean, rtol=1e-6)


def test_weights_see_the_validation_part_and_prefer_the_better_member(runs):
    members, found = load(runs._replace(split="valid"), "2+8")
    good = found["8"][1]
    noise = good._replace(probabilities=np.roll(good.probabilities, 7, axis=0))
    weights = ensemble.choose_weights([good, noise])
    assert weights.sum() == pytest.approx(1) and weights[0] > 0.9
    loss = [
        -np.log(np.average([s.probabilities[np.arange(N), s.labels] for s in (good, noise)], axis=0, weights=w)).mean()
        for w in (weights, [0.5, 0.5], weights + [-0.02, 0.02])
    ]
    assert loss[0] < loss[1] and loss[0] < loss[2]


def test_the_search_keeps_to_its_budget(runs):
    members, found = load(runs._replace(split="valid"), "1+2+3+8")
    best, accuracy, tried = ensemble.search(members, found, 600e3, (1, 2))
    assert tried == 4 + 3 and sum(row.parameters for row in best) <= 600e3  # singles, and pairs of ResNet-20
    each = [np.mean([metrics.accuracy(s.labels, s.probabilities) for s in found[row.key].values()]) for row in members]
    assert accuracy >= max(each)


@pytest.mark.parametrize("asked", [["2+8", "--weighted"], ["--budget", "0.8"]])
@pytest.mark.parametrize("split", ["test", "valid"])
def test_what_goes_beyond_the_paper_says_so(folder, monkeypatch, capsys, asked, split):
    monkeypatch.setattr("sys.argv", ["ensemble", "--runs", folder, "--split", split] + asked)
    with pytest.raises(SystemExit) as end:
        ensemble.main()
    printed = capsys.readouterr().out
    assert not end.value.code and printed.startswith("beyond the paper") and "on the validation part" in printed
    assert ("warning: chosen on the very images" in printed) == (split == "valid")
    assert "split %s, n = %d" % (split, N) in printed


@pytest.mark.parametrize("budget", ["lots", "0", "-1", "nan"])
def test_a_budget_that_is_none_is_one_line(folder, monkeypatch, capsys, budget):
    monkeypatch.setattr("sys.argv", ["ensemble", "--runs", folder, "--budget=" + budget])
    with pytest.raises(SystemExit):
        ensemble.main()
    assert capsys.readouterr().err == "error: --budget %s is no number of million parameters: --budget 1.0\n" % budget


def test_interval_agrees_with_the_binomial_distribution():
    right = np.arange(1000) < 840
    low, high = judging.interval(np.zeros(1000, int), right.astype(float))
    expected = stats.binom.ppf([0.025, 0.975], 1000, 0.84) / 1000
    np.testing.assert_allclose([low, high], expected, atol=0.002)
    assert judging.interval(np.zeros(1000, int), right.astype(float), per_class=True) == pytest.approx((low, high))
    two = judging.interval(np.array([0] * 990 + [1] * 10), right.astype(float), per_class=True)
    assert two[1] - two[0] < 0.1 and 0.38 < two[0] < 0.45  # class 0: 840 of 990, class 1: none of 10


def test_mcnemar_by_hand():
    labels = np.zeros(30, int)
    first, second = np.eye(2)[[0] * 20 + [1] * 10], np.eye(2)[[0] * 12 + [1] * 8 + [0] * 2 + [1] * 8]
    only_first, only_second, p = judging.mcnemar(labels, first, second)
    assert (only_first, only_second) == (8, 2)
    assert p == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert judging.mcnemar(labels, first, first) == (0, 0, 1.0)


def test_calibration_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    ece, bins = judging.calibration(np.array([0, 1, 0, 1]), probabilities, bins=10)
    assert ece == pytest.approx((2 * abs(0.9 - 0.5) + 0.4 + 0.3) / 4)
    assert [n for n, _, _ in bins] == [1, 1, 2]
    (surest,) = judging.calibration(np.array([0]), np.array([[1.0005, 0]]))[1]  # a sum that a file of scores may have
    assert surest == (1, 1, 1)


def test_duplicates_and_agreement(runs, tmp_path):
    members, found = load(runs, "8")
    result = ensemble.result(members, found)
    s = result.trials[1]
    votes = {str(name): [3 + 7 * (i % 2 == 0) if c == label else 0 for c in range(8)] for i, (name, label) in enumerate(zip(s.names, s.labels))}
    known = judging.Annotations(set(votes), votes, {str(s.names[0])})
    judged = judging.judge(result, known)
    assert [n for _, n, _ in judged.strata] == [N - 1, N // 2, N // 2]
    right = np.mean([t.probabilities.argmax(1) == t.labels for t in result.trials.values()], axis=0)
    assert judged.strata[0][2] == pytest.approx(right[1:].mean())
    assert judged.strata[2][2] == pytest.approx(right[::2].mean()) and "10 of 10" in judged.strata[2][0]
    strangers = judging.judge(result, known._replace(names={"another.png"}))
    assert not strangers.strata and "of other images" in judging.report(result, strangers)
    assert judging.annotations(str(tmp_path), "test") == judging.NOTHING_KNOWN
    (tmp_path / "test.csv").write_text("key,name,label\n00000000,a.png,0\n")
    assert judging.annotations(str(tmp_path), "test") == judging.Annotations({"a.png"}, None, None)
    assert "accuracy, ten crops" in judging.report(result, judged)


def test_bad_input_is_one_line(runs, tmp_path):
    with pytest.raises(errors.Fail, match="no row 99"):
        rows.find(rows.table(runs), "8+99")
    with pytest.raises(errors.Fail, match="stands in it twice"):
        rows.find(rows.table(runs), "8+8")
    with pytest.raises(errors.Fail, match="no scores of the split test.*make eval SRC=none DEPTH=20 TRIAL=1 RUNS="):
        nothing = runs._replace(folder=str(tmp_path / "none"))
        rows.load(rows.table(nothing), nothing)
    members = rows.find(rows.table(runs._replace(folder=str(tmp_path))), "2+8")
    paths = [rows.scores_path(row, 1, "test") for row in members]
    for row, path in zip(rows.find(rows.table(runs), "2+8"), paths):
        os.makedirs(os.path.dirname(path))
        shutil.copy(rows.scores_path(row, 1, "test"), path)
    whole = scores.read(paths[1])

    def fails(words, split="test"):
        with pytest.raises(errors.Fail, match=words) as mistake:
            rows.load(members, runs._replace(folder=str(tmp_path), split=split))
        assert "\n" not in str(mistake.value)

    scores.write(paths[1], whole._replace(split="valid"))
    fails("holds scores of the split valid, not test")
    scores.write(paths[1], scores.Scores(*(v[:-1] if n not in ("classes", "split") else v for n, v in whole._asdict().items())))
    fails("not tested on the same images")
    scores.write(paths[1], whole._replace(labels=whole.labels[::-1]))
    fails("labels differ")
    with open(paths[1], "r+b") as f:
        f.truncate(1000)
    fails("damaged")


def test_a_damaged_byte_is_one_line_or_harmless(runs, tmp_path):
    row = rows.find(rows.table(runs), "2")[0]
    with open(rows.scores_path(row, 1, "test"), "rb") as f:
        whole = f.read()
    refused = 0
    for place in range(0, len(whole), len(whole) // 60):
        (tmp_path / "scores.npz").write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            scores.read(str(tmp_path / "scores.npz"), "test")
        except errors.Fail as mistake:
            assert "\n" not in str(mistake)
            refused += 1
    assert refused > 50


def test_added_rows(runs, folder, tmp_path):
    path = tmp_path / "rows.csv"
    head = "row,method,parameters,runs,accuracy\n"
    path.write_text(
        head
        + "mine,My network,1_000_000,%s,\ncounted,My ResNet-32,%s,nowhere,\nother,Another paper,5000000,,85.5\n"
        % (os.path.join(folder, "resnet32_ferplus_from_cifar10"), os.path.join("prototxt", "resnet32_ferplus_deploy.prototxt"))
    )
    runs = runs._replace(added=str(path))
    members, found = load(runs, "2+mine")
    assert members[1].parameters == 10**6 and sorted(found["mine"]) == [1, 2]
    assert rows.table(runs)[-1].accuracy == 85.5 and rows.table(runs)[-2].parameters == 474456
    for line, words in (
        ("a+b,x,1,r,", "without +"),
        ("a,x,1,,", "either runs"),
        ("a,x,many,r,", "parameters must be"),
        ("a,x,0,r,", "parameters must be"),
        ("a,x,1,,good", "no number"),
        ("a,x,1,,185", "no number"),
        ("a,x,1,r,\na,y,1,r,", "twice: a"),
        ("a,x", "5 fields"),
        ("a,x, y,1,r,", "5 fields"),
    ):
        path.write_text(head + line + "\n")
        with pytest.raises(errors.Fail, match=words):
            rows.table(runs)
    path.write_text("method\n")
    with pytest.raises(errors.Fail, match="first line must be"):
        rows.table(runs)


def test_short_runs_and_commands(runs):
    short = runs._replace(epochs=("1", "2"), split="valid", folder="runs/torch")
    table = rows.table(short)
    assert os.path.basename(table[0].folder) == "resnet20_ferplus_from_none_2ep"
    assert os.path.basename(table[1].folder) == "resnet20_ferplus_from_cifar10-1ep_2ep"
    assert rows.fill(table[7], 3, short) == ("make eval SRC=cifar10 DEPTH=32 TRIAL=3 SPLIT=valid PRETRAIN_EPOCHS=1 FINETUNE_EPOCHS=2 ENGINE=torch")
