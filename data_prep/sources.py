"""The five sources (III-C): from their official files to a training and a test part."""

import numpy as np

from common import errors
from data_prep import archives, fetch, store
from data_prep.sets import cifar, imagenet32, webface
from data_prep.sets import cinic10 as cinic
from paper import facts, ours

PARTS = ("train", "test", webface.WHOLE)


def build(args, folder):
    """Build the source `args.set` into `folder`; what goes into its manifest."""
    geometry, classes = facts.source(args.set).geometry, ours.DATASETS[args.set]["classes"]
    shelf = store.Shelf(folder, geometry, args.pad_level)
    index, about = Index(), {"passed over": set()}
    found, batches = _source(args, about, folder)

    def noted():
        for batch in batches:
            store.check_labels(
                batch.labels, about.get("classes", classes), "%s: the batch that begins with %s" % (found[0].path, archives.shown(batch.names[0]))
            )
            index.add(batch.part, batch.labels, batch.names)
            yield batch.make

    shelf.fill(noted(), args.workers, "reading " + found[0].path)
    parts, numbers, names = index.arrays()
    if len(about.get("class_names", range(classes))) != classes:
        raise errors.Fail("%s names %d classes, not %d" % (found[0].path, len(about["class_names"]), classes))
    _, entry = store.write_set(folder, shelf, _members(parts, names, args.set), numbers, names, about.get("classes", classes), mean_of=args.mean_of)
    passed = about.pop("passed over")
    return dict(entry, files=[each.record for each in found], **about, **({"passed_over": archives.passed_over_line(passed)} if passed else {}))


class Index:
    """Part, label and name of each image on the shelf, a few bytes each: a set may have millions."""

    def __init__(self):
        self.batches = []

    def add(self, part, labels, names):
        self.batches.append((np.full(len(names), PARTS.index(part), np.int8), np.array(labels, np.int32), store.encoded(names)))

    def arrays(self):
        """(places in PARTS int8, labels int32, names UTF-8 bytes), each of all images."""
        if not self.batches:
            return np.empty(0, np.int8), np.empty(0, np.int32), store.encoded([])
        return tuple(np.concatenate(each) for each in zip(*self.batches))


def _source(args, about, folder):
    """([Fetched], Bundles) of a source."""
    if args.set == "imagenet32":
        found = fetch.imagenet32(args.given, args.downloads, args.unofficial)
        return found, imagenet32.read({"train": found[0].path, "test": found[1].path}, about, folder)
    found = fetch.sets_file(args.set, args.given, args.downloads, args.unofficial)
    if args.set == "webface":
        return [found], webface.read(found.path, about)
    if args.set == "cinic10":
        return [found], cinic.read(found.path, about, args.with_valid)
    return [found], cifar.read(found.path, about, args.set, args.jpeg)


def _members(parts, names, dataset):
    """Part -> numbers of its images on the shelf, in an order that does not depend on how the archive was packed."""
    order = np.arange(len(parts))
    if dataset not in cifar.FILES:  # CIFAR comes in one order already, and under different names
        order = np.argsort(names, kind="stable")
    members = {part: order[parts[order] == PARTS.index(part)] for part in PARTS}
    whole = members.pop(webface.WHOLE)
    if dataset == "webface":
        whole = np.random.RandomState(ours.WEBFACE_SPLIT_SEED).permutation(whole)
        held_out = min(ours.WEBFACE_HELD_OUT, len(whole) // 10)  # a tenth of a small set
        members.update(train=whole[held_out:], test=whole[:held_out])
    return members
