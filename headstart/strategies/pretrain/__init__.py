"""Ways to pretrain a backbone: `method(net, data, cfg)` yields stages that train every block; nothing is kept but these.

`data` is a task whose labels may all be unknown. What a method needs besides the backbone (projection heads, predictors,
queues, momentum copies, prototypes) lives in its term and goes when it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from headstart.stage import Solve, Stage
from headstart.strategies.pretrain.amdim import amdim
from headstart.strategies.pretrain.barlow import barlow
from headstart.strategies.pretrain.byol import byol
from headstart.strategies.pretrain.cpc import cpc
from headstart.strategies.pretrain.deepcluster import deepcluster
from headstart.strategies.pretrain.dino import dino
from headstart.strategies.pretrain.greedy import greedy
from headstart.strategies.pretrain.jigsaw import jigsaw
from headstart.strategies.pretrain.mae import mae
from headstart.strategies.pretrain.moco import moco
from headstart.strategies.pretrain.relative_position import relative_position
from headstart.strategies.pretrain.rotation import rotation
from headstart.strategies.pretrain.simclr import simclr
from headstart.strategies.pretrain.simsiam import simsiam
from headstart.strategies.pretrain.supervised import supervised
from headstart.strategies.pretrain.swav import swav
from headstart.strategies.pretrain.triplet import triplet
from headstart.strategies.pretrain.vicreg import vicreg

Pretrain = Callable[..., Iterator[Stage | Solve]]

PRETRAIN: dict[str, Pretrain] = {
    "supervised": supervised,
    "greedy": greedy,
    "byol": byol,
    "simsiam": simsiam,
    "barlow": barlow,
    "vicreg": vicreg,
    "dino": dino,
    "deepcluster": deepcluster,
    "swav": swav,
    "mae": mae,
    "simclr": simclr,
    "moco": moco,
    "triplet": triplet,
    "rotation": rotation,
    "relative_position": relative_position,
    "jigsaw": jigsaw,
    "cpc": cpc,
    "amdim": amdim,
}
"""Method by name; the names of `catalog/pretrain_methods.py`."""

__all__ = ["PRETRAIN", "Pretrain"]
