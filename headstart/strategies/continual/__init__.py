"""Methods that teach a model one more task: one generator per file, and a plain dict of them.

Each is called `(net, task, config, past=past)`, where `net` has learned what `past` says. When its last stage is done it has
left in `past.state` and `past.memory` what it will need at the next task; who drives it adds the task to `past.tasks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from headstart.stage import Solve, Stage
from headstart.strategies.continual.agem import agem
from headstart.strategies.continual.der import der, derpp
from headstart.strategies.continual.ewc import ewc
from headstart.strategies.continual.expand import expand
from headstart.strategies.continual.feature_extraction import feature_extraction
from headstart.strategies.continual.fine_tune import fine_tune
from headstart.strategies.continual.icarl import icarl
from headstart.strategies.continual.joint import joint
from headstart.strategies.continual.l2sp import l2sp
from headstart.strategies.continual.lwf import lwf
from headstart.strategies.continual.lwf_mc import lwf_mc
from headstart.strategies.continual.mas import mas
from headstart.strategies.continual.new_head import new_head
from headstart.strategies.continual.packnet import packnet
from headstart.strategies.continual.replay import replay
from headstart.strategies.continual.si import si

Extender = Callable[..., Iterator[Stage | Solve]]

CONTINUAL: dict[str, Extender] = {
    "fine_tune": fine_tune,
    "si": si,
    "mas": mas,
    "l2sp": l2sp,
    "feature_extraction": feature_extraction,
    "ewc": ewc,
    "lwf": lwf,
    "packnet": packnet,
    "replay": replay,
    "der": der,
    "derpp": derpp,
    "agem": agem,
    "icarl": icarl,
    "lwf_mc": lwf_mc,
    "new_head": new_head,
    "expand": expand,
    "joint": joint,
}
"""Name -> generator function `(net, task, config, *, past) -> stages`; their configs are in `catalog/`."""

__all__ = ["CONTINUAL", "Extender"]
