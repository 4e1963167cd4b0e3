"""What the server of processes loads before it starts any, so that what a test starts begins with its own work."""

from __future__ import annotations

import torch
import torch._dynamo  # the first optimiser of a process imports it

import headstart.api
import headstart.studies.adapt
from headstart.nets.cost import block_flops
from tests.contracts import weighed
from tests.engine import holding, killable, together, towered
from tests.failures import killable as commands
from tests.strategies.pretrain import pretext_together, with_negatives, without_negatives
from tests.terms import gathering

__all__ = ["commands", "gathering", "headstart", "holding", "pretext_together", "together", "towered", "weighed"]
__all__ += ["with_negatives", "without_negatives"]

torch.set_num_threads(1)
block_flops(killable.CASE.net())  # compiles what a process compiles only once
