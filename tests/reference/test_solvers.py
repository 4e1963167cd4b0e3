"""Solvers against scikit-learn, SciPy and closed forms."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC

from headstart.engine import solvers as s
from headstart.engine.solvers import logistic, svm
from headstart.engine.solvers.linear import ABSENT
from headstart.errors import ConfigError, DataError
from headstart.seeding import generator


def data(images=120, width=8, classes=3, seed=0, dtype=torch.float64):
    rng = generator(seed, "solvers")
    labels = np.concatenate((np.arange(classes), rng.integers(0, classes, images - classes)))
    mixing = rng.standard_normal((width, width)) * np.logspace(0, 2, width)
    x = (rng.standard_normal((images, width)) + 1.2 * rng.standard_normal((classes, width))[labels]) @ mixing + 7
    return torch.from_numpy(x).to(dtype), torch.from_numpy(labels)


def standard(x):
    return ((x - x.mean(0)) / x.std(0, unbiased=False)).double().numpy()


@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize(("classes", "width"), [(2, 8), (4, 8), (3, 200)])
def test_logistic_equals_scikit_learn(penalty, classes, width):
    x, y = data(classes=classes, width=width)
    got = s.fit_logistic(x, y, classes, penalty)
    # scikit-learn's two-class form has one vector v where ours has v / 2 and -v / 2: half the squared norm
    c = (2 if classes == 2 else 1) / (len(x) * penalty)
    want = LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(standard(x), y.numpy()).predict_proba(standard(x))
    np.testing.assert_allclose(got.probabilities(x).numpy(), want, atol=1e-4)
    assert got.info["converged"]
    assert got.info["gradient"] <= 1e-6
    assert got.calibration == (1.0, 0.0)


def test_logistic_sample_weights_are_repeated_samples():
    x, y = data(images=60)
    weight = torch.from_numpy(generator(0, "weights").integers(1, 4, 60))
    # the same mean and deviation for both, since weights do not enter the standardisation
    z = (x - x.mean(0)) / x.std(0, unbiased=False)
    got = s.fit_logistic(z, y, 3, 1e-2, weight)
    model = LogisticRegression(C=1 / (float(weight.sum()) * 1e-2), tol=1e-10, max_iter=10_000)
    want = model.fit(z.numpy(), y.numpy(), weight.numpy()).predict_proba(z.numpy())
    np.testing.assert_allclose(got.probabilities(z).numpy(), want, atol=1e-4)
    twice = s.fit_logistic(x, y, 3, 1e-2, 2.0 * weight)
    torch.testing.assert_close(twice.probabilities(x), s.fit_logistic(x, y, 3, 1e-2, weight).probabilities(x))


@pytest.mark.parametrize("name", ["logistic", "svm", "ridge", "nearest_mean"])
def test_weights_are_for_raw_features_of_either_precision(name):
    x, y = data()
    whole = s.fit(name, x, y, 3, 1e-2)
    moved = s.fit(name, 1000 * x - 50, y, 3, 1e-2)
    torch.testing.assert_close(moved.logits(1000 * x - 50), whole.logits(x), atol=1e-3, rtol=1e-3)
    short = s.fit(name, x.float(), y, 3, 1e-2)
    assert short.weight.dtype == torch.float32
    torch.testing.assert_close(short.probabilities(x.float()).double(), whole.probabilities(x), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["logistic", "svm", "ridge", "nearest_mean"])
def test_same_bits_whatever_the_global_generator_says(name):
    x, y = data(dtype=torch.float32)
    folds = s.stratified_folds(y, 4)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, chosen = s.solve(name, x, y, 3, (1e-3, 1e-1), folds)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second, again = s.solve(name, x, y, 3, (1e-3, 1e-1), folds)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)
    assert first.calibration == second.calibration
    assert torch.equal(chosen.out_of_fold_logits, again.out_of_fold_logits)


@pytest.mark.parametrize("name", ["logistic", "svm", "ridge", "nearest_mean"])
def test_degenerate_features_and_absent_classes(name):
    x, y = data(images=40)
    x = torch.cat((x, torch.full((40, 1), 3.3), torch.zeros(40, 1), x[:, :1]), 1)
    got = s.fit(name, x, y, 5, 1e-2)
    assert got.info["absent_classes"] == [3, 4]
    assert torch.isfinite(got.weight).all()
    assert (got.bias[3:] == ABSENT).all()
    assert not (got.logits(x).argmax(1) >= 3).any()
    torch.testing.assert_close(got.weight[:, 8:10], torch.zeros(5, 2, dtype=torch.float64))


def test_one_class_only_is_answered():
    x, _ = data(images=10)
    got = s.fit_logistic(x, torch.ones(10, dtype=torch.long), 3, 1e-2)
    assert (got.logits(x).argmax(1) == 1).all()


@pytest.mark.parametrize("penalty", [1e-3, 1e-1])
def test_svm_is_the_minimum_of_the_squared_hinge(penalty):
    x, y = data(images=80, width=5)
    z = standard(x)
    got = s.fit_svm(x, y, 3, penalty, folds=())
    for c in range(3):
        sign = np.where(y.numpy() == c, 1.0, -1.0)

        def loss(p, sign=sign):
            hinge = np.maximum(0, 1 - sign * (z @ p[:-1] + p[-1]))
            residual = -2 * hinge * sign / len(z)
            return (hinge**2).mean() + penalty / 2 * p[:-1] @ p[:-1], np.append(
                residual @ z + penalty * p[:-1], residual.sum()
            )

        found = minimize(loss, np.zeros(6), jac=True, method="BFGS", options={"gtol": 1e-9})
        np.testing.assert_allclose(got.logits(x)[:, c].numpy(), z @ found.x[:-1] + found.x[-1], atol=2e-3)
    assert got.info["calibrated"] is False
    assert got.calibration == (1.0, 0.0)


def test_svm_calibration_makes_unseen_probabilities_honest():
    x, y = data(images=400, width=10)
    train, test = slice(0, 200), slice(200, 400)
    raw = s.fit_svm(x[train], y[train], 3, 1e-3, folds=())
    calibrated = s.fit_svm(x[train], y[train], 3, 1e-3)
    torch.testing.assert_close(raw.weight, calibrated.weight)
    assert calibrated.calibration[0] > 0 == calibrated.calibration[1]

    def nll(solution):
        return float(-solution.probabilities(x[test]).gather(1, y[test, None]).log().mean())

    assert nll(calibrated) < nll(raw)


@pytest.mark.parametrize("smooth", [0.5, 4.0])
def test_calibration_finds_the_scale_that_made_the_labels(smooth):
    rng = generator(0, "scale")
    logits = rng.standard_normal((20_000, 4))
    chances = np.exp(smooth * logits)
    chances /= chances.sum(1, keepdims=True)
    labels = (chances.cumsum(1) > rng.random((20_000, 1))).argmax(1)
    got = s.calibration_scale(torch.from_numpy(logits), torch.from_numpy(labels))
    assert got == pytest.approx(smooth, rel=0.05)


def test_calibration_of_few_flawless_answers_is_modest():
    logits = torch.eye(2, dtype=torch.float64).repeat(5, 1) * 3
    labels = torch.arange(10) % 2
    scale = s.calibration_scale(logits, labels)
    # Platt's target for ten images is 1 - 1 / 12: the chance the scale must give
    assert torch.softmax(scale * logits, 1).amax(1).mean() == pytest.approx(1 - 1 / 12, abs=1e-6)
    logits[0] = torch.nan
    assert np.isfinite(s.calibration_scale(logits, labels))
    assert s.calibration_scale(-logits, labels) == pytest.approx(1e-3)


@pytest.mark.parametrize(("images", "width"), [(60, 5), (30, 80)])
def test_ridge_equals_scikit_learn_and_leaves_one_out_exactly(images, width):
    x, y = data(images=images, width=width)
    z, hot = standard(x), np.eye(3)[y.numpy()]
    got = s.fit_ridge(x, y, 3, 0.1)
    np.testing.assert_allclose(got.logits(x).numpy(), Ridge(alpha=0.1 * images).fit(z, hot).predict(z), atol=1e-8)
    left = s.leave_one_out(x, y, 3, [0.1, 1e-3])
    for row, penalty in ((0, 0.1), (1, 1e-3)):
        for i in range(0, images, 7):
            rest = np.arange(images) != i
            want = Ridge(alpha=penalty * images).fit(z[rest], hot[rest]).predict(z[[i]])[0]
            np.testing.assert_allclose(left[row, i].numpy(), want, atol=1e-6)


def test_ridge_sample_weights():
    x, y = data(images=50)
    weight = torch.from_numpy(generator(0, "ridge").random(50) + 0.1)
    z = standard(x)
    want = Ridge(alpha=0.1 * float(weight.sum())).fit(z, np.eye(3)[y.numpy()], weight.numpy()).predict(z)
    np.testing.assert_allclose(s.fit_ridge(x, y, 3, 0.1, weight).logits(x).numpy(), want, atol=1e-8)


def test_nearest_mean_answers_the_nearest_mean():
    x, y = data()
    z = standard(x)
    means = np.stack([z[y.numpy() == c].mean(0) for c in range(3)])
    want = np.square(z[:, None] - means).sum(2).argmin(1)
    np.testing.assert_array_equal(s.fit_nearest_mean(x, y, 3).logits(x).argmax(1).numpy(), want)


@pytest.mark.parametrize("classes", [2, 3])
def test_kernel_svm_equals_scikit_learn(classes):
    x, y = data(classes=classes)
    got = s.fit_kernel_svm(x, y, classes + 1, 1e-2, folds=s.stratified_folds(y, 3))
    want = SVC(C=1 / (len(x) * 1e-2), gamma=1 / 8).fit(standard(x), y.numpy())
    assert (got.logits(x).argmax(1).numpy() == want.predict(standard(x))).mean() > 0.97
    assert (got.logits(x)[:, classes] == ABSENT).all()
    assert got.calibration[0] != 1.0
    assert got.probabilities(x).sum(1).numpy() == pytest.approx(np.ones(len(x)))


def test_kmeans():
    rng = generator(0, "clusters")
    x = torch.from_numpy(
        np.concatenate([rng.standard_normal((30, 2)) + 20 * centre for centre in np.eye(2)] + [rng.standard_normal((20, 2))])
    )
    got = s.kmeans(x, 3, seed=0)
    assert all(len(set(part.tolist())) == 1 for part in got.labels.split([30, 30, 20]))
    for k in range(3):
        torch.testing.assert_close(got.centres[k], x[got.labels == k].mean(0))
    assert got.inertia == pytest.approx(float((x - got.centres[got.labels]).square().sum()))
    assert torch.equal(s.kmeans(x, 3, seed=0).labels, got.labels)
    assert s.kmeans(x, 1, seed=0).inertia == pytest.approx(float((x - x.mean(0)).square().sum()))
    assert s.kmeans(x[:5], 5, seed=0).inertia == pytest.approx(0)
    assert s.kmeans(torch.ones(6, 2), 3, seed=0).inertia == 0
    with pytest.raises(ConfigError, match="clusters = 9"):
        s.kmeans(x[:5], 9, seed=0)


def squared_hinge(z, y, penalty, weight):
    """Logits of the exact minimum, as a function: one class after the other by BFGS."""
    found = []
    for c in range(3):
        sign, share = np.where(y == c, 1.0, -1.0), weight / weight.sum()

        def loss(p, sign=sign, share=share):
            hinge = np.maximum(0, 1 - sign * (z @ p[:-1] + p[-1]))
            residual = -2 * share * hinge * sign
            value = share @ hinge**2 + penalty / 2 * p[:-1] @ p[:-1]
            return value, np.append(residual @ z + penalty * p[:-1], residual.sum())

        found.append(minimize(loss, np.zeros(z.shape[1] + 1), jac=True, method="BFGS", options={"gtol": 1e-8}).x)
    stacked = np.stack(found)
    return lambda at: at @ stacked[:, :-1].T + stacked[:, -1]


def fitted(name, z, y, penalty, weight):
    """The same, by scikit-learn where it has it, on features that are standardised already."""
    if name == "svm":
        return squared_hinge(z, y, penalty, weight)
    if name == "ridge":
        return Ridge(alpha=penalty * weight.sum()).fit(z, np.eye(3)[y], weight).predict
    model = LogisticRegression(C=1 / (weight.sum() * penalty), tol=1e-10, max_iter=10_000).fit(z, y, weight)
    return model.decision_function


@pytest.mark.parametrize(
    ("name", "width", "folds"),
    # few and wide: more axes than a fold leaves out, and fewer
    [("logistic", 8, 4), ("svm", 8, 4), ("ridge", 8, 4), ("ridge", 200, 4), ("ridge", 200, 2), ("logistic", 200, 4)],
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("exact", [False, True])
def test_cross_validation_is_fitting_each_fold_on_features_standardised_once(
    name, width, folds, weighted, exact, monkeypatch
):
    if exact:  # fits that only choose stop early; told not to, they end where others do
        monkeypatch.setattr(logistic, "_CLOSE", 0.0)
        monkeypatch.setattr(svm, "_CLOSE", 0.0)
        monkeypatch.setattr(svm, "_GAP", 0.0)
    x, y = data(classes=3, width=width)
    weight = torch.where(y == 0, 2.0, 0.5).double() if weighted else None
    mass = torch.ones(len(x)).double() if weight is None else weight
    pairs, penalties = s.stratified_folds(y, folds), (1e-3, 1e-1, 10.0)
    got = s.cross_validate(name, x, y, 3, penalties, pairs, weight)
    for row, penalty in enumerate(penalties):
        alone = torch.empty(len(x), 3, dtype=torch.float64)
        for train, valid in pairs:
            learned = fitted(name, standard(x)[train], y[train].numpy(), penalty, mass[train].numpy())
            alone[valid] = torch.from_numpy(learned(standard(x)[valid]))
        right = (alone.argmax(1) == y).double()
        slack = 1e-6 if exact or name == "ridge" else 2 / len(x)
        assert got.accuracy_by_penalty[row] == pytest.approx(float((right * mass).sum() / mass.sum()), abs=slack)
        if penalty == got.penalty:
            away = (got.out_of_fold_logits - alone).square().mean().sqrt() / alone.std()
            assert away <= (1e-8 if name == "ridge" else 1e-4 if exact else 0.08)
    assert len(got.fold_accuracies) == folds
    assert got.accuracy == max(got.accuracy_by_penalty)


@pytest.mark.parametrize("name", ["logistic", "svm", "ridge", "nearest_mean"])
def test_images_that_are_only_judged_on_do_not_enter_what_is_learned(name):
    x, y = data()
    train, valid = torch.arange(80), torch.arange(80, 120)
    x[valid] = 30 * x[valid] - 400
    got = s.cross_validate(name, x, y, 3, (1e-2,), [(train, valid)])
    want = s.fit(name, x[train], y[train], 3, 1e-2).logits(x[valid])
    # early stopping aside, which ridge and nearest means know nothing of
    close = 0.05 * float(want.std()) if name in ("logistic", "svm") else 1e-6
    torch.testing.assert_close(got.out_of_fold_logits[valid], want, atol=close, rtol=0)


def test_ridge_with_folds_of_one_is_leave_one_out():
    x, y = data(images=30, width=50)
    every = torch.arange(30)
    folds = [(every[every != image], every[[image]]) for image in range(30)]
    # what leave-one-out holds is the total penalty, here it belongs to the mean of 29
    got = s.cross_validate("ridge", x, y, 3, (0.1 * 30 / 29,), folds)
    torch.testing.assert_close(got.out_of_fold_logits, s.leave_one_out(x, y, 3, [0.1])[0], atol=1e-9, rtol=0)


def test_selection_says_when_it_is_at_the_edge():
    x, y = data(images=60)
    folds = s.stratified_folds(y, 5)
    far = s.cross_validate("ridge", x, y, 3, (1e3, 1e4, 1e-6), folds)
    assert far.penalties == (1e-6, 1e3, 1e4)
    # one solver of equal accuracy everywhere: the largest penalty, and no edge, since one inside does as well
    flat = s.cross_validate("nearest_mean", x, y, 3, (1e-3, 1e-1), folds)
    assert flat.penalty == 1e-1
    assert flat.info["edge"] is None
    assert "out-of-fold accuracy" in str(flat)


def test_images_never_held_out_stay_unanswered_and_absent_classes_do_not_spoil_the_rest():
    x, y = data(images=40)
    y[y == 2] = 1
    y[0] = 2  # a class of one image: the fold that judges it has not learned it
    got = s.cross_validate("svm", x, y, 3, (1e-2,), [(range(10, 40), range(0, 10))])
    assert torch.isnan(got.out_of_fold_logits[10:]).all()
    assert torch.isfinite(got.out_of_fold_logits[:10]).all()
    assert 0.1 < got.calibration[0] < 100
    assert got.accuracy >= 0.5


def test_solve_carries_the_calibration_of_the_chosen_penalty():
    x, y = data()
    folds = s.stratified_folds(y, 5)
    solution, chosen = s.solve("svm", x, y, 3, (1e-3, 1e-1), folds)
    assert chosen is not None
    assert solution.calibration == chosen.calibration != (1.0, 0.0)
    assert solution.info["penalty"] == chosen.penalty
    single, nothing = s.solve("logistic", x, y, 3, (1e-2,))
    assert nothing is None
    assert single.info["penalty"] == 1e-2


def test_stratified_folds():
    y = torch.tensor([0] * 25 + [1] * 10 + [2] * 5)
    folds = s.stratified_folds(y, 5)
    assert torch.equal(torch.cat([valid for _, valid in folds]).sort().values, torch.arange(40))
    for train, valid in folds:
        assert y[valid].bincount().tolist() == [5, 2, 1]
        assert not set(train.tolist()) & set(valid.tolist())
    assert len(s.stratified_folds(y[:3], 5)) == 3
    with pytest.raises(ConfigError, match="two of each"):
        s.stratified_folds(y[:1], 5)


def test_wrong_input_is_named_all_together():
    x, y = data(images=10)
    with pytest.raises(DataError, match=r"(?s)not all finite.*labels go from 0 to 2, not within 0..1"):
        s.fit_logistic(torch.full_like(x, torch.nan), y, 2, 1e-2)
    for penalty in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="penalty = "):
            s.fit_logistic(x, y, 3, penalty)
    with pytest.raises(DataError, match="zero everywhere"):
        s.fit_ridge(x, y, 3, 1e-2, torch.zeros(10))
    with pytest.raises(ConfigError, match=r"(?s)fold 0 judges.*fold 1 has 0.*fold 2 names rows"):
        s.cross_validate("ridge", x, y, 3, (1.0,), [([0, 1], [1]), ([], [1]), ([0], [10])])
    with pytest.raises(ConfigError, match="no folds"):
        s.cross_validate("ridge", x, y, 3, (1.0,), [])
    with pytest.raises(ConfigError, match="penalties is empty"):
        s.cross_validate("ridge", x, y, 3, (), [([0], [1])])
    with pytest.raises(ConfigError, match="'tree' is not known"):
        s.fit("tree", x, y, 3, 1.0)
