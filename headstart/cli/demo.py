"""`headstart demo`: the main job on handwritten digits that come with scikit-learn; no network needed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from headstart.catalog.adapt import AdaptConfig, BackboneConfig
from headstart.cli import adapt, speak
from headstart.cli.command import Command


@dataclass(frozen=True)
class DemoConfig:
    """Settings of the demonstration."""

    out: Path = Path("runs/demo")
    """run folder to write"""
    data_folder: Path | None = None
    """where to write the images; none: `demo-data` beside the run folder"""
    budget: str = "40s"
    """time to spend on verifying rivals"""
    seed: int = 0
    """everything random follows from it"""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one"""
    resume: bool = False
    """go on with an interrupted run in the same folder"""
    json: bool = False
    """print the summary as JSON and nothing else"""


def settings(config: DemoConfig) -> AdaptConfig:
    """What the demonstration asks `adapt` to do: mirroring a digit changes it, so that is off."""
    return AdaptConfig(
        data=str(folder_of(config)),
        out=config.out,
        network=BackboneConfig(backbone="embedded"),
        budget=config.budget,
        seed=config.seed,
        mirror=False,
        device=config.device,
        resume=config.resume,
        overwrite=_is_demo(config),
        json=config.json,
    )


def folder_of(config: DemoConfig) -> Path:
    """Where the images of the demonstration lie."""
    return config.data_folder or config.out.parent / "demo-data"


def _is_demo(config: DemoConfig) -> bool:
    """Whether the run folder holds an earlier demonstration, which may be replaced without asking."""
    try:
        before = json.loads((config.out / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(before, dict) and before.get("data") == str(folder_of(config))


def run(config: DemoConfig) -> int:
    """Write the digits as an image folder and adapt the embedded network to them."""
    from headstart.data.digits import write_digits

    folder = write_digits(folder_of(config))
    speak.note(f"handwritten digits of scikit-learn as an image folder: {folder}")
    return adapt.run(settings(config))


COMMAND = Command(
    name="demo",
    summary="Try `adapt` on the handwritten digits that come with scikit-learn (about a minute, no download).",
    config=DemoConfig,
    run=run,
    examples=("headstart demo", "headstart demo --out runs/second-try --seed 1"),
    resumable=True,
)
