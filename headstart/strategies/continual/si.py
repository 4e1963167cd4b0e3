"""Synaptic intelligence: weights that brought the old losses down are held harder; found while learning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from headstart.catalog.regularised import SiConfig
from headstart.data.task import Task
from headstart.engine.past import Past
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.continual.common import new_loss, settle, stage, trains
from headstart.strategies.continual.held import Weights, holding, remembered, weights_now
from headstart.terms.path_integral import PathIntegral


def si(net: Net, task: Task, cfg: SiConfig | None = None, *, past: Past) -> Iterator[Stage]:
    """strength/2 * sum_i Omega_i (theta_i - theta*_i)^2 on what trains and was there before (Zenke et al. 2017, eq. 4, 5).

    Omega adds up omega_i / (Delta_i^2 + xi) over tasks: omega the path integral of the task's own gradient
    (`terms.path_integral`), Delta how far the task moved the weight. theta* are the weights when the new task begins. The
    paper writes c for half of our strength.

    Deviation: the sum is kept from falling below zero, as in the authors' own program; a negative one would push weights
    away. With a weight average or early stopping Delta is that of the weights that are kept, omega that of all steps.
    """
    cfg = cfg or SiConfig()
    kept: dict[str, Any] = past.state.get("si", {})
    problems(ConfigError, "si cannot be done as asked:", [*cfg.faults(), *_faults(kept, past)])
    place = settle("si", net, task, past, cfg.learn)
    what = trains(net, place, cfg.learn)
    named = dict(net.named_parameters())
    moving = [name for name in remembered(net, past, (*place.beside, place.head)) if _trains(name, list(what))]
    start = weights_now(net, moving)
    held = holding(net, place, cfg.learn, past, cfg.strength, kept) if kept else None
    path = PathIntegral({name: named[name] for name in moving}, held)
    yield stage("si", net, task, cfg.learn, what, {"new": new_loss(task, place, cfg.learn), "old": path})
    total = added(kept.get("importance", {}), path.omega(), start, weights_now(net, moving), cfg.xi)
    past.state["si"] = {"importance": total, "tasks": [*kept.get("tasks", []), task.name]}


def added(before: Weights, omega: Weights, start: Weights, end: Weights, xi: float) -> Weights:
    """Omega with one task more."""
    total = dict(before)
    for name, contributed in omega.items():
        share = contributed.cpu().double() / ((end[name].double() - start[name].double()).square() + xi)
        earlier = before.get(name, torch.zeros_like(end[name]))
        total[name] = (earlier.double() + share).clamp(min=0).float().contiguous()
    return total


def _trains(name: str, prefixes: list[str]) -> bool:
    return name.startswith(tuple(f"{prefix}." for prefix in prefixes))


def _faults(kept: dict[str, Any], past: Past) -> list[str]:
    missing = [repr(one.name) for one in past.tasks if one.name not in kept.get("tasks", ())]
    if not missing:
        return []
    return [
        f"it finds what matters while a task is learned, and {', '.join(missing)} was taught by "
        f"{past.method or 'another command'}: it cannot be found afterwards. Use ewc or mas with the old data given once, "
        "or lwf or l2sp, which need nothing but the model"
    ]
