"""One step as a term sees it: a batch, its views, and the net's answers, each computed once and only if asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data.mix import Mix
from headstart.data.store import Store
from headstart.data.task import UNKNOWN, Task, valid
from headstart.data.views import Rendering, View, normalise
from headstart.engine import distributed
from headstart.nets.net import Activation, InputSpec, Net


@dataclass
class Batch:
    """This process's part of a batch.

    rows      `[B]` store rows; they are the sample ids
    targets   per task, `[B]` labels (several questions: `[B, L]`), unknown where missing; see `Task.labels`
    counted   per task, known labels in the whole batch, over all processes; where samples are mixed both must be known
    samples   samples in the whole batch
    source    `[B]` number of each sample's data set, where a stage trains on several
    """

    rows: NDArray[np.int64]
    targets: Mapping[str, Tensor]
    counted: Mapping[str, int]
    samples: int
    source: Tensor | None = None


def batch_of(
    data: Task | Mix,
    places: NDArray[np.int64],
    mine: slice,
    device: torch.device,
    partner: NDArray[np.int64] | None = None,
) -> Batch:
    """The part `mine` of the batch of `places`; every process can count the whole batch without asking the others.

    partner  `[len(places)]` the sample of the batch that each is mixed with; None where samples are not mixed
    """
    rows = data.rows[places]
    columns = data.labels if isinstance(data, Mix) else {data.name: data.labels}
    targets = {name: labels[rows] for name, labels in columns.items()}
    known = {name: valid(labels) for name, labels in targets.items()}
    counted = {name: int((one if partner is None else one & one[partner]).sum()) for name, one in known.items()}
    here = {name: torch.from_numpy(labels[mine]).to(device) for name, labels in targets.items()}
    source = torch.from_numpy(data.source[rows[mine]]).to(device) if isinstance(data, Mix) else None
    return Batch(rows[mine], here, counted, len(rows), source)


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
    data: Task | Mix
    batch: Batch
    epoch: int
    start: str | None
    wanted: tuple[str, ...]
    shown: Shown
    mixing: tuple[Tensor, Tensor] | None = None
    _taps: dict[str, dict[str, Activation]] = field(default_factory=dict)
    _logits: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    @property
    def ids(self) -> Tensor:
        return torch.from_numpy(self.batch.rows)

    def taps(self, view: str = "main") -> Mapping[str, Activation]:
        if view not in self._taps:
            until = self.wanted[-1] if self.wanted else None
            self._taps[view] = self.net.run(self.shown.activations(view), start=self.start, until=until, taps=self.wanted)
        return self._taps[view]

    def together(self, *views: str) -> Mapping[str, Activation]:
        name = "\x1f".join(views)
        if name not in self._taps:
            until = self.wanted[-1] if self.wanted else None
            every = torch.cat([self.shown.activations(view) for view in views])
            self._taps[name] = self.net.run(every, start=self.start, until=until, taps=self.wanted)
        return self._taps[name]

    def logits(self, head: str, view: str = "main") -> Tensor:
        if (head, view) not in self._logits:
            self._logits[head, view] = self.net.answer(self.taps(view), head)
        return self._logits[head, view]

    def below(self, view: str = "main") -> tuple[str | None, Tensor]:
        return self.start, self.shown.samples(view) if self.start is None else self.shown.activations(view)

    def run(self, samples: Tensor, taps: Iterable[str] = (), start: str | None = None) -> Mapping[str, Activation]:
        x = present(samples, self.net.input) if start is None else samples
        return self.net.run(x, start=start, taps=taps)

    def answers(self, activations: Mapping[str, Activation], head: str) -> Tensor:
        return self.net.answer(activations, head)

    def samples(self, view: str = "main") -> Tensor:
        return self.shown.samples(view)

    def rendering(self, view: str = "main") -> Rendering:
        return self.shown.rendering(view)

    def labels(self, task: str) -> Tensor:
        own = self.batch.targets[self._checked(task)]
        if self.mixing is None:
            return own
        share, partner = self.mixing
        question = self.data.tasks[task] if isinstance(self.data, Mix) else self.data
        if question.kind in ("classes", "yes_no"):
            own = torch.nn.functional.one_hot(own.clamp(min=0), question.num_classes)
        own = own.float()
        share = share if own.ndim == 1 else share[:, None]
        return share * own + (1 - share) * own[partner]

    def valid(self, task: str) -> Tensor:
        own = self.batch.targets[self._checked(task)]
        known = ~torch.isnan(own) if own.is_floating_point() else own != UNKNOWN
        return known & known[self.mixing[1]] if self.mixing is not None else known

    def counted(self, task: str) -> int:
        return self.batch.counted[self._checked(task)]

    def mean(self, per_sample: Tensor, task: str) -> Tensor:
        counted = self.counted(task)
        if counted < self.batch.samples * per_sample[:1].numel():
            # `where` and not a product: what stands where nothing is known may be no number at all.
            per_sample = torch.where(self.valid(task), per_sample, 0.0)
        return per_sample.sum() / max(counted, 1)

    def mean_all(self, per_sample: Tensor) -> Tensor:
        return per_sample.sum() / max(self.batch.samples, 1)

    def once(self, value: Tensor) -> Tensor:
        processes = distributed.world_size()
        return value if processes == 1 else value / processes

    def _checked(self, task: str) -> str:
        if task not in self.batch.targets:
            raise KeyError(f"this stage is about {sorted(self.batch.targets)}, a term asked for {task!r}")
        return task


def render(store: Store, rows: NDArray[np.int64], view: View, *, seed: int, draw: int, device: torch.device) -> Tensor:
    """The samples in `rows` of a store in one view, still uint8 for images."""
    samples = store.gather(rows).to(device, non_blocking=True)
    if view.is_plain or not store.is_image:
        return samples
    with torch.autocast(device.type, enabled=False):  # half precision would move pixels by whole grey levels
        return view.render(samples, torch.from_numpy(rows).to(device), seed=seed, draw=draw)
