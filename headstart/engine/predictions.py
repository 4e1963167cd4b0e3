"""What a model said about images, as rows that print as a table, JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from headstart.data.names import BadFile
from headstart.engine.multi_answers import Answer, Question, cells, columns, table


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of one image, the likeliest first; `tasks` they belong to where a model has several.

    answers  of a model for several questions at once: one per question, and then there are no `labels` besides
    """

    path: str
    labels: list[str]
    probabilities: list[float]
    tasks: list[str] | None = None
    answers: list[Answer] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        if self.answers is not None:
            return {"path": self.path, "tasks": {one.task: one.to_json() for one in self.answers}}
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Predictions:
    """Answers in the order asked, and the files that could not be read. Prints as a table.

    questions  that were asked of a model for several at once; none of any other model
    """

    rows: list[Prediction]
    unreadable: list[BadFile]
    questions: tuple[Question, ...] = ()

    def __str__(self) -> str:
        shown = (
            table(self.questions, [(row.path, row.answers or ()) for row in self.rows]) if self.questions else self._lines()
        )
        return "\n".join([*shown, *(f"{bad.path}  not read: {bad.reason}" for bad in self.unreadable)])

    def _lines(self) -> list[str]:
        width = max((len(row.path) for row in self.rows), default=0)
        return [
            f"{row.path:<{width}}  {row.tasks[0] + ': ' if row.tasks else ''}"
            + "  ".join(f"{label} {p:.3f}" for label, p in zip(row.labels, row.probabilities, strict=True))
            for row in self.rows
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        return {
            "predictions": [row.to_json() for row in self.rows],
            "unreadable": [bad._asdict() for bad in self.unreadable],
        }

    def to_csv(self) -> str:
        """One line per image: path, its task where a model has several, then label and probability for each of the top k.

        Of several questions at once a column per question and its probability; of several yes/no questions asked together a
        column for each, the probability of yes.
        """
        if self.questions:
            return _csv([["path", *columns(self.questions)], *([row.path, *cells(row.answers or ())] for row in self.rows)])
        count = max((len(row.labels) for row in self.rows), default=1)
        several = any(row.tasks for row in self.rows)
        pairs = [f"{what}_{place + 1}" for place in range(count) for what in ("label", "probability")]
        lines = [["path", *(["task"] if several else []), *pairs]]
        for row in self.rows:
            found = [item for label, p in zip(row.labels, row.probabilities, strict=True) for item in (label, f"{p:.6f}")]
            lines.append([row.path, *([row.tasks[0] if row.tasks else ""] if several else []), *found])
        return _csv(lines)


def _csv(lines: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()
