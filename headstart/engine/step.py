"""One step as a term sees it: a batch, its views, and the net's answers, each computed once and only if asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data.task import UNKNOWN, Task
from headstart.data.views import Rendering, View, normalise
from headstart.engine import distributed
from headstart.nets.net import InputSpec, Net


@dataclass
class Batch:
    """This process's part of a batch.

    rows      `[B]` store rows; they are the sample ids
    targets   `[B]` labels, `UNKNOWN` where missing
    counted   samples with a known label in the whole batch, over all processes
    samples   samples in the whole batch
    """

    rows: NDArray[np.int64]
    targets: Tensor
    counted: int
    samples: int


def batch_of(task: Task, places: NDArray[np.int64], mine: slice, device: torch.device) -> Batch:
    """The part `mine` of the batch of `places`; every process can count the whole batch without asking the others."""
    rows = task.rows[places]
    targets = task.labels[rows]
    known = int((targets != UNKNOWN).sum())
    return Batch(rows[mine], torch.from_numpy(targets[mine]).to(device), known, len(rows))


class Shown(Protocol):
    """The samples of one step, by view. Each is computed once, and only if asked for."""

    def samples(self, view: str) -> Tensor:
        """As rendered, see `StepLike.samples`."""

    def rendering(self, view: str) -> Rendering: ...

    def activations(self, view: str) -> Tensor:
        """The input of the trained part: the prefix's output, cached or computed."""


def present(samples: Tensor, spec: InputSpec) -> Tensor:
    """Samples as the network wants to see them: images normalised `[B, C, H, W]`, vectors as they are."""
    return normalise(samples, spec.mean, spec.std) if spec.kind == "image" else samples


@dataclass
class Step:
    """What the engine shows terms; see `terms.base.StepLike`.

    shown        its samples
    start        the block whose output that is; None when it is the network's input
    wanted       blocks whose outputs heads and terms read, in the net's order
    """

    net: Net
    task: Task
    batch: Batch
    epoch: int
    start: str | None
    wanted: tuple[str, ...]
    shown: Shown
    mixing: tuple[Tensor, Tensor] | None = None
    _taps: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    _logits: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    @property
    def ids(self) -> Tensor:
        return torch.from_numpy(self.batch.rows)

    def taps(self, view: str = "main") -> Mapping[str, Tensor]:
        if view not in self._taps:
            until = self.wanted[-1] if self.wanted else None
            self._taps[view] = self.net.run(self.shown.activations(view), start=self.start, until=until, taps=self.wanted)
        return self._taps[view]

    def logits(self, head: str, view: str = "main") -> Tensor:
        if (head, view) not in self._logits:
            self._logits[head, view] = self.net.answer(self.taps(view), head)
        return self._logits[head, view]

    def run(self, samples: Tensor, taps: Iterable[str] = ()) -> Mapping[str, Tensor]:
        return self.net.run(present(samples, self.net.input), taps=taps)

    def answers(self, activations: Mapping[str, Tensor], head: str) -> Tensor:
        return self.net.answer(activations, head)

    def samples(self, view: str = "main") -> Tensor:
        return self.shown.samples(view)

    def rendering(self, view: str = "main") -> Rendering:
        return self.shown.rendering(view)

    def labels(self, task: str) -> Tensor:
        self._check(task)
        if self.mixing is None:
            return self.batch.targets
        share, partner = self.mixing
        own = torch.nn.functional.one_hot(self.batch.targets.clamp(min=0), self.task.num_classes).float()
        return share[:, None] * own + (1 - share[:, None]) * own[partner]

    def valid(self, task: str) -> Tensor:
        self._check(task)
        known = self.batch.targets != UNKNOWN
        return known & known[self.mixing[1]] if self.mixing is not None else known

    def mean(self, per_sample: Tensor, task: str) -> Tensor:
        self._check(task)
        known = per_sample if self.batch.counted == self.batch.samples else per_sample * self.valid(task)
        return known.sum() / max(self.batch.counted, 1)

    def mean_all(self, per_sample: Tensor) -> Tensor:
        return per_sample.sum() / max(self.batch.samples, 1)

    def once(self, value: Tensor) -> Tensor:
        processes = distributed.world_size()
        return value if processes == 1 else value / processes

    def _check(self, task: str) -> None:
        if task != self.task.name:
            raise KeyError(f"this stage's task is {self.task.name!r}, a term asked for {task!r}")


def render(task: Task, rows: NDArray[np.int64], view: View, *, seed: int, draw: int, device: torch.device) -> Tensor:
    """The samples in `rows` of the task's store in one view, still uint8 for images."""
    samples = task.store.gather(rows).to(device, non_blocking=True)
    if view.is_plain or not task.store.is_image:
        return samples
    with torch.autocast(device.type, enabled=False):  # half precision would move pixels by whole grey levels
        return view.render(samples, torch.from_numpy(rows).to(device), seed=seed, draw=draw)
