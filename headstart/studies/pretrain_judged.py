"""What the runs of a verdict say: accuracies with intervals, and differences on the same test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.metrics.intervals import Interval, hierarchical, wilson
from headstart.metrics.paired import Difference, holm_differences, paired_bootstrap
from headstart.studies.learners import Answered

OURS, RANDOM, OTHER = "pretrained", "random", "against"
Kind = Literal["probe", "fine_tune"]


@dataclass(frozen=True)
class Unit:
    """Runs that only mean something together: one way to learn, from one part of the labels, with every network."""

    kind: Kind
    images: int
    draw: int

    def __str__(self) -> str:
        way = "probes" if self.kind == "probe" else "fine-tuning and training from scratch"
        return f"{way} on {self.images} labels, draw {self.draw + 1}"


def _correct(
    seen: Mapping[Unit, Mapping[str, Answered]], kind: str, size: int, names: Sequence[str]
) -> list[NDArray[np.float64]]:
    """Per name `[S, T]` right or wrong, over the draws in which all of them answered; empty where there is none."""
    units = sorted((one for one in seen if (one.kind, one.images) == (kind, size)), key=lambda one: one.draw)
    both = [seen[unit] for unit in units if all(name in seen[unit] for name in names)]
    return [np.stack([one[name].correct for one in both]).astype(np.float64) for name in names] if both else []


def cell_of(
    seen: Mapping[Unit, Mapping[str, Answered]], kind: str, size: int, network: str, seed: int
) -> dict[str, Any] | None:
    """Accuracy of one network with its interval: over draws and test images where there are several draws."""
    found = _correct(seen, kind, size, [network])
    if not found:
        return None
    right = found[0]
    # Draws that are all right (or all wrong) say nothing about how they differ; images still do.
    several = len(right) > 1 and bool(right.std())
    interval: Interval = hierarchical(right, seed) if several else wilson(int(right[0].sum()), right.shape[1])
    trained = next(one[network].seconds for unit, one in seen.items() if unit.images == size and unit.kind == kind)
    return {
        "images": size,
        "kind": kind,
        "network": network,
        "accuracy": interval.mean,
        # With two draws Student's quantile leads beyond what an accuracy can be.
        "interval": [max(interval.low, 0.0), min(interval.high, 1.0)],
        "draws": len(right),
        "seconds": round(trained, 3),
    }


def gap_of(ours: NDArray[np.float64], theirs: NDArray[np.float64], seed: int) -> Difference:
    """Over draws and images; over the images of one draw where no draw shows any difference."""
    return paired_bootstrap(ours, theirs, seed) if (ours != theirs).any() else paired_bootstrap(ours[0], theirs[0], seed)


def differences(
    seen: Mapping[Unit, Mapping[str, Answered]], sizes: Sequence[int], others: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    """This backbone minus each other network, on the same test images; decided after Holm's correction over all of them."""
    found: dict[str, tuple[dict[str, Any], Difference]] = {}
    for size in sizes:
        for kind in ("probe", "fine_tune"):
            for other in others:
                pair = _correct(seen, kind, size, [OURS, other])
                if pair:
                    about = {"images": size, "kind": kind, "than": other, "draws": len(pair[0])}
                    found[f"{kind} {size} {other}"] = (about, gap_of(pair[0], pair[1], seed))
    adjusted = holm_differences({name: gap for name, (_, gap) in found.items()})
    return [{**about, **asdict(gap), "adjusted_p": adjusted[name].p_value, "decided": adjusted[name].decided}
            for name, (about, gap) in found.items()]  # fmt: skip
