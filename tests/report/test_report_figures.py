"""Figures for papers: what they show is what the summary says."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart
from headstart.errors import ConfigError, RunError
from headstart.report.figures import figure_of
from tests.report import (
    made_bench,
    made_compare,
    made_data_size,
    made_distill,
    made_extend,
    made_layers,
    made_multitask,
    made_pretrain,
    made_select,
)

MADE: dict[str, Callable[[], dict[str, Any]]] = {
    "compare": made_compare.summary,
    "select": made_select.summary,
    "data_size": made_data_size.summary,
    "layers": made_layers.summary,
    "distill": made_distill.summary,
    "bench": made_bench.summary,
    "extend": made_extend.summary,
    "compare-continual": made_extend.compared,
    "multitask": made_multitask.summary,
    "pretrain": made_pretrain.summary,
}


@pytest.mark.parametrize("kind", MADE)
def test_every_command_has_one_that_can_be_saved(kind: str, tmp_path: Path) -> None:
    figure = figure_of(MADE[kind]())
    figure.savefig(tmp_path / "a.png")
    figure.savefig(tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").stat().st_size > 3000
    assert "matplotlib.pyplot" not in sys.modules  # no window, no global state


def test_bars_are_the_accuracies_best_on_top() -> None:
    summary = made_compare.summary()
    axes = figure_of(summary).axes[0]
    known = {row["label"]: row for row in summary["strategies"] if row["accuracy"] is not None}
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert sorted(names) == sorted(known)
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    values = [float(np.asarray(line.get_xdata())[0]) for line in dots]
    assert values == sorted(values)
    assert values == pytest.approx([100 * known[name]["accuracy"] for name in names])


def test_an_extension_shows_the_new_task_and_the_old_ones_of_every_arm() -> None:
    summary = made_extend.summary()
    axes = figure_of(summary).axes[0]
    names = {text.get_text() for text in axes.get_yticklabels()}
    assert names == {f"{arm['name']}, {what}" for arm in summary["arms"] for what in ("new", "old")}


def test_curves_of_layers_are_those_of_the_summary() -> None:
    summary = made_layers.summary()
    first, *_, last = figure_of(summary).axes
    halves = summary["curves"][0]["halves"]
    line = next(line for line in first.lines if line.get_label() == "AnB")
    rows = [row for row in summary["curves"] if row["kind"] == "transfer" and row["halves"] == halves]
    assert line.get_ydata() == pytest.approx([100 * row["accuracy"] for row in sorted(rows, key=lambda row: row["n"])])
    assert {str(line.get_label()).split(",")[0] for line in last.lines} == {"AnB", "random"}


def test_pretraining_shows_how_it_went_and_what_it_is_worth() -> None:
    summary = made_pretrain.summary()
    loss, rank, depth, probed, tuned, spread = figure_of(summary).axes
    looks, cells = summary["looks"], summary["verdict"]["cells"]
    assert loss.lines[0].get_ydata() == pytest.approx([100 * row["of_chance"] for row in looks])
    assert set(np.asarray(loss.lines[1].get_ydata())) == {100}, "what guessing gives"
    for axes, name in ((rank, "rank"), (spread, "spread")):
        values = [summary["start"][name], *(row[name] for row in looks)]
        assert axes.lines[0].get_xdata() == pytest.approx([0, *(row["epoch"] for row in looks)])
        assert axes.lines[0].get_ydata() == pytest.approx(values)
    after = [100 * looks[-1][f"probe {name}"] for name in made_pretrain.BLOCKS]
    assert depth.lines[1].get_ydata() == pytest.approx(after)
    for axes, kind in ((probed, "probe"), (tuned, "fine_tune")):
        for line, name in zip(axes.lines, ("pretrained", "random", "against"), strict=True):
            mine = [cell for cell in cells if (cell["kind"], cell["network"]) == (kind, name)]
            assert line.get_xdata() == pytest.approx([cell["images"] for cell in mine])
            assert line.get_ydata() == pytest.approx([100 * cell["accuracy"] for cell in mine])
    assert [str(line.get_label()) for line in tuned.lines][1] == "from scratch"


def test_a_pretraining_without_labels_shows_what_is_known() -> None:
    summary = made_pretrain.summary()
    summary["verdict"] = {"why": "no labels"}
    summary["start"] = {}
    summary["looks"] = [{"epoch": row["epoch"], "loss": row["loss"], "rank": row["rank"]} for row in summary["looks"]]
    loss, rank = figure_of(summary).axes
    assert loss.get_ylabel() == "loss"
    assert len(loss.lines) == 1
    assert rank.get_ylabel() == "effective rank"
    summary["looks"] = []
    with pytest.raises(ConfigError, match="nothing to draw yet"):
        figure_of(summary)


def test_a_run_by_its_folder_or_its_result(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(made_compare.summary()), encoding="utf-8")
    assert headstart.figure(tmp_path).axes
    assert headstart.figure(headstart.CompareResult(tmp_path, made_compare.summary())).axes


def test_what_cannot_be_drawn_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'inspect' have no figure; there is one of adapt"):
        figure_of({"command": "inspect"})
    with pytest.raises(ConfigError, match=r"nothing to draw yet.*--resume"):
        figure_of({"command": "adapt", "arms": []})
    with pytest.raises(RunError):
        headstart.figure(tmp_path / "nowhere")
