"""Views as text: there and back, what is refused, and pictures of what they do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.catalog.pipelines import PIPELINES, STEPS, parse_steps, view_faults, views_for
from headstart.data.colour_views import Blur, ColourJitter, Grey, Solarise
from headstart.data.crops import CropTo
from headstart.data.pipelines import describe, parse_pipeline, shown, views_of
from headstart.data.views import PLAIN, Erase, Flip, ResizedCrop, Shift, View, standard_view
from headstart.errors import ConfigError
from tests.data.test_views import pictures

SIMCLR = "crop(0.2, 1.0) flip(0.5) jitter(0.4, 0.4, 0.4, 0.1, p=0.8) grey(0.2)"


def test_text_means_what_it_says() -> None:
    expected = View((ResizedCrop((0.2, 1.0)), Flip(0.5), ColourJitter(0.4, 0.4, 0.4, 0.1, 0.8), Grey(0.2)))
    assert parse_pipeline(SIMCLR) == expected
    assert describe(expected) == SIMCLR
    assert parse_pipeline("  CROP ( high=1.0,low = .2 ),flip,jitter() \n grey") == expected
    assert parse_pipeline("crop(0.05, 0.4, size=14)") == View((CropTo(14, (0.05, 0.4)),))
    assert parse_pipeline("blur(0.1) solarise(p=0.3, threshold=100)") == View((Blur(0.1), Solarise(0.3, 100)))
    assert parse_pipeline("shift(0.25) erase(0.3, 1.0) draws(4)") == View((Shift(0.25), Erase(0.3, 1.0)), 4)
    assert parse_pipeline("plain") == parse_pipeline(" ") == PLAIN


@pytest.mark.parametrize("view", [PLAIN, standard_view(32), standard_view(64, draws=3), View((), 2)])
def test_usual_views_have_text(view: View) -> None:
    assert parse_pipeline(describe(view)) == view


share = st.floats(0, 1)
pair = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(lambda two: (min(two), max(two)))
ops = st.one_of(
    st.builds(ResizedCrop, pair, pair),
    st.builds(CropTo, st.integers(1, 300), pair, pair),
    st.builds(Shift, share),
    st.builds(Flip, share),
    st.builds(ColourJitter, share, share, share, st.floats(0, 0.5), share),
    st.builds(Grey, share),
    st.builds(Blur, share, pair, share),
    st.builds(Solarise, share, st.integers(0, 255)),
    st.builds(Erase, share, share),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ops, max_size=5), st.one_of(st.none(), st.integers(1, 9)))
def test_every_view_comes_back_from_its_text(steps: list[object], draws: int | None) -> None:
    view = View(tuple(steps), draws)  # type: ignore[arg-type]
    assert parse_pipeline(describe(view)) == view


def test_everything_wrong_is_said_together() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_pipeline("crop(2) flop(1) jitter(a, hue=2, x=3) grey(.5, .5) blur(low=3, high=1) flip(p=.1, p=.2) draws ]")
    told = str(caught.value)
    for part in (
        "crop(2): low=2: 0.0001 to 1",
        "no step is called 'flop'; there are crop",
        "brightness=a: not a number",
        "hue=2: 0 to 0.5",
        "'x=3' is one too many; it has brightness",
        "'.5' is one too many; it has p",
        "low=3 is above high=1",
        "p is given twice",
        "draws: count: say how many",
        "']' is not a step",
    ):
        assert part in told, part
    for text, part in (("draws(2) draws(3)", "once"), ("solarise(threshold=1.5)", "whole"), ("grey(nan)", "0 to 1")):
        with pytest.raises(ConfigError, match=part):
            parse_pipeline(text)
    assert view_faults("simclr") == view_faults(SIMCLR) == view_faults(f"{SIMCLR} | weak() ")[1:] == []
    assert len(view_faults("flop(1) | grey(3)")) == 2


def test_ops_of_ones_own_have_no_text() -> None:
    class Own:
        params = 1

    with pytest.raises(ConfigError, match="Own has no text"):
        describe(View((Own(),)))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(PIPELINES))
@pytest.mark.parametrize("size", [32, 224])
def test_named_pipelines_render(name: str, size: int) -> None:
    x = torch.from_numpy(pictures(2, size, size))
    for view in views_of(name, size, 3):
        assert parse_pipeline(describe(view)) == view
        found = view.render(x, torch.arange(2), seed=0, draw=0)
        assert found.shape[1] == (found.shape[1] if name == "dino" else size)
        assert (Blur in map(type, view.ops)) <= (size >= 64)


def test_named_pipelines_are_the_papers() -> None:
    assert views_for("simclr", 32) == ("crop(0.08, 1.0) flip(0.5) jitter(0.4, 0.4, 0.4, 0.1, p=0.8) grey(0.2)",) * 2
    assert "jitter(0.8, 0.8, 0.8, 0.2, p=0.8) grey(0.2) blur(0.5" in views_for("simclr", 224)[0]
    one, two = views_for("byol", 224)
    assert "blur(1.0, 0.1, 2.0)" in one
    assert "blur(0.1, 0.1, 2.0) solarise(0.2)" in two
    assert "solarise" not in one
    small = views_for("dino", 224, 8)
    assert small[2] == small[7]
    assert small[2].startswith("crop(0.05, 0.4, size=96)")
    assert views_for("grey(0.5) | plain", 32, 3) == ("grey(0.5)", "plain", "plain")
    with pytest.raises(ConfigError, match="3 views, and 2 are drawn"):
        views_for("dino", 32, 2)


def test_every_step_says_what_it_does() -> None:
    for name, kind in STEPS.items():
        assert kind.summary
        given_ = "count=3" if name == "draws" else ""
        assert str(parse_steps(f"{name}({given_})")[0]).startswith(name)


def test_a_page_of_renderings() -> None:
    x = torch.from_numpy(pictures(3, 10, 14))
    page = shown(parse_pipeline(SIMCLR), x, seed=1, draws=4)
    assert page.shape == (3 * 12 - 2, 5 * 16 - 2, 3)
    np.testing.assert_array_equal(page[12:22, :14], x[1].numpy())
    assert (page[10:12] == 255).all()
    np.testing.assert_array_equal(page, shown(parse_pipeline(SIMCLR), x, seed=1, draws=4))
    assert not np.array_equal(page, shown(parse_pipeline(SIMCLR), x, seed=2, draws=4))
    small = shown(parse_pipeline("crop(size=6)"), x, draws=1)
    assert (small[6:10, 16:] == 255).all()
    assert not (small[:6, 16:22] == 255).all()
