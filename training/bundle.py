"""Runs on a machine that has no data: what they need goes there in a folder of small files, what they gave comes back as one archive a row.

    python3 -m training.bundle pack --rows 7 8 --work . --out bundle           nets, solvers, LMDBs in pieces, requirements
    python3 -m training.bundle unpack --from bundle --work .                   there: the same files again, each LMDB record by record
    python3 -m training.bundle results --rows 8 --runs runs/torch --out .      there: row8.zip
    python3 -m training.bundle unpack --from row8.zip --runs runs/torch        here again

`make bundle`, `make unbundle`, and `env/run --plain -m training.bundle results --rows 8`. A piece holds records of an LMDB, compressed: under 60 MB. An archive has scores, logs and records of
all trials, and the weights of trial 1: under 16 MB. Orders of trials are not packed: `make order` draws the same ones there.
"""

import argparse
import contextlib
import glob
import json
import os
import shutil
import zipfile

import lmdb
import numpy as np

from common import errors, files, runs, streams
from common.caffe import lmdbs
from paper import experiments, facts
from training import inputs

PIECE = 56 << 20  # bytes of records, before they are compressed
ARCHIVE = 16 << 20
MANIFEST = "bundle.json"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KEPT = ("run.json", "log.csv", "solver.prototxt", "scores_*.npz", "metrics_*.json")  # of a trial


def pack(rows, work, out):
    """Write what the rows (facts.Single) need into the new folder `out`, a file named in its manifest with its hash; the bytes."""
    if os.path.exists(out):
        raise errors.Fail("%s is there already: name a new folder, OUT=" % out)
    sets = sorted({row.source for row in rows if row.source} | {"ferplus"})
    names = [
        name
        for row in rows
        for dataset in filter(None, ("ferplus", row.source))
        for name in _found(work, "prototxt/resnet%d_%s_*.prototxt" % (row.depth, dataset), "solvers/resnet%d_%s*.prototxt" % (row.depth, dataset))
    ]
    lmdbs_of = {os.path.join("data", dataset): _found(work, os.path.join("data", dataset, "*_lmdb")) for dataset in sets}
    for folder, parts in lmdbs_of.items():
        if not parts:
            needing = ",".join(str(row.row) for row in rows if os.path.basename(folder) in ("ferplus", row.source))
            advice = lmdbs.remedy(os.path.join(folder, "train_lmdb"))
            raise errors.Fail("%s has no LMDB, and ROWS=%s need it: %s, or name other rows" % (os.path.join(work, folder), needing, advice))
    with files.replacing(out) as made:
        contents = {}
        for folder, parts in lmdbs_of.items():
            names += [name for name in _found(work, os.path.join(folder, "*")) if os.path.isfile(os.path.join(work, name))]
            for part in parts:
                contents[part] = inputs.read_part(os.path.join(work, part)).sha256
                _write_pieces(os.path.join(work, part), os.path.join(made, part))
        for name in set(names):
            _copy(os.path.join(work, name), os.path.join(made, name))
        _copy(os.path.join(ROOT, "env", "torch.txt"), os.path.join(made, "requirements.txt"))
        packed = {name: files.sha256(os.path.join(made, name)) for name in _tree(made)}
        with open(os.path.join(made, MANIFEST), "w") as f:
            json.dump({"files": packed, "lmdbs": contents}, f, indent=1, sort_keys=True)
    return sum(os.path.getsize(os.path.join(out, name)) for name in _tree(out))


def _write_pieces(source, folder):
    """The records of an LMDB, key and value one behind the other, as 000.npz, 001.npz ... in `folder`."""
    os.makedirs(folder)
    numbers = iter(range(1000))

    def write(records):
        lengths = np.array([[len(x) for x in pair] for pair in records])
        with open(os.path.join(folder, "%03d.npz" % next(numbers)), "wb") as f:
            f.write(files.npz(lengths=lengths, bytes=np.frombuffer(b"".join(b"".join(pair) for pair in records), np.uint8)))

    with lmdbs.reading(source) as transaction:
        waiting, size = [], 0
        for key, value in transaction.cursor():
            if waiting and size + len(key) + len(value) > PIECE:
                write(waiting)
                waiting, size = [], 0
            waiting.append((key, value))
            size += len(key) + len(value)
        write(waiting)


def unpack(folder, work):
    """Put the files of a bundle into `work`. What is there already stays; Fail where it is something else, or where the bundle is damaged."""
    try:
        with open(os.path.join(folder, MANIFEST)) as f:
            manifest = json.load(f)
    except (OSError, ValueError):
        raise errors.Fail("%s is no bundle: it has no whole %s; make it with `make bundle`" % (folder, MANIFEST)) from None
    _check_names(folder, manifest)
    for name, sha256 in manifest["files"].items():
        path = os.path.join(folder, name)
        if not os.path.isfile(path) or files.sha256(path) != sha256:
            raise errors.Fail("%s is missing or damaged: copy the bundle again" % path)
    for part, sha256 in manifest["lmdbs"].items():
        target = os.path.join(work, part)
        if not os.path.exists(target):
            with files.replacing(target) as temporary:
                _join(sorted(glob.glob(os.path.join(glob.escape(os.path.join(folder, part)), "*.npz"))), temporary)
        if inputs.read_part(target).sha256 != sha256:
            raise errors.Fail("%s holds other images than the bundle: unbundle into another folder, WORK=" % target)
    for name in manifest["files"]:
        if os.path.dirname(name) not in manifest["lmdbs"] and name != "requirements.txt":
            with open(os.path.join(folder, name), "rb") as f:
                _place(f.read(), os.path.join(work, name))


def _check_names(folder, manifest):
    """Fail where a manifest is none of a bundle, or names what lies outside of it."""
    try:
        names = [*manifest["files"].keys(), *manifest["lmdbs"].keys()]
    except (KeyError, TypeError, AttributeError):
        raise errors.Fail("%s is no bundle: its %s is of something else; make it with `make bundle`" % (folder, MANIFEST)) from None
    for name in names:
        if os.path.isabs(name) or ".." in name.split("/"):
            raise errors.Fail("%s names %s, which lies outside of it: do not trust this bundle" % (folder, name))


def _join(pieces, target):
    size = sum(os.path.getsize(piece) for piece in pieces)
    with lmdb.open(target, map_size=1 << 40 if size > 1 << 30 else 1 << 34) as made:
        for piece in pieces:
            with np.load(piece) as held, made.begin(write=True) as writer:
                records, start = held["bytes"].tobytes(), 0
                for key, value in held["lengths"].tolist():
                    writer.put(records[start : start + key], records[start + key : start + key + value], append=True)
                    start += key + value


def results(rows, runs_folder, out):
    """Write OUT/rowN.zip for each row, with names as under `runs_folder`; the paths. Fail where a row has no finished trial or too much."""
    return [_write_results(row, runs_folder, os.path.join(out, "row%d.zip" % row.row)) for row in rows]


def _write_results(row, runs_folder, archive):
    folder = os.path.relpath(experiments.row(runs_folder, row.depth, row.source), runs_folder)
    found = _found(
        runs_folder, os.path.join(folder, "init.txt"), os.path.join(folder, "trial1", runs.FINAL), *(os.path.join(folder, "trial*", name) for name in KEPT)
    )
    if row.source:
        pretrained = os.path.relpath(experiments.pretraining(runs_folder, row.depth, row.source), runs_folder)
        found += _found(runs_folder, *(os.path.join(pretrained, name) for name in KEPT))
    if not any(os.path.basename(name).startswith("metrics_") for name in found):
        raise errors.Fail("%s has no tested trial: train and test row %d first, `make row ROW=%d`" % (os.path.join(runs_folder, folder), row.row, row.row))
    with files.replacing(archive) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in found:
                packed.write(os.path.join(runs_folder, name), name)
        if os.path.getsize(temporary) > ARCHIVE:
            raise errors.Fail("%s would be larger than %d MB: is something else in %s?" % (archive, ARCHIVE >> 20, folder))
    return archive


def unpack_results(archive, runs_folder):
    """Put the files of an archive under `runs_folder`; Fail where other ones are there, or where it is damaged."""
    try:
        with zipfile.ZipFile(archive) as packed:
            held = {name: packed.read(name) for name in packed.namelist()}
    except (OSError, zipfile.BadZipFile) as problem:
        raise errors.Fail("%s is no whole archive of a row (%s): copy it again" % (archive, problem)) from None
    outside = [name for name in held if os.path.isabs(name) or ".." in name.split("/") or not name.startswith("resnet")]
    if outside:
        raise errors.Fail("%s holds %s, which is no file of a run: nothing is unpacked" % (archive, outside[0]))
    for name, content in held.items():
        _place(content, os.path.join(runs_folder, name))


def _place(content, path):
    """Write a file that is not there; Fail where another one is."""
    if os.path.exists(path):
        with open(path, "rb") as f:
            if f.read() != content:
                raise errors.Fail("%s is there and differs: move it away, or unbundle into another folder, WORK=" % path)
        return
    with files.replacing(path) as temporary, open(temporary, "wb") as f:
        f.write(content)


def _found(root, *patterns):
    """The paths under `root` that match, relative to it, in order."""
    return sorted(os.path.relpath(path, root) for pattern in patterns for path in glob.glob(os.path.join(glob.escape(root or "."), pattern)))


def _tree(root):
    return sorted(os.path.relpath(os.path.join(folder, name), root) for folder, _, names in os.walk(root) for name in names)


def _copy(source, target):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(source, target)


def row(text_):
    """The facts.Single of a row's number."""
    with contextlib.suppress(ValueError, StopIteration):
        return next(single for single in facts.TABLE2 if single.row == int(text_))
    raise errors.Fail("ROWS: %s is no row of Table II: 1 to 12, as in ROWS=1,2,7-8" % text_)


@errors.main
@streams.unfailing()
def main():
    parser = argparse.ArgumentParser(prog="python3 -m training.bundle", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("pack", "unpack", "results"))
    parser.add_argument("--rows", nargs="+", type=row, default=[], help="rows of Table II")
    parser.add_argument("--work", default=".", help="the folder that has data, prototxt and solvers")
    parser.add_argument("--runs", default="runs", help="the folder of runs")
    parser.add_argument("--from", dest="source", help="unpack: a bundle's folder, or an archive of results")
    parser.add_argument("--out", help="pack: a new folder; results: a folder for the archives (default: here)")
    args = parser.parse_args()
    if args.what == "unpack" and not args.source or args.what != "unpack" and not (args.rows and (args.out or args.what == "results")):
        raise errors.Fail("give `make bundle ROWS=7-8 OUT=bundle`, `make unbundle FROM=bundle`, or results --rows 7 8")
    if args.what == "pack":
        print("wrote %s: %.0f MB" % (args.out, pack(args.rows, args.work, args.out) / 1e6))
    elif args.what == "results":
        print("wrote %s" % " ".join(results(args.rows, args.runs, args.out or ".")))
    elif os.path.isdir(args.source):
        unpack(args.source, args.work)
        print("unpacked %s into %s" % (args.source, args.work))
    else:
        unpack_results(args.source, args.runs)
        print("unpacked %s into %s" % (args.source, args.runs))


if __name__ == "__main__":
    main()
