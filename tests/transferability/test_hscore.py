import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_iris

from headstart.errors import DataError
from headstart.seeding import generator
from headstart.transferability.hscore import hscore, ledoit_wolf
from headstart.transferability.moments import moments


def naive(f, labels, regularised):
    """tr(cov(f)^-1 cov(E[f|y])) with every matrix written out."""
    f = f - f.mean(0)
    means = np.zeros_like(f)
    for c in np.unique(labels):
        means[labels == c] = f[labels == c].mean(0)
    if not regularised:
        return np.trace(np.linalg.pinv(np.cov(f, rowvar=False), hermitian=True) @ np.cov(means, rowvar=False))
    found = LedoitWolf().fit(f)
    return np.trace(np.linalg.pinv(found.covariance_) @ np.cov(means, rowvar=False)) * (1 - found.shrinkage_)


def data(images, width, classes=4, strength=0.7):
    rng = generator(0, "hscore")
    labels = rng.integers(0, classes, images)
    return rng.standard_normal((images, width)) + strength * rng.standard_normal((classes, width))[labels], labels


def test_iris_golden_values():
    f, labels = load_iris(return_X_y=True)
    assert hscore(f, labels, 3, regularised=False) == pytest.approx(1.19190, abs=5e-6)
    assert hscore(f, labels, 3) == pytest.approx(1.17784, abs=5e-6)


@pytest.mark.parametrize("regularised", [False, True])
@pytest.mark.parametrize(("images", "width"), [(300, 7), (60, 60), (40, 90), (5, 1)])
def test_is_the_trace(images, width, regularised):
    f, labels = data(images, width, 2 if width == 1 else 4)
    if width == 1:  # one feature: no covariance matrix to invert, 1 - a is 1
        between = sum((labels == c).mean() * (f[labels == c].mean() - f.mean()) ** 2 for c in np.unique(labels))
        assert hscore(f, labels, 4, regularised=False) == pytest.approx(between / f.var())
        return
    assert hscore(f, labels, 4, regularised=regularised) == pytest.approx(naive(f, labels, regularised), rel=1e-8)


@pytest.mark.parametrize(("images", "width"), [(200, 9), (50, 120), (30, 30), (100, 1)])
def test_shrinkage_is_ledoit_and_wolfs(images, width):
    f, labels = data(images, width)
    f[:, 0] *= 3
    want = LedoitWolf().fit(f).shrinkage_
    assert ledoit_wolf(moments(f, labels, 4)) == pytest.approx(want, abs=1e-12)


def test_the_plain_one_knows_nothing_where_features_outnumber_images():
    rng = generator(1, "noise")
    labels = np.arange(40) % 5
    noise = rng.standard_normal((40, 80))
    told = noise + 3 * rng.standard_normal((5, 80))[labels]
    assert hscore(noise, labels, 5, regularised=False) == pytest.approx(4)
    assert hscore(told, labels, 5, regularised=False) == pytest.approx(4)
    assert hscore(noise, labels, 5) < 0.5 * hscore(told, labels, 5)


def test_rotations_order_scale_and_shift_do_not_matter():
    f, labels = data(120, 6)
    order, turn = generator(1, "o").permutation(120), np.linalg.qr(generator(1, "t").standard_normal((6, 6)))[0]
    for regularised in (False, True):
        want = hscore(f, labels, 4, regularised=regularised)
        for other, theirs in ((f @ turn, labels), (f[order], labels[order]), (1e3 * f + 50, labels)):
            assert hscore(other, theirs, 4, regularised=regularised) == pytest.approx(want, rel=1e-9)
    stretched = f * np.arange(1, 7)  # the plain one does not mind any linear map
    assert hscore(stretched, labels, 4, regularised=False) == pytest.approx(hscore(f, labels, 4, regularised=False))


def test_better_features_score_higher_and_classes_may_be_absent():
    weak, strong = data(200, 8, strength=0.2), data(200, 8, strength=1.5)
    assert hscore(*weak, 4) < hscore(*strong, 4)
    assert hscore(*strong, 9) == hscore(*strong, 4)


def test_features_that_never_change_score_nothing():
    assert hscore(np.ones((6, 3)), np.arange(6) % 2, 2) == 0
    assert hscore(np.ones((6, 3)), np.arange(6) % 2, 2, regularised=False) == 0
    f, labels = data(100, 5)
    with_dead = np.hstack((f, np.zeros((100, 2))))
    assert hscore(with_dead, labels, 4, regularised=False) == pytest.approx(hscore(f, labels, 4, regularised=False))
    assert np.isfinite(hscore(with_dead, labels, 4))


@pytest.mark.parametrize(
    ("f", "labels", "word"),
    [
        (np.ones((3, 2)), [0, 1], "one label per row"),
        (np.ones((3, 2)), [0, 1, 5], r"0\.\.1"),
        (np.ones((3, 2)), [0.0, 1.0, 1.0], "not integers"),
        (np.full((3, 2), np.nan), [0, 1, 1], "finite"),
        (np.ones((3, 2)), [1, 1, 1], "two classes"),
        (np.ones((3, 2), int), [1, 0, 1], "floats"),
    ],
)
def test_wrong_input_is_named(f, labels, word):
    with pytest.raises(DataError, match=word):
        hscore(f, labels, 2)
