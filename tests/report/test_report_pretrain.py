"""The page of `headstart pretrain`: what it says, in which order, and what it leaves out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from headstart.report import words
from headstart.report.folder import read_run
from headstart.report.pretrain import context
from headstart.report.render import page_of
from tests.report import made_pretrain as made


def page(folder: Path, content: dict[str, Any] | None = None, log: list[dict[str, Any]] | None = None) -> str:
    return page_of(made.write(folder, content, log))


def test_the_page_holds_every_section_and_nothing_foreign(tmp_path: Path):
    text = page(tmp_path / "run")
    for name in ("worth", "course", "views", "method", "cost", "repeat", "limits"):
        assert f'id="{name}"' in text
    assert "Not shown" not in text
    assert "<script" not in text
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert "embedded &lt;small&gt;" in text.replace("<wbr>", "")
    assert text == page_of(tmp_path / "run")


def test_the_verdict_says_whether_pretraining_paid(tmp_path: Path):
    found = context(read_run(made.write(tmp_path / "run")))["verdict"]
    assert found.kicker == "Pretraining paid, but less than another network"
    told = (
        "It is better than starting from nothing in 3 of the 5 comparisons, of 6, that had time; the others are undecided."
    )
    rival = (
        f"Embedded <small> is better than it in 3 of 5, by up to 8 points (probed, {words.percent(0.01, 0)} of the labels)."
    )
    assert found.sentence == f"{told} {rival}"
    assert words.percent(0.6) in {fact.value for fact in found.facts}
    assert any(f"{words.percent(0.31)} before" in fact.note for fact in found.facts)


def test_one_comparison_that_had_time_is_not_called_every_one(tmp_path: Path):
    content = made.summary()
    verdict = content["verdict"]
    verdict["differences"] = [made.difference(80, "probe", "random", 0.02, False)]
    verdict["cells"] = [one for one in verdict["cells"] if (one["images"], one["kind"]) == (80, "probe")]
    verdict |= {"budget": 8.0, "seconds": 46.4}
    found = context(read_run(made.write(tmp_path / "run", content)))
    assert found["verdict"].sentence == (
        "Whether it is better than starting from nothing is undecided in the 1 comparison, of 6, that had time."
    )
    assert found["verdict"].kicker == "Not decided"
    assert len(found["judged"].rows) == 9, "what was left out keeps its place in the table"
    assert [cell.figure for cell in found["judged"].rows[-1].cells] == ["left out"] * 2
    assert f"took {words.duration(46.4)}, more than the {words.duration(8)} it was given" in found["judged"].lead
    lead = context(read_run(made.write(tmp_path / "within")))["judged"].lead
    assert f"took {words.duration(280)} of the {words.duration(300)} it was given." in lead


@pytest.mark.parametrize(
    ("sign", "decided", "kicker"),
    [(-1, True, "Pretraining did not pay"), (1, False, "Not decided"), (0, True, "It depends on the number of labels")],
)
def test_other_outcomes_are_called_what_they_are(tmp_path: Path, sign: int, decided: bool, kicker: str):
    content = made.summary()
    for place, gap in enumerate(content["verdict"]["differences"]):
        gap["mean"] = 0.1 * (sign or (1 if place % 4 else -1))
        gap["decided"] = decided
    assert context(read_run(made.write(tmp_path / "run", content)))["verdict"].kicker == kicker


def test_the_table_has_a_row_per_share_and_network_and_names_what_was_left_out(tmp_path: Path):
    found = context(read_run(made.write(tmp_path / "run")))["judged"]
    assert len(found.rows) == 9
    first, second = found.rows[:2]
    assert first.labels == f"{words.percent(0.01, 0)} of the labels (80)"
    assert first.ours
    assert not second.ours
    assert [cell.figure for cell in first.cells] == [words.percent(0.42)] * 2
    assert second.cells[1].note == "from scratch, 3 draws"
    assert found.rows[-1].cells[1].figure == "left out"
    assert found.left_out == [
        "Fine-tuning and training from scratch on 8000 labels, draws 1, 2 and 3: no longer fitted into the budget of 300 s."
    ]
    assert [one.title.partition(":")[0] for one in found.forests] == ["Probed", "Fine-tuned"]


def test_curves_are_drawn_against_chance_and_from_the_start(tmp_path: Path):
    found = context(read_run(made.write(tmp_path / "run")))["curves"]
    assert [one.title for one in found.panels] == [
        "Loss, as a share of guessing",
        "Accuracy on held-out images",
        "Effective rank",
        "Spread",
        "Alignment",
        "Uniformity",
    ]
    assert [one.title for one in found.depths] == ["Linear probe, block by block"]
    assert f"layer3_0 {words.percent(0.65)}" in found.depths[0].plot


def test_a_level_loss_looks_level_and_its_axis_is_in_whole_percent(tmp_path: Path):
    content = made.summary()
    for place, row in enumerate(content["looks"]):
        row["of_chance"] = 1.041 + 0.0005 * place
    plot = context(read_run(made.write(tmp_path / "run", content)))["curves"].panels[0].plot
    ticks = re.findall(r'class="tick"[^>]*>([^<]*%)', plot)
    assert len(ticks) >= 2
    assert not any("." in tick for tick in ticks)


def test_without_labels_what_is_known_is_shown(tmp_path: Path):
    content = made.summary()
    content["verdict"] = {"why": "there is no verdict: the images have no labels, or too few, to judge by"}
    for row in (*content["looks"], content["start"], content["end"]):
        for name in [key for key in row if key.startswith(("probe ", "knn", "best_"))]:
            del row[name]
    text = page(tmp_path / "run", content)
    assert "There is no verdict" in text
    found = context(read_run(tmp_path / "run"))
    assert found["judged"] is None
    assert "Accuracy on held-out images" not in [one.title for one in found["curves"].panels]
    assert not found["curves"].depths


def test_a_run_that_was_stopped_shows_what_its_log_tells(tmp_path: Path):
    log = [
        {"event": "epoch", **{k: v for k, v in one.items() if k not in ("epochs", "of_chance")}, "of": 40, "at": 1.0}
        for one in made.looks()[:3]
    ]
    log += [{"event": "warning", "key": "collapse", "stage": "simclr", "text": "collapsed: after epoch 12"}]
    text = page(tmp_path / "run", {}, log)
    assert "Not finished" in text
    assert "--resume" in text
    assert "As far as the log of this unfinished run tells" in text
    assert "Collapsed: after epoch 12" in text
    found = context(read_run(tmp_path / "run"))
    assert found["curves"].panels[0].title == "Loss, as a share of guessing"


@pytest.mark.parametrize("name", sorted(made.summary()))
def test_any_missing_part_is_survived(tmp_path: Path, name: str):
    content = made.summary()
    del content[name]
    assert "</html>" in page(tmp_path / "run", content)
    content[name] = None
    assert "</html>" in page(tmp_path / "again", content)
