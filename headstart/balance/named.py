"""The balance that a weighting's name and settings stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from torch import nn

from headstart.balance.base import Balance
from headstart.balance.dwa import DynamicWeightAverage
from headstart.balance.fixed import Fixed
from headstart.balance.gradnorm import GradNorm
from headstart.balance.jacobian import Jacobian
from headstart.balance.schedule import Schedule
from headstart.balance.uncertainty import Uncertainty
from headstart.catalog.kinds import Kind
from headstart.catalog.schedules import weight_plan
from headstart.catalog.weightings import (
    Dwa,
    GradNormWeighting,
    Scheduled,
    Sum,
    UncertaintyWeighting,
    check_extra,
    weighting,
)
from headstart.errors import ConfigError, problems


def balance_for(
    name: str,
    config: Any,
    tasks: Sequence[str],
    kinds: Mapping[str, Kind] | None = None,
    last_shared: Iterable[nn.Parameter] = (),
) -> Balance:
    """A new balance.

    name         one of `catalog.weightings.WEIGHTINGS`
    config       its settings, of the class of `WEIGHTINGS[name].config`; None: the defaults
    tasks        names of the losses to weigh, as the stage's terms are called
    kinds        kind of each task
    last_shared  weights of the last block that all tasks share, for GradNorm

    Of `uncertainty`, the stage has to train the balance: `trains["balance"] = Train(config.scale, weight_decay=0.0)`.

    Raises ConfigError for an unknown name, settings that cannot be, or an extra that is missing.
    """
    known = weighting(name)
    check_extra(name)
    config = known.config if config is None else config
    wanted = type(known.config)
    if type(config) is not wanted:
        raise ConfigError(f"weighting {name!r} has settings of the class {wanted.__name__}, not {type(config).__name__}")
    problems(ConfigError, f"weighting {name!r} cannot be used:", faults(config, tasks))
    if isinstance(config, Sum):
        return Fixed(config.weights, tasks=tasks)
    if isinstance(config, Scheduled):
        return Schedule(weight_plan(config.schedule, tasks, normalise=config.normalise))
    if isinstance(config, Dwa):
        return DynamicWeightAverage(tasks, config.temperature)
    if isinstance(config, UncertaintyWeighting):
        return Uncertainty(tasks, kinds, config.variance)
    if isinstance(config, GradNormWeighting):
        return GradNorm(tasks, last_shared, alpha=config.alpha, rate=config.rate, floor=config.floor)
    return Jacobian(name, tasks, **{one.name: getattr(config, one.name) for one in fields(config)})


def faults(config: Any, tasks: Sequence[str]) -> list[str]:
    """What is wrong with settings, whatever the weighting."""
    found = [] if tasks else ["there are no tasks"]
    found += [f"task {name!r} is there twice" for name in dict.fromkeys(tasks) if list(tasks).count(name) > 1]
    if isinstance(config, Sum):
        unknown = [name for name in config.weights if name not in tasks]
        found += [f"{name!r} has a weight but is no task; tasks are {', '.join(tasks)}" for name in unknown]
        wrong = {name: weight for name, weight in config.weights.items() if not 0 <= weight < float("inf")}
        found += [f"task {name!r}: weight {weight} is not a finite number of 0 or more" for name, weight in wrong.items()]
        if tasks and not any(config.weights.get(name, 1.0) for name in tasks):
            found.append("every weight is 0")
    if isinstance(config, Scheduled) and config.schedule is None:
        found.append("there is no schedule; give a formula per task or a table by epoch")
    positive = {Dwa: ("temperature",), UncertaintyWeighting: ("variance", "scale"), GradNormWeighting: ("rate", "floor")}
    for name in positive.get(type(config), ()):
        if not 0 < getattr(config, name) < float("inf"):
            found.append(f"{name}={getattr(config, name)} must be a positive number")
    if isinstance(config, GradNormWeighting) and not 0 <= config.alpha < float("inf"):
        found.append(f"alpha={config.alpha} must be 0 or more")
    return found
