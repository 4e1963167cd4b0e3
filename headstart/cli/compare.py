"""`headstart compare DATA --strategies ...`: ways to adapt a network side by side, measured alike on your images."""

from __future__ import annotations

from headstart.catalog.compare import CompareConfig
from headstart.cli import speak
from headstart.cli.command import Command
from headstart.cli.progress import Display


def run(config: CompareConfig) -> int:
    """Carry out `headstart compare`; the network and everything that needs torch is loaded here."""
    with Display() as show:
        show({"event": "phase", "text": "starting"})
        from headstart.api import run_compare
        from headstart.engine import distributed

        try:
            result = run_compare(config, listeners=(show,))
        finally:
            distributed.stop()
    if config.json:
        speak.say_json(result.summary)
    else:
        speak.say(str(result))
        speak.say_path("report", result.report)
    return 0


COMMAND = Command(
    name="compare",
    summary="Compare ways to adapt a network: the same images, folds, seeds and epochs for all, side by side.",
    config=CompareConfig,
    run=run,
    examples=(
        "headstart compare photos --strategies probe,lpft,full --budget 10m --out runs/photos-compare",
        "headstart compare digits --backbone embedded --source cifar10 --no-mirror --folds 5 --seeds 2",
    ),
    details="Nothing is chosen or saved: headstart adapt does that, in less time, by dropping the weaker ways early.",
    resumable=True,
)
