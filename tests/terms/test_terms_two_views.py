"""Contrast of two views by hand; in chunks the same loss and gradient, with the memory of a chunk."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from headstart.losses.similarity import distances
from headstart.nets.net import Net
from headstart.nets.patches import cpc_encoder
from headstart.nets.rng import forked
from headstart.terms.chunked import Pooled, normalises_batches
from headstart.terms.projection import projection
from headstart.terms.two_views import TwoViews, apart, chance_of, contrast
from tests.engine.engine_toys import resnet
from tests.losses import naive_contrast
from tests.terms.shown import Shown, pair_shown


def plain() -> Net:
    """Without batch normalisation."""
    with forked(1):
        return cpc_encoder(16, 6, 1)


def term_on(net: Net, chunk: int | None = None, kind: str = "linear", objective: str = "nt_xent") -> TwoViews:
    features = Pooled(net, net.last, chunk)
    head = projection(kind, features.channels, 4, 0).double()  # type: ignore[arg-type]
    return TwoViews(features, head, contrast(objective, 0.5, "cosine"))


def embedded(net: Net, term: TwoViews, step: Shown) -> tuple[Tensor, Tensor]:
    z = term.projection(net.pooled(net.last, step.together("one", "two")[net.last]))
    return z[:6], z[6:]


def test_objectives_by_hand() -> None:
    net = plain()
    step = pair_shown(net, size=16)
    for objective in ("nt_xent", "info_nce", "nce"):
        term = term_on(net, objective=objective)
        one, two = (z.detach().numpy() for z in embedded(net, term, step))
        views = np.concatenate([one, two])
        rows = []
        for anchor in range(12):
            other = (anchor + 6) % 12
            near = [k for k in range(12) if k != anchor and (objective != "info_nce" or k // 6 != anchor // 6)]
            scores = np.array([naive_contrast.cosine(views[anchor], views[k]) / 0.5 for k in near])
            kind = naive_contrast.nce if objective == "nce" else naive_contrast.info_nce
            rows.append(kind(scores, near.index(other)))
        assert term(step).item() == pytest.approx(np.mean(rows), rel=1e-9)


@pytest.mark.parametrize("mining", ["hard", "all"])
def test_triplets_by_hand(mining: str) -> None:
    net = plain()
    step = pair_shown(net, size=16)
    term = term_on(net)
    term.compare = apart(0.7, mining, "cosine")  # type: ignore[arg-type]
    views = torch.cat(embedded(net, term, step)).detach()
    d = distances(views, views).numpy()
    rows = []
    for anchor in range(12):
        others = [k for k in range(12) if k % 6 != anchor % 6]
        losses = [max(0.0, d[anchor, (anchor + 6) % 12] - d[anchor, k] + 0.7) for k in others]
        rows.append(max(losses) if mining == "hard" else np.mean(losses))
    assert term(step).item() == pytest.approx(np.mean(rows), rel=1e-9)


@pytest.mark.parametrize("kind", ["none", "linear", "nonlinear"])
def test_projections(kind: str) -> None:
    head, same = (projection(kind, 6, 4, seed=3) for _ in range(2))  # type: ignore[arg-type]
    x = torch.randn(5, 6)
    assert head(x).shape == (5, 6 if kind == "none" else 4)
    assert torch.equal(head(x), same(x))
    norms = [part for part in head.modules() if isinstance(part, nn.BatchNorm1d)]
    assert len(norms) == {"none": 0, "linear": 1, "nonlinear": 2}[kind]
    bare = projection(kind, 6, 4, seed=3, norm=False)  # type: ignore[arg-type]
    assert not any(isinstance(part, nn.BatchNorm1d) for part in bare.modules())


def test_chance_is_the_loss_of_equal_embeddings() -> None:
    equal = torch.ones(5, 3, dtype=torch.float64)
    for objective in ("nt_xent", "info_nce"):
        found = contrast(objective, 0.5, "cosine")(equal, equal, every=(equal, equal), first=0)
        np.testing.assert_allclose(found, chance_of(objective, 5), rtol=1e-12)
    none = torch.zeros(5, 3, dtype=torch.float64)
    found = contrast("nce", 0.5, "dot")(none, none, every=(none, none), first=0)
    np.testing.assert_allclose(found, chance_of("nce", 5), rtol=1e-12)


def gradients(net: Net, chunk: int | None, kind: str) -> tuple[Tensor, list[Tensor], Shown]:
    step = pair_shown(net, size=16)
    term = term_on(net, chunk, kind)
    loss = term(step)
    return loss.detach(), list(torch.autograd.grad(loss, [*net.parameters(), *term.parameters()])), step


@pytest.mark.parametrize("kind", ["none", "nonlinear"])
@pytest.mark.parametrize("chunk", [2, 5, 12, 100])
def test_chunks_have_the_loss_and_gradient_of_the_whole(chunk: int, kind: str) -> None:
    """The projection, batch normalisation included, sees all features at once."""
    net = plain()
    whole, expected, _ = gradients(net, None, kind)
    loss, found, step = gradients(net, chunk, kind)
    torch.testing.assert_close(loss, whole, rtol=0, atol=1e-12)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    assert max(step.passed) <= chunk
    assert sum(step.passed) == 2 * 12, "each chunk passes forward, and again in the backward pass"


def test_chunks_keep_what_features_need_and_no_more() -> None:
    """What is kept from the forward to the backward pass: with chunks, the features; without, every activation."""

    def kept(count: int, chunk: int | None) -> int:
        net = plain()
        step, term, sizes = pair_shown(net, count, 16), term_on(net, chunk, "none"), {}

        def pack(x: Tensor) -> Tensor:
            if x.is_floating_point() and not isinstance(x, nn.Parameter):
                sizes[x.data_ptr()] = x.untyped_storage().nbytes()
            return x

        with saved_tensors_hooks(pack, lambda x: x):
            loss = term(step)
        assert loss.requires_grad
        return sum(sizes.values())

    assert kept(8, 4) < kept(8, None) / 10
    features_and_scores = 8 * (3 * 2 * 16 * 6 + 3 * (2 * 16) ** 2)
    assert kept(16, 4) < features_and_scores


def test_running_statistics_follow_each_chunk_once() -> None:
    net = resnet()
    assert normalises_batches(net) == [name for name in net.block_names if name != "pool"]
    step, term = pair_shown(net), term_on(net, 5)
    loss = term(step)
    before = {name: value.clone() for name, value in net.state_dict().items() if "running" in name or "batches" in name}
    assert int(before["blocks.stem.bn1.num_batches_tracked"]) == 3
    torch.autograd.grad(loss, list(net.parameters()))
    after = net.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_frozen_normalisation_gives_the_whole_in_chunks_too() -> None:
    net = resnet()
    losses = []
    for chunk in (None, 5):
        step, term = pair_shown(net), term_on(net, chunk)
        net.eval()
        losses.append(term(step).detach())
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=1e-12)
