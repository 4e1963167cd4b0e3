"""DeepCluster: clusters of the features are the labels of the next epoch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.catalog.self_supervision import DeepClusterConfig
from headstart.data.task import Task
from headstart.engine.checkpoint import bytes_of
from headstart.engine.features import FeatureBank
from headstart.engine.run import memo, under_way
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.stage import Part, Stage
from headstart.strategies.pretrain.clusters import cluster, components
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.strategies.pretrain.seen import checked, one_view
from headstart.terms.pseudo_labels import PseudoLabels


def deepcluster(net: Net, data: Task, cfg: DeepClusterConfig | None = None) -> Iterator[Stage]:
    """Deep clustering (Caron et al. 2018): before every epoch the features of all images, plain and in eval mode, are
    clustered by k-means on whitened principal components; the epoch learns to tell each image's cluster, by a classifier
    that is drawn anew. One stage per clustering; the optimiser keeps its memory of the network, not of the classifier.

    Clusters count equally whatever their size, and empty ones are refilled, as in the paper. Deviations: the network is not
    shown Sobel-filtered images in place of colours; the classifier reads the pooled last block, standardised over the
    batch, and no layer of the network is drawn anew with it; fewer clusters by default. `every` makes it an epoch's work or
    several.
    """
    cfg = cfg or DeepClusterConfig()
    checked("deepcluster", cfg, net, data)
    count = clusters_for(cfg, len(data))
    views = one_view(net, cfg.pipeline)
    for epoch in range(0, cfg.school.epochs, cfg.every):
        labels = _labels(net, data, cfg, count, epoch)
        term = PseudoLabels(net, labels, data.rows, count, seed=seed_for(cfg.school.seed, "deepcluster", epoch))
        # A name of its own, so that the optimiser remembers nothing of the classifier before.
        name = f"clusters{epoch + 1}"
        epochs = min(cfg.every, cfg.school.epochs - epoch)
        part = Part(epoch, cfg.school.epochs)
        made = pretrain_stage(name, net, data, {name: term}, views, cfg.school, epochs=epochs, even=True, carry=epoch > 0)
        yield replace(
            made, part=part, optimizer=replace(made.optimizer, lr=_rate(cfg, epoch), schedule="constant", warmup=0.0)
        )


def clusters_for(cfg: DeepClusterConfig, images: int) -> int:
    """How many clusters. Raises ConfigError for more than there are images."""
    if cfg.clusters is None:
        return min(max(2, images // 25), 1000)
    if cfg.clusters > images:
        raise ConfigError(f"clusters={cfg.clusters} of {images} images: give fewer than images, a tenth or less")
    return cfg.clusters


def _rate(cfg: DeepClusterConfig, epoch: int) -> float:
    """The rate of an epoch: rising over the warm-up, then as the schedule says."""
    school = cfg.school
    rise = school.warmup * school.epochs
    if epoch < rise:
        return school.lr * (epoch + 1) / (math.floor(rise) + 1)
    if cfg.schedule == "constant":
        return school.lr
    return school.lr * 0.5 * (1 + math.cos(math.pi * (epoch - rise) / max(school.epochs - rise, 1)))


def _labels(net: Net, data: Task, cfg: DeepClusterConfig, count: int, epoch: int) -> NDArray[np.int64]:
    """`[len(store)]` the cluster of every image of `data`; kept with the run, so that it goes on with the same."""

    def compute() -> dict[str, torch.Tensor]:
        bank = FeatureBank(log=under_way(net).log)
        features = bank.get(net, data.store, data.rows, (net.last,))[net.last]
        found = cluster(
            components(features, cfg.components), count, seed_for(cfg.school.seed, "clusters", epoch), cfg.iterations
        )
        return {"labels": torch.from_numpy(found.labels)}

    labels = np.zeros(len(data.store), np.int64)
    labels[data.rows] = memo(f"clusters-{epoch + 1}-{_mark(net)}", compute)["labels"].numpy()
    return labels


def _mark(net: Net) -> str:
    """A hash of the network: a run may cluster several times in an epoch of the same number (greedy pretraining does)."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in net.blocks.state_dict().items():
        digest.update(name.encode())
        digest.update(bytes_of(tensor))
    return digest.hexdigest()
