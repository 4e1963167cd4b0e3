"""Soft, hard and decoupled distillation as terms: coefficients, who takes part, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.data.task import UNKNOWN
from headstart.errors import ConfigError
from headstart.losses.decoupled import nckd, tckd
from headstart.losses.distillation import entropy, hard_distillation, soft_cross_entropy, soft_kl, standardise
from headstart.terms.decoupled import Decoupled
from headstart.terms.distill import Distill
from headstart.terms.supervised import Supervised
from headstart.terms.teacher import Live
from tests.losses import naive
from tests.terms.taught import Shown, big, perceptron, pictures, shown, small


def pair(step: Shown) -> tuple[torch.Tensor, torch.Tensor]:
    return step.logits("toy"), Live(big(), "toy").logits(step)


@pytest.mark.parametrize("t_squared", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_soft_term_is_its_equation(temperature: float, t_squared: bool) -> None:
    step = shown()
    term = Distill("toy", Live(big(), "toy"), temperature=temperature, weight=0.9, t_squared=t_squared)
    expected = 0.9 * (temperature**2 if t_squared else 1) * soft_cross_entropy(*pair(step), temperature).mean()
    torch.testing.assert_close(term(step), expected)
    torch.testing.assert_close(term.kl(step), soft_kl(*pair(step), temperature).mean())
    constant = entropy(pair(step)[1], temperature).mean()
    scale = 0.9 * (temperature**2 if t_squared else 1)
    torch.testing.assert_close(term(step) - scale * term.kl(step), scale * constant)
    assert (term.tasks, term.heads, term.reads) == (("toy",), ("toy",), ())
    assert Distill("toy", Live(big(), "toy"), head="other").heads == ("other",)


def test_with_the_hard_half_it_is_hintons_loss() -> None:
    """T^2 lambda CE(softmax(t / T), softmax(s / T)) + (1 - lambda) CE(y, softmax(s)), in plain NumPy."""
    step, temperature, share = shown(), 4.0, 0.9
    terms = Distill("toy", Live(big(), "toy"), temperature=temperature, weight=share), Supervised("toy", share=1 - share)
    s, t = (logits.detach().double().numpy() for logits in pair(step))
    each = [
        temperature**2 * share * naive.cross_entropy(naive.softmax(b, temperature), naive.softmax(a, temperature))
        - (1 - share) * np.log(naive.softmax(a)[y])
        for a, b, y in zip(s, t, step.targets.tolist(), strict=True)
    ]
    assert sum(term(step).item() for term in terms) == pytest.approx(np.mean(each), rel=1e-5)


def test_the_students_gradient_hardly_depends_on_t() -> None:
    """What T^2 is for (Hinton et al. 2015, section 2)."""
    sizes = []
    for temperature in (20.0, 200.0):
        step = shown()
        bias = step.net.head("toy").linear.bias
        term = Distill("toy", Live(big(), "toy"), temperature=temperature)
        sizes.append(torch.autograd.grad(term(step), bias)[0].norm())
    torch.testing.assert_close(sizes[0], sizes[1], rtol=0.1, atol=0)


def test_samples_without_label_take_part() -> None:
    labels = torch.tensor([0, UNKNOWN, UNKNOWN, 1, UNKNOWN, 2])
    for make in (lambda: Distill("toy", Live(big(), "toy")), lambda: Distill("toy", Live(big(), "toy"), kind="hard")):
        torch.testing.assert_close(make()(shown(labels=labels)), make()(shown()))


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    whole, term = shown(), Distill("toy", Live(big(), "toy"))
    parts = [Shown(whole.net, whole.given[part], whole=6) for part in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(term(parts[0]) + term(parts[1]), term(whole))


def test_hard_and_standardised() -> None:
    step = shown()
    hard = Distill("toy", Live(big(), "toy"), kind="hard", weight=0.5, temperature=4.0)
    torch.testing.assert_close(hard(step), 0.5 * hard_distillation(*pair(step)).mean())
    student, teacher = (standardise(logits) for logits in pair(step))
    level = Distill("toy", Live(big(), "toy"), standardise=True, temperature=2.0)
    torch.testing.assert_close(level(step), 4 * soft_cross_entropy(student, teacher, 2.0).mean())
    torch.testing.assert_close(level.kl(step), soft_kl(student, teacher, 2.0).mean())


def test_mixed_samples_are_what_the_teacher_sees() -> None:
    """The step's samples are the mixed ones: nothing else reaches the teacher."""
    step = shown()
    mixed = Shown(step.net, (step.given // 2 + step.given.flip(0) // 2), torch.full((6, 3), 1 / 3))
    expected = 16 * soft_cross_entropy(mixed.logits("toy"), Live(big(), "toy").of(mixed.given), 4.0).mean()
    torch.testing.assert_close(Distill("toy", Live(big(), "toy"))(mixed), expected)


def test_the_decoupled_term_is_its_equation_over_known_labels() -> None:
    step = shown(labels=torch.tensor([0, 1, UNKNOWN, 2, 2, 0]))
    term = Decoupled("toy", Live(big(), "toy"), alpha=2.0, beta=3.0, temperature=4.0, weight=0.5)
    known = step.valid("toy")
    student, teacher = (logits[known] for logits in pair(step))
    parts = [loss(student, teacher, step.targets[known], 4.0).mean() for loss in (tckd, nckd)]
    torch.testing.assert_close(term(step), 0.5 * 16 * (2 * parts[0] + 3 * parts[1]))
    none = Shown(step.net, step.given, torch.full((6,), UNKNOWN))
    assert term(none).item() == 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"temperature": 0.0}, r"temperature=0.0 must be a number greater than 0"),
        ({"temperature": -1.0, "weight": -2.0}, r"(?s)temperature=-1.0.*weight=-2.0 must be a number 0 or greater"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"kind": "firm"}, "kind='firm' is not one of"),
        ({"kind": "hard", "standardise": True}, "use it with kind='soft'"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Distill("toy", Live(big(), "toy"), **settings)


def test_decoupled_refuses_what_it_cannot_mean() -> None:
    teacher = Live(big(), "toy")
    with pytest.raises(ConfigError, match=r"(?s)temperature=0.*alpha=-1"):
        Decoupled("toy", teacher, temperature=0, alpha=-1)
    with pytest.raises(ConfigError, match="needs one label per image; train without mixup"):
        Decoupled("toy", teacher)(Shown(small(), pictures(), torch.full((6, 3), 1 / 3)))


@pytest.mark.parametrize("kind", [Distill, Decoupled])
def test_a_teacher_of_other_classes_is_named(kind: type[Distill]) -> None:
    with pytest.raises(ConfigError, match=r"head 'toy' answers about 3 classes, the teacher about 2; .*order="):
        kind("toy", Live(big(), "toy", order=(1, 0)))(shown())


def test_vectors_are_data_too() -> None:
    samples = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 6))).float()
    step = Shown(perceptron(seed=1), samples)
    assert Distill("toy", Live(perceptron(seed=2), "toy")).kl(step) > 0
    assert Distill("toy", Live(perceptron(seed=1), "toy")).kl(step) == 0
