"""From a network to a graph of operators (`torch.export`), for any batch; what stands in the way is named."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator

import torch
from torch.export import Dim, ExportedProgram

from headstart.errors import BackboneError
from headstart.export.deployed import INPUT, Deployed
from headstart.nets.rng import forked

LARGEST_BATCH = 1 << 16


def traced(deployed: Deployed, name: str) -> ExportedProgram:
    """The graph of a network in eval mode, its first dimension free.

    Raises BackboneError for a network whose code cannot be written as a graph, naming the line, and for one that works for
    one size of batch only.
    """
    batch = Dim("batch", min=1, max=LARGEST_BATCH)
    try:
        with quiet(), forked(0), torch.no_grad():
            program = torch.export.export(deployed, (deployed.example(),), dynamic_shapes={INPUT: {0: batch}})
    except Exception as error:  # the tracer raises whatever the network's own code does
        raise BackboneError(_untraceable(name, error)) from error
    for node in program.graph.nodes:
        # Paths of this machine, which are nobody's business elsewhere.
        for what in ("stack_trace", "from_node"):
            node.meta.pop(what, None)
    return program


def _untraceable(name: str, error: Exception) -> str:
    said = str(error)
    if "specialized it to be a constant" in said or "Constraints violated" in said:
        why = "its code works for one size of batch only, e.g. by a reshape to fixed numbers or by len() of a tensor"
        remedy = "write -1, or x.shape[0], where the batch goes"
    elif "data-dependent" in said:
        why = "what its code does depends on the values it sees, e.g. by an `if` on a tensor"
        remedy = "use torch.where, or torch.cond"
    else:
        why = f"{type(error).__name__}: {_first_line(said)}"
        remedy = "the operator or the Python code named there has to be replaced"
    line = re.findall(r'File "([^"]+)", line (\d+), in (\w+)', said)
    place = f" ({line[-1][0].rpartition('/')[2]}, line {line[-1][1]}, in {line[-1][2]})" if line else ""
    return f"{name} cannot be exported: {why}{place}; {remedy}"


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:300] if lines else "no reason was given"


def block_with(program: ExportedProgram, operator: str) -> str | None:
    """The block of the network in which an operator (`aten.topk`) stands; None when that cannot be told."""
    with quiet():
        simpler = program.run_decompositions()  # the operator may be what another one is made of
    for node in (*program.graph.nodes, *simpler.graph.nodes):
        if operator in str(node.target):
            paths = [str(path) for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
            found = [re.search(r"blocks\.(\w+)", path) for path in reversed(paths) if "blocks." in path]
            return found[0][1] if found and found[0] else None
    return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """PyTorch's remarks to its own developers kept to itself: what concerns the user is raised as an error."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
