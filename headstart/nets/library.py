"""What the builders of library networks have in common: options as text, and what a network wants to see."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from headstart.errors import BackboneError, ConfigError
from headstart.nets.net import InputSpec


@dataclass(frozen=True)
class Wanted:
    """What the user said about a network's input; None: as the library says."""

    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def over(self, known: Wanted) -> Wanted:
        """This, completed by what is `known`."""
        return Wanted(self.size or known.size, self.mean or known.mean, self.std or known.std)

    def spec(self, who: str) -> InputSpec:
        """The input as a spec; ConfigError naming the options that are missing or contradict each other."""
        missing = [f"--{name}" for name in ("size", "mean", "std") if getattr(self, name) is None]
        if missing:
            raise ConfigError(
                f"{who}: neither the library nor the weight file says what its input looks like; give {' '.join(missing)} "
                "(side in pixels; mean and standard deviation per channel in units of 0 to 1)"
            )
        assert self.size is not None
        assert self.mean is not None
        assert self.std is not None
        if self.size < 1 or len(self.mean) != len(self.std) or not all(value > 0 for value in self.std):
            raise ConfigError(
                f"{who}: size={self.size}, mean={self.mean}, std={self.std} do not go together; "
                "give a positive size, and as many positive deviations as means"
            )
        if max(self.mean) > 1:
            raise ConfigError(
                f"{who}: mean={self.mean} is in units of 0 to 255; divide mean and standard deviation by 255, headstart "
                "counts from 0 to 1"
            )
        return InputSpec(self.size, tuple(map(float, self.mean)), tuple(map(float, self.std)))


@dataclass
class Made:
    """A library's network before it is cut.

    module       with its original classifier
    input        what it wants to see
    source       JSON from which the same architecture can be made again
    classifiers  module paths of its classifier
    headless     makes the same network without classifier, where taking it off the graph is not possible; None: it cannot
    notes        what the user should know
    """

    module: nn.Module
    input: InputSpec
    source: dict[str, Any]
    classifiers: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


def parse_args(options: Iterable[str]) -> dict[str, Any]:
    """Builder options given as `key=value`: numbers, `true`/`false`, `none`, tuples and lists; everything else is a word.

    >>> parse_args(["pad_type=same", "drop_path_rate=0.1", "img_size=[224, 288]"])
    {'pad_type': 'same', 'drop_path_rate': 0.1, 'img_size': [224, 288]}
    """
    found: dict[str, Any] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(f"builder option {option!r} is not of the form key=value, e.g. pad_type=same")
        found[key] = _value(text)
    return found


def cannot_build(who: str, options: Mapping[str, Any], error: Exception) -> BackboneError:
    """What to say when the builder of `who` refuses its options with `error`."""
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if unknown is not None and unknown[1] in options:
        return BackboneError(f"{who} has no option {unknown[1]!r}; take it out of --backbone-args")
    given = " ".join(f"{key}={value}" for key, value in options.items())
    said = f" with --backbone-args {given}; look at their values" if given else ""
    return BackboneError(f"{who} cannot be built{said}: {type(error).__name__}: {error}")


def _value(text: str) -> Any:
    words: Mapping[str, Any] = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, (int, float, list, tuple, str)) else text
