"""Hold a network's files against real Caffe in every runtime, on the same crops: `make export` and `make models-check`.

    python -m deploy.check models

Checksums first, then each network's scores of faces that are drawn here, so that no data set is needed.
"""
import argparse
import os
import sys

import numpy as np

from common import errors, files
from common.drawn import faces
from data_prep import images
from deploy import caffe_scores
from evaluation import data
from fer_lite import crops, names, runtimes
from paper import facts

TOLERANCE = 1e-4  # largest difference of a probability that summing float32 in another order may make
CAFFE = "Caffe, deploy.prototxt"
FACES, IMAGES, SEED = 8, 12, 7  # drawn and real ones in a check; ten crops each
CHECKSUMS = "SHA256SUMS"


def drawn_faces(count=FACES, seed=SEED):
    """uint8 N x 48 x 48: faces of common.drawn.faces, the expressions in turn."""
    rng = np.random.RandomState(seed)
    return np.stack([faces.face(rng, {facts.EXPRESSIONS[i % len(facts.EXPRESSIONS)]: 1.0}, 1.0) for i in range(count)])


def some_crops(about, data_folder=None, split=None):
    """float32 N x 3 x S x S, 0 to 255: the ten crops of drawn faces, and of images of the data set where it is there."""
    shown = [images.fit_all(drawn_faces(), "resize" if about["crop"] < facts.RESIZE else "keep")]
    if data_folder and os.path.isfile(os.path.join(data_folder, split + "_lmdb", "data.mdb")):
        part = data.open_part(data_folder, split, (3, about["crop"], about["crop"]))
        shown.append(next(data.batches(part, IMAGES)).images)
    ten = [crops.ten_crops(some, np.float32(0), about["crop"]) for some in shown]
    return np.concatenate([some.reshape((-1,) + some.shape[2:]) for some in ten])


def compare(folder, about, caffe, shown):
    """How far each runtime's scores of the crops `shown` are from Caffe's: {"crops": N, "runtimes": {name: difference}}.

    Without Caffe (`caffe` empty) OpenCV's Caffe importer takes its place, and the result says so.
    """
    mean = np.array(about["mean"], np.float32)
    found = {runtime.name: runtime.probabilities(shown) for runtime in runtimes.of_folder(folder, mean)}
    if caffe:
        ran = caffe_scores.scores(caffe, folder, shown, mean)
        found = dict([("Caffe, " + prototxt, ran[prototxt]) for prototxt, _ in names.CAFFE], **found)
    reference = next(iter(found))
    return {"crops": len(shown), "reference": reference, "tolerance": TOLERANCE,
            "runtimes": {name: float("%.1e" % abs(scores - found[reference]).max()) for name, scores in found.items()}}


def table(checks):
    """The printed comparison."""
    lines = ["%d crops; largest difference of a probability from %s:" % (checks["crops"], checks["reference"])]
    if checks["reference"] != CAFFE:
        lines.insert(0, "warning: no Caffe was asked; the reference is another runtime")
    lines += ["  %-46s %8s%s" % (name, "" if name == checks["reference"] else "%.1e" % value,
                                 "   (int8: not bound to agree)" if _int8(name) else "")
              for name, value in checks["runtimes"].items()]
    return "\n".join(lines)


def require(checks, what):
    """Fail where a runtime, int8 aside, is further from the reference than TOLERANCE."""
    wrong = {name: value for name, value in checks["runtimes"].items() if not _int8(name) and not value <= TOLERANCE}
    if wrong:
        name, value = max(wrong.items(), key=lambda item: np.nan_to_num(item[1], nan=np.inf))
        raise errors.Fail("%s: scores in %s differ by %.1e from those of %s (at most %g): nothing was kept"
                          % (what, name, value, checks["reference"], TOLERANCE))


def _int8(name):
    return name.endswith(names.INT8)


def checksums(root):
    """{path below `root`: SHA-256} of the files of the networks there."""
    found = {}
    for folder in networks(root):
        for name in sorted(os.listdir(os.path.join(root, folder))):
            path = os.path.join(folder, name)
            found[path] = files.sha256(os.path.join(root, path))
    return found


def networks(root):
    """Names of the networks in the folder `root`."""
    return sorted(name for name in os.listdir(root) if os.path.exists(os.path.join(root, name, names.FACTS))) if os.path.isdir(root) else []


def write_checksums(root):
    """SHA256SUMS of `root`, as `sha256sum -c` reads it."""
    with files.replacing(os.path.join(root, CHECKSUMS)) as temporary, open(temporary, "w") as f:
        f.writelines("%s  %s\n" % (digest, path) for path, digest in checksums(root).items())


def check_checksums(root):
    """Fail, naming the file, unless `root` holds exactly the files of its SHA256SUMS."""
    path = os.path.join(root, CHECKSUMS)
    try:
        with open(path) as f:
            wanted = {name: digest for digest, name in (line.split(None, 1) for line in f.read().splitlines() if line.strip())}
    except FileNotFoundError:
        raise errors.Fail("%s is not there: get it back (`git checkout models`), or make the networks again with `make model`" % path) from None
    except ValueError:
        raise errors.Fail("%s is damaged: get it back (`git checkout models`)" % path) from None
    there = checksums(root)
    for name in sorted(set(wanted) | set(there)):
        if wanted.get(name) != there.get(name):
            problem = ("is missing" if name not in there else "is in no line of SHA256SUMS" if name not in wanted else
                       "is not the file of SHA256SUMS")
            raise errors.Fail("%s %s: get it back (`git checkout models`) or make it again with `make model`"
                              % (os.path.join(root, name), problem))
    return len(there)


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python -m deploy.check", description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", default="models")
    parser.add_argument("--caffe", default="bash env/run python3", help='command that runs Python with Caffe; "" to go without')
    args = parser.parse_args()
    found = networks(args.root)
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
            require(checks, folder)
        except errors.Fail as mistake:
            wrong.append(str(mistake))
    if wrong:
        raise errors.Fail(wrong[0])
    print("\nall %d networks agree in every runtime to %g" % (len(found), TOLERANCE))


if __name__ == "__main__":
    sys.exit(main())
