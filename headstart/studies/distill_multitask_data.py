"""What a student for several questions and its teacher see of the same images, and which of them the teacher never learned
from."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.asked import Asked, parse_tasks
from headstart.catalog.device import ColumnsConfig
from headstart.catalog.distill import DistillJobConfig
from headstart.data.labelled import LabelledSet, LabelParts, prepare_labelled
from headstart.data.labelled_sources import LabelledSource, open_labelled
from headstart.data.names import count
from headstart.data.store import Store
from headstart.engine import distributed
from headstart.engine.model import Model
from headstart.errors import DataError
from headstart.nets.net import Net
from headstart.studies.table_run import TableRun, asked_of

_UNKNOWN = (
    "how the teacher's own images were divided is not known; where they are among these, it may have seen test images, and "
    "what the student gains by it may be too high"
)


@dataclass(frozen=True, eq=False)
class Shared:
    """The images of a distillation.

    data   as the student sees them
    shown  the same samples as the teacher sees them, at its own size and fitted as it has learned
    parts  `test` holds none that the teacher learned from, where `held_out`; else nothing is known of that
    """

    data: LabelledSet
    shown: Store
    parts: LabelParts
    held_out: bool

    @property
    def warnings(self) -> list[str]:
        """What is to be said about them."""
        return [*self.data.findings.warnings, *([] if self.held_out else [_UNKNOWN])]


def source_of(data: Any, config: DistillJobConfig, model: Model, run: TableRun) -> LabelledSource:
    """The questions of the teacher that the data ask, with the columns named, else those of its own run."""
    return open_labelled(data, _there(data, asked_of(data, run, model.card.questions)), **_columns(data, config, run))


def shared_of(
    source: LabelledSource,
    config: DistillJobConfig,
    student: Net,
    model: Model,
    run: TableRun,
    *,
    cache: Path,
    progress: Callable[[int, int], None],
) -> Shared:
    """Read the images for both, and divide them as the teacher's own run did.

    Raises DataError where the teacher learned from some of these images and held out none.
    """

    def read(one: LabelledSource, name: str, size: int, fit: str) -> LabelledSet:
        return distributed.first(
            lambda: prepare_labelled(one, size=size, fit=fit, cache=cache / name, progress=progress)  # type: ignore[no-any-return]
        )

    def as_taught(one: LabelledSource, name: str) -> LabelledSet:
        return read(one, name, model.net.input.size, model.card.fit)

    data = read(source, "student", student.input.size, config.images.fit)
    alike = (student.input.size, config.images.fit) == (model.net.input.size, model.card.fit)
    theirs = data if alike or not data.store.is_image else as_taught(source, "teacher")
    if theirs.names != data.names:
        raise DataError(f"{data.findings.where} changed while it was read; start again")
    parts = _held_out(theirs, model, run, lambda own: as_taught(own, "taught"))
    val, test = run.fractions
    divided = parts or theirs.split(config.seed if run.seed is None else run.seed, val_fraction=val, test_fraction=test)
    return Shared(data, theirs.store, divided, parts is not None)


def _held_out(
    data: LabelledSet, model: Model, run: TableRun, read: Callable[[LabelledSource], LabelledSet]
) -> LabelParts | None:
    """`data` divided so that nothing is tested on that the teacher learned from; None where that is not known.

    The same table is divided as then. Of another one, test images are those that the teacher's run set aside, found by
    their pixels in its own data; where those pixels are all new to the teacher, they are divided anew.
    """
    if run.seed is None or not model.card.ancestors:
        return None
    val, test = run.fractions
    made_from = model.card.ancestors[-1].fingerprint
    if data.fingerprint == made_from:
        return data.split(run.seed, val_fraction=val, test_fraction=test)
    if run.data is None:
        return None
    own = read(open_labelled(run.data, parse_tasks(run.words), **_named(run.data, vars(run.columns or ColumnsConfig()))))
    if own.fingerprint != made_from:  # other images, or others' labels, than the teacher's run had
        return None
    parts = own.split(run.seed, val_fraction=val, test_fraction=test)
    marks, then = _marks(data.store), _marks(own.store)
    aside = np.isin(marks, then[parts.test])
    learned = np.isin(marks, then[np.concatenate([parts.train, parts.val])])
    learned = np.isin(data.groups, data.groups[learned])  # with its copies, and whatever else belongs to the same group
    if not (aside | learned).any():
        return data.split(run.seed, val_fraction=val, test_fraction=test)
    tested = aside & ~learned
    if not tested.any():
        raise DataError(
            f"the teacher learned from {count(int(learned.sum()), 'image')} of {data.findings.where} and set none of them "
            "aside, so that nothing is left to judge by; add images that it never saw, e.g. the table it was made from"
        )
    rows = [np.flatnonzero(mask).astype(np.int64) for mask in (~tested, np.zeros_like(tested), tested)]
    return LabelParts(*rows)


def _marks(store: Store) -> NDArray[Any]:
    """A digest of every sample."""
    each = [hashlib.blake2b(np.ascontiguousarray(sample).tobytes(), digest_size=16).digest() for sample in store.array]
    return np.frombuffer(b"".join(each), "V16")


def _columns(data: Any, config: DistillJobConfig, run: TableRun) -> dict[str, Any]:
    chosen = vars(run.columns or ColumnsConfig())
    return _named(data, {name: getattr(config.images, name) or value for name, value in chosen.items()})


def _named(data: Any, columns: dict[str, Any]) -> dict[str, Any]:
    """Those that a table of several tasks is read by; of what is no table nothing is named."""
    return {name: value for name, value in columns.items() if name != "label_column" and isinstance(data, (str, Path))}


def _there(data: Any, asked: Sequence[Asked]) -> tuple[Asked, ...]:
    """Those of the questions whose columns the data have."""
    if isinstance(data, (str, Path)) and Path(data).is_file():
        with Path(data).open(encoding="utf-8-sig", newline="") as file:
            names = set(next(csv.reader(file, delimiter="\t" if Path(data).suffix.lower() == ".tsv" else ","), []))
    elif isinstance(data, tuple):
        names = set(data[1])
    else:
        return tuple(asked)
    return tuple(one for one in asked if set(one.columns) <= names)
