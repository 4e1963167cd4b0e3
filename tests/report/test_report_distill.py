"""The page of `headstart distill`: the gain first and never surer than the run, whole with any part missing."""

from __future__ import annotations

import json
import math
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from made_distill import CLASSES, UNDECIDED, curves, make_distill, result, soft, summary, teachers
from PIL import Image
from test_report_browser import CHROMIUM, measured

from headstart.report import page_of, words
from headstart.report.distill_temperature import brief, soft_rows

SECTIONS = (
    *("accuracy", "teachers", "temperature", "likeness", "curves", "sizes", "following"),
    *("data", "cost", "repeat", "limits"),
)


def page(tmp_path: Path, name: str = "run", **changed: Any) -> str:
    return page_of(make_distill(tmp_path / name, **changed))


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
    assert "20 000 images · 10 classes · student headstart:resnet20, 272 k weights · teacher runs/resnet56/model" in said
    gained = "Learning from its teacher made the student 1.2 points better (95 % interval 0.7 to 1.7): 91.4 % right instead"
    assert f"Decided: it gained {gained} of 90.2 %." in said
    assert "That closes 29 % of the gap to its teacher, which has 3.1 times as many weights." in said
    assert "Compared on 3 seeds and the same 10 000 test images; p < 0.001." in said
    assert "Seed 0 90.1 % 91.3 % +1.3 points" in section(text, "accuracy")
    assert "runs/resnet56/model 94.3 % 93.8–94.8 % 99.8 % 99.5–99.9 % 10 same order 3.4 points eval" in section(
        text, "teachers"
    )
    assert "Student, distilled 92.9 % 0.140 nats 2.1 points" in section(text, "likeness")
    assert "2.4 points more often than alone" in section(text, "likeness")
    assert "853 k 3.1 times 3.44 MB 3.1 times 251 MFLOP 3.1 times" in section(text, "sizes")
    assert "an epoch of the student, distilled 11 s, 1.09 times as long as alone" in section(text, "cost")
    assert "800 kB (as float16, 4 views of every image)" in section(text, "cost")
    assert "headstart export runs/distill/model --to onnx --quantize int8" in said
    assert "right on 99.8% of" not in said  # how far it had come is not worth a note
    assert "teacher answers were kept for 4 fixed views" in said
    assert "Missing from this folder" not in said
    assert text == page(tmp_path, "again")


def test_it_is_no_surer_than_the_run(tmp_path: Path) -> None:
    text = page(tmp_path, gain=UNDECIDED)
    assert 'class="verdict undecided"' in text
    said = plain(text)
    assert "Not decided Whether learning from its teacher helped the student is undecided: +0.4 points" in said
    assert f"(95 % interval {words.MINUS}0.2 to 1.1)" in said
    assert "less than about 0.9 points would probably have been missed" in said
    assert "of the gap" not in said
    lost = UNDECIDED | {"estimate": -0.02, "low": -0.03, "high": -0.01, "decided": True}
    said = plain(page(tmp_path, "lost", gain=lost))
    assert "Decided: it lost Learning from its teacher made the student 2.0 points worse" in said
    assert "of the gap" not in said


def test_a_teacher_worse_than_its_student_is_named_at_the_top(tmp_path: Path) -> None:
    text = page(tmp_path, teachers=teachers())
    verdict = plain(text[: text.index("<nav")])
    assert "Take care: the teacher “timm:resnet18.a1_in1k” is itself right less often" in verdict
    audit = section(text, "teachers")
    assert "timm:resnet18.a1_in1k worse than the student" in audit
    assert "1 000 other classes, mapped" in audit
    assert "it is right on 86.1 % of the test images" in audit


def test_a_warning_about_a_teacher_is_told_once(tmp_path: Path) -> None:
    weak = teachers()[1]
    text = page(tmp_path, teachers=[weak], warnings=[f"teacher {weak['name']}: {weak['warnings'][0]}", "the disk is slow"])
    assert plain(text).count("it is right on 86.1 %") == 1
    assert "The disk is slow." in plain(text)


def test_the_settings_of_the_lesson_are_told(tmp_path: Path) -> None:
    told = section(page(tmp_path), "teachers")
    assert "weight of the teacher in the loss 90 %, the labels have the rest further losses attention" in told
    assert "4 fixed views of every image steps sgd, learning rate 0.05, batches of 64 images" in told
    assert "the mean of their" not in told
    hard = page(tmp_path, "hard", kind="hard", teachers=teachers(), token=True, views=0)
    told = section(hard, "teachers")
    assert "the teacher's first choice alone" in told
    assert "several teachers speak by the mean of their logits distillation token yes" in told
    assert "every image drawn anew in each epoch" in told
    assert "which is the same at every temperature" in section(hard, "temperature")


def test_a_teacher_that_is_caught_up_with(tmp_path: Path) -> None:
    gain = {**summary()["gain"], "estimate": 0.05}
    assert "The student is now right as often as its teacher." in plain(page(tmp_path, gain=gain))


def test_the_soft_labels_are_drawn_for_every_temperature() -> None:
    scores = {"ring": 6.0, "circle": 3.0}
    answers = [(row["t"], {one["class"]: one["p"] for one in row["top"]}) for row in soft(scores, (1.0, 40.0))]
    drawn = soft_rows(answers, "ring", 620.0, 40.0)
    bars = [float(width) for width in re.findall(r'width="([\d.]+)" height="8" rx="1.5" class="soft given"', drawn)]
    room = (620.0 - 16 - 0.55 * 13 * len("all others")) / 2 - 12
    expected = [math.exp(6 / t) / (math.exp(6 / t) + math.exp(3 / t) + len(CLASSES) - 2) for t in (1.0, 40.0)]
    assert bars == pytest.approx([room * p for p in expected], abs=0.2)
    assert str(drawn).count('class="used"') == 1
    assert "all others" in drawn


def test_a_class_that_is_not_among_the_likeliest_is_shown_when_it_is_the_label(tmp_path: Path) -> None:
    text = page(tmp_path)
    last = text[text.index("<details><summary>1 more image") :]
    assert re.search(r'class="name best">hexagon</text>', last)


def test_small_and_large_probabilities_are_told_from_nought_and_one() -> None:
    told = [brief(p).replace(words.NARROW, " ") for p in (0.0, 0.0004, 0.03, 0.5, 0.997, 0.99999, 1.0, None)]
    assert told == ["0.0 %", "0.0 %", "3.0 %", "50 %", "> 99 %", "> 99 %", "100 %", words.UNKNOWN]


def test_images_by_file_name_and_never_from_outside(tmp_path: Path) -> None:
    run = make_distill(tmp_path / "run")
    Image.new("RGB", (300, 200), (200, 30, 30)).save(run / "report_data" / "first.png")
    Image.new("RGB", (30, 20), (200, 30, 30)).save(tmp_path / "secret.png")
    found = json.loads((run / "summary.json").read_text("utf-8"))
    for place, name in enumerate(("report_data/first.png", "../../secret.png", None, True)):
        found["examples"][place]["image"] = name
    (run / "summary.json").write_text(json.dumps(found), "utf-8")
    text = page_of(run)
    assert len(re.findall(r'<div class="who"><img', text)) == 1
    assert text.count('<div class="who">') == 4


def test_the_losses_stand_apart_from_the_distance(tmp_path: Path) -> None:
    told = section(page(tmp_path), "curves")
    assert "Agreement with the teacher" in told
    assert told.index("Distance from the teacher") < told.index("Losses")
    assert "Loss, distilled: soft" in told
    assert "Loss, student alone: " not in told  # one term alone is the whole loss
    bare = [{**row, "points": [{k: p[k] for k in ("epoch", "loss")} for p in row["points"]]} for row in curves()]
    assert "Distance from the teacher" not in section(page(tmp_path, "bare", curves=bare), "curves")


def test_born_again_is_told_when_it_was_tried(tmp_path: Path) -> None:
    text = page(tmp_path, born_again={**result("distilled"), "gain": UNDECIDED})
    assert "Against the student alone that gave +0.4 points" in section(text, "accuracy")
    assert "Student, born again" in text
    assert "Born again" not in page(tmp_path, "without")


@pytest.mark.parametrize("key", sorted(summary().keys() - {"command"}))
def test_every_key_may_be_absent_or_empty(tmp_path: Path, key: str) -> None:
    for place, value in enumerate((None, [], {}, "x", 3)):
        text = page(tmp_path, f"run{place}", **{key: value})
        drawn = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
        assert not re.search(r"\bnan\b", drawn, flags=re.IGNORECASE)
        assert "None" not in plain(text)


@pytest.mark.parametrize("key", ["teachers", "runs", "examples", "curves"])
def test_fields_of_a_row_may_be_absent_or_empty(tmp_path: Path, key: str) -> None:
    for place, name in enumerate(summary()[key][0]):
        for value in (None, [], "x"):
            rows = [{**row, name: value} for row in summary()[key]]
            assert "None" not in plain(page(tmp_path, f"run{place}{value}", **{key: rows}))


@pytest.mark.parametrize("key", ["student", "temperature", "alone", "gain", "record", "test"])
def test_fields_of_a_part_may_be_absent_or_empty(tmp_path: Path, key: str) -> None:
    for place, name in enumerate(summary()[key]):
        for value in (None, [], "x"):
            assert "None" not in plain(page(tmp_path, f"run{place}{value}", **{key: {**summary()[key], name: value}}))


def test_only_the_settings_are_there(tmp_path: Path) -> None:
    run = make_distill(tmp_path / "run")
    for name in ("summary.json", "inspection.json", "env.json", "log.jsonl"):
        (run / name).unlink()
    text = plain(page_of(run))
    assert "Not finished This run ended before the distilled student could be compared" in text
    assert "Missing from this folder" in text


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    rows = [{**row, "name": bad, "warnings": [bad]} for row in teachers()]
    examples = [{"image": bad, "label": bad, "soft": [{"t": 1, "top": [{"class": bad, "p": 1.0}]}]}]
    text = page(
        tmp_path, teachers=rows, examples=examples, warnings=[bad], student={"name": bad, "parameters": 9}, model=bad
    )
    assert "<script" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to look at the page with")
def test_in_chromium(tmp_path: Path) -> None:
    """Nothing scrolls sideways on a phone or a desktop, nothing is fetched, and everything can be read."""
    long = "a_class_with_a_very_long_name_without_any_space_at_all_in_it"
    hard = [{"image": 0, "label": long, "soft": soft({long: 3.0, "ring": 2.0}, (1.0, 2.0, 3.2, 4.0, 10.0, 20.0, 40.0))}]
    text = page(tmp_path)
    wide = page(tmp_path, "long", teachers=[{**row, "name": long * 2} for row in teachers()], examples=hard)
    pages = {"phone": (text, 390), "desktop": (text, 1100), "long": (wide, 390), "long_desktop": (wide, 1100)}
    seen = measured(pages, tmp_path)
    for name, (_, width) in pages.items():
        assert seen[name]["width"] <= width, name
        assert [address for address in seen[name]["fetched"] if not address.startswith("data:")] == []
        assert seen[name]["broken"] == 0
        assert min(seen[name]["soft"], seen[name]["kicker"]) > 4.5
