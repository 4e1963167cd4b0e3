"""A small deterministic run in a process of its own, for tests that kill it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from headstart.engine.checkpoint import save_state
from headstart.engine.fit import Machine
from headstart.engine.log import RunLog
from headstart.engine.run import Drive, memo
from headstart.nets.net import Net
from headstart.stage import Solve, Stage
from tests.engine.engine_toys import Case

CASE = Case("gradual", "images")
RECIPE = {"epochs": 12, "views": 2, "average": 0.9, "mixup": 0.0, "smoothing": 0.1}


def stages(net: Net) -> Iterator[Stage | Solve]:
    """Gradual unfreezing with a cached prefix, a weight average, and something remembered between stages."""
    for stage in with_memo(net, CASE.stages(net, **RECIPE)):
        yield replace(stage, cache="on") if isinstance(stage, Stage) else stage


def with_memo(net: Net, given: Iterable[Stage | Solve]) -> Iterator[Stage | Solve]:
    """Work between two stages whose outcome the next one needs: the head starts from what was remembered."""
    for number, stage in enumerate(given):
        kept = memo(f"scale-{number}", lambda: {"bias": net.head("toy").linear.bias.detach() * 0.5})
        with torch.no_grad():
            net.head("toy").linear.bias.copy_(kept["bias"])
        yield stage


def run(folder: Path) -> None:
    """The whole run, continued where it was; its final weights go to `final.safetensors`.

    What a process does only once, and takes long over, is done by the server of processes: moments fall into the run itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"started-{os.getpid()}").touch()
    began = time.monotonic()
    net = CASE.net()
    machine = Machine(cache=folder / "cache", checkpoint_every=0.0)
    Drive(net, machine=machine, folder=folder, log=RunLog(folder / "log.jsonl")).run(stages(net))
    save_state(folder / "final.safetensors", {"net": net.state_dict(), "seconds": time.monotonic() - began})
