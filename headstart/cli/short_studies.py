"""`headstart study augmentations` and `headstart study scaling`: SimCLR's findings on the user's images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.catalog.short_runs import AugmentationsConfig, ScalingConfig
from headstart.cli.command import Command
from headstart.cli.job import carry_out

if TYPE_CHECKING:
    from headstart.studies.result import JobResult


def run_augmentations(config: AugmentationsConfig) -> int:
    """Carry out `headstart study augmentations`; everything that needs torch is loaded here."""

    def job() -> Callable[..., JobResult]:
        from headstart.jobs import run_study_augmentations

        return run_study_augmentations

    return carry_out(config, job)


def run_scaling(config: ScalingConfig) -> int:
    """Carry out `headstart study scaling`; everything that needs torch is loaded here."""

    def job() -> Callable[..., JobResult]:
        from headstart.jobs import run_study_scaling

        return run_study_scaling

    return carry_out(config, job)


AUGMENTATIONS = Command(
    name="study augmentations",
    summary="Which two augmentations together teach a backbone most, without labels?",
    config=AugmentationsConfig,
    run=run_augmentations,
    examples=(
        "headstart study augmentations photos --budget 30m",
        'headstart study augmentations photos --steps "crop(0.2, 1.0)" jitter grey blur --epochs 20 --seeds 3',
    ),
    details=(
        "trainings:\n"
        "  every pair of --steps, and each alone, is what SimCLR shows of the images: a short training from random\n"
        "  weights with each, then a linear probe on the best block. Both views are changed alike, where the paper\n"
        "  leaves one as it is. Short trainings may order pairs otherwise than long ones"
    ),
    resumable=True,
)

SCALING = Command(
    name="study scaling",
    summary="What do projection head, batch size, network size and length bring to learning without labels?",
    config=ScalingConfig,
    run=run_scaling,
    examples=(
        "headstart study scaling photos --budget 1h",
        "headstart study scaling photos --batches 64 256 --lengths 10 50 --networks headstart:resnet8 headstart:resnet20",
    ),
    details=(
        "trainings:\n"
        "  one thing is changed at a time; the rest is the last projection and network, --batch-size and --epochs"
    ),
    resumable=True,
)
