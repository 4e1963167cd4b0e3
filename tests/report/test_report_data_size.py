"""The page of `headstart study data-size`: crossings first, never surer than they are, whole with any part missing."""

from __future__ import annotations

import math
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from made_data_size import SIZES, crossings, make_data_size, summary

from headstart.report import page_of, words
from headstart.report.data_size import curves
from headstart.report.growing import Curve, Spot, growing_chart

SECTIONS = ("crossings", "curves", "accuracies", "ahead", "price", "missing", "data", "cost", "repeat", "limits")


def plain(page: str) -> str:
    page = re.sub(r"<style>.*?</style>|<svg.*?</svg>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)).replace(words.NARROW, " "))


def test_the_page_holds_everything(tmp_path: Path) -> None:
    page = page_of(make_data_size(tmp_path / "run"))
    text = plain(page)
    assert [name for name in SECTIONS if f'id="{name}"' not in page] == []
    assert "Where the curves cross Below about 470 images “Pipeline” is ahead of “From scratch”" in text
    assert "(95 %: from 800, perhaps beyond the largest number measured, 1 347)" in text
    assert "1 more pair “Pipeline, forest”" in text
    assert "most right with 84 images 79.4 % Pipeline" in text
    assert "Pipeline what pipeline is 79.4 % 77.4–80.9 %" in text
    assert "got “shape” right, before it said the class: 90.0 % with 84 and 98.0 % with 1 347 images" in text
    assert "Probe, then fine-tune: 1347 images, draw 1; 1347 images, draw 2; 1347 images, draw 3 no longer fitted" in text
    assert "Ways that train had 60 % of their usual length" in text
    assert "1 point of the curves came from one draw alone" in text
    assert "4 pairs of ways were looked at" in text
    assert "With 1 347 images every draw is all of them" in text
    assert "headstart study data-size pictures/shapes --out runs/study-data-size" in text
    assert "a note of the run" in text
    assert page == page_of(make_data_size(tmp_path / "again"))


def test_it_is_no_surer_than_the_run(tmp_path: Path) -> None:
    first, *others = crossings()
    unsure = first | {"interval": [None, None], "sure": 0.4, "sentence": "too close to say."}
    page = page_of(make_data_size(tmp_path / "a", crossings=[unsure, *others]))
    assert 'class="verdict undecided"' in page
    assert "Whether and where the curves cross is not decided too close to say." in plain(page)
    apart = first | {"images": None, "interval": None, "sure": 0.99, "sentence": "one is ahead."}
    text = plain(page_of(make_data_size(tmp_path / "b", crossings=[apart])))
    assert "No crossing among the sizes measured one is ahead." in text
    assert "Nothing to compare" in plain(page_of(make_data_size(tmp_path / "c", crossings=[])))


def test_one_draw_decides_nothing_for_others_and_is_said_once(tmp_path: Path) -> None:
    once = "At some sizes this rests on one draw: others could move it by more than that."
    rows = [row | {"draws": 1, "sentence": f"{row['sentence']} {once}"} for row in crossings()]
    page = page_of(make_data_size(tmp_path / "a", crossings=rows))
    text = plain(page)
    assert 'class="verdict undecided"' in page
    assert text.count("At some sizes this rests on one draw") == 1  # in the verdict
    assert "All of these rest on one draw at some sizes: others could move it by more than is said." in text
    two = plain(page_of(make_data_size(tmp_path / "b", crossings=[*crossings()[:3], rows[3]])))
    assert "1 of these rests on one draw at some sizes" in two


def test_rings_lie_on_the_curves() -> None:
    """A crossing is drawn where the first curve is at that many images; an undecided one is not drawn."""
    found = curves(summary())
    assert found
    assert str(found.picture).count('class="meet"') == 2 * 2
    unsure = [row | {"interval": [None, None]} for row in crossings()]
    bare = curves(summary() | {"crossings": unsure})
    assert bare
    assert 'class="meet"' not in str(bare.picture)
    assert "Rings" not in bare.caption


def test_the_axis_is_logarithmic() -> None:
    spots = [Spot(float(n), 0.5 + 0.1 * k) for k, n in enumerate((10, 100, 1000))]
    drawn = growing_chart([Curve("a", "hand", "circle", spots)], 700, "images", words.count, [10, 100, 1000])
    xs = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawn)]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    assert "a: 10 50.0" in drawn


def test_extrapolated_points_are_hollow_and_dashed() -> None:
    found = curves(summary())
    assert found
    assert str(found.picture).count('class="mark led"') == 2 * 3 * 2
    assert str(found.picture).count('class="mean led"') == 2 * 3
    assert 'class="mark led"' not in str(curves(summary() | {"extrapolation": []}))


@pytest.mark.parametrize("key", sorted(summary()))
def test_every_key_may_be_absent_or_empty(tmp_path: Path, key: str) -> None:
    if key == "command":
        return
    for place, value in enumerate((None, [], {}, "x", 3)):
        page = page_of(make_data_size(tmp_path / f"run{place}", **{key: value}))
        drawn = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
        assert not re.search(r"\bnan\b", drawn, flags=re.IGNORECASE)
        assert "None" not in plain(page).replace("None is: every run", "")


def test_points_may_lack_numbers(tmp_path: Path) -> None:
    broken: list[dict[str, Any]] = [{"way": "probe"}, {"way": "probe", "images": 84, "accuracy": None, "seconds": 0}]
    assert "Not shown: learning curves" in plain(page_of(make_data_size(tmp_path / "run", curves=broken, extrapolation=[])))


def test_one_size_alone_can_be_drawn() -> None:
    one = [row for row in summary()["curves"] if row["images"] == SIZES[0]]
    found = curves(summary() | {"curves": one, "extrapolation": []})
    assert found
    assert not math.isnan(float(str(found.picture).count("nan")))
    assert "nan" not in str(found.picture)


def test_only_the_settings_are_there(tmp_path: Path) -> None:
    run = make_data_size(tmp_path / "run")
    for name in ("summary.json", "inspection.json", "env.json", "log.jsonl"):
        (run / name).unlink()
    text = plain(page_of(run))
    assert "Not finished" in text
    assert "summary.json is missing" in text


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    rows = [row | {"sentence": bad} for row in crossings()]
    page = page_of(make_data_size(tmp_path / "run", crossings=rows, failed=[{"run": bad, "way": bad, "reason": bad}]))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
