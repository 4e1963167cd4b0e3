"""One gradient of each made-up question, by one process or by two, for a test that compares them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist

from headstart.engine.checkpoint import save_state
from headstart.engine.fit import fit
from headstart.stage import Budget, Stage
from headstart.strategies.pretrain import PRETRAIN
from tests.engine.engine_toys import state
from tests.engine.together import PLAIN_SGD
from tests.strategies.pretrain.pretrain_toys import TOYS, images

METHODS = ("rotation", "relative_position", "jigsaw")


def gradients(name: str) -> dict[str, Any]:
    """The net and the term's head after one step of plain SGD on 7 images, which two processes share unevenly."""
    toy = TOYS[name]
    net = toy.net()
    stage = next(PRETRAIN[name](net, images(toy), toy.config))
    assert isinstance(stage, Stage)
    fit(net, replace(stage, optimizer=PLAIN_SGD, budget=Budget(steps=1), batch_size=7))
    (term,) = stage.terms.values()
    return {"net": state(net), "term": state(term)}


def process(rank: int, folder: Path) -> None:
    """What each of the two processes does; what it has at the end goes to a file of its own."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        found = {name: gradients(name) for name in METHODS}
    finally:
        dist.destroy_process_group()
    save_state(folder / f"{rank}.safetensors", found)
