"""Cut an arbitrary network into ordered, named blocks that together compute exactly what it computed.

Between two operations where a single tensor is live the network may be cut. What else crosses such a place is harmless if
it can be had again on the other side: parameters used on one side only, constants, and numbers read off shapes (vision
transformers carry the batch size from their first line to their last), which are computed again from the tensor that
crosses.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, field

from torch import Tensor, nn

from headstart.errors import BackboneError
from headstart.nets.classifier import Stripped, pooled_values, strip, unplug
from headstart.nets.crossing import Crossing
from headstart.nets.net import BlockInfo
from headstart.nets.shapes import layout_of
from headstart.nets.trace import Trace, opaque, trace
from headstart.nets.units import Piece, Units, give_names

log = logging.getLogger("headstart.nets")


@dataclass
class Cut:
    """A network as blocks.

    blocks      in order; the last gives pooled features `[N, D]`
    info        layout and channels of every block's output
    classifier  the linear layer that read those features, removed; None where there was none of that kind
    notes       what the user should know: parts that could not be looked into
    flexible    whether inputs of another size are possible
    """

    blocks: OrderedDict[str, nn.Module]
    info: dict[str, BlockInfo]
    classifier: nn.Linear | None = None
    notes: list[str] = field(default_factory=list)
    flexible: bool = False


def cut(module: nn.Module, example: Tensor) -> tuple[OrderedDict[str, nn.Module], dict[str, BlockInfo]]:
    """Blocks and their outputs' layouts of `module`, whose input looks like `example` `[N, ...]`; see `cut_network`."""
    found = cut_network(module, tuple(example.shape[1:]))
    return found.blocks, found.info


def cut_network(module: nn.Module, sides: tuple[int, ...], *, keep_classifier: bool = False) -> Cut:
    """Cut `module`, which takes `[N, *sides]` and gives one tensor, at the boundaries of its repeated units.

    The blocks hold the module's own layers, not copies; their parameters together are those that its forward uses, each
    in one block. A final linear classifier is taken off (unless `keep_classifier`), a convolutional one too, and maps or
    tokens are then averaged, so that the last block gives `[N, D]`. Blocks follow train() and eval() as the module did.
    Operations in place that would write into another block's output are made not to.

    Where the network cannot be traced it becomes one block, `backbone`, and a note says why; a linear classifier that makes
    its output is replaced, in the module itself, by an identity.

    Raises BackboneError when the module cannot take such an input or gives no single tensor.
    """
    found = trace(module, sides)
    if "net" not in found.refused:
        try:
            return _cut_traced(found, sides, keep_classifier)
        except _CannotCut as error:
            found = opaque(module, str(error))
    classifier = None if keep_classifier else _unplugged(found, sides)
    cut_whole = _cut_traced(found, sides, True)
    cut_whole.classifier = classifier
    return cut_whole


def _unplugged(found: Trace, sides: tuple[int, ...]) -> nn.Linear | None:
    try:
        return unplug(found.root.net, sides)
    except Exception as error:  # whatever the network raises on an input that does not fit it
        raise _misfit(found, sides, error) from error


def _misfit(found: Trace, sides: tuple[int, ...], error: Exception) -> BackboneError:
    first = (str(error).strip().splitlines() or [""])[0]
    return BackboneError(
        f"{_kind(found)} does not take inputs [N, {', '.join(map(str, sides))}]: {type(error).__name__}: {first}"
    )


class _CannotCut(Exception):
    """The traced graph cannot be used; the network is then one block."""


def _cut_traced(found: Trace, sides: tuple[int, ...], keep_classifier: bool) -> Cut:
    whole = "net" in found.refused
    try:
        stripped = strip(found, keep_classifier or whole)
        values = pooled_values(found, sides)
    except BackboneError:
        raise
    except Exception as error:
        if not whole:
            raise _CannotCut(f"{type(error).__name__}: {error}".splitlines()[0][:200]) from error
        raise _misfit(found, sides, error) from error
    nodes = found.number()
    crossing = Crossing(found.root, nodes, values)
    cuts = {place for place in range(1, len(nodes) - 1) if crossing.at(place) is not None}
    weighty = crossing.weighty()
    units = Units(found.calls, cuts, nodes, weighty)
    pieces = _pieces(found, units, crossing, len(nodes) - 2)
    give_names(pieces, found.calls, weighty)
    blocks = OrderedDict((piece.name, crossing.block(piece, found.calls)) for piece in pieces)
    info = {piece.name: _info(crossing, piece) for piece in pieces}
    return Cut(blocks, info, stripped.classifier, _notes(found, stripped), values.flexible and not found.sized)


def _kind(found: Trace) -> str:
    return type(found.root.net).__name__


def _notes(found: Trace, stripped: Stripped) -> list[str]:
    notes = list(stripped.notes)
    if "net" in found.refused:
        notes.append(f"{_kind(found)} cannot be cut into blocks ({found.refused['net']}); it is used as a whole")
    for note in notes:
        log.info(note)
    return notes


def _info(crossing: Crossing, piece: Piece) -> BlockInfo:
    known = layout_of(crossing.after(piece.last), crossing.values)
    if known is None:
        raise BackboneError(f"block {piece.name!r} gives a tensor that is no batch of vectors, tokens or maps")
    return BlockInfo(*known)


def _pieces(found: Trace, units: Units, crossing: Crossing, last: int) -> list[Piece]:
    root = next(call for call in found.calls if call.path == "net")
    pieces = [Piece(root.first, root.last, root, True)] if root.leaf else units.choose(root)
    pieces[0].first = 1
    if pieces[-1].last < last:
        pieces.append(Piece(pieces[-1].last + 1, last))
    return _join(pieces, crossing)


def _join(pieces: list[Piece], crossing: Crossing) -> list[Piece]:
    """Give what has no weights to a neighbour: the one before, or the one after where it changes the layout or pools."""
    weighty = [place for place, piece in enumerate(pieces) if piece.weighty]
    if not weighty:
        return [Piece(pieces[0].first, pieces[-1].last)]
    joined: list[Piece] = []
    waiting: int | None = None
    for piece in pieces[: weighty[-1] + 1]:
        first = piece.first if waiting is None else waiting
        if not piece.weighty and (not joined or crossing.reshapes(piece)):
            waiting = first
        elif not piece.weighty and waiting is None:
            joined[-1] = Piece(joined[-1].first, piece.last, None, True)
        elif piece.weighty:
            joined.append(Piece(first, piece.last, piece.call if waiting is None else None, True))
            waiting = None
    return _finish(joined, pieces[weighty[-1] + 1 :], crossing)


def _finish(joined: list[Piece], rest: list[Piece], crossing: Crossing) -> list[Piece]:
    """The end without weights becomes a block of its own if it pools, else it joins the last.

    What follows a bare layer up to the pooling (its normalisation and activation) belongs to that layer.
    """
    top = joined[-1]
    if top.call is None or not top.call.compound:
        while rest and not crossing.reshapes(rest[0]):
            top = joined[-1] = Piece(top.first, rest.pop(0).last, None, True)
    if not rest:
        return joined
    if crossing.is_pooled(top.last):
        return [*joined[:-1], Piece(top.first, rest[-1].last, None, True)]
    return [*joined, Piece(rest[0].first, rest[-1].last)]
