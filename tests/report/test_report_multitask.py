"""The page of `headstart multitask`: whether sharing pays, never surer than the run, whole with any part missing."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from made_multitask import SHAPES, arm, difference, make_multitask, share, summary
from test_report_browser import CHROMIUM, measured

from headstart.report import page_of, words
from headstart.report.figures import figure_of
from headstart.report.multitask_course import cosine_map
from headstart.report.multitask_forest import Line, forest, forests
from headstart.report.multitask_read import Gap, Measure, read
from headstart.report.multitask_story import helpers

SECTIONS = ("tasks", "helpers", "course", "each", "pictures", "costs", "data", "defined", "cost", "repeat", "limits")
ERROR = Measure("mean_absolute_error", "mean absolute error", higher=False)
ACCURACY = Measure("accuracy", "accuracy")


def page(tmp_path: Path, name: str = "run", found: dict[str, Any] | None = None, **changed: Any) -> str:
    return page_of(make_multitask(tmp_path / name, found, **changed))


def plain(text: str) -> str:
    text = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<wbr>", "", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", text)).replace(words.NARROW, " "))


def section(text: str, name: str) -> str:
    found = re.search(rf'<section id="{name}".*?</section>', text, flags=re.DOTALL)
    assert found, name
    return plain(found[0])


def test_the_page_holds_everything(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert [name for name in SECTIONS if f'id="{name}"' not in text] == []
    said = plain(text)
    assert (
        "Learning 4 tasks at once vehicle, moving, weather and distance · 750 samples · on embedded, 269 k weights" in said
    )
    assert (
        "Sharing pays One network answers 4 questions, on average 3.0 % better than a network for each "
        "(95 % interval +0.5 to +5.5 %)." in said
    )
    assert "Task by task: better on vehicle (3.0 points better), moving (3.0 points better)" in said
    assert "distance (mean absolute error 0.03 smaller)" in said
    assert "One network instead of 4: 270 k weights instead of 1.08 M, 81 MFLOP instead of 324 MFLOP" in said
    assert "3.1 ms instead of 12 ms, 21 s of training instead of 1 min 20 s." in said
    assert "Saved in model/: sum, chosen among sum and dwa by what it says about vehicle on validation images" in said
    tasks = section(text, "tasks")
    assert "vehicle (main) accuracy more is better" in tasks
    assert "distance mean absolute error less is better" in tasks
    assert "sum saved 91.0 % 89.0–93.0 % better than its own" in tasks
    assert "a network each compared with 88.0 %" in tasks
    assert "dwa against sum vehicle accuracy −0.5 points −2.5 to 1.5 p = 0.40 3.0 points undecided" in tasks
    assert "R² more is better" in tasks
    assert "moving helped vehicle: +5.0 points (3.0 to 7.0)." in section(text, "helpers")
    assert "Whether weather helps vehicle is undecided: +1.0 point (−1.0 to 3.0)" in section(text, "helpers")
    assert "dwa One backbone, a head per task. Dynamic weight average" in section(text, "course")
    assert "p is Holm's, adjusted for all; intervals are each one's own." in section(text, "helpers")
    assert "No ROC curve of fog" in section(text, "each")
    assert "vehicle bus , truly van" in section(text, "pictures")
    assert "moving no, right" in section(text, "pictures")
    assert "Peak memory" not in section(text, "costs")  # an older run did not tell
    assert "4 networks, added up" in section(text, "costs")
    data = section(text, "data")
    assert (
        "750 samples that can be used: 480 to learn from, 120 to choose by and 150 to judge by. 1 file was set aside."
        in data
    )
    assert "street/17.jpg ends after 2 048 of 48 211 bytes (truncated)" in data
    assert "distance a number, 0.5 to 9.8; mean 3.2, standard deviation 1.7 640 110 missing" in data
    assert "wet 210 of 600" in data
    assert "Different answers: 1" in data
    assert "needs the images of all of them at once" in section(text, "limits")
    assert "headstart multitask street.csv --out runs/street" in section(text, "repeat")
    assert "a remark of the run" in said
    assert "Missing from this folder" not in said
    assert text == page(tmp_path, "again")


def test_undecided_is_said_to_be_undecided(tmp_path: Path) -> None:
    text = page(tmp_path, found=summary(better=0.01))
    assert 'class="verdict undecided"' in text
    said = plain(text)
    assert (
        "whether better or worse than a network for each is undecided: on average +1.0 % (95 % interval −1.5 to +3.5 %)"
        in said
    )
    assert "Task by task: undecided on every one." in said


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ([("moving", "vehicle", "without moving")], "sum was trained again without moving; right of nought, having that"),
        ([("moving", "vehicle", "only vehicle")], "sum against vehicle's own network; right of nought, moving helped."),
        (
            [("moving", "vehicle", "only vehicle"), ("vehicle", "moving", "only moving")],
            "sum against each task's own network; right of nought, the other task helped. Of 2 such comparisons: "
            "undecided 2.",
        ),
    ],
)
def test_who_was_compared_to_see_who_helps(pairs: list[tuple[str, str, str]], told: str) -> None:
    found = summary()
    found["helpers"] = [difference(task, "sum", other, "classes", 0.01, helper=helper) for helper, task, other in pairs]
    section = helpers(read(found))
    assert section is not None
    assert section.lead.startswith(told)
    assert ("Holm" in section.lead) == (len(pairs) > 1)


def test_sharing_may_cost(tmp_path: Path) -> None:
    said = plain(page(tmp_path, found=summary(better=-0.06)))
    assert "Sharing costs some of what networks of their own know" in said
    assert "on average 6.0 % worse than a network for each (95 % interval −8.5 to −3.5 %)." in said
    assert "worse on vehicle (6.0 points worse)" in said
    assert "distance (mean absolute error 0.06 larger)" in said


def test_nothing_to_compare_with(tmp_path: Path) -> None:
    text = page(tmp_path, found=SHAPES["no_alone"]())
    said = plain(text)
    assert "Not compared" in said
    assert "no network of its own was trained for any task" in said
    assert "dwa is undecided on every task: the plain sum would do." in said
    assert "Not shown: differences against networks of their own" in section(text, "tasks")
    assert "a network each" not in section(text, "tasks")
    assert "there is nothing to compare with" in section(text, "costs")
    assert "whether sharing pays is not known" in section(text, "limits")


def test_towers_are_not_said_to_save_anything(tmp_path: Path) -> None:
    text = page(tmp_path, found=SHAPES["towers"]())
    said = plain(text)
    assert "Its towers are about as large as 2 networks: 540 k weights instead of 540 k" in said
    assert "trained with the first of 2 seeds" in said
    assert "Units mix the towers after stem and layer1_2" in said
    assert "Each drawn to the towers' mean with a strength of 0.01" in said
    assert "The towers began 0.0 % and ended 12.3 % of the length of their weights away from their mean" in said
    assert "of which 620 GFLOP, 42 s for the networks that it began as" in section(text, "costs")
    course = section(text, "course")
    assert "on towers that share no weights, so that cosines are 0" in course
    assert "Pull a loss besides the tasks'" in course
    assert "cross-stitch began with the networks trained for one task each" in section(text, "limits")
    assert "Two seeds only" in section(text, "limits")


def test_twelve_tasks_with_long_names(tmp_path: Path) -> None:
    text = page(tmp_path, found=SHAPES["twelve"]())
    assert "Learning 12 tasks at once" in text
    assert "Mean cosine of every pair of tasks" in section(text, "course")
    assert section(text, "each").count("test images with an answer") == 12


def test_a_measure_may_not_be_defined(tmp_path: Path) -> None:
    found = summary()
    for one in found["arms"]:
        for name in one["measures"]:
            one["measures"][name] = {key: {"mean": None, "low": None, "high": None} for key in one["measures"][name]}
        one["delta_m"] = None
    text = page(tmp_path, found={**found, "differences": [], "helpers": []})
    assert "The mean change against a network each is not defined on these test images" in plain(text)
    assert "not defined here" in section(text, "tasks")
    assert "is not defined on them" in section(text, "each")


def test_intervals_stay_where_values_can_be() -> None:
    found = summary()
    found["arms"][4]["measures"]["vehicle"]["accuracy"] = share(0.7, 1.2)
    found["arms"][4]["measures"]["distance"]["mean_absolute_error"] = share(0.4, 2.0)
    found["differences"][0] = difference("vehicle", "sum", "only vehicle", "classes", -0.1, 3.0)
    seen = read(found)
    one = seen.arms[4].measures
    assert (one["vehicle"]["accuracy"] or share(0)).span == (0.0, 1.0)  # type: ignore[union-attr]
    assert (one["distance"]["mean_absolute_error"] or share(0)).span == (0.0, 2.4)  # type: ignore[union-attr]
    assert seen.gaps[0].span == (-1.0, 1.0)


def test_what_a_difference_means_in_words() -> None:
    assert ACCURACY.told(-0.031) == "3.1 points worse"
    assert ERROR.told(0.135) == "mean absolute error 0.135 smaller"
    assert ERROR.told(-0.135) == "mean absolute error 0.135 larger"
    assert Measure("r2", "R\u00b2").told(0.1) == "R\u00b2 0.1 larger"
    assert ERROR.way == "less is better"
    assert Measure("odd", "odd", known=False).way == ""


def gap(name: str, measure: Measure, mean: float, half: float = 0.02) -> Gap:
    decided = abs(mean) > half
    return Gap(name, "sum", f"only {name}", measure, mean, (mean - half, mean + half), 0.1, decided, 0.03)


def test_a_forest_has_a_panel_per_unit_and_marks_what_is_undecided() -> None:
    gaps = [gap("a", ACCURACY, 0.05), gap("b", ERROR, -0.3), gap("c", ACCURACY, 0.01)]
    found = forests(gaps, lambda one: (one.task, one.measure.text))
    assert [one.title for one in found] == ["Accuracy, in points", "Mean absolute error of b, in its own unit"]
    assert "a +5.0, interval +3.0 to +7.0, better; c +1.0, interval \u22121.0 to +3.0, undecided" in str(found[0].plot)
    assert "left more error, right less error: b \u22120.3" in str(found[1].plot)
    assert str(found[0].plot).count('class="dot undecided"') == 2  # for a desktop and a phone
    assert str(found[0].plot).count('class="unseen"') == 4


@pytest.mark.parametrize("width", [350.0, 760.0])
def test_a_wide_interval_does_not_squeeze_the_others(width: float) -> None:
    lines = [Line("a", "", 0.02, (0.01, 0.03), "better"), Line("b", "", 0.01, (-40.0, 40.0), "undecided")]
    drawn = str(forest(lines, ("worse", "better"), str, 1.0, width))
    assert drawn.count('class="arrow"') == 2
    points = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawn)]
    assert points[0] - points[1] > 3
    assert all(0 <= x <= width for x in points)


def test_nothing_but_noughts_can_be_drawn() -> None:
    drawn = str(forest([Line("a", "", 0.0, (0.0, 0.0), "undecided", 0.0)], ("worse", "better"), str, 1.0, 350.0))
    assert "nan" not in drawn


def test_every_pair_has_its_mean_cosine() -> None:
    drawn = str(cosine_map({("a", "b"): [(1.0, 0.5), (2.0, -0.1)], ("a", "c"): [(1.0, -0.4)]}, ["a", "b", "c"], 350.0))
    assert re.findall(r">([\u2212\d.]+)</text>", drawn) == ["0.20", "\u22120.40", "0.20", "\u22120.40"]
    assert drawn.count('class="cell empty"') == 5


def test_answers_of_which_only_some_are_known_are_not_called_wrong(tmp_path: Path) -> None:
    run = make_multitask(tmp_path / "run")
    told = json.loads((run / "thumbnails.json").read_text("utf-8"))
    told["apart"][0]["answers"]["weather"] = {"said": "wet", "true": "none (not known: wet)", "right": True}
    (run / "thumbnails.json").write_text(json.dumps(told), "utf-8")
    assert "weather wet, right" in section(page_of(run), "pictures")


@pytest.mark.parametrize("broken", ["none", "text", "shape", "json"])
def test_without_pictures(tmp_path: Path, broken: str) -> None:
    import numpy as np

    run = make_multitask(tmp_path / "run")
    (run / "thumbnails.npz").unlink()
    if broken == "text":
        (run / "thumbnails.npz").write_text("no archive", "utf-8")
    elif broken == "shape":
        np.savez(run / "thumbnails.npz", images=np.zeros((3, 8), np.uint8))
    elif broken == "json":
        np.savez(run / "thumbnails.npz", images=np.zeros((3, 8, 8, 1), np.uint8))
        (run / "thumbnails.json").write_text("{", "utf-8")
    assert "Not shown: pictures" in section(page_of(run), "pictures")


def test_an_interrupted_run_shows_its_log(tmp_path: Path) -> None:
    run = make_multitask(tmp_path / "run")
    for name in ("summary.json", "thumbnails.npz", "thumbnails.json"):
        (run / name).unlink()
    text = page_of(run)
    assert "Not finished This run ended before anything was measured" in plain(text)
    course = section(text, "course")
    assert "As far as the log of this unfinished run tells." in course
    assert "vehicle moving weather distance" in course
    assert "640 110 missing" in section(text, "data")
    assert "Missing from this folder" in plain(text)


def test_peak_memory_is_shown_and_what_it_is(tmp_path: Path) -> None:
    found = summary()
    for one in (*found["arms"], found["apart"]):
        one["memory"] = 9_000_000
    costs = section(page(tmp_path, found=found), "costs")
    assert "Peak memory: all tensors at the fullest moment" in costs
    assert "9 MB" in costs


def test_what_a_weighting_takes_besides_is_said(tmp_path: Path) -> None:
    found = summary()
    parts = {"samples": 3.1e11, "task gradients": 1e10}
    more: dict[str, Any] = {"weighting": "gradnorm", "flops": {"training": 3.2e11, "parts": parts}}
    found["arms"].append(arm("gradnorm", "asked", {"vehicle": "classes"}, **more))
    costs = section(page(tmp_path, found=found), "costs")
    assert "Further backward passes of ways that look at every task's gradient are among the operations" in costs
    assert "320 GFLOP" in costs


@pytest.mark.parametrize("key", sorted(summary().keys() - {"command"}))
def test_every_key_may_be_absent_or_empty(tmp_path: Path, key: str) -> None:
    run = make_multitask(tmp_path / "run")
    whole = json.loads((run / "summary.json").read_text("utf-8"))
    for value in (None, [], {}, "x", 3):
        (run / "summary.json").write_text(json.dumps({**whole, key: value}), "utf-8")
        text = page_of(run)
        assert not re.search(r"\bnan\b", re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL), flags=re.IGNORECASE)
        assert "None" not in plain(text).replace("None of", "")


@pytest.mark.parametrize("key", ["arms", "tasks", "differences", "helpers"])
def test_fields_of_a_row_may_be_absent_or_empty(tmp_path: Path, key: str) -> None:
    run = make_multitask(tmp_path / "run", summary({"vehicle": "classes", "distance": "number"}))
    whole = json.loads((run / "summary.json").read_text("utf-8"))
    for name in whole[key][0] if whole[key] else ():
        for value in (None, [], "x"):
            rows = [{**row, name: value} for row in whole[key]]
            (run / "summary.json").write_text(json.dumps({**whole, key: rows}), "utf-8")
            assert "None" not in plain(page_of(run))


@pytest.mark.parametrize("key", ["curves", "test", "inspection"])
def test_what_lies_deeper_may_be_anything(tmp_path: Path, key: str) -> None:
    run = make_multitask(tmp_path / "run")
    whole = json.loads((run / "summary.json").read_text("utf-8"))
    seen = json.loads((run / "inspection.json").read_text("utf-8"))
    for value in (None, "x", 3, [3], {"x": 3}, [{"epoch": 1, "losses": 3, "balance": {"norm/": 1, "cosine/a": 2}}]):
        if key == "curves":
            for one in whole["arms"]:
                one["curves"] = value
        elif key == "test":
            whole["test"] = dict.fromkeys(whole["test"], value)
        else:
            seen = dict.fromkeys(seen, value)
        (run / "summary.json").write_text(json.dumps(whole), "utf-8")
        (run / "inspection.json").write_text(json.dumps(seen), "utf-8")
        assert "None" not in plain(page_of(run))


def test_only_the_settings_are_there(tmp_path: Path) -> None:
    run = make_multitask(tmp_path / "run")
    for name in ("summary.json", "inspection.json", "env.json", "log.jsonl", "thumbnails.npz", "thumbnails.json"):
        (run / name).unlink()
    assert "Not finished" in plain(page_of(run))


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    made = json.dumps(summary())
    for name in ("vehicle", "lorry", "fog", "dwa", "street"):
        made = made.replace(name, bad)
    text = page(tmp_path, found=json.loads(made))
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_the_figure_has_an_axis_per_unit() -> None:
    figure = figure_of(summary())
    shares, error = figure.axes
    assert [tick.get_text() for tick in shares.get_yticklabels()] == ["weather", "moving", "vehicle"]
    assert shares.get_xlabel() == "better by, points"
    assert error.get_xlabel() == "mean absolute error smaller by"
    dots = [line for line in shares.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in dots] == pytest.approx([3.0, 3.0, 3.0])  # type: ignore[index]
    assert "the plain sum" in figure_of(SHAPES["no_alone"]()).get_suptitle()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to look at the page with")
def test_in_chromium(tmp_path: Path) -> None:
    """Nothing scrolls sideways on a phone or a desktop, nothing is fetched, and everything can be read."""
    long = "a_task_with_a_very_long_name_without_any_space_at_all_in_it"
    wide = json.loads(json.dumps(summary()).replace("moving", long).replace("dwa", long.replace("task", "way")))
    made = {"long": page(tmp_path, "long", found=wide), **{k: page(tmp_path, k, found=v()) for k, v in SHAPES.items()}}
    pages = {f"{name}_{width}": (text, width) for name, text in made.items() for width in (390, 1100)}
    seen = measured(pages, tmp_path)
    for name, (_, width) in pages.items():
        assert seen[name]["width"] <= width, name
        assert [address for address in seen[name]["fetched"] if not address.startswith("data:")] == []
        assert seen[name]["broken"] == 0
        assert min(seen[name]["soft"], seen[name]["kicker"]) > 4.5
