"""`headstart pretrain IMAGES`: learn from images without labels, or layer by layer."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.catalog.pretrain import PretrainConfig
from headstart.catalog.pretrain_methods import PRETRAINING
from headstart.cli.command import Command
from headstart.cli.job import carry_out

if TYPE_CHECKING:
    from headstart.studies.result import JobResult

_WIDTH = 100
"""Columns of the help."""


def run(config: PretrainConfig) -> int:
    """Carry out `headstart pretrain`; the network and everything that needs torch is loaded here."""

    def job() -> Callable[..., JobResult]:
        from headstart.jobs import run_pretrain

        return run_pretrain

    return carry_out(config, job)


def _methods() -> str:
    """Every way to pretrain, by family, in a few words."""
    lines = ["methods:"]
    for family in dict.fromkeys(one.family for one in PRETRAINING.values()):
        lines.append(f"  {family}")
        for name, one in PRETRAINING.items():
            if one.family == family:
                text = f"    {name:<17} {one.summary} ({one.paper})"
                lines += textwrap.wrap(text, _WIDTH, subsequent_indent=" " * 22)
    return "\n".join(lines)


COMMAND = Command(
    name="pretrain",
    summary="Learn from images without labels, and see measured what that is worth.",
    config=PretrainConfig,
    run=run,
    examples=(
        "headstart pretrain photos --method simclr --out runs/pre",
        "headstart pretrain photos --method byol --backbone torchvision:resnet18 --epochs 100",
        "headstart pretrain photos --method greedy --settings objective=simclr renderings=4",
        'headstart pretrain photos --method simclr --views "crop(0.2, 1.0) flip(0.5) jitter(0.4, 0.4, 0.4, 0.1)"',
    ),
    details=(
        f"{_methods()}\n\n"
        "labels:\n"
        "  are not needed. Where some exist, they serve to judge: while it learns, and in the verdict at the end, which\n"
        "  compares with random weights, training from scratch and another network, at 1, 10 and 100 % of the labels\n\n"
        "views:\n"
        "  headstart views METHOD prints what a method shows of an image, as text to change and give back with --views,\n"
        "  and draws it on your own images; headstart views lists all steps and named lists\n\n"
        "afterwards:\n"
        "  headstart adapt photos --backbone RUN, and so with every other command"
    ),
    resumable=True,
)
