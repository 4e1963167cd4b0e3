"""What every job hands back: the run folder, the content of its summary, and the page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class JobResult(ABC):
    """What a job found. Prints as text for a terminal.

    folder   the run folder
    summary  the content of summary.json
    """

    folder: Path
    summary: dict[str, Any] = field(repr=False)

    @property
    def report(self) -> Path:
        """Path of the page (written by the calls of `headstart` and by the command line)."""
        return self.folder / "report.html"

    @abstractmethod
    def __str__(self) -> str: ...
