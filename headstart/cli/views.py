"""`headstart views METHOD`: how images are changed before a network sees them, printed and drawn before any training."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.catalog.pipelines import NO_BLUR_BELOW, PIPELINES, STEPS, StepKind
from headstart.catalog.pretrain_methods import PRETRAINING
from headstart.cli import speak
from headstart.cli.command import Command
from headstart.errors import ConfigError

if TYPE_CHECKING:
    from headstart.studies.pretrain_views import Shown

_WIDTH, _IN = 100, " " * 6


@dataclass(frozen=True)
class ViewsConfig:
    """Which views to show."""

    views: tuple[str, ...]
    """a method of `headstart pretrain`, a named list, or steps in quotation marks; none: all steps and named lists"""
    size: int | None = None
    """side of the images in pixels; none: that of the network that is trained where none is named, 224 without images"""
    images: str | None = None
    """draw some of these images under the views: a folder, a CSV manifest, or an .npz file"""
    out: Path = Path("views.png")
    """picture to write where --images are given"""
    seed: int = 0
    """what is drawn at random follows from it"""
    json: bool = False
    """print as JSON"""


def run(config: ViewsConfig) -> int:
    """Carry out `headstart views`."""
    name = " ".join(config.views)
    if config.size is not None and config.size < 1:
        raise ConfigError(f"--size {config.size} must be at least 1 pixel")
    if not name:
        return _everything(config)
    from headstart.studies.pretrain_views import draw, size_for, views_shown

    size = config.size or (224 if config.images is None else size_for(config.images))
    found = views_shown(name, size)
    if config.images is not None:
        draw(found, config.images, config.out, config.seed)
    if config.json:
        picture = None if config.images is None else str(config.out)
        speak.say_json({"name": name, "size": size, "views": list(found.views), "text": found.text, "picture": picture})
        return 0
    speak.say("\n".join(_told(name, found)))
    if config.images is not None:
        speak.say_path("picture", config.out)
    return 0


def _told(name: str, found: Shown) -> list[str]:
    method, several = PRETRAINING.get(name), len(found.views) > 1
    summary = method.summary if method is not None else PIPELINES[name].summary if name in PIPELINES else "your own steps"
    lines = [f"{name}: {summary}" if name != found.text else summary, f"on images of {found.size} px", ""]
    called = [f"view {place + 1}" for place in range(len(found.views))] if several else ["every view"]
    lines += [f"  {label}  {text}" for label, text in zip(called, found.views, strict=True)]
    used = {step for step in STEPS if any(f"{step}(" in text for text in found.views)}
    lines += ["", "the steps, and their settings where none are given:", *_table(used)] if used else []
    lines += ["", f'change it: headstart pretrain IMAGES --method {name if method else "METHOD"} --views "{found.text}"']
    return lines


def _everything(config: ViewsConfig) -> int:
    if config.json:
        lists = {name: {"summary": one.summary, "views": list(one.views)} for name, one in PIPELINES.items()}
        steps = {name: {"summary": kind.summary, "settings": _defaults(kind)} for name, kind in STEPS.items()}
        speak.say_json({"pipelines": lists, "steps": steps})
        return 0
    lines = ["steps, and their settings where none are given:", *_table(set(STEPS)), "", "named lists:"]
    for name, one in PIPELINES.items():
        lines += [f"  {name}: {one.summary}", *(f"      {text}" for text in one.views)]
    lines += ["", f"Below {NO_BLUR_BELOW} px named lists blur nothing, and simclr is simclr_small."]
    speak.say("\n".join(lines))
    return 0


def _table(used: set[str]) -> list[str]:
    return [
        line
        for name, kind in STEPS.items()
        if name in used
        for line in (
            f"  {name}({_settings(kind)})",
            *textwrap.wrap(kind.summary, _WIDTH, initial_indent=_IN, subsequent_indent=_IN),
        )
    ]


def _settings(kind: StepKind) -> str:
    """Its settings in their order, with defaults; those seldom given are left to the docs."""
    found = ((one.name, one.default) for one in kind.settings if not one.quiet)
    return ", ".join(name if value is None else f"{name}={value:g}" for name, value in found)


def _defaults(kind: StepKind) -> dict[str, Any]:
    return {one.name: one.default for one in kind.settings}


COMMAND = Command(
    name="views",
    summary="Show how `pretrain` changes images before a network sees them, in words and on your own images.",
    config=ViewsConfig,
    run=run,
    examples=(
        "headstart views simclr",
        "headstart views byol --images photos --out views.png",
        'headstart views "crop(0.4, 1.0) flip jitter(0.2, 0.2, 0.2, 0.05)" --images photos',
    ),
)
