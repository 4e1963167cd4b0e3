"""What crosses from one part of a traced network to the next, and how a part becomes a module of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from torch import Tensor, fx, nn

from headstart.nets.shapes import OTHER, Shape, Values, layout_of
from headstart.nets.trace import Call
from headstart.nets.units import Piece, has_weights


class Crossing:
    """Liveness over the numbered nodes of a graph: input first, output last."""

    def __init__(self, root: nn.Module, nodes: list[fx.Node], values: Values) -> None:
        self.root, self.nodes, self.values = root, nodes, values
        self.place = {node: i for i, node in enumerate(nodes)}
        self.free = self._free_nodes()
        self._live = self._sweep()
        self._used: set[int] = set()

    def _free_nodes(self) -> set[fx.Node]:
        """Nodes that can be had again anywhere: plain values, and what depends on nothing but them and on constants."""
        found: set[fx.Node] = set()
        for node in self.nodes[1:-1]:
            described = [run[node] for run in self.values.runs]
            plain = not any(isinstance(value, Shape) or value is OTHER for value in described)
            constant = not self._holds_parameters(node) and all(source in found for source in node.all_input_nodes)
            if plain or constant:
                found.add(node)
        return found

    def _owner(self, node: fx.Node) -> object | None:
        """The parameter or module with parameters that a node uses."""
        if node.op == "call_module":
            module = self.root.get_submodule(str(node.target))
            return module if next(module.parameters(), None) is not None else None
        if node.op == "get_attr":
            value = _attribute(self.root, str(node.target))
            return value if isinstance(value, nn.Parameter) else None
        return None

    def weighty(self) -> set[fx.Node]:
        """The nodes that hold a layer's weight."""
        owners = ((node, self._owner(node)) for node in self.nodes)
        return {
            node
            for node, owner in owners
            if has_weights(
                owner.parameters() if isinstance(owner, nn.Module) else [owner] if isinstance(owner, Tensor) else []
            )
        }

    def _holds_parameters(self, node: fx.Node) -> bool:
        return self._owner(node) is not None

    def _sweep(self) -> list[set[fx.Node | int]]:
        """For every place, the nodes at or before it that are read after it, without those that are free.

        A module or parameter used on both sides counts as a second live value: a block must own its weights.
        """
        last: dict[fx.Node | int, int] = {}
        begins: dict[int, int] = {}
        for place, node in enumerate(self.nodes):
            for source in node.all_input_nodes:
                last[source] = place
            for owned in self._weights(node):
                begins.setdefault(owned, place)
                last[owned] = place
        starting: dict[int, list[int]] = {}
        for owned, place in begins.items():
            starting.setdefault(place, []).append(owned)
        live: set[fx.Node | int] = set()
        found = []
        for place, node in enumerate(self.nodes):
            live = {old for old in live if last.get(old, -1) > place}
            if last.get(node, -1) > place and node not in self.free:
                live.add(node)
            live |= {owned for owned in starting.get(place, []) if last[owned] > place}
            found.append(set(live))
        return found

    def _weights(self, node: fx.Node) -> list[int]:
        owner = self._owner(node)
        if isinstance(owner, nn.Module):
            return [id(weight) for weight in owner.parameters()]
        return [] if owner is None else [id(owner)]

    def at(self, place: int) -> fx.Node | None:
        """The one tensor that crosses after node number `place`; None when the network cannot be cut there."""
        live = self._live[place]
        if len(live) != 1:
            return None
        node = next(iter(live))
        if not isinstance(node, fx.Node) or layout_of(node, self.values) is None or node.op in ("placeholder", "get_attr"):
            return None
        return node if all(self._can_have(old, node) for old in self._free_across(place)) else None

    def _free_across(self, place: int) -> Iterable[fx.Node]:
        return (
            node
            for node in self.nodes[1 : place + 1]
            if node in self.free and any(self.place[u] > place for u in node.users)
        )

    def after(self, place: int) -> fx.Node:
        """The tensor that crosses after `place`, which is known to be a place to cut or the end."""
        if place >= len(self.nodes) - 2:
            return self.nodes[-1].all_input_nodes[0]
        node = self.at(place)
        assert node is not None, "a block must end at a place to cut"
        return node

    def before(self, place: int) -> fx.Node:
        """The tensor that a block whose first node is number `place` receives."""
        return self.nodes[0] if place <= 1 else self.after(place - 1)

    def reshapes(self, piece: Piece) -> bool:
        """Whether a piece changes the kind of activation: another layout, or maps averaged to one place."""
        if any(node.op == "get_attr" for node in self.nodes[piece.first : piece.last + 1]):
            return False
        old, new = self.before(piece.first), self.after(piece.last)
        one, two = layout_of(old, self.values), layout_of(new, self.values)
        return (one or ("",))[0] != (two or ("",))[0] or (self.is_pooled(piece.last) and not self.is_pooled(piece.first - 1))

    def is_pooled(self, place: int) -> bool:
        """Whether what crosses after `place` has one place only."""
        node = self.nodes[0] if place < 1 else self.after(place)
        sides = self.values.runs[0][node].sides
        return len(sides) == 2 or (len(sides) == 4 and sides[2:] == (1, 1))

    # --- numbers read off shapes -------------------------------------------------------------------------------------

    def _can_have(self, node: fx.Node, source: fx.Node) -> bool:
        """Whether free `node` can be computed again from `source`."""
        values = [run[node] for run in self.values.runs]
        if isinstance(values[0], Shape) or values[0] is OTHER:
            return all(self._can_have(old, source) for old in node.all_input_nodes)
        return self._recipe(values, source) is not None or (
            bool(node.all_input_nodes)
            and all(self._can_have(old, source) for old in node.all_input_nodes if old in self.free)
            and all(old in self.free for old in node.all_input_nodes)
        )

    def _recipe(self, values: list[Any], source: fx.Node) -> Any:
        """How to have a value again that was `values` in the runs: a constant `("is", v)`, a side of `source`
        `("side", d)`, a tuple of these `("all", [...])`; None when it is none of them."""
        if isinstance(values[0], tuple) and all(isinstance(v, tuple) and len(v) == len(values[0]) for v in values):
            parts = [self._recipe(list(part), source) for part in zip(*values, strict=True)]
            return None if any(part is None for part in parts) else ("all", parts)
        sides = [run[source].sides for run in self.values.runs]
        if all(value == values[0] and type(value) is type(values[0]) for value in values):
            return ("is", values[0])
        for d in range(min(map(len, sides))):
            if all(value == shape[d] for value, shape in zip(values, sides, strict=True)):
                return ("side", d)
        return None

    # --- blocks ------------------------------------------------------------------------------------------------------

    def block(self, piece: Piece, calls: list[Call]) -> nn.Module:
        """The module that maps what crosses before the piece to what crosses after it."""
        source, result = self.before(piece.first), self.after(piece.last)
        writers = [node for node in self.values.written.get(source, []) if self.place[node] >= piece.first]
        clone = source.op != "placeholder" and not all(self._stop_writing(node) for node in writers)
        if not clone:
            for call in calls:
                if self._is_whole(call, piece, source, result):
                    return call.module
        return self._graph_block(piece, source, result, clone)

    def _stop_writing(self, node: fx.Node) -> bool:
        """Make an operation leave its input alone; False when it cannot be told to."""
        if node.op != "call_module":
            return False
        module = self.root.get_submodule(str(node.target))
        if getattr(module, "inplace", None) is not True:
            return False
        module.inplace = False  # type: ignore[assignment]
        return True

    def _is_whole(self, call: Call, piece: Piece, source: fx.Node, result: fx.Node) -> bool:
        """Whether one module call does all that the piece does, given nothing but the crossing tensor."""
        outside = [*self.nodes[piece.first : call.first], *self.nodes[call.last + 1 : piece.last + 1]]
        inside = piece.first <= call.first and call.last <= piece.last and (call.leaf or call.path != "net")
        given = len(call.args) == 1 and _node(call.args[0]) is source and not call.kwargs
        made = _node(call.result) is result
        return inside and given and made and all(node in self.free for node in outside)

    def _graph_block(self, piece: Piece, source: fx.Node, result: fx.Node, clone: bool) -> nn.Module:
        graph = fx.Graph()
        x = graph.placeholder("x")
        env = {source: graph.call_method("clone", (x,)) if clone else x}

        def have(node: fx.Node) -> fx.Node:
            if node not in env:
                env[node] = self._again(graph, node, env[source], source, have)
            return env[node]

        for node in self.nodes[piece.first : piece.last + 1]:
            if node not in self.free and node is not source:
                env[node] = graph.node_copy(node, have)
        graph.output(have(result))
        root = self.root
        return _shortened(fx.GraphModule(root, graph), self._used)

    def _again(self, graph: fx.Graph, node: fx.Node, x: fx.Node, source: fx.Node, have: Any) -> fx.Node:
        """Compute a free node once more inside a block."""
        values = [run[node] for run in self.values.runs]
        plain = not (isinstance(values[0], Shape) or values[0] is OTHER)
        recipe = self._recipe(values, source) if plain else None
        # A number that never changed may still follow the image's size where only one size could be tried.
        if recipe is None or all(self.place.get(old, -1) >= self.place[source] for old in node.all_input_nodes):
            return graph.node_copy(node, have)
        emitted: fx.Node = _emit(graph, recipe, x)
        return emitted


def _node(value: Any) -> fx.Node | None:
    """The graph node of a traced value; None of anything else."""
    return value if isinstance(value, fx.Node) else getattr(value, "node", None)


def _emit(graph: fx.Graph, recipe: Any, x: fx.Node) -> Any:
    kind, what = recipe
    if kind == "side":
        return graph.call_method("size", (x, what))
    if kind == "all":
        return tuple(_emit(graph, part, x) for part in what)
    return what


def _attribute(root: nn.Module, path: str) -> Any:
    value: Any = root
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _shortened(block: fx.GraphModule, used: set[int]) -> nn.Module:
    """The block without the `net.` in front of its layers' names, and with copies of weightless modules used elsewhere."""
    if any(node.target == "net" for node in block.graph.nodes):
        return block
    holder = nn.Module()
    inner = block._modules.pop("net", None)
    if isinstance(inner, nn.Module):
        for name, child in inner.named_children():
            holder.add_module(name, child)
        for name, weight in inner.named_parameters(recurse=False):
            holder.register_parameter(name, weight)
        for name, value in inner.named_buffers(recurse=False):
            holder.register_buffer(name, value)
        for name, value in vars(inner).items():
            if isinstance(value, Tensor):
                setattr(holder, name, value)
    for name, child in block.named_children():
        holder.add_module(name, child)
    for name, value in block.named_buffers(recurse=False):
        holder.register_buffer(name, value)
    for node in block.graph.nodes:
        if node.op in ("call_module", "get_attr"):
            node.target = str(node.target).removeprefix("net.")
    for node in block.graph.nodes:
        if node.op == "call_module":
            _unshare(holder, str(node.target), used)
    return fx.GraphModule(holder, block.graph, "Segment")


def _unshare(holder: nn.Module, path: str, used: set[int]) -> None:
    """Two blocks must not hold one dropout or activation: each follows its own block's mode."""
    module = holder.get_submodule(path)
    if id(module) in used and next(module.parameters(), None) is None:
        parent, _, name = path.rpartition(".")
        holder.get_submodule(parent).add_module(name, copy.deepcopy(module))
    used.add(id(module))
