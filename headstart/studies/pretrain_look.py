"""How a backbone is judged while it learns: numbers of one look, none of which changes anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.data.store import Store
from headstart.data.task import Task
from headstart.data.views import View
from headstart.engine.evaluate import batch_for
from headstart.engine.solvers.ridge import ridge_path
from headstart.engine.step import present, render
from headstart.errors import DataError
from headstart.metrics.representation import alignment, effective_rank, spread, uniformity
from headstart.nets.heads import pool
from headstart.nets.net import Net, single
from headstart.seeding import seed_for
from headstart.strategies.early_probe import depths_of
from headstart.studies.pretrain_data import Parts, some_of
from headstart.transferability.knn import nearest_answers

PROBE = "probe "
"""Before a block's name: accuracy of a linear classifier on its features."""
_KNOWN, _ASKED, _SAMPLE = 2000, 500, 256
"""Labelled images that neighbours and probes learn from, images that are asked about, images that need no label."""
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass
class Looker:
    """Looks at a net. Called by the engine in eval mode, without gradient.

    views  those of the stage that trains, two of which images are shown in to see how alike their features are
    """

    parts: Parts
    seed: int
    views: Mapping[str, View] = field(default_factory=dict)

    def __call__(self, net: Net) -> dict[str, float]:
        """By name: `knn` and `probe BLOCK`, accuracies on held-out images, where labels exist; `spread`, `rank` and
        `uniformity` of the last block's features, and `alignment` where the views change anything."""
        depths, known, held = depths_of(net), self.parts.known, self.parts.held
        if known is None or held is None:
            sample = self.sample()
            plain = features_of(net, sample.store, sample.rows, [net.last])[net.last]
            return {**health(plain), **self._aligned(net)}
        bank, asked = some_of(known, _KNOWN, self.seed), some_of(held, _ASKED, self.seed)
        learned, seen = (features_of(net, one.store, one.rows, depths) for one in (bank, asked))
        last = depths[-1]
        said = nearest_answers(learned[last], bank.targets, seen[last], bank.num_classes)
        found = {"knn": float((said == asked.targets).mean())}
        for name in depths:
            right = probe(learned[name], bank.targets, seen[name], bank.num_classes) == asked.targets
            found[f"{PROBE}{name}"] = float(right.mean())
        return {**found, **health(seen[last]), **self._aligned(net)}

    def sample(self) -> Task:
        """The images whose features are looked at without a label."""
        return some_of(self.parts.pool, _SAMPLE, self.seed)

    def _aligned(self, net: Net) -> dict[str, float]:
        changing = [view.whole for view in self.views.values() if view.ops][:2]
        sample = self.sample()
        if not changing or not sample.store.is_image:
            return {}
        first, second = changing[0], changing[-1]
        one, two = (
            features_of(net, sample.store, sample.rows, [net.last], view, seed_for(self.seed, "look", place), place)[
                net.last
            ]
            for place, view in enumerate((first, second))
        )
        try:
            return {"alignment": alignment(one, two)}
        except DataError:  # features that are no numbers any more; what is wrong is said by the loss
            return {}


def health(features: NDArray[np.float32]) -> dict[str, float]:
    """Spread, effective rank and uniformity; nothing where features are no numbers any more."""
    if len(features) < 2 or not np.isfinite(features).all():
        return {}
    return {"spread": spread(features), "rank": effective_rank(features), "uniformity": uniformity(features)}


def probe(
    learned: NDArray[np.float32], labels: NDArray[np.int64], asked: NDArray[np.float32], classes: int
) -> NDArray[np.int64]:
    """Answers `[M]` of a ridge classifier on `learned` `[N, D]`, its penalty chosen by leaving one out, for `asked`."""
    if not (np.isfinite(learned).all() and np.isfinite(asked).all()):
        return np.full(len(asked), -1, np.int64)
    path = ridge_path(torch.from_numpy(learned), torch.from_numpy(labels), classes, _PENALTIES)
    right = (path.left_out.argmax(2) == torch.from_numpy(labels)).double().mean(1)
    best = int((right >= right.max() - 1e-12).nonzero()[-1])
    weight, bias = path.weights[best].double(), path.biases[best].double()
    said: NDArray[np.int64] = (torch.from_numpy(asked).double() @ weight.T + bias).argmax(1).numpy()
    return said


def features_of(
    net: Net,
    store: Store,
    rows: NDArray[np.int64],
    taps: Sequence[str],
    view: View | None = None,
    seed: int = 0,
    draw: int = 0,
) -> dict[str, NDArray[np.float32]]:
    """Pooled outputs `[len(rows), C]` of blocks on the plain view, or rendering number `draw` of another one."""
    width = batch_for(net.input, net.device.type)
    until = max(taps, key=net.block_names.index)
    parts: dict[str, list[NDArray[np.float32]]] = {tap: [] for tap in taps}
    for start in range(0, len(rows), width):
        some = rows[start : start + width]
        samples = render(store, some, view or View(), seed=seed, draw=draw, device=net.device)
        seen = net.run(present(samples, net.input), until=until, taps=taps)
        for tap in taps:
            parts[tap].append(pool(single(seen, tap), net.info[tap].layout).float().cpu().numpy())
    return {tap: np.concatenate(found) for tap, found in parts.items()}
