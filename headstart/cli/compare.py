"""`headstart compare DATA --strategies ...`: ways to adapt a network side by side, measured alike on your images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.catalog.compare import CompareConfig
from headstart.cli.command import Command
from headstart.cli.job import carry_out

if TYPE_CHECKING:
    from headstart.studies.result import JobResult


def run(config: CompareConfig) -> int:
    """Carry out `headstart compare`; the network and everything that needs torch is loaded here."""

    def job() -> Callable[..., JobResult]:
        from headstart.jobs import run_compare

        return run_compare

    return carry_out(config, job)


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
