"""The 2x2 table: every point lies on the side of the border that the rule chose, and moves with what it shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.transferability.evidence import Evidence
from headstart.transferability.quadrant import FEW_PER_CLASS, GAIN, LARGE_IN_ALL, SKILL, quadrant, similarity_place

accuracies = st.floats(0, 1)


@given(st.lists(st.integers(1, 40_000), min_size=2, max_size=6), accuracies, accuracies, st.none() | accuracies)
def test_the_point_lies_on_the_side_of_the_border_that_the_rule_chose(
    counts: list[int], early: float, last: float, pixels: float | None
) -> None:
    place = quadrant(Evidence.of(sum(counts), counts, [early, last], 1, pixels=pixels))
    assert 0 < place.x < 1
    assert 0 < place.y < 1
    assert (place.x > 0.5) == (place.similarity == "high")
    assert (place.y > 0.5) == (place.size == "large")
    assert (
        place.number
        == {("large", "low"): 1, ("large", "high"): 2, ("small", "low"): 3, ("small", "high"): 4}[
            place.size, place.similarity
        ]
    )


def test_the_point_moves_with_what_it_shows() -> None:
    def at(images: int, accuracy: float) -> tuple[float, float]:
        place = quadrant(Evidence.of(images, [images // 2] * 2, [accuracy], 1, pixels=0.4))
        return place.x, place.y

    likes = [at(1000, accuracy)[0] for accuracy in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)]
    sizes = [at(images, 0.9)[1] for images in (20, 200, 2000, 40_000, 400_000)]
    assert likes == sorted(likes)
    assert likes[0] < likes[2] < 0.5 < likes[-1]
    assert sizes == sorted(set(sizes))
    assert [size > 0.5 for size in sizes] == [
        n >= 2 * FEW_PER_CLASS and n >= LARGE_IN_ALL for n in (20, 200, 2000, 40_000, 400_000)
    ]


@pytest.mark.parametrize(("gain", "place"), [(-0.2, 0.0), (0.0, 0.0), (GAIN, 0.5), (1.0, 1.0)])
def test_the_border_lies_in_the_middle(gain: float, place: float) -> None:
    best = 0.5 + gain / 2  # raw pixels at one half
    assert similarity_place(Evidence.of(100, [50, 50], [max(best, 0)], 1, pixels=0.5)) == pytest.approx(place)


def test_vectors_are_placed_by_skill() -> None:
    assert similarity_place(Evidence.of(100, [50, 50], [0.5 + SKILL / 2], 1)) == pytest.approx(0.5)
