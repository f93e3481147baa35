"""What every reader yields: a few images with names and labels, not decoded yet."""

from collections import namedtuple

# part: "train", "valid" or "test"; names: list of str; labels: list of int; make: (function, images, ...): called in a
# worker, the function turns the images as read into decoded ones, uint8 H x W or H x W x 3 BGR each.
Bundle = namedtuple("Bundle", "part names labels make")


def grouped(files, size, function):
    """Bundles of `size` from `files`, (part, name, label, data, where) of single images, each of one part."""
    waiting = {}
    for part, name, label, data, where in files:
        group = waiting.setdefault(part, [])
        group.append((name, label, data, where))
        if len(group) == size:
            yield _batch(part, waiting.pop(part), function)
    for part, group in waiting.items():
        yield _batch(part, group, function)


def _batch(part, group, function):
    names, labels, data, where = map(list, zip(*group))
    return Bundle(part, names, labels, (function, data, where))
