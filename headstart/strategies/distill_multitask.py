"""A small network learns to answer several questions from a big one that answers them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from headstart.catalog.sharing import SharingConfig
from headstart.data.mix import Mix
from headstart.data.store import Store
from headstart.data.task import Task
from headstart.engine.multi_answers import Question
from headstart.nets.heads import LinearHead
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.multitask import multitask
from headstart.strategies.teaching import Shown, answers_on
from headstart.terms.base import Term
from headstart.terms.taught import Taught
from headstart.terms.teacher import Live


def distill_multitask(
    net: Net,
    mix: Mix,
    cfg: SharingConfig,
    *,
    teacher: Net,
    questions: Sequence[Question],
    temperature: float = 4.0,
    share: float = 0.9,
    folder: Path | None = None,
    shown: Store | None = None,
) -> Iterator[Stage]:
    """Train as `multitask` does, each question by its teacher's answers too (`terms.taught.Taught`).

    mix        samples, labels and questions that labels are known of, classes in the teacher's order
    teacher    copied by nobody and changed by nobody; one pass of it serves all questions
    questions  that the teacher answers; those that `mix` does not ask are learned from the teacher alone
    folder     where the teacher's answers are kept where the stage's views allow it
    shown      the samples of `mix` as the teacher is to see them, at its own size; None: it sees what the student sees

    Weightings multiply what a question's labels and teacher say together.
    """
    (made,) = multitask(net, mix, cfg)
    heads = tuple(one.head for one in questions)
    live = Live(teacher, heads[-1], beside=heads[:-1], sees=None if shown is None else Shown(shown))
    samples = Task(mix.name, mix.store, np.zeros(len(mix.store), np.int64), ("sample",), mix.rows)
    answers = answers_on(replace(made, data=samples, terms={}), net, [live], folder=folder)[0]
    terms: dict[str, Term] = {}
    first = 0
    for one in questions:
        theirs = teacher.head(one.head)
        if one.name not in mix.tasks:
            _like(net.add_head(one.name, theirs.num_classes, kind=one.kind), theirs)
        terms[one.name] = Taught(
            one.name,
            one.kind,
            answers,
            (first, first + theirs.num_classes),
            hard=made.terms.get(one.name),
            temperature=temperature,
            share=share,
            unit=_unit(net.head(one.name), theirs),
        )
        first += theirs.num_classes
    more = {f"heads.{one.name}": 1.0 for one in questions if one.name not in mix.tasks}
    yield replace(made, name="distill", terms=terms, trains={**made.trains, **more})


def _like(head: LinearHead, other: LinearHead) -> None:
    """Give a head for a number the other's unit."""
    if head.kind == "number":
        head.offset.copy_(other.offset)
        head.spread.copy_(other.spread)


def _unit(head: LinearHead, other: LinearHead) -> tuple[float, float]:
    """What turns outputs of the other head into this one's unit."""
    if head.kind != "number":
        return 1.0, 0.0
    spread = float(head.spread)
    return float(other.spread) / spread, (float(other.offset) - float(head.offset)) / spread
