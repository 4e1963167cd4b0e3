import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize
from sklearn.datasets import load_iris

from headstart.errors import DataError
from headstart.seeding import generator
from headstart.transferability.logme import logme, logme_near
from headstart.transferability.moments import moments


def brute_force(f, y, alpha, beta):
    """log N(y | 0, I / beta + F F' / alpha), the definition."""
    cov = np.eye(len(f)) / beta + f @ f.T / alpha
    return stats.multivariate_normal(np.zeros(len(f)), cov).logpdf(y)


def copied_fixed_point(f, y):
    """The iteration in wide use, as a reader would write it down: (evidence per image, alpha, beta)."""
    n, d = f.shape
    u, s, _ = np.linalg.svd(f, full_matrices=False)
    sigma, z = s**2, u.T @ y
    rest = y @ y - z @ z
    alpha = beta = 1.0
    for _ in range(2000):
        t = alpha / beta
        gamma = (sigma / (sigma + t)).sum()
        m2 = (sigma * z**2 / (t + sigma) ** 2).sum()
        res2 = (z**2 / (1 + sigma / t) ** 2).sum() + rest
        alpha, beta = gamma / (m2 + 1e-5), (n - gamma) / (res2 + 1e-5)
        if abs(alpha / beta - t) / t <= 1e-9:
            break
    evidence = 0.5 * (d * np.log(alpha) + n * np.log(beta) - np.log(alpha + beta * sigma).sum())
    return (evidence - 0.5 * (beta * res2 + alpha * m2 + n * np.log(2 * np.pi))) / n, alpha, beta


def data(images, width, seed=0):
    rng = generator(seed, "logme")
    labels = rng.integers(0, 3, images)
    return rng.standard_normal((images, width)) + 0.7 * rng.standard_normal((3, width))[labels], labels


@pytest.mark.parametrize(("images", "width"), [(40, 5), (30, 30), (25, 60), (80, 4)])
def test_is_the_maximum_of_the_evidence(images, width):
    f, labels = data(images, width)
    result = logme(f, labels, 3)
    for c in range(3):
        y = (labels == c).astype(float)
        at = brute_force(f, y, result.alpha[c], result.beta[c])
        assert result.per_class[c] * images == pytest.approx(at, abs=1e-6)
        starts = [np.log([result.alpha[c], result.beta[c]]) + shift for shift in ([0, 0], [2, -1], [-3, 1])]
        found = max(-minimize(lambda p, y=y: -brute_force(f, y, *np.exp(p)), s, method="Nelder-Mead").fun for s in starts)
        assert at >= found - 1e-4
    assert result.score == pytest.approx(result.per_class.mean())
    assert result.unbounded == ()


def test_iris_golden_value():
    f, labels = load_iris(return_X_y=True)
    assert logme(f, labels, 3).score == pytest.approx(-0.16006, abs=5e-6)


def test_agrees_with_the_copied_code_when_images_outnumber_features():
    f, labels = data(200, 20)
    copied = np.mean([copied_fixed_point(f, (labels == c).astype(float))[0] for c in range(3)])
    assert logme(f, labels, 3).score == pytest.approx(copied, abs=1e-4)


def test_differs_from_the_copied_code_by_the_term_it_omits():
    f, labels = data(40, 150)
    for c in range(3):
        value, alpha, beta = copied_fixed_point(f, (labels == c).astype(float))
        k = 40
        # log(alpha) stands D times before the determinant but is taken off again for k directions only
        corrected = value - (150 - k) * np.log(alpha) / 2 / 40
        assert corrected == pytest.approx(brute_force(f, (labels == c).astype(float), alpha, beta) / 40, abs=1e-3)
        assert logme(f, labels, 3).per_class[c] >= corrected - 1e-4


def test_rotations_images_order_and_parts_do_not_matter():
    f, labels = data(500, 6)
    want = logme(f, labels, 3)
    turn = np.linalg.qr(generator(1, "turn").standard_normal((6, 6)))[0]
    order = generator(1, "order").permutation(500)
    assert logme(f @ turn, labels, 3).score == pytest.approx(want.score, abs=1e-9)
    assert logme(f[order], labels[order], 3).score == pytest.approx(want.score, abs=1e-9)
    assert logme(1e4 * f, labels, 3).score == pytest.approx(want.score, abs=1e-9)
    assert logme(np.hstack((f, np.zeros((500, 300)))), labels, 3).score == pytest.approx(want.score, abs=1e-9)


def test_better_features_score_higher():
    f, labels = data(100, 10)
    noise = generator(2, "noise").standard_normal((100, 10))
    assert logme(np.hstack((f, np.eye(3)[labels] + 0.1 * noise[:, :3])), labels, 3).score > logme(f, labels, 3).score
    assert "LogME" in str(logme(f, labels, 3))


def test_a_perfect_low_dimensional_map_is_reported():
    labels = np.repeat([0, 1], 50)
    assert set(logme(np.eye(2)[labels], labels, 2).unbounded) == {0, 1}


@pytest.mark.parametrize(
    ("f", "labels", "word"),
    [
        (np.ones((3, 2)), [0, 1], "one label per row"),
        (np.ones((3, 2)), [0, 1, 5], "0..1"),
        (np.full((3, 2), np.nan), [0, 1, 1], "finite"),
        (np.ones((3, 2)), [1, 1, 1], "two classes"),
        (np.ones((3, 2), int), [1, 0, 1], "floats"),
    ],
)
def test_wrong_input_is_named(f, labels, word):
    with pytest.raises(DataError, match=word):
        logme(f, labels, 2)


@pytest.mark.parametrize(("images", "width"), [(60, 9), (40, 40), (35, 90)])
def test_the_evidence_is_exact(images, width):
    """The log density of the targets, by brute force, at the precisions that were found: to 1e-8 per image."""
    f, labels = data(images, width, seed=4)
    result = logme(f, labels, 3)
    for c in range(3):
        at = brute_force(f, (labels == c).astype(float), result.alpha[c], result.beta[c]) / images
        assert result.per_class[c] == pytest.approx(at, abs=1e-8)


def test_differs_from_the_copied_code_by_exactly_its_missing_term():
    """For N >= D nothing is missing; else (D - k) log(alpha) / 2, at the copied code's alpha."""
    for images, width, missing in ((90, 30, 0), (40, 150, 110)):
        f, labels = data(images, width, seed=5)
        for c in range(3):
            y = (labels == c).astype(float)
            value, alpha, beta = copied_fixed_point(f, y)
            assert value - missing * np.log(alpha) / 2 / images == pytest.approx(
                brute_force(f, y, alpha, beta) / images, abs=1e-3
            )
            if not missing:
                assert logme(f, labels, 3).per_class[c] == pytest.approx(value, abs=1e-4)


def test_classes_without_images_take_no_part():
    f, labels = data(60, 8)
    want, found = logme(f, labels, 3), logme(f, 2 * labels, 6)
    assert found.score == want.score
    np.testing.assert_array_equal(found.per_class[::2], want.per_class)
    assert np.isnan(found.per_class[1::2]).all()
    assert np.isnan(found.alpha[1::2]).all()
    assert found.unbounded == want.unbounded == ()
    twins = np.repeat([0, 3], 50)
    assert logme(np.eye(4)[twins], twins, 5).unbounded == (0, 3)


@pytest.mark.parametrize(("images", "width"), [(200, 12), (60, 60), (40, 90)])
def test_the_same_from_moments_near_known_precisions(images, width):
    f, labels = data(images, width, seed=6)
    f += 3  # not centred: the evidence minds
    whole = logme(f, labels, 4)
    rough = whole.ratio * 10 ** np.array([0.7, -0.9, 2.5, 1.0])  # the third is further away than one step of the search
    assert logme_near(moments(f, labels, 4), rough) == pytest.approx(whole.score, abs=1e-7)
    part = generator(6, "part").permutation(images)[: images // 2]
    near = logme_near(moments(f[part], labels[part], 4), whole.ratio)
    assert near == pytest.approx(logme(f[part], labels[part], 4).score, abs=1e-7)
