import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from headstart.errors import DataError
from headstart.seeding import generator
from headstart.transferability import leep as module
from headstart.transferability.leep import leep, leep_of, nce, nce_from_probabilities, nce_of


def naive(theta, labels):
    """The three steps of the paper, one image at a time."""
    images, source = theta.shape
    classes = labels.max() + 1
    joint = np.zeros((classes, source))
    for row, label in zip(theta, labels, strict=True):
        joint[label] += row / images
    given = joint / joint.sum(0)
    return np.mean(
        [np.log(sum(given[label, z] * row[z] for z in range(source))) for row, label in zip(theta, labels, strict=True)]
    )


def entropy(counts):
    share = counts[counts > 0] / counts.sum()
    return -(share * np.log(share)).sum()


def data(images=80, source=6, classes=4, sharp=2.0):
    rng = generator(0, "leep")
    labels = np.concatenate((np.arange(classes), rng.integers(0, classes, images - classes)))
    logits = rng.standard_normal((images, source)) + sharp * rng.standard_normal((classes, source))[labels]
    theta = np.exp(logits)
    return theta / theta.sum(1, keepdims=True), labels


@pytest.mark.parametrize("held", [1 << 23, 20])
def test_is_the_papers_average(held, monkeypatch):
    monkeypatch.setattr(module, "_HELD", held)  # also when little is held at a time
    theta, labels = data()
    assert leep(theta, labels, 4) == pytest.approx(naive(theta, labels), rel=1e-12)
    assert leep(theta, labels, 7) == pytest.approx(naive(theta, labels), rel=1e-12)
    assert leep(theta.astype(np.float32), labels, 4) == pytest.approx(naive(theta, labels), rel=1e-5)


def test_never_above_zero_which_is_certainty():
    sure = np.eye(3)[[0, 1, 2, 1]]
    assert leep(sure, [1, 0, 1, 0], 2) == nce([0, 1, 2, 1], [1, 0, 1, 0]) == 0
    blind = np.full((8, 5), 0.2)
    labels = np.arange(8) % 4
    assert leep(blind, labels, 4) == pytest.approx(-np.log(4))
    assert nce_from_probabilities(blind, labels, 4) == pytest.approx(-np.log(4))
    assert leep(*data(sharp=0.1), 4) < leep(*data(sharp=4), 4) < 0


def test_nce_is_minus_the_conditional_entropy():
    theta, labels = data()
    source = theta.argmax(1)
    want = mutual_info_score(source, labels) - entropy(np.bincount(labels))
    assert nce(source, labels) == pytest.approx(want)
    assert nce_from_probabilities(theta, labels, 4) == pytest.approx(want)
    assert nce(source * 1000 + 7, labels) == pytest.approx(want)


def test_with_answers_instead_of_probabilities_leep_is_nce():
    theta, labels = data()
    answers = np.eye(6)[theta.argmax(1)]
    assert leep(answers, labels, 4) == pytest.approx(nce(theta.argmax(1), labels))
    # averaging answers cannot tell more than the answers: the bound of the paper (property 2), for soft ones
    assert leep(theta, labels, 4) >= nce(theta.argmax(1), labels) + np.log(theta.max(1)).mean()


def test_parts_are_what_their_images_alone_would_give(monkeypatch):
    theta, labels = data()
    parts = generator(2, "parts").random((7, len(labels))) < 0.6
    parts[:, :4] = True
    alone = [leep(theta[part], labels[part], 4) for part in parts]
    np.testing.assert_allclose(leep_of(theta, labels, 4, parts), alone, rtol=1e-12)
    np.testing.assert_allclose(
        nce_of(theta.argmax(1), labels, parts), [nce(theta[p].argmax(1), labels[p]) for p in parts], rtol=1e-12
    )
    monkeypatch.setattr(module, "_HELD", 50)
    np.testing.assert_allclose(leep_of(theta, labels, 4, parts), alone, rtol=1e-12)


def test_wrong_input_is_named():
    with pytest.raises(DataError, match="softmax"):
        leep(np.array([[1.0, 2.0], [0.5, 0.5]]), [0, 1], 2)
    with pytest.raises(DataError, match="source probabilities have shape"):
        leep(np.ones(3), [0, 1, 1], 2)
    with pytest.raises(DataError, match="source_labels have shape"):
        nce([0, 1], [0, 1, 1])
    with pytest.raises(DataError, match="one per image"):
        nce([], [])
