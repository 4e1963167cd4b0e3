"""Solvers on features as strongly correlated as those of all depths of a network side by side."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from headstart.engine import solvers as s
from headstart.engine.solvers.lbfgs import minimise
from headstart.engine.solvers.newton import finish
from headstart.engine.solvers.spectrum import spectrum
from headstart.seeding import generator


def layers(images, depths=6, width=64, classes=10):
    """Digits through random layers, all of them side by side: `[images, 64 * (1 + depths)]` float32, and labels."""
    x, y = load_digits(return_X_y=True)
    chosen = y < classes
    hidden = (x[chosen] - x.mean(0)) / (x.std(0) + 1e-9)
    rng, columns = generator(0, "layers"), [hidden]
    for _ in range(depths):
        hidden = np.maximum(hidden @ rng.standard_normal((hidden.shape[1], width)), 0)
        hidden /= hidden.std()
        columns.append(hidden)
    return torch.from_numpy(np.concatenate(columns, 1)[:images]).float(), torch.from_numpy(y[chosen][:images]).long()


def test_the_features_are_as_bad_as_they_are_meant_to_be():
    x, _ = layers(1000)
    values = spectrum(x, torch.zeros(len(x)), 1).values[1:]
    assert values.max() / values[values > 1e-6].min() > 1e5


@pytest.mark.parametrize("penalty", [1e-4, 1e-2])
def test_logistic_is_the_optimum_in_few_steps(penalty):
    x, y = layers(300, depths=3, classes=4)
    got = s.fit_logistic(x.double(), y, 4, penalty)
    deviation = x.double().std(0, unbiased=False)
    z = ((x.double() - x.double().mean(0)) / torch.where(deviation > 1e-9, deviation, 1.0)).numpy()
    model = LogisticRegression(C=1 / (len(x) * penalty), tol=1e-9, max_iter=20_000).fit(z, y.numpy())
    np.testing.assert_allclose(got.probabilities(x.double()).numpy(), model.predict_proba(z), atol=1e-4)
    assert got.info["converged"]
    assert got.info["iterations"] < 0.5 * int(model.n_iter_.max())


@pytest.mark.parametrize("penalty", [1e-5, 1e-3, 1e-1])
def test_steps_stay_few_at_full_size(penalty):
    x, y = layers(1000)
    logistic, svm = s.fit_logistic(x, y, 10, penalty), s.fit_svm(x, y, 10, penalty, folds=())
    assert logistic.info["converged"]
    assert logistic.info["iterations"] <= 150
    assert svm.info["converged"]
    assert svm.info["gradient"] <= 1e-9  # the minimum itself, not near it
    assert svm.info["iterations"] <= 10


@pytest.mark.parametrize("name", ["logistic", "svm"])
def test_choosing_is_as_good_as_exact_fits(name):
    x, y = layers(500, depths=3)
    folds, penalties = s.stratified_folds(y, 3), (1e-4, 1e-2, 1.0)
    got = s.cross_validate(name, x, y, 10, penalties, folds)
    for row, penalty in enumerate(penalties):
        right = 0
        for train, valid in folds:
            right += int((s.fit(name, x[train], y[train], 10, penalty).logits(x[valid]).argmax(1) == y[valid]).sum())
        assert got.accuracy_by_penalty[row] == pytest.approx(right / len(x), abs=0.012)


@pytest.mark.parametrize(("images", "width"), [(50, 6), (12, 30)])
@pytest.mark.parametrize("weighted", [False, True])
def test_spectrum_diagonalises_moments_and_folds_back(images, width, weighted):
    rng = generator(0, "spectrum")
    x = torch.from_numpy(rng.standard_normal((images, 4)) @ rng.standard_normal((4, width)) + 5)
    x += torch.from_numpy(1e-3 * rng.standard_normal((images, width)))
    y = torch.arange(images) % 3
    weight = torch.from_numpy(rng.integers(0, 3, images)) if weighted else None
    got = spectrum(x, y, 4, None, weight)
    used = torch.arange(images) if weight is None else weight.nonzero()[:, 0]
    assert torch.equal(got.rows, used)
    assert got.absent == [3]
    moments = got.features.T @ (got.weights[:, None] * got.features)
    torch.testing.assert_close(moments, torch.diag(got.values), atol=1e-8, rtol=1e-8)
    deviation = x[used].std(0, unbiased=False)
    assert torch.allclose(
        (got.axes * deviation[:, None]).T @ (got.axes * deviation[:, None]), torch.eye(got.width - 1).double()
    )
    assert got.width == 1 + min(width, len(used) - 1)
    along = torch.from_numpy(rng.standard_normal((4, got.width)))
    weights, bias = got.folded(along)
    torch.testing.assert_close((x[used] @ weights.T + bias)[:, :3], (got.features @ along.T)[:, :3], atol=1e-6, rtol=1e-6)


def test_newton_ends_at_the_minimum_from_anywhere():
    x, y = layers(200, depths=1)
    samples = spectrum(x, y, 10)  # a convex function has its minimum where the gradient vanishes
    sign = torch.where(y == 3, 1.0, -1.0).double()
    z, share = samples.features.numpy(), 1 / len(y)

    def gradient(p):
        hinge = np.maximum(0, 1 - sign.numpy() * (z @ p))
        return -2 * share * (hinge * sign.numpy()) @ z + np.append(0, p[1:]) * 1e-2

    rng = generator(0, "newton")
    for start in (torch.zeros(samples.width), torch.from_numpy(rng.standard_normal(samples.width))):
        got, steps = finish(samples, sign, 1e-2, start)
        assert steps < 40
        assert np.abs(gradient(got.numpy())).max() < 1e-12


def test_a_metric_that_is_the_curvature_takes_one_step():
    curvature = torch.logspace(-4, 4, 30, dtype=torch.float64)
    target = torch.from_numpy(generator(0, "metric").standard_normal((2, 30)))

    def objective(x, which):
        away = x - target[which]
        return 0.5 * (curvature * away.square()).sum(1), curvature * away

    start = torch.zeros(2, 30, dtype=torch.float64)
    found = minimise(objective, start, tolerance=1e-9, metric=lambda which: (1 / curvature).expand(len(which), -1))
    assert found.iterations.tolist() == [1, 1]
    torch.testing.assert_close(found.x, target)
    rough = minimise(
        objective, target + 0.01, tolerance=0.0, metric=lambda which: (1 / curvature).expand(len(which), -1), close=0.1
    )
    assert rough.iterations.tolist() == [0, 0]


@pytest.mark.parametrize("name", ["logistic", "svm", "ridge"])
def test_a_single_image_and_features_that_never_change_are_answered(name):
    x = torch.full((6, 9), 2.5)
    for features, labels in ((x[:1], torch.tensor([1])), (x, torch.tensor([0, 1, 1, 1, 1, 1]))):
        got = s.fit(name, features, labels, 3, 1e-2)
        assert (got.weight == 0).all()
        assert (got.logits(features).argmax(1) == 1).all()
