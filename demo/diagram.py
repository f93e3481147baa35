"""The README's picture: the paper's method on drawn objects and faces.

python3 -m demo.diagram docs/method.png
"""

import argparse

import numpy as np
from matplotlib.patches import FancyArrowPatch, Rectangle

from common import errors, files
from common.drawn import faces, objects
from demo import settings
from evaluation.report import figures
from fer_lite import crops
from paper import facts

BLUE, ORANGE, GREY = "#4c72b0", "#dd8452", "#8c8c8c"
TOP, BOTTOM = 0.66, 0.14  # heights of the two networks
LEFT, PITCH, WIDTH = 0.365, 0.035, 0.026  # of the boxes that stand for a network's layers


def draw(seed=settings.SEED):
    """The figure: pretraining above, fine-tuning and the ten crops below."""
    rng = np.random.RandomState(seed)
    things = [objects.draw(rng, name) for name in objects.CLASSES[:8]]
    people = [faces.face(rng, {name: 1.0}, 1.0) for name in facts.EXPRESSIONS]
    with figures.style():
        figure = figures.plt.figure(figsize=(13.6, 5.2))
        page = figure.add_axes([0, 0, 1, 1])
        page.set(xlim=(0, 1), ylim=(0, 1))
        page.axis("off")
        titles = ((0.02, 0.95, "1. Pretrain on small colour images"), (0.02, 0.43, "2. Fine-tune on faces of FER+"), (0.74, 0.43, "3. Test with ten crops"))
        for x, y, title in titles:
            page.text(x, y, title, fontsize=14, fontweight="bold", va="center")
        page.text(0.74, 0.80, "CIFAR10, CIFAR100, ImageNet32,\nCINIC-10 or CASIA-WebFace;\n32x32 crops of 40x40 or 36x36", fontsize=11, va="top")
        gallery(figure, 0.02, 0.53, things, [""] * 8)
        gallery(figure, 0.02, 0.01, people, facts.EXPRESSIONS)
        for height, last, colour in ((TOP, "fc_cifar10", GREY), (BOTTOM, "fc_ferplus", ORANGE)):
            network(page, height, last, colour)
        page.text(
            LEFT + 4.5 * PITCH,
            0.475,
            "every weight is copied, but the final layer's:\nthat one begins anew",
            ha="center",
            va="center",
            fontsize=11,
            color=BLUE,
            bbox=dict(facecolor="white", edgecolor="none"),
            zorder=3,
        )
        for layer in range(9):
            arrow(page, (LEFT + layer * PITCH + WIDTH / 2, TOP - 0.10), (LEFT + layer * PITCH + WIDTH / 2, BOTTOM + 0.24), BLUE, 0.25)
        for height in (TOP, BOTTOM):
            arrow(page, (0.325, height + 0.07), (0.358, height + 0.07), "black", 1)
        ten = crops.ten_crops(np.stack([crops.resized(people[1])[None]]), 0, facts.CROP)[0, :, 0]
        for i, crop in enumerate(ten):
            image(figure, [0.745 + 0.047 * (i % 5), 0.22 - 0.13 * (i // 5), 0.044, 0.12], crop)
        page.text(0.74, 0.37, "corners, centre, and their mirrors", fontsize=11, va="center")
        page.text(0.74, 0.045, "their mean: eight probabilities", fontsize=11, va="center")
    return figure


def network(page, height, last, colour):
    """A row of boxes: the three groups of residual blocks (as ResNet-20 has them), and the final layer."""
    for group, (width, tall) in enumerate(zip(facts.WIDTHS, (0.18, 0.13, 0.09))):
        for block in range(3):
            x = LEFT + (3 * group + block) * PITCH
            page.add_patch(Rectangle((x, height + 0.07 - tall / 2), WIDTH, tall, facecolor=BLUE, alpha=0.45 + 0.2 * group))
        page.text(LEFT + (3 * group + 1) * PITCH + WIDTH / 2, height + 0.185, "3 x [3x3, %d] x 2" % width, ha="center", fontsize=9)
    x = LEFT + 9 * PITCH
    page.add_patch(Rectangle((x, height + 0.07 - 0.045), WIDTH, 0.09, facecolor=colour))
    page.text(x + WIDTH / 2, height - 0.005, last, ha="center", fontsize=9)


def gallery(figure, left, bottom, images, names):
    for i, (each, name) in enumerate(zip(images, names)):
        axes = image(figure, [left + 0.076 * (i % 4), bottom + 0.19 * (1 - i // 4), 0.068, 0.165], each)
        axes.set_title(name, fontsize=9, pad=2)


def image(figure, place, pixels):
    axes = figure.add_axes(place)
    axes.imshow(pixels, cmap="gray")
    axes.axis("off")
    return axes


def arrow(page, start, end, colour, alpha):
    page.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=colour, alpha=alpha))


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m demo.diagram", description=__doc__.splitlines()[0])
    parser.add_argument("out", metavar="PNG")
    args = parser.parse_args()
    with files.replacing(args.out) as temporary:
        draw().savefig(temporary, format="png", dpi=100)
    print("wrote %s" % args.out)


if __name__ == "__main__":
    main()
