"""The training part in the order of a trial: `make order TRIAL=2`.

    python3 -m training.order --lmdb data/ferplus/train_lmdb --trial 2     writes data/ferplus/train_lmdb_trial2

Caffe's Data layer reads an LMDB from front to back and never shuffles, nor does it skip (rand_skip is ignored since
2015). So that a trial has an order of its own under the stock `caffe train` too, the same records are written once more
in another order, drawn from the trial's number. Trial 1 has the order that data_prep wrote. All runs of one trial
(12 rows of Table II) read the same copy.
"""

import argparse
import random

import lmdb

from common import errors, files, streams
from common.caffe import lmdbs
from common.progress import Progress
from training import job
from training.run import trial

KEY = "%08d"
AT_ONCE = 10000  # records in one transaction


def reorder(source, number):
    """Write LMDB `source` in the order of trial `number`; the new path."""
    target, images = job.order_path(source, number), lmdbs.count(source)
    order = list(range(images))
    random.Random(number).shuffle(order)
    with lmdbs.opened(source) as old, old.begin() as reader, files.replacing(target) as temporary, Progress("writing " + target, images) as bar:
        keys = [key for key, _ in reader.cursor()]
        with lmdb.open(temporary, map_size=2 * old.info()["last_pgno"] * old.stat()["psize"] + (1 << 24)) as new:
            for start in range(0, images, AT_ONCE):
                with new.begin(write=True) as writer:
                    for place in range(start, min(images, start + AT_ONCE)):
                        if not writer.put((KEY % place).encode(), reader.get(keys[order[place]]), append=True):
                            raise errors.Fail("%s is not empty, so it cannot be written in order: run it again" % temporary)
                bar.update(place + 1)
    return target


@errors.main
@streams.unfailing()
def main():
    parser = argparse.ArgumentParser(prog="python3 -m training.order", description=__doc__.splitlines()[0])
    parser.add_argument("--lmdb", required=True, help="the training part as data_prep wrote it")
    parser.add_argument("--trial", type=trial, required=True, help="2 or more")
    args = parser.parse_args()
    if args.trial == 1:
        raise errors.Fail("trial 1 reads %s itself: nothing to write" % args.lmdb)
    reorder(args.lmdb.rstrip("/"), args.trial)


if __name__ == "__main__":
    main()
