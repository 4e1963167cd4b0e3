import numpy as np
import pytest
from sklearn import metrics as sk

from headstart.errors import DataError
from headstart.metrics import classification as c
from headstart.seeding import generator


@pytest.fixture
def answers():
    rng = generator(0, "answers")
    labels = rng.integers(0, 4, 200)
    logits = rng.standard_normal((200, 5)) + 2 * np.eye(5)[labels]
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return labels, chances, chances.argmax(1)


def test_counts_and_ratios_agree_with_scikit_learn(answers):
    labels, _, said = answers
    np.testing.assert_array_equal(c.confusion(labels, said, 5), sk.confusion_matrix(labels, said, labels=range(5)))
    assert c.accuracy(labels, said) == pytest.approx(sk.accuracy_score(labels, said))
    table = c.per_class(labels, said, 5, names=list("abcde"))
    want = sk.precision_recall_fscore_support(labels, said, labels=range(5), zero_division=np.nan)
    got = np.array([[r.precision, r.recall, r.f1, r.support] for r in table.rows]).T
    np.testing.assert_allclose(got[:, :4], np.array(want)[:, :4])
    assert np.isnan(table.rows[4].recall)
    assert table.rows[4].support == 0
    assert "precision" in str(table)


def test_balanced_accuracy_leaves_out_classes_without_images(answers):
    labels, _, said = answers
    want = np.mean([np.mean(said[labels == k] == k) for k in range(4)])
    assert c.balanced_accuracy(labels, said, 5) == pytest.approx(want)
    assert c.accuracy_of(c.confusion(labels, said, 5)) == pytest.approx(np.mean(labels == said))


def test_probabilities(answers):
    labels, chances, said = answers
    assert c.nll(labels, chances) == pytest.approx(sk.log_loss(labels, chances, labels=range(5)))
    for k in (1, 2, 4):
        assert c.top_k(labels, chances, k) == pytest.approx(sk.top_k_accuracy_score(labels, chances, k=k, labels=range(5)))
    assert c.top_k(labels, chances, 1) == c.accuracy(labels, said)
    assert c.top_k(labels, chances, 5) == 1.0


def test_a_constant_answer_is_right_by_no_order_of_classes():
    assert c.top_k([0, 1], np.full((2, 2), 0.5), 1) == 0.0
    assert c.nll([0], [[0.0, 1.0]]) == np.inf


def test_calibration_error_by_hand():
    # two images at .9 (one right), two at .6 (both right): gaps .4 and .4, half the images each
    chances = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    result = c.reliability([0, 1, 0, 0], chances, bins=10)
    assert result.error == pytest.approx(0.4)
    assert result.images.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 2, 0]
    assert result.accuracy[5] == 1.0
    assert result.confidence[8] == pytest.approx(0.9)
    assert c.calibration_error([0, 0], [[1.0, 0.0], [1.0, 0.0]]) == 0.0


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: c.confusion([0, -1], [0, 0], 2), "-1"),
        (lambda: c.confusion([], [], 2), "shape"),
        (lambda: c.confusion([0.5], [0], 2), "whole"),
        (lambda: c.confusion([0], [0, 1], 2), "1 labels but 2"),
        (lambda: c.nll([0], [[3.0, 1.0]]), "softmax"),
        (lambda: c.nll([0], [[np.nan, 1.0]]), "finite"),
        (lambda: c.top_k([0], [[0.5, 0.5]], 3), "k = 3"),
        (lambda: c.accuracy([], []), "not empty"),
        (lambda: c.per_class([0], [0], 2, names=["a"]), "1 class names"),
    ],
)
def test_wrong_input_is_named(call, word):
    with pytest.raises(DataError, match=word):
        call()
