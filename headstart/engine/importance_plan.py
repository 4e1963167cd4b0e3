"""How single samples' gradients are found in a network, weight by weight; see `importance`."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from headstart.engine.importance_layers import AT_ONCE, Measure, Rule, rule_of
from headstart.nets.net import Net

ROOM = 64_000_000
"""Numbers that the gradients of one pass may take, 256 MB."""


class Answering(nn.Module):
    """A net as the logits of some heads side by side."""

    def __init__(self, net: Net, heads: Sequence[str]) -> None:
        super().__init__()
        self.net, self.heads = net, tuple(heads)
        reads = {tap for name in self.heads for tap in net.head(name).reads}
        self.reads = tuple(name for name in net.block_names if name in reads)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[B, C]` of inputs `[B, ...]`."""
        taps = self.net.run(x, until=self.reads[-1], taps=self.reads)
        found = [self.net.answer(taps, name) for name in self.heads]
        return found[0] if len(found) == 1 else torch.cat(found, 1)

    def named(self) -> dict[str, nn.Parameter]:
        """Parameters of the blocks and the heads, by full name; shared ones once."""
        parts = ("blocks.", *(f"heads.{name}." for name in self.heads))
        return {name: one for name, one in self.net.named_parameters() if name.startswith(parts)}

    def layers(self) -> Iterator[tuple[str, nn.Module]]:
        """Modules that may hold them, by full name."""
        parts = ("blocks.", *(f"heads.{name}." for name in self.heads))
        yield from ((name, one) for name, one in self.net.named_modules() if name.startswith(parts))


@dataclass
class Seen:
    """What a layer was shown and where the gradient of its output is found; `calls` counts how often."""

    calls: int = 0
    input: Tensor | None = None
    output: Any = None
    size: int = 0


@dataclass
class Plan:
    """What is found how.

    closed  layers by full name with a rule, and the names of the parameters it gives
    other   parameters by name whose gradients `torch.func` gives
    single  these one sample after the other
    width   samples per pass; together: directions whose gradients are held at once
    """

    answering: Answering
    closed: dict[str, tuple[nn.Module, Rule, dict[str, str]]]
    other: dict[str, nn.Parameter]
    single: bool = False
    width: int = 1
    together: int = 1
    unused: list[str] = field(default_factory=list)

    def told(self) -> dict[str, int]:
        """Number of weights found in each way, for the log."""
        sizes = {name: parameter.numel() for name, parameter in self.answering.named().items()}
        others = sum(sizes[name] for name in self.other)
        closed = sum(sizes[name] for *_, names in self.closed.values() for name in names.values())
        way = {"one_by_one": others} if self.single else {"vmap": others}
        return {"closed_form": closed, **way, "unused": sum(sizes[name] for name in self.unused)}

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Seen]]:
        """Logits with their graph, and what the layers of the closed form saw."""
        with _watched({name: layer for name, (layer, *_) in self.closed.items()}) as seen:
            return self.answering(x), seen

    def closed_form(
        self, logits: Tensor, seen: dict[str, Seen], directions: Sequence[Tensor], measure: Measure
    ) -> Iterator[tuple[str, Tensor]]:
        """Sums over samples and directions, for the parameters of `closed`; ends the graph."""
        outputs = [seen[name].output for name in self.closed]
        for first in range(0, len(directions) if outputs else 0, self.together):
            some = directions[first : first + self.together]
            found = []
            for place, direction in enumerate(some):
                last = first + place + 1 == len(directions)
                found.append(torch.autograd.grad(logits, outputs, direction, retain_graph=not last))
            for number, (name, (layer, rule, names)) in enumerate(self.closed.items()):
                a = seen[name].input
                assert a is not None
                with torch.no_grad():
                    sums = rule(layer, a, [one[number] for one in found], measure)
                yield from ((full, sums[own]) for own, full in names.items())

    def others(self, x: Tensor, directions: Sequence[Tensor], measure: Measure) -> Iterator[tuple[str, Tensor]]:
        """The same for the parameters of `other`."""
        if not self.other:
            return
        largest = max(parameter.numel() for parameter in self.other.values())
        step = 1 if self.single else max(1, min(self.width, 4 * AT_ONCE // (largest * len(directions))))
        chosen = torch.stack(list(directions), 1)
        for start in range(0, len(x), step):
            some = slice(start, start + step)
            found = self._single(x[some], chosen[some]) if self.single else self._vectorised(x[some], chosen[some])
            yield from ((name, measure(value).sum((0, 1))) for name, value in found.items())

    def _vectorised(self, x: Tensor, directions: Tensor) -> dict[str, Tensor]:
        """Gradients `[B, K, ...]` of every sample in every direction."""

        weights = {f"net.{name}": parameter.detach() for name, parameter in self.other.items()}

        def one(sample: Tensor, chosen: Tensor) -> dict[str, Tensor]:
            back = vjp(lambda given: functional_call(self.answering, given, (sample[None],))[0], weights)[1]
            return vmap(back, chunk_size=self.together)(chosen)[0]  # type: ignore[no-any-return]

        # Fused attention cannot be vectorised, written out it can. Where one operation is done sample by sample all the
        # same, that costs time and changes nothing.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            found: dict[str, Tensor] = vmap(one)(x, directions)
        return {name: found[f"net.{name}"] for name in self.other}

    def _single(self, x: Tensor, directions: Tensor) -> dict[str, Tensor]:
        """The same for one sample, by autograd."""
        logits = self.answering(x)
        parameters = list(self.other.values())
        found = [torch.autograd.grad(logits, parameters, one[None], retain_graph=True) for one in directions[0]]
        return {name: torch.stack([one[at] for one in found])[None] for at, name in enumerate(self.other)}


def plan_of(answering: Answering, x: Tensor, count: int) -> Plan:
    """Decide by a trial on samples `x` `[B, ...]`, with `count` directions to come."""
    named = answering.named()
    candidates = _candidates(answering, named)
    with _watched({name: layer for name, (layer, *_) in candidates.items()}) as seen:
        logits = answering(x)
    once = {name: one for name, one in candidates.items() if seen[name].calls == 1}
    size = sum(one.size for one in seen.values()) // len(x) + 1
    together = max(1, min(count, 8, ROOM // size))
    plan = Plan(answering, once, {}, width=max(1, ROOM // (size * (together + 2))), together=together)
    ways = torch.linspace(-1, 1, logits.numel(), dtype=x.dtype, device=x.device).cos().reshape(logits.shape)
    used = _settle(plan, logits, seen, ways, named)
    closed = {full for *_, names in plan.closed.values() for full in names.values()}
    plan.unused = [name for name in named if name not in used]
    plan.other = {name: one for name, one in named.items() if name in used - closed}
    plan.single = bool(plan.other) and not _vectorises(plan, x, ways)
    return plan


def _candidates(answering: Answering, named: dict[str, nn.Parameter]) -> dict[str, tuple[nn.Module, Rule, dict[str, str]]]:
    """Layers with a rule whose weights no other module shares."""
    full = {id(parameter): name for name, parameter in named.items()}
    owners = Counter(id(p) for module in set(answering.net.modules()) for p in module._parameters.values() if p is not None)
    found = {}
    for name, layer in answering.layers():
        own = {key: full[id(p)] for key, p in layer._parameters.items() if p is not None and id(p) in full}
        rule = rule_of(layer)
        if rule is not None and "weight" in own and all(owners[id(layer._parameters[key])] == 1 for key in own):
            found[name] = (layer, rule, own)
    return found


def _settle(plan: Plan, logits: Tensor, seen: dict[str, Seen], ways: Tensor, named: dict[str, nn.Parameter]) -> set[str]:
    """Keep in the closed form what says of every single sample what autograd says of it; returns which weights are used."""
    outputs = [seen[name].output for name in plan.closed]
    found = torch.autograd.grad(logits, outputs, ways, retain_graph=True, allow_unused=True) if outputs else ()
    gradients = {name: one for name, one in zip(plan.closed, found, strict=True) if one is not None}
    used: set[str] = set()
    for sample in range(len(logits)):
        said = _by_autograd(logits, named, ways, sample)
        used |= {name for name, value in said.items() if value is not None}
        for name, (layer, rule, names) in list(plan.closed.items()):
            a, gradient = seen[name].input, gradients.get(name)
            rows = a is not None and gradient is not None and len(a) == len(gradient) == len(logits)
            if not rows or not _agrees(_of_one(rule, layer, a, gradient, sample), names, said):
                del plan.closed[name]
    return used


@torch.no_grad()
def _of_one(rule: Rule, layer: nn.Module, a: Tensor | None, gradient: Tensor | None, sample: int) -> dict[str, Tensor]:
    """The gradient itself of one sample, by a rule."""
    assert a is not None
    assert gradient is not None
    return rule(layer, a[sample : sample + 1], [gradient[sample : sample + 1]], _as_it_is)


def _as_it_is(gradient: Tensor) -> Tensor:
    return gradient


def _agrees(found: dict[str, Tensor], names: dict[str, str], said: dict[str, Tensor | None]) -> bool:
    for own, full in names.items():
        theirs = said[full]
        if theirs is None or found[own].shape != theirs.shape:
            return False
        with torch.no_grad():
            if not bool((found[own] - theirs).norm() <= 1e-3 * theirs.norm() + 1e-12):
                return False
    return True


def _by_autograd(logits: Tensor, named: dict[str, nn.Parameter], ways: Tensor, sample: int) -> dict[str, Tensor | None]:
    """Gradients of one sample of a batch, None for weights that its answers do not depend on."""
    only = torch.zeros_like(ways)
    only[sample] = ways[sample]
    found = torch.autograd.grad(logits, list(named.values()), only, retain_graph=True, allow_unused=True)
    return dict(zip(named, found, strict=True))


def _vectorises(plan: Plan, x: Tensor, ways: Tensor) -> bool:
    """Whether every operation of the network can be run on many samples at once by `torch.func`."""
    try:
        plan._vectorised(x[:1], ways[:1, None])
    except RuntimeError:
        return False
    return True


@contextmanager
def _watched(layers: dict[str, nn.Module]) -> Iterator[dict[str, Seen]]:
    """While inside, what these layers are shown. Outputs are noted as places in the graph: what comes after a layer may
    overwrite its output."""
    seen = {name: Seen() for name in layers}

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(layer: nn.Module, given: Any, output: Any) -> None:
            one = seen[name]
            one.calls += 1
            one.size += output.numel()
            one.input = given[0].detach() if len(given) == 1 else None
            one.output = torch.autograd.graph.get_gradient_edge(output)

        return note

    handles = [layer.register_forward_hook(watch(name)) for name, layer in layers.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
