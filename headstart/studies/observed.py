"""A look at each network that a race adapts: its answers on what it learned from, on the source, and what of it
would have to be stored."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headstart.engine import distributed
from headstart.engine.evaluate import answers
from headstart.engine.features import bank_answers
from headstart.engine.source_statistics import evenly
from headstart.files import write_json
from headstart.nets.net import Net
from headstart.studies.costs import inference_flops, stored
from headstart.studies.race import Arm, Race, balancing
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
class Looks:
    """A `Look` at every trial of a race, kept beside its result; see `race.Observer`.

    flops   of the blocks of the network that is adapted, see `inference_flops`
    source  the task the network came from; None: not known
    looks   by arm and fold
    """

    flops: dict[str, int]
    source: SourceTask | None = None
    looks: dict[tuple[str, int], Look] = field(default_factory=dict)

    def look(self, race: Race, net: Net, arm: Arm, fold: int) -> None:
        """Look, and write down what was seen."""
        seen = distributed.first(lambda: self._look(race, net, arm, fold))
        self.looks[arm.name, fold] = seen
        path = _file(race, arm, fold)
        if path is not None:
            distributed.first(lambda: write_json(path, vars(seen)))

    def knows(self, race: Race, arm: Arm, fold: int) -> bool:
        """Whether it was seen before, in this process or in one that wrote it down."""
        if (arm.name, fold) not in self.looks:
            seen = distributed.first(lambda: _read(_file(race, arm, fold)))
            if seen is None:
                return False
            self.looks[arm.name, fold] = seen
        return True

    def _look(self, race: Race, net: Net, arm: Arm, fold: int) -> Look:
        rows = race.folds[fold][0]
        part = race.task.take(rows[evenly(len(rows), LIMIT)])
        logits = bank_answers(net, part, race.bank) if arm.frozen else answers(net, part)
        right = logits.argmax(1) == part.targets
        weights = balancing(part.targets) if race.balanced else np.ones(len(part))
        kept = stored(race.net, net, part.name)
        source = None
        if self.source is not None:
            source = self.source.before if not kept.blocks else self.source.accuracy(net)
        answer = inference_flops(net, part.name, self.flops)
        return Look(float((right * weights).mean()), source, kept.parameters, kept.bytes, not kept.blocks, answer)


def _file(race: Race, arm: Arm, fold: int) -> Path | None:
    return None if race.folder is None else race.folder / f"{arm.name}-{fold}.look.json"


def _read(path: Path | None) -> Look | None:
    """None where there is none, or its file is not what `look` writes."""
    try:
        return None if path is None else Look(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
