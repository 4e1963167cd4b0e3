"""How alike embeddings are: cosines or inner products, and the squared distances that go with them. Float32 at least."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from headstart.losses.precision import exact, full

Similarity = Literal["cosine", "dot"]
"""Between directions, or between the vectors as they are."""


def laid(x: Tensor, similarity: Similarity = "cosine") -> Tensor:
    """Embeddings `[..., D]` as they are compared: on the unit sphere for cosines. One that is zero stays zero."""
    return F.normalize(full(x), dim=-1) if similarity == "cosine" else full(x)


def similarities(a: Tensor, b: Tensor, similarity: Similarity = "cosine", temperature: float = 1.0) -> Tensor:
    """`[A, M]`: the similarity of each of `[A, D]` with each of `[M, D]`, divided by the temperature."""
    with exact(a):
        # The smaller side is divided, so that no second [A, M] is made.
        return (laid(a, similarity) / temperature) @ laid(b, similarity).mT


def distances(a: Tensor, b: Tensor, similarity: Similarity = "cosine") -> Tensor:
    """`[A, M]` squared Euclidean distances of each of `[A, D]` from each of `[M, D]`: 2 - 2 cosine on the unit sphere."""
    with exact(a):
        one, two = laid(a, similarity), laid(b, similarity)
        return one.square().sum(1)[:, None] + two.square().sum(1) - 2 * (one @ two.mT)
