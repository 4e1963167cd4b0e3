"""What is measured of one candidate: one pass of the data through its frozen network, and every score from it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.data.task import Task
from headstart.engine.features import FeatureBank
from headstart.errors import DataError
from headstart.metrics.intervals import Interval
from headstart.nets.cost import block_flops
from headstart.nets.net import Net, count_parameters
from headstart.nets.sources import SOURCE
from headstart.strategies.early_probe import depths_of
from headstart.studies.opening import fingerprint_of
from headstart.studies.race import Fold
from headstart.transferability.scores import Score, score_all


@dataclass(frozen=True)
class Scored:
    """One candidate, measured. All of it goes into JSON, so that a resumed run need not measure again.

    fingerprint      of its weights, heads included, and of its input
    parameters       of its blocks; `bytes` of them and of their buffers in memory; `flops` multiply-adds per image
    feature_width    numbers that its last block gives; `feature_bytes` of the features kept, all depths
    seconds          load, pass, scores
    scores           measure -> value and interval; `why_missing` of those that could not be had
    depth            per block, shallow to deep: accuracy and interval; `peak` the best of them
    correct          0 or 1 per held-out image of the probe at the peak: the same images for all candidates
    """

    name: str
    fingerprint: str
    parameters: int
    bytes: int
    flops: int
    input_size: int
    feature_width: int
    feature_bytes: int
    seconds: dict[str, float]
    scores: dict[str, dict[str, Any]]
    why_missing: dict[str, str]
    depth: list[dict[str, Any]]
    peak: str
    correct: list[int]

    @property
    def probe(self) -> float:
        """Cross-validated accuracy of a linear head at the best depth."""
        return float(self.scores["probe"]["value"])

    @property
    def right(self) -> NDArray[np.float64]:
        """`correct` as numbers that can be compared."""
        return np.asarray(self.correct, np.float64)


def identity(net: Net) -> str:
    """Hash of all that makes a network answer as it does: weights, buffers, heads, and how it wants its input."""
    return hashlib.blake2b(f"{fingerprint_of(net)} {net.input}".encode(), digest_size=16).hexdigest()


def score(name: str, net: Net, task: Task, folds: list[Fold], bank: FeatureBank, *, seed: int, loading: float) -> Scored:
    """Pass the data through `net` once and score it.

    loading  seconds that it took to load the network, for the record

    Raises DataError when the network gives values that are no numbers.
    """
    flops = sum(block_flops(net).values())
    depths = depths_of(net)
    began = time.monotonic()
    features = bank.get(net, task.store, task.rows, depths)
    passed = time.monotonic() - began
    _check_finite(name, features)
    groups = None if task.groups is None else task.groups[task.rows]
    groups = None if groups is None or (groups == groups[0]).all() else groups
    began = time.monotonic()
    found = score_all(
        {block: features[block] for block in depths},
        task.targets,
        task.num_classes,
        list(folds),
        source_probabilities=source_probabilities(net, features),
        groups=groups,
        parameters=count_parameters(net.blocks),
        seed=seed,
        intervals=True,
    )
    scoring = time.monotonic() - began
    peak = next(point for point in found.depth.points if point.block == found.depth.peak)
    return Scored(
        name=name,
        fingerprint=identity(net),
        parameters=count_parameters(net.blocks),
        bytes=_bytes(net),
        flops=flops,
        input_size=net.input.size,
        feature_width=net.info[net.last].channels,
        feature_bytes=sum(4 * net.info[block].channels for block in depths) * len(task.store),
        seconds={"load": loading, "pass": passed, "scores": scoring},
        scores={measure: _said(one) for measure, one in found.values.items()},
        why_missing=dict(found.why_missing),
        depth=[{"block": point.block, **_accuracy(point.accuracy)} for point in found.depth.points],
        peak=found.depth.peak,
        correct=[int(one) for one in peak.correct],
    )


def source_probabilities(net: Net, features: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """`[N, S]` what the network's own classifier says of every image, from pooled features; None where it kept none.

    It is the head `source` of a library's network, or the only head of a model that headstart saved.
    """
    name = SOURCE if SOURCE in net.heads else next(iter(net.heads)) if len(net.heads) == 1 else None
    if name is None:
        return None
    head = net.head(name)
    if not set(head.reads) <= set(features):
        return None
    with torch.no_grad():
        logits = head({tap: torch.from_numpy(features[tap]).to(net.device) for tap in head.reads})
        probabilities: NDArray[np.float32] = head.probabilities(logits).cpu().numpy()
    return probabilities


def _check_finite(name: str, features: Mapping[str, NDArray[np.float32]]) -> None:
    for block, values in features.items():
        if not np.isfinite(values).all():
            raise DataError(
                f"block {block} of {name} gives values that are no finite numbers; its weights are of no use here"
            )


def _bytes(net: Net) -> int:
    """Of weights and buffers of the blocks; shared ones once."""
    kept = {value.data_ptr(): value.numel() * value.element_size() for value in net.blocks.state_dict().values()}
    return sum(kept.values())


def _said(one: Score) -> dict[str, Any]:
    return {"value": one.value, "interval": None if one.interval is None else list(one.interval)}


def _accuracy(interval: Interval) -> dict[str, Any]:
    return {"accuracy": interval.mean, "interval": [interval.low, interval.high]}
