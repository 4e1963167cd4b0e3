"""What the methods share that hold weights near where they were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from headstart.catalog.continual import Learn
from headstart.data.task import Task
from headstart.engine.past import Past
from headstart.engine.run import under_way
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.stage import Stage, Train
from headstart.strategies.continual.common import Place, new_loss, stage, trains
from headstart.terms.penalty import Penalty

Weights = dict[str, Tensor]


def anchored(net: Net, place: Place, learn: Learn, past: Past) -> dict[str, nn.Parameter]:
    """Weights that train and were there before the task: blocks, the shared head, or old heads where they train."""
    chosen = trains(net, place, learn)
    before = [prefix for prefix in chosen if prefix != f"heads.{place.head}" or place.head in past.heads]
    return _under(net, before)


def remembered(net: Net, past: Past, heads: Sequence[str]) -> list[str]:
    """Weights whose importance a later task may ask for: all blocks, and those heads unless they never train again."""
    again = () if past.scenario == "task" else heads
    return list(_under(net, ["blocks", *(f"heads.{name}" for name in again)]))


def _under(net: Net, prefixes: Sequence[str]) -> dict[str, nn.Parameter]:
    starts = tuple(f"{prefix}." for prefix in prefixes)
    return {name: parameter for name, parameter in net.named_parameters() if name.startswith(starts)}


def weights_now(net: Net, names: Sequence[str]) -> Weights:
    """Copies on the processor."""
    named = dict(net.named_parameters())
    return {name: named[name].detach().cpu().clone(memory_format=torch.contiguous_format) for name in names}


def no_decay(what: Mapping[str, float | Train], prefixes: Sequence[str]) -> dict[str, float | Train]:
    """The same rules, without weight decay for those."""
    return {
        name: replace(rule if isinstance(rule, Train) else Train(rule), weight_decay=0.0) if name in prefixes else rule
        for name, rule in what.items()
    }


def warm_up(net: Net, task: Task, place: Place, learn: Learn, epochs: int, past: Past) -> Iterator[Stage]:
    """The new head alone for some epochs; nothing where there are none, or no new head."""
    if epochs and place.head not in past.heads:
        alone = trains(net, place, replace(learn, scale=0.0))
        yield stage("warm_up", net, task, learn, alone, {"new": new_loss(task, place, learn)}, epochs=epochs)


class Unknown(NamedTuple):
    """A task that a method's state says nothing of: its name, its data, and the heads that answered it when it was new."""

    name: str
    task: Task
    heads: tuple[str, ...]


def not_known(method: str, kept: Mapping[str, Any], past: Past) -> list[Unknown]:
    """Tasks learned that the state `kept` says nothing of, because another method taught them.

    Raises ConfigError, with what could be done instead, when the data of the earlier tasks are not given.
    """
    missing = [number for number, one in enumerate(past.tasks) if one.name not in kept.get("tasks", ())]
    if missing and len(past.old) < len(past.tasks):
        names = ", ".join(repr(past.tasks[number].name) for number in missing)
        raise ConfigError(
            f"{method} needs to know which weights matter for {names}, and the model does not say (it was taught by "
            f"{past.method or 'another command'}). Give the data of all earlier tasks once (--old), then it is found and "
            "kept; or use a method that needs nothing but the model, as lwf or l2sp"
        )
    found = []
    for number in missing:
        heads = tuple(dict.fromkeys(one.head for one in past.tasks[: number + 1]))
        own = heads if past.scenario == "class" else (past.tasks[number].head,)
        found.append(Unknown(past.tasks[number].name, past.old[number], own))
    return found


def drawn(past: Past, task: Task, samples: int | None) -> tuple[int, int]:
    """How many of a task's samples importances are found on, and the seed that draws them."""
    count = len(task) if samples is None else min(samples, len(task))
    return count, seed_for(past.seed, "importance", task.name)


def only(found: Weights, names: Sequence[str]) -> Weights:
    """Those of `names` that were found, on the processor."""
    return {name: found[name].cpu().contiguous() for name in names if name in found}


def holding(
    net: Net, place: Place, learn: Learn, past: Past, strength: float, kept: Mapping[str, Weights]
) -> Penalty | None:
    """The penalty on what trains, was there before and has an `importance` in `kept`; None where there is no such weight.

    Anchors are those of `kept` where it has an `anchor`, else the weights as they are now. Where steps by SGD would
    overshoot so far that weights swing away from their anchors, the log says so before they do.
    """
    importances = kept["importance"]
    live = {name: one for name, one in anchored(net, place, learn, past).items() if name in importances}
    if not live:
        return None
    _check_rate(net, place, learn, strength, {name: importances[name] for name in live})
    return Penalty(live, strength, anchors=kept.get("anchor") or weights_now(net, list(live)), importances=importances)


def _check_rate(net: Net, place: Place, learn: Learn, strength: float, importances: Weights) -> None:
    """Say when steps would overshoot."""
    scales = {name: 1.0 if name.startswith(f"heads.{place.head}.") else learn.scale for name in importances}
    curvature = strength * max(float(one.max()) * scales[name] for name, one in importances.items())
    # Nesterov momentum of 0.9 on a quadratic of curvature h is stable up to a rate of (2 + 2 * 0.9) / (1 + 2 * 0.9) / h.
    limit = 3.8 / 2.8 / max(curvature, 1e-30)
    if learn.recipe.optimizer == "sgd" and learn.recipe.lr > limit:
        least = strength * limit / learn.recipe.lr
        text = (
            f"strength={strength:g} makes steps at lr={learn.recipe.lr:g} overshoot, so important are some weights: use a "
            f"strength below {least:.3g}, lr below {limit:.3g}, or optimizer=adamw"
        )
        under_way(net).log.event("warning", text=text)
