"""Frozen work is done once: the output of a stage's frozen prefix, memory-mapped, computed on first need.

A cache has a place for every row of the store, filled for the rows a stage trains on; other folds and other stages with
the same prefix and views share it. Cached equals uncached to the bit, because both run the prefix on batches of one shape:
a smaller batch is filled up by repeating a sample. Whether a stage is cached follows from its configuration alone
(`worthwhile`), never from which files happen to exist; a missing file is computed anew. The folder as a whole keeps to a
limit: what was used longest ago makes way.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data.mix import Mix
from headstart.data.store import Store
from headstart.data.task import Task
from headstart.data.views import View
from headstart.engine import distributed, interrupt
from headstart.engine.checkpoint import bytes_of, load_state, save_state
from headstart.engine.log import SILENT, RunLog
from headstart.engine.step import present, render
from headstart.errors import CheckpointError, DiskFull
from headstart.files import reserve
from headstart.nets.net import Net, single


@dataclass(frozen=True)
class Prefix:
    """The frozen part of a net in a stage: all blocks before `first` (all blocks when None).

    It ends before the first block that gives several towers in any case, for a cache holds one tensor.

    width  samples per pass; every pass has exactly this many
    """

    net: Net
    first: str | None
    width: int

    @property
    def names(self) -> list[str]:
        names = self.net.block_names
        before = names if self.first is None else names[: names.index(self.first)]
        return list(takewhile(lambda name: self.net.info[name].towers is None, before))

    @property
    def end(self) -> str | None:
        """The last block of the prefix; None when there is none."""
        return self.names[-1] if self.names else None

    @torch.no_grad()
    def __call__(self, samples: Tensor) -> Tensor:
        """Activations `[B, ...]` of the prefix's last block for rendered samples `[B, ...]`, `B <= width`."""
        count = len(samples)
        if count < self.width:
            filling = samples[-1:] if count else samples.new_zeros(1, *samples.shape[1:])
            samples = torch.cat([samples, filling.expand(self.width - count, *samples.shape[1:])])
        x = present(samples, self.net.input)
        return single(self.net.run(x, until=self.end), str(self.end))[:count].float()


def device_name(device: torch.device) -> str:
    """The kind of device that computes, the same in every process of a run (`cuda:1` is not another kind than `cuda:0`)."""
    return f"cuda {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type


def key_of(prefix: Prefix, store: Store, view: View, seed: int, autocast: torch.dtype | None) -> str:
    """Everything a cached activation depends on, hashed (contract 7)."""
    digest = hashlib.blake2b(digest_size=16)
    for name in prefix.names:
        for key, tensor in prefix.net.blocks[name].state_dict().items():
            digest.update(f"{name}.{key}{tuple(tensor.shape)}{tensor.stride()}".encode())
            digest.update(bytes_of(tensor))
    facts = (prefix.names, prefix.net.input, view, 0 if view.is_plain else seed, store.fingerprint, str(autocast))
    surroundings = (prefix.width, torch.get_num_threads(), device_name(prefix.net.device), torch.__version__)
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

    samples  rows of the store: a cache has a place for each of them

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


@dataclass
class CachedPrefix:
    """Activations of samples and draws in one memory-mapped file: `[draws, rows of the store, ...]`.

    maps  activations are maps, stored with channels last
    path  the file
    """

    array: NDArray[np.float32]
    maps: bool
    path: Path

    def gather(self, draw: int, rows: NDArray[np.int64]) -> Tensor:
        """Activations `[B, ...]` of the samples in `rows` of the store."""
        block = torch.from_numpy(self.array[draw, rows])
        return block.permute(0, 3, 1, 2) if self.maps else block


def open_cache(
    folder: Path,
    prefix: Prefix,
    task: Task | Mix,
    view: View,
    *,
    seed: int,
    autocast: torch.dtype | None,
    log: RunLog = SILENT,
    limit: int | None = None,
    beside: Collection[CachedPrefix] = (),
) -> CachedPrefix:
    """The cache for this prefix, store and view; rows of `task` that are not in it yet are computed.

    limit   bytes that all caches in `folder` may take; others than `beside` are removed to keep to it
    beside  caches in use

    The list of filled rows is written after the rows themselves, so a killed run leaves nothing half-filled in it.
    Raises DiskFull, in every process, when there is no room even so.
    """

    def fill() -> Path:
        # The first process's key names the file: the others' devices have other numbers.
        path = folder / f"prefix-{key_of(prefix, task.store, view, seed, autocast)}.npy"
        folder.mkdir(parents=True, exist_ok=True)
        _fill(path, prefix, task, view, seed, log, _Room(folder, limit, {cache.path for cache in beside}))
        return path

    path = distributed.first(fill)
    # A plain view of the mapped file: `np.memmap` itself makes every look a little slower.
    return CachedPrefix(np.load(path, mmap_mode="r").view(np.ndarray), bool(load_state(_filled(path))["maps"]), path)


@dataclass(frozen=True)
class _Room:
    """The room for caches in a folder: `limit` bytes for all, None for no limit; those in `kept` stay."""

    folder: Path
    limit: int | None
    kept: Collection[Path]

    def make(self, needed: int) -> None:
        """Remove what was used longest ago until `needed` bytes have room. Raises DiskFull when they have not even then."""
        if self.limit is None:
            return
        sizes = {path: path.stat().st_size for path in self.folder.glob("prefix-*.npy")}
        oldest = sorted(sizes.keys() - set(self.kept), key=lambda path: path.stat().st_mtime_ns)
        while sum(sizes.values()) + needed > self.limit:
            if not oldest:
                raise DiskFull(
                    f"{needed / 1e9:.1f} GB more are over the limit of {self.limit / 1e9:.1f} GB for caches in {self.folder}"
                )
            path = oldest.pop(0)
            _filled(path).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            del sizes[path]


def _filled(path: Path) -> Path:
    return path.with_suffix(".filled.safetensors")


def _fill(path: Path, prefix: Prefix, task: Task | Mix, view: View, seed: int, log: RunLog, room: _Room) -> None:
    """Compute the rows of `task` that the file lacks."""
    draws = view.fixed_draws or 1
    existing = _existing(path, log)
    out, filled, maps = existing or _new(path, prefix, task, view, seed, draws, room)
    path.touch()  # its time tells when it was last used
    if existing is not None and filled[:, task.rows].all():
        return
    todo = [(draw, rows) for draw in range(draws) for rows in _batches(task.rows[~filled[draw, task.rows]], prefix.width)]
    try:
        for number, (draw, rows) in enumerate(todo):
            interrupt.check()
            out[draw, rows] = _compute(prefix, task, rows, view, seed, draw, maps)
            filled[draw, rows] = True
            log.tick(number + 1, len(todo), "computing the frozen part once")
    finally:
        out.flush()
        save_state(_filled(path), {"filled": torch.from_numpy(filled), "maps": maps})


_Opened = tuple[np.memmap[Any, np.dtype[np.float32]], NDArray[np.bool_], bool]
"""The file, which rows are in it, and whether activations are maps."""


def _existing(path: Path, log: RunLog) -> _Opened | None:
    """What an earlier stage or run left; None when the file or its list is missing or damaged."""
    if not path.exists() or not _filled(path).exists():
        return None
    try:
        facts = load_state(_filled(path))
        return np.lib.format.open_memmap(path, "r+"), facts["filled"].numpy(), bool(facts["maps"])
    except (CheckpointError, ValueError) as error:
        log.event("warning", text=f"a cached prefix is computed anew: {error}")
        return None


def _new(path: Path, prefix: Prefix, task: Task | Mix, view: View, seed: int, draws: int, room: _Room) -> _Opened:
    path.unlink(missing_ok=True)
    first = task.rows[: prefix.width]
    example = _present(prefix, task, first, view, seed, 0)
    maps = example.ndim == 4 and example.is_contiguous(memory_format=torch.channels_last)
    shape = (example.permute(0, 2, 3, 1) if maps else example).shape[1:]
    size = (draws, len(task.store), *shape)
    room.make(4 * math.prod(size))
    return reserve(path, size), np.zeros(size[:2], np.bool_), maps


def _batches(rows: NDArray[np.int64], width: int) -> list[NDArray[np.int64]]:
    return [rows[start : start + width] for start in range(0, len(rows), width)]


def _present(prefix: Prefix, task: Task | Mix, rows: NDArray[np.int64], view: View, seed: int, draw: int) -> Tensor:
    return prefix(render(task.store, rows, view, seed=seed, draw=draw, device=prefix.net.device))


def _compute(
    prefix: Prefix, task: Task | Mix, rows: NDArray[np.int64], view: View, seed: int, draw: int, maps: bool
) -> NDArray[np.float32]:
    x = _present(prefix, task, rows, view, seed, draw)
    values: NDArray[np.float32] = (x.permute(0, 2, 3, 1) if maps else x).cpu().numpy()
    return values
