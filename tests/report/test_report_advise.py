"""The page of `headstart advise`: the advice first, never surer than it is, and whole with any part missing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from made_advise import advice, summary

from headstart.report import page_of, words

Maker = Callable[..., Path]
SECTIONS = ("quadrant", "doing", "forecast", "growth", "depth", "measures", "data", "cost", "repeat", "limits")


def plain(page: str) -> str:
    page = re.sub(r"<style>.*?</style>|<svg.*?</svg>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)).replace(words.NARROW, " "))


def test_the_page_holds_everything(advise_maker: Maker) -> None:
    page = page_of(advise_maker())
    text = plain(page)
    assert [name for name in SECTIONS if f'id="{name}"' not in page] == []
    assert "Use “Probe”: it should get 91.6 % of new images right (80 % interval 89.6–93.2 %)." in text
    assert "following it takes about 14 s with verification on every fold" in text
    assert "headstart adapt pictures/shapes --trust --backbone embedded" in text
    assert "Left frozen all 7 blocks: stem, stage1.0, …, stage3.1" in text
    assert "Penalties tried for the head 0.0001, 0.001, …, 1 000" in text
    assert "Learned from 24 experiments on 7 data sets and 8 source-target pairs, for what" in text
    assert "Distance of the clouds of features (Fréchet) 3.2 times what two halves" in text
    assert "8.3 % 50.0 %" in text
    assert "right by their 5 nearest, 83.0–88.8 %" in text
    assert "LogME −0.218 −0.24 to −0.201; higher is better" in text
    assert "Most of it, 7.4 s, went into measuring similarity and depth." in text
    assert "Most images are smaller than 32 px" in text
    assert "Missing from this folder" not in text
    assert 'class="diamond"' not in page  # nothing was trained, so nothing was reached
    assert page == page_of(advise_maker("again"))


@pytest.mark.parametrize(
    ("sure", "kicker", "tone"),
    [(0.9, "Advice", "decided"), (0.78, "Advice, but not a sure one", "undecided"), (None, "Advice, but not", "undecided")],
)
def test_it_is_no_surer_than_the_run(advise_maker: Maker, sure: float | None, kicker: str, tone: str) -> None:
    page = page_of(advise_maker(advice=advice() | {"sure": sure}))
    assert f'class="verdict {tone}"' in page
    assert f"{kicker} " in plain(page)
    assert ("Whether it is the best is open" in plain(page)) == (sure == 0.78)


def test_without_a_forecast_the_table_decides(advise_maker: Maker) -> None:
    bare = advice() | {"expected": None, "sure": None}
    text = plain(page_of(advise_maker(advice=bare, forecast=[])))
    assert "Advice without a forecast Try “Probe”." in text
    assert "the classic table decides, without a forecast" in text
    assert "Not shown: a forecast" in text
    assert "The forecast was learned" not in text


def test_no_advice_is_said(advise_maker: Maker) -> None:
    text = plain(page_of(advise_maker(advice=None)))
    assert "This run ended before there was any advice." in text
    assert "Not shown: how to follow" not in text  # the command is still there
    assert "Not shown: how to follow" in plain(page_of(advise_maker("bare", advice=None, next=None)))


def test_settings_of_what_is_tuned(advise_maker: Maker) -> None:
    settings = {"frozen": ["stem"], "fine_tuned": ["a", "b"], "re_trained": [], "lr_fine_tuned": [0.01], "mirror": False}
    text = plain(page_of(advise_maker(advice=advice() | {"settings": settings, "seconds": 7200})))
    assert "Left frozen stem Fine-tuned 2 of 3 blocks: a, b Learning rate of fine-tuned blocks 0.01" in text
    assert "Also on mirrored images no" in text
    assert "Drawn anew" not in text
    assert "about 2 h" in text


def test_measures_beside_the_advice_are_shown_too(advise_maker: Maker) -> None:
    found = {
        "probe_last": 0.9,
        "num_images": 3,
        "similarity": {"frechet": {"value": 2.5, "null": 0.5, "meaning": "very different"}, "transport": None},
    }
    page = page_of(advise_maker(advice=advice() | {"measures": found}, measures=None))
    text = plain(page)
    assert "linear probe, last block 90.0 %" in text
    assert "Very different. 2.5 0.5" in text
    assert "optimal transport" not in text


@pytest.mark.parametrize("key", sorted(summary()))
def test_every_key_may_be_absent_or_empty(advise_maker: Maker, key: str) -> None:
    if key == "command":
        return
    for place, value in enumerate((None, [], {}, "x", 3)):
        page = page_of(advise_maker(f"run{place}", **{key: value}))
        drawn = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
        assert not re.search(r"\bnan\b", drawn, flags=re.IGNORECASE)
        assert "None" not in plain(page)


def test_only_the_settings_are_there(advise_maker: Maker) -> None:
    run = advise_maker()
    for name in ("summary.json", "inspection.json", "env.json", "log.jsonl"):
        (run / name).unlink()
    text = plain(page_of(run))
    assert "Not finished" in text
    assert "summary.json is missing" in text


def test_names_from_outside_are_escaped(advise_maker: Maker) -> None:
    bad = "<script>alert(1)</script>"
    run = advise_maker(next=f"headstart adapt {bad}", advice=json.loads(json.dumps(advice()).replace("Probe", bad)))
    page = page_of(run)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_pairs_do_not_swap_places(advise_maker: Maker) -> None:
    """The point of the user's data stands where the run says, not where it was rounded to."""
    quadrant: dict[str, Any] = {"number": 4, "position": {"x": 0.9, "y": 0.1}}
    page = page_of(advise_maker(quadrant=quadrant))
    dot = re.search(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="6" class="dot yours"', page)
    assert dot
    assert (float(dot[1]), float(dot[2])) == (22 + 9 + 0.9 * 308, 42 + 9 + 0.9 * 308)


def test_most_of_the_time_is_more_than_half_of_it(advise_maker: Maker) -> None:
    phases = {"network": 3.0, "data": 3.2, "measure": 3.2}
    assert "The largest part, 3.2 s, went into" in plain(page_of(advise_maker(seconds_by_phase=phases)))
