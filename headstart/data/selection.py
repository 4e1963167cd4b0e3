"""Which samples a memory of limited size keeps: a reservoir, equal shares, and herding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Group = tuple[int, int]
"""A class and the task it was seen in."""


def reservoir(seen: int, filled: int, offered: int, capacity: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Slot `[offered]` that each sample offered goes to, in order; -1 for those passed over (Vitter 1985, algorithm R).

    seen    samples offered before, in all
    filled  of them kept
    draw    where random numbers come from: one per sample offered once the memory is full

    While there is room it is taken. Afterwards the n-th sample of all goes to a slot drawn from the first n numbers, and is
    passed over when the memory has no such slot. After n samples each is kept with probability min(1, capacity / n), if
    the capacity was the same all the time. A slot may occur more than once: the last sample is the one that stays.
    """
    slots = np.full(offered, -1, np.int64)
    free = min(max(capacity - filled, 0), offered)
    slots[:free] = filled + np.arange(free)
    drawn = draw.integers(0, seen + np.arange(free, offered) + 1)
    slots[free:] = np.where(drawn < capacity, drawn, -1)
    return slots


def final(slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the offers that stay: those with a slot that no later offer takes, in the order offered."""
    _, from_the_end = np.unique(slots[::-1], return_index=True)
    places = np.sort(len(slots) - 1 - from_the_end)
    return places[slots[places] >= 0].astype(np.int64)


def shares(available: NDArray[np.int64], capacity: int) -> NDArray[np.int64]:
    """Equal shares `[G]` of a capacity among groups that have so many samples; what one cannot fill goes to the others.

    What is left over when it does not divide goes to the first groups, one sample each.
    """
    given = np.zeros(len(available), np.int64)
    left = capacity
    while left > 0 and (wanting := available > given).any():
        each = left // int(wanting.sum())
        if each == 0:
            given[np.flatnonzero(wanting)[:left]] += 1
            break
        given += np.where(wanting, np.minimum(each, available - given), 0)
        left = capacity - int(given.sum())
    return given


def allotted(classes: NDArray[np.int64], tasks: NDArray[np.int64], capacity: int) -> dict[Group, int]:
    """How many samples of each class and task may stay: equal shares per class, and within a class per task."""
    names, counts = np.unique(classes, return_counts=True)
    found: dict[Group, int] = {}
    for name, share in zip(names.tolist(), shares(counts, capacity).tolist(), strict=True):
        of_task, several = np.unique(tasks[classes == name], return_counts=True)
        parts = shares(several, share)
        found |= {(name, task): part for task, part in zip(of_task.tolist(), parts.tolist(), strict=True)}
    return found


def first_of(classes: NDArray[np.int64], tasks: NDArray[np.int64], room: dict[Group, int]) -> NDArray[np.int64]:
    """Places of those that stay when every class and task keeps its first `room`; in order."""
    kept = [np.flatnonzero((classes == name) & (tasks == task))[:count] for (name, task), count in room.items()]
    return np.sort(np.concatenate(kept)) if kept else np.empty(0, np.int64)


def directions(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Features `[N, D]` divided by their Euclidean norms, in float64; a zero vector stays zero."""
    wide = features.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    found: NDArray[np.float64] = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    return found


def mean_direction(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """The mean `[D]` of normalised features, normalised again (Rebuffi et al. 2017, section 2)."""
    mean: NDArray[np.float64] = directions(directions(features).mean(0, keepdims=True))[0]
    return mean


def herding(features: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Places of the `count` samples of one class, best first, whose running mean best follows the mean of all.

    Welling 2009, as iCaRL uses it (Rebuffi et al. 2017, algorithm 4) on normalised features `[N, D]`: the k-th is the
    sample x, not chosen yet, that minimises ||mu - (phi(x) + sum of those chosen) / k||, where mu is the mean of all. The
    first k are the choice of k, so that a memory is cut from the end. As in the authors' code, mu and the running mean are
    not normalised again. Ties go to the earlier sample. All samples where `count` is more than there are.
    """
    phi = directions(features)
    mean = phi.mean(0) if len(phi) else np.zeros(phi.shape[1])
    lengths = (phi**2).sum(1)  # ones, and zero for a zero vector
    left = np.ones(len(phi), bool)
    total = np.zeros(phi.shape[1])
    order = []
    for k in range(1, min(count, len(phi)) + 1):
        # ||k mu - total - phi||^2 without its part that all samples share
        distance = lengths - 2 * phi @ (k * mean - total)
        best = int(np.argmin(np.where(left, distance, np.inf)))
        left[best] = False
        total += phi[best]
        order.append(best)
    return np.array(order, np.int64)
