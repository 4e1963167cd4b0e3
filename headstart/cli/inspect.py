"""`headstart inspect DATA`: what is in the images before anything is trained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from headstart.catalog.adapt import ReadingConfig
from headstart.cli import speak
from headstart.cli.command import Command
from headstart.cli.progress import Display


@dataclass(frozen=True)
class InspectConfig:
    """Which images to look at."""

    data: str
    """image folder with one sub-folder per class (train/ val/ test/ respected), a CSV manifest, or an .npz file"""
    images: ReadingConfig = field(default_factory=ReadingConfig)
    json: bool = False
    """print what was found as JSON"""


def run(config: InspectConfig) -> int:
    """Carry out `headstart inspect`."""
    from headstart.data.prepare import inspect_data

    with Display() as show:
        found = inspect_data(
            config.data,
            **dataclasses.asdict(config.images),
            progress=lambda done, total: show({"event": "tick", "what": "reading images", "done": done, "total": total}),
        )
    if config.json:
        speak.say_json(found.to_json())
    else:
        speak.say(str(found))
    return 0


COMMAND = Command(
    name="inspect",
    summary="Look at images before training: classes, sizes, unreadable files, copies, leaks between splits.",
    config=InspectConfig,
    run=run,
    examples=("headstart inspect photos", "headstart inspect cells.csv --group-column patient --json"),
)
