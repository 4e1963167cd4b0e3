"""Names of files, classes and splits: how they are ordered, compared and shown."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

SPLITS = ("train", "val", "test")
_SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_DIGITS = re.compile(r"([0-9]{1,18})")


class BadFile(NamedTuple):
    """A sample that was set aside: where it is, and why in plain words."""

    path: str
    reason: str


def split_named(word: str) -> str | None:
    """`train`, `val` or `test` when `word` is a usual name of one (`valid`, `Validation`, `TEST`, ...), else None."""
    return _SPLIT_WORDS.get(word.strip().casefold())


def natural_key(text: str) -> tuple[list[str | int], str]:
    """Sort key that puts `2` before `10` and does not separate upper from lower case."""
    parts: list[str | int] = [int(p) if i % 2 else p for i, p in enumerate(_DIGITS.split(text.casefold()))]
    return parts, text


def class_name(text: str) -> str:
    """A class name in one spelling: composed Unicode, since a folder copied from macOS spells accents apart."""
    return unicodedata.normalize("NFC", text.strip())


def shown(path: str | os.PathLike[str]) -> str:
    """A path that is safe to print and to write as JSON: undecodable bytes and control characters are escaped."""
    text = os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def some(items: Iterable[str], limit: int = 3) -> str:
    """The first few of `items` for a message: `a, b, c and 4 more`."""
    every: Sequence[str] = [shown(i) for i in items]
    rest = len(every) - limit
    return ", ".join(every[:limit]) + (f" and {rest} more" if rest > 0 else "")


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 image`, `1 234 images`."""
    return f"{number:,}".replace(",", " ") + " " + (noun if number == 1 else plural or noun + "s")
