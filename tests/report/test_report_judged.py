"""What the ways were judged on and how each ended: a given split is no fold, the clock is no rival, a name can be typed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from headstart.report import page_of, words

Maker = Callable[..., Path]
S = words.NARROW


def plain(run: Path) -> str:
    """What the page says, without tags."""
    page = re.sub(r"<style>.*?</style>|<svg.*?</svg>", " ", page_of(run), flags=re.DOTALL)
    page = re.sub(r"</?code>", "", page)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)).replace(S, " "))


def change(run: Path, name: str, edit: Callable[[dict[str, Any]], Any]) -> None:
    found = json.loads((run / name).read_text("utf-8"))
    edit(found)
    (run / name).write_text(json.dumps(found), "utf-8")


def arm_of(summary: dict[str, Any], name: str) -> dict[str, Any]:
    return next(arm for arm in summary["arms"] if arm["name"] == name)


def give_validation(run: Path) -> None:
    """As a run whose data brought 150 validation images writes it: one part, judged once."""

    def counts(seen: dict[str, Any]) -> None:
        seen["counts"]["val"] = dict.fromkeys(seen["counts"]["train"], 15)

    def once(summary: dict[str, Any]) -> None:
        for arm in summary["arms"]:
            arm["folds_run"] = min(arm["folds_run"], 1)
            arm["status"] = "finished" if arm["folds_run"] else "skipped"
        late = "fold 1 no longer fitted into the 22 s kept for comparing, of which 20 s were used"
        arm_of(summary, "gradual")["reason"] = late

    change(run, "inspection.json", counts)
    change(run, "summary.json", once)


def test_a_given_validation_split_is_called_so_and_never_a_fold(run_maker: Maker) -> None:
    run = run_maker()
    give_validation(run)
    text = plain(run)
    assert "7 ways judged on the given validation split (150 images), from the same seed." in text
    assert "On the given validation split “" in text
    assert "Accuracy on the given validation split, with 95 % intervals, from the input" in text
    assert "picked among several by its accuracy on the given validation split, which flatters that figure" in text
    assert "fitted once more on all training and validation images" in text
    assert "Not tried: it no longer fitted into the 22 s kept for comparing" in text
    assert "for training, 150 for validation and 240 for the test." in text
    for part in ("verdict", "arms", "depth", "limits"):
        start = page_of(run).index(f'id="{part}"' if part != "verdict" else 'class="verdict')
        assert "fold" not in page_of(run)[start:].partition("</section>")[0].lower(), part


def test_one_fold_of_several_is_not_a_given_split(run_maker: Maker) -> None:
    run = run_maker()
    change(run, "summary.json", lambda s: [arm.update(folds_run=min(arm["folds_run"], 1)) for arm in s["arms"]])
    text = plain(run)
    assert "validation split" not in text
    assert "judged on the same held-out images" in text


def test_folds_are_counted(run_maker: Maker) -> None:
    text = plain(run_maker())
    assert "7 ways tried on the same 5 folds of the training data, from the same seed." in text
    assert "Cross-validated accuracy with 95 % intervals, from the input" in text
    assert "picked among several by its accuracy on the folds" in text


REASONS = {
    "partial-3": ("eliminated", "fold 3 no longer fitted into the 20 s kept for comparing, of which 19 s were used"),
    "svm": ("eliminated", "heads on frozen features had used half of the 20 s kept for comparing"),
    "full": ("eliminated", "in the lower half after fold 2"),
    "retrain": ("diverged", "the loss of stage joint is nan"),
}


def test_every_way_of_ending_has_its_own_words(run_maker: Maker) -> None:
    run = run_maker()

    def end(summary: dict[str, Any]) -> None:
        summary["chosen"] = "lpft"
        for name, (status, reason) in REASONS.items():
            arm_of(summary, name).update(status=status, reason=reason, folds_run=2, round=0 if name == "svm" else 2)

    change(run, "summary.json", end)
    text = plain(run)
    lead = "1 stopped early, to spend the time on the better ones. 2 ran out of time before the last fold. 1 diverged. "
    assert lead + "1 was not tried; the table says why." in text
    assert "Stopped early: in the lower half after fold 2." in text
    assert "Out of time: fold 3 no longer fitted" in text
    assert "Out of time: heads on frozen features had used half of the 20 s" in text
    assert "Diverged: the loss of stage joint is nan." in text
    assert "Not tried: no time left in the budget." in text
    assert "round" not in text.partition("The ways tried, side by side")[2].partition("Accuracy by depth")[0]
    notes = re.findall(r'class="note faint"[^>]*>([^<]*)<', page_of(run))
    assert set(notes) == {"out of time", "stopped early", "diverged"}
    assert "stopped or ran out of time were judged on fewer folds" in text


def test_what_a_real_race_says_of_the_clock_is_known_here() -> None:
    """The words that tell the clock from the rivals stand in the race: whoever changes them there is told here."""
    import inspect

    from headstart.report.judged import OUT_OF_TIME
    from headstart.studies import race

    source = inspect.getsource(race)
    assert all(source.count(sign) == 1 for sign in (*OUT_OF_TIME, "in the lower half"))


def test_what_the_plan_left_out_is_named(run_maker: Maker) -> None:
    run = run_maker()
    assert "did not fit" not in plain(run)
    with (run / "log.jsonl").open("a") as log:
        log.write(json.dumps({"event": "plan", "arms": ["probe"], "left_out": ["full_100", "retrain_top"]}) + "\n")
    assert "2 more were left out from the start, as the time would not do for them: full_100 and retrain_top." in plain(run)


def test_the_table_names_what_strategies_takes(run_maker: Maker) -> None:
    run = run_maker()
    rows = re.findall(r"<b>([^<]*)</b><span class=\"handle\"><code>([^<]*)</code>", page_of(run))
    arms = json.loads((run / "summary.json").read_text("utf-8"))["arms"]
    assert dict(rows) == {arm["label"]: arm["name"] for arm in arms}
    assert "The small name under each way is what --strategies takes." in plain(run)


def test_differences_and_rates_are_explained_where_they_stand(run_maker: Maker) -> None:
    run = run_maker()
    text = plain(run)
    assert "the p-value, unlike the interval, allows for the number of ways compared (Holm)" in text
    assert "LR is" not in text
    change(run, "summary.json", lambda s: s["arms"][0].update(description="every block at LR/10"))
    assert "LR is the learning rate of the head, LR/10 a tenth of it." in plain(run)
    assert "The dotted line marks the chosen way." in text
    assert "Hollow dots were not tried on every fold." in text


def test_balanced_accuracy_is_called_so(run_maker: Maker) -> None:
    run = run_maker()
    assert "balanced accuracy on held-out" not in page_of(run)
    change(run, "summary.json", lambda s: s.update(metric="balanced accuracy"))
    assert "balanced accuracy on held-out folds" in page_of(run)
    assert "They are compared by balanced accuracy, in which every class counts the same." in plain(run)
    assert ">Balanced accuracy</th>" in page_of(run)


def test_behind_and_ahead_are_words(run_maker: Maker) -> None:
    text = plain(run_maker("open"))
    assert "is 1.2 points behind “Probe, then fine-tune” (95 % interval from 2.7 behind to 0.3 ahead, p = 0.094" in text
    assert "against the highest mean −1.2 points" in text
    shut = plain(run_maker("shut", decided=True))
    assert "1.2 points ahead of “Top 3 blocks fine-tuned” (95 % interval from 0.3 to 2.1 ahead, p = 0.011" in shut
    assert "p = 0.011 after correction for 6 comparisons)" in shut
    assert "against the runner-up +1.2 points" in shut
    assert "the backbone has 272 k" in shut


def test_who_was_taken_for_having_run_every_fold_is_not_called_cheaper(run_maker: Maker) -> None:
    run = run_maker()

    def edit(summary: dict[str, Any]) -> None:
        late = {"status": "eliminated", "reason": "fold 3 no longer fitted into the 20 s", "folds_run": 2}
        arm_of(summary, "lpft").update(late)

    change(run, "summary.json", edit)
    text = plain(run)
    assert "It was taken as the one that was tried on every fold; a longer --budget lets the other finish." in text
    assert "cheaper to train was taken" not in text
    change(run, "summary.json", lambda s: arm_of(s, "lpft").update(status="diverged", reason="nan"))
    text = plain(run)
    assert "It was taken as the one that was tried on every fold." in text
    assert "--budget lets" not in text


def test_unrivalled_is_not_the_only_one_tried(run_maker: Maker) -> None:
    run = run_maker()
    change(run, "summary.json", lambda s: s.update(comparison=None, chosen="probe"))
    text = plain(run)
    assert "“Probe” was taken: it gets" in text
    assert "Not compared" in text
    assert "only way tried" not in text
    change(run, "summary.json", lambda s: s.update(arms=s["arms"][:1]))
    assert "It is what was advised; no other way was tried to verify that." in plain(run)


@pytest.mark.parametrize("comma", ["20,000", "1,234,567"])
def test_numbers_from_elsewhere_are_grouped_as_on_the_rest_of_the_page(run_maker: Maker, comma: str) -> None:
    run = run_maker()
    change(run, "summary.json", lambda s: s["advice"].update(reasons=[f"{comma} images, 1,2 and 94.3 % of 5 s"]))
    assert f"{comma.replace(',', S)} images, 1,2 and 94.3{S}% of 5{S}s." in page_of(run)


def test_measures_say_what_they_are(run_maker: Maker) -> None:
    run = run_maker()
    text = plain(run)
    assert "nearest neighbours 86.1 % of 960 images right by their 5 nearest, 84.0–88.0 %" in text
    assert "LogME −0.218 higher is better; compares networks on the same data only" in text
    change(run, "summary.json", lambda s: s["advice"]["measures"].update(knn=0.5))
    assert "nearest neighbours 50.0 %" in plain(run)


def test_class_names_are_quoted_among_numbers(run_maker: Maker) -> None:
    run = run_maker("run", ["8", "3", "5"], per=10)
    assert "The smallest, “5”, has" in plain(run)
    assert "the largest, “8”," in plain(run)


def test_small_pictures_are_said_to_be_what_the_network_sees(run_maker: Maker) -> None:
    said = "The pictures are shown as the network sees them, 32 pixels wide."
    assert said in plain(run_maker("small", side=32))
    assert said not in plain(run_maker("large", side=72))


def test_an_option_and_its_value_stay_together(run_maker: Maker) -> None:
    page = page_of(run_maker())
    assert "<span>--budget 1m</span> <span>--seed 0</span> <span>--out runs/shapes</span>" in page
    assert "<span>headstart</span> <span>adapt</span> <span>pictures/shapes</span>" in page
