"""Live progress: a listener of the run's log that draws on stderr.

On a terminal one bar with the time left and, above it, a line per phase and finished arm; elsewhere only those lines,
without control characters, so that a log file stays readable.
"""

from __future__ import annotations

import sys
import time
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
            self._tick(event)
            return
        line = line_of(event)
        if line is not None:
            self._print(line, event["event"])

    def _tick(self, event: dict[str, Any]) -> None:
        if self._bars is None:
            return
        what, done, total = describe(event), event["done"], event["total"]
        now = time.monotonic()
        if what == self._what and done < total and now - self._drawn < SECONDS_BETWEEN_DRAWINGS:
            return
        self._drawn = now
        if what != self._what:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._what, self._task = what, self._bars.add_task(what, total=total)
        self._bars.update(self._task, completed=done, total=total)

    def _print(self, line: str, kind: str) -> None:
        if self._bars is None:
            speak.note(line)
            return
        from rich.text import Text

        style = {"phase": "bold", "warning": "yellow"}.get(kind, "")
        self._bars.console.print(Text(speak.clean(line), style=style))


def describe(event: dict[str, Any]) -> str:
    """What a tick is about, e.g. `full fine-tune · fold 2 · training`."""
    fold = [f"fold {event['fold']}"] if event.get("fold") is not None else []
    parts = [event.get("arm"), *fold, event.get("what")]
    return " · ".join(str(part) for part in parts if part)


def line_of(event: dict[str, Any]) -> str | None:
    """The line an event is worth, or None."""
    text = event.get("text")
    if not text:
        return None
    match event["event"]:
        case "phase" | "note":
            return str(text)
        case "arm":
            return f"  {event['name']}: {text}" if event.get("name") else f"  {text}"
        case "warning":
            return f"warning: {text}"
    return None


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
