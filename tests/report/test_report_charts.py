"""Pictures say what the numbers say: positions are read back from the SVG and compared."""

from __future__ import annotations

import itertools
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.report.calibration import FAMILIES, OTHER, Past, shape
from headstart.report.charts import Estimate, Series, depth_chart, interval_plot, line_chart
from headstart.report.growth import Point, growth_chart
from headstart.report.matrix import heat_map, top_confusions
from headstart.report.quadrant import CELL, CORNERS, LEFT, TOP, Place, across, quadrant_picture, up
from headstart.report.svg import Scale, fit, label, nice_step, padded, text_width


def elements(picture: str, name: str, kind: str) -> list[ElementTree.Element]:
    return [one for one in ElementTree.fromstring(picture).iter(name) if kind in (one.get("class") or "").split()]


def at(one: ElementTree.Element, key: str) -> float:
    return float(one.get(key) or "nan")


@given(st.floats(-100, 100), st.floats(1e-3, 1e6), st.integers(2, 12))
def test_ticks_are_round_inside_and_not_too_many(low: float, width: float, wanted: int) -> None:
    scale = Scale(low, low + width, 0, 100)
    ticks = scale.ticks(wanted)
    step = nice_step(width / wanted)
    assert len(ticks) <= wanted + 1
    assert all(low - 1e-6 * step <= t <= low + width + 1e-6 * step for t in ticks)
    assert f"{step:.0e}"[0] in "125"
    assert all(b - a == pytest.approx(step, rel=1e-3) for a, b in itertools.pairwise(ticks))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_padded_range_holds_the_values_inside_zero_and_one(values: list[float]) -> None:
    low, high = padded(values)
    assert 0 <= low <= min(values)
    assert max(values) <= high <= 1
    assert low < high


@given(st.text(max_size=60), st.floats(20, 200))
def test_fitted_text_fits(text: str, pixels: float) -> None:
    shown = fit(text, pixels)
    assert text_width(shown) <= max(pixels, 3 * text_width("漢")) + 1e-9
    assert shown == text or "…" in shown


@pytest.mark.parametrize("width", [350, 760])
def test_interval_plot_puts_dots_and_whiskers_where_the_numbers_are(width: int) -> None:
    rng = np.random.default_rng(0)
    means = rng.uniform(0.6, 0.9, 6)
    rows = [Estimate(f"arm {i}", m, (m - 0.03, m + 0.02), "best" if i == 0 else "plain") for i, m in enumerate(means)]
    picture = interval_plot(rows, width, "accuracy")
    dots, whiskers = elements(picture, "circle", "dot"), elements(picture, "line", "whisker")
    xs = np.array([at(dot, "cx") for dot in dots])
    slope, start = np.polyfit(means, xs, 1)  # a straight map from accuracy to pixels, the same for dots and whiskers
    assert np.allclose(xs, slope * means + start, atol=0.11)
    assert np.allclose([at(w, "x1") for w in whiskers], slope * (means - 0.03) + start, atol=0.15)
    assert np.allclose([at(w, "x2") for w in whiskers], slope * (means + 0.02) + start, atol=0.15)
    assert slope > 0
    assert max(at(w, "x2") for w in whiskers) < width - 60


def test_a_hopeless_row_does_not_squeeze_the_others_and_is_shown_as_an_arrow() -> None:
    good = [Estimate("a", 0.9, (0.88, 0.92), "best"), Estimate("b", 0.89, (0.87, 0.91))]
    picture = interval_plot([*good, Estimate("hopeless", 0.1, (0.05, 0.15), "faint")], 760, "accuracy")
    whiskers = elements(picture, "line", "whisker")
    assert len(whiskers) == 2
    assert at(whiskers[0], "x2") - at(whiskers[0], "x1") > 100
    assert len(elements(picture, "path", "arrow")) == 1
    assert "10.0" in picture  # its figure is still there


def test_depth_chart_draws_every_block_and_joins_all_but_the_lone_one() -> None:
    rows = [Estimate(f"block{i}", 0.3 + 0.05 * i, (0.28 + 0.05 * i, 0.33 + 0.05 * i)) for i in range(8)]
    picture = depth_chart([*rows, Estimate("all", 0.8, None, "apart")], 350)
    assert len(elements(picture, "circle", "dot")) == 9
    (joined,) = elements(picture, "path", "thin")
    assert (joined.get("d") or "").count("L") == 7
    ys = [at(dot, "cy") for dot in elements(picture, "circle", "dot")]
    assert ys == sorted(ys, reverse=True)


def test_line_chart_of_one_epoch_is_a_spot() -> None:
    picture = line_chart([Series([(1.0, 0.5)], "bold")], 350, 190, "one", x_ticks=[(1.0, "1")], y_range=(0.4, 0.6))
    assert len(elements(picture, "circle", "spot")) == 1


def test_top_confusions_are_those_of_a_plain_count() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 9, (5, 5)).tolist()
    names = list("abcde")
    wanted = sorted((counts[i][j] for i in range(5) for j in range(5) if i != j and counts[i][j]), reverse=True)
    found = top_confusions(counts, names, limit=100)
    assert [one.count for one in found] == wanted
    assert all(counts[names.index(o.true)][names.index(o.predicted)] == o.count for o in found)
    assert all(o.support == sum(counts[names.index(o.true)]) for o in found)


@pytest.mark.parametrize("size", [2, 10, 13, 40])
def test_heat_map_cells_never_get_too_small_and_depth_grows_with_the_share(size: int) -> None:
    counts = (np.eye(size, dtype=int) * 8).tolist()
    counts[0][1], counts[0][0] = 2, 6
    picture = heat_map(counts, [f"class {i}" for i in range(size)], 350)
    cells = elements(picture, "rect", "cell")
    assert len(cells) == size * size
    assert min(at(c, "width") for c in cells) >= 13
    (wrong,) = elements(picture, "rect", "wrong")
    depths = [float((c.get("style") or "").split(":")[1]) for c in elements(picture, "rect", "right")]
    assert float((wrong.get("style") or "").split(":")[1]) < min(depths) <= max(depths) == 1
    across = float(ElementTree.fromstring(picture).get("width") or 0)
    assert max(at(c, "x") + at(c, "width") for c in cells) <= across


@pytest.mark.parametrize("corner", CORNERS)
def test_the_point_lies_in_its_quadrant(corner) -> None:  # type: ignore[no-untyped-def]
    x, y = 0.25 + 0.5 * corner.column, 0.75 - 0.5 * corner.row
    picture = quadrant_picture(corner.number, Place(x, y))
    (lit,), (dot,) = elements(picture, "rect", "lit"), elements(picture, "circle", "dot")
    assert at(lit, "x") < at(dot, "cx") < at(lit, "x") + at(lit, "width")
    assert at(lit, "y") < at(dot, "cy") < at(lit, "y") + at(lit, "height")
    assert ("unlike" in corner.where) == (corner.column == 0)
    assert ("much" in corner.where) == (corner.row == 0)


@given(st.floats(-1, 2), st.floats(-1, 2))
def test_marks_stay_in_the_square_and_on_their_side_of_the_border(x: float, y: float) -> None:
    assert LEFT < across(x) < LEFT + 2 * CELL
    assert TOP < up(y) < TOP + 2 * CELL
    if abs(x - 0.5) > 1e-6:
        assert (across(x) > LEFT + CELL) == (x > 0.5)
    if abs(y - 0.5) > 1e-6:
        assert (up(y) < TOP + CELL) == (y > 0.5)


def test_the_uncertainty_is_drawn_to_scale_and_need_not_be_symmetric() -> None:
    picture = quadrant_picture(4, Place(0.7, 0.3, (0.6, 0.75), (0.2, 0.33)))
    flat, tall = elements(picture, "line", "reach")[:2]
    assert (at(flat, "x1"), at(flat, "x2")) == pytest.approx((across(0.6), across(0.75)), abs=0.06)
    assert (at(tall, "y1"), at(tall, "y2")) == pytest.approx((up(0.33), up(0.2)), abs=0.06)
    (wash,) = elements(picture, "path", "halo")
    radii = [tuple(map(float, pair)) for pair in re.findall(r"A([\d.]+) ([\d.]+)", wash.get("d") or "")]
    assert radii[0] == pytest.approx((across(0.75) - across(0.7), up(0.3) - up(0.33)), abs=0.06)
    assert radii[2] == pytest.approx((across(0.7) - across(0.6), up(0.2) - up(0.3)), abs=0.06)


@pytest.mark.parametrize(
    "spans", [((0.6, 0.75), None), (None, (0.2, 0.33)), ((0.7, 0.7), (0.3, 0.3)), ((0.8, 0.9), (0.2, 0.4))]
)
def test_one_interval_alone_is_a_bar_without_a_region(spans: tuple[Any, Any]) -> None:
    picture = quadrant_picture(4, Place(0.7, 0.3, *spans))
    assert elements(picture, "line", "reach")
    assert not elements(picture, "path", "halo")


def test_families_differ_in_shape_as_well_as_in_colour() -> None:
    drawn = {re.sub(r"[-\d.]+", "#", str(shape(family, 50, 50))) for family in (*FAMILIES, OTHER)}
    assert len(drawn) == 4


def test_a_past_experiment_says_what_it_was() -> None:
    one = Past(0.3, 0.6, "a > b, 12 per class <i>", "full", "tuned", 0.031)
    picture = quadrant_picture(1, None, [one])
    (mark,) = elements(picture, "g", "past")
    assert mark[0].text == "a > b, 12 per class <i>: best was full (fine-tuning); tuned ahead by 3.1 points"
    assert "1 past experiment" in picture


@pytest.mark.parametrize("width", [350, 760])
def test_growth_is_drawn_to_scale_with_the_expected_point_apart(width: int) -> None:
    points = [Point(n, a, (a - 0.02, a + 0.02), None, n == 80) for n, a in ((10, 0.5), (20, 0.6), (40, 0.7), (80, 0.77))]
    picture = growth_chart(points, width)
    dots = elements(picture, "circle", "dot")
    xs, ys = (np.array([at(dot, key) for dot in dots]) for key in ("cx", "cy"))
    assert np.diff(xs) == pytest.approx(np.full(3, np.diff(xs).mean()), abs=0.2)  # every doubling the same step
    assert np.corrcoef(ys, [one.accuracy for one in points])[0, 1] == pytest.approx(-1, abs=1e-4)
    assert [("ahead" in (dot.get("class") or "")) for dot in dots] == [False, False, False, True]
    (dashed,) = elements(picture, "path", "ahead")
    assert (dashed.get("d") or "").count("L") == 1


def test_what_was_reached_is_marked_beside_what_was_expected() -> None:
    rows = [Estimate("a", 0.8, (0.75, 0.85), "best", seen=0.9), Estimate("b", 0.7, None)]
    picture = interval_plot(rows, 760, "accuracy")
    (diamond,) = elements(picture, "path", "diamond")
    dots = [at(dot, "cx") for dot in elements(picture, "circle", "dot")]
    seen = float((diamond.get("d") or "M0")[1:].split()[0])
    assert seen - dots[0] == pytest.approx(dots[0] - dots[1], abs=0.3)  # 0.9 is as far above 0.8 as that above 0.7


def test_texts_are_escaped() -> None:
    assert str(label(0, 0, "<script>&\"'")) == '<text x="0" y="0">&lt;script&gt;&amp;&#34;&#39;</text>'


def test_a_note_longer_than_every_name_is_not_cut() -> None:
    note = "chosen · race 96.3\u202f%"
    assert note in str(interval_plot([Estimate("net", 0.9, (0.8, 0.95), "best", note)], 760, "accuracy"))
