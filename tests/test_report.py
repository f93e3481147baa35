"""Tables, figures and the page, on synthetic scores."""

import base64
import csv
import io
import os
import re
import sys
from html.parser import HTMLParser

import page_in_chromium
import pytest
import synthetic_scores
from evaluation_data import write_part

from common import scores
from evaluation import metrics
from evaluation.report import draw, figures, page, results, rows, tables
from evaluation.report.table import to_csv, to_text
from paper import facts


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    """Rows 1, 2, 3, 8 and, without its fourth trial, 11."""
    folder = str(tmp_path_factory.mktemp("runs"))
    synthetic_scores.write(folder, only=(1, 2, 3, 8), n=300)
    synthetic_scores.write(folder, only=(11,), trials=(1, 2, 3, 5), n=300)
    return results.read(rows.Runs(folder, "test", (None, None), rows.ADDED))


def csv_rows(table):
    return list(csv.DictReader(io.StringIO(to_csv(table))))


def test_table2_has_both_figures_and_the_missing_commands(some):
    lines = csv_rows(tables.table2(some))
    assert len(lines) == 12
    s = scores.read(rows.scores_path(some.rows[7], 3, "test"))
    assert float(lines[7]["trial 3"]) == pytest.approx(100 * metrics.accuracy(s.labels, s.probabilities))
    trials = [float(lines[7]["trial %d" % t]) for t in facts.TRIALS]
    assert float(lines[7]["ours"]) == pytest.approx(sum(trials) / 5)
    assert float(lines[7]["diff"]) == pytest.approx(sum(trials) / 5 - 83.92)
    assert float(lines[7]["D"]) == pytest.approx(sum(trials) / 5 / 0.474456)
    assert lines[7]["n"] == "300" and lines[7]["paper trial 5"] == "83.53"
    assert lines[3]["ours"] == lines[3]["n"] == "" and lines[10]["trial 4"] == ""
    printed = to_text(tables.table2(some))
    assert re.search("row 4, trials 1 2 3 4 5 +make row ROW=4 RUNS=", printed)
    assert "row 11, trial 4" in printed and "make eval SRC=cinic10 DEPTH=32 TRIAL=4 RUNS=" in printed
    assert "row 9 prints 83.09, its trials give 83.098" in printed and "synthetic (24 runs)" in printed


def test_table3_lists_what_is_odd_in_the_paper(some):
    lines = csv_rows(tables.table3(some))
    assert len(lines) == 13 and lines[5]["method"] == "Ensemble (8) + (11)" and lines[5]["params"] == "948912"
    assert lines[5]["trial 4"] == "" and float(lines[5]["trial 5"]) > 60
    printed = to_text(tables.table3(some))
    assert "ensembles 11 and 12" in printed and "ensemble 9 prints 83.99, its trials give 83.996" in printed
    assert "ensemble 3 as 83.304" in printed


def test_table4_says_where_rounded_counts_mislead(some):
    lines = {line["method"]: line for line in csv_rows(tables.table4(some))}
    best = lines["single network, best: row 8"]
    assert float(best["D, printed"]) == pytest.approx(209.8) and best["params, exact"] == "474456"
    assert lines["TFE-JL"]["D, printed"] == "" and lines["CNN and BOVW + global SVM"]["params, printed"] == "300M+"
    assert "D of the printed 83.92% is 176.9, not 209.8" in to_text(tables.table4(some))


def test_another_split_is_never_compared_silently(some):
    printed = to_text(tables.table2(results.read(some.runs._replace(split="valid"))))
    assert "validation part (PublicTest), n = 300" in printed and "compare other images" in printed
    assert "SPLIT=valid" in printed


@pytest.mark.parametrize("name", ["fig2", "fig3"])
def test_figures_are_the_same_bytes_twice(some, name):
    def drawn(kind):
        with figures.style():
            return draw.image(draw.make(name, some), kind)

    svg = drawn("svg")
    assert svg == drawn("svg") and b"<svg" in svg and b"synthetic" in svg
    assert drawn("png").startswith(b"\x89PNG")


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.sources, self.ids, self.links, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        self.sources += [attributes[k] for k in ("src", "srcset") if k in attributes]
        self.links += [attributes["href"]] if "href" in attributes else []
        self.ids += [attributes["id"]] if "id" in attributes else []


@pytest.fixture(scope="module")
def html(some, tmp_path_factory):
    import numpy as np

    lmdb = pytest.importorskip("lmdb")
    from common.caffe import binary

    data = tmp_path_factory.mktemp("ferplus")
    with lmdb.open(str(data / "test_lmdb"), map_size=1 << 24) as env, env.begin(write=True) as transaction:
        for i in range(300):
            transaction.put(b"%08d" % i, binary.datum(np.full((3, 36, 36), i % 256, np.uint8), 0))
    return page.render(page.context(some, str(data)))


def test_the_page_is_self_contained(html):
    found = Page(html)
    assert len(found.sources) == html.count("<img") + html.count("<source") and html.count('class="right"') >= 8
    for source in found.sources:
        kind, content = re.match(r"data:(image/[a-z+]+);base64,(.*)$", source, re.S).groups()
        assert base64.b64decode(content)[:5] in (b"\x89PNG\r", b"<?xml") and kind in ("image/png", "image/svg+xml")
    assert all(link.startswith("#") and link[1:] in found.ids or link == "data:," for link in found.links)
    assert "script" not in found.tags and not re.search(r"(?:url\(|@import|https?://)", html)


def test_the_page_says_what_it_was_made_from(html):
    top = html[: html.index("<main>")]
    assert "Synthetic scores" in top and "24 of 60" in top and "row 4 (ResNet-20 from ImageNet32)" in top
    assert "row 11 (ResNet-32 from CINIC-10): trial 4" in top and "n = 300" in top


def test_a_page_without_data_says_why_there_are_no_examples(some, tmp_path, capsys):
    text = page.render(page.context(some, str(tmp_path)))
    assert "No pictures: " in text and "is not there" in text
    said = capsys.readouterr().err
    assert said.startswith("warning: ") and said.count("\n") == 1 and str(tmp_path) in said and "make data" in said


def cut(path):
    """Half of an LMDB's file; its head stays, so LMDB itself would open it."""
    os.truncate(path, os.path.getsize(path) // 2)


def scribbled(path):
    """Its head stays, and every page further on is none."""
    with open(path, "r+b") as f:
        f.seek(2 * 4096)
        f.write(b"\xff" * (os.path.getsize(path) - 2 * 4096))


@pytest.mark.parametrize("harm", [cut, scribbled])
def test_a_page_stops_where_the_data_are_damaged(some, tmp_path, monkeypatch, capsys, harm):
    write_part(str(tmp_path / "ferplus"), "test", 300)
    harm(tmp_path / "ferplus" / "test_lmdb" / "data.mdb")
    monkeypatch.setattr(sys, "argv", ["page", "--runs", some.runs.folder, "--data", str(tmp_path / "ferplus"), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as end:
        page.main()
    said = capsys.readouterr().err
    assert end.value.code == 1 and said.startswith("error: ") and said.count("\n") == 1
    assert str(tmp_path / "ferplus" / "test_lmdb") in said and "make data SRC=ferplus" in said and not os.path.exists(tmp_path / "out")


needs_chromium = pytest.mark.skipif(not page_in_chromium.chromium(), reason="no Chromium in this environment (make test takes the one outside)")


@needs_chromium
def test_chromium_opens_it_without_errors(html):
    assert page_in_chromium.problems(html) == []


@needs_chromium
def test_chromium_finds_what_is_wrong(html):
    broken = html.replace("<h1>", '<img src="nothing.png" alt="gone"><pre>%s</pre><script>nowhere()</script><h1>' % ("wide " * 99))
    found = "\n".join(page_in_chromium.problems(broken))
    assert "nowhere is not defined" in found
    for words in ("390 pixels, light: a picture does not load: gone", "390 pixels, dark: content is"):
        assert words in found


def test_files_of_other_runs_have_other_names(some, tmp_path, monkeypatch):
    """Of other engines and lengths; every table says what it was made from."""

    def made(engines, epochs=(None, None), split="test"):
        return results.file_name(some._replace(engines=dict.fromkeys(engines, 5), runs=some.runs._replace(epochs=epochs, split=split)), "table2")

    assert made(["caffe"]) == "table2_test" and made(["caffe"], split="valid") == "table2_valid"
    others = [
        made(["torch"]),
        made(["torch-bf16"]),
        made(["caffe", "torch"]),
        made(["torch"], ("5", None)),
        made(["caffe"], ("5", None)),
        made(["caffe"], (None, "5")),
        made(["caffe"], ("5", "5")),
    ]
    assert len(set(others + ["table2_test"])) == 8
    monkeypatch.setattr("sys.argv", ["tables", "table2", "--runs", some.runs.folder, "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        tables.main()
    with open(tmp_path / "table2_test_synthetic.csv", newline="") as f:
        for line in csv.DictReader(f):
            assert all(said in line["made from"] for said in ("engine: synthetic", some.runs.folder, "n = 300"))
