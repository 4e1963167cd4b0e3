"""`headstart adapt DATA`: adapt a network, verify that it was done the best way, print the verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.catalog.adapt import AdaptConfig
from headstart.cli.command import Command
from headstart.cli.job import carry_out

if TYPE_CHECKING:
    from headstart.studies.result import JobResult


def run(config: AdaptConfig) -> int:
    """Carry out `headstart adapt`; the network and everything that needs torch is loaded here."""

    def job() -> Callable[..., JobResult]:
        from headstart.jobs import run_adapt

        return run_adapt

    return carry_out(config, job)


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
