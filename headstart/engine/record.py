"""A teacher's answers kept on disk: computed once for every rendering of a view, read back at every step.

They are right only for the very samples they were given on. A file is therefore named by everything they depend on
(contract 7), and a step that shows another rendering, mixed images or other data is refused, never answered wrongly. Where
a method compares answers on the plain view with an augmented one, because its paper does, it says so (`compared_with`).
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data.task import Task
from headstart.data.views import Rendering, View
from headstart.engine import distributed, interrupt
from headstart.engine.answer_format import Format, marks
from headstart.engine.checkpoint import load_state, save_state
from headstart.engine.inputs import view_seed
from headstart.engine.log import SILENT, RunLog
from headstart.engine.prefix_cache import surroundings
from headstart.engine.step import render
from headstart.errors import CheckpointError, ConfigError
from headstart.files import held, reserve
from headstart.nets.structure import structure
from headstart.terms.base import StepLike
from headstart.terms.teacher import Live


@dataclass
class Recorded:
    """Answers kept: an `Answers` for steps that show the recorded view (`terms.teacher`).

    array    records `[draws, rows of the store]`
    filled   `[draws, rows of the store]`: which are there
    classes  number of classes of the teacher
    seed     of the view's random numbers
    seconds  spent on computing what was not there yet
    teacher  who answered
    path     the file; None when kept in memory
    data     fingerprint of the store
    compared_with  None, or the view that steps show instead of the recorded plain one
    """

    array: NDArray[Any]
    filled: NDArray[np.bool_]
    format: Format
    classes: int
    view: View
    view_name: str
    seed: int
    seconds: float
    teacher: Live
    path: Path | None = None
    data: str = ""
    compared_with: View | None = None

    @property
    def bytes(self) -> int:
        """Size of the records."""
        return self.array.nbytes

    def logits(self, step: StepLike, view: str = "main") -> Tensor:
        """Answers `[B, C]` on this batch; ConfigError when it does not show what was recorded."""
        how, rows = step.rendering(view), step.ids.cpu().numpy()
        self._check(how, view)
        draw = how.draw if self.compared_with is None else 0
        if len(rows) and (rows.max() >= self.array.shape[1] or not self.filled[draw, rows].all()):
            raise ConfigError(
                f"the teacher's answers on rendering {draw} of {self._named} lack samples of this batch; "
                "record them for every sample that the stage trains on"
            )
        records, samples = self.array[draw, rows], step.samples(view)
        if self.compared_with is not None:  # other pixels on purpose: the store's fingerprint has told whose they are
            return self.format.unpack(records, self.classes, samples.device)
        # Equal renderings of equal rows are equal samples, unless the rows are another store's: the first tells.
        if len(rows) and int(marks(samples[:1])[0]) != int(records["mark"][0]):
            raise ConfigError(
                f"sample {rows[0]} is not the one the teacher's answers were recorded on ({self._named}): "
                "other data, or another device renders it; record them again on these"
            )
        return self.format.unpack(records, self.classes, samples.device)

    @property
    def _named(self) -> str:
        return f"view {self.view_name!r}"

    def _check(self, how: Rendering, view: str) -> None:
        """Refuse a rendering that was not recorded, and is not the one that the recorded is declared to be compared with."""
        wrong = []
        if view != self.view_name or how.view != (self.compared_with or self.view):
            wrong.append(f"the step shows view {view!r} ({how.view})")
        elif self.compared_with is not None:
            if how.data != self.data:
                wrong.append("the step's samples are another store's")
        elif how.seed != self.seed:
            wrong.append("the step's random numbers are another run's")
        elif not 0 <= how.draw < len(self.array):
            wrong.append(f"the step shows rendering {how.draw} of {len(self.array)}")
        if how.mixed:
            wrong.append("the step mixes samples")
        if wrong:
            meant = "" if self.compared_with is None else f" to be compared with {self.compared_with}"
            raise ConfigError(
                f"the teacher's answers were recorded on {self._named} ({self.view}){meant}, but {' and '.join(wrong)}; "
                "let the teacher answer live, or train on the recorded view"
            )


def recordable(view: View, *, mixup: float = 0.0) -> bool:
    """Whether a teacher's answers on a view can be kept: it is plain or has a fixed number of renderings, none mixed."""
    return view.fixed_draws is not None and not mixup


def record(
    teacher: Live,
    task: Task,
    view: View,
    *,
    run_seed: int,
    view_name: str = "main",
    compared_with: View | None = None,
    folder: Path | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    top_k: int | None = None,
    epochs: int | None = None,
    width: int = 64,
    device: str | torch.device | None = None,
    autocast: torch.dtype | None = None,
    log: RunLog = SILENT,
) -> Recorded:
    """A teacher's answers on every rendering of `view` of the samples of `task`; what is not there yet is computed.

    run_seed   the run's seed (`Drive.seed`), which a fixed set of renderings follows from
    view_name  what stages call the view
    compared_with  a method whose paper compares answers on the plain view with an augmented one declares the latter here:
               steps then have to show it (in any rendering, of this store, unmixed), and are given the plain view's answers
    folder     where answers are memory-mapped and found again; None keeps them in memory
    dtype, top_k  see `Format`. All in float32 equal a live teacher's answers on batches of `width`, to the bit where an
               answer does not depend on the sample's place in its batch (convolutions), else to rounding
    epochs     renderings that later epochs would show are left out; None: all
    width      samples per pass, every pass having exactly as many: a batch of the stage, per process
    device     where samples are rendered and the teacher computes: the stage's; None: where the teacher is
    autocast   type the stage computes in, None for float32

    Raises ConfigError for a view drawn anew every epoch and for answers that cannot be kept; DiskFull where there is no
    room. A run that is stopped keeps what is computed. The teacher is left where it was, in the mode it was in.
    """
    _check_views(view, view_name, compared_with)
    seed = 0 if view.is_plain else view_seed(view, run_seed, 0, view_name)
    where = torch.device(device) if device is not None else teacher.net.device
    todo = range(min(view.fixed_draws or 1, epochs or view.fixed_draws or 1))
    asked = _Asked(teacher, task, view, seed, Format(dtype, top_k), width, where, autocast, todo, log)
    before = teacher.net.device
    began = time.monotonic()
    teacher.to(where)
    try:
        array, filled, classes, path = asked.kept(folder) if folder is not None else asked.held()
    finally:
        teacher.to(before)
    seconds, data = time.monotonic() - began, task.store.fingerprint
    found = (array, filled, asked.format, classes, view, view_name, seed, seconds, teacher, path)
    return Recorded(*found, data=data, compared_with=None if compared_with == view else compared_with)


def _check_views(view: View, name: str, compared_with: View | None) -> None:
    """Raise ConfigError where answers on `view` cannot be kept, or cannot stand for those on `compared_with`."""
    if not recordable(view):
        raise ConfigError(
            f"view {name!r} is drawn anew every epoch, so that a teacher's answers on it are never needed twice; "
            "give it a fixed number of renderings (views=4), or let the teacher answer live"
        )
    if compared_with is not None and not view.is_plain:
        raise ConfigError(
            f"answers on view {name!r} ({view}) cannot stand for those on {compared_with}: only the plain view's can, "
            "because it has one rendering; record on PLAIN"
        )


_Opened = tuple[NDArray[Any], NDArray[np.bool_], int, Path | None]
"""Records, which are there, number of classes, the file."""


@dataclass(frozen=True)
class _Asked:
    """What is to be recorded, and how."""

    teacher: Live
    task: Task
    view: View
    seed: int
    format: Format
    width: int
    device: torch.device
    autocast: torch.dtype | None
    draws: range
    log: RunLog

    @property
    def key(self) -> str:
        """Everything the records depend on, hashed."""
        live = self.teacher
        teacher = (live.digest(again=True), live.net.input, live.who, live.order, structure(live.net.blocks))
        facts = (teacher, self.view, self.seed, self.task.store.fingerprint, self.format)
        where = (str(self.autocast), surroundings(self.width, self.device))
        return hashlib.blake2b(repr((facts, where)).encode(), digest_size=16).hexdigest()

    def held(self) -> _Opened:
        """In memory; every process computes the same."""
        classes = self._classes()
        array = np.zeros(self._shape, self.format.layout(classes))
        filled = np.zeros(self._shape, np.bool_)
        self._fill(array, filled)
        return array, filled, classes, None

    def kept(self, folder: Path) -> _Opened:
        """In a file, which the first process fills and all read."""

        def fill() -> Path:
            path = folder / f"answers-{self.key}.npy"
            folder.mkdir(parents=True, exist_ok=True)
            with held(path.with_suffix(".lock"), interrupt.check):
                array, filled, classes = self._existing(path) or self._new(path)
                try:
                    self._fill(array, filled)
                finally:
                    array.flush()
                    save_state(_list_of(path), {"filled": torch.from_numpy(filled), "classes": classes})
            return path

        path = distributed.first(fill)
        facts = load_state(_list_of(path))
        return np.load(path, mmap_mode="r"), facts["filled"].numpy(), int(facts["classes"]), path

    @property
    def _shape(self) -> tuple[int, int]:
        return self.view.fixed_draws or 1, len(self.task.store)

    def _existing(self, path: Path) -> tuple[np.memmap[Any, Any], NDArray[np.bool_], int] | None:
        """What an earlier stage or run left; None when the file or its list is missing or damaged."""
        if not path.exists() or not _list_of(path).exists():
            return None
        try:
            facts = load_state(_list_of(path))
            array = np.lib.format.open_memmap(path, "r+")
        except (CheckpointError, ValueError) as error:
            self.log.event("warning", text=f"a teacher's recorded answers are computed anew: {error}")
            return None
        return array, facts["filled"].numpy(), int(facts["classes"])

    def _new(self, path: Path) -> tuple[np.memmap[Any, Any], NDArray[np.bool_], int]:
        _list_of(path).unlink(missing_ok=True)
        classes = self._classes()
        array = reserve(path, self._shape, self.format.layout(classes))
        return array, np.zeros(self._shape, np.bool_), classes

    def _classes(self) -> int:
        return int(self._answers(self._samples(self.task.rows[:1], 0)).shape[1])

    def _fill(self, array: NDArray[Any], filled: NDArray[np.bool_]) -> None:
        """Compute what is not there yet, in passes of one width."""
        todo = [
            (draw, rows)
            for draw in self.draws
            for rows in _passes(self.task.rows[~filled[draw, self.task.rows]], self.width)
        ]
        for number, (draw, rows) in enumerate(todo):
            interrupt.check()
            samples = self._samples(rows, draw)
            array[draw, rows] = self.format.pack(self._answers(self._seen(samples, rows, draw)), samples)
            filled[draw, rows] = True
            self.log.tick(number + 1, len(todo), "asking the teacher once")

    def _samples(self, rows: NDArray[np.int64], draw: int) -> Tensor:
        return render(self.task.store, rows, self.view, seed=self.seed, draw=draw, device=self.device)

    def _seen(self, samples: Tensor, rows: NDArray[np.int64], draw: int) -> Tensor:
        """The samples as the teacher sees them."""
        sees = self.teacher.sees
        return samples if sees is None else sees(rows, Rendering(self.view, self.seed, draw), self.device)

    @torch.no_grad()
    def _answers(self, samples: Tensor) -> Tensor:
        count = len(samples)
        if count < self.width:
            filling = samples[-1:].expand(self.width - count, *samples.shape[1:])
            samples = torch.cat([samples, filling])
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            answers = self.teacher.of(samples)
        if not bool(answers[:count].isfinite().all()):
            raise ConfigError("a teacher answers some images with numbers that are not finite; use another teacher")
        return answers[:count]


def _passes(rows: NDArray[np.int64], width: int) -> list[NDArray[np.int64]]:
    return [rows[start : start + width] for start in range(0, len(rows), width)]


def _list_of(path: Path) -> Path:
    """The file that lists which records are there; written after them, so that a kill leaves none half-written in it."""
    return path.with_suffix(".filled.safetensors")
