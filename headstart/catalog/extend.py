"""Settings of `headstart extend`: a saved model learns one task more, or several one after the other; torch-free."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from headstart.catalog.adapt import DataConfig
from headstart.catalog.continual import METHODS, SCENARIOS, Scenario
from headstart.errors import ConfigError, problems

ALL = "all"
_OWN_FLAGS = ("epochs", "batch_size", "lr", "scale", "top", "norm", "augment", "mirror", "capacity", "seed")
LOWER, UPPER = "fine_tune", "joint"
"""The methods between which every other one should lie: nothing held, and everything learned together."""


@dataclass(frozen=True)
class ExtendConfig:
    """Teach a saved model something new without forgetting the old, and measure what it costs."""

    model: str
    """saved model, the run that made it, or a network by name that has learned nothing yet (embedded, timm:NAME, ...)"""
    data: tuple[str, ...]
    """new data: image folder, CSV manifest or .npz file; several are learned one after the other"""
    method: str = "lwf"
    """how to learn it (see below)"""
    out: Path = Path("runs/extend")
    """run folder to write; the extended model is in its model/"""
    scenario: Scenario | None = None
    """how the tasks belong together: task, domain or class (see below); none: as the model has it, else task"""
    increments: int | None = None
    """cut the classes of one data set into so many tasks, learned one after the other"""
    names: tuple[str, ...] = ()
    """what the new tasks are called; none: as their data"""
    old: tuple[str, ...] = ()
    """data of the old tasks in their order: test images tell what is kept; only methods that say so learn from the others,
    and those with a memory fill it from them where the model brings none"""
    beside: tuple[str, ...] = ()
    """other methods to run beside it with the same steps, or `all` that can; the model saved is the first one's"""
    bounds: bool = False
    """also fine-tune on the new data alone (lower bound) and, with --old, learn all together (upper bound)"""
    settings: tuple[str, ...] = ()
    """settings of the method as key=value, e.g. temperature=2 strength=100, as docs/strategies.md names them; one that there
    is not is answered with those that there are"""
    images: DataConfig = DataConfig()
    epochs: int | None = None
    """passes over the new images; none: 20, for few images up to 60"""
    batch_size: int | None = None
    """images per optimiser step; none: 32"""
    lr: float | None = None
    """learning rate of the new head; none: the method's"""
    scale: float | None = None
    """learning rate of shared blocks relative to it; none: a tenth"""
    top: int | None = None
    """number of blocks with weights, from the top, that may change; none: all"""
    norm: str = "frozen"
    """batch normalisation: `frozen` keeps the statistics it has, `train` lets them follow the new images"""
    capacity: int | None = None
    """samples that a method with a memory may keep; none: the method's"""
    max_memory: str | None = None
    """bytes that such a memory may take at most, e.g. 10MB"""
    size: int | None = None
    """side of the input in pixels, for a network by name that has learned nothing; none: as its library says"""
    mirror: bool = True
    """train on mirrored images too; --no-mirror where left and right matter, as in digits, letters and traffic signs"""
    augment: bool = True
    """shift, crop and mirror images while learning"""
    seeds: int = 1
    """how often everything is trained, from --seed, --seed + 1, ...; the model saved is the first one's"""
    seed: int = 0
    """everything random follows from it"""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one"""
    resume: bool = False
    """go on with an interrupted run in the same folder"""
    overwrite: bool = False
    """replace a run that is in the folder already"""
    json: bool = False
    """print the summary as JSON and nothing else"""

    @property
    def methods(self) -> tuple[str, ...]:
        """The method asked for, those beside it and, with `bounds`, those it should lie between."""
        others = [name for word in self._words for name in (METHODS if word == ALL else (word,))]
        more = (LOWER, UPPER) if self.bounds else ()
        return tuple(dict.fromkeys((self.method, *others, *more)))

    @property
    def all_methods(self) -> bool:
        """Whether all were asked for that can, so that those that cannot are left out."""
        return ALL in self._words

    @property
    def _words(self) -> list[str]:
        """Methods named beside the one asked for, however they were separated."""
        return re.findall(r"[^,\s]+", " ".join(self.beside))


def check_settings(config: ExtendConfig, *, given: int = 0) -> None:
    """Raise ConfigError listing every setting that cannot be; `given` data sets come from Python."""
    rules = [
        (given or config.data, "DATA is missing: name the folder with the new images"),
        (config.seeds >= 1, f"--seeds {config.seeds}: at least 1 is needed; an interval over seeds needs 2"),
        (config.epochs is None or config.epochs >= 1, f"--epochs {config.epochs} must be at least 1"),
        (config.batch_size is None or config.batch_size >= 2, f"--batch-size {config.batch_size} must be at least 2"),
        (config.lr is None or 0 < config.lr < 100, f"--lr {config.lr} must lie between 0 and 100, e.g. 0.01"),
        (config.scale is None or 0 <= config.scale <= 10, f"--scale {config.scale} must lie between 0 (frozen) and 10"),
        (config.top is None or config.top >= 1, f"--top {config.top}: one block at least, or leave it out for all"),
        (config.norm in ("frozen", "train"), f"--norm {config.norm} is neither frozen nor train"),
        (config.capacity is None or config.capacity >= 1, f"--capacity {config.capacity}: one sample at least"),
        (
            not (config.resume and config.overwrite),
            "--resume goes on with the run that --overwrite would replace; give one of them",
        ),
        (config.increments is None or config.increments >= 2, f"--increments {config.increments}: two tasks at least"),
        (
            config.scenario is None or config.scenario in SCENARIOS,
            f"--scenario {config.scenario} is none of {', '.join(SCENARIOS)}",
        ),
        (
            0 < config.images.test_fraction < 1,
            f"--test-fraction {config.images.test_fraction} must lie between 0 and 1, e.g. 0.2",
        ),
    ]
    said = [text for holds, text in rules if not holds]
    problems(
        ConfigError, "these settings cannot be:", [*said, *_method(config), *_settings(config), *_numbers(config, given)]
    )


def _method(config: ExtendConfig) -> Iterator[str]:
    for name in config.methods:
        if name not in METHODS:
            near = difflib.get_close_matches(name.lower(), METHODS, 2, 0.4)
            offer = f", did you mean {' or '.join(near)}?" if near else ";"
            flag = "--method" if name == config.method else "--beside"
            yield f"{flag} {name!r} is unknown{offer} there are {', '.join(METHODS)}"
    known = [METHODS[name] for name in config.methods if name in METHODS]
    if known and not any(one.memory for one in known):
        keeps = f"{config.method} keeps no samples" if len(known) == 1 else "none of these methods keeps samples"
        for flag, value in (("capacity", config.capacity), ("max-memory", config.max_memory)):
            if value is not None:
                yield f"--{flag} {value}: {keeps}; leave it out"


def unused(config: ExtendConfig, name: str) -> list[str]:
    """Flags that were given and that a method makes no use of."""
    usual = {one.name: one.default for one in fields(config)}
    return [f"--{one.replace('_', '-')}" for one in METHODS[name].unused if getattr(config, one) != usual[one]]


def _settings(config: ExtendConfig) -> Iterator[str]:
    """What is wrong with --settings before it is known which settings there are."""
    keys = [pair.partition("=")[0] for pair in config.settings]
    known = METHODS.get(config.method)
    for key in dict.fromkeys(keys):
        flag = f"--{key.replace('_', '-')}"
        if keys.count(key) > 1:
            yield f"--settings {key}= is given {keys.count(key)} times; which one is meant?"
        if known is not None and key in known.unused:
            yield f"--settings {key}: {config.method} makes no use of it; leave it out"
        elif key in _OWN_FLAGS:
            yield f"--settings {key}: it has a flag of its own, which reaches the methods beside it too; give {flag}"


def _numbers(config: ExtendConfig, given: int) -> Iterator[str]:
    count = given or len(config.data)
    if config.increments is not None and count > 1:
        yield f"--increments {config.increments} cuts one data set into tasks, and {count} were given; give one"
    tasks = config.increments or count
    if config.names and len(config.names) != tasks:
        yield f"--names {' '.join(config.names)}: {len(config.names)} for {tasks} new tasks; give one for each"
    if len(set(config.names)) < len(config.names):
        yield f"--names {' '.join(config.names)}: every task needs a name of its own"
    if config.max_memory is not None:
        try:
            bytes_of(config.max_memory)
        except ValueError:
            yield f"--max-memory {config.max_memory} is no number of bytes; give one such as 500kB, 10MB or 1GB"


def bytes_of(text: str) -> int:
    """`10MB` -> 10000000; units are decimal. Raises ValueError.

    >>> bytes_of("1.5 kB")
    1500
    """
    units = {"gb": 10**9, "mb": 10**6, "kb": 10**3, "b": 1}
    low = text.strip().lower()
    unit = next((name for name in units if low.endswith(name)), "")
    number = low.removesuffix(unit).strip()
    found = float(number) * units.get(unit, 1) if re.fullmatch(r"\d+(\.\d+)?", number) else 0
    if not found:
        raise ValueError(f"{text!r} is no number of bytes")
    return int(found)
