"""Growing parts of the training images: each holds the one before, and all classes in proportion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.errors import ConfigError, DataError, problems
from headstart.seeding import generator

STEPS = 5
"""Sizes, each twice the one before, where none are named."""
FEWEST = 2
"""Images of every class in the smallest part: what is learned there is chosen by cross-validation."""


def choose_sizes(images: int, classes: int, wanted: Sequence[int] = ()) -> list[int]:
    """Sizes in order: `wanted`, or doubling up to all `images`. Raises ConfigError or DataError when they cannot be."""
    least = FEWEST * classes
    if wanted:
        wrong = [f"{size} is more than the {images} images there are to learn from" for size in wanted if size > images]
        wrong += [
            f"{size} is too few: {FEWEST} images of each of {classes} classes are {least}" for size in wanted if size < least
        ]
        if len(set(wanted)) < 2:
            wrong.append("a curve needs at least two different sizes")
        problems(ConfigError, f"--sizes {' '.join(map(str, wanted))} cannot be:", wrong)
        return sorted(set(wanted))
    found = [round(images / 2**step) for step in reversed(range(STEPS))]
    found = [size for size in found if size >= least]
    if len(found) < 2:
        raise DataError(
            f"there are {images} images to learn from and {classes} classes: half of them would leave fewer than {FEWEST} "
            "images of a class, so there is no curve to draw. Add images, or take classes out"
        )
    return found


def nested(
    labels: NDArray[np.int64], groups: NDArray[np.int64] | None, sizes: Sequence[int], seed: int
) -> list[NDArray[np.int64]]:
    """Positions of each part, sorted; every part holds the one before.

    labels  `[N]` class of each image; groups: `[N]` or None, images of one group are copies of each other

    Parts are in proportion to the classes to within one image, but have two of every class, from different groups where
    there are two. The last part may be all of the images.
    """
    order = _order(labels, groups, seed)
    return [np.sort(order[:size]) for size in sizes]


def _order(labels: NDArray[np.int64], groups: NDArray[np.int64] | None, seed: int) -> NDArray[np.int64]:
    """All positions so that every beginning is in proportion: image j of the m of a class comes at (j + 1/2) / m."""
    rng = generator(seed, "nested")
    places, members = np.empty(len(labels)), rng.permutation(len(labels))
    for one in np.unique(labels):
        mine = members[labels[members] == one]
        if groups is not None:
            mine = _apart(mine, groups)
        places[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
        places[mine[:FEWEST]] -= 1.0
    # Classes of one size tie at every step; who comes first is drawn.
    return members[np.argsort(places[members], kind="stable")].astype(np.int64)


def _apart(mine: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same images, the second one from another group than the first."""
    other = np.flatnonzero(groups[mine] != groups[mine[0]])
    if not len(other):
        return mine
    return np.concatenate([mine[:1], mine[other[:1]], np.delete(mine[1:], other[0] - 1)])
