"""A contact sheet of each part as it is stored: `python3 -m data_prep preview SET` writes data/SET/preview_PART.png.

A row a class, with its label, some images, and a bar for its share; of FER+'s training part also some balanced images,
each beside the one that it was made of. A wrong channel order or a shifted face shows at once.
"""
import os

import cv2
import numpy as np

import errors
import files
from data_prep import built
from evaluation.data import read_images

ROWS = 20  # classes on a sheet; of more, some spread over all
IMAGES = 10
PAIRS = 4  # of a source and a balanced image
ZOOM = 2
LABEL, BAR, TITLE, GAP = 150, 160, 56, 6  # pixels
INK, PAPER, COLOUR = (40, 40, 40), (255, 255, 255), (160, 120, 60)  # BGR


def add_arguments(parser):
    parser.add_argument("set", metavar="SET", help="the name of a built set")
    parser.add_argument("--out", default="data", help="where the folder SET lies (default: %(default)s)")


def run(args):
    folder = os.path.join(args.out, args.set)
    manifest = built.manifest(folder)
    for part in manifest["parts"]:
        path = os.path.join(folder, "preview_%s.png" % part)
        with files.replacing(path) as temporary:
            done, data = cv2.imencode(".png", sheet(folder, part, manifest))
            if not done:
                raise errors.Fail("OpenCV cannot write PNG files")
            with open(temporary, "wb") as f:
                f.write(data.tobytes())
        print("wrote " + path)


def sheet(folder, part, manifest):
    """The contact sheet of one part: uint8 H x W x 3 BGR."""
    table = built.table(folder, part)
    counts = manifest["parts"][part]["class_counts"]
    chosen = np.unique(np.linspace(0, len(counts) - 1, ROWS).round().astype(int)).tolist()
    names = manifest.get("class_names") or [""] * len(counts)
    titles = ["%d %s" % pair for pair in enumerate(names)]
    side = manifest["parts"][part]["shape"][1] * ZOOM
    rows = []
    for label in chosen:
        images, pairs = _images(os.path.join(folder, part + "_lmdb"), table, label, side)
        rows.append(_row(titles[label], images, pairs, counts[label], max(counts), side))
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), "constant", constant_values=255) for row in rows]
    return np.concatenate([_title(manifest, part, len(chosen), width)] + rows)


def _images(lmdb, table, label, side):
    """(some images of a class, some pairs of a source and what was made of it), each uint8 side x side x 3."""
    mine = [line for line in table if int(line["label"]) == label]
    originals = [line["key"] for line in mine if not line.get("source")][:IMAGES]
    made = [line for line in mine if line.get("source")][:PAIRS]
    by_name = {line["name"]: line["key"] for line in mine}
    keys = originals + [key for line in made for key in (by_name[line["source"]], line["key"])]
    stored = read_images(lmdb, keys) if keys else []
    images = [cv2.resize(np.ascontiguousarray(image.transpose(1, 2, 0)), (side, side), interpolation=cv2.INTER_NEAREST)
              for image in stored]
    pairs = images[len(originals):]
    return images[:len(originals)], list(zip(pairs[::2], pairs[1::2]))


def _row(title, images, pairs, count, most, side):
    """One class: its label, images, pairs, and the bar of its share."""
    label, bar = _blank(side, LABEL), _blank(side, BAR)
    _write(label, title, GAP, side // 2 + GAP)
    bar[side // 4:side // 2, 2 * GAP:2 * GAP + int(count / most * (BAR - 3 * GAP))] = COLOUR
    _write(bar, format(count, ","), 2 * GAP, 3 * side // 4 + GAP)
    tiles = [label] + images + [_blank(side, side)] * (IMAGES - len(images))
    for pair in pairs:
        tiles += [_blank(side, 3 * GAP), *pair]
    row = np.concatenate(tiles + [bar], axis=1)
    return np.pad(row, ((0, GAP), (0, 0), (0, 0)), "constant", constant_values=255)


def _title(manifest, part, shown, width):
    entry = manifest["parts"][part]
    strip = _blank(TITLE, width)
    _write(strip, "%s %s: %s images of %dx%d" % (manifest["set"], part, format(entry["count"], ","), entry["shape"][2],
                                                 entry["shape"][1]), GAP, 20)
    mean = "mean of the training part: B %.1f  G %.1f  R %.1f" % tuple(manifest["mean"])
    more = "" if shown == manifest["classes"] else "   %d of %d classes" % (shown, manifest["classes"])
    pairs = "   right: balanced images, each beside its source" if "balance" in manifest and part == "train" else ""
    _write(strip, mean + more + pairs, GAP, 42)
    return strip


def _blank(height, width):
    return np.full((height, width, 3), PAPER, np.uint8)


def _write(image, text, x, y):
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
