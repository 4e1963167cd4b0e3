"""What all commands that run a job have in common: progress while it runs, then its words or its JSON, and its page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headstart.cli import speak
from headstart.cli.progress import Display

if TYPE_CHECKING:
    from headstart.studies.result import JobResult


def carry_out(config: Any, job: Callable[[], Callable[..., JobResult]]) -> int:
    """Run a job, print what it found, and return the exit code.

    job  imports the function that does it; called when the user has been told that something is going on, since loading
         torch takes seconds
    """
    with Display() as show:
        show({"event": "phase", "text": "starting"})
        run = job()
        from headstart.engine import distributed

        try:
            result = run(config, listeners=(show,))
        finally:
            distributed.stop()
    if config.json:
        speak.say_json(result.summary)
    else:
        speak.say(str(result))
        speak.say_path("report", result.report)
    return 0
