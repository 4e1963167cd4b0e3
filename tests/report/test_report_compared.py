"""The page of `headstart compare`: every strategy is there, undecided is said to be undecided, any part may be missing."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from made_compare import LATE, WAYS, make_compare, strategies, summary
from test_report_browser import CHROMIUM, measured

from headstart.report import page_of, words
from headstart.report.compared_charts import Gap, Spot, difference_map, front, scatter

SECTIONS = ("accuracy", "differences", "gain", "costs", "approaches", "following", "data", "cost", "repeat", "limits")


def page(tmp_path: Path, name: str = "run", **changed: Any) -> str:
    return page_of(make_compare(tmp_path / name, **changed))


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
    assert "1 797 images · 10 classes · embedded, 270 k weights · 5 folds · 14 epochs" in said
    assert "Not decided Undecided: lpft has the highest mean, but cannot be told from full" in said
    assert "Not compared: Gradual unfreezing; the table says why." in said
    first = "Probe, then fine-tune highest mean lpft 94.2 % 93.3–95.1 % 99.8 % 93.7–94.7 % 61.0 %"
    assert f"{first} {words.MINUS}30.3 points" in section(text, "accuracy")
    assert f"Gradual unfreezing ( gradual ): Left out: {LATE}." in section(text, "accuracy")
    assert "on 1 000 test images; 91.3 % before." in section(text, "accuracy")
    assert "Linear probe probe 650 650 2.61 kB 93 GFLOP 81.1 MFLOP 1.1 s 0" in section(text, "costs")
    assert "270 k 270 k 1.08 MB 3.9 TFLOP 81.1 MFLOP 41 s 0" in section(text, "costs")
    assert "headstart adapt pictures/shapes --out runs/shapes-adapted --strategies full" in section(text, "following")
    assert "about 2 min left" not in said  # how far it had come is not worth a note
    assert "the backbone's classifier was kept" in said
    assert "Missing from this folder" not in said
    assert text == page(tmp_path, "again")


def test_the_best_comes_first_and_the_rest_in_order(tmp_path: Path) -> None:
    told = section(page(tmp_path), "approaches")
    order = sorted(WAYS, key=lambda way: -way[4])
    places = [told.index(f" {way[2]} ") for way in order]
    assert places == sorted(places)
    assert "It overfits: 99.8 % right here." in told
    assert "Stores 1 234 of lpft." in told
    assert "Gradual unfreezing" not in told


def test_every_difference_is_told(tmp_path: Path) -> None:
    told = section(page(tmp_path), "differences")
    assert "8 of 10 comparisons are decided." in told
    assert "typically 1.6 points" in told
    assert "lpft against full +0.4 points −0.8 to 1.6 p = 0.61 1.6 points not decided" in told
    assert told.index("lpft against retrain") < told.index("lpft against full")


def test_the_front_is_told_step_by_step(tmp_path: Path) -> None:
    told = section(page(tmp_path), "gain")
    assert "Nothing that is quicker has a higher mean than probe, svm and lpft." in told
    assert "from svm to lpft +6.8 points for 40 s more a fold" in told


def test_decided_is_said_to_be_decided(tmp_path: Path) -> None:
    text = page(tmp_path, decided=True, equals=["lpft"], sentence="lpft is best, told apart from every other.")
    assert 'class="verdict decided"' in text
    assert "Decided lpft is best" in plain(text)
    assert "not told from it" not in plain(text)


def test_without_the_source_the_reason_is_told(tmp_path: Path) -> None:
    rows = [{**row, "source_accuracy": None} for row in strategies()]
    reason = "no images of the source were given (--source)"
    source = {"path": None, "images": 0, "split": None, "before": None, "reason": reason}
    told = section(page(tmp_path, strategies=rows, source=source), "accuracy")
    assert f"What is kept of the source task was not measured: {reason}." in told
    train = {**summary()["source"], "split": "train"}
    assert "It may have learned from these very images." in plain(page(tmp_path, "other", source=train))


@pytest.mark.parametrize("key", sorted(summary().keys() - {"command", "classes"}))
def test_every_key_may_be_absent_or_empty(tmp_path: Path, key: str) -> None:
    for place, value in enumerate((None, [], {}, "x", 3)):
        text = page(tmp_path, f"run{place}", **{key: value})
        assert not re.search(r"\bnan\b", re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL), flags=re.IGNORECASE)
        assert "None" not in plain(text)


def test_fields_of_a_strategy_may_be_absent(tmp_path: Path) -> None:
    for place, key in enumerate(strategies()[0]):
        rows = [{name: value for name, value in row.items() if name != key} for row in strategies()]
        assert "None" not in plain(page(tmp_path, f"run{place}", strategies=rows))


def test_only_the_settings_are_there(tmp_path: Path) -> None:
    run = make_compare(tmp_path / "run")
    for name in ("summary.json", "inspection.json", "env.json", "log.jsonl"):
        (run / name).unlink()
    text = plain(page_of(run))
    assert "Not finished This run ended before the strategies could be compared." in text
    assert "Missing from this folder" in text


def test_names_are_escaped(tmp_path: Path) -> None:
    rows = [{**row, "label": "<script>x</script>", "limits": ["<b>bold</b>"]} for row in strategies()]
    text = page(tmp_path, strategies=rows)
    assert "<script>" not in text
    assert "<b>bold" not in text


def test_the_front_keeps_what_nothing_cheaper_reaches() -> None:
    spots = [Spot("a", 1.0, 0.8, None), Spot("b", 2.0, 0.8, None), Spot("c", 2.0, 0.9, None), Spot("d", 9.0, 0.85, None)]
    assert [spot.name for spot in front(spots)] == ["a", "c"]
    assert [spot.name for spot in front(spots[::-1])] == ["a", "c"]


def test_the_matrix_shows_each_pair_twice_with_opposite_signs() -> None:
    gaps = {("a", "b"): Gap("a", "b", 0.031, True), ("a", "c"): Gap("a", "c", -0.002, False)}
    drawn = difference_map(gaps, ["a", "b", "c"], 350)
    texts = re.findall(r">([^<>]+)</text>", drawn)
    assert {"+3.1", f"{words.MINUS}3.1", f"{words.MINUS}0.2", "+0.2"} <= set(texts)
    assert drawn.count("cell empty") == 3 + 2  # the diagonal, and the pair that was not compared
    assert drawn.count("cell right") == drawn.count("cell wrong") == 2
    assert drawn.count("--d:0.90") == 2


@pytest.mark.parametrize("width", [350.0, 760.0])
def test_names_in_the_scatter_stay_apart_and_inside(width: float) -> None:
    """Eight strategies of nearly the same cost and accuracy, the worst case for their names."""
    spots = [Spot(f"strategy_{n}", 20.0 + n, 0.95 + 0.002 * n, (0.93, 0.98)) for n in range(8)]
    spots.append(Spot("probe", 1.0, 0.9, None))
    drawn = scatter(spots, width)
    names = re.findall(r'<text x="([\d.]+)" y="([\d.]+)"(?: text-anchor="(end)")? font-size="11.5">(\w+)</text>', drawn)
    assert {name for *_, name in names} == {spot.name for spot in spots}
    boxes = []
    for x, y, end, name in names:
        wide = 0.55 * 11.5 * len(name)
        left = float(x) - (wide if end else 0)
        assert left >= 40
        assert left + wide <= width
        boxes.append((left, left + wide, float(y) - 10, float(y)))
    overlaps = [
        (a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
    ]
    assert len(overlaps) <= (0 if width > 500 else 2)


def test_the_front_does_not_strike_through_a_name() -> None:
    drawn = scatter([Spot("early_probe", 0.4, 0.7, (0.6, 0.8)), Spot("full", 8.0, 0.72, (0.5, 0.95))], 700)
    ((dot, base),) = re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)".*?<text[^>]* y="([\d.]+)"[^>]*>early_probe<', drawn)
    assert not float(base) - 10 < float(dot) < float(base)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to look at the page with")
def test_in_chromium(tmp_path: Path) -> None:
    """Nothing scrolls sideways on a phone or a desktop, nothing is fetched, and everything can be read."""
    text = page(tmp_path)
    long = page(tmp_path, "long", strategies=[{**row, "label": "a_long_label_without_a_space_" * 3} for row in strategies()])
    pages = {"phone": (text, 390), "desktop": (text, 1100), "long": (long, 390)}
    seen = measured(pages, tmp_path)
    for name, (_, width) in pages.items():
        assert seen[name]["width"] <= width, name
        assert seen[name]["fetched"] == []
        assert min(seen[name]["soft"], seen[name]["kicker"]) > 4.5
