"""Contrastive distillation: of many samples, the student's view should tell which one the teacher is looking at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist

from headstart.data.task import UNKNOWN, Task
from headstart.errors import ConfigError
from headstart.losses.contrastive import contrast, log_mean_exp_cosine, scores, spread
from headstart.losses.precision import exact, full
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.seeding import generator, seed_for
from headstart.terms.base import StepLike
from headstart.terms.features import FeatureTerm
from headstart.terms.teacher import Live


class Contrastive(FeatureTerm):
    """weight * mean over samples of the noise-contrastive loss in both directions (Tian, Krishnan & Isola 2020, eq. 10).

    pair         the block of the student and of the teacher whose pooled outputs are compared
    task         of the stage: its memory has a place for each of its samples
    dimensions   of the sphere on which both are laid by linear maps, which train: name the term in `trains`
    negatives    K per positive; all other samples where there are fewer
    temperature  tau, from 0.002 on
    momentum     share of the old in a memory that is written again

    The memory holds both networks' last views of every sample. Negatives come from it, never of the sample's own class where
    both labels are known; the positive is what the other network sees now (the authors' code takes the memory's, at first
    noise). One draw of negatives serves a whole batch, which makes a step two matrix products. The critic's constant is
    computed, not measured on the first batch (`log_mean_exp_cosine`).
    """

    student_memory: Tensor
    teacher_memory: Tensor
    classes: Tensor

    def __init__(
        self,
        student: Net,
        teacher: Live,
        pair: tuple[str, str],
        task: Task,
        *,
        weight: float = 0.8,
        dimensions: int = 128,
        negatives: int = 16384,
        temperature: float = 0.07,
        momentum: float = 0.5,
        seed: int = 0,
        view: str = "main",
    ) -> None:
        super().__init__(student, teacher, [pair], view, weight=weight, temperature=temperature, momentum=momentum)
        if len(task) < 2 or dimensions < 2 or negatives < 1 or temperature < 0.002 or momentum >= 1:
            raise ConfigError(
                f"contrastive distillation needs at least 2 samples (there are {len(task)}), "
                f"dimensions={dimensions} from 2 on, negatives={negatives} from 1 on, "
                f"temperature={temperature} from 0.002 on and momentum={momentum} below 1"
            )
        self.weight, self.temperature, self.momentum, self.seed = weight, temperature, momentum, seed
        self.count = min(negatives, len(task) - 1)
        self.log_noise = math.log(self.count) + log_mean_exp_cosine(dimensions, temperature)
        self.steps = 0
        self.places = np.full(len(task.store), -1, np.int64)
        self.places[task.rows] = np.arange(len(task))
        with forked(seed_for(seed, "terms", "contrastive")):
            self.student = nn.Linear(student.info[pair[0]].channels, dimensions)
            self.theirs = nn.Linear(teacher.net.info[pair[1]].channels, dimensions)
        draw = torch.Generator().manual_seed(seed_for(seed, "terms", "contrastive", "memory"))
        for name in ("student_memory", "teacher_memory"):
            self.register_buffer(name, spread(torch.randn(len(task), dimensions, generator=draw)))
        self.register_buffer("classes", torch.from_numpy(task.targets), persistent=False)

    def forward(self, step: StepLike) -> Tensor:
        ours, theirs = self._laid(step)
        mine, others = self._places(step), self._others()
        usable = self._usable(mine, others)
        positive = (ours * theirs).sum(1) / self.temperature
        memories = self.teacher_memory[others], self.student_memory[others]
        both = [
            contrast(positive, scores(anchors, memory, self.temperature), usable, self.count, self.log_noise)
            for anchors, memory in zip((ours, theirs), memories, strict=True)
        ]
        return self.weight * step.mean_all(both[0] + both[1])

    @torch.no_grad()
    def after_step(self, step: StepLike) -> None:
        """Write this batch, of all processes, into both memories."""
        mine, *views = gathered([self._places(step), *self._laid(step)])
        for memory, view in zip((self.student_memory, self.teacher_memory), views, strict=True):
            memory[mine] = spread(self.momentum * memory[mine] + (1 - self.momentum) * view)
        self.steps += 1

    def _laid(self, step: StepLike) -> tuple[Tensor, Tensor]:
        """Both networks' views `[B, D]` of the batch on the unit sphere."""
        ours, theirs = (full(x) for x in self.vectors(step, self.pairs[0]))
        with exact(ours):
            return spread(self.student(ours)), spread(self.theirs(theirs))

    def _places(self, step: StepLike) -> Tensor:
        """`[B]` places of the batch in the memories."""
        places = self.places[step.ids.cpu().numpy()]
        if (places < 0).any():
            raise ConfigError("contrastive distillation was given another task than its stage; give it the stage's own")
        return torch.from_numpy(places).to(self.classes.device)

    def _others(self) -> Tensor:
        """`[K]` places of this step's negatives: the same in every process, and again after a resume."""
        size = len(self.classes)
        if self.count == size - 1:
            return torch.arange(size, device=self.classes.device)
        drawn = generator(self.seed, "terms", "contrastive", self.steps).integers(0, size, self.count)
        return torch.from_numpy(drawn).to(self.classes.device)

    def _usable(self, mine: Tensor, others: Tensor) -> Tensor:
        """`[B, K]`: whether a place may be a negative, being another sample and not known to be of the same class."""
        ours, theirs = self.classes[mine][:, None], self.classes[others]
        return (mine[:, None] != others) & ((ours != theirs) | (ours == UNKNOWN))

    def get_extra_state(self) -> dict[str, int]:
        """What a checkpoint keeps besides tensors: how many draws of negatives there were."""
        return {"steps": self.steps}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on with the next draw."""
        self.steps = int(state["steps"])


def gathered(tensors: list[Tensor]) -> list[Tensor]:
    """Tensors `[B, ...]` of all processes, in the order of processes, whatever the B of each; alone, as they are."""
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return tensors
    sizes = [torch.zeros(1, dtype=torch.int64, device=tensors[0].device) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, torch.tensor([len(tensors[0])], device=tensors[0].device))
    lengths = [int(size) for size in sizes]
    together = []
    for tensor in tensors:
        padded = tensor.new_zeros(max(lengths), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        together.append(torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)]))
    return together
