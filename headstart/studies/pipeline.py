"""Pipelines of separate stages: hand-designed features, scaling, and a classical model whose strength is cross-validated.

Features are those that images were classified by before networks learned them: histograms of oriented gradients (Dalal &
Triggs 2005), colour histograms, and local binary patterns (Ojala et al. 2002), from scikit-image; models from scikit-learn.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.splits import folds as make_folds
from headstart.errors import ConfigError
from headstart.seeding import seed_for

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

CELLS = 6
"""Cells along a side in which gradients are counted."""
SIDE = 96
"""Larger pictures are reduced to this side: finer gradients are texture, which the binary patterns see."""
FOLDS = 3
"""Of the cross-validation inside a training part that chooses strengths and models."""
TREES = 100
"""In a forest."""
_BINS = 16
_LEAST = 24
"""Side to which smaller pictures are enlarged, so that a cell has pixels to count."""


def image_tools() -> Any:
    """scikit-image. Raises ConfigError where it is not installed."""
    try:
        for part in ("color", "feature", "transform"):
            importlib.import_module(f"skimage.{part}")
        return importlib.import_module("skimage")
    except ImportError as error:
        raise ConfigError(
            "pipelines on images need scikit-image, which is not installed: pip install 'headstart[studies]'. "
            "Or leave them out with --ways end-to-end transfer"
        ) from error


def describe(pixels: NDArray[np.uint8], tick: Callable[[int, int], None] = lambda done, total: None) -> NDArray[np.float32]:
    """Features `[N, F]` of images `[N, H, W, 3]`, the same number for every size: gradients, colours, textures.

    tick  called with (done, all)
    """
    tools, found = image_tools(), []
    for place, picture in enumerate(pixels):
        found.append(_described(tools, picture))
        tick(place + 1, len(pixels))
    return np.stack(found)


def _described(tools: Any, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    wanted = min(max(picture.shape[0], _LEAST), SIDE)
    wanted -= wanted % CELLS
    scaled = picture / 255.0
    if picture.shape[:2] != (wanted, wanted):
        scaled = tools.transform.resize(scaled, (wanted, wanted), anti_aliasing=wanted < picture.shape[0])
    grey = np.clip(tools.color.rgb2gray(scaled), 0.0, 1.0)
    parts = (_gradients(tools, grey), _colours(tools, scaled), _textures(tools, grey))
    return np.concatenate(parts).astype(np.float32)


def _gradients(tools: Any, grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """HOG: 9 orientations in 6 x 6 cells, normalised over blocks of 2 x 2."""
    cell = len(grey) // CELLS
    found: NDArray[np.float64] = tools.feature.hog(
        grey, orientations=9, pixels_per_cell=(cell, cell), cells_per_block=(2, 2), feature_vector=True
    )
    return found


def _colours(tools: Any, picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """Histograms of hue, saturation and value, and of all three together, coarsely; mean and spread of each."""
    hsv = tools.color.rgb2hsv(np.clip(picture, 0.0, 1.0)).reshape(-1, 3)
    single = [np.histogram(hsv[:, at], bins=_BINS, range=(0, 1))[0] / len(hsv) for at in range(3)]
    joint = np.histogramdd(hsv, bins=(6, 3, 3), range=[(0, 1)] * 3)[0].ravel() / len(hsv)
    return np.concatenate([*single, joint, hsv.mean(0), hsv.std(0)])


def _textures(tools: Any, grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """Uniform local binary patterns at two radii: their shares in the whole image and in its quarters."""
    found, half, levels = [], len(grey) // 2, np.rint(grey * 255).astype(np.uint8)
    for points, radius in ((8, 1), (16, 2)):
        codes = tools.feature.local_binary_pattern(levels, points, radius, method="uniform")
        quarters = [codes[top : top + half, left : left + half] for top in (0, half) for left in (0, half)]
        for part in (codes, *quarters):
            found.append(np.bincount(part.astype(int).ravel(), minlength=points + 2) / part.size)
    return np.concatenate(found)


@dataclass(frozen=True)
class Model:
    """A classical model and the strengths to choose from: `make(strength, seed)` gives an unfitted estimator."""

    make: Callable[[float, int], Any]
    strengths: tuple[float, ...]


def _logistic(strength: float, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=500, tol=1e-3)


def _svm(strength: float, seed: int) -> Any:
    from sklearn.svm import LinearSVC

    return LinearSVC(C=strength, dual="auto", max_iter=5000, tol=1e-3, random_state=seed)


def _forest(leaf: float, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(TREES, min_samples_leaf=int(leaf), random_state=seed, n_jobs=1)


MODELS: dict[str, Model] = {
    "logistic": Model(_logistic, (1e-4, 1e-3, 1e-2, 1e-1)),
    "svm": Model(_svm, (1e-5, 1e-4, 1e-3, 1e-2)),
    "forest": Model(_forest, (3, 1)),
}
"""The classical models. Strengths: the inverse penalty C; of a forest the fewest images in a leaf."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A pipeline that has learned.

    answer      features `[M, F]` -> labels `[M]`
    score       accuracy of the chosen strength in the cross-validation inside the training part
    parameters  numbers that answering needs
    converged   whether every solver came to its end
    """

    answer: Callable[[Floats], Labels]
    score: float
    parameters: int
    strength: float
    converged: bool = True
    middle: Callable[[Floats], Labels] | None = None
    seconds: float = 0.0


def learn(
    model: str, features: Floats, labels: Labels, groups: Labels | None, *, seed: int, penalised: Sequence[float] = ()
) -> Fitted:
    """Scale, choose the strength by cross-validation, and fit a classical model, one of `MODELS`, to all of `features`."""
    began, kind = time.monotonic(), MODELS[model]
    parts = make_folds(labels, groups, FOLDS, seed_for(seed, "pipeline"))

    def make(strength: float) -> Any:
        return _scaled(kind.make(strength, seed_for(seed, "pipeline", model) % 2**32))

    def right(strength: float) -> float:
        hits = [make(strength).fit(features[a], labels[a]).predict(features[b]) == labels[b] for a, b in parts]
        return float(np.concatenate(hits).mean())

    with _watching() as seen:
        best, score = _choose(penalised or kind.strengths, right)
        fitted = make(best).fit(features, labels)
    return Fitted(fitted.predict, score, _size(fitted), best, not seen, seconds=time.monotonic() - began)


def learn_by_way_of(features: Floats, labels: Labels, middle: Labels, groups: Labels | None, *, seed: int) -> Fitted:
    """A pipeline that predicts an intermediate label first and then the class given it, all by logistic regression.

    middle  `[N]` the intermediate label

    P(class | x) is the sum over intermediate labels of P(label | x) P(class | x, label); the second factor is learned from
    the images of that label alone.
    """
    began = time.monotonic()
    parts = make_folds(labels, groups, FOLDS, seed_for(seed, "pipeline"))

    def right(strength: float) -> float:
        hits = [_Chain.fit(strength, features[a], labels[a], middle[a]).predict(features[b]) == labels[b] for a, b in parts]
        return float(np.concatenate(hits).mean())

    with _watching() as seen:
        best, score = _choose(MODELS["logistic"].strengths, right)
        chain = _Chain.fit(best, features, labels, middle)
    size = sum(_size(one) for one in (chain.first, *chain.second.values()) if not isinstance(one, int))
    took = time.monotonic() - began
    return Fitted(chain.predict, score, size, best, not seen, chain.middle, took)


@dataclass(frozen=True, eq=False)
class _Chain:
    """A model of the intermediate label, and per label a model of the class, or the one class there is."""

    first: Any
    second: dict[int, Any]
    classes: int

    @staticmethod
    def fit(strength: float, features: Floats, labels: Labels, middle: Labels) -> _Chain:
        first = _fit_or_only(strength, features, middle)
        second = {
            int(one): _fit_or_only(strength, features[middle == one], labels[middle == one]) for one in np.unique(middle)
        }
        return _Chain(first, second, int(labels.max()) + 1)

    def predict(self, features: Floats) -> Labels:
        """The class of greatest probability, summed over intermediate labels."""
        total = np.zeros((len(features), self.classes))
        of_first, shares = _chances(self.first, features)
        for at, one in enumerate(of_first):
            classes, given = _chances(self.second[int(one)], features)
            total[:, classes] += shares[:, [at]] * given
        return np.asarray(total.argmax(1), np.int64)

    def middle(self, features: Floats) -> Labels:
        """The most probable intermediate label."""
        of_first, shares = _chances(self.first, features)
        return np.asarray(of_first[shares.argmax(1)], np.int64)


def _fit_or_only(strength: float, features: Floats, labels: Labels) -> Any:
    there = np.unique(labels)
    return int(there[0]) if len(there) == 1 else _scaled(_logistic(strength, 0)).fit(features, labels)


def _chances(model: Any, features: Floats) -> tuple[Labels, NDArray[np.float64]]:
    """(labels `[L]`, probabilities `[M, L]`)."""
    if isinstance(model, int):
        return np.array([model]), np.ones((len(features), 1))
    return np.asarray(model.classes_, np.int64), np.asarray(model.predict_proba(features), np.float64)


def _choose(strengths: Sequence[float], score: Callable[[float], float]) -> tuple[float, float]:
    """The strength that scores best, of equals the first, which is the most cautious; and its score."""
    scores = [score(strength) for strength in strengths]
    best = int(np.argmax(scores))
    return strengths[best], scores[best]


def _scaled(model: Any) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), model)


class _watching:  # noqa: N801 - reads as a verb
    """Collects what solvers say when they stop before their end; everything else is still an error or a warning."""

    def __enter__(self) -> list[Any]:
        from sklearn.exceptions import ConvergenceWarning

        self._caught = warnings.catch_warnings(record=True)
        found = self._caught.__enter__()
        assert found is not None
        warnings.simplefilter("error")
        # Of many classes with two images each it suspects that they are measurements.
        warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%", UserWarning)
        warnings.simplefilter("always", ConvergenceWarning)
        return found

    def __exit__(self, *problem: Any) -> None:
        self._caught.__exit__(*problem)


def _size(pipeline: Any) -> int:
    """Numbers that a fitted pipeline keeps: means, scales, and weights or trees (four numbers per node)."""
    scaler, model = pipeline[0], pipeline[-1]
    kept = scaler.mean_.size + scaler.scale_.size
    if hasattr(model, "estimators_"):
        leaves = sum(int((tree.tree_.children_left < 0).sum()) * len(model.classes_) for tree in model.estimators_)
        return int(kept + leaves + sum(4 * tree.tree_.node_count for tree in model.estimators_))
    return int(kept + model.coef_.size + model.intercept_.size)
