"""Print the metrics that a test has written: `make eval`.

python3 -m evaluation.report.show runs/resnet20_ferplus_from_cifar10/trial1/metrics_valid.json
"""

from __future__ import annotations

import json
import sys

from common import errors


def read(path: str) -> dict:
    """A metrics file as dict (metrics.summary and `made_from`). Fail where it is missing or damaged."""
    try:
        with open(path) as f:
            return json.load(f)
    except (FileNotFoundError, ValueError):
        raise errors.Fail("%s is missing or damaged: run `make eval AGAIN=1`" % path) from None


def table(summary):
    """The printed table of a metrics.summary: headline figures, then each class with its row of the confusion matrix."""
    source = summary["made_from"]
    share = "%-22s %6.2f%%"
    lines = [
        "%s, %s" % (source["net"], source["weights"]),
        "ten crops of every image of %s" % source["lmdb"],
        share % ("accuracy, ten crops", 100 * summary["accuracy"]) + "   n = %d" % summary["n"],
        share % ("accuracy, one crop", 100 * summary["one_crop_accuracy"]),
        share % ("mean class accuracy", 100 * summary["mean_class_accuracy"]),
    ]
    if len(summary["classes"]) > 20:
        return "\n".join(lines)
    width = max(5, len(str(summary["n"])) + 1)
    lines += [
        "",
        "%-12s %5s %9s %6s %6s   predicted as" % ("class", "n", "precision", "recall", "F1")
        + "".join(name[: width - 1].rjust(width) for name in summary["classes"]),
    ]
    for row, counts in zip(summary["per_class"], summary["confusion"]):
        lines.append(
            "%-12s %5d %8.1f%% %5.1f%% %5.1f%%               " % (row["name"], row["n"], 100 * row["precision"], 100 * row["recall"], 100 * row["f1"])
            + "".join(str(count).rjust(width) for count in counts)
        )
    return "\n".join(lines)


@errors.main
def main():
    print("\n\n".join(table(read(path)) for path in sys.argv[1:]))


if __name__ == "__main__":
    main()
