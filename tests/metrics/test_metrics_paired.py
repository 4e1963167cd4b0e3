import numpy as np
import pytest
from scipy import stats

from headstart.errors import DataError
from headstart.metrics import paired as pd
from headstart.seeding import generator


def arms(only_a: int, only_b: int, both: int, none: int):
    a = np.repeat([1, 0, 1, 0], [only_a, only_b, both, none])
    b = np.repeat([0, 1, 1, 0], [only_a, only_b, both, none])
    return a, b


def test_mcnemar_is_a_binomial_test():
    result = pd.mcnemar(*arms(15, 5, 60, 20))
    assert (result.only_a, result.only_b) == (15, 5)
    assert result.p_value == pytest.approx(stats.binomtest(5, 20).pvalue)
    assert pd.mcnemar(*arms(0, 0, 5, 5)).p_value == 1.0
    assert "15" in str(result)


def test_paired_bootstrap_agrees_with_agresti_and_min():
    """Their closed form: Wald on the table with half an image added to each cell."""
    got = pd.paired_bootstrap(*arms(30, 12, 140, 18), seed=0, draws=40_000)
    b, c, n = 30.5, 12.5, 202
    error = np.sqrt((b + c) / n - ((b - c) / n) ** 2) / np.sqrt(n - 2)
    assert got.mean == pytest.approx(18 / 200)
    assert (got.low, got.high) == pytest.approx(((b - c) / n - 1.96 * error, (b - c) / n + 1.96 * error), abs=0.006)
    assert got.decided
    assert got.p_value < 0.05
    assert got.detectable == pytest.approx((1.95996 + 0.84162) * error, rel=1e-3)


def test_equal_arms_are_undecided_and_say_what_they_could_have_found():
    got = pd.paired_bootstrap(*arms(0, 0, 45, 5), seed=0)
    assert got.mean == 0
    assert not got.decided
    assert got.low < 0 < got.high
    assert got.detectable > 0.03
    assert "undecided" in str(got)


def test_a_difference_of_the_detectable_size_is_found_four_times_in_five():
    rng, found, images = generator(0, "power"), 0, 400
    detectable = pd.paired_bootstrap(*arms(40, 40, 280, 40), seed=0).detectable
    shares = [0.1 + detectable / 2, 0.1 - detectable / 2, 0.7, 0.1]
    for seed in range(200):
        found += pd.paired_bootstrap(*arms(*rng.multinomial(images, shares)), seed=seed, draws=1000).decided
    assert 0.7 <= found / 200 <= 0.9


def test_equal_arms_are_rarely_told_apart():
    """Type I error over images, and over seeds that differ while arms do not."""
    rng, wrong, rounds = generator(0, "level"), {"images": 0, "hierarchical": 0}, 200
    for seed in range(rounds):
        wrong["images"] += pd.paired_bootstrap(
            *arms(*rng.multinomial(150, [0.08, 0.08, 0.74, 0.1])), seed=seed, draws=1000
        ).decided
        quality = rng.normal(1.2, 0.2, (2, 3, 1)) + rng.normal(0, 1, 100)
        a, b = (quality + rng.normal(0, 1, (2, 3, 100)) > 0).astype(float)
        wrong["hierarchical"] += pd.paired_bootstrap(a, b, seed=seed, draws=1000).decided
    assert all(count / rounds <= 0.1 for count in wrong.values()), wrong


def test_weights_of_one_change_nothing_and_nearly_one_nearly_nothing():
    plain = pd.paired_bootstrap(*arms(0, 4, 40, 6), seed=0)
    assert pd.paired_bootstrap(*arms(0, 4, 40, 6), seed=0, weights=np.ones(50)) == plain
    nearly = pd.paired_bootstrap(*arms(0, 4, 40, 6), seed=0, weights=np.full(50, 1.0001))
    assert not nearly.decided
    assert nearly.p_value == pytest.approx(plain.p_value, abs=0.01)
    assert nearly.detectable == pytest.approx(plain.detectable, rel=1e-3)


def test_weighted_equal_arms_are_rarely_told_apart_however_few_images_differ():
    """A rare class of a fifth of the images counts as much as the rest: type I error, and equal arms have an interval."""
    for images, differing in ((50, 0.1), (200, 0.2)):
        weights = np.where(np.arange(images) % 5 == 0, 2.5, 0.625)
        rng, wrong = generator(0, "weighted", images), 0
        for seed in range(300):
            luck = rng.random(images)
            a, b = luck >= differing / 2, (luck < differing / 2) | (luck >= differing)
            wrong += pd.paired_bootstrap(a, b, seed=seed, weights=weights, draws=1000).decided
        assert wrong / 300 <= 0.08
        same = pd.paired_bootstrap(a, a, seed=0, weights=weights)
        assert same.low < 0 < same.high
        assert not same.decided
        assert same.detectable > 0.01


def test_the_weighted_mean_is_that_of_the_weighted_values():
    a, b = arms(9, 4, 30, 7)
    weights = generator(0, "weights").uniform(0.5, 1.5, 50)
    found = pd.paired_bootstrap(a, b, seed=0, weights=weights)
    assert found.mean == pytest.approx(float(np.mean(weights * (a - b))))
    many = pd.paired_bootstrap([a, a, b], [b, b, a], seed=0, weights=weights)
    assert many.mean == pytest.approx(found.mean / 3)
    with pytest.raises(DataError, match="weights of 50 images"):
        pd.paired_bootstrap(a, b, seed=0, weights=np.ones(49))


def test_p_value_and_interval_agree():
    rng = generator(0, "agree")
    for seed in range(30):
        gaps = rng.normal(0.25, 1, 60)
        got = pd.paired_bootstrap(gaps, np.zeros(60), seed)
        if abs(got.p_value - 0.05) > 0.005:
            assert got.decided == (got.p_value < 0.05)
        assert got.p_value == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue, abs=0.03)


def test_hierarchical_with_seeds_that_agree_is_a_t_test_over_images():
    gaps = generator(0, "images").normal(0.2, 1, 80)
    got = pd.paired_hierarchical(np.tile(gaps, (4, 1)), np.zeros((4, 80)), seed=0, draws=20_000)
    want = stats.ttest_1samp(gaps, 0)
    assert got.p_value == pytest.approx(want.pvalue, rel=0.1)
    low, high = want.confidence_interval()
    assert (got.low, got.high) == pytest.approx((low, high), abs=0.02)
    assert got.method == "hierarchical"


def test_corrected_t_closed_form():
    a, b = np.array([0.81, 0.84, 0.80, 0.86, 0.83]), np.array([0.78, 0.83, 0.79, 0.82, 0.80])
    got = pd.corrected_t(a, b, train_size=80, test_size=20)
    t = (a - b).mean() / np.sqrt((1 / 5 + 1 / 4) * (a - b).var(ddof=1))
    assert got.p_value == pytest.approx(2 * stats.t(4).sf(t))
    assert got.decided == (got.p_value < 0.05)
    naive = stats.ttest_rel(a, b)
    assert got.p_value > naive.pvalue
    same = pd.corrected_t(a, a, 80, 20)
    assert same.p_value == 1.0
    assert not same.decided
    surely = pd.corrected_t(a + 0.125, a + 0.0, 80, 20)
    assert surely.decided


def test_holm():
    # Holm 1979 by hand: .01 * 4, .013 * 3, .03 * 2, .4
    assert pd.holm([0.03, 0.01, 0.4, 0.013]) == pytest.approx([0.06, 0.04, 0.4, 0.04])
    assert pd.holm([]) == []
    assert pd.holm([0.9, 0.8]) == [1.0, 1.0]
    one = pd.Difference(0.1, 0.01, 0.19, 0.03, True, 0.12, 0.95, "images")
    many = pd.holm_differences({"x": one, "y": one})
    assert many["x"].p_value == pytest.approx(0.06)
    assert not many["x"].decided
    assert pd.holm_differences({"x": one})["x"].decided


@pytest.mark.parametrize(
    "call",
    [
        lambda: pd.paired_bootstrap([1, 0], [1], 0),
        lambda: pd.paired_bootstrap([], [], 0),
        lambda: pd.paired_bootstrap([np.nan], [0], 0),
        lambda: pd.mcnemar([0.5], [0.5]),
        lambda: pd.corrected_t([0.5], [0.5], 80, 20),
        lambda: pd.paired_hierarchical([1.0, 0.0], [1.0, 0.0], 0),
    ],
)
def test_wrong_input_is_refused(call):
    with pytest.raises(DataError):
        call()
