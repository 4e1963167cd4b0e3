"""Frozen work is done once: the output of a stage's frozen prefix, memory-mapped, computed on first need.

Cached equals uncached to the bit, because both run the prefix on batches of one shape: the last, smaller batch is filled
up by repeating a sample. Whether a stage is cached follows from its configuration alone (`worthwhile`), never from which
files happen to exist; a missing or foreign file is computed anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data.task import Task
from headstart.data.views import View
from headstart.engine import distributed
from headstart.engine.checkpoint import bytes_of
from headstart.engine.files import write_atomic, write_json
from headstart.engine.log import SILENT, RunLog
from headstart.engine.step import Batch, present, render
from headstart.nets.net import Net


@dataclass(frozen=True)
class Prefix:
    """The frozen part of a net in a stage: all blocks before `first` (all blocks when None).

    width  samples per pass; every pass has exactly this many
    """

    net: Net
    first: str | None
    width: int

    @property
    def names(self) -> list[str]:
        names = self.net.block_names
        return names if self.first is None else names[: names.index(self.first)]

    @property
    def end(self) -> str | None:
        """The last block of the prefix; None when there is none."""
        return self.names[-1] if self.names else None

    @torch.no_grad()
    def __call__(self, samples: Tensor) -> Tensor:
        """Activations `[B, ...]` of the prefix's last block for rendered samples `[B, ...]`, `B <= width`."""
        count = len(samples)
        if count < self.width:
            samples = torch.cat([samples, samples[-1:].expand(self.width - count, *samples.shape[1:])])
        x = present(samples, self.net.input)
        return self.net.run(x, until=self.end)[str(self.end)][:count].float()


def key_of(prefix: Prefix, task: Task, view: View, seed: int, autocast: torch.dtype | None) -> str:
    """Everything a cached activation depends on, hashed (contract 7)."""
    digest = hashlib.blake2b(digest_size=16)
    for name in prefix.names:
        for key, tensor in prefix.net.blocks[name].state_dict().items():
            digest.update(f"{name}.{key}{tuple(tensor.shape)}{tensor.stride()}".encode())
            digest.update(bytes_of(tensor))
    facts = (prefix.names, prefix.net.input, view, 0 if view.is_plain else seed, task.fingerprint, str(autocast))
    surroundings = (prefix.width, torch.get_num_threads(), str(prefix.net.device), torch.__version__)
    digest.update(repr((facts, surroundings)).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Worth:
    """Whether caching pays, and the counting behind it. `bound` is the largest speed-up of training that FLOPs allow."""

    cached: bool
    bound: float
    bytes: int
    reason: str


def worthwhile(
    *,
    prefix_flops: float,
    total_flops: float,
    activation_bytes: int,
    samples: int,
    epochs: int,
    draws: int | None,
    limit: int,
) -> Worth:
    """Decide by counting: multiply-adds of prefix against all (trained part three times), draws against epochs, bytes.

    Forward and backward of the trained part cost about three forwards; the prefix costs one.
    """
    size = activation_bytes * samples * (draws or 0)
    suffix = 3 * (total_flops - prefix_flops)
    bound = (prefix_flops + suffix) / suffix if suffix > 0 else float("inf")
    if draws is None:
        return Worth(False, bound, 0, "the view is drawn anew every epoch")
    if prefix_flops <= 0:
        return Worth(False, 1.0, 0, "nothing is frozen before the first trained block")
    if draws >= epochs:
        return Worth(False, bound, size, f"{draws} renderings for {epochs} epochs repeat nothing")
    if size > limit:
        return Worth(False, bound, size, f"it would take {size / 1e9:.1f} GB, more than the limit of {limit / 1e9:.1f} GB")
    saved = (1 - draws / epochs) * prefix_flops / (prefix_flops + suffix)
    if saved < 0.05:
        return Worth(False, bound, size, f"it would save {saved:.0%} of the work")
    return Worth(True, bound, size, f"it saves {saved:.0%} of the work")


class CachedPrefix:
    """Activations of every sample and draw in one memory-mapped file: `[draws, N, ...]`, channels last where maps are."""

    def __init__(self, path: Path, channels_last: bool) -> None:
        self.array: NDArray[np.float32] = np.load(path, mmap_mode="r")
        self.channels_last = channels_last

    def gather(self, draw: int, places: NDArray[np.int64]) -> Tensor:
        """Activations `[B, ...]` of the samples at `places` of the task."""
        block = torch.from_numpy(self.array[draw, places])
        return block.permute(0, 3, 1, 2) if self.channels_last else block


def open_cache(
    folder: Path,
    prefix: Prefix,
    task: Task,
    view: View,
    *,
    seed: int,
    autocast: torch.dtype | None,
    guard: Callable[[], None] = lambda: None,
    log: RunLog = SILENT,
) -> CachedPrefix:
    """The cache for this prefix, data and view, computed if it is not there. `guard` runs between batches (interrupts)."""
    key = key_of(prefix, task, view, seed, autocast)
    path, card = folder / f"{key}.npy", folder / f"{key}.json"
    if distributed.is_first() and not _complete(path, card):
        channels_last = _fill(path, prefix, task, view, seed=seed, guard=guard, log=log)
        write_json(card, {"channels_last": channels_last, "bytes": path.stat().st_size})
    distributed.barrier()
    facts = json.loads(card.read_text())
    return CachedPrefix(path, bool(facts["channels_last"]))


def _complete(path: Path, card: Path) -> bool:
    if not path.exists() or not card.exists():
        return False
    try:
        facts: Mapping[str, int] = json.loads(card.read_text())
        return int(facts["bytes"]) == path.stat().st_size
    except (ValueError, KeyError):
        return False


def _fill(path: Path, prefix: Prefix, task: Task, view: View, *, seed: int, guard: Callable[[], None], log: RunLog) -> bool:
    """Compute every activation; returns whether they are maps stored with channels last."""
    draws, device = view.fixed_draws or 1, prefix.net.device
    layout: list[bool] = []

    def write(temporary: Path) -> None:
        out: np.memmap[Any, np.dtype[np.float32]] | None = None
        for draw in range(draws):
            for start in range(0, len(task), prefix.width):
                guard()
                places = np.arange(start, min(start + prefix.width, len(task)), dtype=np.int64)
                batch = Batch(task.rows[places], places, torch.empty(0), 0)
                x = prefix(render(task, batch, view, seed=seed, draw=draw, device=device))
                if out is None:
                    layout.append(x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last))
                    shape = (x.permute(0, 2, 3, 1) if layout[0] else x).shape[1:]
                    out = np.lib.format.open_memmap(temporary, "w+", np.float32, (draws, len(task), *shape))
                out[draw, places] = (x.permute(0, 2, 3, 1) if layout[0] else x).cpu().numpy()
                log.tick(draw * len(task) + start, draws * len(task), "computing the frozen part once")
        assert out is not None
        out.flush()

    write_atomic(path, write)
    return layout[0]
