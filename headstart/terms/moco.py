"""MoCo: a query should be like its own key and unlike the keys of earlier batches, which a queue keeps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.losses.info_nce import against, info_nce, nce
from headstart.losses.precision import exact, full
from headstart.losses.similarity import Similarity, laid, similarities
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.terms.base import StepLike, Term
from headstart.terms.chunked import Pooled
from headstart.terms.gather import gathered, place_of
from headstart.terms.momentum import MomentumCopy


class Moco(Term):
    """Mean InfoNCE (He et al. 2020, eq. 1) of queries, views one, with their keys, views two, and a queue of negatives.

    net          the query encoder; its copy by momentum gives the keys
    features     of which of its blocks, and whether in chunks
    projection   from features to queries; trains with the net, and has a copy by momentum too
    width        of embeddings
    queue        how many keys are negatives; it is a ring, so that a batch need not divide it
    momentum     share of the old weights that the key encoder keeps at every step
    groups       parts in which keys pass through batch normalisation: image i of the batch is in part i mod groups
    objective    `info_nce`, or `nce`: of each candidate by itself

    In the forward pass keys are those of the copy after the step before, negatives the queue as that step left it. After a
    step the copy follows first, and the keys, of all processes, enter the queue then. Parts take the place of the paper's
    shuffling of keys over devices: queries are normalised with the batch, keys with others of their part, so that a query
    cannot tell its key by statistics they share. Parts have two images at least, and are the same over several processes as
    in one. The copy's batch normalisation always uses statistics of the part at hand.
    """

    queue: Tensor
    pointer: Tensor
    net: Net

    def __init__(
        self,
        net: Net,
        features: Pooled,
        projection: nn.Module,
        width: int,
        *,
        queue: int,
        momentum: float,
        temperature: float,
        groups: int,
        similarity: Similarity = "cosine",
        objective: str = "info_nce",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.features, self.projection = features, projection
        self.temperature, self.groups, self.similarity = temperature, groups, similarity
        self.loss = {"info_nce": info_nce, "nce": nce}[objective]
        self.reads = (features.block,)
        self.keys, self.key_projection = MomentumCopy(net, momentum), MomentumCopy(projection, momentum)
        draw = torch.Generator().manual_seed(seed_for(seed, "terms", "moco"))
        self.register_buffer("queue", F.normalize(torch.randn(queue, width, generator=draw), dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))
        object.__setattr__(self, "net", net)  # past nn.Module's bookkeeping: the net is no part of the term
        self._new: Tensor | None = None

    @property
    def chance(self) -> float:
        """The loss where a query is as like its key as any other, ln(K + 1)."""
        return float(self.loss(torch.zeros(1, 1 + len(self.queue)), torch.zeros(1, dtype=torch.int64))[0])

    def forward(self, step: StepLike) -> Tensor:
        queries = full(self.projection(self.features(step, "one")))
        keys = self._new = self._keys(*step.below("two"))
        with exact(queries):
            own = (laid(queries, self.similarity) * keys).sum(1) / self.temperature
        others = similarities(queries, self.queue, self.similarity, self.temperature)
        return step.mean_all(self.loss(*against(own, others)))

    @torch.no_grad()
    def after_step(self, step: StepLike) -> None:
        """The average first, then the queue."""
        self.keys.follow(self.net)
        self.key_projection.follow(self.projection)
        assert self._new is not None
        new = gathered(self._new)[-len(self.queue) :]
        places = (self.pointer + torch.arange(len(new), device=new.device)) % len(self.queue)
        self.queue[places] = new
        self.pointer.copy_((self.pointer + len(new)) % len(self.queue))
        self._new = None

    @torch.no_grad()
    def _keys(self, start: str | None, samples: Tensor) -> Tensor:
        """`[B, D]` keys of what lies below, part by part. Every process passes every part, of which it may have nothing."""
        first, total = place_of(samples)
        groups = max(1, min(self.groups, total // 2))
        found: Tensor | None = None
        for number in range(groups):
            mine = slice((number - first) % groups, None, groups)
            features = self.keys.features(samples[mine], self.features.block, start)
            key = laid(self.key_projection(features), self.similarity)
            found = key.new_empty(len(samples), key.shape[1]) if found is None else found
            found[mine] = key
        assert found is not None
        return found
