"""What iCaRL and LwF.MC share: sigmoid outputs over all classes, the old ones held by the old network's."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from headstart.catalog.continual import Learn
from headstart.catalog.strategies import Recipe
from headstart.data.task import UNKNOWN, Task
from headstart.engine.past import Past
from headstart.nets.joined import join_heads
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.continual.common import Place, stage, trains
from headstart.strategies.teaching import answers_on
from headstart.terms.icarl import SigmoidList
from headstart.terms.teacher import Live


def recipe_faults(recipe: Recipe) -> list[str]:
    """What of a recipe has no meaning with sigmoid outputs, in words."""
    faults = []
    if recipe.smoothing:
        faults.append(f"smoothing={recipe.smoothing} moves the mass of a softmax's target, and outputs are sigmoids; use 0")
    if recipe.class_weights:
        faults.append("class_weights=True weighs a softmax's targets, and outputs are sigmoids; use False")
    if recipe.patience is not None:
        faults.append(f"patience={recipe.patience}: there is no held-out tenth of all classes to watch; use none")
    return faults


def all_classes(past: Past, task: Task) -> Task:
    """The same samples with all classes for answers, the old ones first."""
    first = len(past.classes)
    labels = np.where(task.labels == UNKNOWN, UNKNOWN, task.labels + first)
    return replace(task, labels=labels, classes=(*past.classes, *task.classes))


def learning(name: str, net: Net, listed: Task, learn: Learn, place: Place) -> Stage:
    """The stage that learns: the new head and the old ones from `listed`, whose classes are all, and the net as it was."""
    heads = (*place.old, place.head)
    old = sum(net.head(one).num_classes for one in place.old)
    made = stage(name, net, listed, learn, trains(net, place, learn), {"sigmoids": SigmoidList(listed.name, heads)})
    if not old:
        return made
    teacher = answers_on(made, net, [old_network(net, place.old)])[0]
    return replace(made, terms={"sigmoids": SigmoidList(listed.name, heads, teacher, old=old)})


def old_network(net: Net, heads: Sequence[str]) -> Live:
    """A frozen copy of the net as it is now, whose one head gives the logits of `heads` side by side."""
    made = copy.deepcopy(net)
    joined = join_heads(made, heads, "_".join(("old", *heads)))
    for name in list(made.heads):
        if name != joined:
            del made.heads[name]
    return Live(made, joined)
