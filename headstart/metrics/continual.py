"""What a network that learns task after task kept, lost and gained: arrays in, numbers out.

R `[..., T, T]`: R[i, j] is the accuracy on task j's test images after learning task i; NaN where it was not measured.
Other tools print other numbers under the same names, so `DEFINITIONS` belongs beside every number made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError
from headstart.metrics.intervals import Interval, normal_quantile, t_quantile, wilson
from headstart.metrics.resample import degrees_of_freedom_of_sum, resampled_rows, spread_seeds
from headstart.seeding import generator

Floats = NDArray[np.float64]
DRAWS = 4000
"""bootstrap draws; the ends of a 95 % interval then move by about 3 % of its width from seed to seed"""
Answers = Sequence[Sequence[Sequence[ArrayLike | None]]]
"""`correct[s][i][j]`: right or wrong `[N_j]` under seed s after learning task i on task j's test images, None if unknown."""

_Part = tuple[int, int | NDArray[np.integer], int | NDArray[np.integer] | None]
"""A task, a row (or one per seed), and the row that is taken from it, if any."""

DEFINITIONS = {
    "average_accuracy": "after the last task: the mean of the accuracies on the test images of all tasks learned so far, "
    "each task counted once, however many images it has",
    "forgetting": "for each task but the last: the best accuracy it had after any earlier task, minus its accuracy after "
    "the last one; then the mean over these tasks. Below zero: old tasks even gained",
    "backward_transfer": "for each task but the last: its accuracy after the last task minus its accuracy right after it "
    "was learned (or the first measured since); then the mean over these tasks. Below zero: something was forgotten",
    "task_aware": "the network is told which task an image belongs to and chooses among that task's classes only",
    "task_agnostic": "the network is not told the task: it chooses among the classes of all tasks seen so far",
}
"""Each number in plain words. Tasks that were not measured when a number needs it are left out of that number."""


def average_accuracy(R: ArrayLike) -> Floats:
    """Mean of the last row over the tasks measured there, `[...]` for `[..., T, T]`; NaN if there are none."""
    return _mean(_matrix(R)[..., -1, :])


def forgetting(R: ArrayLike) -> Floats:
    """Mean over tasks j < T - 1 of max over rows i < T - 1 of R[i, j], minus R[T - 1, j]: `[...]` for `[..., T, T]`.

    The maximum runs over all earlier rows, those before the task was learned included (Chaudhry et al. 2018, equation 3).
    A task with no measured earlier row, or not measured at the end, is left out (see `left_out`); NaN if none remains.
    """
    matrix = _matrix(R)
    return _mean(_take(matrix, _best_row(matrix)) - matrix[..., -1, :-1])


def backward_transfer(R: ArrayLike) -> Floats:
    """Mean over tasks j < T - 1 of R[T - 1, j] - R[j, j] (Lopez-Paz & Ranzato 2017), `[...]` for `[..., T, T]`.

    Deviation: where the diagonal was not measured (a model that came with its old tasks), the earliest measured row after
    it and before the last takes its place. A task without one is left out (see `left_out`); NaN if none remains.
    """
    matrix = _matrix(R)
    return _mean(matrix[..., -1, :-1] - _take(matrix, _first_row(matrix)))


def left_out(R: ArrayLike) -> dict[str, list[int]]:
    """Which tasks of `R` `[T, T]` each number could not count, because what it needs was not measured."""
    matrix = _matrix(R)
    if matrix.ndim != 2:
        raise DataError(f"R has shape {matrix.shape}; ask for one matrix [tasks, tasks] at a time")
    last = ~np.isfinite(matrix[-1])
    best, first = (_take(matrix, rows(matrix)) for rows in (_best_row, _first_row))
    found = {
        "average_accuracy": last,
        "forgetting": last[:-1] | np.isnan(best),
        "backward_transfer": last[:-1] | np.isnan(first),
    }
    return {name: np.flatnonzero(tasks).tolist() for name, tasks in found.items()}


@dataclass(frozen=True)
class OverImages:
    """The numbers of one arm with intervals; None where nothing was measured that they need.

    cells                 `[T][T]`, the matrix
    before, after, change  mean over the old tasks measured both before the first new task and at the end, and its paired
                           change; `old` lists these tasks
    """

    average_accuracy: Interval | None
    forgetting: Interval | None
    backward_transfer: Interval | None
    cells: list[list[Interval | None]]
    before: Interval | None
    after: Interval | None
    change: Interval | None
    old: list[int] = field(default_factory=list)
    left_out: dict[str, list[int]] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Plain objects `{mean, low, high}`: the three numbers, `matrix`, `new` (last cell), `old` and `left_out`."""
        old = None
        if self.change is not None:
            old = {"before": _plain(self.before), "after": _plain(self.after), "change": _plain(self.change)}
        return {
            "average_accuracy": _plain(self.average_accuracy),
            "forgetting": _plain(self.forgetting),
            "backward_transfer": _plain(self.backward_transfer),
            "matrix": [[_plain(cell) for cell in row] for row in self.cells],
            "new": _plain(self.cells[-1][-1]),
            "old": old,
            "left_out": self.left_out,
        }


def over_images(
    correct: Answers, first_new: int | None = None, seed: int = 0, *, level: float = 0.95, draws: int = DRAWS
) -> OverImages:
    """The three numbers, every cell, and the paired change of the old tasks, each with an interval.

    correct    `correct[s][i][j]`, right or wrong `[N_j]` or None; measured in the same places under every seed
    first_new  place of the first new task; tasks before it are the old ones. None: only the last task is new

    Images of each task are drawn anew, each draw the same for all rows, so what a task lost is a paired difference. With
    several seeds these are drawn too, once for all tasks, and the ends are widened to Student's t as
    `intervals.hierarchical` does; the estimate is the mean of the seeds' own numbers. With one seed, half an image is added
    to each cell of a task's table of right and wrong (Agresti & Min 2005), so that few images never look certain; a single
    cell is a proportion and has Wilson's interval. Which earlier row was a task's best is taken as it was measured.
    """
    grid = _Grid.of(correct)
    at = (grid.tasks - 1) if first_new is None else first_new
    if not 0 <= at < grid.tasks:
        raise DataError(f"first_new = {first_new} is no place among {grid.tasks} tasks; give 0 to {grid.tasks - 1}")
    make, last, size = _Maker(grid, seed, level, draws), grid.tasks - 1, range(grid.tasks)
    end = [j for j in size if grid.measured[last, j]]
    old = [j for j in end if j < at and grid.measured[at - 1, j]]
    best, first = _best_row(grid.means), _first_row(grid.means)
    return OverImages(
        make.mean([(j, last, None) for j in end]),
        make.mean([(j, best[:, j], last) for j in end if j < last and best[0, j] >= 0]),
        make.mean([(j, last, first[:, j]) for j in end if j < last and first[0, j] >= 0]),
        [[make.mean([(j, i, None)]) if grid.measured[i, j] else None for j in size] for i in size],
        make.mean([(j, at - 1, None) for j in old]),
        make.mean([(j, last, None) for j in old]),
        make.mean([(j, last, at - 1) for j in old]),
        old,
        left_out(grid.means[0]),
    )


@dataclass(frozen=True)
class _Maker:
    """Intervals of means over tasks; what is drawn for a task is drawn once, and kept for all numbers."""

    grid: _Grid
    seed: int
    level: float
    draws: int
    _kept: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def mean(self, parts: Sequence[_Part]) -> Interval | None:
        """The mean over tasks of each one's row, or of what the one row is above the other."""
        if not parts:
            return None
        seeds, alone = len(self.grid.means), all(minus is None for _, _, minus in parts)
        if seeds == 1 and len(parts) == 1 and alone:
            found = self.grid.rows(*parts[0][:2])
            return wilson(int(found.sum()), found.size, self.level)
        values = [self.grid.gap(part) / len(parts) for part in parts]
        estimate = float(sum(one.mean() for one in values))
        upper = 0.5 + self.level / 2
        if seeds == 1:
            drawn = sum(self._smoothed(part) for part in parts) / len(parts)
            low, high = np.quantile(drawn, [1 - upper, upper])
            return Interval(estimate, min(float(low), estimate), max(float(high), estimate), self.level, "percentile")
        factor = t_quantile(upper, degrees_of_freedom_of_sum(values)) / normal_quantile(upper)
        ends = np.quantile(self._redrawn(parts, values), [1 - upper, upper])
        low, high = (estimate + factor * (float(end) - estimate) for end in ends)
        if alone:  # shares: Student's t may point beyond what is possible
            low, high = max(low, 0.0), min(high, 1.0)
        return Interval(estimate, low, high, self.level, "hierarchical")

    def _smoothed(self, part: _Part) -> Floats:
        """Redrawn means over one task's images from its smoothed table, for one seed."""
        values, images = self.grid.gap(part).ravel(), self.grid.answers[part[0]].shape[2]
        paired = part[2] is not None
        outcomes = np.array([-1.0, 0.0, 1.0] if paired else [0.0, 1.0])
        added = np.array([0.5, 1.0, 0.5] if paired else [0.5, 0.5])
        counts = np.array([(values == outcome).sum() for outcome in outcomes]) + added
        rng = generator(self.seed, "bootstrap", "continual", part[0])
        drawn: Floats = rng.multinomial(images, counts / counts.sum(), size=self.draws) @ outcomes / images
        return drawn

    def _redrawn(self, parts: Sequence[_Part], values: Sequence[Floats]) -> Floats:
        """Redrawn means `[draws]` over several seeds: images of each task anew, and the seeds once for all tasks."""
        seeds = len(self.grid.means)
        total = np.zeros((self.draws, seeds))
        for (task, plus, minus), own in zip(parts, values, strict=True):
            total += self._row(task, plus) / len(parts)
            total -= 0.0 if minus is None else self._row(task, minus) / len(parts)
            total += spread_seeds(own).mean(1) - own.mean(1)  # few seeds drawn with replacement differ too little
        rng = generator(self.seed, "bootstrap", "continual", "seeds")
        picked = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=self.draws) / seeds
        found: Floats = (total * picked).sum(1)
        return found

    def _row(self, task: int, row: int | NDArray[np.integer]) -> NDArray[np.float32]:
        """Redrawn means `[draws, S]` of one row (which may differ from seed to seed) of a task."""
        known, seeds = np.flatnonzero(self.grid.measured[:, task]), len(self.grid.means)
        if task not in self._kept:
            answers = self.grid.answers[task][:, known]
            flat = answers.reshape(-1, answers.shape[2])
            drawn = resampled_rows(flat, self.seed, self.draws, "continual", task)
            self._kept[task] = drawn.reshape(self.draws, seeds, len(known))
        places = np.searchsorted(known, np.broadcast_to(row, seeds))
        return self._kept[task][:, np.arange(seeds), places]


@dataclass(frozen=True)
class _Grid:
    """Answers put in order: per task `[S, T, N_j]` (NaN where not measured), means `[S, T, T]`, measured `[T, T]`."""

    answers: list[Floats]
    means: Floats
    measured: NDArray[np.bool_]

    @property
    def tasks(self) -> int:
        return len(self.answers)

    def rows(self, task: int, row: int | NDArray[np.integer]) -> Floats:
        """Answers `[S, N_j]` on one task after learning task `row`, which may differ from seed to seed."""
        answers = self.answers[task]
        found: Floats = answers[np.arange(len(answers)), np.broadcast_to(row, len(answers))]
        return found

    def gap(self, part: _Part) -> Floats:
        """`[S, N_j]`: a part's row, or how far it is above the other."""
        task, plus, minus = part
        return self.rows(task, plus) - (0.0 if minus is None else self.rows(task, minus))

    @classmethod
    def of(cls, correct: Answers) -> _Grid:
        tasks = len(correct[0]) if len(correct) else 0
        if not tasks or any(len(rows) != tasks or any(len(row) != tasks for row in rows) for rows in correct):
            raise DataError("correct must be [seeds][tasks][tasks], the same number of tasks in every row, at least one")
        answers = [cls._task(correct, j, tasks) for j in range(tasks)]
        means = np.stack([one.mean(2) for one in answers], axis=2)
        measured = np.isfinite(means)
        if not (measured == measured[0]).all():
            raise DataError("the seeds were not measured in the same places; leave out what one of them lacks")
        return cls(answers, means, measured[0])

    @staticmethod
    def _task(correct: Answers, j: int, tasks: int) -> Floats:
        cells = [[None if row[j] is None else np.asarray(row[j], np.float64) for row in rows] for rows in correct]
        some = [cell for rows in cells for cell in rows if cell is not None]
        if any(cell.ndim != 1 or not cell.size or not np.isin(cell, (0.0, 1.0)).all() for cell in some):
            raise DataError(f"answers on task {j} must be right (1) or wrong (0), one per test image, at least one image")
        if len({cell.size for cell in some}) > 1:
            raise DataError(f"task {j} was answered on {sorted({cell.size for cell in some})} images; use the same ones")
        unknown = np.full(some[0].size if some else 1, np.nan)
        return np.array([[unknown if cell is None else cell for cell in rows] for rows in cells])


def _matrix(R: ArrayLike) -> Floats:
    matrix = np.asarray(R, np.float64)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or not matrix.shape[-1]:
        raise DataError(f"R has shape {matrix.shape}; give [..., tasks, tasks], a row after each task and a column for each")
    return np.where(np.isfinite(matrix), matrix, np.nan)


def _best_row(matrix: Floats) -> NDArray[np.integer]:
    """Per task but the last, the earlier row in which it stood best; -1 where none was measured: `[..., T - 1]`."""
    known = np.isfinite(matrix[..., :-1, :-1])
    if not known.shape[-1]:
        return np.empty((*known.shape[:-2], 0), np.int64)
    rows = np.where(known, matrix[..., :-1, :-1], -np.inf).argmax(-2)
    return np.where(known.any(-2), rows, -1)


def _first_row(matrix: Floats) -> NDArray[np.integer]:
    """Per task but the last, the first measured row from its own on, before the last; -1 where there is none."""
    known = np.isfinite(matrix[..., :-1, :-1]) & np.tri(matrix.shape[-1] - 1, dtype=bool)
    if not known.shape[-1]:
        return np.empty((*known.shape[:-2], 0), np.int64)
    return np.where(known.any(-2), known.argmax(-2), -1)


def _take(matrix: Floats, rows: NDArray[np.integer]) -> Floats:
    """matrix[..., rows[j], j] per task but the last; NaN where `rows` is -1."""
    if not rows.shape[-1]:
        return np.empty(rows.shape)
    found = np.take_along_axis(matrix[..., :, :-1], rows[..., None, :] % matrix.shape[-1], -2)[..., 0, :]
    return np.where(rows < 0, np.nan, found)


def _mean(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN where nothing is left."""
    known = np.isfinite(values)
    many = known.sum(-1)
    total = np.where(known, values, 0.0).sum(-1)
    return np.asarray(np.where(many > 0, total / np.maximum(many, 1), np.nan))


def _plain(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else {"mean": interval.mean, "low": interval.low, "high": interval.high}
