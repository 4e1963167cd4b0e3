"""`headstart study data-size DATA`: pipeline, end-to-end or transfer, for how many images."""

from __future__ import annotations

from headstart.catalog.data_size import WAYS, DataSizeConfig
from headstart.cli import speak
from headstart.cli.command import Command
from headstart.cli.progress import Display


def run(config: DataSizeConfig) -> int:
    """Carry out `headstart study data-size`; the network and everything that needs torch is loaded here."""
    with Display() as show:
        show({"event": "phase", "text": "starting"})
        from headstart.api import run_study_data_size
        from headstart.engine import distributed

        try:
            result = run_study_data_size(config, listeners=(show,))
        finally:
            distributed.stop()
    if config.json:
        speak.say_json(result.summary)
    else:
        speak.say(str(result))
        speak.say_path("report", result.report)
    return 0


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
