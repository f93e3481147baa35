"""FER+'s votes and what they make of an image: the label rules (III-B: "majority vote"), and the shares that a network can be trained on.

`paper`: single votes count as none; an image is kept when one emotion has more than half of the votes that remain on the
eight emotions (`unknown` and `NF` are not counted at all). This gives exactly the paper's 26,029, 3,312 and 3,274
images. `ferplus`: FER+'s reference code, which counts all ten. `any`: the emotion with most votes, of every image that has one
left after single votes are dropped (training on the votes themselves wants all images).
"""

from __future__ import annotations

import numpy as np

from paper import facts

VOTES = facts.EXPRESSIONS + ("unknown", "NF")
RULES = ("paper", "ferplus", "any")
NONE = -1  # the label of an image that a rule leaves out


def counted(votes):
    """Votes, int N x K, without the single ones: no rule of FER+ counts them."""
    return np.where(votes == 1, 0, votes)


def by_votes(rule: str, votes: np.ndarray) -> np.ndarray:
    """Labels, int N, by one of RULES from votes int N x 10; NONE where there is no majority."""
    votes = counted(votes)
    if rule != "ferplus":
        votes = votes[:, : len(facts.EXPRESSIONS)]
    best = votes.argmax(1)
    if rule == "any":
        return np.where(votes.max(1) > 0, best, NONE)
    kept = (2 * votes.max(1) > votes.sum(1)) & (best < len(facts.EXPRESSIONS))
    return np.where(kept, best, NONE)


def shares(votes: np.ndarray) -> np.ndarray:
    """Votes, int N x 10, as shares of the eight emotions, float32 N x 8 with sum 1. Each image has one left after single votes are dropped."""
    emotions = counted(votes)[:, : len(facts.EXPRESSIONS)].astype(np.float32)
    return emotions / emotions.sum(1, keepdims=True)
