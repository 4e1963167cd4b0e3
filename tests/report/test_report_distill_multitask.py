"""The page of a distillation of several questions: all three networks side by side, never surer than the run."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from made_distill_multitask import make_distill_multitask, summary

from headstart.report import page_of, words

SECTIONS = ("tasks", "lesson", "curves", "sizes", "following", "data", "defined", "cost", "repeat", "limits")


def page(tmp_path: Path, **changed: Any) -> str:
    return page_of(make_distill_multitask(tmp_path / "run", summary(**changed)))


def plain(text: str) -> str:
    text = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<wbr>", "", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", text)).replace(words.NARROW, " "))


def test_every_question_stands_beside_teacher_and_student_alone(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert [name for name in SECTIONS if f'id="{name}"' not in text] == []
    said = plain(text)
    for part in (
        "headstart distill street.csv",
        "Decided: it gained Learning from its teacher made the student better: on average over 3 questions +7.4 %, "
        "95 % interval +2.1 to +12.9.",
        "Question by question: decided on lights 5.0 points better and speed mean absolute error 0.5 smaller; undecided on "
        "signs.",
        "By the teacher alone, without any label: weather.",
        "the test images that the teacher's own run had set aside",
        "student, distilled saved 91.0 % 89.0–93.0 % 2.9 2.88 to 2.92 80.5 % 78.5–82.5 % +7.4 % +2.1 to +12.9 better",
        "student, alone baseline 86.0 %",
        "runs/street 95.0 %",
        "student, distilled against runs/street lights accuracy −4.0 points",
        "Time of an answer runs/street teacher 1 M 13 times 4 MB 13 times 400 MFLOP 1 times 9 ms 6 times",
        "weight of the teacher in the loss 90 %",
        "Loss, distilled: speed",
        "headstart export runs/small/model",
        "an epoch of the student, distilled 10 s",
    ):
        assert part in said, part
    assert "One seed only" not in said


@pytest.mark.parametrize("missing", [*summary()])
def test_a_page_without_any_one_part_is_whole(tmp_path: Path, missing: str) -> None:
    found = {name: value for name, value in summary().items() if name != missing}
    text = page_of(make_distill_multitask(tmp_path / "run", found))
    assert [name for name in SECTIONS if f'id="{name}"' not in text] == []


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    undecided = plain(page(tmp_path, gain={"mean": 1.0, "low": -2.0, "high": 4.0}, seeds=[0]))
    assert "Not decided Whether learning from its teacher helped the student is undecided" in undecided
    assert "One seed only" in undecided
    data = {**summary()["data"], "held_out_by_teacher": False}
    unknown = plain(page(tmp_path, data=data, gain=None))
    assert "No mean over the questions" in unknown
    assert "it may have learned from test images" in unknown
    stopped = plain(page_of(make_distill_multitask(tmp_path / "stopped", {})))
    assert "Not finished" in stopped
