"""Schematic grey faces with FER+'s eight expressions: the demo's target data (the paper's section III-B has FER+ here).

A face is a list of measures: what the brows, eyes, nose and mouth do (its expression) and what the head looks like (its
person). Lengths are in half heights of the head; x runs to the right and y down, from the middle of the head.
"""

from __future__ import annotations

import cv2
import numpy as np

from common.drawn.camera import FINE, PLACES, fixed_point, photograph

SIDE = 48  # FER2013's images
HEAD = 20.5  # half the head's height, in pixels of the finished image

NOISE = 10
CIRCLE = np.linspace(0, 1, 32)
ACROSS = np.linspace(-1, 1, 25)

# What an expression does to a face at rest. Brows: raised by so much, at the inner end, at the outer end, and arched.
# Mouth: half width, corners up, opened, squareness of the opening (0 round, 1 square), upper lip raised, one corner up.
REST = dict(
    brow=0.0,
    inner=0.0,
    outer=0.0,
    arch=0.05,
    eyes=0.095,
    wide=0.30,
    corners=0.0,
    opened=0.0,
    square=0.3,
    lip=0.0,
    one_side=0.0,
    nose=0.0,
    furrow=0.0,
    cheeks=0.0,
    teeth=0.0,
)
EXPRESSIONS = {
    "neutral": {},
    "happiness": dict(wide=0.44, corners=0.22, opened=0.2, eyes=0.07, cheeks=1.0, teeth=1.0, square=0.3),
    "surprise": dict(brow=0.17, arch=0.16, eyes=0.17, wide=0.19, opened=0.27, square=0.1),
    "sadness": dict(inner=0.15, outer=-0.11, arch=0.0, eyes=0.065, wide=0.28, corners=-0.19),
    "anger": dict(inner=-0.17, outer=0.09, arch=0.0, eyes=0.075, wide=0.32, corners=-0.1, furrow=1.0, opened=0.13, square=1.0, teeth=1.0),
    "disgust": dict(brow=-0.05, inner=-0.08, eyes=0.035, wide=0.30, corners=-0.13, lip=0.17, opened=0.1, nose=1.0, teeth=1.0),
    "fear": dict(brow=0.12, inner=0.10, outer=-0.02, arch=0.0, eyes=0.165, wide=0.40, corners=-0.1, opened=0.24, square=0.9, teeth=0.55),
    "contempt": dict(eyes=0.06, wide=0.36, one_side=0.28, corners=-0.05),
}


def measures(shares: dict[str, float], strength: float) -> dict[str, float]:
    """A face's measures: the expressions in `shares` (name -> share, sum 1), `strength` (about 0 to 1.2) away from rest."""
    face = dict(REST)
    for name, share in shares.items():
        for key, value in EXPRESSIONS[name].items():
            face[key] += share * strength * (value - REST[key])
    return face


def face(rng: np.random.RandomState, shares: dict[str, float], strength: float) -> np.ndarray:
    """Draw one person with the expression `measures(shares, strength)`: uint8 48 x 48.

    `rng` (numpy RandomState) chooses the person, the pose, the light, the blur and the noise.
    """
    expression = measures(shares, strength)
    for key in ("brow", "inner", "outer", "corners"):
        expression[key] += rng.normal(0, 0.018)
    for key in ("eyes", "wide"):
        expression[key] *= np.exp(rng.normal(0, 0.08))
    return photograph(rng, paint(expression, person(rng), pose(rng)), NOISE)


def no_face(rng: np.random.RandomState) -> np.ndarray:
    """An image that shows no face at all (FER+'s NF): soft blotches, uint8 48 x 48."""
    blotches = cv2.resize(rng.uniform(20, 230, (5, 5)).astype(np.float32), (SIDE * FINE,) * 2, interpolation=cv2.INTER_CUBIC)
    return photograph(rng, np.clip(blotches, 0, 255).astype(np.uint8), NOISE)


def person(rng: np.random.RandomState) -> dict:
    """Who it is: the head's proportions, greys (0 to 255) and hair."""
    skin = rng.uniform(95, 215)
    return dict(
        width=rng.uniform(0.68, 0.84),
        skin=skin,
        hair=rng.uniform(10, 70) if rng.rand() < 0.75 else rng.uniform(140, 225),
        style=rng.choice(["short", "long", "bald", "parted"], p=[0.4, 0.3, 0.12, 0.18]),
        hairline=rng.uniform(-0.74, -0.6),
        between=rng.uniform(0.27, 0.34),
        eye=rng.uniform(0.13, 0.165),
        eye_y=rng.uniform(-0.2, -0.12),
        brow_y=rng.uniform(-0.42, -0.36),
        brow_thick=rng.uniform(0.055, 0.095),
        nose=rng.uniform(0.17, 0.26),
        nose_wide=rng.uniform(0.08, 0.13),
        mouth_y=rng.uniform(0.47, 0.55),
        lips=rng.uniform(0.045, 0.07),
        side=rng.choice([-1, 1]),
        gaze=rng.uniform(-0.03, 0.03),
        background=rng.uniform(20, 235),
        glasses=rng.rand() < 0.08,
        shoulders=rng.uniform(30, 200),
    )


def pose(rng: np.random.RandomState) -> np.ndarray:
    """How it stands: 2 x 3 matrix from head units to pixels of the fine canvas (rotation, scale, shift, a slight turn)."""
    angle, scale = np.radians(rng.normal(0, 5)), HEAD * FINE * rng.uniform(0.88, 1.1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([rng.uniform(0.92, 1.06), 1.0])
    shift = FINE * (SIDE / 2 + np.array([rng.uniform(-2, 2), 1.0 + rng.uniform(-2, 2)]))
    return np.column_stack([scale * turn, shift])


def paint(expression: dict[str, float], who: dict, stand: np.ndarray) -> np.ndarray:
    """The face on a fine canvas: uint8 192 x 192."""
    canvas = np.full((SIDE * FINE,) * 2, who["background"], np.uint8)
    _head(canvas, who, stand)
    for side in (-1, 1):
        _eye(canvas, expression, who, stand, side)
        _brow(canvas, expression, who, stand, side)
    _nose(canvas, expression, who, stand)
    _mouth(canvas, expression, who, stand)
    return canvas


def _pixels(stand, points):
    return fixed_point(np.asarray(points) @ stand[:, :2].T + stand[:, 2])


def _grey(grey):
    return min(255.0, max(0.0, float(grey)))


def _fill(canvas, stand, points, grey):
    cv2.fillPoly(canvas, [_pixels(stand, points)], _grey(grey), cv2.LINE_AA, PLACES)


def _line(canvas, stand, points, grey, thick):
    width = max(1, int(round(thick * stand[1, 1])))
    cv2.polylines(canvas, [_pixels(stand, points)], False, _grey(grey), width, cv2.LINE_AA, PLACES)


def _ellipse(x, y, a, b, start=0.0, end=2 * np.pi):
    angle = start + (end - start) * CIRCLE
    return np.column_stack([x + a * np.cos(angle), y + b * np.sin(angle)])


def _head(canvas, who, stand):
    """Shoulders, hair behind, ears, head, and the hair above the forehead."""
    width, skin, hair = who["width"], who["skin"], who["hair"]
    if who["style"] == "long":
        _fill(canvas, stand, _ellipse(0, 0.1, width + 0.2, 1.25), hair)
    _fill(canvas, stand, _ellipse(0, 1.75, 1.5, 0.75), who["shoulders"])
    _fill(canvas, stand, _ellipse(0, 0.95, 0.36, 0.45), 0.8 * skin)
    if who["style"] != "bald":
        _fill(canvas, stand, _ellipse(0, -0.22, width + 0.1, 0.92, np.pi, 2 * np.pi), hair)
    for side in (-1, 1):
        _fill(canvas, stand, _ellipse(side * width, 0.0, 0.09, 0.17), 0.88 * skin)
    _fill(canvas, stand, _ellipse(0, 0, width, 1.0), skin)
    if who["style"] != "bald":
        edge = ACROSS
        dip = {"short": 0.10 * (1 - edge**2), "long": 0.2 * edge**2, "parted": 0.14 * (edge * who["side"])}[who["style"]]
        line = np.column_stack([edge * width, who["hairline"] + 0.32 * edge**4 + dip - 0.05])
        top = _ellipse(0, -0.2, width + 0.06, 0.88, 0, -np.pi)
        _fill(canvas, stand, np.concatenate([line, top]), hair)


def _eye(canvas, expression, who, stand, side):
    """White almond, iris cut off by the lids, and the lids' lines; glasses where the person wears any."""
    x, y, half, high = side * who["between"], who["eye_y"], who["eye"], max(0.02, expression["eyes"])
    t = ACROSS
    upper = np.column_stack([x + half * t, y - high * (1 - t**2) ** 0.7])
    lower = np.column_stack([x + half * t, y + 0.75 * high * (1 - t**2)])
    almond = np.concatenate([upper, lower[::-1]])
    skin = who["skin"]
    opening = np.zeros_like(canvas)
    cv2.fillPoly(opening, [_pixels(stand, almond)], 255, cv2.LINE_8, PLACES)
    eyeball = np.full_like(canvas, _grey(min(250, max(150, skin + 70))))
    _fill(eyeball, stand, _ellipse(x + who["gaze"], y, 0.085, 0.085), 25)
    cv2.copyTo(eyeball, opening, canvas)
    _line(canvas, stand, upper, min(45, 0.4 * skin), 0.045)
    _line(canvas, stand, lower, 0.6 * skin, 0.025)
    if who["glasses"]:
        _line(canvas, stand, _ellipse(x, y, 0.24, 0.22), 30, 0.035)
        _line(canvas, stand, [(0, y), (side * (who["between"] - 0.24), y)], 30, 0.035)


def _brow(canvas, expression, who, stand, side):
    """A thick stroke from the inner to the outer end; a raised mouth corner takes its own brow along a little."""
    t = CIRCLE
    lift = expression["brow"] + expression["inner"] * (1 - t) + expression["outer"] * t + expression["arch"] * np.sin(np.pi * t)
    if side == who["side"]:
        lift += 0.3 * expression["one_side"]
    inner = 0.11 - 0.03 * expression["furrow"]
    points = np.column_stack([side * (inner + (who["between"] + 0.17 - inner) * t), who["brow_y"] - lift])
    _line(canvas, stand, points, min(0.5 * who["skin"], who["hair"] + 15), who["brow_thick"])


def _nose(canvas, expression, who, stand):
    """Bridge and nostrils; disgust wrinkles it and draws the folds beside it, anger furrows the place above it."""
    shade, top, tip, wide = 0.62 * who["skin"], who["eye_y"] + 0.1, 0.05 + who["nose"], who["nose_wide"]
    tip -= 0.05 * expression["nose"]
    _line(canvas, stand, [(0.02 * who["side"], top), (0.05 * who["side"], tip - 0.06)], 0.82 * who["skin"], 0.035)
    _line(canvas, stand, _ellipse(0, tip - 0.03, wide, 0.06, 0, np.pi), shade, 0.04)
    dark = 0.45 * who["skin"]
    if expression["nose"] > 0.2:
        for side in (-1, 1):
            for y in (-0.02, -0.1, -0.18):
                _line(canvas, stand, [(side * 0.02, top + y), (side * 0.12, top + y - 0.06)], dark, 0.03 * expression["nose"])
            fold = [(side * (wide + 0.03), tip - 0.12), (side * (wide + 0.13), tip), (side * (wide + 0.2), tip + 0.16)]
            _line(canvas, stand, fold, dark, 0.035 * expression["nose"])
    if expression["furrow"] > 0.2:
        for side in (-1, 1):
            _line(canvas, stand, [(side * 0.05, who["brow_y"] - 0.02), (side * 0.035, who["brow_y"] + 0.14)], dark, 0.03 * expression["furrow"])


def _mouth(canvas, expression, who, stand):
    """Upper and lower lip as two curves from corner to corner; what is between them is dark, with teeth on top."""
    half, opened = max(0.1, expression["wide"]), max(0.0, expression["opened"])
    t = ACROSS
    middle = who["mouth_y"] + expression["corners"] * (0.5 - t**2) - expression["one_side"] * np.maximum(0, who["side"] * t) ** 1.6
    bulge = (1 - t**2) ** (0.6 - 0.4 * expression["square"])
    upper = middle - 0.35 * opened * bulge - expression["lip"] * np.exp(-((t / 0.55) ** 2)) * (1 - t**4)
    lower = middle + 0.9 * opened * bulge
    x, lips = half * t, 0.5 * who["skin"]
    curves = [np.column_stack([x, upper]), np.column_stack([x, lower])]
    if opened > 0.02:
        _fill(canvas, stand, np.concatenate([curves[0], curves[1][::-1]]), 25)
        if expression["teeth"] > 0.1:
            bite = upper + np.minimum(0.6 * (lower - upper), 0.16) * expression["teeth"]
            _fill(canvas, stand, np.concatenate([curves[0][3:-3], np.column_stack([x, bite])[3:-3][::-1]]), 235)
    thick = who["lips"] * (0.6 if opened > 0.02 else 1.0)
    for curve in curves:
        _line(canvas, stand, curve, min(lips, 90), thick)
    if expression["cheeks"] > 0.2:
        for side in (-1, 1):
            fold = _ellipse(half - 0.03, who["mouth_y"] - 0.14, 0.12, 0.16, -0.4 * np.pi, 0.3 * np.pi) * [side, 1]
            _line(canvas, stand, fold, 0.7 * who["skin"], 0.03 * expression["cheeks"])
