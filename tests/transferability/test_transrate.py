import numpy as np
import pytest

from headstart.errors import ConfigError
from headstart.seeding import generator
from headstart.transferability.transrate import transrate


def rate(z, precision):
    """R(Z) = 1/2 log det(I + Z'Z / (n eps))."""
    return 0.5 * np.linalg.slogdet(np.eye(z.shape[1]) + z.T @ z / (len(z) * precision))[1]


def naive(f, labels, precision=1e-4, weights=None):
    z = f - f.mean(0)
    classes = np.unique(labels)
    weights = [np.mean(labels == c) for c in classes] if weights is None else weights
    return rate(z, precision) - sum(w * rate(z[labels == c], precision) for c, w in zip(classes, weights, strict=True))


def data(images, width, classes=3):
    rng = generator(0, "transrate")
    labels = np.arange(images) % classes
    return rng.standard_normal((images, width)) + 0.5 * rng.standard_normal((classes, width))[labels], labels


@pytest.mark.parametrize(("images", "width"), [(300, 8), (60, 30), (30, 70), (4, 1)])
@pytest.mark.parametrize("precision", [1e-4, 1.0])
def test_is_a_difference_of_coding_rates(images, width, precision):
    f, labels = data(images, width)
    assert transrate(f, labels, 5, precision=precision) == pytest.approx(naive(f, labels, precision), rel=1e-8, abs=1e-9)
    some = labels.copy()
    some[: images // 2] = 0  # classes of different sizes weigh as many images as they have
    assert transrate(f, some, 5, precision=precision) == pytest.approx(naive(f, some, precision), rel=1e-8, abs=1e-9)


def test_equals_the_listing_for_classes_of_one_size():
    f, labels = data(90, 6)
    assert transrate(f, labels, 3) == pytest.approx(naive(f, labels, weights=[1 / 3] * 3))


def test_is_zero_for_labels_without_meaning_and_grows_with_it():
    rng = generator(1, "transrate")
    labels = np.arange(3000) % 3
    noise = rng.standard_normal((3000, 3))
    told = [transrate(noise + s * labels[:, None], labels, 3) for s in (0.0, 1.0, 3.0)]
    assert 0 <= told[0] < 0.01 < told[1] < told[2]


def test_by_hand_and_blind_to_two_classes_of_one_size():
    f = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    assert transrate(f, [0, 0, 1, 1], 2) == pytest.approx(0)  # each lies as far from the mean as all do
    rng = generator(2, "transrate")
    far = rng.standard_normal((3000, 3)) + 20 * (np.arange(3000) % 2)[:, None]
    assert transrate(far, np.arange(3000) % 2, 2) < 0.01
    f = np.array([[0.0], [0.0], [0.0], [4.0]])
    want = 0.5 * np.log1p(3e4) - 0.75 * 0.5 * np.log1p(1e4) - 0.25 * 0.5 * np.log1p(9e4)
    assert transrate(f, [0, 0, 0, 1], 2) == pytest.approx(want)


def test_rotations_order_and_shift_do_not_matter():
    f, labels = data(60, 5)
    order, turn = generator(1, "o").permutation(60), np.linalg.qr(generator(1, "t").standard_normal((5, 5)))[0]
    for other, theirs in ((f @ turn, labels), (f[order], labels[order]), (f + 7, labels)):
        assert transrate(other, theirs, 3) == pytest.approx(transrate(f, labels, 3), rel=1e-9)


def test_precision_must_be_positive():
    with pytest.raises(ConfigError, match="precision = 0"):
        transrate(*data(10, 2), 3, precision=0)
