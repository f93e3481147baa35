"""Finding the files of a set, checking them, fetching what can be fetched: nothing is opened before its checksum is right."""

import os
from collections import namedtuple

from common import errors
from data_prep import archives, download, official

# A file or folder as it was found. record: its name, size and SHA-256, for the manifest; official: whether its checksum is
# the published one.
Fetched = namedtuple("Fetched", "path record official")


def sets_file(dataset, given, downloads, unofficial=False):
    """The Fetched that the set `dataset` is read from: in the file or folder `given`, else in `downloads`, else fetched.

    `unofficial`: take files of other sizes and checksums under the official names. Fail where there is nothing to find
    and nothing to fetch, with how to get it.
    """
    choices = official.FILES[dataset]
    return _given(choices, given, unofficial) or located(choices, [downloads], unofficial) or _fetched(choices, downloads, dataset)


def imagenet32(given, downloads, unofficial=False):
    """The Fetched of ImageNet32's training and validation part."""
    if given and not os.path.isdir(given):
        raise errors.Fail("FROM=%s is one file, and ImageNet32 has two, for training and validation: name the folder of both" % given)
    for pair in official.IMAGENET32:
        found = [located([file], [given or downloads], unofficial) for file in pair]
        if all(found):
            return found
        if any(found):
            missing = pair[1 if found[0] else 0].name
            raise errors.Fail("%s is there, %s is not, and ImageNet32 is both: get it too, into the same folder" % ((found[0] or found[1]).path, missing))
    if given:
        return [as_it_is(given)] * 2
    raise errors.Fail(_by_hand("imagenet32", [file for pair in official.IMAGENET32[:2] for file in pair], downloads))


def ferplus(given, downloads, unofficial=False):
    """(Fetched of FER2013's pixels, Fetched of the three label.csv, Fetched of fer2013new.csv or None with a folder of PNGs)."""
    of_given = _ferplus_places(given)
    places = of_given + _ferplus_places(downloads)
    csv_given = given and (os.path.isfile(given) or any(os.path.exists(os.path.join(place, file.name)) for place in of_given for file in official.FER2013))
    folder = next(filter(is_png_folder, of_given if csv_given else places), None)
    if folder:
        pixels = as_it_is(folder)
    elif given and os.path.isfile(given) and os.path.basename(given) not in [file.name for file in official.FER2013]:
        pixels = as_it_is(given)
    else:
        pixels = located(official.FER2013, places, unofficial)
    if not pixels:
        raise errors.Fail(_by_hand("fer2013", official.FER2013[:2], downloads))

    def own(file):
        return located([file], places, unofficial) or _fetched([file], os.path.join(downloads, "FERPlus"), "ferplus")

    return pixels, [own(file) for file in official.VOTES], None if folder else own(official.NAMES)


def is_png_folder(path):
    """Whether `path` holds FER+'s three folders with PNGs in them."""

    def has_png(folder):
        return os.path.isdir(folder) and any(name.lower().endswith(".png") and not archives.is_passed_over(name) for name in os.listdir(folder))

    return all(has_png(os.path.join(path, os.path.dirname(file.name))) for file in official.VOTES)


def located(choices, places, unofficial):
    """The first of `choices` that lies in one of `places` (folders, or the file itself), checked; None without any."""
    for place in places:
        for file in choices:
            path = place if os.path.basename(place) == file.name and os.path.isfile(place) else os.path.join(place, file.name)
            if os.path.isfile(path) and not archives.is_archive(path) and archives.packing(path):
                return as_it_is(path)  # a fer2013.csv that is really the tar: no official one to hold it against
            if os.path.exists(path) and not (os.path.isdir(path) and path in places):
                return checked(file, path, unofficial)
    return None


def checked(file, path, unofficial=False):
    """The Fetched of `path`, held to the size and checksum of `file` (official.File). Fail where they differ."""
    if os.path.isdir(path):
        return as_it_is(path)
    problem, sha256 = official.difference(file, path)
    if problem and not unofficial:
        raise errors.Fail(
            "%s is not the official file: %s; remove it and get it again, or say UNOFFICIAL=1 (--unofficial) if it is meant to differ" % (path, problem)
        )
    return Fetched(path, dict(name=file.name, size=os.path.getsize(path), sha256=sha256), bool(file.digest) and not problem)


def _given(choices, given, unofficial):
    return given and (located(choices, [given], unofficial) or as_it_is(given))


def as_it_is(path):
    """The Fetched of a file or folder that there is no official one to hold against."""
    if os.path.isdir(path):
        return Fetched(path, dict(name=os.path.basename(os.path.abspath(path)), size=None, sha256=None), False)
    return checked(official.File(os.path.basename(path), None, None, ()), path)


def _ferplus_places(place):
    """Where FER+'s files may lie under a folder: there, in a clone of its repository, or in the repository's zip unpacked."""
    if not place:
        return []
    if not os.path.isdir(place):
        return [place]
    return [os.path.join(place, inner) for inner in ("", "FERPlus", "FERPlus/data", "data", "FERPlus-master", "FERPlus-master/data", "fer2013")]


def _fetched(choices, downloads, dataset):
    """The first of `choices` that can be fetched, in `downloads`."""
    refusals = []
    for file in choices:
        if file.urls:
            try:
                download.fetch(file, os.path.join(downloads, file.name))
            except errors.Fail as refusal:
                refusals.append(str(refusal))
            else:
                return checked(file, os.path.join(downloads, file.name))
    raise errors.Fail("\n".join(refusals) or _by_hand(dataset, [file for file in choices if "." in file.name], downloads))


def _by_hand(dataset, choices, downloads):
    """What to get, where, how large, and where to put it."""
    lines = [official.BY_HAND[dataset], "and put it into %s (or say FROM=path):" % downloads]
    for file in choices:
        size = format(file.size, ",") + " bytes" if file.size else ""
        lines.append("  " + "  ".join(word for word in (file.name, size, file.digest or "") if word))
    return "\n".join(lines)
