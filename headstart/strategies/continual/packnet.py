"""PackNet: several tasks share one network's weights, each claiming some of those that earlier ones left free."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from headstart.catalog.continual import PacknetConfig
from headstart.data.task import Task
from headstart.engine.past import Past
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.nets.owners import FREE, MOST_TASKS, check_owners, prunable, smallest
from headstart.stage import Stage, Train
from headstart.strategies.common import top_blocks, weighted_blocks
from headstart.strategies.continual.common import new_loss, settle, stage


def packnet(net: Net, task: Task, cfg: PacknetConfig | None = None, *, past: Past) -> Iterator[Stage]:
    """Train the free weights, prune the smallest of them, retrain the kept ones; these are then fixed for ever.

    Mallya & Lazebnik 2018. Of the free weights of every convolution and linear layer `share` is given back, the smallest
    in magnitude; the kept ones belong to the task and train for half as long again with the others at zero. Biases,
    normalisation and what has no such weights train with the first task only. A later task sees the weights of all before
    it, and starts its own from zero. `past.owners` tells which task claimed which weight; a task is answered with its own
    weights and earlier ones (`nets.owners.with_owners`), so that its answers are the same to the bit for ever.

    Deviations: with `learn.top` at the first task only weights of these blocks are shared out, and the others never train;
    the paper shares out the whole network. Parameters of attention that are no linear layer's count as biases do.
    """
    cfg = cfg or PacknetConfig()
    problems(ConfigError, "packnet cannot be done as asked:", [*cfg.faults(), *_faults(past)])
    free = _free(net, cfg, past)
    place = settle("packnet", net, task, past, cfg.learn)
    number = len(past.tasks) + 1
    terms = {"new": new_loss(task, place, cfg.learn)}
    head = {f"heads.{place.head}": 1.0}
    yield stage("train", net, task, cfg.learn, {**_trains(net, cfg, free, past), **head}, terms)
    kept = prune(net, free, cfg.share)
    what = {**_trains(net, cfg, kept, past), **head}
    yield stage("retrain", net, task, cfg.learn, what, terms, epochs=cfg.retraining)
    owners = {name: past.owners.get(name, torch.zeros(mask.shape, dtype=torch.uint8)) for name, mask in kept.items()}
    past.owners = {name: torch.where(mask, number, owners[name]).to(torch.uint8) for name, mask in kept.items()}


def prune(net: Net, free: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Set the smallest `share` of the `free` weights of every layer to zero, in place; which are left, as bool by name."""
    parameters, kept = dict(net.named_parameters()), {}
    with torch.no_grad():
        for name, mask in free.items():
            gone = smallest(parameters[name], mask, share)
            parameters[name].masked_fill_(gone.to(parameters[name].device), 0.0)
            kept[name] = mask & ~gone
    return kept


def _faults(past: Past) -> list[str]:
    if past.tasks and not past.owners:
        return [
            f"the model's {len(past.tasks)} tasks so far were learned by other means and use all weights, so that none is "
            "free; learn the first task with packnet too, or use another method"
        ]
    if past.owners and not any(bool((owner == FREE).any()) for owner in past.owners.values()):
        return [
            f"no free weights are left: {len(past.tasks)} tasks claimed all of them; start again with a larger share=, or "
            "a larger network, or grow this one (method expand)"
        ]
    return [f"{MOST_TASKS} tasks share the weights already, and no more can"] if len(past.tasks) >= MOST_TASKS else []


def _free(net: Net, cfg: PacknetConfig, past: Past) -> dict[str, Tensor]:
    """Which weights are free, as bool by name. Raises ConfigError where there are none that may change."""
    if past.tasks:
        check_owners(net, past.owners)
        return {name: owner == FREE for name, owner in past.owners.items()}
    chosen, parameters = _chosen(net, cfg), dict(net.named_parameters())
    found = {name: torch.ones(parameters[name].shape, dtype=torch.bool) for name in prunable(net, chosen)}
    if not found:
        raise ConfigError(f"no convolution or linear layer is in blocks {chosen}; choose others (top=), or another method")
    return found


def _chosen(net: Net, cfg: PacknetConfig) -> list[str]:
    return weighted_blocks(net) if cfg.learn.top is None else top_blocks(net, cfg.learn.top)


def _trains(net: Net, cfg: PacknetConfig, free: Mapping[str, Tensor], past: Past) -> dict[str, float | Train]:
    """Blocks with their masks: of a weight that is shared out only free elements move, of the rest all or nothing.

    Whole blocks and not single weights are named, because dropout in them is at work while their weights train.
    """
    found: dict[str, float | Train] = {}
    first = not past.tasks
    for block in _chosen(net, cfg) if first else dict.fromkeys(name.split(".")[1] for name in free):
        masks = {name: mask.to(torch.uint8) for name, mask in free.items() if name.split(".")[1] == block}
        if not first:
            others = {f"blocks.{block}.{name}": value for name, value in net.blocks[block].named_parameters()}
            masks |= {n: torch.zeros(v.shape, dtype=torch.uint8) for n, v in others.items() if n not in masks}
        found[f"blocks.{block}"] = Train(cfg.learn.scale, mask=masks, norm=cfg.learn.norm if first else "frozen")
    return found
