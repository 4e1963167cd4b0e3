"""`headstart select DATA --candidates ...`: which network to start from, before anything is adapted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.catalog.groups import GROUPS
from headstart.catalog.select import SelectConfig
from headstart.cli.command import Command
from headstart.cli.job import carry_out

if TYPE_CHECKING:
    from headstart.studies.result import JobResult


def run(config: SelectConfig) -> int:
    """Carry out `headstart select`; the networks and everything that needs torch is loaded here."""

    def job() -> Callable[..., JobResult]:
        from headstart.jobs import run_select

        return run_select

    return carry_out(config, job)


COMMAND = Command(
    name="select",
    summary="Choose a pretrained network to start from: rank candidates on your images, and let the best race.",
    config=SelectConfig,
    run=run,
    examples=(
        "headstart select photos --candidates small --out runs/photos-select",
        "headstart select photos --candidates embedded,timm:resnet18.a1_in1k,runs/earlier",
        'headstart select photos --candidates "timm:mobilenetv3*" --no-race',
        "headstart select cells.csv --group-column patient --candidates networks.txt --budget 30m",
    ),
    details=(
        "candidates, separated by commas:\n"
        "  NAME                what --backbone of adapt takes; a saved model's folder too\n"
        "  NAME@FILE           the named network with the weights in FILE\n"
        "  PATTERN             networks of torchvision and timm, e.g. timm:regnety_0*\n"
        f"  GROUP               {', '.join(GROUPS)}\n"
        "  all-local           what is on this machine: embedded, models below --runs, weights downloaded earlier\n"
        "  LIST                a text file with one of these per line; there, options may follow a name:\n"
        "                      timm:mobilenetv2_100@w.safetensors pad_type=same size=96 mean=.5 std=.5\n\n"
        "Networks that cannot be loaded are named and left out."
    ),
    resumable=True,
)
