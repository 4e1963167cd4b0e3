"""Evidence: shares by their definitions, and measures on a scale where nothing is infinite."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.transferability.evidence import MEASURES, Evidence, logit

ONE = Evidence.of(100, [10, 20, 70], [0.72, 0.8, 0.76], 5000, pixels=0.75, knn=0.6, logme=-0.2)


def test_by_their_definitions() -> None:
    assert (ONE.images, ONE.classes, ONE.typical, ONE.parameters) == (100, 3, 20, 5000)
    assert ONE.chance == 0.7  # the largest class beats guessing among three
    assert (ONE.probe_last, ONE.probe_best, ONE.peak) == (0.76, 0.8, 0.5)
    assert ONE.skill == pytest.approx((0.8 - 0.7) / 0.3)
    assert ONE.gain == pytest.approx((0.8 - 0.75) / 0.25)
    assert ONE.drop == pytest.approx((0.8 - 0.76) / 0.1)
    assert replace(ONE, pixels=0.1).gain == pytest.approx((0.8 - 0.7) / 0.3)  # worse than guessing
    assert replace(ONE, pixels=None).gain is None
    assert Evidence.of(4, [1, 3], [0.5], 1).typical == 2
    assert Evidence.of(4, [2, 2], [0.5], 1).peak == 1
    assert Evidence.of(8, [4, 4], [0.5, 0.6, 0.6], 1).peak == 1  # of equal depths the deepest


@given(st.integers(1, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_logits_are_finite_ordered_and_symmetric(images: int, a: float, b: float) -> None:
    assert math.isfinite(logit(a, images))
    assert logit(a, images) == pytest.approx(-logit(1 - a, images), abs=1e-6)
    if a + 1e-9 < b:
        assert logit(a, images) < logit(b, images)


def test_half_an_image_on_both_sides() -> None:
    assert logit(1, 10) == math.log(10.5 / 0.5)
    assert logit(0.5, 10) == 0


def test_what_was_not_measured_is_none_and_all_else_a_number() -> None:
    known = {field.name for field in fields(Evidence)}
    missing = {"all depths", "gain of all depths", "Frechet distance", "class-mean transport", "domain classifier"}
    assert {name for name, measure in MEASURES.items() if measure(ONE) is None} == missing
    everything = replace(ONE, all_depths=0.9, frechet=1.0, transport=0.5, domain=0.1)
    assert all(math.isfinite(measure(everything)) for measure in MEASURES.values())  # type: ignore[arg-type]
    assert MEASURES["gain over pixels"](ONE) == pytest.approx(logit(0.8, 100) - logit(0.75, 100))
    assert MEASURES["images per class"](ONE) == math.log10(20)
    assert {"frechet", "transport", "domain"} <= known
