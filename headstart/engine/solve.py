"""The second kind of stage: a head found by a deterministic solver on features of frozen blocks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headstart.data.splits import folds_within
from headstart.engine.features import FeatureBank, Features, beside
from headstart.engine.log import SILENT, RunLog
from headstart.engine.solvers import cross_validate, fit, prepared
from headstart.engine.solvers.spectrum import Spectrum
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.stage import Solve


@dataclass
class SolveResult:
    """What a solver found.

    penalty  chosen strength
    reads    blocks the head reads
    tried    cross-validated accuracy of every choice, as `blocks@strength`; empty when there was none to make
    trained  number of weights in the head
    """

    penalty: float
    reads: list[str]
    tried: dict[str, float]
    seconds: float
    trained: int

    def __str__(self) -> str:
        reads = "+".join(self.reads)
        chosen = {f"@{self.penalty:g}", f"{reads}@{self.penalty:g}"}
        width = max([len("blocks@strength"), *map(len, self.tried)])
        lines = [f"{'blocks@strength':<{width}}  accuracy"] if self.tried else []
        lines += [f"{name:<{width}}  {value:.3f}{' *' * (name in chosen)}" for name, value in self.tried.items()]
        said = f"head on {reads}, strength {self.penalty:g}, {self.trained} weights, {self.seconds:.2f} s"
        return "\n".join([*lines, f"(* chosen) {said}" if self.tried else said])


def solve(net: Net, stage: Solve, *, seed: int = 0, bank: FeatureBank | None = None, log: RunLog = SILENT) -> SolveResult:
    """Find the head `stage.head` and write it into `net`. The result depends on the data alone, not on the bank."""
    began = time.monotonic()
    head = net.head(stage.head)
    if head.num_classes != stage.task.num_classes:
        raise ConfigError(
            f"head {stage.head!r} has {head.num_classes} answers, "
            f"task {stage.task.name!r} has {stage.task.num_classes} classes"
        )
    bank = bank or FeatureBank()
    labels = torch.from_numpy(stage.task.targets)
    weight = None if stage.class_weights is None else torch.tensor(stage.class_weights, dtype=torch.float64)[labels]
    sets = stage.reads or (head.reads,)
    used = sorted({name for names in sets for name in names}, key=net.block_names.index)
    every = bank.get(net, stage.task.store, stage.task.rows, used, head.tower)
    tried = _try_all(stage, sets, every, labels, weight, seed)
    reads, penalty = _best(tried)
    if reads != head.reads:
        head = net.add_head(stage.head, stage.task.num_classes, reads, tower=head.tower)
    features = beside(every, reads)
    known = tried[reads, penalty].known
    solution = fit(stage.solver, features, labels, stage.task.num_classes, penalty, weight, known)
    with torch.no_grad():
        head.linear.weight.copy_(solution.weight)
        head.linear.bias.copy_(solution.bias)
        head.calibration.copy_(torch.tensor(tried[reads, penalty].calibration or solution.calibration))
    seconds = time.monotonic() - began
    accuracies = {
        f"{'+'.join(blocks) if stage.reads else ''}@{strength:g}": value.accuracy
        for (blocks, strength), value in tried.items()
    }
    log.event("solved", stage=stage.name, solver=stage.solver, penalty=penalty, tried=accuracies, seconds=round(seconds, 3))
    size = solution.weight.numel() + solution.bias.numel()
    return SolveResult(penalty, list(reads), accuracies if len(tried) > 1 else {}, seconds, size)


@dataclass(frozen=True)
class _Choice:
    """Cross-validated accuracy of one set of blocks with one strength, and the calibration found with it.

    calibration  None: nothing was cross-validated, and the solver's own holds
    known        what the final fit need not compute again; kept for the best so far
    """

    accuracy: float
    calibration: tuple[float, float] | None = None
    known: Spectrum | None = None


_Tried = dict[tuple[tuple[str, ...], float], _Choice]
"""By (blocks, strength)."""


def _best(tried: _Tried) -> tuple[tuple[str, ...], float]:
    """The most accurate choice; of equals the strongest penalty, then the first."""
    return max(tried, key=lambda choice: (tried[choice].accuracy, choice[1]))


def _try_all(
    stage: Solve, sets: Sequence[tuple[str, ...]], every: Features, labels: Tensor, weight: Tensor | None, seed: int
) -> _Tried:
    """Every set of blocks with every strength; nothing is computed when there is one and no calibration to learn."""
    if len(sets) == 1 and len(stage.penalty) == 1 and stage.solver != "svm":
        return {(sets[0], stage.penalty[0]): _Choice(0.0)}
    task = stage.task
    groups = None if task.groups is None else task.groups[task.rows]
    parts = folds_within(
        task.targets, groups, max(stage.folds, 2), seed_for(seed, "penalty", stage.name), classes=task.classes
    )
    tried: _Tried = {}
    for names in sets:
        features, classes = beside(every, names), task.num_classes
        known = prepared(stage.solver, features, labels, classes, weight)
        picked = cross_validate(stage.solver, features, labels, classes, stage.penalty, parts, weight, known)
        for strength, accuracy in zip(picked.penalties, picked.accuracy_by_penalty, strict=True):
            tried[names, strength] = _Choice(accuracy, picked.calibration, known)
        best, _ = _best(tried)
        tried = {key: choice if key[0] == best else replace(choice, known=None) for key, choice in tried.items()}
    return tried
