"""`headstart models`: the networks that can be used as a backbone, listed without loading any."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from headstart.cli import speak
from headstart.cli.command import Command
from headstart.errors import InputError

if TYPE_CHECKING:
    from headstart.catalog.models import ModelName

Kind = Literal["embedded", "headstart", "timm", "torchvision", "saved"]


HEAD = ("name", "kind", "weights", "input", "note")
"""Columns of the list; weights in millions, input in pixels."""
NO_WEIGHTS = {"__metadata__", "running_mean", "running_var", "num_batches_tracked"}
"""Entries of a weight file that are statistics or remarks."""


@dataclass(frozen=True)
class ModelsConfig:
    """Which networks to list."""

    patterns: tuple[str, ...]
    """parts of names, or patterns such as resnet*; none: every network"""
    kind: Kind | None = None
    """list only these"""
    runs: Path = Path("runs")
    """folder that is searched for saved models"""
    json: bool = False
    """print the list as JSON"""


def run(config: ModelsConfig) -> int:
    """Carry out `headstart models`."""
    every = known(config.runs)
    chosen = [model for model in every if config.kind in (None, model.kind) and matches(model.name, config.patterns)]
    if not chosen:
        raise InputError(_nothing(config))
    if config.json:
        speak.say(json.dumps([dataclasses.asdict(model) for model in chosen], indent=2, ensure_ascii=False))
        return 0
    speak.say(speak.table(HEAD, [_row(model) for model in chosen], right=(2, 3)))
    speak.note(f"{len(chosen)} of {len(every)} networks; narrow the list with a pattern or --kind")
    return 0


def known(runs: Path) -> list[ModelName]:
    """Everything that can be named after --backbone: the catalog, and the models saved below `runs`."""
    from headstart.catalog.models import known_models

    return [*known_models(), *saved_models(runs)]


def saved_models(runs: Path) -> list[ModelName]:
    """Models that earlier runs saved, by the path one would type."""
    from headstart.catalog.models import ModelName

    folders = sorted(card.parent for card in runs.glob("**/card.json") if (card.parent / "net.json").is_file())
    return [ModelName(str(folder), "saved", *_facts(folder)) for folder in folders]


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name contains one of the patterns, or fits one that has a * or ?. No pattern lets everything through."""
    tests = [word if set(word) & set("*?[") else f"*{word}*" for word in map(str.lower, patterns)]
    short = name.lower().partition(":")[2] or name.lower()
    return not tests or any(fnmatch.fnmatchcase(word, test) for test in tests for word in (name.lower(), short))


def _facts(folder: Path) -> tuple[int | None, int | None, str]:
    """Parameters, input size and a note, read from the files' heads; a damaged model is listed and said to be damaged."""
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        net = json.loads((folder / "net.json").read_text(encoding="utf-8"))
        last = card["ancestors"][-1]
        accuracy = "" if last["accuracy"] is None else f", accuracy {last['accuracy']:.3f}"
        tasks = card["tasks"] if card.get("scenario") == "multitask" else ()
        what = f"{len(tasks)} tasks" if tasks else f"{len(card['classes'])} classes"
        note = f"{what} of {last['data']} by {last['strategy']}{accuracy}"
        return _parameters(folder / net["weights"]["file"]), net["input"].get("size"), note
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        return None, None, f"damaged: {type(error).__name__}: {error}"


def _parameters(weights: Path) -> int:
    """Number of weights in a safetensors file (8 bytes of length, then JSON), without loading them or torch."""
    with weights.open("rb") as file:
        tensors = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    shapes = [about["shape"] for name, about in tensors.items() if name.rpartition(".")[2] not in NO_WEIGHTS]
    return sum(math.prod(shape) for shape in shapes)


def _row(model: ModelName) -> list[str]:
    params = "" if model.params is None else f"{model.params / 1e6:.2f} M"
    return [model.name, model.kind, params, "" if model.input_size is None else str(model.input_size), model.note or ""]


def _nothing(config: ModelsConfig) -> str:
    from headstart.catalog.models import nearest

    what = " ".join(config.patterns) or "the list"
    kind = f" of kind {config.kind}" if config.kind else ""
    near = [name for word in config.patterns for name in nearest(word.strip("*?"), 3)]
    hint = f"nearest: {', '.join(near)}" if near else "headstart models lists everything"
    return f"no network{kind} fits {what}; {hint}"


COMMAND = Command(
    name="models",
    summary="List the networks that can be used as a backbone.",
    config=ModelsConfig,
    run=run,
    examples=("headstart models resnet18", "headstart models --kind saved"),
)
