"""Features of frozen blocks, computed once and shared by every head, fold and score that asks for them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.data.store import Store
from headstart.data.task import Task
from headstart.engine import interrupt
from headstart.engine.allocator import keep_freed_memory
from headstart.engine.checkpoint import bytes_of
from headstart.engine.evaluate import batch_for, looking
from headstart.engine.log import SILENT, RunLog
from headstart.engine.step import present
from headstart.errors import ConfigError
from headstart.files import reserve
from headstart.nets.fold import folded
from headstart.nets.heads import pool
from headstart.nets.net import Activation, BlockInfo, Net
from headstart.nets.structure import structure

Features = Mapping[str, NDArray[np.float32]]
"""Block name -> pooled features `[N, C]`."""


class FeatureBank:
    """Pooled outputs of blocks on the plain view, in eval mode, by (weights, data).

    folder  where they are memory-mapped; None keeps them in memory

    Batch normalisation is folded into the convolutions before it, so features differ from the unfolded net's by rounding
    (about 1e-6 of their size).
    """

    def __init__(self, folder: Path | None = None, *, log: RunLog = SILENT) -> None:
        self.folder = folder
        self.log = log
        self._kept: dict[str, NDArray[np.float32]] = {}
        self._there: dict[str, NDArray[np.bool_]] = {}

    def get(
        self, net: Net, store: Store, rows: NDArray[np.int64], taps: Sequence[str], tower: int | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Features `[len(rows), C]` of each block in `taps`; rows asked for the first time are computed, no others.

        tower  which one's, of blocks that give several; one pass finds, and the bank keeps, those of all
        """
        keys = _keys(net, store, taps)
        wanted = np.zeros(len(store), bool)
        wanted[rows] = True
        lacking = {tap: wanted & ~self._there[keys[tap]] if keys[tap] in self._there else wanted for tap in taps}
        missing = [tap for tap in taps if lacking[tap].any()]
        chosen = {tap: slice(None) if (info := net.info[tap]).towers is None else _columns(tap, info, tower) for tap in taps}
        if missing:
            self._compute(net, store, np.flatnonzero(np.logical_or.reduce([lacking[tap] for tap in missing])), missing, keys)
        return {tap: np.ascontiguousarray(self._kept[keys[tap]][rows][:, chosen[tap]]) for tap in taps}

    def _compute(
        self, net: Net, store: Store, rows: NDArray[np.int64], taps: Sequence[str], keys: Mapping[str, str]
    ) -> None:
        for tap in taps:
            if keys[tap] not in self._kept:
                self._kept[keys[tap]] = self._room(keys[tap], (len(store), _width(net.info[tap])))
                self._there[keys[tap]] = np.zeros(len(store), bool)
        until = max(taps, key=net.block_names.index)
        width = batch_for(net.input, net.device.type)
        keep_freed_memory()
        with looking(net):
            blocks = folded(net, net.between(None, until))
            for start in range(0, len(rows), width):
                interrupt.check()
                some = rows[start : start + width]
                for tap, values in _pass(net, blocks, store, some, taps).items():
                    self._kept[keys[tap]][some] = values
                self.log.tick(min(start + width, len(rows)), len(rows), "one pass of the backbone")
        for tap in taps:
            self._there[keys[tap]][rows] = True

    def _room(self, key: str, shape: tuple[int, int]) -> NDArray[np.float32]:
        if self.folder is None:
            return np.empty(shape, np.float32)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"features-{key}.npy"
        path.unlink(missing_ok=True)  # another bank may still read it, and goes on reading what it had
        return reserve(path, shape)


def _pass(
    net: Net, blocks: Mapping[str, nn.Module], store: Store, rows: NDArray[np.int64], taps: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Pooled outputs of `taps` for one batch."""
    x: Activation = present(store.gather(rows).to(net.device), net.input)
    kept = {}
    for name, block in blocks.items():
        x = block(x)
        if name in taps:
            each = x if isinstance(x, tuple) else (x,)
            kept[name] = torch.cat([pool(one, net.info[name].layout) for one in each], 1).float().cpu().numpy()
    return kept


def _width(info: BlockInfo) -> int:
    """Pooled features per sample; of several towers those of all, side by side."""
    return info.channels * (info.towers or 1)


def _columns(tap: str, info: BlockInfo, tower: int | None) -> slice:
    """Where one tower's features are among those of all."""
    if tower is None or not 0 <= tower < (info.towers or 0):
        raise ConfigError(f"block {tap!r} gives {info.towers} towers, and tower {tower} is none of them; say which")
    return slice(tower * info.channels, (tower + 1) * info.channels)


def _keys(net: Net, store: Store, taps: Sequence[str]) -> dict[str, str]:
    """A key per tap: the weights of all blocks up to it and how these are built, and the data."""
    digest = hashlib.blake2b(repr((store.fingerprint, net.input)).encode(), digest_size=16)
    keys = {}
    for name in net.between(None, max(taps, key=net.block_names.index)):
        digest.update(f"{name} {structure(net.blocks[name])}".encode())
        for key, tensor in net.blocks[name].state_dict().items():
            digest.update(key.encode())
            digest.update(bytes_of(tensor))
        if name in taps:
            keys[name] = digest.copy().hexdigest()
    return keys


def beside(features: Features, taps: Sequence[str]) -> torch.Tensor:
    """The features of several blocks side by side, `[N, sum of C]`."""
    return torch.from_numpy(np.concatenate([features[tap] for tap in taps], axis=1))


def bank_answers(net: Net, task: Task, bank: FeatureBank) -> NDArray[np.float32]:
    """Logits `[N, C]` of the task's head from features the bank holds: no pass of the backbone."""
    head = net.head(task.name)
    features = bank.get(net, task.store, task.rows, head.reads, head.tower)
    with torch.no_grad():
        taps = {tap: torch.from_numpy(features[tap]).to(net.device) for tap in head.reads}
        logits: NDArray[np.float32] = head(taps).float().cpu().numpy()
    return logits
