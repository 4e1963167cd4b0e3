"""Two views of an image should have embeddings that are alike, and views of two images should not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from headstart.losses.info_nce import info_nce, nce
from headstart.losses.nt_xent import across, both_ways, nt_xent
from headstart.losses.precision import full
from headstart.losses.similarity import Similarity, distances
from headstart.losses.triplet import Mining, mined
from headstart.terms.base import StepLike, Term
from headstart.terms.chunked import Pooled
from headstart.terms.gather import gathered_at


class Compare(Protocol):
    """A loss `[B]` of embeddings `[B, D]` of two views of this process's images, among `every` `[N, D]` of the batch."""

    def __call__(self, one: Tensor, two: Tensor, *, every: tuple[Tensor, Tensor], first: int) -> Tensor: ...


class TwoViews(Term):
    """Mean over the batch's images of a loss between projected features of two views, both passing in one batch.

    features    of which block, and whether in chunks
    projection  from its features to embeddings; trains with the net and goes with the term
    compare     the loss; see `contrast` and `apart`
    chance      the loss where embeddings say nothing, to compare the loss with; None: not known
    views       names of the stage's two views

    Batch normalisation sees both views at once; in the projection that of the whole batch, in chunks or not. Embeddings of
    all processes are compared, and gradients are those of one process.
    """

    def __init__(
        self,
        features: Pooled,
        projection: nn.Module,
        compare: Compare,
        *,
        chance: float | None = None,
        views: tuple[str, str] = ("one", "two"),
    ) -> None:
        super().__init__()
        self.chance = chance
        self.features, self.projection, self.compare, self.views = features, projection, compare, views
        self.reads = (features.block,)

    def forward(self, step: StepLike) -> Tensor:
        z = full(self.projection(self.features(step, *self.views)))
        one, two = z.tensor_split(2)
        together, first = gathered_at(torch.stack([one, two], 1))
        loss = self.compare(one, two, every=(together[:, 0], together[:, 1]), first=first)
        return step.mean_all(loss)


def contrast(objective: str, temperature: float, similarity: Similarity) -> Compare:
    """One of SimCLR's objectives, each the mean over an image's two views.

    nt_xent   which of all other views is the other view of this image?
    info_nce  the same, among views of the other kind only
    nce       of every other view by itself: is it of this image?
    """
    known: Mapping[str, Compare] = {
        "nt_xent": partial(nt_xent, temperature=temperature, similarity=similarity),
        "info_nce": partial(_info_nce, temperature, similarity),
        "nce": partial(_nce, temperature, similarity),
    }
    return known[objective]


def chance_of(objective: str, images: int) -> float:
    """The loss of one of these objectives where all embeddings of so many images are equal (`nce`: all scores 0)."""
    others = 2 * images - 2
    if objective == "nce":
        return math.log1p(others) + others * math.log1p(1 / others)
    return math.log(images if objective == "info_nce" else others + 1)


def apart(margin: float, mining: Mining, similarity: Similarity) -> Compare:
    """The triplet loss: an image's other view is the positive, both views of all other images are negatives."""
    return partial(_triplet, margin, mining, similarity)


def _info_nce(
    temperature: float, kind: Similarity, one: Tensor, two: Tensor, *, every: tuple[Tensor, Tensor], first: int
) -> Tensor:
    return info_nce(*across(one, two, temperature, kind, every=every, first=first)).view(2, -1).mean(0)


def _nce(
    temperature: float, kind: Similarity, one: Tensor, two: Tensor, *, every: tuple[Tensor, Tensor], first: int
) -> Tensor:
    return nce(*both_ways(one, two, temperature, kind, every=every, first=first)).view(2, -1).mean(0)


def _triplet(
    margin: float,
    mining: Mining,
    kind: Similarity,
    one: Tensor,
    two: Tensor,
    *,
    every: tuple[Tensor, Tensor],
    first: int,
) -> Tensor:
    total, own = len(every[0]), len(one)
    places = torch.arange(first, first + own, device=one.device)
    itself, positive = torch.cat([places, places + total]), torch.cat([places + total, places])
    found = distances(torch.cat([one, two]), torch.cat(every), kind).scatter(1, itself[:, None], torch.inf)
    return mined(found, positive, margin, mining).view(2, -1).mean(0)
