"""Weights held near those the task began with, all alike."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.regularised import L2spConfig
from headstart.data.task import Task
from headstart.engine.past import Past
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.continual.common import new_loss, settle, stage, trains
from headstart.strategies.continual.held import anchored, no_decay, warm_up, weights_now
from headstart.terms.base import Term
from headstart.terms.penalty import Penalty


def l2sp(net: Net, task: Task, cfg: L2spConfig | None = None, *, past: Past) -> Iterator[Stage]:
    """alpha/2 ||w - w*||^2 on what was there before, beta/2 ||w_new||^2 on the new head (Li, Grandvalet & Davoine 2018).

    w* are the weights when the task begins. Both stand in place of the optimiser's weight decay. Everything under a penalty
    counts, biases and normalisation too, as the paper's w does. The first task is learned with ordinary weight decay, unless
    `from_start` holds it to the weights that the model came with.
    """
    cfg = cfg or L2spConfig()
    problems(ConfigError, "l2sp cannot be done as asked:", cfg.faults())
    place = settle("l2sp", net, task, past, cfg.learn)
    terms: dict[str, Term] = {"new": new_loss(task, place, cfg.learn)}
    what = trains(net, place, cfg.learn)
    if past.tasks or cfg.from_start:
        yield from warm_up(net, task, place, cfg.learn, cfg.warmup_epochs, past)
        live = anchored(net, place, cfg.learn, past)
        terms["old"] = Penalty(live, cfg.strength, anchors=weights_now(net, list(live)))
        head = {f"heads.{place.head}.{name}": one for name, one in net.head(place.head).named_parameters()}
        if not set(head) <= set(live):
            terms["head"] = Penalty(head, cfg.head_strength)
        what = no_decay(what, list(what))
    yield stage("l2sp", net, task, cfg.learn, what, terms)
