"""The page of a command that has no page of its own yet: its summary, machine and settings as tables."""

from __future__ import annotations

from typing import Any

from headstart.report import closing
from headstart.report.adapt import title
from headstart.report.folder import RunFolder
from headstart.report.tables import flatten

TEMPLATE = "generic.html"


def context(run: RunFolder) -> dict[str, Any]:
    """Everything the template shows."""
    shown = {key: value for key, value in run.summary.items() if key not in ("command", "reproduce", "version")}
    return {
        "title": title(run),
        "subtitle": "",
        "finished": run.finished,
        "facts": flatten(shown),
        "repeat": closing.repeat(run),
        "notes": run.remarks,
        "gaps": list(run.gaps),
    }
