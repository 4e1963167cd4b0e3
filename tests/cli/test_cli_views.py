"""`headstart views`: the list of steps is printed, can be given back, and is seen on own images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.catalog.pipelines import STEPS, parse_steps
from headstart.catalog.pretrain_methods import PRETRAINING
from headstart.data.pipelines import describe, views_of


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(4):
        Image.fromarray(draw.integers(0, 255, (20, 20, 3)).astype(np.uint8)).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("method", sorted(PRETRAINING))
def test_the_list_of_every_method_can_be_given_back(method: str, run: Any) -> None:
    found = json.loads(run("views", method, "--size", "32", "--json").out)
    texts = views_of(found["text"], 32, 3) if len(found["views"]) > 1 else views_of(found["views"][0], 32, 1)
    assert [describe(view) for view in texts][: len(found["views"])] == found["views"]


def test_what_is_printed_is_what_the_method_shows_at_this_size(run: Any) -> None:
    small, large = run("views", "byol", "--size", "32").out, run("views", "byol", "--size", "96").out
    assert "blur" not in small
    for view in views_of("byol", 96):
        assert describe(view) in large
    assert '--method byol --views "' in large
    assert "solarise(p=0.2)" in large
    assert "erase" not in large, "only steps that occur are explained"


def test_without_a_name_every_step_and_list_is_told(run: Any) -> None:
    text = run("views").out
    assert all(f"  {step}(" in text for step in STEPS)
    assert set(json.loads(run("views", "--json").out)["steps"]) == set(STEPS)


def test_own_images_are_drawn_under_the_views(run: Any, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "seen.png"
    said = run("views", "crop(0.5, 1.0) flip | grey(1.0)", "--images", photos, "--out", out)
    assert said.code == 0
    assert str(out) in said.out
    assert "32 px" in said.out
    whole = np.asarray(Image.open(out)).astype(int)
    picture = whole[::3, ::3]
    assert np.array_equal(whole, picture.repeat(3, 0).repeat(3, 1)), "small images are enlarged to be looked at"
    assert picture.shape == (2 * (4 * 34 - 2) + 8, 8 * 34 - 2, 3)
    assert np.array_equal(picture[:32, :32], picture[142:174, :32]), "the image itself begins a row of each view"
    grey = picture[142:174, 34:66]
    assert np.array_equal(grey[..., 0], grey[..., 2])
    assert [step.name for step in parse_steps("grey(1.0)")] == ["grey"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["crop(2.0)"], "low=2.0"),
        (["simclr", "--size", "0"], "--size 0"),
        (["simclr", "--images", "nowhere"], "nowhere"),
        (["simcler"], "no step is called 'simcler'"),
    ],
)
def test_what_cannot_be_shown_is_said(words: list[str], told: str, run: Any) -> None:
    said = run("views", *words)
    assert said.code == 2
    assert told in said.err
