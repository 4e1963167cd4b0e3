"""Take the classifier off a traced network, so that what remains gives pooled features."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from headstart.errors import BackboneError
from headstart.nets.heads import pool
from headstart.nets.shapes import Shape, Values, layout_of, values_of
from headstart.nets.trace import Trace, mode

_AFTER_LINEAR: tuple[Any, ...] = (nn.Softmax, nn.LogSoftmax, nn.Dropout, nn.Identity, nn.Flatten)
_AFTER_LINEAR_CALLS = ("flatten", "squeeze", "softmax", "log_softmax", "view", "reshape", "dropout")


class PoolPlaces(nn.Module):
    """Average maps or tokens of a known layout over their places: `[N, C]`."""

    def __init__(self, layout: str) -> None:
        super().__init__()
        self.layout = layout

    def forward(self, x: Tensor) -> Tensor:
        return pool(x, self.layout)

    def extra_repr(self) -> str:
        return self.layout


@dataclass
class Stripped:
    """What was taken off: a plain linear classifier on the features, or None; and what to tell the user."""

    classifier: nn.Linear | None = None
    notes: list[str] = field(default_factory=list)


def strip(found: Trace, keep: bool) -> Stripped:
    """Make the trace end in what the classifier read.

    A last linear layer on vectors is taken off and returned. So is a last 1x1 convolution to maps that are only pooled
    afterwards (it is not returned: it reads places, not pooled features). With `keep` nothing is taken off.
    """
    stripped = Stripped()
    output = found.output
    if len(output.all_input_nodes) != 1 or output.args[0] is not output.all_input_nodes[0]:
        kind = type(found.root.net).__name__
        raise BackboneError(f"{kind} gives several values; a network that gives one tensor is needed")
    if not keep:
        node = _classifier_node(found)
        if node is not None:
            module = found.root.get_submodule(str(node.target))
            if isinstance(module, nn.Linear):
                stripped.classifier = module
            else:
                stripped.notes.append(f"the convolutional classifier {str(node.target).removeprefix('net.')} was taken off")
            _end_at(found, node.all_input_nodes[0])
    return stripped


def unplug(net: nn.Module, sides: tuple[int, ...]) -> nn.Linear | None:
    """Put an identity in the place of a linear classifier without a graph to look at; returns the classifier.

    It is one when what the network gives for an input is the very tensor that its last linear layer made.
    """
    layers = [(path, part) for path, part in net.named_modules() if type(part) is nn.Linear]
    if not layers or not layers[-1][0]:
        return None
    path, layer = layers[-1]
    made: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, args, out: made.append(out))
    try:
        with mode(net, False), torch.no_grad():
            given = net(torch.linspace(-1, 1, 2 * math.prod(sides)).reshape(2, *sides))
    finally:
        hook.remove()
    if len(made) != 1 or given is not made[0] or given.dim() != 2:
        return None
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, nn.Identity().train(layer.training))
    return layer


def _end_at(found: Trace, node: fx.Node) -> None:
    found.output.args = (node,)
    for dead in reversed(found.graph.nodes):
        if dead.op not in ("placeholder", "output") and not dead.users:
            found.graph.erase_node(dead)


def _classifier_node(found: Trace) -> fx.Node | None:
    """The last layer with weights, if it is a classifier: nothing but reshaping, dropout, softmax or pooling follows it."""
    node = found.output.all_input_nodes[0]
    passed: list[fx.Node] = []
    while node.op != "placeholder":
        module = found.root.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.Linear):
            return node if all(_harmless(found, after) for after in passed) else None
        if isinstance(module, nn.Conv2d):
            return node if module.kernel_size == (1, 1) and any(_pools(found, after) for after in passed) else None
        weighty = module is not None and next(module.parameters(), None) is not None
        tensors = [source for source in node.all_input_nodes if source.op != "get_attr"]
        if weighty or len(tensors) != 1 or len(tensors) != len(node.all_input_nodes):
            return None
        passed.append(node)
        node = tensors[0]
    return None


def _harmless(found: Trace, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(found.root.get_submodule(str(node.target)), _AFTER_LINEAR)
    return getattr(node.target, "__name__", str(node.target)) in _AFTER_LINEAR_CALLS


def _pools(found: Trace, node: fx.Node) -> bool:
    if node.op == "call_module":
        module = found.root.get_submodule(str(node.target))
        return isinstance(module, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)) or "Pool" in type(module).__name__
    return node.target in (F.avg_pool2d, F.adaptive_avg_pool2d, "mean")


def pooled_values(found: Trace, sides: tuple[int, ...]) -> Values:
    """The shapes in the trace, after appending an average over places where it ends in maps or tokens."""
    values = values_of(found, sides)
    end = found.output.all_input_nodes[0]
    known = layout_of(end, values)
    if known is None:
        shape = values.runs[0][end]
        said = list(shape.sides) if isinstance(shape, Shape) else "no tensor"
        raise BackboneError(f"{type(found.root.net).__name__} ends in {said} for a batch of two; [N, D] features are needed")
    if known[0] == "nc":
        return values
    found.root.add_module("features_pool", PoolPlaces(known[0]))
    with found.graph.inserting_before(found.output):
        new = found.graph.call_module("features_pool", (end,))
    found.output.args = (new,)
    return values_of(found, sides)
