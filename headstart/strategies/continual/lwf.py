"""Learning without Forgetting: the old answers to the new images are kept, the old images are not needed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

from headstart.catalog.continual import LwfConfig
from headstart.data.task import Task
from headstart.engine.past import Past
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.continual.common import new_loss, settle, stage, trains
from headstart.strategies.teaching import answers_on
from headstart.terms.base import Term
from headstart.terms.listed import OldAnswers
from headstart.terms.teacher import Live


def lwf(net: Net, task: Task, cfg: LwfConfig | None = None, *, past: Past) -> Iterator[Stage]:
    """Record what the old heads say about the new images, warm the new head up, then train everything at a low rate.

    Li & Hoiem 2016, in their order: the answers are recorded on the plain images before any training and compared with
    those on the augmented ones; in the warm-up only theta_n trains; in the joint stage theta_s, theta_o and theta_n, with
    lambda_o times the temperature cross-entropy of every old head beside the new task's cross-entropy.

    Where all tasks share one head (domain-incremental) it is old and new at once: there is nothing to warm up, and its own
    recorded answers hold it. Where all classes make one list (class-incremental), which Li & Hoiem do not treat, the new
    task's cross-entropy goes over all classes, and the old answers are one softmax: over all classes, the new ones with
    probability zero (`new_as_zero`; van de Ven & Tolias 2019), or over the old ones alone. The first task is simply
    learned, as fine-tuning does. Old questions with several yes/no answers, or a number, are held as `OldAnswers` says.

    Deviations: momentum is Nesterov's; the rate of the joint stage is `learn.scale` times the recipe's for all.
    """
    cfg = cfg or LwfConfig()
    problems(ConfigError, "lwf cannot be done as asked:", cfg.faults())
    place = settle("lwf", net, task, past, cfg.learn)
    terms: dict[str, Term] = {"new": new_loss(task, place, cfg.learn)}
    if not past.tasks:
        yield stage("learn", net, task, cfg.learn, trains(net, place, cfg.learn), terms)
        return
    everything = trains(net, place, cfg.learn, old_heads=True)
    warmed = place.head not in past.heads and cfg.warmup_epochs != 0
    if warmed or place.head in past.heads:
        everything[f"heads.{place.head}"] = cfg.learn.scale
    joint = stage("joint", net, task, cfg.learn, everything, terms, epochs=cfg.joint_epochs, carry=warmed)
    old = _old_answers(net, joint, cfg, past, place.head)
    if warmed:
        alone = trains(net, place, replace(cfg.learn, scale=0.0))
        yield stage("warm_up", net, task, cfg.learn, alone, terms, epochs=cfg.warmup_epochs)
    yield replace(joint, terms={**terms, "old": old})


def _old_answers(net: Net, joint: Stage, cfg: LwfConfig, past: Past, new: str) -> OldAnswers:
    """The term that holds the old heads to what they say now, recorded in one pass for all of them."""
    heads = past.heads
    before = copy.deepcopy(net)
    for name in [name for name in before.heads if name not in heads]:
        del before.heads[name]
    if joint.data.store.is_image:
        # A teacher resizes what it is shown to its own size; this one must see the very pixels that the net sees.
        before.input = replace(before.input, size=joint.data.store.array.shape[1])
    teacher = Live(before, heads[-1], beside=heads[:-1])
    kinds = {one.head: one.kind for one in past.tasks}
    answers = answers_on(joint, net, [teacher], live=0 if cfg.record else 1, plain=True)[0]
    if not isinstance(answers, Live):
        past.spend("old answers recorded", forward=len(joint.data))
    return OldAnswers(
        joint.data.name,
        answers,
        heads,
        one_list=past.scenario == "class",
        absent=(new,) if past.scenario == "class" and cfg.new_as_zero else (),
        temperature=cfg.temperature,
        weight=cfg.old_weight,
        kinds=[kinds[head] for head in heads],
    )
