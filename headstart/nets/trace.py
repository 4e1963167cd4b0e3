"""Write down what a network does, as a graph of calls, so that it can be cut between any two of them.

Symbolic tracing with torch.fx, with five provisions that a plain trace lacks:

- a module without children, a normalisation layer, and whatever timm says must not be looked into, is one node;
- so is a module that reads its `training` flag: a trace would freeze the flag's value;
- where control flow looks at shapes, it goes the way that inputs of the given size take, whatever their number;
- a module whose code cannot be traced (its control flow looks at values) becomes one node, and the trace goes on;
- which module made which nodes is kept: `Call`.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

_OPAQUE = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.modules.conv._ConvNd,
    nn.Linear,
)
_DROPOUTS: dict[Callable[..., Any], type[nn.Module]] = {
    F.dropout: nn.Dropout,
    F.dropout1d: nn.Dropout1d,
    F.dropout2d: nn.Dropout2d,
    F.dropout3d: nn.Dropout3d,
    F.alpha_dropout: nn.AlphaDropout,
}


class Whole(nn.Module):
    """Holds a network and passes it one tensor, so that its other arguments keep their defaults."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> Any:
        return self.net(x)


@dataclass(eq=False)
class Call:
    """One call of a module: its nodes are number `first` to `last` of the graph, `inside` of which call it happened."""

    path: str
    module: nn.Module
    inside: Call | None
    leaf: bool
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    nodes: list[fx.Node] = field(default_factory=list)
    result: Any = None
    first: int = 0
    last: int = -1

    @property
    def compound(self) -> bool:
        """Whether the module is made of layers, looked into or not, and is no layer itself."""
        parts = (part for part in self.module.children() if next(part.parameters(), None) is not None)
        return not self.leaf or next(parts, None) is not None


@dataclass
class Trace:
    """The graph of `root`, the module calls in it, and `refused`: modules that could not be looked into, and why.

    sized  whether control flow looked at shapes: the graph is then right for inputs of the given size only
    """

    root: Whole
    graph: fx.Graph
    calls: list[Call]
    refused: dict[str, str]
    sized: bool = False

    @property
    def output(self) -> fx.Node:
        last: fx.Node = next(iter(reversed(self.graph.nodes)))
        return last

    def number(self) -> list[fx.Node]:
        """The nodes in order; brings `first` and `last` of every call up to date and drops calls without nodes."""
        nodes = list(self.graph.nodes)
        place = {node: i for i, node in enumerate(nodes)}
        for call in self.calls:
            there = [place[node] for node in call.nodes if node in place]
            call.first, call.last = (min(there), max(there)) if there else (0, -1)
        self.calls = [call for call in self.calls if call.last >= 0]
        return nodes


@cache
def reads_training(kind: type[nn.Module]) -> bool:
    """Whether `forward`, or a method that it names, looks at an attribute called `training`."""
    waiting, seen = ["forward"], set()
    while waiting:
        method = inspect.getattr_static(kind, waiting.pop(), None)
        if not isinstance(method, types.FunctionType) or method in seen or method.__module__ == nn.Module.__module__:
            continue
        seen.add(method)
        names = _names_in(method.__code__)
        if "training" in names:
            return True
        waiting += names
    return False


def _names_in(code: types.CodeType) -> list[str]:
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return [*code.co_names, *(name for const in inner for name in _names_in(const))]


def _timm_leaves() -> tuple[tuple[type[nn.Module], ...], tuple[Callable[..., Any], ...]]:
    """What timm says a trace must not look into; nothing when no timm network can be about."""
    if "timm" not in sys.modules:
        return (), ()
    layers: Any = importlib.import_module("timm.layers")
    return tuple(layers.get_notrace_modules()), tuple(layers.get_notrace_functions())


class _Shadow:
    """What the nodes of a trace would give for a batch of some size, in tensors that have a shape and no values."""

    def __init__(self, root: nn.Module, sides: tuple[int, ...], batch: int) -> None:
        self.root, self.example = root, torch.empty(batch, *sides, device="meta")
        self.known: dict[fx.Node, Any] = {}

    def value(self, node: fx.Node) -> Any:
        """Raises whatever an operation does that needs values."""
        for before in node.graph.nodes:  # in order: a network is deeper than Python's stack
            if before not in self.known:
                self.known[before] = self._compute(before)
            if before is node:
                break
        return self.known[node]

    def _compute(self, node: fx.Node) -> Any:
        args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), self.known.__getitem__)
        if node.op == "placeholder":
            return self.example
        if node.op == "get_attr":
            found: Any = self.root
            for name in str(node.target).split("."):
                found = getattr(found, name)
            return found.to("meta") if isinstance(found, torch.Tensor) else found
        if node.op == "call_module":
            module = self.root.get_submodule(str(node.target))
            named = (*module.named_parameters(), *module.named_buffers())
            return torch.func.functional_call(module, {name: value.to("meta") for name, value in named}, args, kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        assert callable(node.target)
        return node.target(*args, **kwargs)


class _Tracer(fx.Tracer):
    def __init__(self, sides: tuple[int, ...] | None) -> None:
        self.opaque, functions = _timm_leaves()
        super().__init__(autowrap_functions=functions)
        self.calls: list[Call] = []
        self.inside: Call | None = None
        self.refused: dict[str, str] = {}
        self.sides, self.shadows, self.sized, self.looking = sides, list[_Shadow](), False, False

    def to_bool(self, obj: fx.Proxy) -> bool:
        if self.sides is None:
            return bool(super().to_bool(obj))  # type: ignore[no-untyped-call]
        # what a network does must not hang on how many images it is shown
        self.shadows = self.shadows or [_Shadow(self.root, self.sides, batch) for batch in (1, 2, 97)]
        self.looking = True
        try:
            answers = {bool(shadow.value(obj.node)) for shadow in self.shadows}
        except Exception as error:  # an operation that needs values, or has no form without
            raise fx.proxy.TraceError("its control flow looks at values") from error
        finally:
            self.looking = False
        if len(answers) > 1:
            raise fx.proxy.TraceError("its control flow looks at the number of images")
        self.sized = True
        return answers.pop()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, Whole) or module_qualified_name == "net":
            return next(m.children(), None) is None
        childless = next(m.children(), None) is None
        known = super().is_leaf_module(m, module_qualified_name) or isinstance(m, (*_OPAQUE, *self.opaque))
        return childless or known or reads_training(type(m))  # type: ignore[arg-type]

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if self.looking:
            return attr_val
        # No cache: every use of a parameter gets its own node, beside its user, so that none crosses a cut.
        return super().getattr(attr, attr_val, {})  # type: ignore[no-untyped-call]

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.looking:
            return forward(*args, **kwargs)
        path = self.path_of_module(m)
        call = Call(path, m, self.inside, self.is_leaf_module(m, path), args, kwargs)
        before = next(iter(reversed(self.graph.nodes)), None)
        stack, known = OrderedDict(self.module_stack), len(self.calls)
        self.calls.append(call)
        self.inside = call
        try:
            call.result = super().call_module(m, forward, args, kwargs)
        except Exception as error:  # whatever the module's code does with a proxy that it cannot
            self._forget(before)
            self.module_stack = stack
            del self.calls[known + 1 :]
            call.leaf, self.refused[path] = True, f"{type(error).__name__}: {error}".splitlines()[0][:200]
            call.result = self.create_proxy("call_module", path, args, kwargs)
        finally:
            self.inside = call.inside
        call.nodes = self._since(before)
        return call.result

    def _since(self, mark: fx.Node | None) -> list[fx.Node]:
        found: list[fx.Node] = []
        for node in reversed(self.graph.nodes):
            if node is mark:
                break
            found.append(node)
        return found[::-1]

    def _forget(self, mark: fx.Node | None) -> None:
        for node in reversed(self._since(mark)):
            self.graph.erase_node(node)


@contextmanager
def mode(module: nn.Module, training: bool) -> Iterator[None]:
    """Within the block every part of `module` is in training (or eval) mode; afterwards each is as it was."""
    before = {part: part.training for part in module.modules()}
    try:
        module.train(training)
        yield
    finally:
        for part, flag in before.items():
            part.training = flag


def _impure(node: fx.Node) -> bool:
    """Nodes that must stay although nothing reads them: outputs, inputs and operations in place."""
    if node.op in ("placeholder", "output"):
        return True
    return node.op == "call_method" and str(node.target).endswith("_") and not str(node.target).endswith("__")


def _trace_once(root: Whole, training: bool, sides: tuple[int, ...] | None = None) -> Trace:
    tracer = _Tracer(sides)
    with mode(root, training), torch.no_grad():
        graph = tracer.trace(root)
    for node in reversed(graph.nodes):
        if node.target is torch._assert:
            graph.erase_node(node)
    graph.eliminate_dead_code(is_impure_node=_impure)
    return Trace(root, graph, tracer.calls, tracer.refused, tracer.sized)


def _signature(graph: fx.Graph) -> list[tuple[Any, ...]]:
    place = {node: i for i, node in enumerate(graph.nodes)}

    def plain(value: Any) -> Any:
        return fx.node.map_arg(value, lambda node: f"%{place[node]}")

    def target(node: fx.Node) -> str:  # every trace names the constants it meets anew
        return re.sub(r"_tensor_constant\d+", "constant", str(node.target))

    return [(node.op, target(node), repr(plain(node.args)), repr(plain(node.kwargs))) for node in graph.nodes]


def _free_dropout(trace: Trace, node: fx.Node) -> bool:
    """Put a dropout module, which follows train() and eval(), in place of a dropout call with a frozen flag."""
    kind = _DROPOUTS.get(node.target) if callable(node.target) else None
    if kind is None:
        return False
    p = node.kwargs.get("p", node.args[1] if len(node.args) > 1 else 0.5)
    name = f"dropout_{sum(key.startswith('dropout_') for key, _ in trace.root.named_children())}"
    trace.root.add_module(name, kind(p).train(trace.root.training))  # type: ignore[call-arg]
    owner = [call for call in trace.calls if node in call.nodes]
    with trace.graph.inserting_after(node):
        new = trace.graph.call_module(name, (node.args[0],))
    node.replace_all_uses_with(new)
    trace.graph.erase_node(node)
    for call in owner:
        call.nodes[call.nodes.index(node)] = new
    return True


def trace(net: nn.Module, sides: tuple[int, ...] | None = None) -> Trace:
    """The graph of `net`, valid in training and in eval mode.

    sides  of the inputs `[N, *sides]`; None: code that looks at shapes is not looked into

    The network is traced in both modes. A call of functional dropout, the one thing that may differ between them outside
    modules that read their own flag, becomes a module; any other difference makes the whole network one node, with the
    reason in `refused["net"]`.
    """
    root = Whole(net)
    root.training = net.training
    found, other = _trace_once(root, False, sides), _trace_once(root, True, sides)
    left, right = _signature(found.graph), _signature(other.graph)
    nodes = list(found.graph.nodes)
    differing = [i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b]
    if len(left) == len(right) and all(left[i][:2] == right[i][:2] and nodes[i].target in _DROPOUTS for i in differing):
        for i in differing:
            _free_dropout(found, nodes[i])
        return found
    return opaque(net, "it does something else when it is training than when it is not")


def trace_eval(net: nn.Module) -> Trace:
    """The graph of `net` as it is in eval mode: for looking at, not for cutting."""
    root = Whole(net)
    root.training = net.training
    return _trace_once(root, False)


def opaque(net: nn.Module, reason: str) -> Trace:
    """A trace in which the whole network is one node."""
    root, graph = Whole(net), fx.Graph()
    root.training = net.training
    x = graph.placeholder("x")
    node = graph.call_module("net", (x,))
    graph.output(node)
    call = Call("net", net, None, True, (x,), {}, [node], node)
    return Trace(root, graph, [call], {"net": reason})
