"""Progress goes to stderr: a bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from headstart.cli import speak
from headstart.cli.progress import Display, Story, describe

EVENTS: list[dict[str, Any]] = [
    {"event": "phase", "name": "inspect", "text": "inspecting 1 797 images"},
    {"event": "tick", "done": 1, "total": 4, "what": "reading"},
    {"event": "epoch", "epoch": 0, "loss": 2.3},
    {"event": "tick", "done": 4, "total": 4, "what": "reading"},
    {"event": "note", "text": "grey images"},
    {"event": "tick", "done": 1, "total": 2, "what": "training", "arm": "full", "fold": 0},
    {"event": "warning", "text": "only one image of [red]cats\x1b[31m"},
    {"event": "plan", "arms": ["probe", "full"], "epochs": 3, "left_out": ["lpft"]},
    {"event": "phase", "name": "trial", "text": "Probe, fold 1 of 2", "arm": "probe", "fold": 0},
    {"event": "trial", "arm": "probe", "fold": 0, "accuracy": 0.9, "seconds": 0.1},
    {"event": "trial", "arm": "probe", "fold": 1, "accuracy": 0.8, "seconds": 0.1},
    {"event": "trial", "arm": "full", "fold": 0, "accuracy": 0.875, "seconds": 9.0},
    {"event": "round", "fold": 0, "onward": ["full"], "spent": 9.0},
    {"event": "resumed", "step": 3, "steps": 10},
    {"event": "trial", "arm": "full", "fold": 1, "accuracy": 0.625, "seconds": 9.0},
    {"event": "round", "fold": 1, "onward": [], "spent": 18.0},
    {"event": "round", "fold": 2, "onward": [], "spent": 18.0},
    {"event": "note", "text": ""},
    {"event": "stage", "name": "joint", "seconds": 3.0},
]
LINES = [
    "inspecting 1 797 images",
    "grey images",
    r"warning: only one image of [red]cats\x1b[31m",
    "  arms: probe, full; no time for lpft",
    "  after fold 1: probe 0.900, full 0.875; going on: full",
    "  going on at step 3 of 10",
    "  mean of folds 1 to 2: full 0.750",
]


def test_elsewhere_only_lines_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    with Display() as show:
        for event in EVENTS:
            show(event)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == LINES
    assert all(character.isprintable() or character == "\n" for character in said.err)


def tried(arm: str, *accuracies: float) -> list[dict[str, Any]]:
    return [{"event": "trial", "arm": arm, "fold": fold, "accuracy": a, "seconds": 1.0} for fold, a in enumerate(accuracies)]


def begun(folds: int) -> dict[str, Any]:
    return {"event": "phase", "name": "trial", "text": f"Linear probe, fold 1 of {folds}", "arm": "probe", "fold": 0}


def told(*events: dict[str, Any]) -> list[str]:
    story = Story()
    return [line for line in map(story.line_of, events) if line is not None]


def test_arms_of_one_line_are_compared_on_the_folds_that_all_of_them_ran() -> None:
    """Whatever order the trials come in, and even if one arm lacks a fold that another has."""
    late = [{**one, "fold": one["fold"] + 1} for one in tried("late", 0.5, 0.7)]
    lines = told(*tried("probe", 0.2, 0.4, 0.6), *late, {"event": "round", "fold": 2, "onward": ["late"]})
    assert lines == ["  mean of folds 2 to 3: late 0.600, probe 0.500; going on: late"]
    apart = {"event": "round", "fold": 1, "onward": []}
    assert told(*tried("a", 0.5), *late[:1], apart) == ["  a 0.500 on 1 fold, late 0.500 on 1 fold"]
    holes = [one for one in tried("c", 0.1, 0.2, 0.6) if one["fold"] != 1]
    assert told(*holes, apart) == ["  mean of folds 1 and 3: c 0.350"]


def test_nobody_goes_on_after_the_last_fold() -> None:
    start, last = {"event": "round", "fold": 0, "onward": ["a", "b"]}, {"event": "round", "fold": 1, "onward": ["a"]}
    first, second = tried("a", 0.5, 0.7), tried("b", 0.4, 0.2)
    lines = told(begun(2), first[0], second[0], start, first[1], second[1], last)
    assert lines == ["  after fold 1: a 0.500, b 0.400; going on: a, b", "  mean of folds 1 to 2: a 0.600, b 0.300"]


def test_a_validation_split_of_the_users_is_no_fold() -> None:
    lines = told(begun(1), *tried("probe", 0.75), {"event": "round", "fold": 0, "onward": ["probe"]})
    assert lines == ["  on the validation split: probe 0.750"]


def _terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    screen = io.StringIO()
    # With a size of its own, as a terminal has; rich would otherwise ask the one the tests run in.
    console = Console(file=screen, force_terminal=True, width=80, height=24, markup=False, highlight=False, emoji=False)
    monkeypatch.setattr(speak, "errors_console", lambda: console)
    return screen


def test_on_a_terminal_a_bar_and_the_same_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    screen = _terminal(monkeypatch)
    with Display(live=True) as show:
        for event in EVENTS:
            show(event)
            assert show._bars is not None
            show._bars.refresh()
    drawn = screen.getvalue()
    assert all(line.strip() in drawn for line in LINES)
    assert "reading" in drawn
    assert "full · fold 1 · training" in drawn
    assert "Probe, fold 1 of 2" in drawn
    assert "100%" in drawn
    assert " 50%" in drawn
    assert capsys.readouterr().out == ""


def test_one_bar_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    _terminal(monkeypatch)
    with Display(live=True) as show:
        for event in EVENTS:
            show(event)
        assert show._bars is not None
        assert [task.description for task in show._bars.tasks] == ["Probe, fold 1 of 2"]


def test_thousands_of_ticks_are_drawn_twenty_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    _terminal(monkeypatch)
    clock = iter(range(100_000))
    monkeypatch.setattr("headstart.cli.progress.time", SimpleNamespace(monotonic=lambda: next(clock) / 1000))
    with Display(live=True) as show:
        assert show._bars is not None
        updates: list[int] = []
        monkeypatch.setattr(show._bars, "update", lambda task, completed, total: updates.append(completed))
        for done in range(1, 2001):  # one per millisecond
            show({"event": "tick", "done": done, "total": 2000, "what": "training"})
    assert updates[0] == 1
    assert updates[-1] == 2000  # the end is never left out
    assert 39 <= len(updates) <= 42


def test_a_bar_may_start_again_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next arm or epoch counts from one: what is drawn must go back too."""
    _terminal(monkeypatch)
    with Display(live=True) as show:
        for done, total in ((1, 2), (2, 2), (5, 5), (1, 7)):
            show._drawn = 0.0
            show({"event": "tick", "done": done, "total": total, "what": "training"})
        assert show._bars is not None
        assert [(task.completed, task.total) for task in show._bars.tasks] == [(1, 7)]


def test_other_processes_draw_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RANK", "1")
    with Display(live=True) as show:
        for event in EVENTS:
            show(event)
        assert show._bars is None
    assert capsys.readouterr() == ("", "")


def test_the_terminal_is_left_as_it_was_when_a_run_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _terminal(monkeypatch)
    show = Display(live=True)

    def fail() -> None:
        with show:
            show(EVENTS[1])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert show._bars is None
    assert screen.getvalue().rstrip("\r\n").endswith(("\x1b[?25h", "\x1b[2K"))  # cursor back, line of the bar wiped


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"what": "training"}, "training"),
        ({"what": "training", "arm": "full", "fold": 0}, "full · fold 1 · training"),
        ({"what": "training", "arm": "full", "fold": "all"}, "full · all images · training"),
    ],
)
def test_what_a_bar_says(event: dict[str, Any], words: str) -> None:
    assert describe(event) == words


@pytest.mark.parametrize(
    "event", [{"event": "epoch", "text": "epoch 3"}, {"event": "phase", "name": "inspect"}, {"event": "solved"}]
)
def test_what_is_not_worth_a_line(event: dict[str, Any]) -> None:
    assert Story().line_of(event) is None


def test_adapt_hands_its_display_to_the_run(run: Any, fake_adapt: Any, tmp_path: Path) -> None:
    def body(config: Any, listeners: Any) -> Any:
        for event in EVENTS:
            listeners[0](event)
        return SimpleNamespace(summary={"chosen": "probe", "regret": float("nan")}, report=tmp_path / "report.html")

    fake_adapt(body)
    said = run("adapt", "photos", "--json")
    assert said.code == 0
    assert said.err.splitlines()[-len(LINES) :] == LINES
    import json

    assert json.loads(said.out, parse_constant=lambda word: pytest.fail(word)) == {"chosen": "probe", "regret": None}
