"""The page of `headstart bench`: the quickest against the first, at what cost in accuracy, whole with any part missing."""

from __future__ import annotations

import math
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from made_bench import make_bench, models, summary
from test_report_browser import CHROMIUM, measured

from headstart.report import page_of, words
from headstart.report.bench import models_of
from headstart.report.bench_charts import Pace, Wait, paces, waits

SECTIONS = ("picture", "latency", "throughput", "sizes", "machine", "repeat", "limits")


def page(tmp_path: Path, name: str = "run", **changed: Any) -> str:
    return page_of(make_bench(tmp_path / name, **changed))


def plain(text: str) -> str:
    text = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<wbr>", "", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", text)).replace(words.NARROW, " "))


def test_the_page_holds_everything(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert [name for name in SECTIONS if f'id="{name}"' not in text] == []
    said = plain(text)
    assert "Example Processor 3000 · 2 threads · accuracy on 10 000 images of pictures/shapes" in said
    assert "“student-int8” answers one image in 0.41 ms, 30 times as quick as “teacher” (12.1 ms)." in said
    gap = f"{words.MINUS}3.4 points (95 % interval {words.MINUS}3.8 to {words.MINUS}3.0) on the same images."
    assert f"It is right on 90.9 % of the images, “teacher” on 94.3 %: {gap}" in said
    assert "says the same class as the first model on 92.4 % of the images" in said
    assert "Not outdone by a quicker one: “student-int8”, “student, ONNX” and “teacher”." in said
    row = "student-int8 ONNX, int8 0.41 ms 95 of 100 in 0.533 ms 3 420 in batches of 16 90.9 % 90.3–91.5 %"
    assert f"{row} {words.MINUS}3.4 points {words.MINUS}3.8 to {words.MINUS}3.0 92.4 %" in said
    assert "teacher PyTorch runs/resnet56/model 853 k 3.44 MB 251 MFLOP" in said
    assert "headstart bench runs/resnet56/model" in said
    assert "onnxruntime 1.30.0" in said
    assert "a note of the run" in said
    assert "Missing from this folder" not in said
    assert text == page(tmp_path, "again")


def test_the_first_model_may_be_the_quickest(tmp_path: Path) -> None:
    turned = [{**row, "difference": None if place == 0 else row["difference"]} for place, row in enumerate(models()[::-1])]
    unsure = {"estimate": 0.005, "low": -0.002, "high": 0.012, "p_value": 0.2, "decided": False, "detectable": 0.01}
    turned[1]["difference"] = unsure
    text = page(tmp_path, models=turned)
    said = plain(text)
    assert "“student-int8” answers one image in 0.41 ms, 2.3 times as quick as “student, ONNX” (0.93 ms)." in said
    gap = f"{words.MINUS}0.5 points (95 % interval {words.MINUS}1.2 to 0.2) on the same images"
    assert f"“student, ONNX” on 91.4 %: {gap}, so which is right more often is undecided." in said
    assert f"+0.5 points {words.MINUS}0.2 to 1.2, not decided" in said


def test_without_a_paired_difference_none_is_claimed(tmp_path: Path) -> None:
    said = plain(page(tmp_path, models=[{**row, "difference": None} for row in models()]))
    assert "It is right on 90.9 % of the images, “teacher” on 94.3 %." in said


def test_a_warning_is_told_once(tmp_path: Path) -> None:
    run = make_bench(tmp_path / "run", warnings=["3 images are left out"])
    with (run / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"event": "warning", "text": "3 images are left out"}\n')
    assert plain(page_of(run)).count("3 images are left out") == 1


def test_one_model_alone(tmp_path: Path) -> None:
    text = page(tmp_path, models=models()[:1])
    said = plain(text)
    assert "“teacher” answers one image in 12.1 ms, and up to 310 images a second in batches." in said
    assert "Not shown: accuracy against time" in said
    assert "took turns" not in said


def test_without_labels_nothing_is_said_of_accuracy(tmp_path: Path) -> None:
    bare = [{**row, "accuracy": None, "interval": None, "agreement": None} for row in models()]
    said = plain(page(tmp_path, models=bare, images=None))
    assert "Accuracy was not measured for both" in said
    assert "Not shown: accuracy against time" in said
    assert "Accuracies come from" not in said


def test_models_of_one_name_are_told_apart() -> None:
    row = models()[1]
    names = [name for name, _ in models_of({"models": [row, {**row, "kind": "onnx"}, models()[0], row]})]
    assert len(set(names)) == 4
    assert names[1:3] == ["student, ONNX", "teacher"]


def test_bars_begin_at_zero_and_are_as_long_as_the_median() -> None:
    drawn = waits([Wait("a", 0.002, 0.003), Wait("b", 0.001, None, first=True)], 760.0)
    bars = [float(width) for width in re.findall(r'<rect x="[\d.]+" y="[\d.]+" width="([\d.]+)"', drawn)]
    assert bars[0] == pytest.approx(2 * bars[1], abs=0.2)
    late = re.findall(r'<line x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)" y2="[\d.]+" class="late plain"', drawn)
    start = float(re.findall(r'<rect x="([\d.]+)"', drawn)[0])
    assert float(late[0][1]) - start == pytest.approx(1.5 * bars[0], abs=0.3)


def test_both_axes_of_the_paces_are_logarithmic() -> None:
    drawn = paces([Pace("a", "tuned", "circle", [(1.0, 10.0), (4.0, 100.0), (16.0, 1000.0)])], 760.0)
    spots = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    assert spots[1][0] - spots[0][0] == pytest.approx(spots[2][0] - spots[1][0], abs=0.2)
    assert spots[0][1] - spots[1][1] == pytest.approx(spots[1][1] - spots[2][1], abs=0.2)


def test_short_times_have_a_unit_that_suits_them() -> None:
    told = [words.short(s).replace(words.NARROW, " ") for s in (None, 0.0, 3e-6, 0.00041, 0.0121, 0.999, 1.0, 72.0)]
    assert told == [words.UNKNOWN, "0 ms", "3 µs", "0.41 ms", "12.1 ms", "999 ms", "1.0 s", "1 min 12 s"]


@pytest.mark.parametrize("key", sorted(summary().keys() - {"command"}))
def test_every_key_may_be_absent_or_empty(tmp_path: Path, key: str) -> None:
    for place, value in enumerate((None, [], {}, "x", 3)):
        text = page(tmp_path, f"run{place}", **{key: value})
        drawn = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
        assert not re.search(r"\bnan\b", drawn, flags=re.IGNORECASE)
        assert "None" not in plain(text)


@pytest.mark.parametrize("name", sorted(models()[0]))
def test_fields_of_a_model_may_be_absent_or_empty(tmp_path: Path, name: str) -> None:
    for place, value in enumerate((None, [], {}, "x", 0, -1.0, math.inf)):
        rows = [{**row, name: value} for row in models()]
        assert "None" not in plain(page(tmp_path, f"run{place}", models=rows))


@pytest.mark.parametrize("part", ["latency", "throughput"])
def test_fields_of_a_measurement_may_be_absent_or_empty(tmp_path: Path, part: str) -> None:
    for name in models()[0][part]:
        for place, value in enumerate((None, [], "x", 0, -1.0, [{"batch": 0, "images_per_second": -3}])):
            rows = [{**row, part: {**row[part], name: value}} for row in models()]
            assert "None" not in plain(page(tmp_path, f"run{name}{place}", models=rows))


def test_only_the_settings_are_there(tmp_path: Path) -> None:
    run = make_bench(tmp_path / "run")
    for name in ("summary.json", "env.json", "log.jsonl"):
        (run / name).unlink()
    text = plain(page_of(run))
    assert "Not finished This run ended before any model was timed." in text
    assert "Missing from this folder" in text


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    rows = [{**row, "name": bad + str(n), "path": bad, "kind": bad} for n, row in enumerate(models())]
    text = page(tmp_path, models=rows, warnings=[bad], machine={"cpu": bad})
    assert "<script" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to look at the page with")
def test_in_chromium(tmp_path: Path) -> None:
    """Nothing scrolls sideways on a phone or a desktop, nothing is fetched, and everything can be read."""
    long = [
        {**row, "name": "a_model_with_a_long_name_without_any_space_in_it" * 2 + str(n)} for n, row in enumerate(models())
    ]
    text, wide = page(tmp_path), page(tmp_path, "long", models=long)
    pages = {"phone": (text, 390), "desktop": (text, 1100), "long": (wide, 390), "long_desktop": (wide, 1100)}
    seen = measured(pages, tmp_path)
    for name, (_, width) in pages.items():
        assert seen[name]["width"] <= width, name
        assert [address for address in seen[name]["fetched"] if not address.startswith("data:")] == []
        assert min(seen[name]["soft"], seen[name]["kicker"]) > 4.5


def test_models_for_several_questions_are_told_question_by_question(tmp_path: Path) -> None:
    def tasks(lights: float, alike: float | None) -> list[dict[str, Any]]:
        known = {"measure": "accuracy", "value": lights, "interval": [lights - 0.02, lights + 0.02], "agreement": alike}
        error = {"measure": "mean_absolute_error", "value": 2.5, "interval": [2.25, 2.75], "agreement": None}
        unknown = {"measure": None, "value": None, "interval": None, "agreement": alike}
        rows = {"lights": ("classes", known), "speed": ("number", error), "signs": ("several", unknown)}
        return [{"task": name, "kind": kind, **one} for name, (kind, one) in rows.items()]

    measures = {"accuracy": {"words": "accuracy", "higher": True}}
    measures["mean_absolute_error"] = {"words": "mean absolute error", "higher": False}
    given = [{**models()[0], "tasks": tasks(0.94, None)}, {**models()[3], "tasks": tasks(0.93, 0.985)}]
    text = page(tmp_path, models=given, measures=measures)
    section = re.search(r'<section id="questions".*?</section>', text, flags=re.DOTALL)
    assert section
    said = plain(section[0])
    assert "lights accuracy more is better speed mean absolute error less is better signs no label known" in said
    assert "teacher PyTorch 94.0 % 92.0–96.0 % 2.5 2.25 to 2.75" in said
    assert "student-int8 ONNX, int8 93.0 % 91.0–95.0 % as the first on 98.5 % 2.5 2.25 to 2.75" in said
    assert 'id="questions"' not in page(tmp_path, "one")
