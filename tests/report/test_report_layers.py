"""The page of `headstart study layers`: what was measured beside the paper's numbers, whole with any part missing."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from made_layers import LABELS, make_layers, summary, write_filters
from test_report_browser import CHROMIUM, measured

from headstart.report import page_of, words
from headstart.report.filters import filters, mosaic
from headstart.report.layer_answers import answers, verdict
from headstart.report.layer_charts import Contest, Mark, Row, Trace, contest_chart, layer_chart
from headstart.report.layer_figures import accuracies, changes, drops
from headstart.report.overtaking import crossing, overtaking
from headstart.transferability import yosinski2014

Maker = Callable[..., Path]
SECTIONS = (
    "accuracy",
    "change",
    "drops",
    "answers",
    "claims",
    "growing",
    "filters",
    "runs",
    "data",
    "cost",
    "repeat",
    "limits",
)


@pytest.fixture
def layers_maker(tmp_path: Path) -> Maker:
    return lambda name="layers", **changed: make_layers(tmp_path / name, **changed)


def plain(page: str) -> str:
    page = re.sub(r"<style>.*?</style>|<svg.*?</svg>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)).replace(words.NARROW, " "))


def test_the_page_holds_everything(layers_maker: Maker) -> None:
    page = page_of(layers_maker())
    text = plain(page)
    assert [name for name in SECTIONS if f'id="{name}"' not in page] == []
    said = "of the layers, conv1 is general; conv3 to fc7 are specific to the classes learned on; conv2 is undecided."
    assert f"With like halves, {said}" in text
    assert "Specificity, fc7 +7.0 points General conv1" in text
    assert "Share 26.0 % At fc7 Decided yes" in text
    assert "First specific none" in text
    assert "Of 4 claims made by Yosinski et al. (2014), 2 hold here, 1 does not and 1 is undecided." in text
    assert "most lost to co-adaptation 3.0 points at n = 5" in text
    assert "most lost to specificity 7.0 points at n = 7" in text
    for halves in ("like", "unlike"):
        assert f"Here, {halves} halves" in text
        assert f"The paper, {halves} halves of ImageNet" in text
    assert "holds BnB dips in the middle (co-adaptation)." in text
    assert (
        "undecided AnB+ generalises better than base. AnB+ less base, mean of n = 1, 2, 3: 1.0 points (−0.2 to 2.2)." in text
    )
    assert "does not hold Random weights are worse" in text
    assert "from 2 000 images at n = 4 and 500 images at n = 7; for the other cuts not for sure" in text
    assert "learned next to nothing below 250 of a class, where it got 38.4 % right; with all 1 300 it got 55.2 %" in text
    assert "The first layer has 16 filters of 5 x 5 weights over 3 channels." in text
    assert page.count("data:image/png") == 2
    assert "All 288 runs" in text
    assert "AnB, n = 7 B > A like 0 0 5 000 10" in text
    assert "Split 1, seed 1 Classes of Split 1, seed 1 A cat, deer, dog, frog B airplane, automobile, ship, truck" in text
    assert "holds Fine-tuning recovers the dip." in text
    assert "BnB n=3 split 0 seed 1 Its worker died twice (killed by signal 9)." in text
    assert "headstart study layers pictures/cifar10" in text
    assert "Missing from this folder" not in text
    assert page == page_of(layers_maker("again"))


def elements(picture: str, name: str, kind: str) -> list[ElementTree.Element]:
    return [one for one in ElementTree.fromstring(picture).iter(name) if kind in (one.get("class") or "").split()]


def ticks(picture: str) -> tuple[float, float]:
    """Slope and offset of the vertical axis, read back from its figures: value = slope * y + offset."""
    marks = [
        (float(one.get("y") or 0) - 4, float((one.text or "").replace("−", "-").split(words.NARROW)[0]))
        for one in elements(picture, "text", "tick")
        if one.get("text-anchor") == "end"
    ]
    slope, offset = np.polyfit([y for y, _ in marks], [value for _, value in marks], 1)
    return float(slope), float(offset)


@pytest.mark.parametrize(("change", "width"), [(False, 760.0), (True, 350.0)])
def test_marks_stand_where_the_numbers_say(change: bool, width: float) -> None:
    values = {1: 0.812, 3: 0.74, 4: 0.655}
    marks = [Mark(n, v - 0.8 * change, (v - 0.8 * change - 0.02, v - 0.8 * change + 0.03)) for n, v in values.items()]
    trace = Trace("AnB", "other", "circle", marks, [(1, 0.8 - 0.8 * change)])
    picture = str(layer_chart([trace], width, {1: "a", 3: "b", 4: "c"}, "n", change=change))
    slope, offset = ticks(picture)
    seen = [
        (float(one.get("cx") or 0), slope * float(one.get("cy") or 0) + offset)
        for one in elements(picture, "circle", "mark")
    ]
    assert [y for _, y in seen] == pytest.approx([100 * one.mean for one in marks], abs=0.2)
    gaps = np.diff([x for x, _ in seen])
    assert gaps[0] == pytest.approx(gaps[1], abs=0.2)
    ends = [
        [slope * float(one.get(key) or 0) + offset for key in ("y1", "y2")] for one in elements(picture, "line", "extent")
    ]
    assert np.array(ends) == pytest.approx(100 * np.array([one.span for one in marks]), abs=0.2)
    assert [one.text for one in elements(picture, "text", "foot")] == ["a", "b", "c"]
    assert len(elements(picture, "circle", "single")) == 1


def test_the_papers_panels_are_its_numbers() -> None:
    """The likeliest mistake, reading the data of another kind or halves, would show here."""
    figure = accuracies(summary())
    assert figure
    paper = [panel for panel in figure.panels if panel.title == "The paper, like halves of ImageNet"]
    spoken = re.search(r'aria-label="([^"]*)"', str(paper[0].picture))
    assert spoken
    said = spoken[1].replace(words.NARROW, " ")
    for kind, name in (("transfer", "AnB"), ("selffer", "BnB"), ("transfer+", "AnB+"), ("selffer+", "BnB+")):
        for one in yosinski2014.curve(kind):
            assert re.search(rf"{re.escape(name)}: [^;]*\b{one.n} {100 * one.accuracy:.1f} %", said)
    change = changes(summary())
    assert change
    last = str(change.panels[-1].picture).replace(words.NARROW, " ")
    assert f"7 −{-100 * yosinski2014.curve('transfer', 'unlike')[-1].relative:.1f} %" in last


def test_dots_are_runs_and_lines_are_means() -> None:
    figure = accuracies(summary())
    assert figure
    assert [panel.title.split(",")[0] for panel in figure.panels] == ["Here", "The paper", "Here", "The paper"]
    wide = (
        str(figure.panels[0].picture)
        .split('<div class="narrow">')[0]
        .removeprefix('<div class="wide">')
        .removesuffix("</div>")
    )
    assert len(elements(wide, "circle", "single")) == 4 * (1 + 4 * 7)
    assert len(elements(wide, "path", "mean")) == 4  # base is a single place


def test_runs_on_fewer_images_are_in_no_dot_of_the_first_figure() -> None:
    found = summary()
    few = [{**row, "images": 50} for row in found["runs"] if row["kind"].startswith("transfer")]
    assert accuracies({**found, "runs": [*found["runs"], *few]}) == accuracies(found)


def test_the_key_names_what_only_the_paper_has() -> None:
    found = summary()
    like = {**found, **{key: [row for row in found[key] if row["halves"] == "like"] for key in ("runs", "curves")}}
    figure = changes(like)
    assert figure
    assert [name for _, name, _ in figure.key] == ["like halves", "random weights", "unlike halves"]
    assert [panel.title for panel in figure.panels] == ["Here", "The paper"]


def test_drops_by_halves_have_panels_of_their_own() -> None:
    rows = [{"n": n, "drop": 0.01 * n, "interval": [0, 0.1], "halves": h} for h in ("like", "unlike") for n in (1, 2)]
    figure = drops({"coadaptation": rows, "specificity": rows})
    assert figure
    assert [panel.title for panel in figure.panels] == ["Here, like halves", "Here, unlike halves", figure.panels[-1].title]
    assert "With unlike halves co-adaptation costs most at n = 2, 2.0 points" in figure.lead.replace(words.NARROW, " ")
    assert drops({"coadaptation": [{"n": 1, "drop": None}]}) is None


@pytest.mark.parametrize(
    ("spans", "start"),
    [
        ([(-2, -1), (-1, 1), (1, 2)], 400),
        ([(1, 2), (-1, 1), (1, 2)], 400),
        ([(1, 2), (1, 2), (1, 2)], 100),
        ([(1, 2), (1, 2), (-1, 2)], None),
        ([(1, 2), (1, 2), None], None),
    ],
)
def test_overtaking_starts_where_no_larger_target_says_otherwise(spans: list[Any], start: float | None) -> None:
    contests = [Contest(images, 0.1, span) for images, span in zip((100, 200, 400), spans, strict=True)]
    assert crossing(contests) == start
    assert crossing(contests[::-1]) == start


def test_shapes_tell_who_is_ahead() -> None:
    contests = [Contest(10, -0.05, (-0.06, -0.01)), Contest(100, 0.0, (-0.01, 0.01)), Contest(1000, 0.04, (0.01, 0.06))]
    for width in (350.0, 760.0):
        picture = str(contest_chart([Row("n", "note", contests)], width))
        groups = elements(picture, "g", "contest")
        assert [one.get("class") for one in groups] == ["contest frozen", "contest open", "contest tuned"]
        values = elements(picture, "text", "value")
        assert [one.text for one in values] == ["−5.0", "0.0", "+4.0"]
        x = [float(one.get("x") or 0) for one in values]
        assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)  # equal ratios of images are equal distances


def test_overtaking_without_intervals_is_open() -> None:
    (found,) = overtaking({"overtaking": [{"n": 2, "target_images": 100, "difference": 0.1}]})
    assert "For none of 1 cut fine-tuning" in found.lead
    assert found.rows == [["2", "100", "–", "–", "+10.0 points"]]
    assert overtaking({"overtaking": [{"n": 2, "target_images": 0, "difference": 0.1}]}) == []


def contest(halves: str, n: int, images: int, low: float) -> dict[str, Any]:
    row = {"halves": halves, "n": n, "target_images": images, "difference": low + 0.02}
    return {**row, "interval": [low, low + 0.04]}


def test_being_ahead_for_a_while_is_not_called_nowhere() -> None:
    rows = [contest("like", 1, 50, 0.01), contest("like", 1, 90, 0.02), contest("like", 1, 200, -0.01)]
    (found,) = overtaking({"overtaking": rows})
    said = plain(found.lead)
    assert "ine-tuning the layers taken over beats leaving them frozen with 50 and 90 images at n = 1" in said
    assert said.endswith("but not surely with more.")
    assert "ahead only at 50 and 90" in str(found.plot)
    mixed = [*rows, contest("like", 2, 50, -0.01), contest("like", 2, 200, 0.01), contest("like", 3, 50, -0.01)]
    (found,) = overtaking({"overtaking": mixed})
    told = "from 200 images at n = 2, and with 50 and 90 images at n = 1, but not surely with more; for the other cuts not"
    assert told in plain(found.lead)


def test_overtaking_of_both_kinds_of_halves() -> None:
    rows = [contest(halves, 1, images, 0.01) for halves in ("unlike", "like") for images in (50, 90)]
    found = overtaking({"overtaking": rows})
    assert [one.lead.partition(",")[0] for one in found] == ["With like halves", "With unlike halves"]
    assert [len(one.rows) for one in found] == [2, 2]


def test_answers_of_the_first_halves_are_the_verdict() -> None:
    rows = [
        {
            "halves": halves,
            "question": f"How, {halves}?",
            "sentence": f"{halves} so.",
            "numbers": {"step_interval": [0, 0.1]},
        }
        for halves in ("like", "unlike")
    ]
    curves = [{"kind": "base", "n": 0, "halves": halves, "accuracy": 0.5} for halves in ("like", "unlike")]
    summary = {"answers": rows, "curves": curves}
    assert [(one.question, one.first) for one in answers(summary)] == [("How, like?", True), ("How, unlike?", False)]
    said = verdict(summary)
    assert "unlike" not in said.sentence + " ".join(said.after)
    assert answers(summary)[0].numbers == [("Step interval", "0.0 to 10.0")]
    for row, cuts in zip(rows, ([1], [2]), strict=True):
        row["numbers"] = {"specific": cuts, "general": "x"}
    said = verdict(summary)
    assert plain(said.sentence) == "With like halves, of the layers, n = 1 is specific to the classes learned on."
    assert plain(said.after[-1]) == "With unlike halves, of the layers, n = 2 is specific to the classes learned on."


def test_filters_as_pictures(tmp_path: Path) -> None:
    weights = np.zeros((9, 3, 5, 5), np.float32)
    weights[0, 0, 0, 0], weights[0, 2, 0, 0], weights[8] = 2.0, -2.0, 0.3
    sheet = mosaic(weights)
    assert sheet.shape == (2 * 40 + 4, 8 * 40 + 7 * 4, 4)
    assert sheet[0, 0].tolist() == [255, 128, 0, 255]
    assert sheet[8, 8].tolist() == [128, 128, 128, 255]  # zero is grey
    assert sheet[50, 20].tolist() == [255, 255, 255, 255]
    assert sheet[60, 60, 3] == 0  # there is no tenth filter
    assert mosaic(np.full((1, 4, 1, 1), -1.0, np.float32))[0, 0].tolist() == [0, 0, 0, 255]
    write_filters(tmp_path / "report_data", channels=1)
    found = filters(tmp_path)
    assert "over 1 channel." in found.lead
    assert "red" not in found.caption


@pytest.mark.parametrize("bad", [np.full((2, 3, 5, 5), np.nan), np.zeros((2, 3, 5)), np.zeros((0, 3, 5, 5)), np.array("x")])
def test_filters_that_are_none(layers_maker: Maker, bad: Any) -> None:
    run = layers_maker()
    np.savez(run / "report_data" / "filters.npz", base=bad)
    text = plain(page_of(run))
    assert "Not shown: the first layer's filters" in text
    assert "report_data/filters.npz cannot be" in text
    (run / "report_data" / "filters.npz").write_bytes(b"PK broken")
    assert "report_data/filters.npz cannot be read" in plain(page_of(run))
    (run / "report_data" / "filters.npz").unlink()
    assert "report_data/filters.npz is missing" in plain(page_of(run))


ROWS = ("runs", "curves", "coadaptation", "overtaking", "cuts", "splits", "claims", "answers", "failed")
BROKEN: tuple[Any, ...] = (None, 3, ["x", 3, {}, {"n": 1e9, "kind": 3, "halves": [], "drop": "y"}])


@pytest.mark.parametrize("key", [*ROWS, "specificity", "filters", "backbone", "data", "halves", "seconds"])
def test_every_key_may_be_absent_or_broken(layers_maker: Maker, key: str) -> None:
    for place, value in enumerate(BROKEN):
        page = page_of(layers_maker(f"run{place}", **{key: value}))
        assert not re.search(r"\bnan\b|\binf\b", re.sub(r"data:image/png;base64,[^\"]*", "", page))
        assert "None" not in plain(page)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -1e300, "x", [1]], ids=str)
def test_single_values_may_be_broken(layers_maker: Maker, value: Any) -> None:
    """Every third value of every third row of each list, in turns; words from the run aside, nothing of it is drawn."""
    whole = summary()
    broken = {
        key: [{**row, **dict.fromkeys(list(row)[at % len(row) :: 3], value)} for at, row in enumerate(whole[key])]
        for key in ROWS
    }
    drawn = re.findall(r"<svg.*?</svg>", page_of(layers_maker(**broken)), flags=re.DOTALL)
    assert len(drawn) > 10
    assert not [one for one in drawn if re.search(r"\bnan\b|\binf\b|None|e\+", one)]


def test_only_the_settings_are_there(layers_maker: Maker) -> None:
    run = layers_maker()
    for name in ("summary.json", "inspection.json", "env.json", "log.jsonl"):
        (run / name).unlink()
    text = plain(page_of(run))
    assert "Not finished" in text
    assert "Not shown: accuracy by cut" in text
    assert "summary.json is missing" in text


def test_many_cuts_and_other_halves(layers_maker: Maker) -> None:
    rows = [{"kind": k, "halves": "given", "n": n, "accuracy": 0.5, "interval": None, "relative": -0.01 * n, "runs": 1}
            for k in ("selffer", "transfer") for n in range(1, 41)]  # fmt: skip
    cuts = [{"n": n, "label": f"stages.{n}.a_long_name"} for n in range(1, 41)]
    page = page_of(layers_maker(curves=rows, runs=[], cuts=cuts))
    assert "Here, the halves given" in plain(page)
    assert not [one for label in LABELS for one in re.findall(f">{label}</text>", page.split("The paper, like")[0])]
    assert "a_long_name</text>" not in page.split("The paper, like")[0]


def test_names_from_outside_are_escaped(layers_maker: Maker) -> None:
    bad = "<script>alert(1)</script>"
    changed = json.loads(json.dumps(summary()).replace("conv1", bad).replace("cat", bad))
    page = page_of(layers_maker(**changed))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to look at the page with")
def test_in_chromium(layers_maker: Maker, tmp_path: Path) -> None:
    page = page_of(layers_maker())
    pages = {"phone": (page, 390), "desktop": (page, 1100)}
    seen = measured(pages, tmp_path)
    for name, (_, width) in pages.items():
        assert seen[name]["width"] <= width, name
        assert [address for address in seen[name]["fetched"] if not address.startswith("data:")] == []
        assert (seen[name]["images"], seen[name]["broken"]) == (2, 0)
