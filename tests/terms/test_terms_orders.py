"""Orders of tiles, against the greedy algorithm done one order at a time."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from headstart.terms.orders import far_apart


def distance(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("count", "tiles"), [(24, 4), (12, 5)])
def test_it_is_the_greedy_algorithm(count: int, tiles: int, seed: int) -> None:
    found = far_apart(count, tiles, seed)
    left = [order for order in permutations(range(tiles)) if order != found[0]]
    chosen = [found[0]]
    while len(chosen) < count:
        best = max(
            left, key=lambda order: (sum(distance(order, c) for c in chosen), min(distance(order, c) for c in chosen))
        )
        chosen.append(best)
        left.remove(best)
    assert list(found) == chosen


def test_orders_of_nine_tiles_are_as_unlike_as_can_be() -> None:
    """No set of orders is further apart on average than one in which each place shows every tile equally often."""
    found = np.array(far_apart(36))
    assert len({tuple(order) for order in found.tolist()}) == 36
    assert (np.sort(found, 1) == np.arange(9)).all()
    apart = (found[:, None] != found).sum(2)[np.triu_indices(36, 1)].mean()
    each = np.bincount([index % 9 for index in range(36)])
    same = 9 * (each * (each - 1)).sum() / (36 * 35)
    assert apart == pytest.approx(9 - same, abs=1e-9)
    assert (np.array(far_apart(9)) != np.array(far_apart(9))[:, None]).sum(2)[np.triu_indices(9, 1)].min() == 9


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="3 tiles have 6 orders"):
        far_apart(7, 3)
