"""Orders of tiles that are as unlike each other as can be."""

from __future__ import annotations

from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from headstart.seeding import generator


@cache
def far_apart(count: int, tiles: int = 9, seed: int = 0) -> tuple[tuple[int, ...], ...]:
    """`count` orders of `tiles` tiles: after a first one drawn by `seed`, always that whose Hamming distances to those
    chosen have the largest sum (Noroozi & Favaro 2016, algorithm 1). Thousands have it; of them that whose nearest is
    farthest, which the paper leaves open, then the first in the alphabet.

    Raises ValueError where there are not so many.
    """
    every = _all_orders(tiles)
    if not 1 <= count <= every.shape[1]:
        raise ValueError(f"count={count}: {tiles} tiles have {every.shape[1]} orders")
    next_ = int(generator(seed, "orders", tiles).integers(every.shape[1]))
    total = np.zeros(every.shape[1], np.int64)
    nearest = np.full(every.shape[1], tiles, np.int64)
    chosen = []
    for _ in range(count):
        chosen.append(next_)
        distance = np.zeros(every.shape[1], np.int64)
        for place in range(tiles):  # a comparison of all at once would write nine times as much
            distance += every[place] != every[place, next_]
        total += distance
        np.minimum(nearest, distance, out=nearest)
        total[next_] = np.iinfo(np.int64).min // (4 * tiles)
        next_ = int((total * (tiles + 1) + nearest).argmax())
    return tuple(tuple(int(tile) for tile in every[:, which]) for which in chosen)


def _all_orders(tiles: int) -> NDArray[np.uint8]:
    """`[tiles, tiles!]`, alphabetically."""
    return np.ascontiguousarray(np.array(list(permutations(range(tiles))), np.uint8).T)
