"""What the trained part of a stage sees: images, or the frozen prefix's output, computed or from its cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data.views import Rendering, View
from headstart.engine import distributed
from headstart.engine.log import RunLog
from headstart.engine.prefix_cache import CachedPrefix, Prefix, Worth, open_cache, worthwhile
from headstart.engine.sampler import Plan
from headstart.engine.step import Step, batch_of, present, render
from headstart.engine.trained import Trained
from headstart.errors import DiskFull
from headstart.nets.cost import activation_elements, block_flops
from headstart.nets.net import Net
from headstart.seeding import generator, seed_for
from headstart.stage import Stage

if TYPE_CHECKING:
    from headstart.engine.fit import Machine


@dataclass
class Inputs:
    """Builds the `Step` of any index."""

    net: Net
    stage: Stage
    plan: Plan
    prefix: Prefix
    caches: Mapping[str, CachedPrefix]
    wanted: tuple[str, ...]
    device: torch.device
    run_seed: int
    seed: int
    _drawn: tuple[int, list[NDArray[np.int64]]] | None = None

    @staticmethod
    def of(net: Net, stage: Stage, trained: Trained, plan: Plan, machine: Machine, run_seed: int, log: RunLog) -> Inputs:
        """Decide what is cached, compute it if need be, and say so."""
        seed = seed_for(run_seed, "stage", stage.name)
        width = -(-plan.batch_size // distributed.world_size())
        prefix = Prefix(net, trained.first, width)
        wanted = {tap for term in stage.terms.values() for tap in term.reads}
        wanted |= {tap for term in stage.terms.values() for head in term.heads for tap in net.head(head).reads}
        caches: dict[str, CachedPrefix] = {}
        for name, view in stage.views.items():
            worth = decide(net, stage, view, prefix, plan, machine)
            log.event("cache", view=name, cached=worth.cached, bound=worth.bound, bytes=worth.bytes, reason=worth.reason)
            if worth.cached and machine.cache is not None:
                draw_seed = view_seed(view, run_seed, seed, name)
                found = _opened(machine.cache, stage, view, prefix, draw_seed, machine, list(caches.values()), log)
                caches |= {} if found is None else {name: found}
        order = tuple(name for name in net.block_names if name in wanted)
        return Inputs(net, stage, plan, prefix, caches, order, torch.device(machine.device), run_seed, seed)

    def step(self, index: int) -> Step:
        """Step number `index`: the same whenever, and in whatever order, it is asked for."""
        epoch = self.plan.epoch(index)
        places = self._batches_of(epoch)[index % self.plan.per_epoch]
        mine = distributed.my_slice(len(places))
        mixed = self._mixed(index, len(places))
        batch = batch_of(self.stage.data, places, mine, self.device, None if mixed is None else mixed[1])
        mixing = None if mixed is None else self._mixing(mixed, mine)
        shown = _Shown(self, batch.rows, epoch, mixing)
        return Step(self.net, self.stage.data, batch, epoch, self.prefix.end, self.wanted, shown, mixing)

    def _batches_of(self, epoch: int) -> list[NDArray[np.int64]]:
        """The epoch's batches, drawn once and not at every step."""
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = (epoch, self.plan.batches(epoch))
        return self._drawn[1]

    def _mixed(self, index: int, total: int) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """Share and partner (mixup) of every sample of a batch, each of the part of its process; None where none is mixed.

        Every process draws for all, each from its own stream: only so can it count the labels of the whole batch.
        """
        if not self.stage.mixup:
            return None
        shares, partners = [], []
        for process, part in enumerate(distributed.parts(total)):
            draw, count = generator(self.seed, "mixup", index, process), part.stop - part.start
            shares.append(draw.beta(self.stage.mixup, self.stage.mixup, count).astype(np.float32))
            partners.append(draw.permutation(count) + part.start)
        return np.concatenate(shares), np.concatenate(partners)

    def _mixing(self, mixed: tuple[NDArray[np.float32], NDArray[np.int64]], mine: slice) -> tuple[Tensor, Tensor]:
        """The same for the samples of this process, counted from its first."""
        share, partner = mixed[0][mine], mixed[1][mine] - mine.start
        return torch.from_numpy(share).to(self.device), torch.from_numpy(partner).to(self.device)


@dataclass
class _Shown:
    """What one step shows; see `step.Shown`."""

    inputs: Inputs
    rows: NDArray[np.int64]
    epoch: int
    mixing: tuple[Tensor, Tensor] | None
    _samples: dict[str, Tensor] = field(default_factory=dict)
    _frozen: dict[str, Tensor] = field(default_factory=dict)

    def samples(self, view: str) -> Tensor:
        if view not in self._samples:
            how, all_ = self.rendering(view), self.inputs
            found = render(all_.stage.data.store, self.rows, how.view, seed=how.seed, draw=how.draw, device=all_.device)
            self._samples[view] = found if self.mixing is None else _blend(found, *self.mixing)
        return self._samples[view]

    def rendering(self, view: str) -> Rendering:
        how, all_ = self.inputs.stage.views[view], self.inputs
        seed = 0 if how.is_plain else view_seed(how, all_.run_seed, all_.seed, view)
        data = all_.stage.data.store.fingerprint
        return Rendering(how, seed, how.draw_at(self.epoch), self.mixing is not None, data)

    def activations(self, view: str) -> Tensor:
        if self.inputs.prefix.end is None:
            return present(self.samples(view), self.inputs.net.input)
        if view not in self._frozen:
            self._frozen[view] = self._put_out(view)
        return self._frozen[view]

    def _put_out(self, view: str) -> Tensor:
        """What the frozen part puts out."""
        all_ = self.inputs
        if view not in all_.caches:
            return all_.prefix(self.samples(view))
        draw = all_.stage.views[view].draw_at(self.epoch)
        return all_.caches[view].gather(draw, self.rows).to(all_.device, non_blocking=True)


def view_seed(view: View, run_seed: int, stage_seed: int, name: str) -> int:
    """A fixed set of renderings belongs to the run, so that its stages and folds share it; fresh ones to the stage."""
    return seed_for(stage_seed if view.fixed_draws is None else run_seed, "view", name)


def _opened(
    folder: Path,
    stage: Stage,
    view: View,
    prefix: Prefix,
    seed: int,
    machine: Machine,
    beside: list[CachedPrefix],
    log: RunLog,
) -> CachedPrefix | None:
    """The cache of one view; None where the disk has no room for it, for without it the same bits come a little later."""
    kind, dtype = torch.device(machine.device).type, machine.autocast
    try:
        with torch.autocast(kind, dtype, enabled=dtype is not None):
            return open_cache(
                folder,
                prefix,
                stage.data,
                view,
                seed=seed,
                autocast=dtype,
                log=log,
                limit=machine.cache_limit,
                beside=beside,
                below=stage.below,
            )
    except DiskFull as error:
        log.event("warning", text=f"the frozen part of stage {stage.name!r} is not cached and takes longer: {error}")
        return None


def _blend(samples: Tensor, share: Tensor, partner: Tensor) -> Tensor:
    """Mix each sample with its partner; images are rounded back to uint8."""
    weight = share.view(-1, *[1] * (samples.ndim - 1))
    mixed = weight * samples.float() + (1 - weight) * samples[partner].float()
    return mixed.round_().to(samples.dtype) if samples.dtype == torch.uint8 else mixed


def decide(net: Net, stage: Stage, view: View, prefix: Prefix, plan: Plan, machine: Machine) -> Worth:
    """Whether one view's prefix is cached: by the stage's own wish, or by counting."""
    if prefix.end is None:
        return Worth(False, 1.0, 0, "nothing is frozen before the first trained block")
    if stage.cache == "off" or machine.cache is None:
        return Worth(False, 1.0, 0, "caching is switched off" if stage.cache == "off" else "no cache folder was given")
    if stage.mixup:
        return Worth(False, 1.0, 0, "samples are mixed anew in every step")
    shape = view.shape(stage.data.store.array.shape[1:])
    flops = block_flops(net, shape)
    worth = worthwhile(
        prefix_flops=sum(flops[name] for name in prefix.names),
        total_flops=sum(flops.values()),
        activation_bytes=4 * shape[0] * activation_elements(net, prefix.end, shape),
        samples=len(stage.data.store),
        epochs=plan.epochs,
        draws=view.fixed_draws,
        limit=machine.cache_limit,
    )
    fits = view.fixed_draws is not None and worth.bytes <= machine.cache_limit
    if stage.cache == "on" and fits:
        return Worth(True, worth.bound, worth.bytes, "asked for")
    return worth
