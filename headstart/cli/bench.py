"""`headstart bench MODEL...`: what models cost on this machine, and how well they answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.catalog.device import BenchConfig
from headstart.cli.command import Command
from headstart.cli.job import carry_out

if TYPE_CHECKING:
    from headstart.studies.result import JobResult


def run(config: BenchConfig) -> int:
    """Carry out `headstart bench`; the networks and everything that needs torch is loaded here."""

    def job() -> Callable[..., JobResult]:
        from headstart.jobs import run_bench

        return run_bench

    return carry_out(config, job)


COMMAND = Command(
    name="bench",
    summary="Measure size, latency, throughput and accuracy of models side by side on this machine.",
    config=BenchConfig,
    run=run,
    examples=(
        "headstart bench runs/teacher runs/student runs/student/model/model-int8.onnx --images photos",
        "headstart bench runs/photos runs/photos/model/model.onnx --threads 1 --seconds 60",
    ),
    details="Models are measured in turn, call by call, so that the numbers can be compared with one another.",
)
