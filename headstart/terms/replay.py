"""Experience replay: the loss of stored samples beside that of the new ones."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.data.memory import Memory
from headstart.errors import ConfigError, problems
from headstart.terms.base import StepLike, Term
from headstart.terms.distill import setting_faults
from headstart.terms.rehearsal import Counted, Draws, Heads, my_part


class Replay(Counted, Term):
    """weight * mean cross-entropy of samples drawn from a memory that stays as it is during the stage.

    task    the stage's
    memory  not copied; none of its samples is ever lost or changed
    heads   that answer; within the head of a sample's task, or over all classes, as they say
    draws   how many at each step, and how they are shown

    Stored samples pass apart from the new batch, after it: batch normalisation that trains sees two batches of its own
    statistics, and its running averages follow both. They are drawn without replacement, anew at every step.

    Raises ConfigError for an empty memory and settings that cannot be.
    """

    steps: Tensor

    def __init__(self, task: str, memory: Memory, heads: Heads, draws: Draws, *, weight: float = 1.0) -> None:
        super().__init__()
        faults = setting_faults(weight=weight)
        if not len(memory):
            faults.append("the memory holds no samples; leave the term out")
        if draws.size < 1:
            faults.append(f"{draws.size} samples per step; replay one at least")
        problems(ConfigError, "stored samples cannot be replayed as asked:", faults)
        self.tasks, self.heads, self.reads = (task,), heads.names, heads.reads
        self.beside, self.draws, self.weight, self.memory = heads, draws, weight, memory
        self.labels = heads.listed(memory.labels, memory.tasks)
        self.counts = {"steps": 0}
        self.also_runs = min(draws.size, len(memory))
        # Empty, and only there to move with the term: the samples stay in main memory, however many they are.
        self.register_buffer("place", torch.empty(0), persistent=False)

    def forward(self, step: StepLike) -> Tensor:
        number = self.counts["steps"]
        drawn = self.draws.places(len(self.memory), number, "replay")
        part = my_part(len(drawn))
        mine = drawn[part]
        device = self.get_buffer("place").device
        samples = torch.from_numpy(self.memory.samples[mine]).to(device, non_blocking=True)
        logits = self.beside.on(step, self.draws.shown(samples, part, number, "replay"))
        losses = self.beside.loss(logits, torch.from_numpy(self.labels[mine]).to(device))
        return self.weight * losses.sum() / len(drawn)

    def after_step(self, step: StepLike) -> None:
        self.counts["steps"] += 1
