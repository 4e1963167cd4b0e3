"""Heads that answer with a class, with several yes or no, or with a number."""

import math

import pytest
import torch

from headstart.errors import ConfigError
from headstart.nets.heads import LinearHead, head_from


def test_several_questions_are_answered_apart_and_classes_together():
    logits = torch.tensor([[0.0, math.log(3)]])
    several = LinearHead(("b",), 2, 2, kind="several")
    assert torch.allclose(several.probabilities(logits), torch.tensor([[0.5, 0.75]]))
    assert torch.allclose(LinearHead(("b",), 2, 2).probabilities(logits), torch.tensor([[0.25, 0.75]]))


def test_a_number_comes_back_in_the_unit_it_was_learned_in():
    head = LinearHead(("b",), 2, 1, kind="number")
    head.learn_unit(torch.tensor([10.0, 30.0, float("nan"), 20.0]))
    assert head.offset.item() == 20
    assert head.spread.item() == pytest.approx(math.sqrt(200 / 3))
    labels = torch.tensor([10.0, 25.0])
    assert torch.allclose(head.numbers(head.standardised(labels)[:, None]), labels)


@pytest.mark.parametrize("kind", ["classes", "yes_no", "several", "number"])
def test_a_head_is_made_again_from_its_description(kind):
    head = LinearHead(("a", "b"), 5, 1 if kind == "number" else 3, kind=kind)
    again = head_from(head.spec())
    again.load_state_dict(head.state_dict())
    assert again.spec() == head.spec()
    assert again.kind == kind


def test_plain_heads_are_described_as_before():
    assert "question" not in LinearHead(("b",), 2, 2).spec()
    assert set(LinearHead(("b",), 2, 2).state_dict()) == {"linear.weight", "linear.bias", "calibration"}


def test_what_a_head_cannot_say_is_refused():
    with pytest.raises(ConfigError, match="number"):
        LinearHead(("b",), 2, 1, kind="number").probabilities(torch.zeros(1, 1))
    with pytest.raises(ConfigError, match="classes"):
        LinearHead(("b",), 2, 2).numbers(torch.zeros(1, 2))
