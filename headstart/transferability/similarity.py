"""How like the target's images are to what a network learned from, said in three ways, each beside what chance would say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from headstart.transferability.domain import Domain, domain_error
from headstart.transferability.frechet import Frechet, frechet_to_source
from headstart.transferability.transport import Transport, transport_to_source

if TYPE_CHECKING:
    from headstart.engine.source_statistics import SourceStatistics


@dataclass(frozen=True)
class Similarity:
    """Distances between target and source in the features of the network's last block.

    frechet    between the clouds as a whole
    transport  between the classes; None where the source's classes are not known
    domain     error of a classifier that tells target from source
    images     of the target, and of the source
    """

    frechet: Frechet
    transport: Transport | None
    domain: Domain
    images: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        """`value`, `null` (what the source itself would give) and `meaning` (a sentence) of each."""
        said: Mapping[str, Frechet | Transport | Domain | None] = {
            "frechet": self.frechet,
            "transport": self.transport,
            "domain": self.domain,
        }
        meanings = self.meanings()
        return {
            name: None if one is None else {"value": one.value, "null": one.null, "meaning": meanings[name]}
            for name, one in said.items()
        }

    def meanings(self) -> dict[str, str]:
        """A sentence for each."""
        return {
            "frechet": _frechet(self.frechet, self.images[0]),
            "transport": "" if self.transport is None else _transport(self.transport),
            "domain": _domain(self.domain),
        }


def similarity(
    features: ArrayLike,
    labels: ArrayLike,
    num_classes: int,
    statistics: SourceStatistics,
    *,
    seed: int,
    source_features: ArrayLike | None = None,
) -> Similarity:
    """Compare the target's `features` `[N, D]` of the last block and `labels` `[N]` with a source's `statistics`.

    source_features  `[M, D]` of real source images, where they are at hand; see `domain_error`

    Raises DataError for shapes that do not go together.
    """
    f = np.asarray(features)
    s = statistics
    moved = None
    if s.class_counts.any():
        moved = transport_to_source(
            f, labels, num_classes, s.class_means, s.class_counts, s.covariance, s.within(), seed=seed
        )
    return Similarity(
        frechet_to_source(f, s.mean, s.covariance, s.images, seed=seed),
        moved,
        domain_error(f, s, seed=seed, source_features=source_features),
        (len(f), s.images),
    )


_DEGREES = ("like what it learned from", "different from what it learned from", "very different from what it learned from")
"""Borders between these are where benchmarks/grid_similarity.csv has, seen by networks trained on photographs of things,
other such photographs, traffic signs, and handwritten digits. Of the Frechet distance, what lies beyond
its null. They put a number into words; no advice rests on them."""
_FRECHET, _TRANSPORT, _DOMAIN = (0.42, 0.65), (0.76, 0.86), (0.07, 0.008)


def _frechet(d: Frechet, images: int) -> str:
    head = (
        f"the features of these images lie {d.value:.2f} source variances from those of the source; "
        f"{images:,} images of the source itself would lie about {d.null:.2f} away"
    )
    return f"{head}: {'no difference can be seen' if d.value <= d.highest else _degree(d.excess, _FRECHET)}"


def _transport(d: Transport) -> str:
    head = f"the classes lie {d.value:.2f} source deviations from the source's classes"
    if d.null is None or d.highest is None:
        return f"{head}; with one image per class of the source it is not known what its own classes would give"
    head = f"{head}; as many of the source's own would lie about {d.null:.2f} away"
    return f"{head}: {'no difference can be seen' if d.value <= d.highest else _degree(d.value, _TRANSPORT)}"


def _domain(d: Domain) -> str:
    kind = "features drawn from the source's statistics" if d.drawn else "images of the source"
    head = f"a linear classifier that tells these images from {kind} errs in {100 * d.value:.0f} % (chance: 50 %)"
    if d.value + 1.64 * d.spread >= d.null:
        return f"{head}: no difference can be seen"
    return f"{head}: {_degree(-d.value, (-_DOMAIN[0], -_DOMAIN[1]))}"


def _degree(far: float, borders: tuple[float, float]) -> str:
    return _DEGREES[sum(far > border for border in borders)]
