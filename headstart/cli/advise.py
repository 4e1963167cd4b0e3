"""`headstart advise DATA`: how to adapt a network to your images and what to expect, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.catalog.advise import AdviseConfig
from headstart.cli.command import Command
from headstart.cli.job import carry_out

if TYPE_CHECKING:
    from headstart.studies.result import JobResult


def run(config: AdviseConfig) -> int:
    """Carry out `headstart advise`; the network and everything that needs torch is loaded here."""

    def job() -> Callable[..., JobResult]:
        from headstart.jobs import run_advise

        return run_advise

    return carry_out(config, job)


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
