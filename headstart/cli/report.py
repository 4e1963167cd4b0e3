"""`headstart report RUN`: draw the report of a run again; nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headstart.cli import speak
from headstart.cli.command import Command


@dataclass(frozen=True)
class ReportConfig:
    """Which run to report on."""

    run: Path
    """run folder, finished or interrupted"""
    json: bool = False
    """print the report's path as JSON"""


def run(config: ReportConfig) -> int:
    """Carry out `headstart report`."""
    from headstart.report import render

    page = render(config.run)
    if config.json:
        speak.say_json({"report": page})
    else:
        speak.say_path("report", page)
    return 0


COMMAND = Command(
    name="report",
    summary="Draw the report of a run again from what the run wrote; nothing is trained.",
    config=ReportConfig,
    run=run,
    examples=("headstart report runs/demo", "headstart report runs/photos --json"),
)
