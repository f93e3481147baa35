"""A contact sheet of each part as it is stored: `python3 -m data_prep preview SET` writes data/SET/preview_PART.png.

A row a class, with its label, some images, the mean of more, and a bar for its share; of FER+'s training part also some
balanced images, each beside the one that it was made of. A wrong channel order or a shifted face shows at once.
"""

import os

import cv2
import numpy as np

from common import built, errors, files
from common.caffe.lmdbs import read_images

ROWS = 20  # classes on a sheet; of more, some spread over all
IMAGES = 10
AVERAGED = 200  # images of a class whose mean is shown: of faces it is a face only where they are aligned
PAIRS = 4  # of a source and a balanced image
ZOOM = 2
LABEL, BAR, TITLE, GAP = 150, 180, 78, 6  # pixels
INK, PAPER, COLOUR, LIGHT, ALARM = (40, 40, 40), (255, 255, 255), (160, 120, 60), (225, 205, 175), (40, 40, 200)  # BGR


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
        groups, made = _images(os.path.join(folder, part + "_lmdb"), table, label, side)
        rows.append(_row(titles[label], groups, counts[label], made, max(counts), side))
    return np.concatenate([_title(manifest, part, len(chosen), rows[0].shape[1], side)] + rows)


def _images(lmdb, table, label, side):
    """(groups of images of a class, how many of all are balanced ones). A group: uint8 side x side x 3 each, side by side.

    The groups: IMAGES as stored; the mean of AVERAGED; and where the part is balanced PAIRS of a source and what was made of it.
    """
    mine = [line for line in table if int(line["label"]) == label]
    originals = [line["key"] for line in mine if not line.get("source")][:AVERAGED]
    made = [line for line in mine if line.get("source")]
    by_name = {line["name"]: line["key"] for line in mine}
    pairs = [(by_name[line["source"]], line["key"]) for line in made[:PAIRS]]
    stored = read_images(lmdb, originals + [key for pair in pairs for key in pair]) if mine else np.zeros((0, 3, 1, 1), np.uint8)
    images = [_enlarged(image, side) for image in stored]
    mean = [_enlarged(np.rint(stored[: len(originals)].mean(0)).astype(np.uint8), side)] if originals else []
    shown, pairs = images[: len(originals)][:IMAGES], images[len(originals) :]
    groups = [_filled(shown, IMAGES, side), _filled(mean, 1, side)]
    if any(line.get("source") for line in table):
        groups += [_filled(pairs[2 * i : 2 * i + 2], 2, side) for i in range(PAIRS)]
    return groups, len(made)


def _enlarged(image, side):
    return cv2.resize(np.ascontiguousarray(image.transpose(1, 2, 0)), (side, side), interpolation=cv2.INTER_NEAREST)


def _filled(images, count, side):
    return images + [_blank(side, side)] * (count - len(images))


def _row(title, groups, count, made, most, side):
    """One class: its label, its groups of images, and the bar of its share, light where it is balanced images."""
    label, bar = _blank(side, LABEL), _blank(side, BAR)
    _write(label, title, GAP, side // 2 + GAP)
    for number, colour in ((count, LIGHT), (count - made, COLOUR)):
        bar[side // 4 : side // 2, : int(round(number / most * (BAR - 4 * GAP)))] = colour
    text = "%s + %s" % (format(count - made, ","), format(made, ",")) if made else format(count, ",")
    _write(bar, text, 0, 3 * side // 4 + GAP)
    tiles = [label]
    for group in groups:
        for image in group:
            tiles += [image, _blank(side, GAP // 3)]
        tiles.append(_blank(side, 2 * GAP))
    row = np.concatenate(tiles + [bar], axis=1)
    return np.pad(row, ((0, GAP), (0, 0), (0, 0)), "constant", constant_values=255)


def _title(manifest, part, shown, width, side):
    entry = manifest["parts"][part]
    strip = _blank(TITLE, width)
    more = "" if shown == manifest["classes"] else ", %d of %d classes" % (shown, manifest["classes"])
    _write(strip, "%s %s: %s images of %dx%d%s" % (manifest["set"], part, format(entry["count"], ","), entry["shape"][2], entry["shape"][1], more), GAP, 20)
    _write(strip, "mean of the training part: B %.1f  G %.1f  R %.1f" % tuple(manifest["mean"]), GAP, 42)
    if entry["blank"]:
        _write(strip, "%s of them are blank (every pixel 0)" % format(entry["blank"], ","), width // 2, 20, ALARM)
    tile, gap = side + GAP // 3, 2 * GAP
    columns = [(IMAGES * tile + gap, "as stored"), (tile + gap, "mean")]
    if part == "train" and manifest.get("balance", {}).get("extra"):
        columns.append((PAIRS * (2 * tile + gap), "balanced images, each at the right of its source"))
    at = LABEL
    for column, heading in columns + [(BAR, "images")]:
        _write(strip, heading, at, TITLE - 10)
        at += column
    return strip


def _blank(height, width):
    return np.full((height, width, 3), PAPER, np.uint8)


def _write(image, text, x, y, colour=INK):
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
