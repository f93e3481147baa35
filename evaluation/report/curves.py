"""Training curves from log.csv: loss, rate and validation accuracy over epochs, of one run or of several in one picture.

python3 -m evaluation.report.curves runs/resnet20_cifar10                    runs/resnet20_cifar10/curves.png
python3 -m evaluation.report.curves RUN RUN ... --out results/curves.png     all in one, and one beside each log
"""

import argparse
import os

from common import errors, runs
from evaluation.report import figures

PANELS = (("loss", "training loss", "log"), ("rate", "learning rate", "log"), ("validation_accuracy", "validation accuracy (%)", "linear"))
LEGEND_FOR = 12  # more runs than that have no legend: it would hide them


def draw(logs, path):
    """Write a picture of `logs`, [(name, rows of runs.read_log)], to the PNG `path`."""
    with figures.style():
        figures.save(compose(logs), path)


def compose(logs):
    """The picture of `logs` as a figure."""
    figure, axes = figures.plt.subplots(len(PANELS), 1, figsize=(8, 8), sharex=True)
    for ax, (column, label, scale) in zip(axes, PANELS):
        for number, (name, rows) in enumerate(logs):
            points = [(row["epoch"], row[column]) for row in rows if row[column] is not None]
            points = [(x, 100 * y if column == "validation_accuracy" else y) for x, y in points]
            few = column == "validation_accuracy" and len(points) < 40
            ax.plot(
                *zip(*points) if points else ([], []),
                label=name,
                lw=1,
                marker="." if few else None,
                drawstyle="steps-pre" if column == "rate" else "default",
                color=_colour(number, len(logs)),
            )
        ax.set_yscale(scale)
        ax.set_ylabel(label)
        ax.grid(alpha=0.3)
    axes[-1].set_xlabel("epoch")
    axes[0].set_title(logs[0][0] if len(logs) == 1 else "%d runs" % len(logs), loc="left")
    if 1 < len(logs) <= LEGEND_FOR:
        axes[-1].legend(fontsize=7)
    figure.tight_layout()
    return figure


def _colour(number, of):
    return figures.plt.cm.viridis(0.3 + 0.5 * number / max(1, of - 1))  # seen on light and on dark paper


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m evaluation.report.curves", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", metavar="run", help="folders of runs; those that have no log yet are left out")
    parser.add_argument("--runs", default="runs", help="without any: all in this folder (default: %(default)s)")
    parser.add_argument("--out", help="a picture with all of them")
    args = parser.parse_args()
    logs = runs.read_logs(args.folders or runs.logged(args.runs))
    for run, rows in logs:
        draw([(run, rows)], os.path.join(run, "curves.png"))
    if args.out:
        draw(logs, args.out)
    print("drew %d runs: curves.png beside each log%s" % (len(logs), ", all in " + args.out if args.out else ""))


if __name__ == "__main__":
    main()
