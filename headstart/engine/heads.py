"""A hundred linear heads trained together on cached features: rates x decays x folds as one matrix product per step.

All heads see the same minibatches in the same order; a fold's head gives the images it must not see no weight. A step is
one product for all logits, a closed-form softmax gradient, and one product that adds the gradient onto the momentum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from headstart.engine.solvers.folds import Folds, rows_of
from headstart.engine.solvers.linear import check
from headstart.errors import ConfigError, NonFiniteLoss, problems
from headstart.seeding import permutation

MOMENTUM = 0.9


@dataclass(frozen=True)
class Setting:
    """What one head was trained with. `fold` is None for heads that saw every image."""

    rate: float
    decay: float
    fold: int | None


@dataclass(frozen=True, eq=False)
class HeadGrid:
    """Trained heads, in the order of `settings` (rates slowest, folds fastest).

    weight    `[H, C, D]`; bias `[H, C]`
    accuracy  `[R, W]` out-of-fold accuracy per rate and decay over all held-out images; NaN without folds
    best      (rate, decay) of the best, of equals the one with the lower rate and the higher decay; None without folds
    """

    settings: tuple[Setting, ...]
    weight: Tensor
    bias: Tensor
    accuracy: Tensor
    best: tuple[float, float] | None

    def __len__(self) -> int:
        return len(self.settings)

    def logits(self, features: Tensor) -> Tensor:
        """Logits `[H, N, C]` of all heads for features `[N, D]`."""
        return features @ self.weight.transpose(1, 2) + self.bias.unsqueeze(1)


def train_heads(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    rates: Sequence[float],
    decays: Sequence[float],
    folds: Folds = (),
    epochs: int,
    batch_size: int,
    seed: int,
    momentum: float = MOMENTUM,
) -> HeadGrid:
    """Train a linear head for every rate, weight decay and fold by SGD with momentum on softmax cross-entropy.

    features    `[N, D]`, used as they are (standardise them first where their scales differ)
    labels      `[N]` in 0..C-1
    rates       learning rates, constant over training
    decays      coupled weight decays (added to the gradient, as torch.optim.SGD does); the bias is not decayed
    folds       (train, valid) row numbers; a head of a fold takes the mean gradient over those of a minibatch that are in
                its training part, and none when there is no such image. Empty: one head per setting sees everything
    batch_size  images per step; an epoch's last, smaller batch is used too
    seed        the order of images, the same for all heads; the start is zero

    Every head equals, to rounding, the head trained alone with the same order. Raises `NonFiniteLoss` naming the settings
    that diverged.
    """
    _check(features, labels, num_classes, rates, decays, epochs, batch_size)
    pairs = rows_of(folds, len(labels)) if folds else []
    settings = tuple(Setting(r, w, f) for r, w, f in product(rates, decays, range(len(pairs)) if pairs else [None]))
    machine = _Machine(features, labels, num_classes, settings, pairs, momentum, min(batch_size, len(labels)))
    for epoch in range(epochs):
        order = torch.from_numpy(permutation(len(labels), seed, "heads", "order", epoch))
        for rows in torch.split(order, batch_size):
            machine.advance(rows)
    weight, bias = machine.weight.view(len(settings), num_classes, -1), machine.bias.view(len(settings), num_classes)
    low, high = torch.aminmax(torch.cat((machine.weight, machine.bias[:, None]), 1).view(len(settings), -1), dim=1)
    finite = torch.isfinite(low) & torch.isfinite(high)
    if not finite.all():
        wrong = [settings[int(h)] for h in (~finite).nonzero()[:, 0]]
        rate = min(setting.rate for setting in wrong)
        raise NonFiniteLoss(f"{len(wrong)} of {len(settings)} heads diverged, from rate {rate:g} up; try lower rates")
    accuracy = _out_of_fold(features, labels, weight, bias, pairs, (len(rates), len(decays)))
    return HeadGrid(settings, weight, bias, accuracy, _best(accuracy, rates, decays) if pairs else None)


class _Machine:
    """Parameters, momentum and every buffer a step needs: nothing of the size of a batch is allocated while training.

    Rows are heads x classes and images come last: `logits [H * C, B]`. That way the softmax runs along contiguous memory
    and both products have the orientation in which they are fastest.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        num_classes: int,
        settings: Sequence[Setting],
        pairs: list[tuple[Tensor, Tensor]],
        momentum: float,
        batch: int,
    ) -> None:
        heads, width = len(settings), features.shape[1]
        self.features, self.labels, self.momentum = features, labels.long(), momentum
        self.weight, self.bias = features.new_zeros(heads * num_classes, width), features.new_zeros(heads * num_classes)
        self.weight_speed, self.bias_speed = torch.zeros_like(self.weight), torch.zeros_like(self.bias)
        self.rate = features.new_tensor([s.rate for s in settings]).repeat_interleave(num_classes)
        self.decay = features.new_tensor([s.decay for s in settings]).repeat_interleave(num_classes)
        self.seen = _membership(features, len(labels), pairs)
        self.shape = (heads, num_classes)
        self.x, self.logits = features.new_empty(batch, width), features.new_empty(heads * num_classes * batch)
        self.index = torch.empty(batch, dtype=torch.long)
        self.rowwise = features.new_empty(heads * batch)
        self.minus_one = features.new_full((1, 1, 1), -1.0)

    def advance(self, rows: Tensor) -> None:
        """One step of all heads on the images `rows`."""
        count, (heads, classes) = len(rows), self.shape
        x = torch.index_select(self.features, 0, rows, out=self.x[:count])
        index = torch.index_select(self.labels, 0, rows, out=self.index[:count])
        flat = self.logits[: heads * classes * count].view(heads * classes, count)
        torch.addmm(self.bias.unsqueeze(1), self.weight, x.T, out=flat)
        self._residual(flat.view(heads, classes, count), index, rows)
        # momentum * speed + gradient is what the product itself can write, without a gradient in between
        self.weight_speed.addmm_(flat, x, beta=self.momentum)
        self.weight_speed.addcmul_(self.weight, self.decay.unsqueeze(1))
        self.bias_speed.mul_(self.momentum).add_(flat.sum(1))
        self.weight.addcmul_(self.weight_speed, self.rate.unsqueeze(1), value=-1)
        self.bias.addcmul_(self.bias_speed, self.rate, value=-1)

    def _residual(self, logits: Tensor, index: Tensor, rows: Tensor) -> None:
        """Turn logits `[H, C, B]` into (probability - one-hot) / images counted, in place."""
        heads, _, count = logits.shape
        rowwise = self.rowwise[: heads * count].view(heads, 1, count)
        torch.amax(logits, 1, keepdim=True, out=rowwise)
        logits.sub_(rowwise).exp_()
        torch.sum(logits, 1, keepdim=True, out=rowwise)
        share = self._shares(rows)
        # share / sum turns exponentials into weighted probabilities in one pass over the large array
        torch.div(share, rowwise.view(-1, len(share), count), out=rowwise.view(-1, len(share), count))
        logits.mul_(rowwise)
        target = index.expand(heads, 1, count)
        owed = share.neg().repeat(heads // len(share), 1).unsqueeze(1)
        logits.scatter_add_(1, target, owed)

    def _shares(self, rows: Tensor) -> Tensor:
        """`[F, B]` weight of each image for the heads of each fold: 1 / images counted, or 0."""
        seen = self.seen.index_select(1, rows)
        return seen / seen.sum(1, keepdim=True).clamp_min(1)


def _membership(features: Tensor, count: int, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """`[F, N]`, 1 where a fold learns from an image; one row of ones without folds."""
    seen = features.new_zeros(max(1, len(pairs)), count)
    for fold, (train, _) in enumerate(pairs):
        seen[fold, train] = 1
    return seen if pairs else seen.fill_(1)


def _out_of_fold(
    features: Tensor,
    labels: Tensor,
    weight: Tensor,
    bias: Tensor,
    pairs: list[tuple[Tensor, Tensor]],
    grid: tuple[int, int],
) -> Tensor:
    """Accuracy `[R, W]` over all images held out by some fold."""
    if not pairs:
        return torch.full(grid, torch.nan)
    right, held = torch.zeros(grid), 0
    for fold, (_, valid) in enumerate(pairs):
        mine_w, mine_b = weight[fold :: len(pairs)], bias[fold :: len(pairs)]
        for rows in torch.split(valid, 1024):
            scores = torch.addmm(mine_b.reshape(-1, 1), mine_w.reshape(-1, features.shape[1]), features[rows].T)
            answers = scores.view(*mine_b.shape, -1).max(1).indices  # argmax takes twenty times as long across memory
            right += (answers == labels[rows]).sum(1).view(grid)
        held += len(valid)
    return right / held


def _best(accuracy: Tensor, rates: Sequence[float], decays: Sequence[float]) -> tuple[float, float]:
    top = (accuracy >= accuracy.max() - 1e-7).nonzero().tolist()
    rate, decay = min(((rates[r], decays[w]) for r, w in top), key=lambda pair: (pair[0], -pair[1]))
    return float(rate), float(decay)


def _check(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    rates: Sequence[float],
    decays: Sequence[float],
    epochs: int,
    batch_size: int,
) -> None:
    check(features, labels, num_classes, None)
    found = []
    if not rates or min(rates) <= 0:
        found.append(f"rates = {list(rates)} must be positive learning rates, e.g. [0.01, 0.1]")
    if not decays or min(decays) < 0:
        found.append(f"decays = {list(decays)} must be weight decays of at least 0, e.g. [0, 1e-4]")
    if epochs < 1 or batch_size < 1:
        found.append(f"epochs = {epochs} and batch_size = {batch_size} must be at least 1")
    problems(ConfigError, "heads cannot be trained with these settings:", found)
