"""Trials of a race, each followed by a look at the adapted network: its answers on what it learned from, on the source, and
what of it would have to be stored."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.data.task import Task
from headstart.engine import distributed
from headstart.engine.evaluate import answers
from headstart.engine.features import bank_answers
from headstart.engine.source_statistics import evenly
from headstart.files import write_json
from headstart.nets.net import Net
from headstart.studies.costs import inference_flops, stored
from headstart.studies.race import Arm, Divergence, Race, Trial, balancing
from headstart.studies.source_task import SourceTask

LIMIT = 2_000
"""Training images that are looked at after a trial, at most."""


@dataclass(frozen=True)
class Look:
    """What an adapted network shows besides its answers on held-out images.

    training   accuracy on the images it learned from (balanced where the race is)
    source     accuracy on the source's images; None where they are not known
    stored     parameters that must be kept besides the network it started from; `bytes` of these and of buffers
    unchanged  the blocks are as they were, so that a head is all there is to store
    inference  floating-point operations of one answer
    """

    training: float
    source: float | None
    stored: int
    bytes: int
    unchanged: bool
    inference: int


@dataclass
class ObservedRace(Race):
    """A race whose trials leave a `Look` beside their result; one without it is tried again.

    The look is not part of a trial's seconds.
    """

    flops: dict[str, int] = field(default_factory=dict)
    source: SourceTask | None = None
    looks: dict[tuple[str, int], Look] = field(default_factory=dict)
    _adapted: Net | None = None

    def _answers(self, net: Net, task: Task, arm: Arm) -> NDArray[np.float32]:
        self._adapted = net
        return super()._answers(net, task, arm)

    def _carry_out(self, arm: Arm, fold: int) -> Trial:
        trial = super()._carry_out(arm, fold)
        net, self._adapted = self._adapted, None
        assert net is not None  # a trial ends with its answers
        look = distributed.first(lambda: self._look(net, arm, fold))
        self.looks[arm.name, fold] = look
        path = self._look_file(arm.name, fold)
        if path is not None:
            distributed.first(lambda: write_json(path, vars(look)))
        return trial

    def _look(self, net: Net, arm: Arm, fold: int) -> Look:
        rows = self.folds[fold][0]
        part = self.task.take(rows[evenly(len(rows), LIMIT)])
        logits = bank_answers(net, part, self.bank) if arm.frozen else answers(net, part)
        right = logits.argmax(1) == part.targets
        weights = balancing(part.targets) if self.balanced else np.ones(len(part))
        kept = stored(self.net, net, part.name)
        source = None
        if self.source is not None:
            source = self.source.before if not kept.blocks else self.source.accuracy(net)
        answer = inference_flops(net, part.name, self.flops)
        return Look(float((right * weights).mean()), source, kept.parameters, kept.bytes, not kept.blocks, answer)

    def _look_file(self, arm: str, fold: int) -> Path | None:
        return None if self.folder is None else self.folder / f"{arm}-{fold}.look.json"

    def _read(self, arm: Arm, fold: int) -> Trial | Divergence | None:
        found = super()._read(arm, fold)
        if not isinstance(found, Trial) or (arm.name, fold) in self.looks:
            return found
        path = self._look_file(arm.name, fold)
        try:
            assert path is not None  # a trial was read from beside it
            self.looks[arm.name, fold] = Look(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return found
