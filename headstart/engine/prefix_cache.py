"""Frozen work is done once: the output of a stage's frozen prefix, memory-mapped, computed on first need.

A cache has a place for every row of the store, filled for the rows a stage trains on; other folds and other stages with
the same prefix and views share it. Cached equals uncached to the bit, because both run the prefix on batches of one shape:
a smaller batch is filled up by repeating a sample. Whether a stage is cached follows from its configuration alone
(`worthwhile`), never from which files happen to exist; a missing file is computed anew. The folder as a whole keeps to a
limit: what was used longest ago makes way.

Where a network is frozen block after block, a longer prefix is computed from what is kept of a shorter one, whose file is
removed once that is done: each block runs once over what the one below put out. The bits are those of a pass from the
samples.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

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
from headstart.errors import CheckpointError, DiskFull, RunError
from headstart.files import held, reserve
from headstart.nets.net import Net, single
from headstart.nets.structure import structure


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

    def until(self, end: str) -> Prefix:
        """Its first blocks, up to and including `end`."""
        return Prefix(self.net, self.net.between(end, None)[0], self.width)

    def __call__(self, samples: Tensor) -> Tensor:
        """Activations `[B, ...]` of the prefix's last block for rendered samples `[B, ...]`."""
        return self.run(samples).float()

    @torch.no_grad()
    def run(self, x: Tensor, start: str | None = None) -> Tensor:
        """The same as the last block gives them, which under autocast may be in half precision; from outputs `x` of block
        `start` on, where one is named."""
        passes = [self._pass(part, start) for part in torch.split(x, self.width)]
        return passes[0] if len(passes) == 1 else torch.cat(passes)

    def _pass(self, x: Tensor, start: str | None) -> Tensor:
        count, last_channels = len(x), x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
        if count < self.width:
            filling = x[-1:] if count else x.new_zeros(1, *x.shape[1:])
            x = torch.cat([x, filling.expand(self.width - count, *x.shape[1:])])
        if start is None:
            x = present(x, self.net.input)
        elif last_channels:  # a filled-up batch lies in memory as a full one does
            x = x.contiguous(memory_format=torch.channels_last)
        return single(self.net.run(x, start=start, until=self.end), str(self.end))[:count]


_FORM = 2
"""Of the files: raised whenever they are written in another form."""


def device_name(device: torch.device) -> str:
    """The kind of device that computes, the same in every process of a run (`cuda:1` is not another kind than `cuda:0`)."""
    return f"cuda {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type


def surroundings(width: int, device: torch.device) -> tuple[object, ...]:
    """What decides about the last bits of an activation besides network and data: batch, threads, device, version, and how
    exactly products of matrices are to be computed."""
    return width, torch.get_num_threads(), device_name(device), torch.__version__, _exactness()


def _exactness() -> tuple[object, ...]:
    try:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:  # set by torch's newer names, which the older ones then refuse to read
        backends: Any = torch.backends
        kinds = (backends.cuda.matmul, backends.mkldnn.matmul, backends.cudnn.conv, backends.mkldnn.conv)
        return tuple(kind.fp32_precision for kind in kinds)


def key_of(prefix: Prefix, store: Store, view: View, seed: int, autocast: torch.dtype | None) -> str:
    """Everything a cached activation depends on, hashed (contract 7)."""
    digest = hashlib.blake2b(digest_size=16)
    for name in prefix.names:
        digest.update(structure(prefix.net.blocks[name]).encode())
        for key, tensor in prefix.net.blocks[name].state_dict().items():
            digest.update(f"{name}.{key}{tuple(tensor.shape)}{tensor.stride()}".encode())
            digest.update(bytes_of(tensor))
    facts = (prefix.names, prefix.net.input, view, 0 if view.is_plain else seed, store.fingerprint, str(autocast), _FORM)
    digest.update(repr((facts, surroundings(prefix.width, prefix.net.device))).encode())
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
    """Activations of samples and draws in one memory-mapped file: `[draws, rows of the store, pieces, ...]`.

    filled  `[draws, rows of the store]` which of them are there
    maps    activations are maps, stored with channels last
    dtype   in which they were computed; every number of it is kept exactly
    path    the file
    """

    array: NDArray[np.float32]
    filled: NDArray[np.bool_]
    maps: bool
    dtype: torch.dtype
    path: Path

    def gather(self, draw: int, rows: NDArray[np.int64]) -> Tensor:
        """Activations `[B P, ...]` of the samples in `rows` of the store, the P pieces of each one after the other."""
        block = torch.from_numpy(self.array[draw, rows]).flatten(0, 1)
        return block.permute(0, 3, 1, 2) if self.maps else block

    def keep(self, draw: int, rows: NDArray[np.int64], x: Tensor) -> None:
        """Write activations `[B P, ...]` of the samples in `rows`."""
        values = (x.permute(0, 2, 3, 1) if self.maps else x).float().cpu().numpy()
        self.array[draw, rows] = values.reshape(len(rows), *self.array.shape[2:])
        self.filled[draw, rows] = True

    def save(self) -> None:
        """The list of filled rows is written after the rows themselves, so that a kill leaves nothing half-filled in it."""
        assert isinstance(self.array, np.memmap)
        self.array.flush()
        facts = {"filled": torch.from_numpy(self.filled), "maps": self.maps, "dtype": str(self.dtype)}
        save_state(_filled(self.path), facts)


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
    below: str | None = None,
) -> CachedPrefix:
    """The cache for this prefix, store and view; rows of `task` that are not in it yet are computed.

    limit   bytes that all caches in `folder` may take; others than `beside` are removed to keep to it
    beside  caches in use
    below   a block of the prefix: where its output is kept in `folder`, the rest is computed from that, and that removed

    Raises DiskFull, in every process, when there is no room even so.
    """

    def path_of(one: Prefix) -> Path:
        return folder / f"prefix-{key_of(one, task.store, view, seed, autocast)}.npy"

    def fill() -> Path:
        # The first process's key names the file: the others' devices have other numbers.
        path = path_of(prefix)
        folder.mkdir(parents=True, exist_ok=True)
        shorter = path_of(prefix.until(below)) if below is not None and below in prefix.names[:-1] else None
        kept = {cache.path for cache in beside} | ({shorter} if shorter is not None else set())
        with held(path.with_suffix(".lock"), interrupt.check):
            source = _Source(prefix, task, view, seed, below, _complete(shorter, task.rows, log))
            _fill(path, source, log, _Room(folder, limit, kept))
        if shorter is not None:
            _remove(shorter)
        return path

    found = _existing(distributed.first(fill), "r", log)
    if found is None:
        raise RunError(f"another run removed a cached prefix from {folder}, for want of room: give each a folder of its own")
    found.array = found.array.view(np.ndarray)  # `np.memmap` itself makes every look a little slower
    return found


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
            _remove(path)
            del sizes[path]


def _filled(path: Path) -> Path:
    return path.with_suffix(".filled.safetensors")


def _remove(path: Path) -> None:
    """The list first: a file without one is not read."""
    _filled(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Source:
    """What a prefix is computed from: samples of a task in a view, or what is kept of block `below`."""

    prefix: Prefix
    task: Task | Mix
    view: View
    seed: int
    below: str | None
    kept: CachedPrefix | None

    def __call__(self, draw: int, rows: NDArray[np.int64]) -> Tensor:
        """Activations of the prefix's last block."""
        device = self.prefix.net.device
        if self.kept is not None:
            return self.prefix.run(self.kept.gather(draw, rows).to(device, self.kept.dtype), self.below)
        return self.prefix.run(render(self.task.store, rows, self.view, seed=self.seed, draw=draw, device=device))


def _fill(path: Path, source: _Source, log: RunLog, room: _Room) -> None:
    """Compute the rows of the task that the file lacks."""
    rows, width, draws = source.task.rows, source.prefix.width, source.view.fixed_draws or 1
    file = _existing(path, "r+", log)
    there = np.zeros((draws, len(rows)), bool) if file is None else file.filled[:, rows]
    todo = [(draw, some) for draw in range(draws) for some in _batches(rows[~there[draw]], width)]
    if file is not None:
        path.touch()  # its time tells when it was last used
        if not todo:
            return
    try:
        for number, (draw, some) in enumerate(todo or [(0, rows)]):
            interrupt.check()
            x = source(draw, some)
            file = file or _new(path, x, len(some), (draws, len(source.task.store)), room)
            file.keep(draw, some, x)
            log.tick(number + 1, len(todo), "computing the frozen part once")
    finally:
        if file is not None:
            file.save()


def _complete(path: Path | None, rows: NDArray[np.int64], log: RunLog) -> CachedPrefix | None:
    """The file, if it holds all of these rows."""
    found = None if path is None else _existing(path, "r", log)
    return found if found is not None and found.filled[:, rows].all() else None


def _existing(path: Path, mode: Literal["r", "r+"], log: RunLog) -> CachedPrefix | None:
    """What an earlier stage or run left; None when the file or its list is missing or damaged."""
    if not path.exists() or not _filled(path).exists():
        return None
    try:
        facts = load_state(_filled(path))
        dtype = _DTYPES[str(facts["dtype"])]
        return CachedPrefix(np.lib.format.open_memmap(path, mode), facts["filled"].numpy(), bool(facts["maps"]), dtype, path)
    except (CheckpointError, ValueError) as error:
        log.event("warning", text=f"a cached prefix is computed anew: {error}")
        return None


_DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.bfloat16, torch.float16)}
"""What activations are computed in, each of whose numbers is a float32."""


def _new(path: Path, x: Tensor, count: int, places: tuple[int, int], room: _Room) -> CachedPrefix:
    """A file with `places` (draws, rows) for activations like `x` `[count P, ...]`."""
    _filled(path).unlink(missing_ok=True)  # a list of what was there before would vouch for what is not there yet
    path.unlink(missing_ok=True)
    maps = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    shape = (x.permute(0, 2, 3, 1) if maps else x).shape[1:]
    size = (*places, len(x) // max(count, 1), *shape)
    room.make(4 * math.prod(size))
    return CachedPrefix(reserve(path, size), np.zeros(places, np.bool_), maps, x.dtype, path)


def _batches(rows: NDArray[np.int64], width: int) -> list[NDArray[np.int64]]:
    return [rows[start : start + width] for start in range(0, len(rows), width)]
