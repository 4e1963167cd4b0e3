"""MoCo by hand: which keys, which queue, in which order they change, and parts of a batch for normalisation."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.data.views import normalise
from headstart.nets.net import Net
from headstart.terms.chunked import Pooled
from headstart.terms.moco import Moco
from headstart.terms.projection import projection
from tests.engine.engine_toys import differing, resnet, state
from tests.losses import naive_contrast
from tests.terms.shown import Shown, pair_shown


def made(queue: int = 10, groups: int = 2, objective: str = "info_nce", similarity: str = "cosine") -> tuple[Net, Moco]:
    net = resnet().double().train()
    features = Pooled(net, net.last)
    head = projection("nonlinear", features.channels, 5, 0, norm=False).double()
    how = {"queue": queue, "momentum": 0.8, "temperature": 0.3, "groups": groups, "objective": objective}
    return net, Moco(net, features, head, 5, similarity=similarity, **how).double()  # type: ignore[arg-type]


def parts_of(term: Moco, step: Shown, groups: int) -> Tensor:
    """Keys, each part of the batch by itself, image i in part i mod groups."""
    samples = step.samples("two")
    spec = step.net.input
    x = normalise(samples, spec.mean, spec.std).double()
    keys = torch.empty(len(samples), 5, dtype=torch.float64)
    for part in range(groups):
        features = term.keys.copy.run(x[part::groups])["pool"]
        keys[part::groups] = term.key_projection(features)
    return keys / keys.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("objective", ["info_nce", "nce"])
def test_the_loss_by_hand(objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, term = made(objective=objective)
    step = pair_shown(net)
    monkeypatch.setattr(term.keys, "features", doubled(term))
    keys = parts_of(term, step, 2).detach().numpy()
    queries = term.projection(step.together("one")["pool"]).detach().numpy()
    rows = []
    for query, key in zip(queries, keys, strict=True):
        scores = [naive_contrast.cosine(query, other) / 0.3 for other in (key, *term.queue.numpy())]
        rows.append(getattr(naive_contrast, objective)(np.array(scores), 0))
    assert term(step).item() == pytest.approx(np.mean(rows), rel=1e-8)


def doubled(term: Moco) -> object:
    """Features of the key encoder in doubles: samples are normalised to floats."""

    def features(samples: Tensor, block: str, start: str | None) -> Tensor:
        assert start is None
        net = term.keys.copy
        assert isinstance(net, Net)
        x = normalise(samples, net.input.mean, net.input.std).double()
        with torch.no_grad():
            return net.pooled(block, net.run(x, until=block)[block])

    return features


def test_the_average_moves_first_then_the_queue_which_is_a_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    net, term = made(queue=10)
    monkeypatch.setattr(term.keys, "features", doubled(term))
    old = [term.queue.clone()]
    places = torch.arange(6)
    for pointer in (0, 6, 2, 8):
        assert int(term.pointer) == pointer
        step, before, weights = pair_shown(net), term.queue.clone(), state(term.keys)
        keys = parts_of(term, step, 2)
        weights = state(term.keys)
        term(step)
        assert torch.equal(term.queue, before), "the forward pass leaves the queue alone"
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.01)
        term.after_step(step)
        torch.testing.assert_close(term.queue[(pointer + places) % 10], keys)
        rest = [place for place in range(10) if place not in ((pointer + places) % 10).tolist()]
        assert torch.equal(term.queue[rest], before[rest])
        for name, parameter in net.named_parameters():
            expected = 0.8 * weights[f"copy.{name}"] + 0.2 * parameter
            torch.testing.assert_close(term.keys.copy.state_dict()[name], expected)
        old.append(term.queue.clone())
    assert all(not torch.equal(one, other) for one, other in pairwise(old))


@pytest.mark.parametrize(("groups", "used"), [(1, 1), (2, 2), (3, 3), (8, 3)])
def test_parts_have_two_images_at_least(groups: int, used: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net, term = made(groups=groups)
    sizes: list[int] = []
    features = doubled(term)

    def counted(samples: Tensor, block: str, start: str | None) -> Tensor:
        sizes.append(len(samples))
        return features(samples, block, start)  # type: ignore[operator,no-any-return]

    monkeypatch.setattr(term.keys, "features", counted)
    term(pair_shown(net))
    assert sizes == [6 // used] * used


def test_chance_and_what_is_kept() -> None:
    net, term = made(queue=17)
    assert term.chance == pytest.approx(math.log(18))
    names = set(term.state_dict())
    assert {"queue", "pointer"} <= names
    assert any(name.startswith("keys.copy.blocks.") for name in names)
    assert {name for name, _ in term.named_parameters()} == {
        f"projection.{n}" for n, _ in term.projection.named_parameters()
    }
    other = made(queue=17)[1]
    with torch.no_grad():
        other.queue.zero_()
    other.load_state_dict(term.state_dict())
    assert not differing(state(term), state(other))
    assert not any(name.startswith("net.") for name in names)
    assert net is term.net
