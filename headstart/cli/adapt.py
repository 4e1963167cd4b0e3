"""`headstart adapt DATA`: adapt a network, verify that it was done the best way, print the verdict."""

from __future__ import annotations

from headstart.catalog.adapt import AdaptConfig
from headstart.cli import speak
from headstart.cli.command import Command
from headstart.cli.progress import Display


def run(config: AdaptConfig) -> int:
    """Carry out `headstart adapt`; the network and everything that needs torch is loaded here."""
    with Display() as show:
        show({"event": "phase", "text": "starting"})
        from headstart.api import run_adapt
        from headstart.engine import distributed

        try:
            result = run_adapt(config, listeners=(show,))
        finally:
            distributed.stop()
    if config.json:
        speak.say_json(result.summary)
    else:
        speak.say(str(result))
        speak.say_path("report", result.report)
    return 0


COMMAND = Command(
    name="adapt",
    summary="Adapt a pretrained network to a folder of images, and verify that it was done the best way.",
    config=AdaptConfig,
    run=run,
    examples=(
        "headstart adapt photos --out runs/photos --budget 10m",
        "headstart adapt cells.csv --group-column patient --backbone timm:resnet18 --out runs/cells",
        "torchrun --nproc-per-node 2 -m headstart adapt photos --out runs/photos",
    ),
    resumable=True,
)
