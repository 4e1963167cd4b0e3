"""`headstart distill DATA --teacher MODEL --student NAME`: a small network learns from big ones, and what it gains by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.catalog.distill import DistillJobConfig
from headstart.cli.command import Command
from headstart.cli.job import carry_out

if TYPE_CHECKING:
    from headstart.studies.result import JobResult


def run(config: DistillJobConfig) -> int:
    """Carry out `headstart distill`; the networks and everything that needs torch is loaded here."""

    def job() -> Callable[..., JobResult]:
        from headstart.jobs import run_distill

        return run_distill

    return carry_out(config, job)


COMMAND = Command(
    name="distill",
    summary="Train a small network on what big ones answer, and measure what it gained by that.",
    config=DistillJobConfig,
    run=run,
    examples=(
        "headstart distill photos --teacher runs/photos --student timm:mobilenetv3_small_100 --out runs/photos-small",
        "headstart distill cifar10 --teacher embedded --student headstart:resnet8 --temperature auto --seeds 5",
        "headstart distill photos --teacher runs/a --teacher runs/b --student headstart:resnet20 --unlabelled more-photos",
        "headstart distill photos --teacher runs/photos --student headstart:vit --token --kind hard",
        "headstart distill labels.csv --teacher runs/multitask --student headstart:resnet8",
        "headstart distill photos --teacher runs/multitask --task kind --student headstart:resnet8",
    ),
    details=(
        "teachers:\n"
        "  FOLDER       a saved model, or the run that made it\n"
        "  NAME         a pretrained network with its classifier, as --backbone of adapt takes it\n"
        "  NAME@FILE    the named network with the weights in FILE; options may follow, all in quotes:\n"
        '               "timm:mobilenetv2_100@w.safetensors pad_type=same mean=.5 std=.5"\n\n'
        "loss:\n"
        "  share T^2 CE(softened teacher, softened student) + (1 - share) CE(labels, student)\n"
        "  and the first of the two alone on images without labels\n\n"
        "compared with:\n"
        "  the same student trained alone, from the same weights, on the same images in the same order,\n"
        "  for as many epochs; both answer the test images once, at the end"
    ),
    resumable=True,
)
