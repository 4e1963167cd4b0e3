"""Images to pretrain on, decoded once and inspected: some of them labelled, or all, or none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from headstart.data.inspection import Inspection
from headstart.data.names import count, some
from headstart.data.prepare import DataSet, Progress, Read, Usable, finish, prepare, read_samples
from headstart.data.sources import Source, class_problems
from headstart.data.task import UNKNOWN
from headstart.errors import DataError

NO_LABEL = "(no label)"
"""What images without a label are counted under."""


def read_pool(source: Source, *, size: int, fit: str = "squash", cache: Path, progress: Progress | None = None) -> DataSet:
    """Decode every picture of `source` once and inspect it; labels may be unknown (-1), and there may be no classes.

    Arguments as of `prepare`. Labels that cannot serve (of one class alone, or of none to learn from) are forgotten, which
    the inspection says. Raises DataError when no picture can be read, DiskFull when the cache cannot hold them.
    """
    if source.labels is None or (len(source.labels) and (source.labels >= 0).all() and not _useless(source)):
        return prepare(source, size=size, fit=fit, cache=cache, progress=progress)
    read = read_samples(source, size=size, fit=fit, cache=cache, progress=progress)
    if not len(read.places):
        reasons = some((f"{bad.path} {bad.reason}" for bad in (*source.set_aside, *read.bad)), 5)
        raise DataError(f"{source.where}: none of its {count(len(source), 'image')} can be read: {reasons}")
    labels, classes = source.labels[read.places], source.classes or ()
    notes = source.notes
    if useless := _useless(source):
        labels, classes, notes = np.full_like(labels, UNKNOWN), (), (*notes, *useless)
    return _finished(source, read, replace(_usable(source, read), labels=labels, classes=classes, notes=notes), size, fit)


def _useless(source: Source) -> list[str]:
    """Why the labels there are cannot serve; empty when they can, and when there are none."""
    if source.labels is None or not (source.labels >= 0).any():
        return []
    wrong = class_problems(source.labels, source.classes or (), source.splits)
    return [f"its labels are not used: {text}" for text in wrong]


def _usable(source: Source, read: Read) -> Usable:
    places = read.places
    groups = None if source.groups is None else source.groups[places]
    names = [source.names[int(place)] for place in places]
    return Usable(names, np.empty(0, np.int64), (), groups, read.splits(source), read.bad, source.notes)


def _finished(source: Source, read: Read, usable: Usable, size: int, fit: str) -> DataSet:
    """Inspected with a class of its own for what nobody labelled, which is then no class any more."""
    counted = replace(
        usable,
        labels=np.where(usable.labels < 0, len(usable.classes), usable.labels),
        classes=(*usable.classes, NO_LABEL),
    )
    made = finish(source, counted, read, size, fit)
    return replace(made, labels=usable.labels, classes=usable.classes, inspection=_told(made.inspection, usable))


def _told(found: Inspection, usable: Usable) -> Inspection:
    """The inspection without what is no fault where labels are missing: classes of unlike size, copies of which one has a
    label."""
    conflicts = tuple(one for one in found.conflicts if len(set(one.labels) - {NO_LABEL}) > 1)
    sizes = np.bincount(usable.labels[usable.labels >= 0], minlength=len(usable.classes))
    imbalance = float(max(sizes.max(initial=0), 1) / max(sizes.min(initial=1), 1)) if len(sizes) else 1.0
    warnings = tuple(
        text
        for text in found.warnings
        if not text.startswith("the largest class")
        and NO_LABEL not in text
        and not ("different labels" in text and len(conflicts) < len(found.conflicts))
    )
    return replace(
        found,
        num_classes=len(usable.classes),
        conflicts=conflicts,
        imbalance=imbalance,
        warnings=(*warnings, *_more(usable)),
    )


def _more(usable: Usable) -> Iterator[str]:
    yield from (note for note in usable.notes if note.startswith("its labels are not used"))
