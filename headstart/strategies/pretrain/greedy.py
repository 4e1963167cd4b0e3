"""Learn layer by layer: a shallow network first, then one block more, and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, get_args, get_type_hints

from headstart.catalog.greedy import GreedyConfig, SupervisedConfig
from headstart.catalog.pretraining import Schooling
from headstart.data.task import Task
from headstart.engine.run import under_way
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.stage import Adapt, Solve, Stage, Train
from headstart.strategies.common import weighted_blocks
from headstart.strategies.pretrain.kept import Kept, ends, room_for
from headstart.strategies.pretrain.supervised import classes_learned

Objective = Callable[..., Iterator[Stage | Solve]]
Learn = Callable[[Net, Task, Schooling], Iterator[Stage | Solve]]


def greedy(
    net: Net, data: Task, cfg: GreedyConfig | None = None, *, objective: Objective | None = None, settings: Any = None
) -> Iterator[Stage | Solve]:
    """Train the first block with a head of its own; freeze it, put the next block on it, train only that one with a fresh
    head, and so on; at the end all blocks together at a smaller rate (Bengio et al. 2007; supervised: Belilovsky et al. 2019
    without their auxiliary layers; with a contrastive objective in the spirit of Loewe et al. 2019, who do not freeze).

    While a block learns, the network ends with it: what an objective reads is the newest block, pooled. Renderings of the
    images are drawn once, so many of every view, and kept as what the frozen blocks make of them: a block that has learned
    runs once over what the block below put out, and what that one put out is forgotten. Where nothing can be kept (no cache,
    fresh views, an objective that hides parts of the image from the blocks) the frozen blocks run at every step.

    objective  a way to pretrain in place of the one that `cfg.objective` names
    settings   its settings; None: its own. How long and how fast it learns is greedy pretraining's to say

    Raises ConfigError where not even one rendering has room (`cfg.room`).
    """
    cfg = cfg or GreedyConfig()
    learn = objective_of(cfg, objective, settings)
    names, whole = weighted_blocks(net), Net(dict(net.blocks), net.input, net.info, net.source)
    kept: Kept | None = None
    for number, name in enumerate(names):
        with shortened(net, name):
            for stage in learn(net, data, cfg.school):
                if isinstance(stage, Stage):
                    kept = kept or room_for(whole, stage, cfg)
                    stage = _only(stage, whole, number, kept)
                yield stage
        if kept is not None and number == 0:  # now, because a run may make its first stage before it keeps a log
            under_way(net).log.event(kept.kind, key="kept", text=kept.text)
    if cfg.together:
        for stage in learn(net, data, replace(cfg.school, epochs=cfg.together)):
            yield _all(stage, cfg) if isinstance(stage, Stage) else stage


def objective_of(cfg: GreedyConfig, given: Objective | None = None, settings: Any = None) -> Learn:
    """What each block learns: stages for a net, images, and how long and fast.

    Raises ConfigError for a name that no way to pretrain has.
    """
    if given is None and cfg.objective == "supervised":
        return lambda net, data, school: classes_learned(
            "supervised", net, data, SupervisedConfig(school, mirror=cfg.mirror)
        )
    method = given or _named(cfg.objective)
    own = settings_of(method)() if settings is None else settings
    return lambda net, data, school: method(net, data, replace(own, school=school))


def _named(name: str) -> Objective:
    from headstart.strategies.pretrain import PRETRAIN  # it lists this method too

    if name not in PRETRAIN or name == "greedy":
        there = ", ".join(sorted({"supervised", *PRETRAIN} - {"greedy"}))
        raise ConfigError(f"objective={name} is no way to pretrain; there are {there}")
    return PRETRAIN[name]


def settings_of(method: Objective) -> Any:
    """The dataclass of a way to pretrain: what its argument `cfg` is, where one is given."""
    hint = get_type_hints(method)["cfg"]
    return next(one for one in (*get_args(hint), hint) if one is not type(None))


@contextmanager
def shortened(net: Net, last: str) -> Iterator[None]:
    """Inside, the network ends with block `last`; afterwards it is whole again."""
    names = net.block_names
    later = {name: net.blocks[name] for name in names[names.index(last) + 1 :]}
    for name in later:
        del net.blocks[name]
    try:
        yield
    finally:
        net.blocks.update(later)


def _only(stage: Stage, whole: Net, number: int, kept: Kept) -> Stage:
    """The same stage in which of the backbone only the newest block learns, on what is kept."""
    newest = weighted_blocks(whole)[number]
    trains: dict[str, float | Train | Adapt] = {
        name: rule for name, rule in stage.trains.items() if not name.startswith("blocks.") or name == f"blocks.{newest}"
    }
    return replace(
        stage,
        name=f"{number + 1}-{newest}-{stage.name}",
        trains=trains,
        views=kept.views(stage.views),
        cache="on" if kept.cached else "off",
        below=ends(whole)[number - 1] if number else None,
    )


def _all(stage: Stage, cfg: GreedyConfig) -> Stage:
    """The same stage for every block, at the smaller rate; what is new in it (heads, projections) at the full one."""
    slow = {
        name: rule * cfg.together_scale if isinstance(rule, (int, float)) and name.startswith("blocks.") else rule
        for name, rule in stage.trains.items()
    }
    return replace(stage, name=f"together-{stage.name}", trains=slow)
