"""`headstart extend MODEL NEW_DATA`: a saved model learns something new without forgetting the old."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.catalog.continual import METHODS
from headstart.catalog.extend import ExtendConfig
from headstart.cli.command import Command
from headstart.cli.job import carry_out

if TYPE_CHECKING:
    from headstart.studies.result import JobResult


def run(config: ExtendConfig) -> int:
    """Carry out `headstart extend`; the network and everything that needs torch is loaded here."""

    def job() -> Callable[..., JobResult]:
        from headstart.api import run_extend

        return run_extend

    return carry_out(config, job)


def _methods() -> str:
    """Every method with one line, by family."""
    families = dict.fromkeys(one.family for one in METHODS.values())
    lines = ["methods:"]
    for family in families:
        lines.append(f"  {family}")
        lines += [f"    {name:<19} {one.summary}" for name, one in METHODS.items() if one.family == family]
    return "\n".join(lines)


COMMAND = Command(
    name="extend",
    summary="Teach a saved model something new without forgetting the old, and measure what it costs.",
    config=ExtendConfig,
    run=run,
    examples=(
        "headstart extend runs/pets cars --method lwf --out runs/pets-cars",
        "headstart extend runs/pets cars --method lwf --old pets --bounds --seeds 3",
        "headstart extend runs/pets more-pets --scenario class --method icarl --capacity 200",
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
        "  so that it is known what was kept"
    ),
    resumable=True,
)
