"""Several tasks asked of the samples of one store, drawn from one data set or several."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.data.store import Store
from headstart.data.task import UNKNOWN, Task, valid
from headstart.errors import DataError, problems
from headstart.seeding import permutation

Sampling = Literal["proportional", "sqrt", "round_robin"]
Per = Literal["batch", "sample"]


@dataclass(frozen=True, eq=False)
class Mix:
    """What a stage sees when it trains several tasks at once.

    tasks     by name, all over one store. A task's label counts for its own rows only; elsewhere it is unknown
    sources   store rows of every data set, no row in two; one data set may be asked about in several tasks
    sampling  share of an epoch that a data set of n samples gets: in proportion to n (each sample once), to sqrt(n), or all
              the same. An epoch has as many samples as all data sets together, give or take the rounding to whole batches
    per       `sample`: a batch is mixed; `batch`: it is of one data set. Round robin takes the data sets in turn

    Raises DataError when tasks lie in different stores, names do not match, rows repeat, or nothing is labelled.
    """

    name: str
    tasks: Mapping[str, Task]
    sources: tuple[NDArray[np.int64], ...]
    sampling: Sampling = "proportional"
    per: Per = "sample"

    def __post_init__(self) -> None:
        problems(DataError, f"the tasks of {self.name!r} cannot be trained together:", list(self._faults()))

    def _faults(self) -> Iterator[str]:
        if not self.tasks:
            yield "there are none"
            return
        if any(name != task.name for name, task in self.tasks.items()):
            yield f"they are called {list(self.tasks)}, but hold {[task.name for task in self.tasks.values()]}"
        if len({task.store.fingerprint for task in self.tasks.values()}) > 1:
            yield "their samples lie in different stores; put them into one"
        if len(np.unique(self.rows)) < len(self.rows):
            yield "a sample stands in several of the data sets, or twice in one"
        empty = [name for name, labels in self.labels.items() if not valid(labels[self.rows]).any()]
        if empty:
            yield f"no sample has a label for {', '.join(empty)}"
        if self.sampling not in ("proportional", "sqrt", "round_robin") or self.per not in ("batch", "sample"):
            yield f"sampling={self.sampling!r}, per={self.per!r}: proportional, sqrt or round_robin; batch or sample"
        if self.per == "batch" and len(self.sources) > 1:
            yield from (self._lonely(rows) for rows in self.sources if len(rows) == 1)

    def _lonely(self, rows: NDArray[np.int64]) -> str:
        asked = [name for name, labels in self.labels.items() if _answered(labels[rows]).any()]
        return (
            f"the data set of {' and '.join(asked)} has one sample only, and batch normalisation cannot learn from one; "
            "say per='sample' (--per sample), which mixes the data sets, or add samples"
        )

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def store(self) -> Store:
        return next(iter(self.tasks.values())).store

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """`[N]` store rows of all data sets, one after the other."""
        return np.concatenate(self.sources) if self.sources else np.empty(0, np.int64)

    @cached_property
    def labels(self) -> dict[str, NDArray[Any]]:
        """Per task, labels by store row as in `Task.labels`, unknown outside the task's rows."""
        return {name: _own(task) for name, task in self.tasks.items()}

    @cached_property
    def source(self) -> NDArray[np.int64]:
        """`[len(store)]` the number of each row's data set, -1 for rows of none."""
        found = np.full(len(self.store), -1, np.int64)
        for number, rows in enumerate(self.sources):
            found[rows] = number
        return found

    @cached_property
    def fingerprint(self) -> str:
        """Hash of tasks, data sets and how they are drawn."""
        digest = hashlib.blake2b(f"{self.sampling} {self.per}".encode(), digest_size=16)
        for task in self.tasks.values():
            digest.update(task.fingerprint.encode())
        for rows in self.sources:
            digest.update(b"source")
            digest.update(np.ascontiguousarray(rows).data)
        return digest.hexdigest()

    def only(self, *names: str) -> Mix:
        """The same for some of the tasks, on the samples that have a label for one of them."""
        kept = [name for name in self.tasks if name in names]
        known = np.any([_answered(self.labels[name]) for name in kept], 0)
        sources = [rows[known[rows]] for rows in self.sources]
        chosen = {name: self.tasks[name] for name in kept}
        return Mix("_".join(kept), chosen, tuple(rows for rows in sources if len(rows)), self.sampling, self.per)

    def batches(self, batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
        """Positions in `rows` of the epoch's batches: a function of the seed and the epoch alone, always as many."""
        if len(self.sources) == 1:
            return chunks(permutation(len(self), seed, "order", epoch), batch_size)
        if self.per == "batch":
            return self._pure(batch_size, seed, epoch)
        taken = [self._draw(number, count, seed, epoch) for number, count in enumerate(self._shares(len(self)))]
        if self.sampling == "round_robin":
            return chunks(_in_turn(taken), batch_size)
        every = np.concatenate(taken)
        return chunks(every[permutation(len(every), seed, "order", epoch)], batch_size)

    def _pure(self, batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
        """Batches of one data set each."""
        sizes = [min(batch_size, len(rows)) for rows in self.sources]
        if self.sampling == "proportional":
            kinds = [chunks(self._draw(n, len(rows), seed, epoch), batch_size) for n, rows in enumerate(self.sources)]
        else:
            counts = self._shares(-(-len(self) // batch_size))
            kinds = [chunks(self._draw(n, count * sizes[n], seed, epoch), sizes[n]) for n, count in enumerate(counts)]
        every = [batch for kind in kinds for batch in kind]
        if self.sampling == "round_robin":
            return [every[place] for place in _in_turn(_numbered([len(kind) for kind in kinds]))]
        return [every[place] for place in permutation(len(every), seed, "order", epoch)]

    def _shares(self, total: int) -> list[int]:
        """How many of `total` each data set gets: the largest remainders round up, and none goes without."""
        sizes = np.array([len(rows) for rows in self.sources], float)
        weights = {"proportional": sizes, "sqrt": np.sqrt(sizes), "round_robin": np.ones_like(sizes)}[self.sampling]
        if self.sampling == "round_robin":
            return [max(1, round(total / len(sizes)))] * len(sizes)
        exact = total * weights / weights.sum()
        counts = np.floor(exact).astype(int)
        short = np.argsort(-(exact - counts), kind="stable")[: total - counts.sum()]
        counts[short] += 1
        return [max(1, int(count)) for count in counts]

    def _draw(self, number: int, count: int, seed: int, epoch: int) -> NDArray[np.int64]:
        """The next `count` of a data set's endless row of permutations, as positions in `rows`."""
        size, first = len(self.sources[number]), sum(len(rows) for rows in self.sources[:number])
        start = epoch * count
        rounds = range(start // size, -(-(start + count) // size))
        endless = np.concatenate([permutation(size, seed, "source", number, turn) for turn in rounds])
        at = start - rounds.start * size
        return endless[at : at + count] + first


def mix_of(
    name: str,
    tasks: Sequence[Task],
    sources: Sequence[NDArray[np.int64]] | None = None,
    sampling: Sampling = "proportional",
    per: Per = "sample",
) -> Mix:
    """A mix of these tasks. Samples without any label are left out; `sources` None: all samples are one data set."""
    labelled = np.unique(np.concatenate([task.rows[task.known] for task in tasks])) if tasks else np.empty(0, np.int64)
    kept = [labelled] if sources is None else [rows[np.isin(rows, labelled)] for rows in sources]
    return Mix(name, {task.name: task for task in tasks}, tuple(kept), sampling, per)


def chunks(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Batches of `size` in this order; the last may be smaller.

    A single sample left over takes one from the batch before it, or where that is a pair joins it, because batch
    normalisation cannot learn from one.
    """
    edges = [*range(0, len(order), size), len(order)]
    if len(order) % size == 1 and len(edges) > 2:
        if size > 2:
            edges[-2] -= 1
        else:
            del edges[-2]
    return [order[low:high] for low, high in itertools.pairwise(edges)]


def _in_turn(lists: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """One of each in turn; lists of one length."""
    return np.stack(lists, 1).reshape(-1)


def _numbered(lengths: Sequence[int]) -> list[NDArray[np.int64]]:
    """The numbers 0, 1, ... dealt out: the first list's, then the second's, ..."""
    firsts = np.cumsum([0, *lengths[:-1]])
    return [first + np.arange(length) for first, length in zip(firsts, lengths, strict=True)]


def _answered(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """`[N]` where there is a label, to one of several questions at least."""
    known = valid(labels)
    return np.asarray(known.any(1) if known.ndim == 2 else known, np.bool_)


def _own(task: Task) -> NDArray[Any]:
    outside = np.ones(len(task.labels), np.bool_)
    outside[task.rows] = False
    labels = np.array(task.labels)
    labels[outside] = np.nan if task.kind == "number" else UNKNOWN
    return labels
