"""Run a traced graph on pretended tensors of several batch and image sizes, to learn the shape of every value in it.

As a rule nothing is computed: shapes are propagated. Also learned: which operation writes into which earlier value.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.nets.trace import Trace, mode

BATCHES = (2, 3)
"""Batch sizes pretended: a number that follows them is the batch size."""


@dataclass(frozen=True)
class Shape:
    """Shape of a tensor value, and whether it holds floating-point numbers."""

    sides: tuple[int, ...]
    floating: bool


@dataclass
class Values:
    """What every node of a graph gives, in each of several runs.

    runs     per run: node -> `Shape`, a plain value (numbers, None, and tuples of them), or `OTHER`
    written  node -> later nodes that write into its memory
    flexible whether the last run, with the image's sides doubled, was possible
    """

    runs: list[dict[fx.Node, Any]]
    flexible: bool
    written: dict[fx.Node, list[fx.Node]] = field(default_factory=dict)


class Other:
    """A value that cannot cross a cut: a list of tensors, a dictionary, an object."""


OTHER = Other()


def _describe(value: Any) -> Any:
    if isinstance(value, Tensor):
        return Shape(tuple(int(side) for side in value.shape), value.is_floating_point())
    if value is None or isinstance(value, (bool, int, float, str, torch.dtype, torch.device)):
        return value
    if isinstance(value, (tuple, list)):
        parts = tuple(_describe(part) for part in value)
        return OTHER if any(isinstance(part, (Shape, Other)) for part in parts) else parts
    return OTHER


class _Recorder(fx.Interpreter):
    def __init__(self, root: torch.nn.Module, graph: fx.Graph) -> None:
        super().__init__(root, garbage_collect_values=False, graph=graph)
        self.found: dict[fx.Node, Any] = {}
        self.written: dict[fx.Node, list[fx.Node]] = {}
        self._tensors: dict[fx.Node, tuple[Tensor, int]] = {}

    def run_node(self, n: fx.Node) -> Any:
        inputs = [self._tensors[source][0] for source in n.all_input_nodes if source in self._tensors]
        before = [tensor._version for tensor in inputs]
        value = super().run_node(n)
        self.found[n] = _describe(value)
        if before != [tensor._version for tensor in inputs]:
            self._note_writes(n)
        if isinstance(value, Tensor):
            self._tensors[n] = (value, value._version)
        return value

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module = self.fetch_attr(target)
        if isinstance(module, _BatchNorm) and isinstance(args[0], FakeTensor):
            return torch.empty_like(args[0])  # as large as what it is given; pretending in full takes most of the time
        return super().call_module(target, args, kwargs)

    def _note_writes(self, writer: fx.Node) -> None:
        # Views share a version counter, so every value that lives in the written memory is found.
        for node, (tensor, version) in self._tensors.items():
            if tensor._version != version:
                self.written.setdefault(node, []).append(writer)
                self._tensors[node] = (tensor, tensor._version)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's log of shapes that do not fit: whether they do is the question asked here."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _run(trace: Trace, sides: Sequence[int]) -> _Recorder:
    """One run on pretended tensors; on real ones where the network looks at values, which pretended ones do not have."""
    recorder = _Recorder(trace.root, trace.graph)
    try:
        with mode(trace.root, False), torch.no_grad(), _quiet(), FakeTensorMode(allow_non_fake_inputs=True):
            recorder.run(torch.zeros(*sides))
        return recorder
    except (DataDependentOutputException, DynamicOutputShapeException):
        recorder = _Recorder(trace.root, trace.graph)
        with mode(trace.root, False), torch.no_grad():
            recorder.run(torch.linspace(-1, 1, math.prod(sides)).reshape(*sides))
        return recorder


def values_of(trace: Trace, sides: Sequence[int]) -> Values:
    """Shapes of all values for inputs `[B, *sides]` with B in `BATCHES`, and with doubled image sides where that works.

    Raises whatever the network raises on an input of this size.
    """
    first = _run(trace, (BATCHES[0], *sides))
    found = Values([first.found, _run(trace, (BATCHES[1], *sides)).found], False, first.written)
    if len(sides) == 3:
        try:
            doubled = _run(trace, (BATCHES[0], sides[0], 2 * sides[1], 2 * sides[2]))
        except Exception:  # any error means that this network takes one size only
            return found
        found.runs.append(doubled.found)
        found.flexible = True
    return found


def layout_of(node: fx.Node, values: Values) -> tuple[str, int] | None:
    """Layout (see `heads.pool`) and channels of a node's value; None where it is no batch of vectors, tokens or maps."""
    shapes = [run[node] for run in values.runs]
    if not all(isinstance(shape, Shape) and shape.floating for shape in shapes):
        return None
    one, two = shapes[0].sides, shapes[1].sides
    if not 2 <= len(one) <= 4 or (one[0], two[0]) != BATCHES or one[1:] != two[1:]:
        return None
    grown = [d for d in range(1, len(one)) if values.flexible and shapes[2].sides[d] != one[d]]
    if values.flexible and shapes[2].sides[0] != BATCHES[0]:
        return None
    if len(one) == 2:
        return None if grown else ("nc", one[1])
    if len(one) == 3:
        return None if grown == [2] else ("nlc", one[2])
    return _layout_of_map(one, grown)


def _layout_of_map(sides: tuple[int, ...], grown: list[int]) -> tuple[str, int] | None:
    if grown in ([2, 3], [1, 2]):
        return ("nchw", sides[1]) if grown == [2, 3] else ("nhwc", sides[3])
    if grown:
        return None
    # The size could not be varied (or is pooled away): maps are square, channels as a rule another number.
    if sides[2] == sides[3]:
        return "nchw", sides[1]
    return ("nhwc", sides[3]) if sides[1] == sides[2] else None
