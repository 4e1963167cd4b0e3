"""The second kind of stage: a head found by a deterministic solver on features of frozen blocks."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.data.splits import folds as make_folds
from headstart.engine.features import FeatureBank, beside
from headstart.engine.log import SILENT, RunLog
from headstart.engine.solvers import cross_validate, fit
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
    tried = _try_all(net, stage, bank, labels, weight, seed)
    reads, penalty = max(tried, key=lambda choice: (tried[choice].accuracy, choice[1]))
    if reads != head.reads:
        head = net.add_head(stage.head, stage.task.num_classes, reads)
    features = beside(bank.get(net, stage.task.store, stage.task.rows, reads), reads)
    solution = fit(stage.solver, features, labels, stage.task.num_classes, penalty, sample_weight=weight)
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
    """

    accuracy: float
    calibration: tuple[float, float] | None = None


def _try_all(
    net: Net, stage: Solve, bank: FeatureBank, labels: Tensor, weight: Tensor | None, seed: int
) -> dict[tuple[tuple[str, ...], float], _Choice]:
    """Every set of blocks with every strength; nothing is computed when there is one and no calibration to learn."""
    sets = stage.reads or (net.head(stage.head).reads,)
    if len(sets) == 1 and len(stage.penalty) == 1 and stage.solver != "svm":
        return {(sets[0], stage.penalty[0]): _Choice(0.0)}
    task = stage.task
    groups = None if task.groups is None else task.groups[task.rows]
    fewest = int(task.counts[task.counts > 0].min())
    count = max(min(stage.folds, fewest), 2)
    parts = make_folds(task.targets, groups, count, seed_for(seed, "penalty", stage.name), classes=task.classes)
    used = sorted({name for names in sets for name in names}, key=net.block_names.index)
    every = bank.get(net, task.store, task.rows, used)
    tried: dict[tuple[tuple[str, ...], float], _Choice] = {}
    for names in sets:
        picked = cross_validate(
            stage.solver, beside(every, names), labels, task.num_classes, stage.penalty, parts, sample_weight=weight
        )
        for strength, accuracy in zip(picked.penalties, picked.accuracy_by_penalty, strict=True):
            tried[names, strength] = _Choice(accuracy, picked.calibration)
    return tried
