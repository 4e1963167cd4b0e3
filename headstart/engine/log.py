"""What happens in a run, told to a file (`log.jsonl`) and to whoever listens (a progress display)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from headstart.engine import distributed

Listener = Callable[[dict[str, Any]], None]


class RunLog:
    """Events as JSON lines. Only the first process writes; `context` fields are added to every event.

    Events called `tick` go to listeners only: they are many, and say nothing a reader of the log would miss.
    """

    def __init__(self, path: Path | None = None, listeners: tuple[Listener, ...] = (), **context: Any) -> None:
        self.path = path
        self.listeners = listeners
        self.context = context

    def within(self, **context: Any) -> RunLog:
        """The same log with more context."""
        return RunLog(self.path, self.listeners, **{**self.context, **context})

    def event(self, kind: str, **fields: Any) -> None:
        """Record one event."""
        if not distributed.is_first():
            return
        line = {"event": kind, **self.context, **fields}
        for listener in self.listeners:
            listener(line)
        if self.path is not None and kind != "tick":
            _append(self.path, json.dumps(line, ensure_ascii=False, default=float).encode())

    def tick(self, done: int, total: int, what: str) -> None:
        """Progress within something."""
        if self.listeners and distributed.is_first():
            self.event("tick", done=done, total=total, what=what)

    def size(self) -> int:
        """Bytes written so far: where a resumed run continues."""
        return self.path.stat().st_size if self.path is not None and self.path.exists() else 0

    def rewind(self, size: int) -> None:
        """Forget what was written after `size` bytes, because it will be done again."""
        if distributed.is_first() and self.path is not None and self.size() > size:
            with self.path.open("r+b") as file:
                file.truncate(size)


def _append(path: Path, line: bytes) -> None:
    """Write a line at the end of the file; on a new one where a kill cut the last one short, which would swallow it."""
    with path.open("ab+") as file:
        cut = False
        if size := file.seek(0, os.SEEK_END):
            file.seek(size - 1)
            cut = file.read(1) != b"\n"
        file.write(b"\n" * cut + line + b"\n")


def read_lines(path: Path | None) -> Iterator[dict[str, Any]]:
    """The events of a log file, without a line that a kill cut short; none where there is no file."""
    if path is None or not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:  # a letter may be cut short too
        for text in file:
            try:
                found = json.loads(text)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found


SILENT = RunLog()
