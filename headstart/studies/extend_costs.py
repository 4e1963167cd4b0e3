"""What learning one task more costs: operations by what they were for, old samples needed, bytes kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from headstart.engine.fit import FitResult, Machine
from headstart.engine.past import Past
from headstart.engine.run import Result
from headstart.engine.sampler import plan_for
from headstart.nets.cost import block_flops
from headstart.nets.net import Net
from headstart.stage import Solve, Stage
from headstart.studies.costs import inference_flops, solve_parts, stage_parts


def inference_of(net: Net, past: Past) -> float:
    """Operations of one answer: about one task, the deepest, or over the one list of classes."""
    heads = (past.one_list,) if past.one_list is not None else past.heads
    flops = block_flops(net)
    each = [inference_flops(net, head, flops) for head in heads]
    return float(max(each))


def needed_of(past: Past) -> dict[str, Any]:
    """Old samples that an increment can learn from."""
    if past.old:
        size = sum(len(task) * int(task.store.array[:1].nbytes) for task in past.old)
        return {"what": "old data", "images": sum(len(task) for task in past.old), "bytes": size}
    if past.memory is not None and len(past.memory):
        return {"what": "stored samples", "images": len(past.memory), "bytes": past.memory.bytes}
    return {"what": "none", "images": 0, "bytes": 0}


class Spent:
    """Counts what an increment costs while its stages pass by; nothing is carried out for it."""

    def __init__(self, net: Net, past: Past, machine: Machine) -> None:
        self.net, self.past, self.machine = net, past, machine
        self.stages: list[tuple[int, dict[str, float]]] = []
        past.spent.clear()

    def counting(self, stages: Iterator[Stage | Solve]) -> Iterator[Stage | Solve]:
        """The same stages."""
        for stage in stages:
            flops = block_flops(self.net)
            if isinstance(stage, Solve):
                self.stages.append((0, solve_parts(self.net, stage, flops)))
            else:
                self.stages.append((plan_for(stage, 0).steps, stage_parts(self.net, stage, self.machine, flops)))
            yield stage

    def total(self, head: str, results: Sequence[Result] = ()) -> dict[str, Any]:
        """Operations by what they were for. A backward pass between stages costs two forward passes.

        head     answers the new task; passes between stages go through it
        results  of the stages: one that stopped early did as many of its steps as it says
        """
        parts: dict[str, float] = {}
        for number, (steps, found) in enumerate(self.stages):
            result = results[number] if number < len(results) else None
            done = result.steps / steps if isinstance(result, FitResult) and steps else 1.0
            for name, value in found.items():
                parts[name] = parts.get(name, 0.0) + done * value
        each = inference_flops(self.net, head)
        for name, (forward, backward) in self.past.spent.items():
            parts[name] = parts.get(name, 0.0) + each * (forward + 2 * backward)
        return {"parts": parts, "training": sum(parts.values())}


def stored_of(net: Net, past: Past) -> dict[str, int]:
    """Bytes of everything that the model keeps, by what it is."""

    def size(module: torch.nn.Module) -> int:
        tensors = {tensor.data_ptr(): tensor for tensor in (*module.parameters(), *module.buffers())}
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

    parts = {
        "network": size(net.blocks),
        "heads": size(net.heads),
        "state": past.bytes_of_state(),
        "memory": past.bytes_of_memory(),
    }
    return {**parts, "bytes": sum(parts.values()), "parameters": sum(p.numel() for p in net.parameters())}
