"""What the methods share that teach a model one more task: which head answers it, what trains, and by which losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from headstart.catalog.continual import METHODS, Learn
from headstart.data.task import Task
from headstart.engine.past import Past
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.stage import Stage, Train
from headstart.strategies.common import (
    class_weights,
    early_stopping,
    hold_out,
    supervised_stage,
    top_blocks,
    weighted_blocks,
)
from headstart.strategies.continual.kinds import kind_faults
from headstart.terms.base import Term
from headstart.terms.supervised import Supervised


@dataclass(frozen=True)
class Place:
    """Where a new task belongs.

    head    answers it: new, or in the domain-incremental scenario the one there is
    old     heads of earlier tasks, oldest first, `head` not among them
    beside  those of them whose answers stand before the new ones in one list: all in the class-incremental scenario
    """

    head: str
    old: tuple[str, ...]
    beside: tuple[str, ...]


def settle(method: str, net: Net, task: Task, past: Past, learn: Learn) -> Place:
    """Give the net the new task's empty head, or find the one that answers it already.

    A list of all classes that an earlier method made is taken away: it does not know the new ones.

    Raises ConfigError for a scenario that the method cannot work in, and for a task that does not fit the past.
    """
    known = METHODS[method]
    faults = learn.faults()
    if past.scenario not in known.scenarios:
        others = ", ".join(name for name, one in METHODS.items() if past.scenario in one.scenarios and not one.old_data)
        # A model that has learned several tasks goes on as it began.
        instead = f"; or give --scenario {' or '.join(known.scenarios)}" if len(past.tasks) < 2 else ""
        faults.append(f"it cannot work {past.scenario}-incrementally: {known.limits}. Those that can: {others}{instead}")
    if known.old_data and len(past.old) < len(past.tasks):
        faults.append(f"it needs the images of all {len(past.tasks)} earlier tasks, and has {len(past.old)}")
    first = past.tasks[0] if past.tasks else None
    if past.scenario == "domain" and first is not None and tuple(task.classes) != first.classes:
        faults.append(f"domain-incremental tasks share their classes {first.classes}; {task.name!r} has {task.classes}")
    if past.scenario != "domain" and task.name in net.heads:
        faults.append(f"there is a head {task.name!r} already; give the new task another name")
    faults += kind_faults(method, past)
    if past.owners and method != "packnet":
        faults.append(
            "the tasks of this model share out its weights (packnet), and each is answered by its own; go on with it"
        )
    problems(ConfigError, f"{method} cannot be done as asked:", faults)
    if past.one_list is not None:
        del net.heads[past.one_list]
        past.one_list = None
    if past.scenario == "domain" and first is not None:
        return Place(first.head, (), ())
    net.add_head(task.name, task.num_classes)
    return Place(task.name, past.heads, past.heads if past.scenario == "class" else ())


def new_loss(task: Task, place: Place, learn: Learn, share: float = 1.0) -> Supervised:
    """Cross-entropy of the new task, over all classes seen where they make one list."""
    weights = class_weights(task) if learn.recipe.class_weights else None
    return Supervised(
        task.name,
        head=place.head,
        beside=place.beside,
        smoothing=learn.recipe.smoothing,
        class_weights=weights,
        share=share,
    )


def trains(net: Net, place: Place, learn: Learn, *, old_heads: bool | None = None) -> dict[str, float | Train]:
    """Shared blocks (the top ones, where only these may change) and old heads at `scale`, the new head at the full rate.

    old_heads  whether earlier heads train; None: where their answers take part in the new task's loss
    """
    blocks = weighted_blocks(net) if learn.top is None else top_blocks(net, learn.top)
    chosen: dict[str, float | Train] = {}
    if learn.scale > 0:
        chosen = {f"blocks.{name}": Train(learn.scale, norm=learn.norm) for name in blocks}
        also = place.beside if old_heads is None else place.old if old_heads else ()
        chosen |= {f"heads.{name}": learn.scale for name in also}
    return {**chosen, f"heads.{place.head}": 1.0}


def stage(
    name: str,
    net: Net,
    task: Task,
    learn: Learn,
    what: Mapping[str, float | Train],
    terms: Mapping[str, Term],
    *,
    epochs: int | None = None,
    carry: bool = False,
) -> Stage:
    """A stage of a method: the recipe's, with these terms."""
    usual = supervised_stage(name, net, task, what, learn.recipe, epochs=epochs, carry=carry)
    if usual.evaluate is not None and task.name not in net.heads:
        # One head for all tasks (domain-incremental), not called like this one, is what early stopping has to look at.
        _, held_out = hold_out(task, seed_for(learn.recipe.seed, "early-stopping"))
        shared = next(term.heads[-1] for term in terms.values() if term.heads)
        usual = replace(usual, evaluate=early_stopping(held_out, usual.evaluate.patience, shared))
    return replace(usual, terms=dict(terms), optimizer=replace(usual.optimizer, schedule=learn.schedule))
