"""`Net`: ordered, named blocks and named heads. Everything headstart does to a network it does to these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import ConfigError
from headstart.nets.heads import LinearHead, pool


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
    """What is known about a block's output: its `layout` (see `pool`) and its number of `channels`."""

    layout: str
    channels: int


class Net(nn.Module):
    """A backbone as a chain of named blocks, with named heads that read it.

    blocks  applied in order; each maps one tensor to one tensor. Names are plain words (`layer1_0`)
    heads   each declares which blocks it `reads`; its name is its task's name
    input   what the first block wants to see
    info    per block: layout and channels of its output
    source  JSON that says how to build the same blocks again, `{"builder": ..., ...}`; None for a network given as a module
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
    ) -> LinearHead:
        """Add (or replace) an empty linear head on the pooled output of the blocks it `reads`; default the last.

        channels  `(first, end)` of their channels side by side, which alone it reads; None: all

        Raises ConfigError for unknown blocks, and for channels that they do not have.
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
        head = LinearHead(taps, width, num_classes, channels)
        parameter = next(self.parameters(), None)
        self.heads[name] = head if parameter is None else head.to(parameter.device)
        return head

    def pooled(self, tap: str, activation: Tensor) -> Tensor:
        """The output of block `tap` averaged over places: `[N, C]`."""
        return pool(activation, self.info[tap].layout)

    def between(self, start: str | None, until: str | None) -> list[str]:
        """Names of the blocks after `start` (None: from the first) up to and including `until` (None: the last)."""
        names = self.block_names
        low = 0 if start is None else names.index(start) + 1
        high = len(names) if until is None else names.index(until) + 1
        return names[low:high]

    def run(
        self, x: Tensor, *, start: str | None = None, until: str | None = None, taps: Iterable[str] = ()
    ) -> dict[str, Tensor]:
        """Run blocks and return the activations asked for.

        x      the network's input, or the output of block `start`
        start  the block whose output `x` is; None when `x` is the input
        until  the last block to run; None for all
        taps   names of blocks whose outputs to return; the last block run is always there
        """
        wanted = set(taps)
        kept: dict[str, Tensor] = {start: x} if start is not None and start in wanted else {}
        names = self.between(start, until)
        for name in names:
            x = self.blocks[name](x)
            if name in wanted or name == names[-1]:
                kept[name] = x
        if not names and start is not None:
            kept[start] = x
        return kept

    def answer(self, activations: Mapping[str, Tensor], head: str) -> Tensor:
        """Logits `[N, C]` of a head from the activations it reads."""
        module = self.head(head)
        logits: Tensor = module({tap: self.pooled(tap, activations[tap]) for tap in module.reads})
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


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())
