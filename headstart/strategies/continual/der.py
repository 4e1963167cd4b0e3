"""Dark experience replay, with and without labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from headstart.catalog.rehearsal import DerConfig, DerppConfig
from headstart.data.task import Task
from headstart.engine.past import Past
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.continual.common import new_loss, settle, stage, trains
from headstart.strategies.continual.memories import check_room, draws, heads_of, held_before, with_old_answers
from headstart.terms.dark import Dark


def der(net: Net, task: Task, cfg: DerConfig | None = None, *, past: Past) -> Iterator[Stage]:
    """Beside the new task, match the logits that the net gave for stored samples when it trained on them.

    Buzzega et al. 2020, algorithm 1. The memory is a reservoir over the stream of training batches, so that samples of the
    present task are replayed too. Of old tasks that it holds nothing of, and whose data are given, it takes samples with the
    net's answers of now. Heads grow with the tasks: see `terms/dark.py` for what is compared with those that an
    answer does not know.
    """
    cfg = cfg or DerConfig()
    yield from _dark("der", net, task, cfg, past, beta=0.0)


def derpp(net: Net, task: Task, cfg: DerppConfig | None = None, *, past: Past) -> Iterator[Stage]:
    """As `der`, with the labels of a second, independent draw of stored samples besides (algorithm 2, DER++)."""
    cfg = cfg or DerppConfig()
    yield from _dark("derpp", net, task, cfg, past, beta=cfg.beta)


def _dark(method: str, net: Net, task: Task, cfg: DerConfig | DerppConfig, past: Past, *, beta: float) -> Iterator[Stage]:
    if cfg.learn.recipe.mixup:
        raise ConfigError(
            f"mixup={cfg.learn.recipe.mixup}: {method} stores single samples with the net's answers on them, and has none "
            "where images are mixed; use mixup=0"
        )
    known = len(task.classes) if past.scenario == "domain" else len(past.classes) + len(task.classes)
    check_room(method, task, past, capacity=cfg.capacity, max_bytes=cfg.max_bytes, answers=known)
    place = settle(method, net, task, past, cfg.learn)
    new = {"new": new_loss(task, place, cfg.learn)}
    past.memory = with_old_answers(net, task, past, cfg.capacity, cfg.learn.recipe.epochs)
    held = held_before(past, task, cfg.capacity)
    if not cfg.capacity:
        yield stage(method, net, task, cfg.learn, trains(net, place, cfg.learn), new)
        past.memory = held
        return
    made = stage(method, net, task, cfg.learn, trains(net, place, cfg.learn, old_heads=True), new)
    heads = heads_of(net, place, past)
    how = draws(past, made, cfg.replay_size)
    dark = Dark(task, held, len(past.tasks), heads, how, alpha=cfg.alpha, beta=beta)
    yield replace(made, terms={**new, "dark": dark})
    past.memory = dark.kept()
