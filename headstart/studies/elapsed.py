"""How long the work of a run took, over all processes that did a part of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headstart.engine import distributed
from headstart.files import write_json

_OFTEN = 1.0
"""Seconds between two writings while work goes on: what a kill may leave uncounted."""


class Elapsed:
    """Seconds by what they were spent on, kept in a file so that a run which was stopped goes on counting.

    Several things may go on at once. Counts in this process alone until `keep_in` names the file.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._path: Path | None = None
        self._since: dict[str, float] = {}
        self._kept = 0.0

    def keep_in(self, path: Path) -> None:
        """Add what `path` holds of earlier processes (nothing where it is not there, or damaged), and write to it."""
        for what, spent in distributed.first(lambda: _read(path)).items():
            self.seconds[what] = self.seconds.get(what, 0.0) + spent
        self._path = path
        self.keep()

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Count what is done inside, however it ends."""
        self._since[what] = time.monotonic()
        try:
            yield
        finally:
            self.keep()
            del self._since[what]

    def keep(self) -> None:
        """Write what was spent so far."""
        self._kept = now = time.monotonic()
        for what, since in self._since.items():
            self.seconds[what] = self.seconds.get(what, 0.0) + now - since
            self._since[what] = now
        if self._path is not None and distributed.is_first():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, self.seconds)

    def heard(self, line: dict[str, Any]) -> None:
        """As a listener of a log: write now and then, so that a kill loses a second and not hours."""
        if time.monotonic() - self._kept > _OFTEN:
            self.keep()


def _read(path: Path) -> dict[str, float]:
    try:
        return {str(what): float(spent) for what, spent in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
