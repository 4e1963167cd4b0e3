"""`headstart advise DATA`: how to adapt a network to your images and what to expect, before anything is trained."""

from __future__ import annotations

from headstart.catalog.advise import AdviseConfig
from headstart.cli import speak
from headstart.cli.command import Command
from headstart.cli.progress import Display


def run(config: AdviseConfig) -> int:
    """Carry out `headstart advise`; the network and everything that needs torch is loaded here."""
    with Display() as show:
        show({"event": "phase", "text": "starting"})
        from headstart.api import run_advise
        from headstart.engine import distributed

        try:
            result = run_advise(config, listeners=(show,))
        finally:
            distributed.stop()
    if config.json:
        speak.say_json(result.summary)
    else:
        speak.say(str(result))
        speak.say_path("report", result.report)
    return 0


COMMAND = Command(
    name="advise",
    summary="Say how to adapt a network to your images and what to expect, before anything is trained.",
    config=AdviseConfig,
    run=run,
    examples=(
        "headstart advise photos --backbone timm:resnet18",
        "headstart advise cells.csv --backbone runs/earlier/model --out runs/cells-advice",
    ),
)
