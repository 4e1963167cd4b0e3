"""Contracts of every equation in `losses/`: pure, exact under autocast, differentiable, blind to the order of samples.

What an equation says is tested against its paper in `tests/losses`; here is what all of them have in common.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

from headstart import losses
from tests.conftest import random_states
from tests.pretended import DEVICE, Elsewhere, pretended

N, M, C, D = 5, 7, 3, 4
"""samples, candidates, classes, dimensions: all different, so that a first axis of length N is that of the samples"""
Equation = Callable[..., Any]


def equations() -> dict[str, Equation]:
    """Every public function of the room that takes tensors, by `file.name`."""
    found = {}
    for module in pkgutil.iter_modules(losses.__path__):
        if module.name == "precision":  # what the others compute with
            continue
        file = importlib.import_module(f"headstart.losses.{module.name}")
        for name, function in inspect.getmembers(file, inspect.isfunction):
            takes = any("Tensor" in str(one.annotation) for one in inspect.signature(function).parameters.values())
            if takes and function.__module__ == file.__name__ and not name.startswith("_"):
                found[f"{module.name}.{name}"] = function
    return found


class Draw:
    """Arguments, drawn from one seed. Those that gradients flow to are remembered in `learned`."""

    def __init__(self, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> None:
        self._rng = np.random.default_rng(5)
        self._dtype, self._scale = dtype, scale
        self.learned: list[Tensor] = []

    def real(self, *shape: int) -> Tensor:
        """Numbers that are learned: an answer, an embedding, weights."""
        found = self.fixed(*shape).requires_grad_()
        self.learned.append(found)
        return found

    def fixed(self, *shape: int) -> Tensor:
        """Numbers that are given: a teacher's, a target."""
        return torch.from_numpy(self._scale * self._rng.normal(size=shape)).to(self._dtype)

    def positive(self, *shape: int) -> Tensor:
        """Numbers above nought that are given: importances."""
        return torch.from_numpy(self._rng.uniform(0.5, 2, shape)).to(self._dtype)

    def shares(self, *shape: int) -> Tensor:
        """Probabilities along the last axis."""
        return torch.from_numpy(self._rng.dirichlet(np.ones(shape[-1]), shape[:-1])).to(self._dtype)

    def places(self, size: int, below: int) -> Tensor:
        """Whole numbers: classes, or which candidate it is."""
        return torch.from_numpy(self._rng.integers(0, below, size))

    def yes(self, *shape: int) -> Tensor:
        """True and false, true at least once in a row."""
        found = self._rng.random(shape) < 0.6
        found[..., 0] = True
        return torch.from_numpy(found)


CASES: dict[str, Callable[[Draw], tuple[Any, ...]]] = {
    "agreement.negative_cosine": lambda d: (d.real(N, D), d.real(N, D)),
    "agreement.normalised_error": lambda d: (d.real(N, D), d.real(N, D)),
    "agreement.soft_targets": lambda d: (d.real(N, C), d.shares(N, C), 0.5),
    "agreement.sharpened": lambda d: (d.real(N, C), d.fixed(C), 0.5),
    "amdim.soft_clip": lambda d: (d.real(N, M), 2.0),
    "amdim.map_scores": lambda d: (d.real(N, D), d.real(M, 2, D)),
    "amdim.map_nce": lambda d: (d.real(N, M, 2), d.places(N, M), 5.0),
    "amdim.raw_penalty": lambda d: (d.real(N, M, 2),),
    "attention.attention_map": lambda d: (d.real(N, C, 2, 3),),
    "attention.attention_transfer": lambda d: (d.real(N, 4, 6), d.fixed(N, 3, 2).abs()),
    "classification.cross_entropy": lambda d: (d.real(N, C), d.places(N, C)),
    "contrastive.contrast": lambda d: (d.real(N), d.real(N, M), d.yes(N, M), 8.0, 0.5),
    "contrastive.spread": lambda d: (d.real(N, D),),
    "contrastive.scores": lambda d: (d.real(N, D), d.real(M, D), 0.3),
    "decoupled.tckd": lambda d: (d.real(N, C), d.fixed(N, C), d.places(N, C), 2.0),
    "decoupled.nckd": lambda d: (d.real(N, C), d.fixed(N, C), d.places(N, C), 2.0),
    "distillation.soft_cross_entropy": lambda d: (d.real(N, C), d.fixed(N, C), 2.0),
    "distillation.soft_kl": lambda d: (d.real(N, C), d.fixed(N, C), 2.0),
    "distillation.entropy": lambda d: (d.real(N, C), 2.0),
    "distillation.hard_distillation": lambda d: (d.real(N, C), d.fixed(N, C)),
    "distillation.standardise": lambda d: (d.real(N, C),),
    "hints.hint": lambda d: (d.real(N, D, 2), d.fixed(N, D, 2)),
    "hints.unexplained": lambda d: (d.real(N, D, 2), d.fixed(N, D, 2)),
    "incremental.heads_of": lambda d: (d.places(N, 7), (3, 4)),
    "incremental.within_head": lambda d: (d.places(N, 7), (3, 4)),
    "incremental.cross_entropy_within": lambda d: (d.real(N, 7), d.places(N, 7), (3, 4)),
    "incremental.squared_error_where_known": lambda d: (d.real(N, C), d.fixed(N, C)),
    "incremental.sigmoid_cross_entropy": lambda d: (d.real(N, C), d.shares(N, C)),
    "info_nce.info_nce": lambda d: (d.real(N, M), d.places(N, M)),
    "info_nce.nce": lambda d: (d.real(N, M), d.places(N, M)),
    "info_nce.against": lambda d: (d.real(N), d.real(N, M)),
    "nt_xent.nt_xent": lambda d: (d.real(N, D), d.real(N, D), 0.3),
    "nt_xent.both_ways": lambda d: (d.real(N, D), d.real(N, D), 0.3),
    "nt_xent.across": lambda d: (d.real(N, D), d.real(N, D), 0.3),
    "numbers.squared_error": lambda d: (d.real(N), d.fixed(N)),
    "numbers.huber_error": lambda d: (d.real(N), d.fixed(N)),
    "numbers.binary_cross_entropy": lambda d: (d.real(N, C), d.shares(N, C)),
    "pixels.patches_of": lambda d: (d.real(N, 2, 2, 4), 2),
    "pixels.standard_patches": lambda d: (d.real(N, 3, D),),
    "pixels.masked_error": lambda d: (d.real(N, M, 2), d.fixed(N, M, 2), d.yes(N, M)),
    "places.averaged_down": lambda d: (d.real(N, 4, 6), (3, 2)),
    "quadratic.quadratic": lambda d: (
        [d.real(D, C), d.real(M)],
        [d.fixed(D, C), d.fixed(M)],
        [d.positive(D, C), d.positive(M)],
    ),
    "quadratic.pull": lambda d: ([d.fixed(D, C), d.fixed(M)], [d.fixed(D, C), d.fixed(M)]),
    "redundancy.cross_correlation": lambda d: (d.real(N, D), d.real(N, D)),
    "redundancy.barlow_twins": lambda d: (d.real(D, D), 0.1),
    "redundancy.off_diagonal_squares": lambda d: (d.real(D, D),),
    "redundancy.invariance": lambda d: (d.real(N, D), d.real(N, D)),
    "redundancy.variance_hinge": lambda d: (d.real(N, D), 2.0),
    "redundancy.covariance_penalty": lambda d: (d.real(N, D),),
    "relational.distance": lambda d: (d.real(N, D), d.fixed(N, 2)),
    "relational.angle": lambda d: (d.real(N, D), d.fixed(N, 2)),
    "sharing.apart": lambda d: ([[d.real(D, C), d.real(M)], [d.real(D, C), d.real(M)]],),
    "sharing.distance": lambda d: ([[d.fixed(D, C), d.fixed(M)], [d.fixed(D, C), d.fixed(M)]],),
    "similarity.laid": lambda d: (d.real(N, D),),
    "similarity.similarities": lambda d: (d.real(N, D), d.real(M, D)),
    "similarity.distances": lambda d: (d.real(N, D), d.real(M, D)),
    "sinkhorn.sinkhorn": lambda d: (d.fixed(N, D), 0.5),
    "triplet.triplet": lambda d: (d.real(N, D), d.real(N, D), d.real(N, D)),
    "triplet.mined": lambda d: (d.real(N, M), d.places(N, M)),
}
OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "classification.cross_entropy": ({"smoothing": 0.1, "weight": "positive"},),
    "incremental.cross_entropy_within": ({"per_head": True}, {"per_head": False}),
    "numbers.binary_cross_entropy": ({}, {"positive": "positive"}),
    "triplet.mined": ({"mining": "hard"}, {"mining": "all"}),
    "triplet.triplet": ({"similarity": "cosine"}, {"similarity": "dot"}),
    "similarity.similarities": ({"similarity": "cosine"}, {"similarity": "dot"}),
    "nt_xent.nt_xent": ({"similarity": "cosine"}, {"similarity": "dot"}),
}
"""Words that change what is computed, each list in place of none; "positive" stands for a number drawn for every class."""
WEIGHTS = {"quadratic.quadratic", "quadratic.pull", "sharing.apart", "sharing.distance"}
"""Of a network's own weights, which autocast leaves in float32: they keep what they are given."""
AS_GIVEN = {*WEIGHTS, "amdim.soft_clip", "pixels.patches_of", "redundancy.off_diagonal_squares"}
"""Parts of others that keep the precision they are given, and what only moves numbers about."""
BOTH_AXES = {"nt_xent.both_ways", "nt_xent.across"}
"""The samples are also the candidates: their order is that of the columns as well."""
EVERY = [(name, words) for name in CASES for words in OPTIONS.get(name, ({},))]
every = pytest.mark.parametrize(("name", "words"), EVERY)


def drawn(name: str, words: dict[str, Any], dtype: torch.dtype = torch.float32, scale: float = 1.0) -> Any:
    """The arguments, the words, and which tensors learn."""
    draw = Draw(dtype, scale)
    given = CASES[name](draw)
    return given, {key: draw.positive(C) if one == "positive" else one for key, one in words.items()}, draw.learned


def tensors(found: Any) -> list[Tensor]:
    return [one for one in tree.tree_leaves(found) if isinstance(one, Tensor)]


def total(found: Any) -> Tensor:
    """One number of all that came out, every element with a weight of its own; what is endless has no part in it."""
    parts = []
    for one in tensors(found):
        if one.is_floating_point():
            weights = torch.linspace(0.5, 1.5, one.numel(), dtype=one.dtype).to(one.device).view(one.shape)
            parts.append((one.masked_fill(one.isinf(), 0) * weights).sum())
    return torch.stack(parts).sum()


def answer(name: str, words: dict[str, Any], *, autocast: bool = False, **how: Any) -> tuple[list[Tensor], list[Tensor]]:
    """What comes out, and the gradients of its `total` where something learns."""
    given, named, learned = drawn(name, words, **how)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):  # which the backward pass is outside of
        out = equations()[name](*given, **named)
    found = [torch.as_tensor(one) for one in tree.tree_leaves(out)]
    flows = bool(learned) and any(one.requires_grad for one in found)
    return [one.detach() for one in found], list(torch.autograd.grad(total(found), learned)) if flows else []


def test_no_equation_is_forgotten() -> None:
    assert sorted(CASES) == sorted(equations())
    assert set(OPTIONS) <= set(CASES)


def test_equations_are_functions_and_nothing_more() -> None:
    """No module, and nothing that lasts from one call to the next."""
    for module in pkgutil.iter_modules(losses.__path__):
        for _, one in inspect.getmembers(importlib.import_module(f"headstart.losses.{module.name}")):
            assert not (isinstance(one, type) and issubclass(one, nn.Module))
            assert not isinstance(one, (Tensor, np.ndarray))


@every
def test_pure(name: str, words: dict[str, Any]) -> None:
    """The same bits whatever the random generators say, which stay where they are, and arguments stay as they were."""
    given, named, _ = drawn(name, words)
    before = [one.detach().clone() for one in tensors((given, named))]
    versions = [one._version for one in tensors((given, named))]
    states = random_states()
    first = [torch.as_tensor(one).detach() for one in tree.tree_leaves(equations()[name](*given, **named))]
    assert random_states() == states
    with torch.random.fork_rng([]):
        torch.manual_seed(77)
        again = [torch.as_tensor(one).detach() for one in tree.tree_leaves(equations()[name](*given, **named))]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(torch.equal(a, b.detach()) for a, b in zip(before, tensors((given, named)), strict=True))
    assert versions == [one._version for one in tensors((given, named))]


@every
def test_autocast_changes_no_bit(name: str, words: dict[str, Any]) -> None:
    alone = answer(name, words)
    within = answer(name, words, autocast=True)
    for a, b in zip(tree.tree_leaves(alone), tree.tree_leaves(within), strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


@pytest.mark.parametrize(("name", "words"), [(name, words) for name, words in EVERY if name not in AS_GIVEN])
def test_half_precision_is_computed_in_float32(name: str, words: dict[str, Any]) -> None:
    given, named, _ = drawn(name, words, dtype=torch.bfloat16)
    wide_given, wide_named = tree.tree_map(
        lambda one: one.float() if isinstance(one, Tensor) and one.is_floating_point() else one, (given, named)
    )
    halves, wholes = equations()[name](*given, **named), equations()[name](*wide_given, **wide_named)
    for half, whole in zip(tensors(halves), tensors(wholes), strict=True):
        assert half.dtype == whole.dtype
        assert half.dtype not in (torch.bfloat16, torch.float16)
        assert torch.equal(half, whole)


@every
def test_gradients_are_those_of_the_equation(name: str, words: dict[str, Any]) -> None:
    """In float64, against differences; of what nothing learns from, no gradient comes."""
    given, named, learned = drawn(name, words, dtype=torch.float64)
    out = equations()[name](*given, **named)
    if not learned:
        assert not any(one.requires_grad for one in tensors(out))
        return
    assert all(one.dtype == torch.float64 for one in tensors(out) if one.is_floating_point())
    assert torch.autograd.gradcheck(lambda *_: total(equations()[name](*given, **named)), learned)


@every
@pytest.mark.parametrize("scale", [1e4, 1e-20])
def test_extreme_numbers_stay_finite(name: str, words: dict[str, Any], scale: float) -> None:
    """Logits of ten thousands, and embeddings of next to nothing; a candidate that does not count is minus infinity."""
    out, gradients = answer(name, words, scale=scale)
    for one in out:
        assert not one.isnan().any()
        assert torch.isfinite(one).all() or name in BOTH_AXES
    assert all(torch.isfinite(one).all() for one in gradients)


@every
def test_the_order_of_samples_is_that_of_the_answers(name: str, words: dict[str, Any]) -> None:
    given, named, _ = drawn(name, words, dtype=torch.float64)
    order = torch.tensor([3, 0, 4, 1, 2])

    def moved(one: Any) -> Any:
        return one[order] if isinstance(one, Tensor) and len(one.shape) > 0 and len(one) == N else one

    plain = tensors(equations()[name](*given, **named))
    other = tensors(equations()[name](*tree.tree_map(moved, given), **tree.tree_map(moved, named)))
    if name in BOTH_AXES:  # sums over candidates do not know their order
        plain, other = ([one[0].nan_to_num(neginf=0).sum(1)] for one in (plain, other))
        plain = [one.view(2, N)[:, order].flatten() for one in plain]
    for a, b in zip(plain, other, strict=True):
        torch.testing.assert_close(moved(a) if name not in BOTH_AXES else a, b, rtol=1e-10, atol=1e-12)


def test_every_equation_on_a_device() -> None:
    """Nothing is left on the CPU, and the numbers are the same: on the device of `tests/pretended.py`."""
    for name, words in EVERY:
        alone = answer(name, words)[0]
        given, named, _ = drawn(name, words)
        with pretended():
            away = tree.tree_map(lambda one: one.detach().to(DEVICE) if isinstance(one, Tensor) else one, (given, named))
            found = equations()[name](*away[0], **away[1])
            assert all(isinstance(one, Elsewhere) for one in tensors(found)), name
            fetched = [one.cpu() if isinstance(one, Tensor) else torch.as_tensor(one) for one in tree.tree_leaves(found)]
        assert all(torch.equal(a, b) for a, b in zip(alone, fetched, strict=True)), name
