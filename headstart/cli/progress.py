"""Live progress: a listener of the run's log that draws on stderr.

On a terminal one bar with the time left and, above it, a line per phase and finished arm; elsewhere only those lines,
without control characters, so that a log file stays readable.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from headstart.cli import speak

if TYPE_CHECKING:
    from rich.progress import Progress

SECONDS_BETWEEN_DRAWINGS = 0.05
"""Ticks come once per batch, sometimes thousands a second; the eye needs twenty."""


class Display:
    """`with Display() as show: adapt(config, listeners=(show,))`.

    live  whether to draw a bar; by default where stderr is a terminal
    """

    def __init__(self, live: bool | None = None) -> None:
        self._live = (sys.stderr.isatty() if live is None else live) and speak.is_first()
        self._bars: Progress | None = None
        self._task: Any = None
        self._what = ""
        self._drawn = 0.0
        self._story = Story()

    def __enter__(self) -> Display:
        if self._live:
            self._bars = _bars()
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def __call__(self, event: dict[str, Any]) -> None:
        """Take one event of the run's log; kinds that say nothing to a person watching are left alone."""
        if event["event"] == "tick":
            self._tick(describe(event), event["done"], event["total"])
            return
        if event["event"] == "phase":
            self._begin(str(event.get("text", "")))
        line = self._story.line_of(event)
        if line is not None:
            self._print(line, event["event"])

    def _begin(self, what: str) -> None:
        """Something new starts, of a length not known yet: a bar that only shows life, until the first tick."""
        if self._bars is None or what == self._what:
            return
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._what, self._task = what, self._bars.add_task(speak.clean(what), total=None)

    def _tick(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        soon = now - self._drawn < SECONDS_BETWEEN_DRAWINGS
        if self._bars is None or (soon and what == self._what and done < total):
            return
        self._drawn = now
        self._begin(what)
        self._bars.update(self._task, completed=done, total=total)

    def _print(self, line: str, kind: str) -> None:
        if self._bars is None:
            speak.note(line)
            return
        from rich.text import Text

        style = {"phase": "bold", "warning": "yellow"}.get(kind, "")
        self._bars.console.print(Text(speak.clean(line), style=style))


def describe(event: dict[str, Any]) -> str:
    """What a tick is about, e.g. `full · fold 2 · joint`; folds are counted from 1, the refit has `all`."""
    fold = event.get("fold")
    place = f"fold {fold + 1}" if isinstance(fold, int) else f"{fold} images" if fold else None
    return " · ".join(str(part) for part in (event.get("arm"), place, event.get("what")) if part)


@dataclass
class Story:
    """Turns events into the few lines that are worth a person's reading. Trials are told together, once per round."""

    _accuracies: dict[str, dict[int, float]] = field(default_factory=dict)
    _fresh: set[str] = field(default_factory=set)
    _folds: int = 0

    def line_of(self, event: dict[str, Any]) -> str | None:
        """The line an event is worth, or None."""
        match event["event"]:
            case "phase" if event.get("name") == "trial":
                self._folds = _folds_in(str(event.get("text", ""))) or self._folds
                return None  # the bar says it, and there are dozens
            case "phase" | "note" if event.get("text"):
                return str(event["text"])
            case "warning" if event.get("text"):
                return f"warning: {event['text']}"
            case "resumed":
                return f"  going on at step {event['step']} of {event['steps']}"
            case "plan":
                late = f"; no time for {', '.join(event['left_out'])}" if event.get("left_out") else ""
                return f"  arms: {', '.join(event['arms'])}{late}"
            case "trial":
                self._accuracies.setdefault(event["arm"], {})[event["fold"]] = float(event["accuracy"])
                self._fresh.add(event["arm"])
            case "round":
                return self._round(event)
        return None

    def _round(self, event: dict[str, Any]) -> str | None:
        """Means over the folds that every arm of the line ran; an arm may have run more of them before."""
        arms, self._fresh = {arm: self._accuracies[arm] for arm in self._fresh}, set()
        if not arms:
            return None
        shared = sorted(set.intersection(*(set(folds) for folds in arms.values())))[: event["fold"] + 1]
        means = {arm: _mean([folds[fold] for fold in shared or folds]) for arm, folds in arms.items()}
        order = sorted(means, key=lambda arm: (-means[arm], arm))
        if not shared:
            return "  " + ", ".join(f"{arm} {means[arm]:.3f} on {_counted(arms[arm])}" for arm in order)
        last = event["fold"] + 1 == self._folds
        onward = "" if last else ", ".join(event.get("onward", ()))
        told = ", ".join(f"{arm} {means[arm]:.3f}" for arm in order)
        return f"  {self._where(shared)}: {told}" + (f"; going on: {onward}" if onward else "")

    def _where(self, folds: Sequence[int]) -> str:
        first, last = folds[0] + 1, folds[-1] + 1
        if self._folds == 1:
            return "on the validation split"  # no cross-validation has a single fold
        if len(folds) == 1:
            return f"after fold {first}" if first == 1 else f"on fold {first}"
        whole = len(folds) == last - first + 1
        return f"mean of folds {first} to {last}" if whole else f"mean of folds {_listed(folds)}"


def _folds_in(text: str) -> int | None:
    """How many folds there are, from the text of a trial's beginning: `Linear probe, fold 1 of 5`."""
    found = re.search(r", fold \d+ of (\d+)$", text)
    return int(found[1]) if found else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _counted(folds: Collection[int]) -> str:
    return f"{len(folds)} fold{'' if len(folds) == 1 else 's'}"


def _listed(folds: Sequence[int]) -> str:
    names = [str(fold + 1) for fold in folds]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _bars() -> Progress:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        console=speak.errors_console(),
        transient=True,
        expand=True,
    )
