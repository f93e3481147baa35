"""Pack the page with all that it needs into one folder, so that it works without a network.

    python3 -m deploy.web.build --model models/resnet20_votes

The page offers every network of models/, and MODEL first: a folder that `make export` or `make model` wrote.
The folder is static files for any web host, at any path (docs/deploy.md).
"""

import argparse
import glob
import json
import os
import shutil

from common import errors, files
from deploy.web import serve
from fer_lite import faces, names

HERE = os.path.dirname(os.path.abspath(__file__))
ORT = os.path.join(HERE, "node_modules", "onnxruntime-web", "dist")
ORT_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
LICENCES = {"fer-lite.txt": "LICENSE", "yunet.txt": "fer_lite/yunet/LICENSE", "networks.md": "models/LICENSE.md"}  # ONNX Runtime's stands in its files
KINDS = {names.FLOAT: "", names.INT8: ", int8"}  # file -> what the page adds to the network's name
PARTS = {"valid": "validation part (PublicTest)", "test": "test part (PrivateTest)"}


def folders(model, root="models"):
    """The networks' folders that the page offers, `model` (a folder, or a name in `root`) first. Fail where it is none."""
    first = next((path for path in (model, os.path.join(root, model)) if os.path.exists(os.path.join(path, names.FACTS))), None)
    others = sorted(os.path.dirname(path) for path in glob.glob(os.path.join(root, "*", names.FACTS)))
    if not first:
        raise errors.Fail(
            "MODEL=%s is no exported network (no %s in it): %s"
            % (model, names.FACTS, "choose one of " + ", ".join(others) if others else "make one with `make export MODEL=...`")
        )
    found = [first] + [path for path in others if not os.path.samefile(path, first)]
    shown = [path for path in found if names.facts(path).get("output") != "logits"]
    if first not in shown:
        raise errors.Fail("%s ends in scores that are no probabilities: export it without LOGITS=1 for the page" % first)
    return shown


def offers(folder, place):
    """What the page lists for one network: a dict for each of its ONNX files. `place`: its folder in the page's addresses."""
    about = names.facts(folder)
    name, classes = about["name"], about["classes"]
    there = [file for file in KINDS if os.path.isfile(os.path.join(folder, file))]
    if not there:
        raise errors.Fail("%s has no %s: make it again with `make export`" % (folder, names.FLOAT))
    return [
        {
            "title": name + KINDS[file],
            "url": place + "/" + file,
            "bytes": os.path.getsize(os.path.join(folder, file)),
            "classes": classes,
            "crop": about["crop"],
            "about": judged(name + KINDS[file], about, file),
        }
        for file in there
    ]


def judged(title, about, file):
    """One sentence on how good a network is, with its n. `about`: its model.json."""
    accuracy = about.get("accuracy", {})
    if file not in accuracy:
        return "How often the network %s is right has not been measured." % title
    part = PARTS.get(accuracy["split"]) if about.get("resize") else None  # a network of ours, or of what images the export does not say
    part = "FER+'s " + part if part else "the part called " + accuracy["split"]
    return "Of the {:,} photographs of {}, the network {} names {:.1%} right with {} and {:.1%} with one.".format(
        accuracy["n"], part, title, accuracy[file]["ten_crops"], "face and mirror" if names.takes_whole_face(about) else "ten crops", accuracy[file]["one_crop"]
    )


def build(model, out, root="models"):
    """Write the page to the folder `out` (new, empty, or an earlier build, which is replaced); return what it offers."""
    if not os.path.isdir(ORT):
        raise errors.Fail("%s is missing: `make try` installs it with npm" % os.path.relpath(ORT))
    if os.path.exists(out) and not os.path.isfile(os.path.join(out, "models.json")) and not (os.path.isdir(out) and not os.listdir(out)):
        raise errors.Fail("%s holds something else than this page, which would be lost: choose another folder" % out)
    with files.replacing(out) as folder:
        shutil.copytree(os.path.join(HERE, "page"), folder)
        with open(os.path.join(HERE, "page", "index.html"), encoding="utf-8") as f:
            page = f.read().replace("POLICY", serve.PAGE_POLICY)
        with open(os.path.join(folder, "index.html"), "w", encoding="utf-8") as f:
            f.write(page)
        os.makedirs(os.path.join(folder, "ort"))
        for name in ORT_FILES:
            shutil.copy(os.path.join(ORT, name), os.path.join(folder, "ort", name.replace(".mjs", ".js")))  # not every host knows .mjs
        os.makedirs(os.path.join(folder, "licences"))
        for name, source in LICENCES.items():
            shutil.copy(os.path.join(HERE, "..", "..", source), os.path.join(folder, "licences", name))
        shutil.copy(faces.YUNET, os.path.join(folder, "yunet.onnx"))
        offered = []
        for i, network in enumerate(folders(model, root)):
            place = "models/%d" % i  # folders may share a name
            offered += offers(network, place)
            os.makedirs(os.path.join(folder, place))
            for name in KINDS:
                if os.path.isfile(os.path.join(network, name)):
                    shutil.copy(os.path.join(network, name), os.path.join(folder, place))
        with open(os.path.join(folder, "models.json"), "w") as f:
            json.dump(offered, f)
    return offered


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m deploy.web.build", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="the network shown first: its folder, or its name in models/")
    parser.add_argument("--out", default=os.path.join(HERE, "build"))
    args = parser.parse_args()
    offered = build(args.model, args.out)
    print("packed %d networks into %s (%.0f MB)" % (len(offered), os.path.relpath(args.out), size(args.out) / 1e6))


def size(folder):
    return sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(folder) for name in names)


if __name__ == "__main__":
    main()
