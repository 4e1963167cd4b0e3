"""The page of `headstart extend`: what was learned and kept, never surer than the run, whole with any part missing."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from made_extend import METHODS, SHAPES, make_extend, share, summary
from test_report_browser import CHROMIUM, measured

from headstart.report import page_of, words
from headstart.report.extend_matrix import heat_map
from headstart.report.extend_read import CAME, Measured, arms_of
from headstart.report.extend_read import measured as read

SECTIONS = (
    *("needs", "matrix", "course", "bounds", "differences", "curves", "parts", "ways", "defined", "data", "cost"),
    *("history", "repeat", "limits"),
)


def page(tmp_path: Path, name: str = "run", found: dict[str, Any] | None = None, **changed: Any) -> str:
    return page_of(make_extend(tmp_path / name, found, **changed))


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
    assert "Learning birds 1 new task after 2 old ones · model runs/cars/model, 276 k weights · task-incremental" in said
    assert "Learned, and some of the old was lost It learned “birds”: 87.7 % of its test images right" in said
    assert "On what it knew before it fell from 90.0 % to 87.2 %, by 2.8 points (change −4.1 to −1.5)." in said
    assert (
        "Without being told the task it is right on 75.7 % of the new task's images and 67.7 % of those of the old tasks."
        in said
    )
    assert "Against fine tune, the lower bound: +14.2 points on the old tasks (11.8 to 16.6)" in said
    assert "−0.6 points on the new task (−2.0 to 0.8), undecided" in said
    needs = section(text, "needs")
    assert "Old tasks kept 88.6 % (86.6 % to 90.6 %) after 91.4 %, a change of −2.8 points (−4.1 to −1.5)." in needs
    assert "joint upper bound" in needs
    assert "4.81 MB 1 604 images, all old images" in needs
    assert "Nothing holds the old skill in fine tune, and joint learns everything together" in section(text, "bounds")
    assert "3 of 6 comparisons are decided" not in section(text, "data")
    assert "lwf against fine tune the old tasks +14.2 points 11.8 to 16.6 p < 0.001 3.4 points decided" in said
    assert "teacher 90 GFLOP" in section(text, "parts")
    assert "Forgetting The best accuracy it had after any earlier task" in section(text, "defined")
    assert "other tools print other numbers" in section(text, "defined")
    assert "what lwf cannot do, said honestly".capitalize() in section(text, "ways")
    assert "owl/IMG_3.jpg ends after 2 048 of 48 211 bytes (truncated)" in section(text, "data")
    assert "pictures/birds: 720 images in 4 classes; 520 to learn from, 200 to judge by." in section(text, "data")
    assert "runs/pets lpft" in section(text, "history").replace("How ", "")
    assert "headstart extend runs/birds/model NEXT_DATA --method lwf" in section(text, "history")
    assert "learn.recipe.lr 0.05" in section(text, "repeat")
    assert "Missing from this folder" not in said
    assert text == page(tmp_path, "again")


def test_every_cell_of_the_matrix_is_drawn_and_the_model_as_it_came_named(tmp_path: Path) -> None:
    arm = arms_of(summary())[0]
    assert arm.rows == (CAME, "after birds")
    assert arm.learned == (2, 3)
    drawn = str(heat_map(arm.known, arm.rows, arm.learned, ["pets", "cars", "birds"], [0, 1], "lwf", 900.0, 760.0))
    assert re.findall(r'class="(?:on|mid|off)"[^>]*>([\d.]+)<', drawn) == ["87.2", "92.7", "84.4", "89.9", "87.7"]
    assert drawn.count('class="cell empty"') == 1
    text = page(tmp_path)
    assert section(text, "matrix").count("84.4 % 82.4–86.4 %") == 1


def test_cells_asked_before_their_task_was_learned_are_marked() -> None:
    known = [[Measured(0.9), Measured(0.1)], [Measured(0.8), Measured(0.9)]]
    drawn = str(heat_map(known, ["after a", "after b"], [1, 2], ["a", "b"], [0, 1], "x", 900.0, 350.0))
    assert drawn.count("early") == 1


def test_undecided_is_said_to_be_undecided(tmp_path: Path) -> None:
    text = page(tmp_path, found=SHAPES["undecided"]())
    assert 'class="verdict undecided"' in text
    said = plain(text)
    assert "Learned; whether anything was lost is undecided" in said
    assert "Whether it lost any of what it knew before is undecided: −0.5 points (interval −1.6 to 0.6)" in said
    assert "a loss of up to 1.6 points is not ruled out" in said


def test_old_tasks_that_were_not_judged_are_said_not_to_be_known(tmp_path: Path) -> None:
    text = page(tmp_path, found=SHAPES["unjudged"]())
    said = plain(text)
    assert "Learned; what was kept is not known" in said
    assert "How much of what it knew before was kept is not known: none of their test images were given." in said
    assert "No test images of pets and cars were given" in section(text, "limits")
    assert "not judged" in section(text, "needs")
    assert "no task was judged more than once" in section(text, "course")
    assert "Not shown: bounds; the method ran alone" in section(text, "bounds")
    assert "Without being told the task" not in said


def test_a_first_task_has_nothing_to_forget(tmp_path: Path) -> None:
    text = page(tmp_path, found=SHAPES["one"]())
    said = plain(text)
    assert "Learned It learned “birds”" in said
    assert "There was no task before it to forget." in said
    assert "no old task" in section(text, "needs")
    assert "its card tells of none" in section(text, "history")


def test_classes_that_make_one_list(tmp_path: Path) -> None:
    text = page(tmp_path, found=SHAPES["classes"]())
    assert "In this scenario that is what counts." in plain(text)
    told = section(text, "confusion")
    assert re.search(r"Of [\d ]+ mistakes, [\d ]+ \(\d+ %\) name a class of another task", told)
    assert "Accuracies on test images, the task not known" in section(text, "needs")
    assert "Average accuracy Average, task not known Forgetting" in section(text, "needs")
    assert "All tasks: average accuracy, the task not known" in section(text, "bounds")
    assert 'id="confusion"' not in page(tmp_path, "task")


def test_being_told_the_task_may_change_nothing(tmp_path: Path) -> None:
    found = summary() | {"scenario": "domain"}
    for arm in found["arms"]:
        arm["agnostic"] = arm["matrix"]
    text = page(tmp_path, found=found)
    assert "Telling it the task makes no difference to its answers." in plain(text)
    assert "Task known or not: the answers are the same" in section(text, "matrix")
    assert "Average, task not known" not in section(text, "needs")


def test_twenty_tasks(tmp_path: Path) -> None:
    text = page(tmp_path, found=SHAPES["twenty"]())
    assert "Learning 20 tasks" in text
    assert len(re.findall(r'class="named ', text[text.index('id="course"') : text.index('id="bounds"')])) >= 20
    assert "It learned “increment 20”" in plain(text)


def test_many_methods_beside_each_other(tmp_path: Path) -> None:
    text = page(tmp_path, found=SHAPES["compared"]())
    said = plain(text)
    assert "has the highest average accuracy of 17 methods" in said
    assert "All ways side by side" in section(text, "bounds")
    assert all(words.human(name) in section(text, "ways") for name in METHODS)
    assert "408 comparisons" in said
    best = SHAPES["compared"]()
    best["differences"] = []
    assert "Not decided" in plain(page(tmp_path, "unpaired", found=best))


def test_an_interrupted_run_shows_its_log(tmp_path: Path) -> None:
    run = make_extend(tmp_path / "run")
    for name in ("summary.json", "inspection.json"):
        (run / name).unlink()
    with (run / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"event": "epoch", "run": "lw')
    text = page_of(run)
    assert "Not finished This run ended before anything was measured" in plain(text)
    assert "as far as the log of this unfinished run tells" in section(text, "curves")
    assert "fine_tune-0" in section(text, "curves")
    assert "Missing from this folder" in plain(text)


@pytest.mark.parametrize("key", sorted(summary().keys() - {"command"}))
def test_every_key_may_be_absent_or_empty(tmp_path: Path, key: str) -> None:
    for place, value in enumerate((None, [], {}, "x", 3)):
        text = page(tmp_path, f"run{place}", **{key: value})
        drawn = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
        assert not re.search(r"\bnan\b", drawn, flags=re.IGNORECASE)
        assert "None" not in plain(text)


@pytest.mark.parametrize("key", ["arms", "tasks", "data", "differences"])
def test_fields_of_a_row_may_be_absent_or_empty(tmp_path: Path, key: str) -> None:
    for place, name in enumerate(summary()[key][0]):
        for value in (None, [], "x"):
            rows = [{**row, name: value} for row in summary()[key]]
            assert "None" not in plain(page(tmp_path, f"run{place}{value}", **{key: rows}))


def test_only_the_settings_are_there(tmp_path: Path) -> None:
    run = make_extend(tmp_path / "run")
    for name in ("summary.json", "inspection.json", "env.json", "log.jsonl"):
        (run / name).unlink()
    assert "Not finished" in plain(page_of(run))


def test_numbers_that_are_none_are_none() -> None:
    assert read({"mean": float("nan"), "low": 0, "high": 1}) is None
    assert read({"mean": 0.5, "low": None, "high": 1}) == Measured(0.5)
    assert read(share(0.5)) == Measured(0.5, (0.48, 0.52))
    assert read(True) is None


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    found = json.loads(json.dumps(summary()).replace("pets", bad).replace("lwf", bad).replace("birds", bad))
    text = page(tmp_path, found=found)
    assert "<script" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to look at the page with")
def test_in_chromium(tmp_path: Path) -> None:
    """Nothing scrolls sideways on a phone or a desktop, nothing is fetched, and everything can be read."""
    long = "a_task_with_a_very_long_name_without_any_space_at_all_in_it"
    wide = json.loads(json.dumps(summary()).replace("birds", long).replace("fine_tune", long.replace("task", "way")))
    made = {
        "bounds": page(tmp_path),
        "long": page(tmp_path, "long", found=wide),
        **{name: page(tmp_path, name, found=SHAPES[name]()) for name in ("one", "classes", "twenty", "compared")},
    }
    pages = {f"{name}_{width}": (text, width) for name, text in made.items() for width in (390, 1100)}
    seen = measured(pages, tmp_path)
    for name, (_, width) in pages.items():
        assert seen[name]["width"] <= width, name
        assert [address for address in seen[name]["fetched"] if not address.startswith("data:")] == []
        assert seen[name]["broken"] == 0
        assert min(seen[name]["soft"], seen[name]["kicker"]) > 4.5
