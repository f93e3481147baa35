"""A trained network for models/: its files, checked, with a model card that says how it was made, how good it is, what it is not for.

    python -m deploy.card runs/torch/resnet20_ferplus_from_cifar10/trial1 --name resnet20_cifar10
    python -m deploy.card                         the cards of all networks again, from their model.json

Everything in the card comes from the run's run.json, log.csv and metrics_SPLIT.json, the data's manifest.json, and what the export
measured. The table of all networks and the checksums are written again each time.
"""

import argparse
import os
import re
import shlex

from common import built, errors, files
from common import runs as kept_runs
from common import scores as scores_file
from common.caffe import messages as m
from common.caffe import text
from common.progress import duration
from deploy import check, export, signature
from evaluation import votes
from evaluation.report import show
from fer_lite import names, verify
from netgen import describe
from paper import experiments, facts, ours
from training import transplant

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
USE = """## Intended use

Research on small networks, teaching, and prototypes that sort faces by what they show, with a person who looks at the result and the consent
of those who are shown. Input: one upright, roughly frontal face, cut out as FER2013 does (`fer_lite/faces.py`).

## Not for

- **Judging people.** The label names what ten annotators saw in a face. It does not tell what a person feels, intends or is like;
  people show the same feeling differently, by culture, age, situation and health. Do not decide on work, schooling, credit,
  insurance, treatment, policing or migration with it. The European Union's AI Act forbids inferring emotions at work and in
  schools, with narrow exceptions, and regulates it elsewhere.
- **People who did not agree**, surveillance, or the identification of anyone.
- **Groups that were not measured.** FER2013 was collected by a search engine, is unbalanced in ways that its authors did not record,
  and carries no age, sex or skin tone; this project has therefore not measured fairness, and claims none.
- **Rare expressions.** Disgust, fear and contempt had fewer than 600 examples each before balancing, and come out worst (see above).
- Strong profiles, masks, very dark faces, faces much smaller than FER2013's 48 pixels, drawings."""


def folder_of(model):
    """(caffemodel, its run's folder)."""
    path = export.find(model)
    return path, os.path.dirname(path)


def metrics(folder, split):
    """metrics_SPLIT.json of a run, None where it has not been tested."""
    path = os.path.join(folder, "metrics_%s.json" % split)
    return show.read(path) if os.path.exists(path) else None


def chain(path):
    """The runs that made a caffemodel, the last first: [(folder, run.json)]; a fine-tuning is followed by its pretraining."""
    folder = os.path.dirname(path)
    found = [(folder, export.run_record(path))]
    given = [kept_runs.option(session.get("command", []), "--weights") for session in found[0][1].get("sessions", [])]
    for path_then in filter(None, given):
        wanted, weights = _source(found[0][1], folder, path_then)
        for place in (weights, os.path.join(folder, "..", "..", os.path.basename(os.path.dirname(weights)), "final.caffemodel")):
            if os.path.isfile(place) and files.sha256(place) == wanted:
                return found + [(os.path.dirname(os.path.normpath(place)), export.run_record(place))]
    return found


def _source(run, folder, weights):
    """(hash, path) of the pretrained caffemodel of a fine-tuning in `folder` that was given the path `weights`, as it was then."""
    for place in (weights, os.path.join(folder, "..", os.path.basename(weights))):
        if os.path.isfile(place):
            source = transplant.origin(place)
            if source.path != place:
                return source.sha256, source.path
    return run.get("inputs", {}).get("weights"), weights  # version 1 of a run's description has the file's hash


def made_how(path):
    """model.json's account of the training: the runs, the first one last, and the data behind them."""
    runs = []
    for folder, run in chain(path):
        inputs, sessions = run.get("inputs", {}), run.get("sessions", [])
        if not run:
            continue
        log = kept_runs.read_log(os.path.join(folder, "log.csv"))
        first, last = (sessions[i] if sessions else {} for i in (0, -1))
        words = last.get("command", [])[1:]
        work = _work(words)
        runs.append(
            {
                "folder": _shown(os.path.abspath(folder), work),
                "command": shlex.join(["python3", "-m", "training.run"] + [_shown(word, work) for word in words]),
                "engine": inputs.get("engine"),
                "git_commit": sorted({s.get("git_commit") or "unknown" for s in sessions}),
                "sessions": len(sessions),
                "began": first.get("began"),
                "ended": last.get("ended"),
                "machine": last.get("machine"),
                "versions": last.get("versions"),
                "iterations": run.get("iteration"),
                "epochs": log[-1]["epoch"] if log else None,
                "seconds": run.get("seconds"),
                "solver": inputs.get("solver"),
                **({"recipe": inputs["recipe"]} if inputs.get("recipe") else {}),
                "train": dict(
                    {key: inputs.get("train", {}).get(key) for key in ("images", "sha256")},
                    lmdb=_shown(last.get("lmdbs", {}).get("train") or inputs.get("train", {}).get("lmdb") or "", work),
                ),
            }
        )
    return runs


def _work(words):
    """The folder that has the solvers/ of a recorded command, where it is an absolute path; else None."""
    solver = kept_runs.option(words, "--solver")
    return os.path.dirname(os.path.dirname(solver)) if solver and os.path.isabs(solver) else None


def _shown(word, work):
    """A word of a recorded command as a model card may show it: a path, or an option's, as from the folder `work`, in which the run was made."""
    option, path = re.fullmatch("(--[a-z-]+=)?(.*)", word, re.S).groups(default="")
    if not os.path.isabs(path):
        return word
    inside = work is not None and os.path.commonpath([path, work]) == work
    return option + (os.path.relpath(path, work) if inside else export.shown_path(path))


def data_sets(runs):
    """Names of the data sets of `made_how`'s runs: cifar10, ferplus."""
    return [name for name in LICENCES if any("/%s/" % name in "/%s/" % (run["train"].get("lmdb") or "") for run in runs)]


def percent(share):
    return "%.2f%%" % (100 * share)


def card(about, row):
    """A network's README.md as text. `about`: model.json's dict, `row`: its row of Table II or None."""
    tested, runs = about.get("metrics"), about["training"]
    title = "# %s\n\n%s, %s, for the eight expressions of FER+%s." % (
        about["name"],
        about["net"].split()[0] if row else about["net"],
        "trained on FER+ from scratch"
        if row and not row.source
        else "pretrained on %s and fine-tuned on FER+" % facts.source(row.source).title
        if row
        else "trained as said below",
        " (row %d of the paper's Table II)" % row.row if row else "",
    )
    parts = [title, _accuracy(about, row)]
    if tested:
        parts.append(_per_class(tested, views_of(about)))
    parts += [
        _files(about),
        _making(runs, about),
        USE,
        "## Licences of the data behind it\n\n"
        + "\n".join("- " + LICENCES[name] for name in data_sets(runs) or ["ferplus"])
        + "\n\nThe weights are given out for the uses above, as far as these terms allow; this project claims no more rights to them than it has.",
    ]
    return "\n\n".join([head(about), *parts]) + "\n"


def head(about):
    """The YAML before a card, which Hugging Face reads (its docs/hub/model-cards): terms, task, and what ONNX Runtime was measured at."""
    lines = [
        "license: other",
        "license_name: fer-lite-weights",
        "license_link: LICENSE.md",
        "pipeline_tag: image-classification",
        "tags: [facial-expression-recognition, ferplus, onnx, caffe]",
    ]
    a, views = about.get("accuracy", {}), (("ten_crops", views_of(about)), ("one_crop", "one crop"))
    if a:
        lines += [
            "metrics: [accuracy]",
            "model-index:",
            "- name: %s" % about["name"],
            "  results:",
            "  - task: {type: image-classification}",
            "    dataset: {type: ferplus, name: FER+, split: %s, args: {n: %d}}" % (_part(a["split"]), a["n"]),
            "    metrics:",
        ]
        lines += [
            '    - {type: accuracy, value: %s, name: "%s, %s"}' % (a[file][key], file, view)
            for file in (names.FLOAT, names.INT8)
            if file in a
            for key, view in views
        ]
    return "\n".join(["---", *lines, "---"])


def _accuracy(about, row):
    views = views_of(about)
    lines = ["## Accuracy", "", "| | %s | one crop | n | part |" % views, "| --- | --- | --- | --- | --- |"]
    tested, a = about.get("metrics"), about.get("accuracy", {})
    lines += [
        "| %s | %s | %s | %d | %s |" % (line["rule"], percent(line["ten_crops"]), percent(line["one_crop"]), line["n"], _part("valid"))
        for line in about.get("rules", ())
    ]
    if tested:
        lines.append(
            "| `make eval`, engine %s%s | %s | %s | %d | %s |"
            % (
                tested["engine"],
                ", label by most votes" if "rules" in about else "",
                percent(tested["accuracy"]),
                percent(tested["one_crop_accuracy"]),
                tested["n"],
                _part(tested["split"]),
            )
        )
    for name in (names.FLOAT, names.INT8, *check.DEVICES):
        if name in a:
            lines.append(
                "| %s, `%s` | %s | %s | %d | %s |"
                % (check.DEVICES.get(name, ["ONNX Runtime"])[0], name, percent(a[name]["ten_crops"]), percent(a[name]["one_crop"]), a["n"], _part(a["split"]))
            )
    if row:
        if about["trial"]:
            lines.append(
                "| the paper, trial %d | %.2f%% | | %d | PrivateTest |" % (about["trial"], row.trials[about["trial"] - 1], ours.FERPLUS_IMAGES["test"])
            )
        lines.append("| the paper, mean of five trials | %.2f%% | | %d | PrivateTest |" % (row.average, ours.FERPLUS_IMAGES["test"]))
    if "temperature" in about:
        lines += [
            "",
            "The final layer was divided by a temperature of %s (`python3 -m evaluation.temperature`)%s."
            % (
                about["temperature"],
                ": the expected calibration error of %d images on which it was not fitted is %.1f%%, without it %.1f%% (one crop)"
                % (about["calibration"]["n"], 100 * about["calibration"]["ece"], 100 * about["calibration"]["ece_before"])
                if "calibration" in about
                else "",
            ),
        ]
    if names.INT8 in a:
        lines += [
            "",
            "int8 changes %+.2f points with %s, %+.2f with one."
            % (100 * (a[names.INT8]["ten_crops"] - a[names.FLOAT]["ten_crops"]), views, 100 * (a[names.INT8]["one_crop"] - a[names.FLOAT]["one_crop"])),
        ]
    if row and "split" in (tested or a) and (tested or a)["split"] != "test":
        lines += [
            "",
            "The paper's figures are of another part: PrivateTest's pixels were not at hand. No image of PublicTest was used for "
            "training, and no snapshot was chosen by it; the batches of 32 on FER+ were. One trial, so no standard deviation.",
        ]
    return "\n".join(lines)


def views_of(about):
    """What a network is shown of a face in place of one crop: the paper's ten, or of one that it takes whole the mirrored pair."""
    return "mirrored pair" if names.takes_whole_face(about) else "ten crops"


def _part(split):
    return {"valid": "PublicTest", "test": "PrivateTest", "train": "training part"}.get(split, split)


def _per_class(tested, views):
    lines = [
        "## Each class",
        "",
        "%s, %s, n = %d; mean class accuracy %s." % (views.capitalize(), _part(tested["split"]), tested["n"], percent(tested["mean_class_accuracy"])),
        "",
        "| class | n | precision | recall | F1 |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join(
        lines
        + ["| %s | %d | %.1f%% | %.1f%% | %.1f%% |" % (c["name"], c["n"], 100 * c["precision"], 100 * c["recall"], 100 * c["f1"]) for c in tested["per_class"]]
    )


def _files(about):
    checks = about["checks"]
    lines = [
        "## Files",
        "",
        "| file | what it is |",
        "| --- | --- |",
        "| `net.caffemodel`, `deploy.prototxt` | as trained, for Caffe |",
        "| `folded.caffemodel`, `folded.prototxt` | BatchNorm and Scale folded into the convolutions: for device toolchains that read Caffe |",
        "| `model.onnx` | ONNX, opset %d, any batch; mean subtraction and softmax inside |" % about["versions"]["opset"],
        "| `model_batch1.onnx` | the same for one crop at a time |",
    ]
    if names.INT8 in about.get("accuracy", {}) or any(name.endswith(names.INT8) for name in checks["runtimes"]):
        lines.append("| `model_int8.onnx` | int8, calibrated on training images |")
    devices = [name for name in check.DEVICES if any(key.endswith(", " + name) for key in checks["runtimes"])]
    lines += [
        "| %s | for %s, made of `model_batch1.onnx` by %s |" % what
        for name, what in (
            (names.LITERT, ("`%s`" % names.LITERT, "LiteRT (TensorFlow Lite): one crop, H x W x C", "onnx2tf")),
            (names.LITERT_INT8, ("`%s`" % names.LITERT_INT8, "LiteRT, int8 inside, calibrated on training images", "onnx2tf")),
            (names.NCNN[0], ("`%s`, `%s`" % names.NCNN, "ncnn", "pnnx")),
        )
        if name in devices
    ]
    lines += [
        "| `model.json` | this card's facts |",
        "",
        "Input: %s. The Caffe files take it minus the mean %s. Class order: %s."
        % (about["input"], " ".join(map(str, about["mean"])), ", ".join(about["classes"])),
        "",
        "Largest difference of a probability from %s over %d crops:" % (checks["reference"], checks["crops"]),
        "",
        "| runtime | difference |",
        "| --- | --- |",
    ]
    return "\n".join(lines + ["| %s | %.1e |" % item for item in checks["runtimes"].items() if item[0] != checks["reference"]])


def _making(runs, about):
    lines = ["## How it was made", ""]
    for step, run in zip(reversed(range(len(runs))), runs):
        kind = "Pretraining" if step == 0 and len(runs) > 1 else "Training on FER+"
        solver = run["solver"] or {}
        images, iterations, epochs = (number or 0 for number in (run["train"]["images"], run["iterations"], run["epochs"]))
        lines += [
            "**%s**: engine %s, commit %s, %s iterations%s%s%s."
            % (
                kind,
                run["engine"],
                ", ".join(commit[:12] + commit[40:] for commit in run["git_commit"]),
                "{:,}".format(iterations),
                " (%.3g epochs of batches of %d)" % (epochs, round(epochs * images / iterations)) if epochs else "",
                ", %s" % duration(run["seconds"]) if run["seconds"] else "",
                " on one %s" % run["machine"] if run["machine"] else "",
            ),
            "",
            "    " + run["command"],
            "",
            "%s, rate %s%s, momentum %s, weight decay %s. Data: %s, %s images, hash of the LMDB's contents %s."
            % (
                solver.get("type"),
                solver.get("base_lr"),
                _falls(solver),
                solver.get("momentum"),
                solver.get("weight_decay"),
                run["train"]["lmdb"],
                "{:,}".format(images),
                (run["train"]["sha256"] or "unknown")[:16],
            ),
            "",
        ]
        if run.get("recipe"):
            lines += [_by_recipe(run["recipe"]), ""]
    if not runs:
        lines.append("The run's record (run.json) was not beside the weights.")
    return "\n".join(lines + ["SHA-256 of the weights as they came from training: `%s`." % about["source"]["sha256"]])


def _by_recipe(how):
    """What a recipe did, in a sentence."""
    small = "small ones first, " if len(how["sides"]) > 1 else ""
    taught = (
        ", and on the answers of %d teacher%s (%s of the target; SHA-256 of the scores %s)"
        % (len(how["teachers"]), "s"[len(how["teachers"]) == 1 :], percent(how["teaching"]), ", ".join(each[:16] for each in how["teachers"]))
        if how.get("teachers")
        else ""
    )
    return "Trained on FER+'s votes%s, as `paper/recipe.py` says: images altered anew each time, %sweights averaged over the run." % (taught, small)


def _falls(solver):
    """How a solver's rate falls, in words that follow its value."""
    if solver.get("lr_policy") == "poly":
        return " falling to zero (`poly`, power %g)" % solver["power"]
    return " times %s at iterations %s" % (solver.get("gamma"), " and ".join(map(str, solver.get("stepvalue", []))))


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
                "%d, %s" % (a["n"], _part(a["split"])) if a else "",
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
    more = {"row": row.row if row else None, "trial": found.trial if found and found.trial in facts.TRIALS else None, "training": made_how(path)}
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
