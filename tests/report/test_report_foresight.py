"""What was expected before anything was trained, on the page of `adapt`: shown where it was written, silent where not."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from made_advise import advice, calibration, forecast, foresight, learning_curve

from headstart.report import page_of, words

Maker = Callable[..., Path]


def plain(page: str) -> str:
    page = re.sub(r"<style>.*?</style>|<svg.*?</svg>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)).replace(words.NARROW, " "))


@pytest.fixture
def foreseen(run_maker: Maker) -> Callable[..., str]:
    """The page of an adapt run that wrote a forecast; keyword arguments replace parts of the summary."""
    places = itertools.count()

    def page(**changed: Any) -> str:
        run = run_maker(f"run{next(places)}")
        summary = json.loads((run / "summary.json").read_text("utf-8"))
        summary["quadrant"]["spread"] = {"x": [0.6, 0.79], "y": [0.27, 0.4]}
        summary["advice"] |= {key: value for key, value in advice().items() if key != "reasons"}
        summary |= {**foresight(), **changed}
        (run / "summary.json").write_text(json.dumps(summary), "utf-8")
        return page_of(run)

    return page


def test_old_runs_say_nothing_of_a_forecast(run_maker: Maker) -> None:
    page = page_of(run_maker())
    text = plain(page)
    for said in ("past experiment", "What was expected", "more labels", "would change the advice", "Expected of it"):
        assert said not in text
    assert 'class="reach"' not in page
    assert 'class="past ' not in page


def test_everything_expected_is_shown(foreseen: Callable[..., str]) -> None:
    page = foreseen()
    text = plain(page)
    assert "Expected of it on new images: 91.6 % right (80 % interval 89.6–93.2 %)." in text
    assert "With 78 % probability none of the others would be more than a point better." in text
    assert "Bars: 80 % intervals of where your data lie." in text
    assert "Small marks: 24 past experiments" in text
    assert "With more than about 2 000 images, fine-tuning" in text
    assert "Twice the labels should bring the probe from 88.9 % to 92.2 %" in text
    assert "“Probe, then fine-tune” is expected to come out highest" in text
    assert page.count('class="past ') == 24 + 3  # marks, and the key
    assert page.count('class="diamond"') == 2 * 4  # a phone's drawing and a desktop's, of ways tried to the end
    assert page.count('class="line ahead"') == 2


def test_the_key_counts_what_is_there(foreseen: Callable[..., str]) -> None:
    rows = calibration()
    text = plain(foreseen())
    for family, name in (("frozen", "frozen backbone"), ("tuned", "fine-tuning"), ("retrained", "re-training")):
        assert f"{name} won: {sum(row['family'] == family for row in rows)}" in text
    here = sum(row["x"] >= 0.5 and row["y"] < 0.5 for row in rows)
    assert f"Won in your quadrant, of {here} past experiments: frozen backbone" in text
    assert f"The {len(rows)} past experiments" in text
    far = [row | {"x": 0.1} for row in rows if row["family"] == "tuned"]
    text = plain(foreseen(calibration=far))
    assert "frozen backbone won" not in text
    assert "No past experiment lies in your quadrant." in text


def test_winners_go_by_the_name_the_page_uses(foreseen: Callable[..., str]) -> None:
    one = {"x": 0.4, "y": 0.4, "label": "<i>a</i> > b, 1,200 per class", "winner": "full", "family": "tuned", "gap": -0.002}
    page = foreseen(calibration=[one, one | {"winner": "new", "family": "novel", "gap": None}])
    title = "<title>&lt;i&gt;a&lt;/i&gt; &gt; b, 1\u202f200 per class: best was "
    assert f"{title}Everything fine-tuned (fine-tuning); frozen and tuned level</title>" in page
    assert f"{title}new (another family)</title>" in page
    assert "another family won: 1" in plain(page)


@pytest.mark.parametrize(
    "changed",
    [
        {"calibration": None, "forecast": None, "learning_curve": None},
        {"calibration": [{}, {"x": 0.5}, {"x": 0.2, "y": 0.3}], "forecast": [{}, {"arm": "probe", "accuracy": 0.5}]},
        {"learning_curve": {"points": [{"images": 0, "accuracy": 0.5}], "twice": None}},
        {"learning_curve": {"points": [{"images": 10, "accuracy": 0.5}]}},
        {"learning_curve": {"twice": {"images": 20, "accuracy": 0.5}}},
        {"advice": {"expected": {"accuracy": 0.9}, "reasons": None, "change": "no list"}},
        {"advice": {"sure": 1.0}, "quadrant": {"spread": {"x": [0, 1]}}},
        {"quadrant": {"number": 2, "position": {"x": 0.9, "y": None}}},
        {"forecast": "none", "calibration": "none", "learning_curve": 3, "advice": []},
    ],
)
def test_parts_may_be_missing_or_broken(foreseen: Callable[..., str], changed: dict[str, Any]) -> None:
    page = foreseen(**changed)
    drawn = re.sub(r'<style>.*?</style>|"data:[^"]*"', "", page, flags=re.DOTALL)
    assert not re.search(r"\bnan\b", drawn, flags=re.IGNORECASE)
    assert "None" not in plain(page)


def test_without_a_sentence_the_page_says_its_own(foreseen: Callable[..., str]) -> None:
    curve = learning_curve() | {"sentence": None}
    assert "with 384 images; twice as many should bring it to 92.2 % (90.0–94.1 %)." in plain(foreseen(learning_curve=curve))
    curve["twice"] = None
    assert "what more labels would bring was not worked out" in plain(foreseen(learning_curve=curve))


def test_certainty_is_never_claimed(foreseen: Callable[..., str]) -> None:
    assert "With over 99 % probability" in plain(foreseen(advice=advice() | {"sure": 0.998}))
    assert "With over 99 % probability" in plain(foreseen(advice=advice() | {"sure": 1.0}))


def test_ways_that_will_hardly_be_best_are_hollow(foreseen: Callable[..., str]) -> None:
    rows = forecast()
    assert rows[-1]["probability_best"] < 0.01
    page = foreseen()
    assert "Hollow dots: less than 1 % likely to be the best." in plain(page)
    rows[-1]["probability_best"] = 0.02
    assert "Hollow dots: less than" not in plain(foreseen(forecast=rows))
