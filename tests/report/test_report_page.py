"""The page as a whole: what it says, what it escapes, what it does when parts are missing."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from headstart.errors import DiskFull, RunError
from headstart.report import page_of, render
from headstart.report.compare import arms
from headstart.report.folder import read_run
from headstart.report.found import _split_sizes, class_counts

Maker = Callable[..., Path]
VOID = {"meta", "link", "img", "br", "input", "hr"}
PARTS = ("config.json", "env.json", "summary.json", "inspection.json", "log.jsonl", "report_data/thumbnails.npz")


class Outline(HTMLParser):
    """Tags with their attributes, checked for balance; and the visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def plain(page: str) -> str:
    return re.sub(r"\s+", " ", Outline(page).text)


def change(folder: Path, name: str, edit: Callable[[dict[str, Any]], Any]) -> None:
    found = json.loads((folder / name).read_text("utf-8"))
    edit(found)
    (folder / name).write_text(json.dumps(found), "utf-8")


def test_writes_one_file_and_the_same_bytes_again(run_maker: Maker) -> None:
    run = run_maker()
    before = sorted(run.rglob("*"))
    path = render(run)
    first = path.read_bytes()
    assert path == run / "report.html"
    assert sorted(run.rglob("*")) == sorted([*before, path])
    assert render(run).read_bytes() == first
    assert page_of(run).encode() == first


def test_asks_nothing_of_the_network(run_maker: Maker) -> None:
    page = page_of(run_maker())
    for tag, attributes in Outline(page).tags:
        assert tag not in ("script", "iframe", "object", "embed", "form", "base")
        for key, value in attributes.items():
            assert not key.startswith("on")
            if key in ("src", "href", "srcset", "xlink:href", "action", "data", "poster"):
                assert (value or "").startswith(("data:", "#"))
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_is_accessible(run_maker: Maker) -> None:
    tags = Outline(page_of(run_maker())).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for t, a in tags if t == "a" and a["href"]} <= set(ids)
    assert all("alt" in a for t, a in tags if t == "img")
    assert all(a.get("aria-label") or a.get("aria-hidden") for t, a in tags if t == "svg")
    assert sum(t == "h1" for t, _ in tags) == 1
    assert sum(t == "table" for t, _ in tags) == sum(t == "caption" for t, _ in tags)
    assert dict(tags)["html"]["lang"] == "en"


def test_the_verdict_says_undecided_and_decided(run_maker: Maker) -> None:
    open_ = plain(page_of(run_maker("open")))
    assert "Not decided" in open_
    assert "Whether it is truly worse than “Probe, then fine-tune” is undecided." in open_
    assert (
        "only a difference of about 1.8 points or more would reliably have been seen. The one cheaper to train was taken."
        in open_
    )
    shut = plain(page_of(run_maker("shut", decided=True)))
    assert "“Probe, then fine-tune” is the best of the 7 ways tried: it gets" in shut
    assert "1.2 points ahead of “Top 3 blocks fine-tuned” (95 % interval from 0.3 to 2.1 ahead, p = 0.011" in shut
    assert "undecided" not in shut
    assert "Advised before anything was tried was “Probe”; following it blindly would have cost 3.1 points" in shut


def test_folds_are_spoken_of_only_where_there_were_some(run_maker: Maker) -> None:
    run = run_maker()
    assert "On shared folds of the training data “" in plain(page_of(run))
    change(run, "summary.json", lambda s: [arm.update(folds_run=min(arm["folds_run"], 1)) for arm in s["arms"]])
    page = plain(page_of(run))
    assert "On the same held-out images “" in page
    assert "shared folds" not in page


def test_what_the_clock_stopped_is_told_from_what_its_rivals_did(run_maker: Maker) -> None:
    run = run_maker()
    assert "2 stopped early, to spend the time on the better ones." in plain(page_of(run))

    def late(summary: dict[str, Any]) -> None:
        next(arm for arm in summary["arms"] if arm["name"] == "full")["reason"] = "fold 3 no longer fitted into the 20 s"

    change(run, "summary.json", late)
    text = plain(page_of(run))
    assert "1 stopped early, to spend the time on the better ones. 1 ran out of time before the last fold." in text


def test_a_comparison_with_the_chosen_arm_is_turned_round(run_maker: Maker) -> None:
    """A race that took the cheaper arm compares the best mean with it: the same facts must give the same page."""
    run = run_maker()
    before = page_of(run)
    turned = {"best": "lpft", "against": "lpft", "difference": -0.012, "interval": [-0.027, 0.003]}
    change(run, "summary.json", lambda s: s["comparison"].update(turned))
    assert page_of(run) == before
    change(run, "summary.json", lambda s: s["comparison"].pop("best"))
    assert page_of(run) == before


def test_no_verdict_without_a_choice(run_maker: Maker) -> None:
    run = run_maker()
    change(run, "summary.json", lambda s: s.pop("chosen"))
    assert "ended without choosing" in plain(page_of(run))


def test_one_way_only(run_maker: Maker) -> None:
    run = run_maker()
    only = {"chosen": "probe", "comparison": None, "regret": 0.0}
    change(run, "summary.json", lambda s: s.update(only, arms=s["arms"][:1]))
    text = plain(page_of(run))
    assert "“Probe” was the only way tried: it gets" in text
    assert "It is what was advised; no other way was tried to verify that." in text
    assert "is the best of" not in text


def test_accuracy_looked_at_now_and_then_keeps_its_place_on_the_axis(run_maker: Maker) -> None:
    """The engine looks at held-out images every few epochs of one fold; the loss is there for each."""
    run = run_maker()
    places = [(fold, epoch) for fold in (0, 1) for epoch in range(1, 9)]
    lines = [{"event": "epoch", "arm": "full", "fold": f, "stage": "joint", "epoch": e, "loss": 1 / e} for f, e in places]
    for line in lines:
        if line["fold"] == 0 and line["epoch"] in (4, 8):
            line["valid_accuracy"] = 0.5 + 0.05 * int(str(line["epoch"]))
    (run / "log.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    page = page_of(run)
    bold = re.search(r'<path d="([^"]*)" class="line bold"', page)
    loss = re.search(r'<path d="([^"]*)" class="line loss"', page)
    assert bold
    assert loss
    xs, all_xs = ([float(p.split()[0]) for p in found[1][1:].split("L")] for found in (bold, loss))
    assert xs == [all_xs[3], all_xs[7]]
    assert "held-out images, mean of the folds" not in plain(page)  # one fold was looked at


def test_remarks_are_shown_once_and_warnings_first(run_maker: Maker) -> None:
    run = run_maker()
    with (run / "log.jsonl").open("a") as log:
        log.write(
            json.dumps({"event": "note", "text": "twice"}) + "\n" + json.dumps({"event": "note", "text": "twice"}) + "\n"
        )
        log.write(json.dumps({"event": "warning", "text": "the newest checkpoint is damaged"}) + "\n")
    text = plain(page_of(run))
    assert text.count("twice") == 1
    assert text.index("Warning: the newest checkpoint is damaged") < text.index("twice")


def test_names_from_outside_are_escaped_everywhere(run_maker: Maker) -> None:
    evil = ['<script>alert("1")</script>', "</style><img src=x onerror=alert(1)>", "q\"uote' & {{ 7 * 7 }}"]
    run = run_maker("run", evil)

    def poison(summary: dict[str, Any]) -> None:
        summary["data"]["set_aside"] = [{"path": '"><script>x</script>', "reason": "</td><script>"}]
        summary["arms"][0] |= {"label": evil[0], "description": evil[1], "reason": evil[0]}
        summary["advice"]["reasons"] = summary["depth"][0]["block"] = evil[1]
        summary["advice"]["reasons"] = [evil[1]]
        summary["reproduce"] = "headstart adapt '</code></pre><script>'"

    change(run, "summary.json", poison)
    change(run, "config.json", lambda c: c.update(data="</pre><script>"))
    with (run / "log.jsonl").open("a") as log:
        log.write(json.dumps({"event": "note", "text": evil[0]}) + "\n")
        log.write(
            json.dumps({"event": "epoch", "arm": evil[0], "fold": 0, "stage": evil[1], "epoch": 0, "accuracy": 0.5}) + "\n"
        )
    page = page_of(run)
    outline = Outline(page)
    assert "<script" not in page
    assert not any(key.startswith("on") for _, attributes in outline.tags for key in attributes)
    assert all((a.get("src") or "").startswith("data:image/") for t, a in outline.tags if t == "img")
    for name in evil:
        assert name in outline.text  # shown as it is, template braces too


@pytest.mark.parametrize("gone", PARTS)
def test_a_missing_part_is_named_and_the_rest_is_shown(run_maker: Maker, gone: str) -> None:
    run = run_maker()
    (run / gone).unlink()
    text = plain(page_of(run))
    assert f"{gone} is missing" in text
    assert ("This run has not finished" in text) == (gone == "summary.json")
    if gone != "log.jsonl":
        assert "Accuracy on held-out images by epoch" in text


@pytest.mark.parametrize("broken", PARTS)
def test_a_damaged_part_is_named_and_the_rest_is_shown(run_maker: Maker, broken: str) -> None:
    run = run_maker()
    (run / broken).write_bytes(b'{"cut off')
    text = plain(page_of(run))
    assert "cannot be read" in text
    assert "What these numbers cannot say" in text


@pytest.mark.parametrize(
    "key",
    ["data", "backbone", "quadrant", "advice", "arms", "comparison", "depth", "test", "classes", "cost", "chosen", "regret"],
)
def test_every_key_of_the_summary_may_be_absent_or_empty(run_maker: Maker, key: str) -> None:
    run = run_maker()
    whole = json.loads((run / "summary.json").read_text("utf-8"))
    for value in (None, {}, []):
        change(run, "summary.json", lambda s, v=value: s.update({key: v}))
        Outline(page_of(run))
    (run / "summary.json").write_text(json.dumps({k: v for k, v in whole.items() if k != key}), "utf-8")
    Outline(page_of(run))


def test_not_a_number_is_a_dash(run_maker: Maker) -> None:
    run = run_maker()

    def spoil(summary: dict[str, Any]) -> None:
        summary["test"]["per_class"][0] |= {"precision": float("nan"), "recall": None, "f1": float("nan"), "support": 0}
        summary["test"]["calibration_error"] = float("nan")
        summary["depth"][0]["accuracy"] = float("nan")
        summary["arms"][0]["seconds"] = None

    change(run, "summary.json", spoil)
    assert "nan" not in plain(page_of(run)).lower().split()


def test_only_a_killed_runs_log_is_enough(tmp_path: Path, run_maker: Maker) -> None:
    whole = (run_maker() / "log.jsonl").read_text("utf-8")
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / "config.json").write_text('{"command": "adapt", "data": "x/pets"}')
    (killed / "log.jsonl").write_text(whole[: len(whole) // 2], "utf-8")
    text = plain(page_of(killed))
    assert "Not finished" in text
    assert "1 of" in text
    assert "lines of log.jsonl cannot be read" in text
    assert "Top 3 blocks" not in text  # labels were not written yet, names serve
    assert "partial-3" in text


def test_repeated_epochs_after_a_resume_count_once(run_maker: Maker) -> None:
    run = run_maker()
    once = page_of(run)
    lines = (run / "log.jsonl").read_text("utf-8").splitlines()
    at = next(i for i, line in enumerate(lines) if '"epoch": 4' in line)
    (run / "log.jsonl").write_text("\n".join([*lines[: at + 1], *lines[at:]]) + "\n", "utf-8")
    assert page_of(run) == once


def test_many_classes_are_listed_instead_of_drawn(run_maker: Maker) -> None:
    run = run_maker("run", [f"kind {i}" for i in range(45)], per=6, side=24)
    page = page_of(run)
    text = plain(page)
    assert 'class="chart matrix"' not in page
    assert "Most frequent mistakes" in text
    assert "The other 5 classes" in text
    assert "Fewer than 10 test images each" in text


def test_counts_by_split_by_class_or_plain() -> None:
    wanted = {"cat": {"train": 3, "test": 1}, "test": {"train": 2, "test": 2}}
    names = ["cat", "test"]
    assert class_counts({"train": {"cat": 3, "test": 2}, "test": {"cat": 1, "test": 2}}, names) == wanted
    assert class_counts({"cat": {"train": 3, "test": 1}}, ["cat"]) == {"cat": wanted["cat"]}
    assert class_counts({"cat": 4}, []) == {"cat": {"all": 4}}
    assert class_counts(None, ["cat"]) == {}


def test_other_commands_get_a_plain_page(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"command": "shrink", "before": {"bytes_model": 2000}, "accuracy": 0.91}')
    text = plain(page_of(tmp_path))
    assert "headstart shrink" in text
    assert "before, saved model" in text
    assert "91.0 %" in text


def test_what_is_no_run_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        render(tmp_path)
    with pytest.raises(RunError, match="no such run folder"):
        render(tmp_path / "nowhere")


def test_a_full_disk_leaves_the_old_page(run_maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_maker()
    old = render(run).read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="no space left"):
        render(run)
    assert (run / "report.html").read_bytes() == old
    assert not list(run.glob(".report-*"))


def test_imports_no_torch() -> None:
    code = "import sys, headstart.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_best_stands_first_though_the_clock_stopped_it(run_maker) -> None:  # type: ignore[no-untyped-def]
    run = run_maker()
    path = run / "summary.json"
    summary = json.loads(path.read_text("utf-8"))
    last = next(arm for arm in summary["arms"] if arm["name"] != summary["chosen"] and arm["accuracy_mean"] is not None)
    last |= {"status": "eliminated", "reason": "fold 3 no longer fitted into the 30 s", "folds_run": 2}
    summary |= {"best": last["name"], "chosen": last["name"], "decided": True}
    path.write_text(json.dumps(summary), "utf-8")
    rows = arms(read_run(run)).rows
    assert rows[0].name == last["name"]
    assert rows[0].difference == "ahead on its folds"
    assert all(row.difference not in ("highest mean", "ahead on its folds") for row in rows[1:])


@pytest.mark.parametrize(
    ("splits", "counts", "sizes"),
    [
        ({"train": 300, "test": 50}, {"train": 125, "val": 50}, {"train": 200, "val": 100, "test": 50}),
        ({"train": 300, "test": 80}, {"train": 100, "val": 50, "test": 40}, {"train": 200, "val": 100, "test": 80}),
        ({"train": 200, "test": 50}, {"train": 125}, {"train": 200, "test": 50}),
        (None, {"train": 125, "val": 50}, {"train": 250, "val": 100, "test": 0}),
    ],
)
def test_sizes_of_splits_are_those_of_the_run(splits: Any, counts: dict[str, int], sizes: dict[str, int]) -> None:
    """Test images may have been set aside from what was given as training; a val split is learned from in the end."""
    assert _split_sizes({"splits": splits}, {"cat": counts, "dog": counts}) == sizes


def test_the_best_has_the_highest_mean_of_those_on_all_folds(run_maker) -> None:  # type: ignore[no-untyped-def]
    run = run_maker()
    first = arms(read_run(run)).rows[0]
    assert first.difference == "highest mean"
    path = run / "summary.json"
    summary = json.loads(path.read_text("utf-8"))
    last = next(arm for arm in summary["arms"] if arm["name"] != first.name and arm["accuracy_mean"] is not None)
    last |= {"status": "eliminated", "reason": "fold 3 no longer fitted into the 30 s", "folds_run": 2, "accuracy_mean": 1.0}
    path.write_text(json.dumps(summary), "utf-8")
    assert arms(read_run(run)).rows[0].difference == "highest mean on all folds"
