"""The page about many questions: its example runs, and it names what there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.catalog.sharing import SHARINGS
from headstart.catalog.weightings import WEIGHTINGS

PAGE = Path(__file__).parents[2] / "docs" / "multitask.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_example_runs(run_example: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    run_example(
        PAGE,
        "epochs=20",
        'epochs=1, batch_size=64, device="cpu", backbone="headstart:resnet8", size=8',
        "digits.images * 15",
        "digits.images[:200] * 15",
        "digits.target",
        "digits.target[:200]",
        "digits.images.mean",
        "digits.images[:200].mean",
    )
    said = capsys.readouterr().out
    assert "a network each (3)" in said
    assert "ink" in said


def test_every_way_to_share_and_the_weightings_without_an_extra_are_named() -> None:
    assert all(f"`{name}`" in TEXT for name in SHARINGS)
    assert all(
        f"`{name}`" in TEXT or f"--weighting {name}" in TEXT
        for name, one in WEIGHTINGS.items()
        if one.family != "by gradients"
    )
