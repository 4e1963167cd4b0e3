"""Many backbones trained shortly by SimCLR from random weights, each judged by a probe on its best block."""

from __future__ import annotations

import copy
import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.catalog.contrast import SimclrConfig
from headstart.catalog.strategies import EarlyProbeConfig
from headstart.data.task import UNKNOWN, Task
from headstart.engine import distributed, interrupt
from headstart.engine.checkpoint import load_state, save_state
from headstart.engine.features import FeatureBank, bank_answers
from headstart.engine.fit import Machine
from headstart.engine.log import RunLog, read_lines
from headstart.engine.run import Drive
from headstart.errors import CheckpointError, ConfigError, TrainingError
from headstart.metrics.intervals import Interval, hierarchical, wilson
from headstart.nets.cost import block_flops
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.strategies.early_probe import early_probe
from headstart.strategies.pretrain.simclr import simclr
from headstart.studies.elapsed import Elapsed


@dataclass(frozen=True)
class Cell:
    """One training of the grid.

    name    what it is called
    place   where it stands: an axis and a value, or two augmentations
    config  SimCLR's settings
    network name of the network; None: the study's own
    """

    name: str
    place: tuple[str, ...]
    config: SimclrConfig
    network: str | None = None

    @property
    def key(self) -> str:
        """Name of its files; trainings that stand in several places of a grid are done once."""
        return hashlib.blake2b(f"{self.config} {self.network}".encode(), digest_size=8).hexdigest()

    def passes(self, images: int) -> int:
        """Renderings that go through the network."""
        return 2 * images * self.config.school.epochs


@dataclass
class ShortRuns:
    """Carries out cells.

    draw   a network with weights drawn at random: by its name (None: the study's own) and a seed
    train  images that are learned from, with the labels that the probe learns from
    test   images that it is judged on
    limit  seconds for all trainings
    """

    draw: Callable[[str | None, int], Net]
    train: Task
    test: Task
    machine: Machine
    folder: Path
    log: RunLog
    limit: float
    seed: int
    clock: Elapsed = field(default_factory=Elapsed)
    _rate: float | None = None

    def carry_out(self, cells: Sequence[Cell], seeds: Sequence[int]) -> dict[str, str]:
        """Train what the time reaches, every cell of a seed before the next; returns cells without a first seed, and why."""
        self.clock.keep_in(self.folder / "seconds.json")
        left_out: dict[str, str] = {}
        every = [(cell, seed) for seed in seeds for cell in cells]
        once: dict[tuple[str, int], tuple[Cell, int]] = {}
        for cell, seed in every:
            once.setdefault((cell.key, seed), (cell, seed))
        todo = [(cell, seed) for cell, seed in once.values() if self.seen(cell, seed) is None]
        for number, (cell, seed) in enumerate(todo):
            reason = self._no_time(cell)
            if reason is None:
                reason = self._tried(cell, seed)
            elif seed != seeds[0]:  # the row of such a training says how many seeds it has
                continue
            if reason is not None:
                left_out |= {_told(one, seed, seeds): reason for one in cells if one.key == cell.key}
            self.log.tick(number + 1, len(todo), "trainings")
        return left_out

    def _no_time(self, cell: Cell) -> str | None:
        """Why a training does not fit into the time that is left; None where it does."""
        left, needed = self.limit - self.clock.seconds.get("training", 0.0), self._needs(cell)
        if needed is None or needed <= left:
            return None
        rest = f"{left:.0f} s are left" if left >= 1 else "no time is left"
        return f"it would take {max(needed, 1):.0f} s, and {rest}"

    def _tried(self, cell: Cell, seed: int) -> str | None:
        """Train it; what kept it from that, if anything did."""
        try:
            self._train(cell, seed)
        except (ConfigError, TrainingError) as error:
            self.log.event("warning", text=f"{cell.name} was left out: {error}")
            return str(error).partition("\n")[0]
        return None

    def seen(self, cell: Cell, seed: int) -> dict[str, Any] | None:
        """What was found of a finished training: `correct` `[T]`, `block`, `loss`, `seconds`; None where there is none."""

        def read() -> dict[str, Any] | None:
            try:
                found = load_state(self._file(cell, seed))
            except (OSError, CheckpointError):
                return None
            return found if len(found["correct"]) == len(self.test) else None

        return distributed.first(read)

    def correct(self, cell: Cell, seeds: Sequence[int]) -> dict[int, NDArray[np.bool_]]:
        """Of the seeds that were trained: `[T]` right or wrong."""
        found = {seed: self.seen(cell, seed) for seed in seeds}
        return {seed: one["correct"].numpy() for seed, one in found.items() if one is not None}

    def _needs(self, cell: Cell) -> float | None:
        """Seconds that a training should take, from those done; None before any was."""
        if self._rate is None:
            return None
        flops = sum(block_flops(self.draw(cell.network, self.seed)).values())
        return self._rate * flops * cell.passes(len(self.train))

    def _train(self, cell: Cell, seed: int) -> None:
        interrupt.check_together()
        self.log.event("phase", name="trial", text=f"{cell.name}, seed {seed}")
        place, began = self.folder / "runs" / f"{cell.key}-{seed}", time.monotonic()
        net = self.draw(cell.network, seed)
        flops = sum(block_flops(net).values())
        unknown = replace(self.train, labels=np.full(len(self.train.store), UNKNOWN, np.int64))
        config = replace(cell.config, school=replace(cell.config.school, seed=seed))
        log = RunLog(self.log.path, (*self.log.listeners, self.clock.heard)).within(run=f"{cell.key}-{seed}")
        with self.clock.during("training"):
            Drive(net.to(self.machine.device), seed_for(seed, "short"), self.machine, place, None, log).run(
                simclr(net, unknown, config)
            )
            taken = time.monotonic() - began
            found = self._judge(net.cpu(), place, seed)
        # The quickest sets the rate: of one that was resumed a part is not known, and the first waits for libraries.
        rate = (time.monotonic() - began) / (flops * cell.passes(len(self.train)))
        self._rate = rate if self._rate is None else min(rate, self._rate)
        lines = [one for one in read_lines(self.log.path) if one.get("run") == f"{cell.key}-{seed}"]
        losses = [one["loss"] for one in lines if one["event"] == "epoch"]
        state = {**found, "loss": losses[-1] if losses else None, "seconds": round(taken, 3)}
        distributed.first(lambda: save_state(self._file(cell, seed), state))
        distributed.first(lambda: shutil.rmtree(place, ignore_errors=True))

    def _judge(self, net: Net, place: Path, seed: int) -> dict[str, Any]:
        """A linear probe on the block that cross-validation finds best."""
        net = copy.deepcopy(net)
        net.heads.clear()
        bank = FeatureBank(place / "features", log=self.log)
        Drive(net, seed_for(seed, "probe"), None, place / "probe", bank, self.log).run(
            early_probe(net, self.train, EarlyProbeConfig(depth="best"))
        )
        logits = distributed.first(lambda: bank_answers(net, self.test, bank))
        right = logits.argmax(1) == self.test.targets
        return {"correct": torch.from_numpy(right), "block": net.head(self.train.name).reads[0]}

    def _file(self, cell: Cell, seed: int) -> Path:
        return self.folder / "runs" / f"{cell.key}-{seed}.safetensors"


def accuracy(correct: NDArray[np.bool_], seed: int) -> Interval:
    """Of `[S, T]` right or wrong: over images, and over seeds where there are several."""
    if len(correct) == 1:
        return wilson(int(correct[0].sum()), correct.shape[1])
    return hierarchical(correct.astype(float), seed)


def _told(cell: Cell, seed: int, seeds: Sequence[int]) -> str:
    return cell.name if seed == seeds[0] else f"{cell.name}, seed {seed}"
