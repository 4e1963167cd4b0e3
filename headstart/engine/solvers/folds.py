"""Folds for solvers that were not given any."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from headstart.errors import ConfigError, problems
from headstart.seeding import permutation

Folds = Sequence[tuple[object, object]]
"""(train, valid) pairs of row numbers, as integer arrays or tensors"""


def stratified_folds(labels: Tensor, folds: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """`folds` (train, valid) pairs in which every class is spread evenly; fewer when there are fewer images.

    For data with groups make folds that respect them and pass those on instead.
    """
    count = min(folds, len(labels))
    if count < 2:
        raise ConfigError(f"{count} fold(s) of {len(labels)} images: cross-validation needs two of each at least")
    shuffled = torch.from_numpy(permutation(len(labels), seed, "folds"))
    # sorted by class with a stable sort, images of one class stand together: dealing them out spreads each class evenly
    dealt = shuffled[torch.argsort(labels[shuffled], stable=True)]
    fold_of = torch.empty(len(labels), dtype=torch.long)
    fold_of[dealt] = torch.arange(len(labels)) % count
    return [((fold_of != f).nonzero()[:, 0], (fold_of == f).nonzero()[:, 0]) for f in range(count)]


def rows_of(folds: Folds, count: int) -> list[tuple[Tensor, Tensor]]:
    """`folds` as long tensors, checked: rows exist, nothing is empty, nothing is learned from what it is judged on."""
    pairs = [(_long(train), _long(valid)) for train, valid in folds]
    found = []
    for number, (train, valid) in enumerate(pairs):
        if not len(train) or not len(valid):
            found.append(f"fold {number} has {len(train)} images to learn from and {len(valid)} to judge on")
        elif min(int(train.min()), int(valid.min())) < 0 or max(int(train.max()), int(valid.max())) >= count:
            found.append(f"fold {number} names rows outside 0..{count - 1}")
        elif np.intersect1d(train.numpy(), valid.numpy()).size:
            found.append(f"fold {number} judges on images it learns from")
    if not pairs:
        found.append("there are no folds")
    problems(ConfigError, "the folds cannot be used:", found)
    return pairs


def _long(rows: object) -> Tensor:
    return torch.as_tensor(np.asarray(rows), dtype=torch.long)
