"""What terms share that show the net stored samples again: heads side by side, what is drawn, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch import distributed as dist

from headstart.data.views import PLAIN, View
from headstart.losses.incremental import cross_entropy_within
from headstart.seeding import generator, seed_for
from headstart.terms.base import StepLike


@dataclass(frozen=True)
class Heads:
    """Heads whose classes make one list.

    names     of the heads, oldest first
    sizes     classes of each
    of_task   place among the heads of the one that answers each task, by the task's number
    reads     blocks that they read
    per_head  a stored sample is judged by the head of its task alone, which is known when answering
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    of_task: tuple[int, ...]
    reads: tuple[str, ...]
    per_head: bool

    @property
    def classes(self) -> int:
        """Of all heads together."""
        return sum(self.sizes)

    @property
    def one_list(self) -> bool:
        """Whether several heads compete for one answer."""
        return len(self.names) > 1 and not self.per_head

    @property
    def first(self) -> tuple[int, ...]:
        """Place in the list of the first class of each task, by the task's number."""
        return tuple(sum(self.sizes[:place]) for place in self.of_task)

    def listed(self, labels: NDArray[np.int64], tasks: NDArray[np.int64]) -> NDArray[np.int64]:
        """`[K]` labels that count in the list, from positions in the classes of their task's head."""
        found: NDArray[np.int64] = labels + np.array(self.first, np.int64)[tasks]
        return found

    def on(self, step: StepLike, samples: Tensor) -> Tensor:
        """`[M, C]` answers of the net, in the modes it trains in, on other samples."""
        activations = step.run(samples, taps=self.reads)
        return self._beside([step.answers(activations, name) for name in self.names])

    def on_batch(self, step: StepLike) -> Tensor:
        """`[B, C]` answers on the step's own batch."""
        return self._beside([step.logits(name) for name in self.names])

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """`[M]` cross-entropy of labels in the list, within their head or over all."""
        return cross_entropy_within(logits, labels, self.sizes, per_head=self.per_head)

    def _beside(self, logits: list[Tensor]) -> Tensor:
        return torch.cat([one if one.dtype == torch.float64 else one.float() for one in logits], 1)


@dataclass(frozen=True)
class Draws:
    """What a term draws from its memory at each step: a function of the seed, the purpose and the step's number.

    All processes draw the same batch and each shows its own part, so that several do what one does.

    size  samples per draw, over all processes; the whole memory where it has no more
    view  how images are rendered, anew at every draw; vectors are shown as they are
    """

    seed: int
    size: int
    view: View = PLAIN

    def places(self, held: int, number: int, purpose: str) -> NDArray[np.int64]:
        """Different places in a memory of `held` samples."""
        draw = generator(self.seed, "terms", purpose, number)
        return draw.choice(held, min(self.size, held), replace=False).astype(np.int64)

    def shown(self, samples: Tensor, part: slice, number: int, purpose: str) -> Tensor:
        """Samples as the net is to be shown them; `part` of the draw they are."""
        if self.view.is_plain or samples.ndim != 4:
            return samples
        ids = torch.arange(part.start, part.stop, device=samples.device)
        seed = seed_for(self.seed, "terms", purpose, "view")
        with torch.autocast(samples.device.type, enabled=False):  # half precision would move pixels by whole grey levels
            return self.view.render(samples, ids, seed=seed, draw=number)


def my_part(count: int) -> slice:
    """The part of a draw of `count` samples that is this process's."""
    if not dist.is_available() or not dist.is_initialized():
        return slice(0, count)
    rank, processes = dist.get_rank(), dist.get_world_size()
    return slice(count * rank // processes, count * (rank + 1) // processes)


class Counted:
    """For a term: numbers that a checkpoint keeps besides tensors."""

    counts: dict[str, int]

    def get_extra_state(self) -> dict[str, int]:
        """What a checkpoint keeps besides tensors."""
        return dict(self.counts)

    def set_extra_state(self, state: Mapping[str, int]) -> None:
        """Go on counting from there."""
        self.counts = {name: int(value) for name, value in state.items()}
