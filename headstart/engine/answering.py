"""How a model of several tasks answers: by the task's own head, by one list of classes, or by inferring the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data.task import Task
from headstart.engine.evaluate import looking
from headstart.engine.past import Learned, Past
from headstart.engine.step import present
from headstart.errors import ConfigError
from headstart.nets.joined import join_heads
from headstart.nets.net import Net
from headstart.nets.owners import with_owners

ALL = "all_classes"
"""Name of the head that answers all classes of a class-incremental model: a method's own, or its heads joined for everything
that knows one head only."""


class Samples(Protocol):
    """Samples at the network's size, read a slice at a time: an array, or `Rows` of a store."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class Rows:
    """The samples of a task, as its store has them."""

    task: Task

    def __len__(self) -> int:
        return len(self.task)

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        found: NDArray[Any] = self.task.store.gather(self.task.rows[part]).numpy()
        return found


@dataclass(frozen=True)
class Answered:
    """Answers about N samples by one head or a list of heads.

    probabilities  `[N, C]`
    classes        C names
    tasks          per class the task it belongs to
    """

    probabilities: NDArray[np.float32]
    classes: tuple[str, ...]
    tasks: tuple[str, ...]


class Answering:
    """The ways in which `net` answers, given what `past` says it has learned."""

    def __init__(self, net: Net, past: Past) -> None:
        self.net, self.past = net, past
        self._nets: dict[int, Net] = {}

    def number_of(self, task: str) -> int:
        """Place of the task called so. Raises ConfigError naming those there are."""
        names = [one.name for one in self.past.tasks]
        if task not in names:
            raise ConfigError(f"task {task!r} is none that this model has learned; it knows {', '.join(names)}")
        return names.index(task)

    def known(self, samples: Samples, task: str, *, batch_size: int = 128) -> Answered:
        """Answers when it is known which task the samples belong to: of its head, or its part of the method's own list."""
        number = self.number_of(task)
        one = self.past.tasks[number]
        if self.past.one_list is not None:
            logits = logits_of(self.net, samples, (self.past.one_list,), batch_size)[self.past.one_list]
            first = sum(len(before.classes) for before in self.past.tasks[:number])
            mine = torch.softmax(logits[:, first : first + len(one.classes)], 1)
            return Answered(mine.numpy(), one.classes, (one.name,) * len(one.classes))
        found = self._passes(samples, [one], self._net(number), batch_size)[0]
        return Answered(found, one.classes, (one.name,) * len(one.classes))

    def unknown(self, samples: Samples, *, batch_size: int = 128) -> Answered:
        """Answers when it is not known, over all classes seen so far.

        Class-incremental models have one list of classes. Of separate tasks the one whose head is surest of its likeliest
        class is taken to be the sample's; classes of other tasks get no probability. A head is as sure as its softmax says,
        which for heads learned apart is a guess, not a comparison. Tasks that are not answered with one class take no part.
        """
        past = self.past
        if past.scenario == "domain":
            return self.known(samples, past.tasks[-1].name, batch_size=batch_size)
        if past.scenario == "class":
            return self._listed(samples, batch_size)
        return self._surest(samples, batch_size)

    def _net(self, number: int) -> Net:
        if not self.past.owners:
            return self.net
        if number not in self._nets:
            self._nets[number] = with_owners(self.net, self.past.owners, number + 1)
        return self._nets[number]

    def _listed(self, samples: Samples, batch_size: int) -> Answered:
        past = self.past
        heads = (past.one_list,) if past.one_list is not None else past.heads
        logits = logits_of(self.net, samples, heads, batch_size)
        if len(heads) == 1:
            found = _probabilities(self.net, heads[0], logits[heads[0]])
        else:
            found = torch.softmax(torch.cat([logits[head] for head in heads], 1), 1)
        tasks = tuple(one.name for one in past.tasks for _ in one.classes)
        return Answered(found.numpy(), past.classes, tasks)

    def _surest(self, samples: Samples, batch_size: int) -> Answered:
        tasks = [one for one in self.past.tasks if one.one_class]
        if self.past.owners:
            each = [self._passes(samples, [one], self._net(n), batch_size)[0] for n, one in enumerate(tasks)]
        else:
            each = self._passes(samples, tasks, self.net, batch_size)
        top = np.stack([found.max(1) for found in each], 1)
        chosen = top.argmax(1)
        parts = [found * (chosen == number)[:, None] for number, found in enumerate(each)]
        names = tuple(one.name for one in tasks for _ in one.classes)
        classes = tuple(name for one in tasks for name in one.classes)
        return Answered(np.concatenate(parts, 1).astype(np.float32), classes, names)

    def _passes(self, samples: Samples, tasks: list[Learned], net: Net, batch_size: int) -> list[NDArray[np.float32]]:
        heads = tuple(dict.fromkeys(one.head for one in tasks))
        logits = logits_of(net, samples, heads, batch_size)
        return [_probabilities(net, one.head, logits[one.head]).numpy() for one in tasks]


def _probabilities(net: Net, head: str, logits: Tensor) -> Tensor:
    """On the processor; the head's calibration is where the net is."""
    return net.head(head).probabilities(logits.to(net.device)).cpu()


def logits_of(net: Net, samples: Samples, heads: tuple[str, ...], batch_size: int) -> Mapping[str, Tensor]:
    """`[N, C]` float32 per head; one pass of the backbone serves all."""
    reads = {name for head in heads for name in net.head(head).reads}
    until = max(reads, key=net.block_names.index)
    parts: dict[str, list[Tensor]] = {head: [] for head in heads}
    with looking(net):
        for start in range(0, len(samples), batch_size):
            batch = torch.from_numpy(np.ascontiguousarray(samples[start : start + batch_size])).to(net.device)
            activations = net.run(present(batch, net.input), until=until, taps=reads)
            for head in heads:
                parts[head].append(net.answer(activations, head).float().cpu())
    empty = {head: torch.empty(0, net.head(head).num_classes) for head in heads}
    return {head: torch.cat(found) if found else empty[head] for head, found in parts.items()}


def listing_head(net: Net, past: Past) -> str:
    """The head that answers all classes of a class-incremental model; heads side by side are joined into `all_classes`.

    A method's own list stays as it is, and so does a single head.
    """
    if past.one_list is not None:
        return past.one_list
    return past.heads[0] if len(past.heads) == 1 else join_heads(net, past.heads, ALL)
