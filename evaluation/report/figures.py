"""Plots, each drawn into an Axes that the caller gives: the confusion matrix (the paper's Figure 2), faces, accuracies.

Colours are Okabe and Ito's, which colour-blind people tell apart; right and wrong differ by a mark as well.
"""

from __future__ import annotations

import contextlib
from collections import namedtuple
from collections.abc import Iterator, Sequence

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import PercentFormatter

from common import files

# What a theme decides: ink, lines, faint lines, paper, the end of the confusion matrix's colours, right, wrong, bars.
Theme = namedtuple("Theme", "ink grey pale paper full right wrong bars")
LIGHT = Theme("#222222", "#6b6b6b", "#d9d9d9", "#ffffff", "#08519c", "#00795a", "#c44900", ("#0072b2", "#8c8c8c", "#e69f00", "#cc79a7"))
DARK = Theme("#e8e8e6", "#a3a3a3", "#454a52", "#16191d", "#8cc8f5", "#3fc79f", "#ff9a5c", ("#56b4e9", "#9a9a9a", "#e69f00", "#e29cc4"))
FONT = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "svg.fonttype": "none",
    "svg.hashsalt": "fer-lite",  # the same figure gives the same bytes
}
DPI = 110  # of a PNG
_theme = LIGHT


@contextlib.contextmanager
def style(theme: Theme = LIGHT) -> Iterator[None]:
    """The fonts and colours of all figures, as a context: `with figures.style(): ...`."""
    global _theme
    matplotlib.use("Agg")  # no display needed
    before, _theme = _theme, theme
    colours = {
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
        "axes.edgecolor": theme.grey,
        "axes.facecolor": theme.paper,
        "figure.facecolor": theme.paper,
        "savefig.facecolor": theme.paper,
    }
    try:
        with plt.rc_context(dict(FONT, **colours)):
            yield
    finally:
        _theme = before


def save(figure: plt.Figure, path: str) -> None:
    """Write a figure to the PNG `path`, whole or not at all, and close it. Within `style`, whose paper it has."""
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
    plt.close(figure)


def confusion_matrix(ax: plt.Axes, counts: np.ndarray, classes: Sequence[str], annotate: str = "counts") -> None:
    """Draw a confusion matrix: colour is the share of each row, so that small classes are seen as well as large ones.

    `counts`: C x C, truth down, prediction across, int (or the mean of several, with "percent"). `annotate`: "counts", or
    "percent" of the row. An empty class is an empty row.
    """
    counts = np.asarray(counts)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    edges = np.arange(len(classes) + 1) - 0.5
    colours = LinearSegmentedColormap.from_list("share", [_theme.paper, _theme.full])
    ax.pcolormesh(edges, edges, shares, cmap=colours, vmin=0, vmax=1, edgecolors=_theme.paper, linewidth=1.5)
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(edges[-1], edges[0])
    ax.set_aspect("equal")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            text = "{:,}".format(count) if annotate == "counts" else "%.1f" % (100 * shares[row, column])
            ax.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=9,
                fontweight="bold" if row == column else "normal",
                color=_ink_on(colours(shares[row, column])),
            )
    ax.set_xticks(range(len(classes)))
    ax.set_yticks(range(len(classes)))
    ax.set_xticklabels(classes, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticklabels(["%s  n=%s" % (name, "{:,.0f}".format(n)) for name, n in zip(classes, totals[:, 0])])
    ax.tick_params(length=0)
    ax.set_xlabel("predicted")
    ax.set_ylabel("truth")
    for spine in ax.spines.values():
        spine.set_visible(False)


def _ink_on(colour):
    """Black or white, whichever is read better on an RGBA colour (relative luminance, as WCAG has it)."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return "#1a1a1a" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.19 else "#ffffff"


def face_grid(ax: plt.Axes, images: np.ndarray, truths: np.ndarray, predictions: np.ndarray, classes: Sequence[str], columns: int = 8) -> None:
    """Draw faces in rows of `columns`, each with a mark and its predicted class below, and the truth where it is another.

    `images`: uint8 N x H x W (grey) or N x H x W x 3 (RGB); `truths`, `predictions`: class numbers.
    """
    cell, step = 1.0, 1.52  # a cell's side and the way down to the next, which leaves two lines of text
    gap = 0.14
    rows = -(-len(images) // columns)
    for i, (image, truth, prediction) in enumerate(zip(images, truths, predictions)):
        left, top = (i % columns) * (cell + gap), (i // columns) * step
        colour = _theme.right if truth == prediction else _theme.wrong
        ax.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(left, left + cell, top + cell, top), interpolation="bilinear")
        ax.add_patch(plt.Rectangle((left, top), cell, cell, fill=False, edgecolor=colour, linewidth=2))
        mark = "\u2713" if truth == prediction else "\u2717"
        ax.text(
            left + cell / 2, top + cell + 0.15, "%s %s" % (mark, classes[prediction]), color=colour, fontsize=7, ha="center", va="center", fontweight="bold"
        )
        if truth != prediction:
            ax.text(left + cell / 2, top + cell + 0.33, "is %s" % classes[truth], color=_theme.ink, fontsize=7, ha="center", va="center")
    ax.set_xlim(-0.05, columns * (cell + gap) - gap + 0.05)
    ax.set_ylim(rows * step - 0.05, -0.05)
    ax.set_aspect("equal")
    ax.axis("off")


def accuracy_bars(ax: plt.Axes, names: Sequence[str], right: Sequence[int], total: Sequence[int], chance: float | None = None) -> None:
    """Draw one bar a network: share of right answers, with the counts. `right`, `total`: int, one for each of `names`."""
    right, total = np.asarray(right, float), np.asarray(total, float)
    places = np.arange(len(names))
    ax.barh(places, right / total, height=0.62, color=[_theme.bars[i % len(_theme.bars)] for i in places])
    for place, hit, n in zip(places, right, total):
        inside = hit / n > 0.45
        text = "{:.1f}%   {:,.0f} of {:,.0f}".format(100 * hit / n, hit, n)
        ax.text(
            hit / n + (-0.015 if inside else 0.015),
            place,
            text,
            va="center",
            ha="right" if inside else "left",
            color=_theme.paper if inside else _theme.ink,
            fontweight="bold",
        )
    if chance is not None:
        ax.axvline(chance, color=_theme.ink, linewidth=1, linestyle=(0, (3, 2)))
        ax.text(chance + 0.008, len(names) - 0.5, "chance", fontsize=7.5, color=_theme.ink, va="top")
    ax.set_yticks(places)
    ax.set_yticklabels(names)
    ax.set_ylim(len(names) - 0.3 if chance is not None else len(names) - 0.5, -0.5)
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    _bare(ax)


def density_bars(ax, bars):
    """Draw the information density D of methods (the paper's Figure 3), one bar each.

    `bars`: [(name, D, words behind the bar, group)]; a group (0, 1, 2: literature, the paper, ours) has one colour.
    """
    places = np.arange(len(bars))
    colours = [_theme.bars[(1, 0, 2)[group]] for _, _, _, group in bars]
    ax.barh(places, [d for _, d, _, _ in bars], height=0.66, color=colours)
    widest = max(d for _, d, _, _ in bars)
    for place, (_, d, words, _) in zip(places, bars):
        for shift, text, font in ((5, "%.1f" % d, {"fontweight": "bold"}), (38, words, {"fontsize": 7.5, "color": _theme.grey})):
            ax.annotate(text, (d, place), (shift, 0), textcoords="offset points", va="center", **font)
    ax.set_yticks(places)
    ax.set_yticklabels([name for name, _, _, _ in bars])
    ax.set_ylim(len(bars) - 0.5, -0.5)
    ax.set_xlim(0, widest * 1.6)
    ax.set_xlabel("information density: accuracy in percent / parameters in millions")
    _bare(ax)


def differences(ax: plt.Axes, rungs: Sequence[tuple[str, Sequence[tuple[float, float]]]], base: Sequence[tuple[float, float]]) -> None:
    """Draw what each change adds to a base, in points: a dot for each run with one crop, a ring with the mirrored pair.

    `rungs`: [(name, [(one crop, mirrored pair) of each run])], from the top; `base`: the same of the base's runs, beside their own mean. What
    lies in the grey band, no further out than the base's own runs, is noise.
    """
    ones, pairs = zip(*base)
    ax.axvspan(min(ones + pairs), max(ones + pairs), color=_theme.pale, linewidth=0)
    ax.axvline(0, color=_theme.grey, linewidth=1)
    for number, (colour, filled, label) in enumerate(((_theme.bars[0], True, "one crop"), (_theme.bars[2], False, "mirrored pair"))):
        points = [(run[number], place + 0.16 * (2 * number - 1)) for place, (_, runs) in enumerate(rungs) for run in runs]
        ax.scatter(*zip(*points), s=30, color=colour if filled else _theme.paper, edgecolors=colour, linewidths=1.4, label=label, zorder=3, clip_on=False)
    ax.set_yticks(range(len(rungs)))
    ax.set_yticklabels([name for name, _ in rungs])
    ax.set_ylim(len(rungs) - 0.5, -0.5)
    ax.set_xlabel("points beside the mean of the bases")
    ax.legend(frameon=False, loc="upper left")
    _bare(ax)


def reliability(ax, bins, ece):
    """Draw a reliability diagram: accuracy against confidence, each point as large as its share of the images.

    `bins`: [(n, mean confidence, accuracy)] as judging.calibration returns them; `ece`: 0 to 1.
    """
    n, confidence, accuracy = np.array(bins, float).T
    ax.plot([0, 1], [0, 1], color=_theme.grey, linewidth=1, linestyle=(0, (3, 2)))
    ax.vlines(confidence, confidence, accuracy, color=_theme.bars[2], linewidth=1.5)
    ax.scatter(confidence, accuracy, s=12 + 400 * n / n.sum(), color=_theme.bars[0], zorder=3, clip_on=False)
    ax.text(0.04, 0.96, "ECE %.1f%%" % (100 * ece), fontweight="bold", va="top", transform=ax.transAxes)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_aspect("equal")
    ax.set_xlabel("confidence: the largest probability")
    ax.set_ylabel("accuracy")
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    _bare(ax, ("top", "right"), "both")


def _bare(ax, without=("top", "right", "left"), grid="x"):
    """No more frame than needed, a faint grid behind."""
    ax.tick_params(length=0)
    ax.set_axisbelow(True)
    ax.grid(axis=grid, color=_theme.pale, linewidth=0.8)
    for side in without:
        ax.spines[side].set_visible(False)
