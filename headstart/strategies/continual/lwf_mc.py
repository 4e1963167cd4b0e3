"""Learning without Forgetting, multi-class: iCaRL without exemplars."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.rehearsal import LwfMcConfig
from headstart.data.task import Task
from headstart.engine.past import Past
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.continual.common import settle
from headstart.strategies.continual.sigmoids import all_classes, learning, recipe_faults


def lwf_mc(net: Net, task: Task, cfg: LwfMcConfig | None = None, *, past: Past) -> Iterator[Stage]:
    """Sigmoid outputs learn new classes from labels and old ones from the old network, on the new data alone.

    Rebuffi et al. 2017, section 4 (LwF.MC). The answer is the class with the largest output, over all heads side by side.
    """
    cfg = cfg or LwfMcConfig()
    problems(ConfigError, "lwf_mc cannot be done as asked:", recipe_faults(cfg.learn.recipe))
    place = settle("lwf_mc", net, task, past, cfg.learn)
    yield learning("lwf_mc", net, all_classes(past, task), cfg.learn, place)
