"""Where drawn copies go: every path is known, and held against every input, before the first face."""

from __future__ import annotations

import os
from typing import Sequence

from fer_lite import errors, video

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")  # that OpenCV writes; others become PNG
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi")


def plan(found: list[str], given: Sequence[str], out: str) -> tuple[list[str], dict[str, str]]:
    """(sources, {source: path of its drawn copy}) for the files and cameras `found` in what was `given`.

    `out` is a file for a source that stands alone, else a folder, in which the tree below each given folder is kept; videos become
    MP4. What lies in that folder is left out of the sources, unless it was given itself. Fail, with nothing written, where two
    copies would meet, or one would replace an input.
    """
    folders = sorted((name for name in given if os.path.isdir(name)), key=len, reverse=True)
    ours = os.path.realpath(out)
    if any(_below(ours, os.path.realpath(folder)) for folder in folders):  # photos/ drawn into photos/drawn
        found = [source for source in found if source in given or not _below(os.path.realpath(source), ours)]
        if not found:
            raise errors.Fail("nothing but what lies in %s, the folder of drawn copies: choose another --draw (DRAW=)" % out)
    if len(found) == 1 and os.path.splitext(out)[1] and not os.path.isdir(out) and not out.endswith(os.sep):
        kinds = VIDEOS if video.is_video(found[0]) else IMAGES
        if not out.lower().endswith(kinds):
            raise errors.Fail("%s: a drawn copy of %s is written as %s" % (out, found[0], " ".join(kinds)))
        paths = {found[0]: out}
    else:
        paths = {source: os.path.join(out, _copy_name(source, folders)) for source in found}
    _hold(paths, found, named=out in paths.values())
    return found, paths


def _below(path, folder):
    return path != folder and path.startswith(os.path.join(folder, ""))


def _copy_name(source, folders):
    """A copy's path in the draw folder: as below the folder that the source was found in, its name alone where it was given itself."""
    if video.is_camera(source):
        return "camera%s.mp4" % os.path.basename(source)
    within = next((folder for folder in folders if source.startswith(os.path.join(folder, ""))), os.path.dirname(source) or ".")
    stem, kind = os.path.splitext(os.path.relpath(source, within))
    return stem + (".mp4" if video.is_video(source) else kind if kind.lower() in IMAGES else ".png")


def _hold(paths, inputs, named):
    """Fail where two of `paths` are one file, or one is an input: by links too, and by letters that a file system takes for the same.

    Beside an input no file is replaced whose path was made, not `named`: it may be another original.
    """
    read = {_file(source): source for source in inputs if os.path.exists(source)}
    beside = {os.path.realpath(os.path.dirname(source) or ".") for source in inputs}
    written = {}
    for source, path in paths.items():
        folder = path
        while not os.path.lexists(folder := os.path.dirname(folder) or "."):
            pass
        if not os.path.isdir(folder):
            raise errors.Fail("%s is a file: drawn copies need a folder there, choose another --draw (DRAW=)" % folder)
        if os.path.isdir(path):
            raise errors.Fail("%s is a folder: the drawn copy of %s goes there, choose another --draw (DRAW=)" % (path, source))
        if os.path.exists(path) and _file(path) in read:
            raise errors.Fail("%s would be replaced by the drawn copy of %s: choose another --draw (DRAW=)" % (read[_file(path)], source))
        if not named and os.path.exists(path) and os.path.realpath(os.path.dirname(path)) in beside:
            raise errors.Fail("%s is there, beside the inputs, and may be yours: choose another --draw (DRAW=)" % path)
        other = written.setdefault(_place(path, folder), source)
        if other != source:
            raise errors.Fail("%s and %s would both be drawn to %s: draw them one after the other, or give the folder that holds both" % (other, source, path))


def _file(path):
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _place(path, there):
    """What tells a path from another, where both are still to be written. `there`: its innermost folder that is there."""
    real = os.path.realpath(path)
    return real.casefold() if _folds_case(os.path.realpath(there)) else real


def _folds_case(folder):
    """Whether a folder's file system takes A and a for one (macOS, Windows), as far as the folder's own name tells."""
    other = folder.swapcase()
    return other != folder and os.path.exists(other) and os.path.samefile(folder, other)
