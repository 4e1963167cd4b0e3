"""`headstart study ...`: questions that a grid of runs answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.catalog.study import LayersConfig
from headstart.cli.command import Command
from headstart.cli.job import carry_out

if TYPE_CHECKING:
    from headstart.studies.result import JobResult


def run_layers(config: LayersConfig) -> int:
    """Carry out `headstart study layers`; everything that needs torch is loaded here."""

    def job() -> Callable[..., JobResult]:
        from headstart.jobs import run_study_layers

        return run_study_layers

    return carry_out(config, job)


LAYERS = Command(
    name="study layers",
    summary="Measure how transferable each layer of a network is, as Yosinski et al. 2014 did.",
    config=LayersConfig,
    run=run_layers,
    examples=(
        "headstart study layers photos --seeds 3 --out runs/layers",
        "headstart study layers cifar10 --group-a bird,cat,deer,dog,frog,horse --halves like unlike --classes 4 --seeds 3",
        "headstart study layers digits --target-images 50 200 --workers 2",
    ),
    details=(
        "runs, for every cut after n layers and in both directions:\n"
        "  base                trained on one half of the classes\n"
        "  selffer BnB         the first n layers of the base of B frozen, the others learned anew on B\n"
        "  transfer AnB        the first n layers of the base of A frozen, the others learned anew on B\n"
        "  BnB+, AnB+          the same, the first n layers fine-tuned at the full rate, as in the paper\n"
        "  random              the first n layers left at random and frozen"
    ),
    resumable=True,
)
