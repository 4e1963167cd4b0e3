"""A live teacher: always in eval mode, never trained, shown the student's samples in its own way, known by its digest."""

from __future__ import annotations

import copy
import gc
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from headstart.data.views import normalise
from headstart.errors import CheckpointError, ConfigError
from headstart.nets.net import InputSpec
from headstart.terms.distill import Distill
from headstart.terms.teacher import Live, Several, same_classes
from headstart.terms.teacher import shown as as_shown
from tests.terms.taught import Shown, big, perceptron, pictures, shown, small


def test_it_answers_as_its_net_does_on_samples_normalised_its_own_way() -> None:
    net, step = big(12), shown()
    teacher = Live(net, "toy")
    with torch.no_grad():
        expected = net(normalise(step.given, (0.2, 0.3, 0.4), (0.5, 0.6, 0.7)))
    found = teacher.logits(step)
    assert torch.equal(found, expected)
    assert torch.equal(teacher.of(step.given), expected)
    assert not torch.allclose(found, Live(small(), "toy").logits(step))
    assert torch.equal(teacher.logits(step, "other"), teacher.of(step.given.flip(0)))


def test_whatever_its_parent_does_it_stays_in_eval_mode_without_gradient_and_unchanged() -> None:
    net, step = big(), shown()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    term = Distill("toy", Live(net, "toy"))
    term.train().requires_grad_(True)
    net.train()  # as another holder of it might
    found = term.teacher.logits(step)
    assert not found.requires_grad
    assert not any(module.training for module in net.modules())
    assert not list(term.parameters())
    assert not list(term.buffers())
    assert [type(module) for module in term.modules()] == [Distill, Live]
    step.net.train()
    torch.autograd.grad(term(step), list(step.net.parameters()), allow_unused=True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in net.parameters())


def test_one_pass_serves_a_step() -> None:
    net = big()
    teacher, passes = Live(net, "toy", reads=("layer1_0", "pool")), []
    net.blocks["stem"].register_forward_hook(lambda *_: passes.append(1))
    one, other = shown(), shown()
    for step, count in ((one, 1), (one, 1), (other, 2), (one, 3)):
        teacher.logits(step)
        taps = teacher.taps(step)
        assert set(taps) == {"layer1_0", "pool"}
        assert len(passes) == count
    assert torch.equal(teacher.pooled(one, "layer1_0"), taps["layer1_0"].mean((2, 3)))
    teacher.also_reads(["layer2_0"])
    assert set(teacher.taps(one)) == {"layer1_0", "pool", "layer2_0"}
    with pytest.raises(ConfigError, match="no block 'nowhere'"):
        teacher.also_reads(["nowhere"])


def test_it_keeps_no_step_alive() -> None:
    teacher, step = Live(big(), "toy"), shown()
    teacher.logits(step)
    gone = weakref.ref(step)
    del step
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(("start", "end"), [(32, 16), (12, 16), (30, 13)])
def test_images_of_another_size_are_resized_as_pillow_does(start: int, end: int) -> None:
    samples = pictures(2, start)
    found = as_shown(samples, InputSpec(end, (0.0, 0.0, 0.0), (1 / 255,) * 3)).permute(0, 2, 3, 1)
    for image, ours in zip(samples.numpy(), found.numpy(), strict=True):
        for channel in range(3):
            theirs = Image.fromarray(image[..., channel].astype(np.float32)).resize((end, end), Image.Resampling.BILINEAR)
            np.testing.assert_allclose(ours[..., channel], np.asarray(theirs), atol=1e-2)


def test_a_teacher_on_larger_images_answers() -> None:
    step = shown()
    teacher = Live(big(16), "toy")
    assert teacher.logits(step).shape == (6, 3)
    assert teacher.logits(Shown(step.net, step.given[:0])).shape == (0, 3)


@pytest.mark.parametrize(
    ("samples", "spec", "says"),
    [
        (torch.zeros(2, 6), InputSpec(8), "the data are vectors, the teacher wants images"),
        (pictures(2), InputSpec(6, (0.0,), (1.0,), "vector"), "the data are images, the teacher wants vectors"),
        (torch.zeros(2, 5), InputSpec(6, (0.0,), (1.0,), "vector"), "the data have 5 features, the teacher wants 6"),
        (pictures(2)[..., :1], InputSpec(12), "the images have 1 channels, the teacher wants 3"),
    ],
)
def test_samples_it_cannot_see(samples: torch.Tensor, spec: InputSpec, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        as_shown(samples, spec)


def test_vectors_are_shown_as_they_are() -> None:
    net, samples = perceptron(), torch.from_numpy(np.random.default_rng(0).normal(size=(4, 6))).float()
    assert torch.equal(Live(net, "toy").logits(Shown(perceptron(seed=2), samples)), net(samples))


def test_the_order_of_its_classes_becomes_the_tasks() -> None:
    net, step = big(), shown()
    plain, mapped = Live(net, "toy"), Live(net, "toy", order=(2, 0))
    assert (plain.num_classes, mapped.num_classes) == (3, 2)
    assert torch.equal(mapped.logits(step), plain.logits(step)[:, [2, 0]])
    assert mapped.digest() != plain.digest()


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match=r"(?s)no block 'a'.*no head 'b'; heads are \['toy'\]"):
        Live(big(), "b", reads=("a",))
    with pytest.raises(ConfigError, match=r"(?s)classes \[7\]; the teacher's 3 classes are 0 to 2.*\[1\] more than once"):
        Live(big(), "toy", order=(1, 1, 7))
    with pytest.raises(ConfigError, match="order is empty"):
        Live(big(), "toy", order=())
    with pytest.raises(ConfigError, match=r"head 'h' answers about 2 classes, the teacher about 3.*order="):
        same_classes("h", torch.zeros(1, 2), torch.zeros(1, 3))


def test_its_digest_tells_everything_its_answers_depend_on() -> None:
    teacher = Live(big(), "toy")
    mark = teacher.digest()
    assert mark == Live(big(), "toy", reads=("stem",)).digest() == copy.deepcopy(teacher).digest()
    assert mark == Live(big().to(memory_format=torch.contiguous_format), "toy").digest()
    assert mark != Live(big(12), "toy").digest(), "another input size"
    with torch.no_grad():
        teacher.net.blocks["layer1_0"].bn1.running_var[0] += 1
    assert teacher.digest() != mark, "a statistic moved after it was taken"


def test_it_is_not_saved_but_must_be_the_same_again() -> None:
    term = Distill("toy", Live(big(), "toy"))
    saved = term.state_dict()
    assert {key: type(value) for key, value in saved.items()} == {"teacher._extra_state": dict}
    Distill("toy", Live(big(), "toy")).load_state_dict(saved)
    with pytest.raises(CheckpointError, match=r"(?s)made with another teacher.*Give the same teacher"):
        Distill("toy", Live(small(), "toy")).load_state_dict(saved)
    both = Several([Live(big(), "toy"), Live(small(), "toy")])
    Several([Live(big(), "toy"), Live(small(), "toy")]).load_state_dict(both.state_dict())
    with pytest.raises(CheckpointError, match="another teacher"):
        Several([Live(small(), "toy"), Live(big(), "toy")]).load_state_dict(both.state_dict())


def test_it_moves_with_the_term_that_holds_it() -> None:
    net = big()
    term = Distill("toy", Several([Live(net, "toy")]))
    term.to(torch.float16)
    assert all(parameter.dtype == torch.float16 for parameter in net.parameters())


def test_answers_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert Live(big(), "toy").logits(shown()).dtype == torch.float32


class Says(nn.Module):
    """Answers given beforehand."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.given, self.asked = logits, 0

    def logits(self, step: object, view: str = "main") -> torch.Tensor:
        self.asked += 1
        return self.given


def answers(count: int, n: int = 4, c: int = 5) -> list[torch.Tensor]:
    draw = np.random.default_rng(0)
    return [torch.from_numpy(draw.normal(0, 3, (n, c))) for _ in range(count)]


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 5.0), (0.0, 1.0, 0.0)])
def test_several_average_logits_or_probabilities(weights: tuple[float, ...] | None) -> None:
    given, step = answers(3), shown()
    shares = np.array(weights or (1, 1, 1)) / np.sum(weights or (1, 1, 1))
    stacked = np.stack([logits.numpy() for logits in given])
    expected = np.tensordot(shares, stacked, 1)
    np.testing.assert_allclose(Several([Says(x) for x in given], weights).logits(step).numpy(), expected)
    powers = np.exp(stacked)
    mean = np.tensordot(shares, powers / powers.sum(2, keepdims=True), 1)
    found = Several([Says(x) for x in given], weights, "probabilities").logits(step)
    np.testing.assert_allclose(found.exp().numpy(), mean, rtol=1e-10)
    np.testing.assert_allclose(torch.softmax(found, 1).numpy(), mean, rtol=1e-10)


def test_one_of_several_is_itself_and_who_weighs_nothing_is_not_asked() -> None:
    given, step = answers(2), shown()
    both = [Says(x) for x in given]
    torch.testing.assert_close(Several(both, (0, 3)).logits(step), given[1])
    assert (both[0].asked, both[1].asked) == (0, 1)
    nested = Several([Several(both), both[1]], average="logits")
    torch.testing.assert_close(nested.logits(step), 0.25 * given[0] + 0.75 * given[1])


def test_sure_teachers_stay_finite() -> None:
    sure = torch.tensor([[1e4, -1e4, 0.0]])
    found = Several([Says(sure), Says(-sure)], average="probabilities").logits(shown())
    np.testing.assert_allclose(torch.softmax(found, 1).numpy(), [[0.5, 0.5, 0.0]])
    assert torch.isfinite(found).all()


def test_teachers_that_cannot_be_averaged() -> None:
    one, other = Says(torch.zeros(2, 3)), Says(torch.zeros(2, 4))
    with pytest.raises(ConfigError, match=r"teachers answer about \[3, 4\] classes"):
        Several([one, other]).logits(shown())
    with pytest.raises(ConfigError, match="there are none"):
        Several([])
    with pytest.raises(ConfigError, match=r"(?s)2 weights were given for 1 teachers.*not all zero.*average='median'"):
        Several([one], (0, 0), "median")
    for weights in ((-1.0,), (float("nan"),), (float("inf"),)):
        with pytest.raises(ConfigError, match="must be numbers >= 0"):
            Several([one], weights)
