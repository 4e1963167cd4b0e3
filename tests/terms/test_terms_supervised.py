"""The supervised term: the mean over known labels, over all processes' parts of a batch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.data.task import UNKNOWN
from headstart.losses.classification import cross_entropy
from headstart.terms.supervised import Supervised


class Shown:
    """A step made of given answers and labels."""

    def __init__(self, logits: Tensor, labels: Tensor, counted: int | None = None) -> None:
        self.given, self.targets = logits, labels
        self.known = labels != UNKNOWN if labels.ndim == 1 else torch.ones(len(labels), dtype=torch.bool)
        self.counted = int(self.known.sum()) if counted is None else counted
        self.asked: list[str] = []

    @property
    def ids(self) -> Tensor:
        return torch.arange(len(self.given))

    def logits(self, head: str, view: str = "main") -> Tensor:
        self.asked.append(head)
        return self.given

    def taps(self, view: str = "main") -> Mapping[str, Tensor]:
        return {}

    def labels(self, task: str) -> Tensor:
        return self.targets

    def valid(self, task: str) -> Tensor:
        return self.known

    def mean(self, per_sample: Tensor, task: str) -> Tensor:
        return (per_sample * self.known).sum() / max(self.counted, 1)


def shown(n: int = 6, unknown: int = 0) -> Shown:
    draw = np.random.default_rng(0)
    labels = torch.from_numpy(draw.integers(0, 3, n))
    labels[:unknown] = UNKNOWN
    return Shown(torch.from_numpy(draw.normal(size=(n, 3))).float(), labels)


def test_is_the_mean_loss_of_its_head() -> None:
    step = shown()
    term = Supervised("toy", head="other", smoothing=0.1, class_weights=[1, 2, 3])
    expected = cross_entropy(step.given, step.targets, smoothing=0.1, weight=torch.tensor([1.0, 2, 3])).mean()
    torch.testing.assert_close(term(step), expected)
    assert step.asked == ["other"]
    assert (term.tasks, term.heads) == (("toy",), ("other",))
    assert Supervised("toy").heads == ("toy",)


@pytest.mark.parametrize("unknown", [1, 5, 6])
def test_unknown_labels_add_nothing(unknown: int) -> None:
    step = shown(unknown=unknown)
    known = shown().given[unknown:]
    loss = Supervised("toy")(step)
    expected = cross_entropy(known, step.targets[unknown:]).mean() if unknown < 6 else torch.zeros(())
    torch.testing.assert_close(loss, expected)


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    step, term = shown(7, unknown=2), Supervised("toy")
    parts = [Shown(step.given[part], step.targets[part], counted=5) for part in (slice(0, 3), slice(3, 7))]
    torch.testing.assert_close(term(parts[0]) + term(parts[1]), term(step))


def test_mixed_labels() -> None:
    step = shown()
    mixed = torch.softmax(step.given * 2, 1)
    torch.testing.assert_close(Supervised("toy")(Shown(step.given, mixed)), cross_entropy(step.given, mixed).mean())


def test_class_weights_move_with_the_module_and_are_saved() -> None:
    term = Supervised("toy", class_weights=[1, 2, 3])
    assert term.state_dict()["weight"].tolist() == [1, 2, 3]
    assert not list(term.parameters())
    assert Supervised("toy").state_dict() == {}
