"""Answers of a model that was trained for several questions at once: every question about every image, in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.kinds import Kind
from headstart.engine.answering import Samples, logits_of
from headstart.errors import ConfigError
from headstart.nets.net import Net

MULTITASK = "multitask"
"""What the card of such a model says where others name how their tasks came one after the other."""
SURE = 0.5
"""Of several yes/no questions those are said yes whose probability is above this."""


@dataclass(frozen=True)
class Question:
    """One of the questions: its name, the head that answers, its classes (or yes/no questions; none for a number)."""

    name: str
    head: str
    classes: tuple[str, ...]
    kind: Kind

    def __str__(self) -> str:
        told = ", ".join(self.classes)
        words = {"yes_no": "yes or no", "number": "a number", "several": f"yes or no to each of {told}"}
        return words.get(self.kind, f"one of {told}")

    def answer(self, values: Any, top_k: int) -> Answer:
        """In words, of one image's values, see `values_of`; `top_k` of the classes, the likeliest first."""
        if self.kind == "number":
            return Answer(self.name, self.kind, [], [], float(values))
        count = len(self.classes) if self.kind == "several" else min(max(top_k, 1), len(self.classes))
        order = range(count) if self.kind == "several" else np.argsort(-values, kind="stable")[:count].tolist()
        return Answer(self.name, self.kind, [self.classes[at] for at in order], [float(values[at]) for at in order])


@dataclass(frozen=True)
class Answer:
    """What is said about one image in answer to one question.

    labels         the likeliest classes, the likeliest first; of several yes/no questions all, in their order
    probabilities  of each of them; of several questions that of yes to each
    value          a number, in the unit of the labels learned from; None for other kinds
    """

    task: str
    kind: Kind
    labels: list[str]
    probabilities: list[float]
    value: float | None = None

    @property
    def yes(self) -> list[str]:
        """Those of several questions that are said yes."""
        return [name for name, p in zip(self.labels, self.probabilities, strict=True) if p > SURE]

    def __str__(self) -> str:
        if self.value is not None:
            return f"{self.value:.6g}"
        shown = [f"{name} {p:.3f}" for name, p in zip(self.labels, self.probabilities, strict=True)]
        if self.kind == "several":
            return ", ".join(one for one, p in zip(shown, self.probabilities, strict=True) if p > SURE) or "none"
        return shown[0] if self.kind == "yes_no" else "  ".join(shown)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `yes` for several questions, `value` for a number."""
        if self.value is not None:
            return {"kind": self.kind, "value": self.value}
        said = {"yes": self.yes} if self.kind == "several" else {}
        return {"kind": self.kind, **said, "labels": self.labels, "probabilities": self.probabilities}


def questions_of(scenario: str | None, tasks: Sequence[Mapping[str, Any]]) -> tuple[Question, ...]:
    """The questions that a card tells of; none of a model that was not trained for several at once."""
    if scenario != MULTITASK:
        return ()
    return tuple(Question(one["name"], one["head"], tuple(one["classes"]), one.get("kind", "classes")) for one in tasks)


def asked(questions: Sequence[Question], names: Sequence[str]) -> tuple[Question, ...]:
    """Those called so, in the order named; all where none is named. Raises ConfigError naming those there are."""
    known = {one.name: one for one in questions}
    if wrong := [name for name in names if name not in known]:
        raise ConfigError(f"task {', '.join(map(repr, wrong))} is none that this model answers; it knows {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(names)) or tuple(questions)


def values_of(
    net: Net, questions: Sequence[Question], samples: Samples, *, batch_size: int = 128
) -> dict[str, NDArray[np.float32]]:
    """Per question `[N, C]` probabilities of its classes, or of yes to each of several questions, or `[N]` numbers.

    One pass of the backbone (with towers: of all of them) serves all questions.
    """
    logits = logits_of(net, samples, tuple(dict.fromkeys(one.head for one in questions)), batch_size)
    found: dict[str, NDArray[np.float32]] = {}
    for one in questions:
        head, outputs = net.head(one.head), logits[one.head].to(net.device)
        values = head.numbers(outputs) if one.kind == "number" else head.probabilities(outputs)
        found[one.name] = values.cpu().numpy()
    return found


def answers_to(questions: Sequence[Question], values: Mapping[str, NDArray[np.float32]], top_k: int) -> list[list[Answer]]:
    """Per image its answers, in the order of the questions."""
    count = len(next(iter(values.values())))
    return [[one.answer(values[one.name][row], top_k) for one in questions] for row in range(count)]


def table(questions: Sequence[Question], rows: Sequence[tuple[str, Sequence[Answer]]]) -> list[str]:
    """Lines for people: a column per question, a line per image."""
    cells = [["", *(one.name for one in questions)], *([path, *map(str, answers)] for path, answers in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def columns(questions: Sequence[Question]) -> Iterator[str]:
    """Names of the columns that `cells` fills."""
    for one in questions:
        if one.kind == "several":
            yield from (f"{one.name}_{name}" for name in one.classes)
        else:
            yield from (one.name,) if one.kind == "number" else (one.name, f"{one.name}_probability")


def cells(answers: Sequence[Answer]) -> Iterator[str]:
    """Of one image: the likeliest answer and its probability, the probability of yes to each of several, a number."""
    for one in answers:
        if one.value is not None:
            yield f"{one.value:.7g}"
        elif one.kind == "several":
            yield from (f"{p:.6f}" for p in one.probabilities)
        else:
            yield from (one.labels[0], f"{one.probabilities[0]:.6f}")
