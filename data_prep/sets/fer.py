"""FER2013's images with FER+'s names and votes: from fer2013.csv or icml_face_data.csv, or folders of PNGs.

A row of the CSV has no name. Row r is the image named in row r of fer2013new.csv; names are not row numbers, and of a
name that comes twice the later row counts (as where FER+'s own script writes the PNGs).
"""

import os
import posixpath
from collections import namedtuple

import numpy as np

from common import errors, parallel
from common.progress import Progress
from data_prep import archives, images, labels

SIDE = 48
PIXELS = SIDE * SIDE
CSV_NAMES = ("fer2013.csv", "icml_face_data.csv")
BLOCK = 1 << 23  # bytes of text that a worker parses at a time
LONGEST_LINE = 1 << 16  # a row has at most 9,230 bytes
SPACE = 32

# All images that FER+ has votes for: parts, list of "train", "valid", "test"; names, list of str; faces, uint8 N x 48 x 48;
# votes, int N x 10.
Voted = namedtuple("Voted", "parts names faces votes")


def read(source, votes_paths, names_path, workers):
    """The Voted, in the order of the three label.csv files.

    `source`: a CSV file, an archive with one, or (`names_path` None) the folder with FER2013Train, FER2013Valid and
    FER2013Test of PNGs; `votes_paths`: the label.csv of each part; `names_path`: fer2013new.csv.
    """
    found = _from_csv(source, names_path, workers) if names_path else _from_folder(source, workers)
    parts, names, faces, votes = [], [], [], []
    for part, path in zip(labels.PARTS, votes_paths):
        part_names, part_votes = labels.read_votes(path)
        missing = [name for name in part_names if name not in found[part]]
        if missing:
            raise errors.Fail("%s: %d of the %d images that %s names are missing, %r first" % (source, len(missing), len(part_names), path, missing[0]))
        parts += [part] * len(part_names)
        names += part_names
        faces += [found[part][name] for name in part_names]
        votes.append(part_votes)
    return Voted(parts, names, np.stack(faces), np.concatenate(votes))


def parse(text, where, lines=None):
    """Rows of pixels as uint8 N x 2304. `text`: a list of bytes, each 2304 numbers from 0 to 255 with spaces between; `lines`: their numbers."""
    for line, row in zip(lines or range(1, len(text) + 1), text):
        if row.count(b" ") != PIXELS - 1:
            raise errors.Fail("%s, line %d: not %d pixels, but %d: get the file again" % (where, line, PIXELS, row.count(b" ") + bool(row)))
    digits = np.frombuffer(b" " + b" ".join(text) + b" ", np.uint8)
    ends = np.flatnonzero(digits == SPACE)
    digits = digits - np.uint8(ord("0"))  # what is no digit becomes more than 9
    length = np.diff(ends) - 1
    last = ends[1:] - 1
    values = digits[last].astype(np.uint16)
    values += (length > 1) * np.uint16(10) * digits[last - 1]
    values += (length > 2) * np.uint16(100) * digits[last - 2]
    strange = np.count_nonzero(digits > 9) != len(ends)
    if strange or length.min() < 1 or length.max() > 3 or values.max() > 255:
        raise errors.Fail("%s: a pixel that is no number from 0 to 255" % where)
    return values.astype(np.uint8).reshape(-1, PIXELS)


def _from_csv(source, names_path, workers):
    """Part -> name -> image uint8 48 x 48."""
    named = labels.read_names(names_path)
    by_name = {part: {} for part in labels.PARTS}
    row = 0
    for usages, faces in _csv_blocks(source, workers):
        for usage, face in zip(usages, faces):
            if row >= len(named):
                raise errors.Fail("%s goes on after the %d rows that %s has: something was glued to its end; get it again" % (source, row, names_path))
            if labels.USAGES.get(usage) != named[row][0]:
                raise errors.Fail("row %d of %s is not of the Usage that row %d of %s has: not the same set" % (row + 1, source, row + 1, names_path))
            part, name = named[row]
            if name:
                by_name[part][name] = face
            row += 1
    if row != len(named):
        raise errors.Fail("%s has %d rows, %s has %d: get the shorter one again" % (source, row, names_path, len(named)))
    return by_name


def _csv_blocks(source, workers):
    """Yield (usages list of str, faces uint8 N x 48 x 48), block by block of the CSV in `source`."""
    for entry in archives.inner_entries(source):
        if posixpath.basename(entry.name) in CSV_NAMES or entry.where == source:
            with Progress("reading " + entry.where, archives.size_of(entry) >> 20) as bar:
                done = 0
                for usages, faces, size in parallel.work(_parse_block, _text_blocks(entry), workers):
                    done += size
                    bar.update(done >> 20, "MB")
                    yield usages, faces
            return
    raise errors.Fail("%s has no %s in it" % (source, " or ".join(CSV_NAMES)))


def _text_blocks(entry):
    """Tasks for `_parse_block`: whole lines, about BLOCK bytes at a time."""
    columns, rest, line = None, b"", 2
    for block in archives.blocks(entry, BLOCK):
        block = rest + block
        if columns is None:
            header, _, block = block.partition(b"\n")
            columns = _columns(header, entry.where)
        lines = block.split(b"\n")
        rest = lines.pop()
        if len(rest) > LONGEST_LINE:
            raise errors.Fail("%s, line %d: too long for a row of %d pixels" % (entry.where, line + len(lines), PIXELS))
        if lines:
            yield lines, columns, entry.where, line
        line += len(lines)
    if rest.strip():
        yield [rest], columns, entry.where, line


def _columns(header, where):
    """(place of the pixels, place of Usage, number of columns): others beside them, such as an index, count for nothing."""
    titles = [title.strip(' "\r\xef\xbb\xbf') for title in header[:LONGEST_LINE].decode("latin-1").split(",")]
    if any(titles.count(title) != 1 for title in ("emotion", "pixels", "Usage")):
        raise errors.Fail("%s does not begin with the titles emotion, pixels, Usage: it is no fer2013.csv" % where)
    return titles.index("pixels"), titles.index("Usage"), len(titles)


def _parse_block(lines, columns, where, first):
    """(usages, faces, bytes of text) of some lines of the CSV, `first` the number of the first."""
    pixels, usage, width = columns
    numbers = [number for number, line in enumerate(lines, first) if line.strip()]
    rows = [lines[number - first].split(b",") for number in numbers]
    for number, row in zip(numbers, rows):
        if len(row) != width:
            raise errors.Fail("%s, line %d: %d columns, not %d: get the file again" % (where, number, len(row), width))
    faces = parse([row[pixels].strip(b' "\r') for row in rows], where, numbers) if rows else np.empty((0, PIXELS), np.uint8)
    usages = [row[usage].strip(b' "\r').decode("latin-1") for row in rows]
    return usages, faces.reshape(-1, SIDE, SIDE), sum(map(len, lines))


def _from_folder(source, workers):
    """Part -> name -> image uint8 48 x 48, from FER+'s folders of PNGs."""
    by_name = {}
    for part, folder in labels.PARTS.items():
        folder = os.path.join(source, folder)
        names = [name for name in _listing(folder) if name.lower().endswith(".png")]
        tasks = [(folder, names[i : i + 500]) for i in range(0, len(names), 500)]
        by_name[part] = {}
        with Progress("reading " + folder, len(names)) as bar:
            for some, faces in parallel.work(_read_pngs, tasks, workers):
                by_name[part].update(zip(some, faces))
                bar.add(len(some))
    return by_name


def _read_pngs(folder, names):
    faces = np.empty((len(names), SIDE, SIDE), np.uint8)
    for i, name in enumerate(names):
        path = os.path.join(folder, name)
        face = images.decode(archives.in_worker(path, images.LARGEST_FILE), path, grey=True)
        if face.shape != (SIDE, SIDE):
            raise errors.Fail("%s has %dx%d pixels, not %dx%d" % (path, face.shape[1], face.shape[0], SIDE, SIDE))
        faces[i] = face
    return names, faces


def _listing(folder):
    return sorted(name for name in os.listdir(folder) if not archives.is_passed_over(name)) if os.path.isdir(folder) else []
