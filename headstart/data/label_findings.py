"""What was found in data with several tasks: answers, gaps, what was set aside, copies and contradictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.kinds import Kind
from headstart.data.answers import KIND_NAMES, Answers
from headstart.data.inspection import Cluster, Sizes
from headstart.data.names import BadFile, count, some

_SMALL = 10
_LISTED = 5
_PATTERNS = 20


@dataclass(frozen=True)
class TaskFound:
    """What is known about one task.

    known    samples with an answer; `missing` have none
    counts   classes: samples per class; yes_no: of no and yes; several: per question those with yes; number: empty
    asked    several: per question samples with an answer; else empty
    numbers  number: least, mean, largest and standard deviation; else None
    note     how the labels were understood
    """

    name: str
    kind: Kind
    known: int
    missing: int
    counts: dict[str, int]
    asked: dict[str, int]
    numbers: tuple[float, float, float, float] | None
    note: str


@dataclass(frozen=True)
class LabelFindings:
    """What was found. Prints as a page; `to_json()` for machines.

    num_images     usable ones
    tasks          in their order
    splits         what the user chose: split -> task -> samples with an answer; empty where nothing was chosen
    together       which tasks are known together -> samples, the most frequent first
    sizes, modes   of the original pictures; sizes are None for vectors
    set_aside      samples that cannot be used, with the reason
    exact, near    clusters of identical and nearly identical pictures
    leaks          those of them, and groups, that lie in several of the user's splits
    conflicts      identical pictures with different answers, in words
    notes          how the data was understood
    warnings       what may spoil results, each with a remedy
    """

    where: str
    num_images: int
    tasks: tuple[TaskFound, ...]
    splits: dict[str, dict[str, int]]
    together: dict[str, int]
    sizes: Sizes | None
    modes: dict[str, int]
    set_aside: tuple[BadFile, ...]
    exact: tuple[Cluster, ...]
    near: tuple[Cluster, ...]
    leaks: tuple[Cluster, ...]
    conflicts: tuple[str, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings; JSON holds it as it is."""
        out = asdict(self)
        out["set_aside"] = [{"path": bad.path, "reason": bad.reason} for bad in self.set_aside]
        return out

    def __str__(self) -> str:
        return "\n".join([*_head(self), "", *_table(self), *_rest(self)])


def task_found(made: Answers) -> TaskFound:
    """Counts of one task."""
    known = made.labels[made.known]
    counts: dict[str, int] = {}
    asked: dict[str, int] = {}
    numbers = None
    if made.kind == "number":
        values = known.astype(np.float64)
        if len(values):
            numbers = (float(values.min()), float(values.mean()), float(values.max()), float(values.std()))
    elif made.kind == "several":
        counts = {name: int(n) for name, n in zip(made.classes, (known == 1).sum(axis=0), strict=True)}
        asked = {name: int(n) for name, n in zip(made.classes, (known >= 0).sum(axis=0), strict=True)}
    else:
        number = np.bincount(known, minlength=len(made.classes))
        counts = {name: int(n) for name, n in zip(made.classes, number, strict=True)}
    return TaskFound(made.name, made.kind, len(known), len(made.labels) - len(known), counts, asked, numbers, made.note)


def known_by_part(answers: Sequence[Answers], parts: Mapping[str, NDArray[np.int64]]) -> dict[str, dict[str, int]]:
    """part -> task -> samples with an answer; `parts` holds rows."""
    return {part: {made.name: int(made.known[rows].sum()) for made in answers} for part, rows in parts.items()}


def known_together(answers: Sequence[Answers]) -> dict[str, int]:
    """Which tasks are known together -> number of samples, the most frequent first; rare ones in one sum."""
    known = np.stack([made.known for made in answers], axis=1)
    patterns, numbers = np.unique(known, axis=0, return_counts=True)
    names = np.array([made.name for made in answers], dtype=object)
    told = Counter({" + ".join(names[row]) or "none": int(n) for row, n in zip(patterns, numbers, strict=True)})
    out = dict(told.most_common(_PATTERNS))
    rest = len(known) - sum(out.values())
    return out | ({f"{len(told) - len(out)} other combinations": rest} if rest else {})


def warnings_of(found: LabelFindings, *, divided: bool) -> Iterator[str]:
    """In the order in which they endanger a result. `divided`: the user chose splits."""
    if found.leaks:
        first = found.leaks[0]
        yield (
            f"{count(len(found.leaks), 'set')} of copies or group members lie in more than one split (first: "
            f"{first.what or some(first.names)}); results there will look better than they are: keep them in one split"
        )
    if found.conflicts:
        yield f"identical samples have different answers {count(len(found.conflicts), 'time')} (first: {found.conflicts[0]})"
    if found.set_aside:
        bad = found.set_aside[0]
        yield (
            f"{count(len(found.set_aside), 'sample was', 'samples were')} set aside (first: {bad.path} {bad.reason}); "
            "repair or delete them"
        )
    for task in found.tasks:
        yield from _small(task)
    copies = [c for c in (*found.exact, *found.near) if not (divided and c.leaks)]
    if copies:
        yield (
            f"{count(len(copies), 'set')} of identical or nearly identical pictures; they are kept in one part, but copies "
            "add no information: consider deleting them"
        )


def _small(task: TaskFound) -> Iterator[str]:
    if task.kind == "number":
        few = [task.name] if task.known < _SMALL else []
    else:
        few = [name for name, n in task.counts.items() if n < _SMALL]
        few += [f"not {name}" for name, n in task.asked.items() if n - task.counts[name] < _SMALL]
    if few:
        yield f"task {task.name!r}: fewer than {_SMALL} images of {some(few, _LISTED)}; results will be uncertain: add some"


def _head(found: LabelFindings) -> list[str]:
    lines = [f"{found.where}: {count(found.num_images, 'image')}, {count(len(found.tasks), 'task')}"]
    if found.sizes:
        (w0, w1, w2), (h0, h1, h2) = found.sizes.width, found.sizes.height
        lines.append(f"width {w0} - {w2} px (median {w1:g}), height {h0} - {h2} px (median {h1:g})")
    kinds = ", ".join(f"{mode} {number}" for mode, number in found.modes.items())
    return [*lines, f"pixel formats: {kinds}", *found.notes]


def _table(found: LabelFindings) -> Iterator[str]:
    width = min(30, max(4, *(len(task.name) for task in found.tasks)))
    parts = list(found.splits)
    yield f"{'task':<{width}} {'known':>8} {'missing':>8} " + "".join(f"{part:>8} " for part in parts) + "answers"
    for task in found.tasks:
        split = "".join(f"{found.splits[part][task.name]:>8} " for part in parts)
        yield f"{task.name[:width]:<{width}} {task.known:>8} {task.missing:>8} {split}{_answers(task)}"
    if len(found.together) > 1:
        yield ""
        yield f"known together: {some((f'{names}: {n}' for names, n in found.together.items()), 8)}"


def _answers(task: TaskFound) -> str:
    if task.numbers is not None:
        low, mean, high, spread = task.numbers
        return f"{low:g} to {high:g}, mean {mean:.4g}, standard deviation {spread:.4g}"
    if task.kind == "several":
        return "yes: " + some((f"{name} {n} of {task.asked[name]}" for name, n in task.counts.items()), 8)
    if not task.counts:
        return KIND_NAMES[task.kind]
    return some((f"{name} {n}" for name, n in task.counts.items()), 8)


def _rest(found: LabelFindings) -> Iterator[str]:
    titled: tuple[tuple[str, Sequence[str]], ...] = (
        ("set aside", [f"{bad.path}: {bad.reason}" for bad in found.set_aside]),
        ("identical pictures", [some(c.names, 4) for c in found.exact]),
        ("nearly identical pictures", [some(c.names, 4) for c in found.near]),
        ("in several splits", [(f"group {c.what}: " if c.kind == "group" else "") + some(c.names, 4) for c in found.leaks]),
        ("identical pictures with different answers", found.conflicts),
    )
    for title, lines in titled:
        if lines:
            yield ""
            yield f"{title} ({len(lines)}):"
            yield from (f"  {line}" for line in lines[:_LISTED])
            if len(lines) > _LISTED:
                yield f"  ... and {len(lines) - _LISTED} more"
    if found.warnings:
        yield ""
        yield "warnings:"
        yield from (f"  - {warning}" for warning in found.warnings)
