"""Choose where to cut: at the boundaries of the network's own repeated units.

A `Piece` is a run of graph nodes. The network starts as the pieces its direct children make; containers and stages are
opened, residual blocks and transformer layers are not; what has no weights joins its neighbour.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, fx, nn

from headstart.nets.trace import Call

SOFT_LIMIT = 25
"""Units that may or may not be opened are, as long as there are no more blocks than this."""
FLAT_LIMIT = 3
"""A container of plain layers is opened when more of them than this have weights (VGG's features; not a stem)."""


@dataclass
class Piece:
    """Graph nodes `first` to `last`; `call` when one module call makes exactly these."""

    first: int
    last: int
    call: Call | None = None
    weighty: bool = False
    name: str = ""


def has_weights(weights: Iterable[Tensor]) -> bool:
    """Whether one of them has two or more real dimensions, as those of layers have and those of normalisations do not."""
    return any(sum(side > 1 for side in weight.shape) >= 2 for weight in weights)


class Units:
    """Splits a traced network (numbered calls) at `cuts`, the numbers of the nodes after which one tensor is live."""

    def __init__(self, calls: list[Call], cuts: set[int], nodes: list[fx.Node], weighty: set[fx.Node]) -> None:
        self.cuts = cuts
        self.nodes = nodes
        self.weighty = weighty
        self.kids: dict[Call | None, list[Call]] = {}
        for call in calls:
            self.kids.setdefault(call.inside, []).append(call)
        self.atomic: set[type[nn.Module]] = set()
        self.stages: set[type[nn.Module]] = set()
        for call in calls:
            if not call.leaf and not self._wraps(call):
                self._classify(call)

    def _wraps(self, call: Call) -> bool:
        """Whether a call does no more than the one call inside it."""
        kids = self.kids.get(call, [])
        return len(kids) == 1 and (kids[0].first, kids[0].last) == (call.first, call.last) and not kids[0].leaf

    def _classify(self, call: Call) -> None:
        pieces = self.split(call)
        kind = type(call.module)
        if not any(piece.weighty for piece in pieces if piece.call):
            if kind is not nn.Sequential:
                self.atomic.add(kind)  # a skip connection runs past every layer
        elif self._holds_list(call, pieces):
            self.stages.add(kind)

    def _holds_list(self, call: Call, pieces: list[Piece]) -> bool:
        """Whether a module runs a list of compound modules: a Sequential, or at least three of one kind by number."""
        inner = [piece.call for piece in pieces if piece.call is not None]
        if any(isinstance(kid.module, nn.Sequential) and self._compounds(kid) for kid in inner):
            return True
        listed = Counter(type(kid.module) for kid in inner if kid.compound and kid.path.rsplit(".", 1)[-1].isdigit())
        return max(listed.values(), default=0) >= FLAT_LIMIT

    def _compounds(self, call: Call) -> list[Call]:
        return [kid for kid in self.kids.get(call, []) if kid.compound]

    def split(self, call: Call) -> list[Piece]:
        """The pieces of a call at the cuts around the calls directly inside it."""
        kids = [kid for kid in self.kids.get(call, []) if call.first <= kid.first and kid.last <= call.last]
        if self._wraps(call):
            return self.split(kids[0])
        edges = {kid.first - 1 for kid in kids} | {kid.last for kid in kids}
        inside = sorted(edge for edge in edges if edge in self.cuts and call.first <= edge < call.last)
        starts, ends = [call.first, *(edge + 1 for edge in inside)], [*inside, call.last]
        by_range = {(kid.first, kid.last): kid for kid in reversed(kids)}
        return [self._piece(a, b, by_range.get((a, b))) for a, b in zip(starts, ends, strict=True)]

    def _piece(self, first: int, last: int, call: Call | None) -> Piece:
        # A parameter of the network's own (a position embedding) does not make a block; one of a module's does.
        own = call is not None and any(self._has(node, ("get_attr",)) for node in self.nodes[first : last + 1])
        return Piece(
            first, last, call, own or any(self._has(node, ("call_module",)) for node in self.nodes[first : last + 1])
        )

    def _has(self, node: fx.Node, kinds: tuple[str, ...]) -> bool:
        return node.op in kinds and node in self.weighty

    def _opens(self, call: Call | None) -> str:
        """`yes`, `maybe` (when there are few blocks) or `no`."""
        if call is None or call.leaf or type(call.module) in self.atomic:
            return "no"
        if self._wraps(call):
            return self._opens(self.kids[call][0])
        if len(self.split(call)) < 2:
            return "no"
        if not self._compounds(call):
            layers = sum(node in self.weighty for node in self.nodes[call.first : call.last + 1])
            return "yes" if layers > FLAT_LIMIT else "no"
        if type(call.module) in self.stages or isinstance(call.module, nn.Sequential):
            return "yes"
        inner = [type(piece.call.module) for piece in self.split(call) if piece.call is not None and piece.call.compound]
        return "maybe" if len(inner) > len(set(inner)) or len(inner) >= FLAT_LIMIT else "no"

    def choose(self, root: Call) -> list[Piece]:
        """The finest pieces whose edges are those of repeated units."""
        pieces = self.split(root)
        while True:
            pieces, changed = self._open(pieces, "yes", None)
            if changed:
                continue
            kinds = dict.fromkeys(type(p.call.module) for p in pieces if p.call and self._opens(p.call) == "maybe")
            for kind in kinds:
                opened, _ = self._open(pieces, "maybe", kind)
                if sum(piece.weighty for piece in opened) <= SOFT_LIMIT:
                    pieces, changed = opened, True
                    break
            if not changed:
                return pieces

    def _open(self, pieces: list[Piece], how: str, kind: type[nn.Module] | None) -> tuple[list[Piece], bool]:
        found: list[Piece] = []
        for piece in pieces:
            fits = self._opens(piece.call) == how and (kind is None or (piece.call and type(piece.call.module) is kind))
            found += self.split(piece.call) if fits and piece.call else [piece]
        return found, len(found) != len(pieces)


def plain_name(path: str) -> str:
    """A module path as one word: `net.layer1.0` gives `layer1_0`."""
    word = re.sub(r"\W+", "_", path.removeprefix("net.")).strip("_")
    return f"block_{word}" if not word or word[0].isdigit() else word


def give_names(pieces: list[Piece], calls: list[Call], weighty: set[fx.Node]) -> None:
    """Name pieces after the module that holds their weights; the first is `stem`, a last one without weights `pool`."""
    taken: set[str] = set()
    for place, piece in enumerate(pieces):
        inner = [call for call in calls if piece.first <= call.first and call.last <= piece.last]
        heavy = (call for call in inner if any(node in weighty for node in call.nodes))
        main = next(heavy, inner[0] if inner else None)
        while main is not None and type(main.module) is nn.Sequential:  # a stage of one block is called like the block
            inside = [call for call in inner if call.inside is main]
            if len(inside) != 1 or not inside[0].compound:
                break
            main = inside[0]
        name = plain_name(main.path) if main is not None and main.path != "net" else "backbone"
        if place == 0 and len(pieces) > 1:
            name = "stem"
        elif place == len(pieces) - 1 and not piece.weighty:
            name = "pool"
        while name in taken or hasattr(nn.ModuleDict, name):
            name += "_"
        taken.add(name)
        piece.name = name
