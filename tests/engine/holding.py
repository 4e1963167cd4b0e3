"""A process that holds a run's folder, for tests that want it too."""

from __future__ import annotations

from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from headstart.engine.run_folder import open_run


def hold(path: Path, config: dict[str, Any], ready: Event, done: Event) -> None:
    """Begin a run and keep it open until told, or killed."""
    with open_run(path, config) as run:
        run.begin()
        ready.set()
        done.wait(60)
