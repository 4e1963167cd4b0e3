"""Dark experience replay: a reservoir over the stream of training batches, kept with the net's answers at the time."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data.memory import Memory
from headstart.data.selection import final, reservoir
from headstart.data.task import UNKNOWN, Task
from headstart.errors import ConfigError, problems
from headstart.losses.incremental import squared_error_where_known
from headstart.seeding import generator
from headstart.terms.base import StepLike, Term
from headstart.terms.contrastive import gathered
from headstart.terms.distill import setting_faults
from headstart.terms.rehearsal import Counted, Draws, Heads, my_part


class Dark(Counted, Term):
    """alpha * mean squared error of logits against those stored + beta * mean cross-entropy of a second draw.

    Buzzega et al. 2020, eq. 5 (DER, beta = 0) and eq. 6 (DER++). The squared error is the mean over classes, as in the
    authors' code (the equation has the sum).

    task    the stage's whole task, whose samples are stored as the store has them, un-augmented
    memory  from the tasks before, whose samples are taken over
    number  of this task among all
    heads   whose answers are stored, this task's the last of them or the only one
    draws   how many at each step for each of the two, and how they are shown

    The reservoir is over the stream, as in the paper: a sample that comes again in the next epoch is offered again, and
    may be held twice, with the answers of two moments. Answers are those the net gave when it trained on the sample, in
    its training modes, on its rendering of that step, before the step was taken; they are compared with answers on a fresh
    rendering. Samples without a label are not stored. Old and new pass apart: batch normalisation that trains sees the
    difference. Under several processes the reservoir is over the batches of all, and the same in each.

    A head that came after an answer was stored said nothing then, and takes no part in the comparison; but where all
    classes make one list the answer is compared with 0 there, as every head says when it is made. In the paper all outputs
    exist from the start and are compared: without it nothing would keep later classes from winning over old ones (on
    digits, class-incrementally, DER then forgets everything, as fine-tuning does).

    Raises ConfigError for settings that cannot be.
    """

    samples: Tensor
    labels: Tensor
    of_tasks: Tensor
    logits: Tensor
    first: Tensor

    def __init__(
        self, task: Task, memory: Memory, number: int, heads: Heads, draws: Draws, *, alpha: float, beta: float = 0.0
    ) -> None:
        super().__init__()
        faults = setting_faults(alpha=alpha, beta=beta)
        if draws.size < 1:
            faults.append(f"{draws.size} samples per step; replay one at least")
        problems(ConfigError, "stored samples cannot be replayed as asked:", faults)
        self.tasks, self.heads, self.reads = (task.name,), heads.names, heads.reads
        self.task, self.number, self.beside, self.draws = task, number, heads, draws
        self.alpha, self.beta = alpha, beta
        self.also_runs = min(draws.size, memory.capacity) * (2 if beta else 1)
        self.counts = {"steps": 0, "filled": len(memory), "seen": memory.seen}
        self._take_over(memory)

    def _take_over(self, memory: Memory) -> None:
        """Buffers of the full size from the start: a checkpoint is loaded into tensors of the same shape."""
        held, room = len(memory), memory.capacity
        samples = np.zeros((room, *memory.samples.shape[1:]), memory.samples.dtype)
        labels, tasks = np.zeros(room, np.int64), np.zeros(room, np.int64)
        logits = np.full((room, self.beside.classes), np.nan, np.float32)
        samples[:held], labels[:held], tasks[:held] = memory.samples, memory.labels, memory.tasks
        if memory.logits is not None:
            logits[:held, : memory.logits.shape[1]] = memory.logits
        for name, array in (("samples", samples), ("labels", labels), ("of_tasks", tasks), ("logits", logits)):
            self.register_buffer(name, torch.from_numpy(array))
        self.register_buffer("first", torch.tensor(self.beside.first), persistent=False)

    def forward(self, step: StepLike) -> Tensor:
        answers = self.beside.on_batch(step)  # of all heads, and of now: `after_step` stores them
        if not self.counts["filled"]:
            return 0.0 * answers.sum()  # nothing yet, of all heads: momentum has to begin for all weights at one step
        loss = self._passed(step, "dark")
        return loss + self._passed(step, "dark labels") if self.beta else loss

    def _passed(self, step: StepLike, purpose: str) -> Tensor:
        """One of the two parts, on a draw of its own."""
        number = self.counts["steps"]
        drawn = self.draws.places(self.counts["filled"], number, purpose)
        part = my_part(len(drawn))
        mine = torch.from_numpy(drawn[part]).to(self.labels.device)
        logits = self.beside.on(step, self.draws.shown(self.samples[mine], part, number, purpose))
        if purpose == "dark":
            stored = self.logits[mine]
            return self.alpha * squared_error_where_known(logits, self._then(stored)).sum() / len(drawn)
        losses = self.beside.loss(logits, self.labels[mine] + self.first[self.of_tasks[mine]])
        return self.beta * losses.sum() / len(drawn)

    def _then(self, stored: Tensor) -> Tensor:
        """Stored answers, with what an empty head says about classes that came later where all classes make one list."""
        if not self.beside.one_list:
            return stored
        missing = stored.isnan()
        return torch.where(missing & ~missing.all(1, keepdim=True), 0.0, stored)

    @torch.no_grad()
    def after_step(self, step: StepLike) -> None:
        """Offer this batch, of all processes, to the reservoir."""
        answers = self.beside.on_batch(step).detach().float()
        ids, answers = gathered([step.ids.to(answers.device), answers])
        rows = ids.cpu().numpy()
        known = np.flatnonzero(self.task.labels[rows] != UNKNOWN)
        counts = self.counts
        draw = generator(self.draws.seed, "terms", "reservoir", counts["steps"])
        slots = reservoir(counts["seen"], counts["filled"], len(known), len(self.labels), draw)
        kept = final(slots)
        self._store(rows[known[kept]], answers[torch.from_numpy(known[kept]).to(answers.device)], slots[kept])
        counts["seen"] += len(known)
        counts["filled"] = max(counts["filled"], int(slots.max(initial=-1)) + 1)
        counts["steps"] += 1

    def _store(self, rows: NDArray[np.int64], answers: Tensor, slots: NDArray[np.int64]) -> None:
        at = torch.from_numpy(slots).to(self.labels.device)
        self.samples[at] = self.task.store.gather(rows).to(at.device)
        self.labels[at] = torch.from_numpy(self.task.labels[rows]).to(at.device)
        self.of_tasks[at] = self.number
        self.logits[at] = answers.to(at.device)

    def kept(self) -> Memory:
        """The memory as it is now, copied."""
        held = self.counts["filled"]
        parts = (self.samples, self.labels, self.of_tasks, self.logits)
        samples, labels, tasks, logits = (part[:held].detach().cpu().clone().numpy() for part in parts)
        return Memory(len(self.labels), samples, labels, tasks, logits, self.counts["seen"])
