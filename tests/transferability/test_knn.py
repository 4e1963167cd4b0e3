import numpy as np
import pytest
from sklearn.datasets import load_iris

from headstart.errors import ConfigError, DataError
from headstart.seeding import generator
from headstart.transferability import knn as module
from headstart.transferability.knn import knn, neighbours_for


def naive(f, labels, classes, k, groups):
    said = []
    for i in range(len(f)):
        near = sorted(
            (
                (f[i] @ f[j] / np.linalg.norm(f[i]) / np.linalg.norm(f[j]), labels[j])
                for j in range(len(f))
                if groups[j] != groups[i]
            ),
            reverse=True,
        )[:k]
        votes = np.zeros(classes)
        for similarity, label in near:
            votes[label] += np.exp(similarity / 0.1)
        said.append(votes.argmax())
    return np.array(said)


@pytest.mark.parametrize("groups", [None, np.arange(60) % 5])
def test_is_a_weighted_vote_of_the_others(groups, monkeypatch):
    rng = generator(0, "knn")
    labels = rng.integers(0, 3, 60)
    f = rng.standard_normal((60, 8)) + rng.standard_normal((3, 8))[labels]
    want = naive(f, labels, 3, 7, np.arange(60) if groups is None else groups)
    whole = knn(f, labels, 3, k=7, groups=groups)
    np.testing.assert_array_equal(whole.predictions, want)
    assert whole.accuracy.mean == pytest.approx(np.mean(want == labels))
    monkeypatch.setattr(module, "_HELD", 60 * 7)  # seven images at a time
    np.testing.assert_array_equal(knn(f, labels, 3, k=7, groups=groups).predictions, want)


def test_iris():
    f, labels = load_iris(return_X_y=True)
    result = knn(f, labels, 3)
    assert result.accuracy.mean > 0.95
    assert result.k == 12
    assert str(result).startswith("12 nearest neighbours: 0.9")


def test_duplicates_answer_for_each_other_unless_grouped():
    rng = generator(0, "twins")
    f, labels = np.repeat(rng.standard_normal((40, 5)), 2, 0), np.repeat(rng.integers(0, 2, 40), 2)
    assert knn(f, labels, 2, k=1).accuracy.mean == 1.0
    assert knn(f, labels, 2, k=1, groups=np.repeat(np.arange(40), 2)).accuracy.mean < 0.8


def test_number_of_neighbours():
    assert [neighbours_for(*s) for s in ((2, 2), (100, 50), (1797, 10), (10**6, 1000), (10**6, 10))] == [1, 2, 42, 200, 200]


def test_wrong_input_is_named():
    with pytest.raises(DataError, match="labels go from"):
        knn(np.ones((3, 2)), [0, 1, 2], 2)
    with pytest.raises(DataError, match="two rows"):
        knn(np.ones((1, 2)), [0], 2)
    with pytest.raises(DataError, match="two groups"):
        knn(np.ones((3, 2)), [0, 1, 1], 2, groups=[1, 1, 1])
    with pytest.raises(ConfigError, match="k = 3"):
        knn(np.ones((3, 2)), [0, 1, 1], 2, k=3)
