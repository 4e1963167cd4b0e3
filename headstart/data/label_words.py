"""What a cell of a label table says: nothing known, yes or no, a number, several words; and which kind a column must be.

The kind of a column whose kind is not said follows from its known cells alone, in this order:

    several   a cell holds `;` or `|`
    yes_no    every cell is a word for yes or no (or all but one in ten, where both occur: the others are then problems)
    number    the cells are numbers (or most are: the others are then problems), and not whole numbers that look like
              class ids: at most 20 different ones, either counted 0, 1, 2, ... (or 1, 2, 3, ...) without a gap or each
              there twice on average; or counted from 0 without a gap, however many, each there ten times on average
    classes   anything else
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from headstart.catalog.kinds import Kind
from headstart.data.names import class_name, count, some

UNKNOWN_WORDS = frozenset({"", "na", "n/a", "nan", "null", "?", "unknown"})
"""Cells that say that the answer is not known, in upper or lower case."""
YES_WORDS = frozenset({"yes", "y", "true", "t", "1", "1.0", "+"})
NO_WORDS = frozenset({"no", "n", "false", "f", "0", "0.0", "-", "\N{MINUS SIGN}"})
NONE_WORDS = frozenset({"none", "-"})
"""Cells of a column of several questions that say: known, and none of them is yes."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?inf(?:inity)?", re.IGNORECASE)
_APART = re.compile(r"[;|]")
_WHOLE = re.compile(r"([+-]?\d+)\.0+")
_FEW = 20


def is_unknown(text: str) -> bool:
    """Whether a cell says that the answer is not known."""
    return text.casefold() in UNKNOWN_WORDS


def yes_or_no(text: str) -> int | None:
    """1 for yes, 0 for no, None for another word."""
    word = text.casefold()
    return 1 if word in YES_WORDS else 0 if word in NO_WORDS else None


def number(text: str) -> float | None:
    """The number in a cell, perhaps infinite; None for anything else."""
    return float(text) if _NUMBER.fullmatch(text) else None


def words_of(text: str) -> list[str]:
    """The words of a cell that may hold several, `a; b` or `a|b`; none for one that says that none is yes."""
    if text.casefold() in NONE_WORDS:
        return []
    return [class_name(word) for word in _APART.split(text) if word.strip()]


def class_words(texts: Sequence[str]) -> list[str]:
    """Class names of known cells; whole numbers written `3.0`, as tables with gaps often have them, become `3`."""
    if all(number(text) is not None for text in set(texts)):
        return [_WHOLE.sub(r"\1", text) if _WHOLE.fullmatch(text) else text for text in texts]
    return [class_name(text) for text in texts]


def infer_kind(known: Sequence[str]) -> tuple[Kind, str]:
    """The kind of a column with these known cells, one at least, and why in a few words."""
    counts = Counter(known)
    if any(_APART.search(text) for text in counts):
        return "several", "cells with ; or | hold several words"
    if _says_yes_no(counts, len(known)):
        return "yes_no", "its words are yes and no"
    numbers = {text: value for text in counts if (value := number(text)) is not None}
    if 2 * sum(counts[text] for text in numbers) <= len(known):
        return "classes", "its cells are words"
    finite = Counter[float]()
    for text, value in numbers.items():
        finite[value] += counts[text]
    if all(math.isfinite(value) and value == int(value) for value in finite) and _like_ids(finite):
        return (
            "classes",
            f"it has {count(len(finite), 'whole number')} that look like class ids, not amounts; else say :number",
        )
    return "number", _why_number(finite)


def _says_yes_no(counts: Mapping[str, int], total: int) -> bool:
    """Whether the words are yes and no, but for a slip of the pen if they are words and not bare numbers."""
    said = {text: answer for text in counts if (answer := yes_or_no(text)) is not None}
    if len(said) == len(counts):
        return True
    worded = {answer for text, answer in said.items() if number(text) is None}
    others = [times for text, times in counts.items() if text not in said]
    slip = 10 * sum(others) <= total or (max(others) == 1 and 3 * len(others) <= total)
    return worded == {0, 1} and slip


def _like_ids(counts: Mapping[float, int]) -> bool:
    values, total = sorted(counts), sum(counts.values())
    counted = values[-1] - values[0] == len(values) - 1 and values[0] in (0, 1)
    if len(values) <= _FEW:
        return counted or total >= 2 * len(values)
    return counted and values[0] == 0 and total >= 10 * len(values)


def _why_number(counts: Mapping[float, int]) -> str:
    broken = [value for value in counts if not math.isfinite(value) or value != int(value)]
    if broken:
        return f"it has numbers like {some(f'{v:g}' for v in broken[:1])}"
    return f"it has {count(len(counts), 'different number')}"
