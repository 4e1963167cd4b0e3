import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from headstart.engine.solvers import stratified_folds
from headstart.errors import ConfigError, DataError
from headstart.seeding import generator
from headstart.transferability import scores as module
from headstart.transferability.depth import probe_by_depth
from headstart.transferability.hscore import hscore
from headstart.transferability.knn import knn
from headstart.transferability.leep import leep, nce_from_probabilities
from headstart.transferability.logme import logme
from headstart.transferability.scores import SCORES, score_all
from headstart.transferability.transrate import transrate


def data(strength=1.0, classes=3, images=150, width=12):
    rng = generator(0, "scores")
    labels = np.arange(images) % classes
    centres = rng.standard_normal((classes, width))
    early = rng.standard_normal((images, 6)) + 2 * rng.standard_normal((classes, 6))[labels]
    last = rng.standard_normal((images, width)) + strength * centres[labels]
    logits = last @ rng.standard_normal((width, 5))
    answers = np.exp(logits - logits.max(1, keepdims=True))
    answers /= answers.sum(1, keepdims=True)
    return {"early": early.astype(np.float32), "last": last.astype(np.float32)}, labels, answers


def scored(by_depth, labels, classes=3, **more):
    folds = stratified_folds(torch.from_numpy(labels), 5)
    return score_all(by_depth, labels, classes, folds, **{"parameters": 1000, "seed": 0, **more})


@pytest.mark.parametrize("width", [12, 200])
def test_every_score_is_the_one_of_its_own_function(width):
    by_depth, labels, answers = data(width=width)
    found = scored(by_depth, labels, source_probabilities=answers)
    last = by_depth["last"]
    assert list(found.values) == list(SCORES)
    assert found.why_missing == {}
    assert found.values["knn"].value == knn(last, labels, 3).accuracy.mean
    # Matrix products round by how many threads share them, and `score_all` allows one.
    assert found.values["logme"].value == pytest.approx(logme(last, labels, 3).score, rel=1e-9)
    assert found.values["hscore"].value == pytest.approx(hscore(last, labels, 3), rel=1e-9)
    assert found.values["transrate"].value == pytest.approx(transrate(last, labels, 3), rel=1e-9)
    assert found.values["leep"].value == pytest.approx(leep(answers, labels, 3), rel=1e-9)
    assert found.values["nce"].value == pytest.approx(nce_from_probabilities(answers, labels, 3), rel=1e-9)
    assert found.values["size"].value == 1000
    folds = stratified_folds(torch.from_numpy(labels), 5)
    curve = probe_by_depth({n: torch.from_numpy(x) for n, x in by_depth.items()}, torch.from_numpy(labels), 3, folds, seed=0)
    assert found.depth.accuracies == curve.accuracies
    assert found.values["probe"].value == max(curve.accuracies.values())
    assert found.values["probe_last"].value == curve.accuracies["last"]
    for name, score in found.values.items():
        if name == "size":
            assert score.interval is None
        else:
            assert score.low < score.high
            assert score.low <= score.value <= score.high
            assert score.method == ("wilson" if name in ("probe", "probe_last", "knn") else "half-samples")
    assert set(found.seconds) == {*SCORES, "moments", "intervals"} - {"probe_last", "size"}
    assert all(about.label in str(found) for about in SCORES.values())


def test_points_do_not_depend_on_intervals_which_are_the_same_each_time():
    by_depth, labels, answers = data()
    whole = scored(by_depth, labels, source_probabilities=answers)
    points = scored(by_depth, labels, source_probabilities=answers, intervals=False)
    assert {n: s.value for n, s in points.values.items()} == {n: s.value for n, s in whole.values.items()}
    assert points.values["logme"].interval is None
    assert points.values["knn"] == whole.values["knn"]
    assert f"{points.values['leep'].value:.4g}" in str(points)
    assert "intervals" not in points.seconds
    again = scored(by_depth, labels, source_probabilities=answers)
    assert again.values == whole.values
    other = scored(by_depth, labels, source_probabilities=answers, seed=1)
    assert other.values["logme"].low != whole.values["logme"].low


def test_better_features_score_higher_everywhere():
    weak, strong = (scored(data(s)[0], data(s)[1], source_probabilities=data(s)[2], intervals=False) for s in (0.3, 1.5))
    for name in ("probe_last", "knn", "logme", "hscore", "transrate", "leep", "nce"):
        assert weak.values[name].value < strong.values[name].value, name


def test_what_is_missing_says_why():
    by_depth, labels, _ = data(classes=2)
    found = scored(by_depth, labels, 2)
    assert set(found.why_missing) == {"leep", "nce", "transrate"}
    assert found.why_missing["leep"] == "no source classes known"
    assert "two classes" in found.why_missing["transrate"]
    assert "no source classes" in str(found)


def test_intervals_hold_the_score_of_other_images():
    """Scores of 40 fresh draws lie in the interval of the first within its range, widened for two draws instead of one."""
    rng = generator(3, "fresh")
    centres, labels = rng.standard_normal((3, 5)), np.arange(240) % 3

    def draw():
        return {"last": (rng.standard_normal((240, 5)) + centres[labels]).astype(np.float32)}

    first = scored(draw(), labels)
    for name in ("logme", "hscore", "transrate"):
        score = first.values[name]
        half = np.sqrt(2) * (score.high - score.low) / 2
        function = {"logme": lambda *a: logme(*a).score, "hscore": hscore, "transrate": transrate}[name]
        others = np.array([function(draw()["last"], labels, 3) for _ in range(40)])
        assert np.mean(np.abs(others - score.value) < half) > 0.6
        assert half < 6 * others.std()


def test_groups_are_respected_and_absent_classes_borne():
    by_depth, labels, answers = data()
    twice = {name: np.repeat(x, 2, 0) for name, x in by_depth.items()}
    labels, answers, groups = np.repeat(labels, 2), np.repeat(answers, 2, 0), np.repeat(np.arange(150), 2)
    apart, grouped = scored(twice, labels, 4), scored(twice, labels, 4, groups=groups, source_probabilities=answers)
    assert grouped.values["knn"].value < apart.values["knn"].value
    wide, narrow = (s.values["logme"].high - s.values["logme"].low for s in (grouped, apart))
    assert wide > 1.1 * narrow  # copies are no further images
    assert np.isfinite(grouped.values["logme"].value)


def test_fewer_halves_for_wide_features(monkeypatch):
    by_depth, labels, _ = data()
    seen = []
    real = module.half_samples
    monkeypatch.setattr(module, "half_samples", lambda *a, **k: seen.append(k["count"]) or real(*a, **k))
    monkeypatch.setattr(module, "WIDE", 8)
    scored(by_depth, labels)
    assert seen == [module.FEWER]


def test_threads_do_not_matter_and_are_given_back():
    by_depth, labels, answers = data()
    before = torch.get_num_threads(), [pool["num_threads"] for pool in threadpool_info()]
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(scored(by_depth, labels, source_probabilities=answers).values)
    torch.set_num_threads(before[0])
    assert found[0] == found[1]
    assert [pool["num_threads"] for pool in threadpool_info()] == before[1]


def test_the_global_generator_is_not_touched():
    state = np.random.get_state()[1].copy()
    drawn = torch.random.get_rng_state()
    scored(*data()[:2])
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    assert torch.equal(torch.random.get_rng_state(), drawn)


def test_wrong_input_is_named():
    by_depth, labels, answers = data()
    with pytest.raises(ConfigError, match="by_depth is empty"):
        scored({}, labels)
    with pytest.raises(DataError, match="features of early are not of 150 images"):
        scored({**by_depth, "early": by_depth["early"][:9]}, labels)
    with pytest.raises(DataError, match="features of 'last' are not all finite"):
        scored({"last": np.full((150, 2), np.nan)}, labels)
    with pytest.raises(DataError, match="softmax"):
        scored(by_depth, labels, source_probabilities=answers * 2)
