"""What is known about one question, sample by sample; and why nothing could be learned from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.kinds import Kind
from headstart.data.names import count, some
from headstart.data.task import UNKNOWN, YES_NO, valid

KIND_NAMES: dict[Kind, str] = {
    "classes": "one of several classes",
    "yes_no": "yes or no",
    "several": "several yes/no questions",
    "number": "a number",
}


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers to one question.

    name     of the task
    kind     of the answers, and with it the form of `classes` and `labels`: see `Task`
    labels   one row per sample
    note     how they were understood, a sentence for the user
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]
    labels: NDArray[Any]
    note: str = ""

    @property
    def known(self) -> NDArray[np.bool_]:
        """`[N]` samples with an answer, to one of several questions at least."""
        return known_rows(self.labels)

    def take(self, rows: NDArray[np.integer]) -> Answers:
        """The same for fewer samples."""
        return replace(self, labels=self.labels[rows])

    def said(self, row: int) -> str:
        """The answer of one sample in words."""
        return said(self.kind, self.classes, self.labels[row])


def known_rows(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """`[N]` where labels of any kind are known."""
    there = valid(labels)
    return np.asarray(there.any(1) if there.ndim == 2 else there, np.bool_)


def said(kind: Kind, classes: Sequence[str], label: Any) -> str:
    """One label in words: `cat`, `yes`, `3.5`, `car yes, sign no`; `unknown`."""
    if kind == "several":
        told = [f"{name} {YES_NO[int(one)]}" for name, one in zip(classes, label, strict=True) if one != UNKNOWN]
        return ", ".join(told) or "unknown"
    if not valid(np.asarray(label)):
        return "unknown"
    return f"{float(label):g}" if kind == "number" else classes[int(label)]


def value_problems(made: Answers, where: str = "") -> list[str]:
    """Why nothing can be learned from the answers: none is known, or all are the same. `where` is said after it."""
    if made.kind == "several" and not made.classes:
        return [f"task {made.name!r} names no question: none is yes in any row"]
    known = made.labels[made.known]
    if not len(known):
        return [f"task {made.name!r} has no known label{where}"]
    if made.kind == "several":
        return _one_sided(made, where)
    values = np.unique(known)
    if len(values) > 1:
        return []
    only = made.said(int(np.flatnonzero(made.known)[0]))
    hint = " (an empty cell means unknown; write no where it is no)" if made.kind == "yes_no" and only == "yes" else ""
    return [f"task {made.name!r} has one value only{where}, {only!r}{hint}; add samples with another one, or leave it out"]


def _one_sided(made: Answers, where: str) -> list[str]:
    """Questions of several to which every known answer is the same, or none is known."""
    yes, no = (made.labels == 1).any(axis=0), (made.labels == 0).any(axis=0)
    wrong = []
    for lacking, what in ((~yes & no, "never yes"), (yes & ~no, "never no"), (~yes & ~no, "never known")):
        names = [repr(made.classes[int(i)]) for i in np.flatnonzero(lacking)]
        if names:
            verb = "is" if len(names) == 1 else "are"
            wrong.append(f"task {made.name!r}: {some(names, 8)} {verb} {what}{where}; leave {_it(names)} out")
    return wrong


def _it(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def split_problems(made: Answers, splits: Mapping[str, NDArray[np.int64]]) -> list[str]:
    """What stands in the way of learning from and testing on parts that the user chose: `splits` holds rows."""
    if "train" not in splits:
        return []  # told apart, once for all tasks
    train = made.take(splits["train"])
    wrong = value_problems(train, " in train")
    have = set(_values(train))
    for split, rows in splits.items():
        part = made.take(rows)
        if split == "train":
            continue
        if not part.known.any():
            wrong.append(f"task {made.name!r} has no known label in {split}; label some, or leave the split out")
        extra = [value for value in _values(part) if value not in have] if have else []
        if extra:
            what = count(len(extra), "class", "classes")
            wrong.append(
                f"task {made.name!r}: {split} has {what} that train does not have: {some(extra, 10)}; add training samples "
                f"of {_it(extra)}, or take {_it(extra)} out"
            )
    return wrong


def _values(made: Answers) -> list[str]:
    """The classes that occur; of several questions those that are yes somewhere; none of a number."""
    if made.kind == "number":
        return []
    if made.kind == "several":
        return [name for i, name in enumerate(made.classes) if (made.labels[:, i] == 1).any()]
    return [made.classes[int(i)] for i in np.unique(made.labels[made.known])]
