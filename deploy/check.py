"""Hold a network's files against real Caffe in every runtime, on the same crops: `make export` and `make models-check`.

    python -m deploy.check models

Checksums first, then each network's scores of faces that are drawn here, so that no data set is needed.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import sys

import numpy as np

from common import errors, files
from common.drawn import faces
from data_prep import images
from deploy import caffe_scores, runtime_worker
from evaluation import data
from fer_lite import crops, names, runtimes, verify
from paper import facts

TOLERANCE = 1e-4  # largest difference of a probability that summing float32 in another order may make
CAFFE = "Caffe, deploy.prototxt"
MEND = "get it back (`git checkout models`) or make it again with `make model`"
FACES, IMAGES, SEED = 8, 12, 7  # drawn and real ones in a check; ten crops each
# What deploy/devices.py adds to a network's folder -> (its runtime, the package of that, how it runs).
DEVICES = {
    names.LITERT: ("LiteRT", "ai_edge_litert", runtime_worker.litert),
    names.LITERT_INT8: ("LiteRT", "ai_edge_litert", runtime_worker.litert),
    names.NCNN[0]: ("ncnn", "ncnn", runtime_worker.ncnn),
}


def drawn_faces(count=FACES, seed=SEED):
    """uint8 N x 48 x 48: faces of common.drawn.faces, the expressions in turn."""
    rng = np.random.RandomState(seed)
    return np.stack([faces.face(rng, {facts.EXPRESSIONS[i % len(facts.EXPRESSIONS)]: 1.0}, 1.0) for i in range(count)])


def some_crops(about: dict, part: data.Part | None = None) -> np.ndarray:
    """float32 N x C x S x S, 0 to 255: the ten crops of drawn faces, and of images of the data.Part where there is one."""
    size, channels = about["crop"], len(about["mean"])
    if size < facts.RESIZE:
        shown = [images.fit_all(drawn_faces(), "resize")]
    else:
        shown = [np.stack([crops.resized(face, max(facts.FERPLUS_SIDE, size)) for face in drawn_faces()])[:, None].repeat(3, axis=1)]
    shown[0] = shown[0][:, :channels]
    if part:
        shown.append(next(data.batches(part, IMAGES)).images)
    ten = [crops.ten_crops(some, np.float32(0), size) for some in shown]
    return np.concatenate([some.reshape((-1,) + some.shape[2:]) for some in ten])


def of_devices(folder: str) -> dict[str, runtimes.Runtime]:
    """{file: its Runtime} of the files of DEVICES that `folder` has; those whose runtime is not installed are left out, which is said."""
    found = {}
    for file in filter(lambda file: os.path.exists(os.path.join(folder, file)), DEVICES):
        runtime, package, run = DEVICES[file]
        if importlib.util.find_spec(package):
            found[file] = runtimes.Runtime("%s, %s" % (runtime, file), functools.partial(run, os.path.join(folder, file)))
        else:
            print("note: %s is not run: %s is not installed here (env/export.txt)" % (os.path.join(folder, file), package))
    return found


def compare(folder, about, caffe, shown):
    """How far each runtime's scores of the crops `shown` are from Caffe's: {"crops": N, "runtimes": {name: difference}}, and under
    "unread" why a runtime could not read them. Scores beyond 1 (logits) count in shares of the largest.

    Without Caffe (`caffe` empty) OpenCV's Caffe importer takes its place, and the result says so.
    """
    mean, found, unread = np.array(about["mean"], np.float32), {}, {}
    if caffe:
        ran = caffe_scores.scores(caffe, folder, shown, mean)
        found = {"Caffe, " + prototxt: ran[prototxt] for prototxt, _ in names.CAFFE}
    for name, make in runtimes.of_folder(folder, mean):
        try:
            found[name] = make().probabilities(shown)
        except errors.Fail as problem:
            if not name.startswith("OpenCV"):
                raise
            unread[name] = str(problem).replace(os.path.join(folder, ""), "")
    found.update({runtime.name: runtime.probabilities(shown) for runtime in of_devices(folder).values()})
    reference = next(iter(found))
    size = max(1, abs(found[reference]).max())
    return {
        "crops": len(shown),
        "reference": reference,
        "tolerance": TOLERANCE,
        **({"unread": unread} if unread else {}),
        "runtimes": {name: float("%.1e" % (abs(scores - found[reference]).max() / size)) for name, scores in found.items()},
    }


def set_aside(checks):
    """Count the OpenCV importers whose scores differ as those that cannot run the net: for nets whose layers we did not choose."""
    for name, value in list(checks["runtimes"].items()):
        if name.startswith("OpenCV") and not value <= TOLERANCE:
            checks.setdefault("unread", {})[name] = "its scores differ by %.1e: do not use these files in this OpenCV" % checks["runtimes"].pop(name)


def table(checks):
    """The printed comparison."""
    lines = ["%d crops; largest difference of a probability from %s:" % (checks["crops"], checks["reference"])]
    if not checks["reference"].startswith("Caffe"):
        lines.insert(0, "warning: no Caffe was asked; the reference is another runtime")
    lines += [
        "  %-46s %8s%s" % (name, "" if name == checks["reference"] else "%.1e" % value, "   (int8: not bound to agree)" if _int8(name) else "")
        for name, value in checks["runtimes"].items()
    ]
    lines += ["  %-46s cannot run it: %s" % each for each in checks.get("unread", {}).items()]
    return "\n".join(lines)


def require(checks, what):
    """Fail where a runtime, int8 aside, is further from the reference than TOLERANCE."""
    wrong = {name: value for name, value in checks["runtimes"].items() if not _int8(name) and not value <= TOLERANCE}
    if wrong:
        name, value = max(wrong.items(), key=lambda item: np.nan_to_num(item[1], nan=np.inf))
        raise errors.Fail(
            "%s: scores in %s differ by %.1e from those of %s (at most %g): nothing was kept" % (what, name, value, checks["reference"], TOLERANCE)
        )


def _int8(name):
    return name.endswith((names.INT8, names.LITERT_INT8))


def write_checksums(root):
    """SHA256SUMS of `root`, as `sha256sum -c` reads it."""
    with files.replacing(os.path.join(root, verify.SUMS)) as temporary, open(temporary, "w") as f:
        f.writelines("%s  %s\n" % (digest, path) for path, digest in verify.checksums(root).items())


def check_checksums(root):
    """How many files `root` holds. Fail, naming the file, unless they are those of its SHA256SUMS."""
    return verify.verify(root, MEND)


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python -m deploy.check", description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", default="models")
    parser.add_argument("--caffe", default="bash env/run python3", help='command that runs Python with Caffe; "" to go without')
    args = parser.parse_args()
    found = verify.networks(args.root)
    if not found:
        raise errors.Fail("there are no networks in %s: make one with `make model MODEL=runs/... NAME=...`" % args.root)
    print("checksums of %d files are right" % check_checksums(args.root))
    wrong = []
    for name in found:
        folder = os.path.join(args.root, name)
        about = names.facts(folder)
        checks = compare(folder, about, args.caffe, some_crops(about))
        print("\n%s (%s): %s" % (name, about["net"], table(checks)))
        try:
            for name, problem in checks.get("unread", {}).items():
                raise errors.Fail("%s: %s: %s" % (folder, name, problem))
            require(checks, folder)
        except errors.Fail as mistake:
            wrong.append(str(mistake))
    if wrong:
        raise errors.Fail(wrong[0])
    print("\nall %d networks agree in every runtime to %g" % (len(found), TOLERANCE))


if __name__ == "__main__":
    sys.exit(main())
