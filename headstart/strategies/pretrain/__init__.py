"""Ways to pretrain a backbone: `method(net, data, cfg)` yields stages that train every block; nothing is kept but these.

`data` is a task whose labels may all be unknown. What a method needs besides the backbone (projection heads, predictors,
queues, momentum copies, prototypes) lives in its term and goes when it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from headstart.stage import Solve, Stage

Pretrain = Callable[..., Iterator[Stage | Solve]]

PRETRAIN: dict[str, Pretrain] = {}
"""Method by name; the names of `catalog/pretrain_methods.py`."""

__all__ = ["PRETRAIN", "Pretrain"]
