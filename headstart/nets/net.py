"""`Net`: ordered, named blocks and named heads. Everything headstart does to a network it does to these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from headstart.catalog.kinds import Kind
from headstart.errors import ConfigError
from headstart.nets.heads import LinearHead, pool

Activation = Tensor | tuple[Tensor, ...]
"""What a block takes and gives: a tensor, or a tuple of one tensor per tower."""
TOWERS = "towers"
"""Builder of `Net.source`, and the key in the description of a saved module, of a network of towers."""


@dataclass(frozen=True)
class InputSpec:
    """What a network wants to see: `size` in pixels (or features), `(x / 255 - mean) / std` per channel, `kind`."""

    size: int
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    kind: str = "image"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(spec: Mapping[str, Any]) -> InputSpec:
        return InputSpec(int(spec["size"]), tuple(spec["mean"]), tuple(spec["std"]), str(spec["kind"]))


@dataclass(frozen=True)
class BlockInfo:
    """What is known about a block's output: its `layout` (see `pool`) and its number of `channels`.

    towers  of how many towers the output is a tuple, each of that layout and number of channels; None: it is one tensor
    """

    layout: str
    channels: int
    towers: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @staticmethod
    def from_json(spec: Mapping[str, Any]) -> BlockInfo:
        towers = spec.get("towers")
        return BlockInfo(str(spec["layout"]), int(spec["channels"]), None if towers is None else int(towers))


@dataclass(frozen=True)
class TowerPlan:
    """How a network of towers is put together, see `nets/towers.py`.

    tasks   one per tower
    shared  the first so many blocks of the network they are copies of stay one
    stitch  blocks after which a unit mixes the towers, in the network's order
    keep    with which share of itself a tower leaves such a unit at the start
    """

    tasks: tuple[str, ...]
    shared: int
    stitch: tuple[str, ...]
    keep: float

    def to_json(self) -> dict[str, Any]:
        return {"tasks": list(self.tasks), "shared": self.shared, "stitch": list(self.stitch), "keep": self.keep}

    @staticmethod
    def from_json(spec: Mapping[str, Any]) -> TowerPlan:
        return TowerPlan(tuple(spec["tasks"]), int(spec["shared"]), tuple(spec["stitch"]), float(spec["keep"]))


class Net(nn.Module):
    """A backbone as a chain of named blocks, with named heads that read it.

    blocks  applied in order; each maps one activation to one. Names are plain words (`layer1_0`)
    heads   each declares which blocks it `reads`; its name is its task's name
    input   what the first block wants to see
    info    per block: layout and channels of its output
    source  JSON that says how to build the same blocks again, `{"builder": ..., ...}`; None for a network given as a module
    towers  which tasks its towers belong to; None for a network without
    """

    def __init__(
        self,
        blocks: Mapping[str, nn.Module],
        input: InputSpec,
        info: Mapping[str, BlockInfo],
        source: Mapping[str, Any] | None,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict(dict(blocks))
        self.heads = nn.ModuleDict()
        self.input = input
        self.info = dict(info)
        self.source = dict(source) if source is not None else None
        self.towers = TowerPlan.from_json(self.source) if self.source and self.source.get("builder") == TOWERS else None

    @property
    def block_names(self) -> list[str]:
        return list(self.blocks)

    @property
    def last(self) -> str:
        """Name of the last block."""
        return self.block_names[-1]

    def head(self, name: str) -> LinearHead:
        """The head called `name`."""
        if name not in self.heads:
            raise ConfigError(f"no head is called {name!r}; this network has {sorted(self.heads) or 'none'}")
        module = self.heads[name]
        assert isinstance(module, LinearHead)
        return module

    def add_head(
        self,
        name: str,
        num_classes: int,
        reads: str | Iterable[str] | None = None,
        *,
        channels: tuple[int, int] | None = None,
        tower: int | None = None,
        kind: Kind = "classes",
    ) -> LinearHead:
        """Add (or replace) an empty linear head on the pooled output of the blocks it `reads`; default the last.

        channels  `(first, end)` of their channels side by side, which alone it reads; None: all
        kind      of the question it answers, see `LinearHead`
        tower     which tower it reads, from 0, where a block gives several; None: that of the task called `name`

        Raises ConfigError for unknown blocks, channels that they do not have, and a tower that is missing or not there.
        """
        taps = (self.last,) if reads is None else (reads,) if isinstance(reads, str) else tuple(reads)
        unknown = [tap for tap in taps if tap not in self.blocks]
        if unknown:
            raise ConfigError(f"head {name!r} reads unknown blocks {unknown}; there are {self.block_names}")
        width = sum(self.info[tap].channels for tap in taps)
        if channels is not None:
            if not 0 <= channels[0] < channels[1] <= width:
                raise ConfigError(f"head {name!r} reads channels {channels}; blocks {list(taps)} have {width} of them")
            width = channels[1] - channels[0]
        head = LinearHead(taps, width, num_classes, channels, self._tower_for(name, taps, tower), kind)
        parameter = next(self.parameters(), None)
        self.heads[name] = head if parameter is None else head.to(parameter.device)
        return head

    def _tower_for(self, name: str, taps: Iterable[str], tower: int | None) -> int | None:
        """The tower that head `name` on these blocks reads; None where all of them give one tensor."""
        split = {tap: count for tap in taps if (count := self.info[tap].towers) is not None}
        tasks = self.towers.tasks if self.towers is not None else ()
        most = max((info.towers or 0 for info in self.info.values()), default=0)
        if tower is not None and not 0 <= tower < most:
            there = f"has towers 0 to {most - 1}" if most else "has no towers"
            raise ConfigError(f"head {name!r} is to read tower={tower}; this network {there}")
        if not split:
            return None
        if tower is None and name not in tasks:
            of = f" (they belong to {', '.join(tasks)})" if tasks else ""
            raise ConfigError(
                f"head {name!r} reads {', '.join(split)}, of which there are {most} towers{of}; "
                f"say which: tower=0 to {most - 1}, or take one out with nets.towers.tower"
            )
        return tasks.index(name) if tower is None else tower

    def pooled(self, tap: str, activation: Activation, tower: int | None = None) -> Tensor:
        """The output of block `tap` averaged over places: `[N, C]`; of a tuple that of one tower."""
        if isinstance(activation, tuple):
            if tower is None or not 0 <= tower < len(activation):
                raise ConfigError(
                    f"block {tap!r} gives {len(activation)} towers, and tower {tower} is none of them; "
                    f"say which: 0 to {len(activation) - 1}"
                )
            activation = activation[tower]
        return pool(activation, self.info[tap].layout)

    def between(self, start: str | None, until: str | None) -> list[str]:
        """Names of the blocks after `start` (None: from the first) up to and including `until` (None: the last)."""
        names = self.block_names
        low = 0 if start is None else names.index(start) + 1
        high = len(names) if until is None else names.index(until) + 1
        return names[low:high]

    def run(
        self, x: Activation, *, start: str | None = None, until: str | None = None, taps: Iterable[str] = ()
    ) -> dict[str, Activation]:
        """Run blocks and return the activations asked for.

        x      the network's input, or the output of block `start`
        start  the block whose output `x` is; None when `x` is the input
        until  the last block to run; None for all
        taps   names of blocks whose outputs to return; the last block run is always there
        """
        wanted = set(taps)
        kept: dict[str, Activation] = {start: x} if start is not None and start in wanted else {}
        names = self.between(start, until)
        for name in names:
            x = self.blocks[name](x)
            if name in wanted or name == names[-1]:
                kept[name] = x
        if not names and start is not None:
            kept[start] = x
        return kept

    def answer(self, activations: Mapping[str, Activation], head: str) -> Tensor:
        """Logits `[N, C]` of a head from the activations it reads."""
        module = self.head(head)
        logits: Tensor = module({tap: self.pooled(tap, activations[tap], module.tower) for tap in module.reads})
        return logits

    def forward(self, x: Tensor, head: str | None = None) -> Tensor:
        """Logits of `head` (needed only when there are several) for inputs `[N, ...]`."""
        name = head if head is not None else self._only_head()
        reads = self.head(name).reads
        until = max(reads, key=self.block_names.index)
        return self.answer(self.run(x, until=until, taps=reads), name)

    def _only_head(self) -> str:
        if len(self.heads) != 1:
            raise ConfigError(f"say which head: this network has {sorted(self.heads) or 'none'}")
        return next(iter(self.heads))

    @property
    def device(self) -> torch.device:
        parameter = next(self.parameters(), None)
        return parameter.device if parameter is not None else torch.device("cpu")


def single(activations: Mapping[str, Activation], block: str) -> Tensor:
    """The output of a block that gives one tensor. Raises ConfigError for one that gives a tuple of towers."""
    found = activations[block]
    if isinstance(found, tuple):
        raise ConfigError(
            f"block {block!r} gives {len(found)} towers where one tensor is asked for; name a block before them"
        )
    return found


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())
