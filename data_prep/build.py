"""Build data/SET from the official files: `python3 -m data_prep build SET`.

The whole folder is made beside its place and renamed into it, so data/SET is complete or absent.
"""

import errno
import json
import os

import cv2
import lmdb
import numpy as np

from common import built, errors, files, parallel
from data_prep import duplicates, fetch, labels, sources, store
from data_prep.sets import ferplus
from paper import ours

PADDED = ("pad_level", "mean_of", "jpeg")
# Options that another set of the same name could be built with; they stand in its manifest.
OPTIONS = {"cifar10": PADDED, "cifar100": PADDED, "cinic10": ("with_valid",), "ferplus": ("labels", "per_class"), ferplus.VOTES_SET: ("labels",)}
FERPLUS = ("ferplus", ferplus.VOTES_SET)
DEFAULTS = dict(pad_level=0, mean_of="stored", jpeg=0, labels="any")  # of sets built before these were options
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, no quota, a file system that takes no such file


def add_arguments(parser):
    parser.add_argument("set", choices=sorted(ours.DATASETS) + [ferplus.VOTES_SET], metavar="SET", help=", ".join(list(ours.DATASETS) + [ferplus.VOTES_SET]))
    parser.add_argument("--downloads", default="downloads", help="where official files lie or are fetched to (%(default)s)")
    parser.add_argument("--from", dest="given", metavar="PATH", help="read this file or folder instead")
    parser.add_argument("--out", default="data", help="where the folder SET is made (default: %(default)s)")
    parser.add_argument("--unofficial", action="store_true", help="take files whose size or checksum is not the official one")
    parser.add_argument("--workers", type=int, default=parallel.count(), help="processes (default: the cores, %(default)s)")
    parser.add_argument("--with-valid", action="store_true", help="cinic10: the validation part trains too")
    parser.add_argument(
        "--pad-level", type=int, default=ours.PAD_LEVEL, metavar="GREY", help="cifar: grey level of the padding, 0 to 255 (default: %(default)s)"
    )
    parser.add_argument(
        "--mean-of",
        choices=store.MEANS,
        default=ours.MEAN_OF,
        help="cifar: mean over what is stored, padding too, or over the images' own pixels (default: %(default)s)",
    )
    parser.add_argument(
        "--jpeg", type=int, default=0, metavar="QUALITY", help="cifar: put every image through JPEG of this quality, 1 to 100, colours halved (default: not)"
    )
    parser.add_argument("--labels", metavar="RULE", help="ferplus: paper, ferplus, any, or a file of names and labels (default: paper; of ferplus_votes: any)")
    parser.add_argument(
        "--per-class",
        type=int,
        default=ours.BALANCED_PER_CLASS,
        metavar="N",
        help="ferplus: balance the training part to N images a class; 0: leave it (default: %(default)s)",
    )
    parser.add_argument("--if-missing", action="store_true", help="build nothing where data/SET is there; it must be of these options")


def run(args):
    if args.workers < 1:
        raise errors.Fail("--workers takes a number of processes, 1 or more")
    if not (0 <= args.pad_level <= 255 and 0 <= args.jpeg <= 100):
        raise errors.Fail("--pad-level takes a grey level, 0 to 255, and --jpeg a quality, 1 to 100 (0: none)")
    for name in PADDED:
        if name not in OPTIONS.get(args.set, ()) and getattr(args, name) != DEFAULTS[name]:
            raise errors.Fail("--%s is of the sets that are padded, cifar10 and cifar100: leave it out for %s" % (name.replace("_", "-"), args.set))
    if args.given and not os.path.exists(args.given):
        raise errors.Fail("FROM (--from): there is no %s" % args.given)
    if args.set == ferplus.VOTES_SET:
        args.per_class = 0
    args.labels = args.labels or ("any" if args.set == ferplus.VOTES_SET else ours.LABEL_RULE)
    folder = os.path.join(args.out, args.set)
    options = {name: getattr(args, name) for name in OPTIONS.get(args.set, ())}
    if args.if_missing and os.path.exists(folder):
        return _check_options(folder, options)
    try:
        with files.replacing(folder) as temporary:
            os.mkdir(temporary)
            entry = (ferplus if args.set in FERPLUS else sources).build(args, temporary)
            entry["versions"] = dict(numpy=np.__version__, opencv=cv2.__version__, lmdb=lmdb.__version__)
            manifest = dict(set=args.set, options=options, **entry)
            with open(os.path.join(temporary, "manifest.json"), "w") as f:
                json.dump(manifest, f, indent=1)
                f.write("\n")
    except OSError as problem:
        if problem.errno not in FULL:
            raise
        raise errors.Fail(
            "%s while %s was built (nothing of it is left): check the free space there, or build elsewhere with WORK" % (problem.strerror, folder)
        ) from None
    _report(folder, manifest, args.unofficial)


def _check_options(folder, options):
    """Fail unless the set in `folder` was built with these options."""
    manifest = built.manifest(folder)
    for name, value in options.items():
        there = manifest.get("options", options).get(name, DEFAULTS.get(name))
        if there != value:
            raise errors.Fail(
                "%s was built with %s %s, not %s: remove it, or build beside it with another WORK" % (folder, name.replace("_", "-"), there, value)
            )
    rule = options.get("labels", ours.LABEL_RULE)
    if rule not in labels.RULES and os.path.isfile(rule) and fetch.as_it_is(rule).record not in manifest["files"]:
        raise errors.Fail("%s has changed since %s was built from it: remove %s, or build beside it with another WORK" % (rule, folder, folder))
    print("%s is there, built from %s; remove it to build it anew" % (folder, ", ".join(file["name"] for file in manifest["files"])))


def _report(folder, manifest, unofficial):
    """What was built, on stdout."""
    expected, parts = ours.DATASETS.get(manifest["set"]), manifest["parts"]
    valid = parts.get("valid", parts.get("test", {})).get("count")
    there = dict(classes=manifest["classes"], train=parts["train"]["count"], valid=valid)
    wanted = {name: expected[name] for name in there} if expected else there
    if not unofficial and there != wanted:
        said = ["{train} training images, {valid} for validation, {classes} classes".format(**numbers) for numbers in (there, wanted)]
        print(
            "%s note: %s; the committed nets and solvers are for %s: put these numbers into DATASETS in paper/ours.py (valid_batch: one that "
            "divides valid) and run `make prototxt`" % (manifest["set"], *said)
        )
    for part, entry in manifest["parts"].items():
        print(
            "%s %-5s %9s images of %dx%dx%d   %s"
            % ((manifest["set"], part, format(entry["count"], ",")) + tuple(entry["shape"]) + (_counts(manifest, entry["class_counts"]),))
        )
        if part == "train" and manifest.get("balance", {}).get("extra"):
            originals = manifest["balance"]["originals"]
            print("%s %-5s %9s of them original      %s" % (manifest["set"], part, format(sum(originals), ","), _counts(manifest, originals)))
        if entry["blank"]:
            print("%s %-5s warning: %s of them are blank (every pixel 0)" % (manifest["set"], part, format(entry["blank"], ",")))
    if manifest["set"] in FERPLUS:
        for part in labels.PARTS:
            if part not in manifest["parts"]:
                print("ferplus %-5s left out: %s names none of its images" % (part, manifest["options"]["labels"]))
    if "passed_over" in manifest:
        print("%s note: %s" % (manifest["set"], manifest["passed_over"]))
    if "unpublished" in manifest:
        print("%s note: not the published batches, by their MD5: %s" % (manifest["set"], ", ".join(manifest["unpublished"])))
    print("%s mean of the training part (B, G, R): %s" % (manifest["set"], ", ".join("%.3f" % value for value in manifest["mean"])))
    if "duplicates" in manifest:
        print(duplicates.describe(manifest["duplicates"]))
    print("wrote %s" % folder)


def _counts(manifest, counts):
    if manifest["set"] in FERPLUS:
        return "  ".join("%s %s" % (name, format(count, ",")) for name, count in zip(manifest["class_names"], counts))
    low, high = min(counts), max(counts)
    return "%d classes of %s" % (len(counts), format(low, ",") if low == high else "%s to %s" % (format(low, ","), format(high, ",")))
