"""What a term is, and what it may ask of a step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Protocol

from torch import Tensor, nn

from headstart.data.views import Rendering
from headstart.nets.net import Activation


class StepLike(Protocol):
    """What the engine shows a term at every step. The engine's `Step` is the one implementation."""

    @property
    def ids(self) -> Tensor:
        """`[B]` store rows of this batch."""
        ...

    @property
    def epoch(self) -> int:
        """Which pass over the data this is, from 0."""
        ...

    def logits(self, head: str, view: str = "main") -> Tensor:
        """`[B, C]` answers of a head on a view of the batch, computed once per step."""
        ...

    def taps(self, view: str = "main") -> Mapping[str, Activation]:
        """Activations this stage's heads and terms read, by block name, computed once per view."""
        ...

    def together(self, *views: str) -> Mapping[str, Activation]:
        """The same of several views in one pass, one view after the other along the first dimension, `[V * B, ...]`: batch
        normalisation sees them together, where `taps` of each shows it one at a time."""
        ...

    def below(self, view: str = "main") -> tuple[str | None, Tensor]:
        """Where what learns begins: the last block of the stage's frozen part and what that part puts out for a view of the
        batch, which is computed once where the machine keeps it; None and the samples where nothing is frozen below. For a
        term that runs the net, or a copy of it, in a way of its own."""
        ...

    def run(self, samples: Tensor, taps: Iterable[str] = (), start: str | None = None) -> Mapping[str, Activation]:
        """Activations of the net, in the modes it trains in, on other samples `[M, H, W, C]` uint8 or `[M, D]`, or on
        outputs of block `start`: of `taps` and of its last block."""
        ...

    def answers(self, activations: Mapping[str, Activation], head: str) -> Tensor:
        """`[M, C]` logits of a head from what `run` gave."""
        ...

    def samples(self, view: str = "main") -> Tensor:
        """What the net is shown, before it is normalised: `[B, H, W, C]` uint8 images or `[B, D]` vectors."""
        ...

    def rendering(self, view: str = "main") -> Rendering:
        """Which rendering of the samples that is."""
        ...

    def labels(self, task: str) -> Tensor:
        """`[B]` int64 labels, or `[B, C]` probabilities where images were mixed; `[B, L]` int64 for several questions
        (float32 where mixed); `[B]` float32 for numbers."""
        ...

    def valid(self, task: str) -> Tensor:
        """`[B]` (several questions: `[B, L]`) bool: where the label is known, and where samples were mixed both."""
        ...

    def counted(self, task: str) -> int:
        """`valid` labels in the whole batch, over all processes."""
        ...

    def mean(self, per_sample: Tensor, task: str) -> Tensor:
        """Sum of `per_sample` `[B]` (several questions: `[B, L]`) where labels are valid, divided by the valid count over
        all processes."""
        ...

    def mean_all(self, per_sample: Tensor) -> Tensor:
        """Sum of `per_sample` `[B]`, labels known or not, divided by the number of samples over all processes."""
        ...

    def once(self, value: Tensor) -> Tensor:
        """This process's part of a `value` that no sample enters (a penalty on weights) and that is the same in every
        process: losses and gradients are summed over processes, and it counts once."""
        ...


class Term(nn.Module):
    """A loss with a memory: its state (teachers, queues, importances) are its buffers and sub-modules.

    `forward` returns a scalar and changes no memory; memory changes in `after_step` only. `reads` names the blocks whose
    activations it taps, which ends the frozen prefix there. `also_runs` is how many samples it runs through the net at every
    step besides the batch's.
    """

    reads: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    also_runs: int = 0

    @abstractmethod
    def forward(self, step: StepLike) -> Tensor: ...

    def absent(self, step: StepLike) -> bool:
        """Whether this step says nothing about it, so that it is left out of the losses altogether."""
        return False

    def after_backward(self, step: StepLike) -> None:
        """Gradients are there, summed over processes and not clipped yet; parameters have not moved."""

    def after_step(self, step: StepLike) -> None:
        """The optimiser has stepped; once per step."""
