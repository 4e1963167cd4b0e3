"""What a model brings along from the tasks it has learned: their answers, what its method keeps, and stored samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from headstart.catalog.continual import Scenario
from headstart.catalog.kinds import Kind
from headstart.data.memory import Memory
from headstart.data.task import Task
from headstart.engine.checkpoint import load_state, save_state

PAST = "past.safetensors"


@dataclass(frozen=True)
class Learned:
    """A task that was learned.

    name     of the task; `head` answers it (in the domain-incremental scenario the one head of all)
    classes  the head's answers in order
    images   number of images it was learned from, of the data called `data` with this `fingerprint`
    kind     of question it asks; only models that were trained for several questions at once have other than `classes`
    """

    name: str
    head: str
    classes: tuple[str, ...]
    data: str = ""
    fingerprint: str = ""
    images: int = 0
    kind: Kind = "classes"

    @property
    def one_class(self) -> bool:
        """Whether its answer is one of its classes."""
        return self.kind in ("classes", "yes_no")


@dataclass
class Past:
    """Everything a method may know of the tasks before, and where it leaves what the next task needs.

    scenario  how the tasks belong together
    tasks     those learned, oldest first; empty before the first
    method    that made `state`, and its settings' name for it; "" where none has
    state     what the method keeps: nested dicts of tensors and JSON values (importances, anchors, masks, ...)
    memory    stored samples; None for a method without
    owners    parameter name -> uint8, which task (from 1) claimed each weight, 0 for free ones: a task is answered with its
              own weights and those of earlier ones, the others being zero; empty where all tasks use all weights
    one_list  head that answers all classes seen in one list, where a method has such a one; None: heads side by side
    old       the old tasks' own samples, in order, only where the user gives them; never kept
    spent     passes over the network that were made between stages: what for -> samples passed forward, and backward
    seed      everything random between two stages follows from it, the name of the task and a purpose
    together  the first tasks are questions about the same image, learned together: all are answered about every image
    """

    scenario: Scenario = "task"
    tasks: list[Learned] = field(default_factory=list)
    method: str = ""
    state: dict[str, Any] = field(default_factory=dict)
    memory: Memory | None = None
    owners: dict[str, Tensor] = field(default_factory=dict)
    one_list: str | None = None
    old: Sequence[Task] = ()
    spent: dict[str, tuple[int, int]] = field(default_factory=dict)
    seed: int = 0
    together: bool = False

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads of the tasks learned, each once, oldest first."""
        return tuple(dict.fromkeys(one.head for one in self.tasks))

    @property
    def classes(self) -> tuple[str, ...]:
        """The answers of all heads, one after the other."""
        told = {one.head: one.classes for one in self.tasks}
        return tuple(name for head in self.heads for name in told[head])

    def spend(self, what: str, *, forward: int, backward: int = 0) -> None:
        """Note passes of samples through the network outside of steps, so that they are counted; not saved."""
        before = self.spent.get(what, (0, 0))
        self.spent[what] = (before[0] + forward, before[1] + backward)

    def bytes_of_state(self) -> int:
        """Bytes of the tensors that the method keeps."""
        return sum(tensor.numel() * tensor.element_size() for tensor in _tensors([self.state, self.owners]))

    def bytes_of_memory(self) -> int:
        """Bytes of stored samples and what is stored with them."""
        return 0 if self.memory is None else self.memory.bytes

    def save(self, folder: Path) -> None:
        """Write all but `old` and `spent` into `folder`."""
        kept = {
            "scenario": self.scenario,
            "tasks": [asdict(one) for one in self.tasks],
            "method": self.method,
            "state": self.state,
            "memory": None if self.memory is None else self.memory.to_state(),
            "owners": self.owners,
            "one_list": self.one_list,
            "seed": self.seed,
            "together": self.together,
        }
        save_state(folder / PAST, kept)

    @staticmethod
    def load(folder: Path) -> Past | None:
        """What `save` wrote into `folder`; None where there is nothing. Raises CheckpointError when it is damaged."""
        if not (folder / PAST).exists():
            return None
        kept = load_state(folder / PAST)
        tasks = [Learned(**{**one, "classes": tuple(one["classes"])}) for one in kept["tasks"]]
        memory = None if kept["memory"] is None else Memory.from_state(kept["memory"])
        how = {name: kept[name] for name in ("scenario", "method", "state", "owners", "one_list", "seed")}
        return Past(tasks=tasks, memory=memory, together=bool(kept.get("together", False)), **how)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _tensors(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _tensors(one)
