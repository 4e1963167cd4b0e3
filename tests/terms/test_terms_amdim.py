"""AMDIM's three losses in both directions by hand, and places that are drawn anew in every step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.losses.amdim import map_nce, map_scores, raw_penalty
from headstart.nets.patches import amdim_encoder
from headstart.nets.rng import forked
from headstart.terms.amdim import Amdim
from tests.terms.shown import Shown, pair_shown

BLOCKS = {1: "map1", 5: "map5", 7: "down2"}


def made() -> tuple[Amdim, Shown]:
    with forked(1):
        net = amdim_encoder(32, 2)
    term = Amdim(net, BLOCKS, dimensions=6, clip=5.0, penalty=0.1, images=(4,))
    return term.double(), pair_shown(net, 4, 32)


def test_the_loss_by_hand() -> None:
    term, step = made()
    taps = step.together("one", "two")
    maps = {}
    for side, name in BLOCKS.items():
        rows = taps[name].permute(0, 2, 3, 1).reshape(-1, taps[name].shape[1])
        maps[side] = term.embed[str(side)](rows).view(2, 4, side * side, 6)
    places = term._places(step)
    total = 0.0
    own = torch.arange(4)
    for here, there in ((0, 1), (1, 0)):
        whole = maps[1][here, :, 0]
        one_place = torch.stack([maps[5][here, image, places[here, image]] for image in range(4)])
        for sources, side in ((whole, 5), (whole, 7), (one_place, 5)):
            raw = map_scores(sources, maps[side][there])
            total += (map_nce(raw, own, 5.0) + 0.1 * raw_penalty(raw)).mean().item() / 2
    assert term(step).item() == pytest.approx(total, rel=1e-9)


def test_places_are_even_and_change_with_the_step() -> None:
    term, step = made()
    seen = np.zeros((2, 25))
    first = term._places(step)
    assert torch.equal(first, term._places(step))
    for _ in range(600):
        for view, places in enumerate(term._places(step)):
            np.add.at(seen[view], places.numpy(), 1)
        term.after_step(step)
    assert int(term.steps) == 600
    expected = 600 * 4 / 25
    assert (np.abs(seen - expected) < 5 * np.sqrt(expected)).all()


def test_chance() -> None:
    term, step = made()
    with torch.no_grad():
        for parameter in term.parameters():
            parameter.zero_()
    assert term(step).item() == pytest.approx(term.chance)
