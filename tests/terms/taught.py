"""What tests of distillation terms share: a student, a teacher of other shape and input, and a step that shows samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from headstart.data.task import UNKNOWN
from headstart.data.views import PLAIN, Rendering, normalise
from headstart.nets.net import InputSpec, Net
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet, mlp

CLASSES = 3


def _with_head(net: Net) -> Net:
    linear = net.add_head("toy", CLASSES).linear
    torch.nn.init.normal_(linear.weight)
    torch.nn.init.normal_(linear.bias)
    return net


def small(size: int = 12) -> Net:
    """The student: a ResNet-8 whose weights are always the same, head included."""
    with forked(1):
        return _with_head(cifar_resnet(8, 4, size))


def big(size: int = 16) -> Net:
    """The teacher: deeper, wider, on larger images, normalised otherwise, with statistics that no initialiser gives."""
    with forked(2):
        net = _with_head(cifar_resnet(14, 6, size))
        net.input = InputSpec(size, (0.2, 0.3, 0.4), (0.5, 0.6, 0.7))
        for name, buffer in net.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
        return net


def perceptron(features: int = 6, seed: int = 1) -> Net:
    """A network on vectors."""
    with forked(seed):
        return _with_head(mlp(features, (8, 10)))


class Shown:
    """A step of given samples and labels on a student in train mode."""

    def __init__(self, net: Net, samples: Tensor, labels: Tensor | None = None, whole: int | None = None) -> None:
        self.net, self.given = net, samples
        self.targets = torch.arange(len(samples)) % CLASSES if labels is None else labels
        self.whole = len(samples) if whole is None else whole
        self._activations: dict[str, Tensor] | None = None

    @property
    def ids(self) -> Tensor:
        return torch.arange(len(self.given))

    def samples(self, view: str = "main") -> Tensor:
        return self.given if view == "main" else self.given.flip(0)

    def rendering(self, view: str = "main") -> Rendering:
        return Rendering(PLAIN, 0, 0)

    def taps(self, view: str = "main") -> Mapping[str, Tensor]:
        if self._activations is None:
            spec = self.net.input
            x = normalise(self.given, spec.mean, spec.std) if spec.kind == "image" else self.given
            self._activations = self.net.run(x, taps=self.net.block_names)
        return self._activations

    def logits(self, head: str, view: str = "main") -> Tensor:
        return self.net.answer(self.taps(view), head)

    def labels(self, task: str) -> Tensor:
        return self.targets

    def valid(self, task: str) -> Tensor:
        return self.targets != UNKNOWN if self.targets.ndim == 1 else torch.ones(len(self.given), dtype=torch.bool)

    def mean(self, per_sample: Tensor, task: str) -> Tensor:
        return (per_sample * self.valid(task)).sum() / max(int(self.valid(task).sum()), 1)

    def mean_all(self, per_sample: Tensor) -> Tensor:
        return per_sample.sum() / self.whole


def pictures(count: int = 6, size: int = 12, seed: int = 0) -> Tensor:
    """`[N, S, S, 3]` uint8 noise."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, size, size, 3)).astype(np.uint8))


def shown(count: int = 6, **more: Tensor) -> Shown:
    """A batch of pictures before the student."""
    return Shown(small().eval(), pictures(count), **more)
