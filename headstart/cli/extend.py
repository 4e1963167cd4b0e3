"""`headstart extend MODEL NEW_DATA`: a saved model learns something new without forgetting the old."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.catalog.continual import METHODS
from headstart.catalog.extend import ALL, ExtendConfig
from headstart.cli.command import Command
from headstart.cli.job import carry_out

if TYPE_CHECKING:
    from headstart.studies.result import JobResult


def run(config: ExtendConfig) -> int:
    """Carry out `headstart extend`; the network and everything that needs torch is loaded here."""

    def job() -> Callable[..., JobResult]:
        from headstart.jobs import run_extend

        return run_extend

    return carry_out(config, job)


_WIDTH = 100
"""Columns of the help."""


def _methods() -> str:
    """Every method in a few words, by family."""
    families = dict.fromkeys(one.family for one in METHODS.values())
    lines = ["methods:"]
    for family in families:
        lines.append(f"  {family}")
        for name, one in METHODS.items():
            if one.family == family:
                lines += textwrap.wrap(f"    {name:<19} {one.summary}", _WIDTH, subsequent_indent=" " * 24)
    return "\n".join(lines)


def run_beside(config: ExtendConfig) -> int:
    """Carry out `headstart compare extend`: the same job with all methods that can, unless some are named."""
    return run(config if config.beside else dataclasses.replace(config, beside=(ALL,)))


COMMAND = Command(
    name="extend",
    summary="Teach a saved model something new without forgetting the old, and measure what it costs.",
    config=ExtendConfig,
    run=run,
    examples=(
        "headstart extend runs/pets cars --method lwf --out runs/pets-cars",
        "headstart extend runs/pets cars --method lwf --old pets --bounds --seeds 3",
        "headstart extend runs/pets more-pets --scenario class --method replay --capacity 200",
        "headstart extend embedded cifar10 --increments 5 --scenario class --method derpp",
    ),
    details=(
        f"{_methods()}\n\n"
        "scenarios:\n"
        "  task         every task is a question of its own; when answering it is known which (predict --task)\n"
        "  domain       the same question about other images: the classes are the same\n"
        "  class        new classes for one list, out of which the model answers\n\n"
        "old data:\n"
        "  nothing is needed of them, unless a method's line says so; with --old their test images are looked at,\n"
        "  so that it is known what was kept, and a method with a memory fills it from the others, where the model\n"
        "  brings none"
    ),
    resumable=True,
)

COMPARE = Command(
    name="compare extend",
    summary="Compare ways to teach a model something new: what each learns, keeps, needs and costs.",
    config=ExtendConfig,
    run=run_beside,
    examples=(
        "headstart compare extend runs/pets cars --old pets --seeds 3 --out runs/pets-cars-compare",
        "headstart compare extend embedded digits --increments 5 --scenario class --beside replay,icarl,derpp",
    ),
    details=(
        f"{_methods()}\n\n"
        "steps:\n"
        "  all methods take as many with the same images in the same order, except those that need more stages;\n"
        "  without --beside all run that can; the first, --method, is the one whose model is saved\n\n"
        "A folder of images that is called extend is given to headstart compare as ./extend."
    ),
    resumable=True,
)
