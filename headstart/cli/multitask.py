"""`headstart multitask LABELS.csv`: one network for many questions about the same image."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.catalog.multitask import MultitaskConfig
from headstart.catalog.sharing import SHARINGS
from headstart.catalog.weightings import WEIGHTINGS
from headstart.cli.command import Command
from headstart.cli.job import carry_out

if TYPE_CHECKING:
    from headstart.studies.result import JobResult

_WIDTH = 100
"""Columns of the help."""


def run(config: MultitaskConfig) -> int:
    """Carry out `headstart multitask`; the network and everything that needs torch is loaded here."""

    def job() -> Callable[..., JobResult]:
        from headstart.jobs import run_multitask

        return run_multitask

    return carry_out(config, job)


def _listed(name: str, summary: str) -> list[str]:
    return textwrap.wrap(f"  {name:<14} {summary}", _WIDTH, subsequent_indent=" " * 17)


def _choices() -> str:
    """Every way to share and to weigh, in a few words."""
    lines = ["sharing:"]
    for name, summary in SHARINGS.items():
        lines += _listed(name, summary)
    lines += ["", "weighting:"]
    for name, one in WEIGHTINGS.items():
        lines += _listed(name, one.summary + (f" ({one.paper})" if one.paper else ""))
    return "\n".join(lines)


COMMAND = Command(
    name="multitask",
    summary="Train one network for many questions about the same image, and measure what sharing brings.",
    config=MultitaskConfig,
    run=run,
    examples=(
        "headstart multitask labels.csv --out runs/street",
        "headstart multitask labels.csv --tasks pedestrian:yes_no weather age:number --main pedestrian",
        "headstart multitask labels.csv --weighting sum uncertainty gradnorm --seeds 3",
        "headstart multitask labels.csv --sharing hard cross_stitch",
        "headstart multitask digits/ signs/ --sampling sqrt --per batch",
    ),
    details=(
        f"{_choices()}\n\n"
        "labels:\n"
        "  a column per task, empty where the answer is not known: such an image teaches the others\n\n"
        "compared with:\n"
        "  the plain sum on one backbone, always, and a network for each task alone, in as many steps"
    ),
    resumable=True,
)
