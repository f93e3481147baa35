"""What README.md and docs/ say is so: their links, commands and paths lead somewhere, and their figures are those of models/."""

import csv
import glob
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from paper import facts

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "models/README.md", "models/LICENSE.md"] + sorted(
    os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(ROOT, "docs", "*.md"))
)
FOLDERS = "paper common fer_lite netgen data_prep engines training evaluation deploy demo tests benchmarks env docs prototxt solvers".split()


def read(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as f:
        return f.read()


def code(page):
    """The code of a page: fenced and indented blocks, and what stands between backticks."""
    return re.findall(r"^```\w*\n(.*?)^```|^    ([^\n]*)$|`([^`\n]+)`", read(page), re.M | re.S)


def words(page):
    return ["".join(found) for found in code(page)]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        path = os.path.join(os.path.dirname(page), path) if path else page
        assert os.path.exists(os.path.join(ROOT, path)), target
        if heading:
            titles = [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", read(path), re.M)]
            assert heading in titles, target


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_paths_are_there(page):
    targets = set(re.findall(r"^([a-z0-9][a-z0-9 -]*):", "".join(read(path) for path in ["Makefile"] + glob.glob(os.path.join(ROOT, "make", "*.mk"))), re.M))
    targets = {name for line in targets for name in line.split()}
    for some in words(page):
        for target in re.findall(r"\bmake (?:-\S+ )*([a-z][a-z0-9-]*)(?= |$|\n)", some):
            assert target in targets, "make " + target
        for module in re.findall(r"(?:python3?|env/run --\w+) -m ([\w.]+)", some):
            assert os.path.exists(os.path.join(ROOT, *module.split("."))) or importlib.util.find_spec(module), module
        for path in re.findall(r"(?<![\w/.])((?:%s)/[\w/.-]*\w)" % "|".join(FOLDERS), some):
            known = re.search(r"\b(NAME|SET)\b", path) or os.path.exists(os.path.join(ROOT, path))
            assert known, path


def test_the_table_of_results_is_that_of_the_models():
    table = re.search(r"<!-- results -->\n(.*)<!-- end of results -->", read("README.md"), re.S).group(1)
    head, _, *lines = table.strip().splitlines()
    shown = {re.search(r"models/(\w+)/", line).group(1): line for line in lines}
    assert sorted(shown) == sorted(os.path.basename(os.path.dirname(path)) for path in glob.glob(os.path.join(ROOT, "models", "*", "model.json")))
    for name, line in shown.items():
        about = json.loads(read("models/%s/model.json" % name))
        row, accuracy = facts.row(about["row"]) if about["row"] else None, about["accuracy"]
        figures = [accuracy["model.onnx"]["ten_crops"], accuracy["model.onnx"]["one_crop"], accuracy["model_int8.onnx"]["ten_crops"]]
        assert re.findall(r"\d+\.\d\d%", line) == ["%.2f%%" % (100 * figure) for figure in figures] + (["%.2f%%" % row.average] if row else [])
        assert line.startswith("| row %d: [ResNet-%d" % (row.row, row.depth) if row else "| beyond the paper: [")
        # What the table's head says of all of them.
        assert (accuracy["split"], "{:,}".format(accuracy["n"])) == ("valid", re.search(r"PublicTest, n = ([\d,]+)", head).group(1))
        assert all(run["engine"].startswith("torch") for run in about["training"]) and "PyTorch engine, 1 trial" in head


def numbers(value):
    """Every number in what was read from JSON."""
    if isinstance(value, (int, float)):
        yield float(value)
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
        yield from numbers(each)


def results(*patterns):
    """Every figure in the result files of these patterns, as a page may print it: a share or a percentage, one or two digits behind the point."""
    found = [number for name in dir(facts) if name.isupper() for number in numbers(getattr(facts, name))]
    for path in (path for pattern in patterns for path in glob.glob(os.path.join(ROOT, pattern), recursive=True)):
        with open(path, encoding="utf-8", newline="") as f:
            cells = [json.load(f)] if path.endswith(".json") else [float(cell) for row in csv.reader(f) for cell in row if re.fullmatch(r"[\d.]*\d", cell)]
        found += numbers(cells)
    return {form % (number * size) for number in found for form in ("%.1f", "%.2f") for size in (1, 100)}


CARDS = sorted(os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(ROOT, "models", "*", "README.md")))


@pytest.mark.parametrize("page", PAGES + CARDS)
def test_every_percentage_is_of_a_result_that_is_kept(page):
    """A card's: of its own model.json or the paper. A page's: of any, or of docs/results/figures.csv, which names the few whose run is not kept."""
    own = [os.path.dirname(page) + "/model.json"] if page in CARDS else ["models/*/model.json", "docs/results/**/*.json", "docs/results/[!f]*.csv"]
    shown, kept = set(re.findall(r"(\d+\.\d+)%", read(page))), results(*own)
    with open(os.path.join(ROOT, "docs", "results", "figures.csv"), newline="") as f:
        named = {row["figure"] for row in csv.DictReader(f) if row["page"] == page}
    assert not shown - kept - named, "no result file has these"
    assert not named - shown, "docs/results/figures.csv names what this page does not say"


@pytest.mark.parametrize("page", CARDS)
def test_a_card_is_that_of_its_network_with_a_head_for_hugging_face(page):
    yaml = pytest.importorskip("yaml", reason="needs PyYAML, which Caffe brings")
    about = json.loads(read(os.path.dirname(page) + "/model.json"))
    _, head, text = read(page).split("---\n", 2)
    head = yaml.safe_load(head)
    assert (head["license"], head["pipeline_tag"], head["metrics"]) == ("other", "image-classification", ["accuracy"]) and "onnx" in head["tags"]
    (index,) = head["model-index"]
    assert index["name"] == about["name"] and text.startswith("\n# %s\n" % about["name"])
    (result,) = index["results"]  # Hugging Face refuses a card without these
    assert result["task"]["type"] and result["dataset"]["type"] and result["dataset"]["name"] and result["dataset"]["args"]["n"] == about["accuracy"]["n"]
    assert [metric["value"] for metric in result["metrics"]] == [
        about["accuracy"][file][views] for file in ("model.onnx", "model_int8.onnx") for views in ("ten_crops", "one_crop")
    ]


def test_the_costs_are_those_that_describe_prints():
    printed = subprocess.run([sys.executable, "-m", "netgen.describe"], cwd=ROOT, stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout
    assert "\n".join(("    " + line).rstrip() for line in printed.rstrip().splitlines()) in read("docs/training.md")


def test_the_readme_stays_short_and_plain():
    text = read("README.md")
    assert len(text.splitlines()) <= 160
    for page in PAGES:
        if page.startswith(("README", "docs", "CONTRIBUTING")):
            assert not re.findall(r"\b(?:is|are) no (?!\d)|\bnone is\b|\bof so many\b", read(page)), page


def test_using_a_network_as_the_readme_says(tmp_path):
    """Its shell lines and its Python, on a drawn face."""
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install -r env/deploy.txt")
    shutil.copy(os.path.join(ROOT, "deploy", "web", "page", "example.png"), str(tmp_path / "photo.jpg"))
    env = dict(os.environ, PYTHONPATH=ROOT)

    def run(*command):
        return subprocess.run([sys.executable, *command], cwd=str(tmp_path), env=env, stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout

    section = read("README.md").split("## Use a network")[1].split("\n## ")[0]
    for line in re.search(r"```sh\n(.*?)```", section, re.S).group(1).splitlines():
        if line.startswith(".venv/bin/fer-lite "):
            said = json.loads(run("-m", "fer_lite", *line.split("#")[0].split()[1:]).splitlines()[0])
            assert said["label"] in facts.EXPRESSIONS and (tmp_path / "drawn.jpg").exists()
    said = run("-c", re.search(r"```python\n(.*?)```", section, re.S).group(1))
    assert any(name in said.splitlines()[0] for name in facts.EXPRESSIONS)
