"""What methods share that keep samples: the heads a stored sample may belong to, room for it, and which ones stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.catalog.rehearsal import Policy
from headstart.data.memory import Memory
from headstart.data.selection import allotted, final, first_of, herding, reservoir
from headstart.data.store import Store, store_of
from headstart.data.task import UNKNOWN, Task, task_of
from headstart.engine.evaluate import answers
from headstart.engine.features import FeatureBank
from headstart.engine.past import Past
from headstart.engine.run import memo, under_way
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.seeding import generator, permutation, seed_for
from headstart.stage import Stage
from headstart.strategies.continual.common import Place
from headstart.terms.rehearsal import Draws, Heads


def check_room(
    method: str, task: Task, past: Past, *, capacity: int, max_bytes: int, answers: int = 0, least: int = 0
) -> None:
    """Raise ConfigError for a memory that cannot be, or not be as large as asked.

    answers  number of logits stored with each sample
    least    samples that the method needs at least
    """
    array = task.store.array
    needed = Memory.bytes_for(max(capacity, 0), array.shape[1:], array.dtype, answers)
    faults = []
    if capacity < least:
        few = f"it needs room for {least} samples at least" if least else "give the number of samples to keep, 0 for none"
        faults.append(f"capacity={capacity} (--capacity): {few}")
    if needed > max_bytes:
        fit = max_bytes // max(Memory.bytes_for(1, array.shape[1:], array.dtype, answers), 1)
        faults.append(
            f"capacity={capacity} samples take {needed:,} bytes, and max_bytes={max_bytes:,} (--max-memory) allows {fit}; "
            "lower the one (--capacity) or raise the other"
        )
    held = past.memory
    if held is not None and (held.samples.shape[1:] != array.shape[1:] or held.samples.dtype != array.dtype):
        faults.append(
            f"the memory holds samples of shape {list(held.samples.shape[1:])} {held.samples.dtype}, and those of "
            f"{task.name!r} are {list(array.shape[1:])} {array.dtype}; read them at the size of the network's input"
        )
    problems(ConfigError, f"{method} cannot keep samples as asked:", faults)


def heads_of(net: Net, place: Place, past: Past) -> Heads:
    """The heads of all tasks, this one's included, side by side."""
    names = (*place.old, place.head)
    reads = {block for name in names for block in net.head(name).reads}
    return Heads(
        names,
        tuple(net.head(name).num_classes for name in names),
        (*(names.index(one.head) for one in past.tasks), names.index(place.head)),
        tuple(block for block in net.block_names if block in reads),
        past.scenario == "task",
    )


def held_before(past: Past, task: Task, capacity: int) -> Memory:
    """The memory that the model brings along, cut to `capacity`; an empty one where it has none.

    What is cut is drawn, which leaves a reservoir one. A larger capacity than before cannot bring back what was passed over:
    the new task then has more than its share.
    """
    if past.memory is None:
        return Memory.empty(capacity, task.store.array.shape[1:], task.store.array.dtype)
    kept = np.arange(len(past.memory))
    if len(kept) > capacity:
        kept = np.sort(permutation(len(kept), past.seed, task.name, "cut")[:capacity])
    return past.memory.take(kept, capacity=capacity)


def draws(past: Past, stage: Stage, size: int | None) -> Draws:
    """Batches of stored samples for a stage: as large as its own unless said otherwise, rendered as its main view is."""
    seed = seed_for(past.seed, stage.data.name, "rehearsal")
    return Draws(seed, stage.batch_size if size is None else size, stage.views["main"])


def with_old(policy: Policy, net: Net, past: Past, capacity: int) -> Memory | None:
    """The memory that the model brings, filled up with what `policy` would have kept of those old tasks it holds none of.

    Only where the data of all old tasks are given (`past.old`); else it is what it is. As after each of them, oldest first,
    but by features of the net as it is now: those it had when a task was new are gone.
    """
    held = set() if past.memory is None else set(past.memory.tasks.tolist())
    missing = [number for number in range(len(past.tasks)) if number not in held]
    memory = past.memory
    if len(past.old) < len(past.tasks):
        return memory
    for number in missing:
        memory = after_task(policy, net, past.old[number], replace(past, memory=memory), capacity, number)
    return memory


def with_old_answers(net: Net, task: Task, past: Past, capacity: int, epochs: int) -> Memory | None:
    """As `with_old` by a reservoir, with the answers of all old heads of the net as it is now on the samples that are new.

    epochs  how often each old sample counts as offered. Dark experience replay offers one again in every epoch; counted
            once, the task at hand, whose samples come so often, would soon have pushed out all others
    """
    before = past.memory
    memory = with_old("reservoir", net, past, capacity)
    if memory is None or memory is before:
        return memory
    held, seen = (set(), 0) if before is None else (set(before.tasks.tolist()), before.seen)
    first = next(number for number in range(len(past.tasks)) if number not in held)
    new = ~np.isin(memory.tasks, list(held))
    logits = np.full((len(memory), len(past.classes)), np.nan, np.float32)
    if before is not None and before.logits is not None:
        kept = held_before(past, past.old[first], capacity).logits  # the reservoir has left what stays in its place
        assert kept is not None
        logits[~new, : kept.shape[1]] = kept[np.flatnonzero(~new)]
    logits[new] = _answers(net, task, past, memory.samples[new])
    return replace(memory, logits=logits, seen=seen + epochs * (memory.seen - seen))


def _answers(net: Net, task: Task, past: Past, samples: NDArray[Any]) -> NDArray[np.float32]:
    """`[M, C]` of all old heads side by side, on plain views."""
    shown = task_of(task.name, store_of(samples), np.zeros(len(samples), np.int64), task.classes)
    past.spend("old answers recorded", forward=len(samples))

    def compute() -> dict[str, torch.Tensor]:
        each = [answers(net, shown, head) for head in past.heads]
        return {"logits": torch.from_numpy(np.concatenate(each, 1))}

    found: NDArray[np.float32] = memo(f"answers-before-{task.name}", compute)["logits"].numpy()
    return found


def after_task(policy: Policy, net: Net, data: Task, past: Past, capacity: int, number: int | None = None) -> Memory:
    """The memory that the next task finds: what stays of the one so far, and of `data`, which was just learned.

    number  of the task that `data` are of; None: one more than were learned before

    `reservoir`       every sample of all tasks with the same probability: the task's are offered in a random order
    `class_balanced`  equal shares per class, then per task, drawn at random
    `herding`         the same shares, the samples whose running mean of features best follows their class's mean
    """
    known = np.flatnonzero(data.targets != UNKNOWN)
    number = len(past.tasks) if number is None else number
    if policy == "reservoir":
        return _reservoir(held_before(past, data, capacity), data, known, past, number)
    return _balanced(policy, net, data, known, past, capacity, number)


def _reservoir(memory: Memory, data: Task, known: NDArray[np.int64], past: Past, number: int) -> Memory:
    rows = data.rows[known[permutation(len(known), past.seed, data.name, "reservoir order")]]
    draw = generator(past.seed, data.name, "reservoir")
    slots = reservoir(memory.seen, len(memory), len(rows), memory.capacity, draw)
    stay = final(slots)
    return _with(memory, slots[stay], data, rows[stay], number, offered=len(rows))


def _balanced(
    policy: Policy, net: Net, data: Task, known: NDArray[np.int64], past: Past, capacity: int, number: int
) -> Memory:
    """Every class keeps its first ones, which are the best where an order was chosen, and drawn where none was."""
    held = held_before(past, data, max(capacity, len(past.memory or ())))
    labels = np.concatenate([held.labels, data.targets[known]])
    tasks = np.concatenate([held.tasks, np.full(len(known), number, np.int64)])
    classes = _classes(past, labels, tasks)
    room = allotted(classes, tasks, capacity)
    kept = held.take(first_of(classes[: len(held)], tasks[: len(held)], room), capacity=capacity)
    places = [
        known[np.flatnonzero(classes[len(held) :] == name)] if count else known[:0]
        for (name, task), count in room.items()
        if task == number
    ]
    counts = [count for (_, task), count in room.items() if task == number]
    if policy == "herding":
        chosen = _herded(net, data, places, counts)
        past.spend("herding", forward=sum(len(some) for some in places))
    else:
        chosen = _drawn(data, places, counts, past)
    slots = len(kept) + np.arange(len(chosen), dtype=np.int64)
    return _with(kept, slots, data, data.rows[chosen], number, offered=len(known))


def _drawn(data: Task, places: Sequence[NDArray[np.int64]], counts: Sequence[int], past: Past) -> NDArray[np.int64]:
    draw = generator(past.seed, data.name, "class balanced")
    return _together([draw.permutation(some)[:count] for some, count in zip(places, counts, strict=True)])


def _herded(net: Net, data: Task, places: Sequence[NDArray[np.int64]], counts: Sequence[int]) -> NDArray[np.int64]:
    """By features of the net as it is now, on plain images; computed once per run."""

    def compute() -> dict[str, torch.Tensor]:
        found = [
            some[herding(features_of(net, data.store, data.rows[some]), count)]
            for some, count in zip(places, counts, strict=True)
        ]
        return {"places": torch.from_numpy(_together(found))}

    chosen: NDArray[np.int64] = memo(f"herding-{data.name}", compute)["places"].numpy()
    return chosen


def features_of(net: Net, store: Store, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """`[N, D]` output of the last block, averaged over places, in eval mode on the plain view."""
    return FeatureBank(log=under_way(net).log).get(net, store, rows, (net.last,))[net.last]


def _with(
    memory: Memory, slots: NDArray[np.int64], data: Task, rows: NDArray[np.int64], number: int, *, offered: int
) -> Memory:
    samples = np.array(data.store.array[rows])  # a copy in memory, of a file mapped from the disk as well
    return memory.put(slots, samples, data.labels[rows], number, offered=offered)


def _together(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _classes(past: Past, labels: NDArray[np.int64], tasks: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number per class: domain-incremental tasks share theirs, others have their own."""
    if past.scenario == "domain":
        return labels
    first = np.concatenate([[0], np.cumsum([len(one.classes) for one in past.tasks])]).astype(np.int64)
    found: NDArray[np.int64] = labels + first[tasks]
    return found
