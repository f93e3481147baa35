"""Train a network again from its record, and say whether it ends in the recorded bytes: `make reproduce MODEL=resnet20_scratch`.

    python3 -m deploy.reproduce models/resnet20_scratch --out reproduced/resnet20_scratch --torch PYTHON

The record is models/NAME/model.json, with every run that made the network, or the run.json of a run's folder. What it was trained on must be
there (data/SET), of the recorded content; solvers and nets are this checkout's, and the record says the commit that they were then. The same
versions give the same bytes on the same kind of processor, and on one with AVX-512, which is told to do as the recorded AVX2. Another processor, BLAS or
PyTorch adds up in another order: the figure tells how far off.
"""

import argparse
import json
import os
import shlex
import subprocess
from collections import namedtuple

from common import errors, files, runs
from common.caffe import binary
from common.caffe import messages as m
from fer_lite import names
from netgen import fold, nets
from training import inputs

Recorded = namedtuple("Recorded", "words solver engine train teachers machine versions commit")  # of one recorded run
# What makes PyTorch, oneDNN and MKL compute on a newer processor what they compute on one of that kind, to the last bit.
AS_ON = {"cpu AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}}
OF_A_SESSION = ("--out", "--stop-after", "--snapshot-minutes")  # options that change no weight


def steps(model):
    """(the recorded runs, the first one first; SHA-256 of the caffemodel that they end in; its recorded accuracy or None)."""
    if os.path.exists(os.path.join(model, names.FACTS)):
        about = names.facts(model)
        found = [
            Recorded(
                shlex.split(run["command"])[3:],
                *(run[name] for name in ("solver", "engine", "train")),
                _teachers(run),
                *(run[name] for name in ("machine", "versions", "git_commit")),
            )
            for run in about.get("training", [])[::-1]
        ]
        digest, accuracy = about.get("source", {}).get("sha256"), about.get("metrics")
    else:
        run = runs.read(model)
        sessions, made = run.get("sessions", []), run.get("inputs", {})
        found = (
            [
                Recorded(
                    sessions[-1]["command"][1:],
                    made.get("solver"),
                    made.get("engine"),
                    dict(made.get("train", {}), lmdb=sessions[-1].get("lmdbs", {}).get("train")),
                    _teachers(made),
                    sessions[-1].get("machine"),
                    sessions[-1].get("versions"),
                    [sessions[-1].get("git_commit")],
                )
            ]
            if sessions
            else []
        )
        digest, accuracy = run.get("final_sha256"), None
    if not found or not digest:
        raise errors.Fail("%s has no record of a finished training (%s or run.json): give a name of models/, or a run's folder" % (model, names.FACTS))
    return found, digest, accuracy


def _teachers(made):
    """SHA-256 of the answers of the teachers that a run learnt from."""
    return made.get("recipe", {}).get("teachers", [])


def train(step, out, weights, python):
    """Run one step again in the folder `out`, from the caffemodel `weights` (None: as recorded); the path of what it ends in."""
    data = step.train["lmdb"]
    if data is None or inputs.read_part(data).sha256 != step.train["sha256"]:
        raise errors.Fail(
            "%s is not what the record was trained on (%s images, %s): build it as then" % (data, step.train["images"], step.train["sha256"][:12])
        )
    words = _without(step.words, OF_A_SESSION + (("--weights",) if weights else ()))
    command = python + ["-m", "training.run"] + words + ["--out", out] + (["--weights", weights] if weights else [])
    kind = AS_ON.get((step.versions or {}).get("device"), {})
    print("\n" + " ".join(["%s=%s" % item for item in kind.items()] + list(map(shlex.quote, command))), flush=True)
    if subprocess.run(command, env=dict(os.environ, **kind)).returncode:
        raise errors.Fail("the training in %s did not come to its end: the same command goes on" % out)
    solver = runs.read(out)["inputs"]["solver"]
    if solver != step.solver:
        other = sorted(key for key in set(solver) | set(step.solver) if solver.get(key) != step.solver.get(key))
        raise errors.Fail("%s is of another solver than the record (%s): take the checkout of then (commit %s)" % (out, ", ".join(other), step.commit[-1]))
    return os.path.join(out, runs.FINAL)


def _without(words, options):
    """Words of a command without some options, each of which has a value: behind it, or after a "="."""
    dropped = {i + j for i, word in enumerate(words) if word in options for j in (0, 1)}
    return [word for i, word in enumerate(words) if i not in dropped and word.partition("=")[0] not in options]


def same_weights(model, final):
    """Whether `final` has the weights of the network that is kept in the folder `model`, to the last bit: of models/, divided by its temperature."""
    made, kept = binary.read(final, m.NetParameter), os.path.join(model, runs.FINAL)
    if os.path.exists(os.path.join(model, names.FACTS)):
        deploy, kept = (os.path.join(model, name) for name in names.CAFFE[0])
        made = fold.tempered(nets.read_deploy(deploy), made, names.facts(model).get("temperature", 1.0)) if os.path.exists(deploy) else made
    return os.path.exists(kept) and _blobs(made) == _blobs(binary.read(kept, m.NetParameter))


def _blobs(model):
    """{layer: its blobs' shapes and bytes}."""
    return {name: [(each.shape, each.tobytes()) for each in arrays] for name, arrays in binary.layers(model).items()}


def compare(model, final, digest, step):
    """What came out, in words; whether it is what was recorded."""
    now = files.sha256(final)
    if now == digest:
        return "%s: the same bytes as recorded, %s" % (final, digest), True
    if same_weights(model, final):  # a caffemodel holds the words of its net too, such as the paths of its data
        return "%s: the same weights as in %s, to the last bit (its other words are not those of the recorded file, %s)" % (final, model, digest[:12]), True
    run = runs.read(os.path.dirname(final))
    session, teachers = run["sessions"][-1], _teachers(run["inputs"])
    here = dict(session["versions"], machine=session["machine"])
    other = ["%s %s, here %s" % (key, value, here.get(key)) for key, value in dict(step.versions or {}, machine=step.machine).items() if here.get(key) != value]
    if teachers != step.teachers:
        other.append("a teacher's answers %s, here %s" % tuple(", ".join(each[:12] for each in them) for them in (step.teachers, teachers)))
    why = "recorded with " + "; ".join(other) if other else "although versions and processor are the recorded ones"
    return "%s: other bytes (%s) than recorded (%s); %s" % (final, now[:12], digest[:12], why), False


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m deploy.reproduce", description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a folder of models/ or of a run")
    parser.add_argument("--out", required=True, help="where the runs are made anew")
    parser.add_argument("--torch", default="python3", help="command that runs Python with PyTorch")
    parser.add_argument("--caffe", default="bash env/run python3", help="command that runs Python with Caffe")
    parser.add_argument("--test", metavar="DEPLOY", help="where other bytes come out, test it too, on the recorded part of what it was trained on")
    args = parser.parse_args()
    found, digest, metrics = steps(args.model)
    final = None
    for number, step in enumerate(found, 1):
        python = shlex.split(args.caffe if step.engine == "caffe" else args.torch)
        final = train(step, os.path.join(args.out, "step%d" % number), final, python)
    words, same = compare(args.model, final, digest, found[-1])
    print("\n" + words)
    if not same and metrics and args.test:
        part, data = metrics["split"], os.path.dirname(found[-1].train["lmdb"])
        command = python + ["-m", "evaluation.test", "--deploy", args.test, "--weights", final, "--data", data, "--split", part]
        if subprocess.run(command + ["--engine", found[-1].engine.split("-")[0]], stdout=subprocess.DEVNULL).returncode == 0:
            with open(os.path.join(os.path.dirname(final), "metrics_%s.json" % part)) as f:
                now = json.load(f)
            for words, name in (("one crop", "one_crop_accuracy"), ("ten crops", "accuracy")):
                was = "%s of %s %s: recorded %.2f%% of %d" % (words, data, part, 100 * metrics[name], metrics["n"])
                print("%s, here %.2f%% of %d" % (was, 100 * now[name], now["n"]))
    return 0 if same else 1


if __name__ == "__main__":
    main()
