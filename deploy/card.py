"""A trained network for models/: its files, checked, with a model card that says how it was made, how good it is, what it is not for.

    python -m deploy.card runs/torch/resnet20_ferplus_from_cifar10/trial1 --name resnet20_cifar10
    python -m deploy.card                         the cards of all networks again, from their model.json

The card's text is card.md.jinja; everything in it comes from the run's run.json, log.csv and metrics_SPLIT.json, the data's manifest.json, and what the export
measured. The table of all networks and the checksums are written again each time.
"""

import argparse
import os
import re

import jinja2

from common import built, errors, files
from common import scores as scores_file
from common.caffe import messages as m
from common.caffe import text
from common.progress import duration
from deploy import check, export, making, signature
from evaluation import votes
from evaluation.report import show
from fer_lite import names, verify
from netgen import describe
from paper import experiments, facts, ours

README = "README.md"
BEGIN, END = "<!-- networks: written by `make model` -->", "<!-- end of networks -->"

# Data set -> what its terms say, for the networks trained on it.
_CIFAR = "%s (Krizhevsky, 2009): no formal licence; its authors ask to be cited (*Learning Multiple Layers of Features from Tiny Images*)."
LICENCES = {
    "ferplus": "FER+ (Barsoum et al., 2016): the labels are Microsoft's, MIT licence. Its images are FER2013's (Goodfellow et al., 2013), given "
    "out under the rules of the Kaggle competition *Challenges in Representation Learning*; copies that carry another licence had no "
    "right to it.",
    "cifar10": _CIFAR % "CIFAR-10",
    "cifar100": _CIFAR % "CIFAR-100",
    "cinic10": "CINIC-10 (Darlow et al., 2018): CC BY 4.0; part of its images are ImageNet's, under ImageNet's terms (non-commercial research).",
    "imagenet32": "ImageNet32 (Chrabaszcz et al., 2017): ImageNet's terms, non-commercial research.",
    "webface": "CASIA-WebFace (Yi et al., 2014): research only; InsightFace's copy says the same of networks trained on it.",
}


def folder_of(model):
    """(caffemodel, its run's folder)."""
    path = export.find(model)
    return path, os.path.dirname(path)


def metrics(folder, split):
    """metrics_SPLIT.json of a run, None where it has not been tested."""
    path = os.path.join(folder, "metrics_%s.json" % split)
    return show.read(path) if os.path.exists(path) else None


def data_sets(runs):
    """Names of the data sets of `making.account`'s runs: cifar10, ferplus."""
    return [name for name in LICENCES if any("/%s/" % name in "/%s/" % (run["train"].get("lmdb") or "") for run in runs)]


def percent(share):
    return "%.2f%%" % (100 * share)


def card(about, row):
    """A network's README.md as text. `about`: model.json's dict, `row`: its row of Table II or None."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(os.path.abspath(__file__))), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters.update(percent=percent, part=part, duration=duration, commit=lambda commit: commit[:12] + commit[40:])
    environment.tests["there"] = lambda file: any(runtime.endswith(", " + file) for runtime in about["checks"]["runtimes"])
    return environment.get_template("card.md.jinja").render(
        about=about,
        tested=about.get("metrics"),
        measured=about.get("accuracy", {}),
        row=row,
        source=facts.source(row.source).title if row and row.source else None,
        paper_n=ours.FERPLUS_IMAGES["test"],
        views=views_of(about),
        names=names,
        runtimes={names.FLOAT: "ONNX Runtime", names.INT8: "ONNX Runtime", **{file: kind[0] for file, kind in check.DEVICES.items()}},
        licences=[LICENCES[name] for name in data_sets(about["training"]) or ["ferplus"]],
    )


def views_of(about):
    """What a network is shown of a face in place of one crop: the paper's ten, or of one that it takes whole the mirrored pair."""
    return "mirrored pair" if names.takes_whole_face(about) else "ten crops"


def part(split):
    """FER+'s own name of a part."""
    return {"valid": "PublicTest", "test": "PrivateTest", "train": "training part"}.get(split, split)


def overview(root):
    """The table of all networks for models/README.md."""
    lines = [
        "| network | paper's row | parameters | ten crops | one crop | int8, ten crops | n, part | the paper (PrivateTest) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in verify.networks(root):
        about = names.facts(os.path.join(root, name))
        a, row = about.get("accuracy", {}), about.get("row")
        paper_row = facts.row(row) if row else None
        float_, int8 = a.get(names.FLOAT), a.get(names.INT8)
        net = text.read(os.path.join(root, name, names.CAFFE[0][0]), m.NetParameter)
        lines.append(
            "| [%s](%s/README.md) | %s | %dK | %s | %s | %s | %s | %s |"
            % (
                name,
                name,
                row or "",
                describe.trainable_parameters(net) // 1000,
                percent(float_["ten_crops"]) if float_ else "",
                percent(float_["one_crop"]) if float_ else "",
                percent(int8["ten_crops"]) if int8 else "",
                "%d, %s" % (a["n"], part(a["split"])) if a else "",
                "%.2f%%" % paper_row.average if paper_row else "",
            )
        )
    return "\n".join(lines)


def write_overview(root):
    """Put the table between its marks in `root`/README.md. Fail where the marks are gone."""
    path = os.path.join(root, README)
    if not os.path.exists(path):
        content = "# Networks\n\n%s\n%s\n" % (BEGIN, END)
    else:
        with open(path) as f:
            content = f.read()
    if content.count(BEGIN) != 1 or content.count(END) != 1:
        raise errors.Fail("%s has lost the line %s or %s, between which the table belongs: put it back" % (path, BEGIN, END))
    before, after = content.split(BEGIN)[0], content.split(END)[1]
    with files.replacing(path) as temporary, open(temporary, "w") as f:
        f.write("%s%s\n%s\n%s%s" % (before, BEGIN, overview(root), END, after))


def label_rules(folder, path, split, data_folder):
    """{"rules": accuracies by both label rules, "calibration": evaluation/temperature.py's} where the run has scores of data/ferplus_votes, else {}."""
    tested, scores = metrics(folder, split), os.path.join(folder, "scores_%s.npz" % split)
    if not (
        tested
        and os.path.exists(scores)
        and tested["made_from"]["weights_sha256"] == files.sha256(path)
        and built.manifest(data_folder)["set"] == "ferplus_votes"
    ):
        return {}
    fitted = os.path.join(folder, "calibration_%s.json" % split)
    return {"rules": votes.figures(scores_file.read(scores, split), data_folder), **({"calibration": show.read(fitted)} if os.path.exists(fitted) else {})}


def make(model, name, root, data_folder, split, caffe):
    """Make `root`/NAME of a run, whole or not at all; returns model.json's dict."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name):
        raise errors.Fail("NAME=%s: a network's name is small letters, digits, _ . and -" % name)
    path, folder = folder_of(model)
    row, found = experiments.row_of(path), experiments.recognised(path)
    tested = metrics(folder, split)
    more = {"row": row.row if row else None, "trial": found.trial if found and found.trial in facts.TRIALS else None, "training": making.account(path)}
    if tested:
        if tested["made_from"]["weights_sha256"] != files.sha256(path):
            raise errors.Fail("metrics_%s.json in %s is of other weights: test it again with `make eval`" % (split, folder))
        kept = ("split", "n", "accuracy", "one_crop_accuracy", "mean_class_accuracy", "per_class", "confusion")
        more["metrics"] = dict({key: tested[key] for key in kept}, engine=tested["made_from"]["engine"])
    more.update(label_rules(folder, path, split, data_folder))
    os.makedirs(root, exist_ok=True)
    about = export.export(
        path,
        os.path.join(root, name),
        data_folder,
        split,
        caffe,
        name=name,
        more=more,
        extra=lambda facts_: {README: card(facts_, row)},
        temperature=more.get("calibration", {}).get("temperature", 1.0),
    )
    finish(root)
    return about


def rewrite(root):
    """Each card of `root` again, from its model.json."""
    for name in verify.networks(root):
        about = names.facts(os.path.join(root, name))
        with files.replacing(os.path.join(root, name, README)) as temporary, open(temporary, "w") as f:
            f.write(card(about, facts.row(about["row"]) if about.get("row") else None))
    finish(root)


def finish(root):
    """What speaks of all networks of `root`: the table and the checksums; a signature of other files is removed."""
    write_overview(root)
    check.write_checksums(root)
    if signature.withdraw(root):
        print("the signature was of other files and is removed: `make sign KEY=... SIGNER=...`")


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python -m deploy.card", description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="a run's folder, or its caffemodel (default: write the cards of --root again)")
    parser.add_argument("--name", help="name of its folder in models/")
    parser.add_argument("--root", default="models")
    parser.add_argument("--data", default="data/ferplus")
    parser.add_argument("--split", default="valid")
    parser.add_argument("--caffe", default="bash env/run python3", help='command that runs Python with Caffe; "" to go without')
    args = parser.parse_args()
    if bool(args.model) != bool(args.name):
        parser.error("a model and its --name belong together")
    if not args.model:
        return rewrite(args.root)
    about = make(args.model, args.name, args.root, args.data, args.split, args.caffe)
    print(export.report(about, os.path.join(args.root, args.name)))


if __name__ == "__main__":
    main()
