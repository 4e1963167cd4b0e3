"""Elastic weight consolidation: weights that the old answers depend on are held harder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from headstart.catalog.regularised import EwcConfig
from headstart.data.task import Task
from headstart.engine.importance import fisher
from headstart.engine.past import Past
from headstart.engine.run import memo, under_way
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.continual.common import new_loss, settle, stage, trains
from headstart.strategies.continual.held import (
    Weights,
    drawn,
    holding,
    not_known,
    only,
    remembered,
    warm_up,
    weights_now,
)
from headstart.terms.base import Term


def ewc(net: Net, task: Task, cfg: EwcConfig | None = None, *, past: Past) -> Iterator[Stage]:
    """strength/2 * sum_i F_i (theta_i - theta*_i)^2 on what trains and was there before (Kirkpatrick et al. 2017, eq. 3).

    mode `separate`: one such penalty for every task, about the weights it ended with. Their sum is one quadratic, F the sum
    of all and theta* their mean weighed by F (up to a constant), and is kept as this one: `past.state["ewc"]`. `online`:
    gamma F + F_t about the latest weights (Schwarz et al. 2018, section 3.3).

    Deviation: F is of one kind for all tasks, by default exact over the model's own answers (see `engine.importance`).
    """
    cfg = cfg or EwcConfig()
    problems(ConfigError, "ewc cannot be done as asked:", [*cfg.faults(), *_other_kind(cfg, past)])
    kept = _with_old(net, cfg, past, task)
    place = settle("ewc", net, task, past, cfg.learn)
    terms: dict[str, Term] = {"new": new_loss(task, place, cfg.learn)}
    if kept:
        yield from warm_up(net, task, place, cfg.learn, cfg.warmup_epochs, past)
        held = holding(net, place, cfg.learn, past, cfg.strength, kept)
        terms |= {"old": held} if held is not None else {}
    yield stage("ewc", net, task, cfg.learn, trains(net, place, cfg.learn), terms)
    heads = (*place.beside, place.head)
    found = _importance(f"ewc-{task.name}", net, task, heads, cfg, past)
    now = weights_now(net, list({**kept.get("anchor", {}), **found}))
    past.state["ewc"] = consolidated(kept, task.name, found, now, cfg)


def consolidated(kept: dict[str, Any], name: str, importance: Weights, now: Weights, cfg: EwcConfig) -> dict[str, Any]:
    """The state with one task more, of which F is `importance`, at weights `now`."""
    before, places = kept.get("importance", {}), kept.get("anchor", {})
    total, anchor = dict(before), dict(places)
    for one in {**before, **importance}:
        zero = torch.zeros_like(now[one])
        old, new = (before.get(one, zero).double(), importance.get(one, zero).double())
        old = cfg.gamma * old if cfg.mode == "online" else old
        total[one] = (old + new).float()
        anchor[one] = now[one]
        if cfg.mode == "separate" and one in places:
            # Written as a step from one to the other: where either says nothing, the other stays to the bit.
            share = torch.where(old + new > 0, new / (old + new).clamp(min=1e-300), torch.ones_like(new))
            anchor[one] = torch.lerp(places[one].double(), now[one].double(), share).float()
    return {"importance": total, "anchor": anchor, "tasks": [*kept.get("tasks", []), name], "kind": cfg.fisher}


def _with_old(net: Net, cfg: EwcConfig, past: Past, task: Task) -> dict[str, Any]:
    """What is known of the earlier tasks; of those taught by another method from their own data, about the weights now."""
    kept: dict[str, Any] = past.state.get("ewc", {})
    for one in not_known("ewc", kept, past):
        found = _importance(f"ewc-{task.name}-before-{one.name}", net, one.task, one.heads, cfg, past)
        kept = consolidated(kept, one.name, found, weights_now(net, list({**kept.get("anchor", {}), **found})), cfg)
    return kept


def _importance(name: str, net: Net, task: Task, heads: tuple[str, ...], cfg: EwcConfig, past: Past) -> Weights:
    """F of what `heads` answer about `task`, computed once per run."""
    count, seed = drawn(past, task, cfg.samples)
    classes = sum(net.head(head).num_classes for head in heads)
    past.spend("fisher", forward=count, backward=count * (classes - 1 if cfg.fisher == "exact" else 1))

    def compute() -> Weights:
        found = fisher(net, task, heads, kind=cfg.fisher, samples=cfg.samples, seed=seed, log=under_way(net).log)
        return only(found, remembered(net, past, heads))

    kept: Weights = memo(name, compute)
    return kept


def _other_kind(cfg: EwcConfig, past: Past) -> list[str]:
    kind = past.state.get("ewc", {}).get("kind", cfg.fisher)
    if kind == cfg.fisher:
        return []
    return [f"fisher={cfg.fisher}: the model's importances are {kind}, of another size; use fisher={kind} for it"]
