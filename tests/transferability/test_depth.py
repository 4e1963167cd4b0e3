import numpy as np
import pytest
import torch

from headstart.engine.solvers import stratified_folds
from headstart.errors import ConfigError
from headstart.seeding import generator
from headstart.transferability.depth import probe_by_depth


@pytest.fixture(scope="module")
def blocks():
    """Four blocks: noise, useful, a little more useful than that, noise again."""
    rng = generator(0, "depth")
    labels = rng.integers(0, 3, 150)
    noise = {name: rng.standard_normal((150, 6)) for name in "abcd"}
    strength = {"a": 0.0, "b": 2.4, "c": 2.5, "d": 0.2}
    directions = rng.standard_normal((3, 6))
    features = {n: torch.from_numpy(noise[n] + s * directions[labels]).float() for n, s in strength.items()}
    return features, torch.from_numpy(labels)


@pytest.mark.parametrize("solver", ["ridge", "logistic", "svm"])
def test_finds_where_the_network_knows_most(blocks, solver):
    features, labels = blocks
    curve = probe_by_depth(features, labels, 3, stratified_folds(labels, 5), seed=0, solver=solver)
    assert list(curve.accuracies) == list("abcd")
    assert curve.peak in "bc"
    assert curve.earliest == "b"
    assert curve.drop.decided
    assert curve.drop.mean == pytest.approx(curve.accuracies[curve.peak] - curve.accuracies["d"])
    point = curve.points[1]
    assert point.selection.out_of_fold_logits.shape == (150, 3)
    assert point.correct.shape == (150,)
    assert point.accuracy.low < point.accuracy.mean == np.mean(point.correct)
    assert "peak" in str(curve)


def test_out_of_fold_means_out_of_fold(blocks):
    """Labels that features cannot explain are answered at chance, however wide the features."""
    _, labels = blocks
    wide = torch.from_numpy(generator(1, "wide").standard_normal((150, 400)))
    curve = probe_by_depth({"only": wide}, labels, 3, stratified_folds(labels, 5), seed=0)
    assert curve.accuracies["only"] < 0.5
    assert curve.drop.mean == 0
    assert curve.peak == curve.earliest == "only"


def test_needs_a_block(blocks):
    with pytest.raises(ConfigError, match="at least one block"):
        probe_by_depth({}, blocks[1], 3, [], seed=0)
