"""FER+, the target (III-B): labels by vote, the training part balanced, the other two as they are.

`ferplus_votes` is the same set beyond the paper, for training on the votes themselves: every image that has a vote, 48x48 as
it is, nothing balanced; the table beside each LMDB has the votes, and FER+'s own label.
"""

from collections import namedtuple

import numpy as np

from common import errors
from data_prep import balance, duplicates, fetch, labels, store
from data_prep.sets import fer
from paper import facts, ours

VOTES_SET = "ferplus_votes"
AT_ONCE = 500  # faces that a worker handles at a time

# The images that have a label: names, list of str; parts, array of str; labels, int N; faces, uint8 N x 48 x 48; votes,
# list of ten counts each.
Kept = namedtuple("Kept", "names parts labels faces votes")


def build(args, folder):
    """Build FER+ into `folder`; what goes into its manifest."""
    pixels, votes, named = fetch.ferplus(args.given, args.downloads, args.unofficial)
    table = fer.read(pixels.path, [found.path for found in votes], named and named.path, args.workers)
    kept = _labelled(table, args.labels)
    geometry = "keep" if args.set == VOTES_SET else "resize"
    majority = labels.majority(named.path) if args.set == VOTES_SET and named else None
    members = {part: np.flatnonzero(kept.parts == part) for part in labels.PARTS}
    if all(found.official for found in votes):
        _check_counts(args.labels, members)
    listed = [] if args.labels in labels.RULES else [fetch.as_it_is(args.labels)]
    if listed:
        members = {part: numbers for part, numbers in members.items() if len(numbers) or part == "train"}
    train = members["train"]
    extras = balance.plan(kept.labels[train], args.per_class, ours.BALANCE_SEED) if args.per_class else []
    origins = train[np.array([extra.source for extra in extras], int)]  # the original of each extra image

    shelf = store.Shelf(folder, geometry)
    shelf.fill(_originals(kept.faces), args.workers, "resizing")
    shelf.fill(_extras(kept.faces, origins, extras), args.workers, "balancing")
    members["train"] = np.concatenate([train, np.arange(len(kept.names), shelf.count)])
    numbers = np.concatenate([kept.labels, kept.labels[origins]])
    names = kept.names + ["%s#%d" % (kept.names[n], i) for i, n in enumerate(origins)]
    orders, entry = store.write_set(
        folder, shelf, members, numbers, store.encoded(names), len(facts.EXPRESSIONS), _columns(kept, origins, extras) + _majority(kept, majority, len(extras))
    )
    doubles = duplicates.write(folder, kept.faces, kept.names, orders)
    return dict(
        entry,
        files=[found.record for found in [pixels] + votes + ([named] if named else []) + listed],
        class_names=facts.EXPRESSIONS,
        duplicates=doubles,
        balance=dict(
            seed=ours.BALANCE_SEED,
            originals=np.bincount(kept.labels[train]).tolist(),
            extra=len(extras),
            rotation=ours.AUGMENT_ROTATION,
            shift=ours.AUGMENT_SHIFT,
            noise=ours.AUGMENT_NOISE,
        ),
    )


def _majority(kept, majority, extras):
    """The column of FER+'s own labels (labels.majority), empty where an image has none; no column without them."""
    if majority is None:
        return []
    found = [majority.get(image, "") for image in zip(kept.parts.tolist(), kept.names)]
    return [("majority", found + [""] * extras)]


def _labelled(table, rule):
    numbers = labels.apply(rule, table.names, table.votes)
    kept = np.flatnonzero(numbers != labels.NONE)
    return Kept([table.names[i] for i in kept], np.array(table.parts)[kept], numbers[kept], table.faces[kept], table.votes[kept].tolist())


def _check_counts(rule, members):
    """With FER+'s own label.csv files the number of images is known to the image."""
    expected = {"paper": ours.FERPLUS_IMAGES, "ferplus": ours.FERPLUS_RULE_IMAGES}.get(rule)
    found = {part: len(numbers) for part, numbers in members.items()}
    if expected and found != expected:
        raise errors.Fail("label rule %s leaves %s images of FER+'s own votes, not %s: the rule is broken" % (rule, found, expected))


def _originals(faces):
    for start in range(0, len(faces), AT_ONCE):
        yield list, faces[start : start + AT_ONCE]


def _extras(faces, origins, extras):
    for start in range(0, len(extras), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        yield balance.make, faces[origins[some]], extras[some]


def _columns(kept, origins, extras):
    """The table's columns behind the label: ten votes, and of a balanced image what it was made of, and how."""
    votes = kept.votes + [kept.votes[n] for n in origins]
    blank = [""] * len(kept.names)
    return [(title, [counts[i] for counts in votes]) for i, title in enumerate(labels.VOTES)] + [
        ("source", blank + [kept.names[n] for n in origins]),
        ("transformation", blank + [balance.describe(extra) for extra in extras]),
    ]
