"""`headstart study data-size DATA`: pipeline, end-to-end or transfer, for how many images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.catalog.data_size import WAYS, DataSizeConfig
from headstart.cli.command import Command
from headstart.cli.job import carry_out

if TYPE_CHECKING:
    from headstart.studies.result import JobResult


def run(config: DataSizeConfig) -> int:
    """Carry out `headstart study data-size`; the network and everything that needs torch is loaded here."""

    def job() -> Callable[..., JobResult]:
        from headstart.jobs import run_study_data_size

        return run_study_data_size

    return carry_out(config, job)


_WIDE = max(len(way.name) for way in WAYS)

COMMAND = Command(
    name="study data-size",
    summary="See for how many images a pipeline, learning from scratch or transfer is best.",
    config=DataSizeConfig,
    run=run,
    examples=(
        "headstart study data-size photos --budget 20m",
        "headstart study data-size cells.csv --intermediate tissue --sizes 50 100 200 400",
        "headstart study data-size photos --ways pipeline scratch lpft --draws 5",
    ),
    details="\n".join(["ways:", *(f"  {way.name.ljust(_WIDE)}  {way.family}: {way.label}" for way in WAYS)]),
    resumable=True,
)
