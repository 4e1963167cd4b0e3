"""Hand-designed features and classical models: what they see, what they choose, and the two-step chain by hand."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headstart.errors import ConfigError
from headstart.studies import pipeline
from headstart.studies.pipeline import MODELS, describe, learn, learn_by_way_of


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "TREES", 10)


def pictures(count: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def clouds(count: int, classes: int = 3, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = np.random.default_rng(9).normal(0, 2, (classes, 5))
    return (centres[labels] + draw.normal(0, 1, (count, 5))).astype(np.float32), labels.astype(np.int64)


def test_as_many_features_for_every_size() -> None:
    shapes = {describe(pictures(2, side)).shape for side in (8, 32, 96, 130)}
    assert len(shapes) == 1
    assert np.isfinite(describe(pictures(2, 16))).all()


def test_colour_and_gradients_are_seen() -> None:
    """A red and a blue square differ in colours alone; a picture and its mirror image in gradients and not in colours."""
    red, blue = np.zeros((2, 24, 24, 3), np.uint8)
    red[..., 0], blue[..., 2] = 200, 200
    same = describe(np.stack([red, blue]))
    hog = 5 * 5 * 4 * 9
    np.testing.assert_array_equal(same[0, :hog], 0)
    assert np.abs(same[0, hog:] - same[1, hog:]).max() == 1
    picture = np.zeros((48, 48, 3), np.uint8)
    picture[:, :20] = 180
    both = describe(np.stack([picture, np.rot90(picture)]))
    assert np.abs(both[0, :hog] - both[1, :hog]).max() > 0.1
    colours = slice(hog, hog + 3 * 16 + 6 * 3 * 3 + 6)
    np.testing.assert_allclose(both[0, colours], both[1, colours], atol=1e-6)


def test_histograms_are_shares() -> None:
    found = describe(pictures(1, 48))[0]
    start = 5 * 5 * 4 * 9
    for at in range(3):
        assert found[start + 16 * at : start + 16 * (at + 1)].sum() == pytest.approx(1, abs=1e-5)
    textures = found[-5 * (10 + 18) :]
    assert textures.sum() == pytest.approx(10, abs=1e-4)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_each_model_learns_and_repeats(model: str) -> None:
    (x, y), (more, truth) = clouds(60), clouds(150, seed=1)
    one, again = (learn(model, x, y, None, seed=3) for _ in range(2))
    assert (one.answer(more) == truth).mean() > 0.8
    np.testing.assert_array_equal(one.answer(more), again.answer(more))
    assert one.strength in MODELS[model].strengths
    assert 0.5 < one.score <= 1
    assert one.parameters > 0
    assert one.converged


def test_logistic_regression_is_scikit_learns() -> None:
    (x, y), (more, _) = clouds(60), clouds(50, seed=1)
    found = learn("logistic", x, y, None, seed=0)
    known = make_pipeline(StandardScaler(), LogisticRegression(C=found.strength, max_iter=500, tol=1e-3)).fit(x, y)
    np.testing.assert_array_equal(found.answer(more), known.predict(more))
    assert found.parameters == 5 + 5 + 3 * 5 + 3


def test_two_steps_are_the_sum_over_the_first() -> None:
    """P(class | x) = sum over labels of P(label | x) P(class | x, label), written out one image at a time."""
    (x, y), (more, _) = clouds(90, 4), clouds(20, 4, seed=2)
    middle = np.array([0, 0, 1, 1])[y]
    found = learn_by_way_of(x, y, middle, None, seed=0)

    def fitted(rows: NDArray[np.bool_], labels: NDArray[np.int64]) -> object:
        return make_pipeline(StandardScaler(), LogisticRegression(C=found.strength, max_iter=500, tol=1e-3)).fit(
            x[rows], labels[rows]
        )

    first = fitted(np.ones(90, bool), middle)
    second = {m: fitted(middle == m, y) for m in (0, 1)}
    for at in range(len(more)):
        one = more[at : at + 1]
        chances = np.zeros(4)
        for m in (0, 1):
            for c, p in zip(second[m].classes_, second[m].predict_proba(one)[0], strict=True):  # type: ignore[attr-defined]
                chances[c] += first.predict_proba(one)[0, m] * p  # type: ignore[attr-defined]
        assert found.answer(one)[0] == chances.argmax()
    assert found.middle is not None
    np.testing.assert_array_equal(found.middle(more), first.predict(more))  # type: ignore[attr-defined]


def test_a_label_of_one_class_needs_no_second_model() -> None:
    x, y = clouds(60)
    found = learn_by_way_of(x, y, np.array([0, 0, 1])[y], None, seed=0)
    more, truth = clouds(90, seed=4)
    assert (found.answer(more) == truth).mean() > 0.8


def test_nearly_as_many_classes_as_images_are_no_reason_to_complain() -> None:
    """scikit-learn suspects a regression there, and warnings are errors here."""
    features, labels = clouds(40, 20)
    for fitted in (
        learn("logistic", features, labels, None, seed=0),
        learn_by_way_of(features, labels, labels % 2, None, seed=0),
    ):
        assert 0 <= fitted.score <= 1


def test_features_tell_digits_apart() -> None:
    digits = load_digits()
    pixels = np.repeat((digits.images[:160] * 15).astype(np.uint8)[..., None], 3, -1)
    found, labels = describe(pixels), digits.target[:160].astype(np.int64)
    fitted = learn("logistic", found[:100], labels[:100], None, seed=0)
    assert (fitted.answer(found[100:]) == labels[100:]).mean() > 0.75


def test_missing_scikit_image_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(ConfigError, match=r"pip install 'headstart\[studies\]'.*--ways end-to-end transfer"):
        pipeline.image_tools()
