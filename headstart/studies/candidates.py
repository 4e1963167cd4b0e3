"""From what a person typed to networks that might be the source: names, patterns, groups, lists, weight files."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from headstart.catalog.groups import GROUPS, matching
from headstart.catalog.select import Candidate, SelectConfig
from headstart.engine.model import model_folder
from headstart.errors import BackboneError, ConfigError, problems
from headstart.nets.build import build, parse_args
from headstart.nets.local import local_networks
from headstart.nets.net import Net

ALL_LOCAL = "all-local"
_PATTERN = frozenset("*?[")
_INPUT = ("size", "mean", "std")


@dataclass(frozen=True)
class _Reader:
    """Opens up words. `where` says what a word stood in, for errors; a list within a list is not read."""

    runs: Path
    where: str = "--candidates"
    listed: bool = False

    def read(self, text: str) -> Iterator[Candidate]:
        """The candidates that one word stands for. Raises ConfigError when there are none."""
        if text == ALL_LOCAL:
            yield from (Candidate(name) for name in local_networks(self.runs))
        elif text in GROUPS:
            yield from (Candidate(name) for name in GROUPS[text])
        elif not self.listed and Path(text).is_file():
            yield from self._list(Path(text))
        elif _PATTERN & set(text.partition("@")[0]):
            yield from (Candidate(name) for name in self._matching(text))
        else:
            yield self.one(text)

    def _matching(self, pattern: str) -> list[str]:
        found = matching(pattern)
        if not found:
            raise ConfigError(
                f"{self.where}: no network's name fits {pattern!r}; `headstart models` lists them, a pattern is one such as "
                "timm:resnet*"
            )
        return found

    def _list(self, path: Path) -> Iterator[Candidate]:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"{self.where} {path} is no text; a list has one network per line, and a weight file goes with the network "
                f"it belongs to: NAME@{path}"
            ) from error
        words = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, 1)]
        words = [(number, word) for number, word in words if word]
        if not words:
            raise ConfigError(f"{self.where} {path} names no network; write one per line")
        for number, word in words:
            yield from replace(self, where=f"{path}, line {number}", listed=True).read(word)

    def one(self, text: str) -> Candidate:
        """`NAME@WEIGHTFILE key=value ...`, all but the name optional."""
        first, *options = text.split() if "=" in text else [text]
        name, at, weights = first.partition("@")
        if not name or (at and not weights):
            raise ConfigError(f"{self.where}: {text!r} lacks the {'weight file' if name else 'name'}; write NAME@WEIGHTFILE")
        given = dict(option.partition("=")[::2] for option in options)
        odd = [option for option in options if "=" not in option]
        problems(ConfigError, f"{self.where}: {text!r} has options that are not key=value:", odd)
        found = Candidate(
            name,
            weights=Path(weights) if at else None,
            args=tuple(option for option in options if option.partition("=")[0] not in _INPUT),
            size=self._number(text, "size", given.get("size")),
            mean=self._channels(text, "mean", given.get("mean")),
            std=self._channels(text, "std", given.get("std")),
        )
        parse_args(found.args)
        return found

    def _number(self, text: str, name: str, value: str | None) -> int | None:
        if value is None:
            return None
        if not value.isdecimal() or not int(value):
            raise ConfigError(f"{self.where}: {text!r}: {name}={value} is no number of pixels, e.g. {name}=96")
        return int(value)

    def _channels(self, text: str, name: str, value: str | None) -> tuple[float, ...] | None:
        if value is None:
            return None
        try:
            numbers = tuple(float(part) for part in value.split("/"))
        except ValueError as error:
            raise ConfigError(
                f"{self.where}: {text!r}: {name}={value} is not a number such as 0.5, or three: .4/.5/.6"
            ) from error
        return numbers * 3 if len(numbers) == 1 else numbers


def named(text: str, where: str) -> Candidate:
    """One network as a person writes it, `NAME@WEIGHTFILE key=value ...`, all but the name optional.

    where  the argument that it stood in, for errors
    """
    return _Reader(Path("runs"), where).one(text)


def resolve(config: SelectConfig, given: Sequence[Any] | None = None) -> list[Candidate]:
    """The candidates that the settings name, each once and with a name of its own, in the order given.

    given  from Python instead: names, folders, `Candidate`s, modules, `Net`s

    Raises ConfigError for a pattern or list that stands for nothing, and for more than `at_most`.
    """
    reader = _Reader(config.runs)
    texts: Iterable[Any] = given if given is not None else (word for text in config.candidates for word in split_words(text))
    found: dict[Any, Candidate] = {}
    for item in texts:
        for one in _opened(item, reader):
            found.setdefault(_key(one), one)
    if not found:
        raise ConfigError(
            "--candidates names no network; write NAME,NAME,..., a group, a file that lists them, or all-local"
        )
    if len(found) > config.at_most:
        raise ConfigError(
            f"--candidates stands for {len(found)} networks, more than --at-most {config.at_most}: narrow it down, or raise "
            "--at-most"
        )
    return _named(list(found.values()))


def split_words(text: str) -> list[str]:
    """The parts of `a,b`; a file or folder with a comma in its name is one part."""
    if text and Path(text).exists():
        return [text]
    return [part.strip() for part in text.split(",") if part.strip()]


def _opened(item: Any, reader: _Reader) -> Iterator[Candidate]:
    if isinstance(item, Candidate):
        yield item
    elif isinstance(item, Path):
        yield Candidate(str(item))
    elif isinstance(item, str):
        for word in split_words(item):
            yield from reader.read(word)
    elif isinstance(item, (nn.Module, Net)):
        yield Candidate(item)
    else:
        raise ConfigError(
            f"candidates: {type(item).__name__} is no network; give a name, a folder, a module, or a headstart.Candidate"
        )


def _key(one: Candidate) -> Any:
    what = id(one.backbone) if isinstance(one.backbone, nn.Module) else str(one.backbone).removesuffix("/")
    weights = one.weights.resolve() if one.weights is not None else None
    return what, weights, one.args, one.size, one.mean, one.std


def _named(found: Sequence[Candidate]) -> list[Candidate]:
    """With names that tell them apart: what differs is added, at last a number."""
    short = [str(one) for one in found]
    longer = [name if short.count(name) == 1 else _in_full(one) for name, one in zip(short, found, strict=True)]
    names: list[str] = []
    for name in longer:
        number = 2
        unique = name
        while unique in names:
            unique, number = f"{name} #{number}", number + 1
        names.append(unique)
    return [replace(one, name=name) for one, name in zip(found, names, strict=True)]


def _in_full(one: Candidate) -> str:
    base = one.name or str(replace(one, weights=None))
    weights = f"@{one.weights}" if one.weights is not None and not one.name else ""
    parts = [f"{base}{weights}", *one.args, *([f"size={one.size}"] if one.size else [])]
    return " ".join(parts)


def load(one: Candidate, seed: int = 0) -> Net:
    """The network with its own classifier, where it has one. Raises InputError when it cannot be had."""
    if isinstance(one.backbone, Net):
        return copy.deepcopy(one.backbone)
    saved = model_folder(one.backbone) if isinstance(one.backbone, (str, Path)) else None
    try:
        return build(
            saved if saved is not None else one.backbone,
            weights=one.weights,
            args=parse_args(one.args),
            size=one.size,
            mean=one.mean,
            std=one.std,
            seed=seed,
        )
    except BackboneError as error:
        raise BackboneError(f"{error}{_group_hint(one)}") from error


def _group_hint(one: Candidate) -> str:
    """Somebody who mistyped a group or a list is told so; the builder knows nothing of them."""
    name = str(one.backbone)
    if Path(name).suffix in (".txt", ".csv", ".lst", ".list"):
        return f". A list of networks is meant? There is no file {name}"
    known = (*GROUPS, ALL_LOCAL)
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return f". Or did you mean the group {near[0]}?" if near else ""
