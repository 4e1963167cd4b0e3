"""Clusters as labels: the classifier of DeepCluster (Caron et al. 2018)."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.losses.classification import cross_entropy
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.terms.base import StepLike
from headstart.terms.embedded import Embedded


class PseudoLabels(Embedded):
    """Mean cross-entropy of a fresh linear classifier against the cluster of every image.

    labels    `[len(store)]` cluster of each store row of the stage's task; others are not asked for
    clusters  how many
    seed      of the classifier's weights

    The classifier reads features standardised over the batch: an epoch of few images is too short for one that reads pooled
    rectified features as they are (on 1200 digits its loss did not leave chance).

    An image counts inversely to the size of its cluster, as if clusters were drawn evenly (section 3.3, against the trivial
    solution of one class for nearly all); weights have a mean of 1.
    """

    labels: Tensor
    weights: Tensor

    def __init__(
        self,
        net: Net,
        labels: NDArray[np.int64],
        rows: NDArray[np.int64],
        clusters: int,
        *,
        seed: int,
        view: str = "main",
        block: str | None = None,
    ) -> None:
        super().__init__(net, block=block)
        self.view = view
        counts = np.bincount(labels[rows], minlength=clusters)
        self.filled = int((counts > 0).sum())
        even = len(rows) / np.maximum(counts, 1) / max(self.filled, 1)
        self.register_buffer("weights", torch.from_numpy(even.astype(np.float32)), persistent=False)
        self.register_buffer("labels", torch.from_numpy(labels), persistent=False)
        with forked(seed):
            linear = nn.Linear(self.width, clusters)
            nn.init.normal_(linear.weight, std=0.01)
            nn.init.zeros_(linear.bias)
        self.classifier = nn.Sequential(nn.BatchNorm1d(self.width, affine=False), linear)

    @property
    def chance(self) -> float:
        """The loss where every cluster that has images is as likely as another; they count the same."""
        return math.log(self.filled)

    def forward(self, step: StepLike) -> Tensor:
        targets = self.labels[step.ids.to(self.labels.device)]
        logits = self.classifier(self.features(step, self.view))
        return step.mean_all(self.weights[targets] * cross_entropy(logits, targets))
