"""The logs of runs as event files for TensorBoard (or any reader of its format), with the scalars and the times of log.csv.

    python3 -m evaluation.report.tensorboard runs/resnet20_cifar10 RUN ... --runs runs --out results/tensorboard
    tensorboard --logdir results/tensorboard

tensorboardX writes them: no TensorFlow, and no TensorBoard where one only trains.
"""

import argparse
import os

from common import errors, files, runs

TAGS = {
    "loss": "training/loss",
    "rate": "training/rate",
    "images_per_second": "training/images_per_second",
    "validation_loss": "validation/loss",
    "validation_accuracy": "validation/accuracy",
}


def write(rows, began, folder):
    """The rows of runs.read_log as one event file in `folder`, instead of what was there. `began`: seconds since 1970."""
    from tensorboardX import SummaryWriter

    with files.replacing(folder) as temporary, SummaryWriter(temporary) as writer:
        for row in rows:
            for column, tag in TAGS.items():
                if row[column] is not None:
                    writer.add_scalar(tag, row[column], row["iteration"], walltime=began + row["seconds"])


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m evaluation.report.tensorboard", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", metavar="run", help="folders of runs; those that have no log yet are left out")
    parser.add_argument("--runs", default="runs", help="a run is named by its path from here; without any: all in it (default: %(default)s)")
    parser.add_argument("--out", required=True, help="the folder to give to tensorboard --logdir")
    args = parser.parse_args()
    logs = runs.read_logs(args.folders or runs.logged(args.runs))
    folders = {run: os.path.join(args.out, os.path.relpath(run, args.runs)) for run, _ in logs}
    for run, folder in folders.items():
        if os.path.relpath(run, args.runs).split(os.sep)[0] == os.pardir:
            raise errors.Fail("%s does not lie in %s: name the folder that holds all the runs, --runs" % (run, args.runs))
        if os.path.realpath(folder) == os.path.realpath(run):
            raise errors.Fail("--out %s would replace %s itself: name a folder of its own" % (args.out, run))
    for run, rows in logs:
        write(rows, runs.began(run), folders[run])
    print("wrote the logs of %d runs: tensorboard --logdir %s" % (len(logs), args.out))


if __name__ == "__main__":
    main()
