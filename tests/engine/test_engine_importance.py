"""Importances of weights equal those of one image at a time, whatever the layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.data.store import store_of
from headstart.data.task import UNKNOWN, Task, task_of
from headstart.engine import importance_layers
from headstart.engine.importance import Kind, factor, fisher, mas_importance
from headstart.engine.log import RunLog
from headstart.engine.step import present
from headstart.errors import ConfigError
from headstart.nets.net import BlockInfo, InputSpec, Net
from headstart.nets.vit import vit
from tests.conftest import make_image_task, make_vector_task
from tests.engine.engine_toys import perceptron, resnet, state
from tests.engine.importance_naive import Undecided, naive, odd_net, stirred

NETS: dict[str, tuple[Callable[[], Net], Task]] = {
    "mlp": (perceptron, make_vector_task(9)),
    "resnet8": (resnet, make_image_task(9, size=12)),
    "vit": (lambda: vit(16, width=12, depth=2, heads=3), make_image_task(9, size=16)),
    "odd": (odd_net, make_image_task(9, size=12)),
}
KINDS = ("exact", "empirical", "mas")


def ready(name: str, dtype: torch.dtype = torch.float64, classes: int = 3) -> tuple[Net, Task]:
    make, task = NETS[name]
    net = make()
    net.add_head("old", 2)
    net.add_head("toy", classes)
    return stirred(net).to(dtype), task


def ours(net: Net, task: Task, heads: Any, kind: str, **how: Any) -> dict[str, Tensor]:
    return (
        mas_importance(net, task, heads, **how) if kind == "mas" else fisher(net, task, heads, kind=cast(Kind, kind), **how)
    )


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], rtol: float = 1e-6) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name].double(), value, rtol=rtol, atol=1e-9 * float(value.max()) + 1e-30)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", list(NETS))
def test_every_number_equals_one_image_at_a_time(name: str, kind: str) -> None:
    net, task = ready(name)
    for heads in (["toy"], ["old", "toy"]):
        assert_same(ours(net, task, heads, kind), naive(net, task, heads, kind))


@pytest.mark.parametrize("name", ["mlp", "resnet8", "vit"])
def test_in_single_precision_too(name: str) -> None:
    net, task = ready(name, torch.float32)
    expected = naive(net, task, ["toy"], "exact")
    for key, found in fisher(net, task, "toy").items():
        assert float((found - expected[key]).norm()) <= 1e-6 * float(expected[key].norm()), key


def test_which_way_is_taken_for_which_weight() -> None:
    told: list[Any] = []
    log = RunLog(None, (lambda line: told.append(line) if line["event"] == "importance" else None,))
    for name, closed in (("mlp", 1.0), ("resnet8", 1.0), ("vit", 0.7), ("odd", 0.4)):
        net, task = ready(name)
        fisher(net, task, "toy", log=log)
        line = told.pop()
        used = sum(one.numel() for key, one in net.named_parameters() if not key.startswith("heads.old"))
        assert line["closed_form"] + line["vmap"] + line["unused"] == used
        assert line["closed_form"] >= closed * used, name
        assert line["unused"] == (2 if name == "odd" else 0)


def test_a_network_that_cannot_be_vectorised_is_asked_one_by_one() -> None:
    told: list[Any] = []
    info = {"one": BlockInfo("nc", 5), "two": BlockInfo("nc", 5)}
    torch_blocks = {"one": nn.Linear(6, 5), "two": Undecided(5)}
    net = Net(torch_blocks, InputSpec(6, (0.0,), (1.0,), "vector"), info, None)
    net.add_head("toy", 3)
    stirred(net).double()
    task = make_vector_task(7)
    one_each = [task.take(np.asarray([place])) for place in range(7)]
    log = RunLog(None, (lambda line: told.append(line) if line["event"] == "importance" else None,))
    # Its answer to an image depends on the others beside it, so each has to come alone for there to be one right number.
    found = [fisher(net, one, "toy", log=log)["blocks.two.scale"] for one in one_each]
    expected = [naive(net, one, ["toy"], "exact")["blocks.two.scale"] for one in one_each]
    torch.testing.assert_close(torch.stack(found).double(), torch.stack(expected), rtol=1e-6, atol=1e-12)
    assert told[0]["one_by_one"] == 5


@pytest.mark.parametrize("kind", ["exact", "mas"])
def test_slices_change_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("resnet8", "vit", "odd"):
        net, task = ready(name)
        whole = ours(net, task, "toy", kind)
        with monkeypatch.context() as patch:
            patch.setattr(importance_layers, "AT_ONCE", 3000)
            patch.setattr("headstart.engine.importance_plan.AT_ONCE", 300)
            patch.setattr("headstart.engine.importance_plan.ROOM", 40_000)
            assert_same(ours(net, task, "toy", kind), {key: value.double() for key, value in whole.items()})


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_factor_gives_the_covariance_of_the_answers(classes: int) -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 4, (20, classes)))
    logits[0] = torch.tensor([80.0] + [0.0] * (classes - 1))
    logits[1] = torch.tensor([0.0] * (classes - 1) + [80.0])
    p, found = logits.softmax(1), factor(logits)
    assert found.shape == (20, classes, classes - 1)
    covariance = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    torch.testing.assert_close(found @ found.transpose(1, 2), covariance, rtol=1e-10, atol=1e-14)


def test_two_classes_need_one_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    net, task = ready("resnet8", classes=2)
    task = replace(task, labels=task.labels % 2, classes=("a", "b"))
    expected = naive(net, task, ["toy"], "exact")
    assert factor(torch.zeros(4, 2)).shape[2] == 1
    assert_same(fisher(net, task, "toy"), expected)


def test_one_class_says_nothing() -> None:
    net, task = ready("mlp", classes=1)
    found = fisher(net, replace(task, labels=task.labels * 0, classes=("a",)), "toy")
    assert all(not bool(value.any()) for value in found.values())


def test_of_a_logistic_regression_it_is_p_times_one_minus_p_times_x_squared() -> None:
    """McCullagh & Nelder 1989: the information of a linear softmax, in closed form."""
    task = make_vector_task(30)
    net = Net({"same": nn.Identity()}, InputSpec(6, (0.0,), (1.0,), "vector"), {"same": BlockInfo("nc", 6)}, None)
    net.add_head("toy", 3)
    stirred(net)
    x = task.store.array.astype(np.float64)
    weight, bias = (one.detach().double().numpy() for one in net.head("toy").linear.parameters())
    z = x @ weight.T + bias
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    found = fisher(net, task, "toy")
    spread = p * (1 - p)
    np.testing.assert_allclose(found["heads.toy.linear.weight"], spread.T @ x**2 / 30, rtol=2e-5)
    np.testing.assert_allclose(found["heads.toy.linear.bias"], spread.mean(0), rtol=2e-5)


def test_batches_of_one_are_the_empirical_kind_and_larger_ones_are_smaller() -> None:
    net, task = ready("resnet8")
    empirical = fisher(net, task, "toy", kind="empirical")
    assert_same(fisher(net, task, "toy", kind="batch", batch=1), {key: one.double() for key, one in empirical.items()})
    whole = fisher(net, task, "toy", kind="batch", batch=100)
    x = torch.stack([task.store.gather(task.rows)[n] for n in range(len(task))])
    net.eval()
    loss = nn.functional.cross_entropy(net(present(x, net.input).double(), "toy"), torch.from_numpy(task.targets))
    weight = net.get_parameter("blocks.stem.conv1.weight")
    (gradient,) = torch.autograd.grad(loss, weight)
    torch.testing.assert_close(whole["blocks.stem.conv1.weight"].double(), gradient.square(), rtol=1e-5, atol=1e-12)
    assert float(whole["blocks.stem.conv1.weight"].sum()) < float(empirical["blocks.stem.conv1.weight"].sum())


def test_the_likeliest_answers_can_stand_for_labels() -> None:
    net, task = ready("mlp")
    net.eval()
    logits = net(present(task.store.gather(task.rows), net.input).double(), "toy")
    own = logits.argmax(1)
    assert 0 < int((own.numpy() != task.targets).sum()) < len(task)  # else labels and answers are the same, or all are wrong
    weight = net.get_parameter("heads.toy.linear.weight")
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits, own), weight)
    found = fisher(net, task, "toy", kind="likeliest", batch=100)["heads.toy.linear.weight"].double()
    torch.testing.assert_close(found, gradient.square(), rtol=1e-5, atol=1e-12)
    answered = replace(task, labels=own.numpy()[np.argsort(task.rows)])
    same = fisher(net, answered, "toy", kind="batch", batch=4)
    for name, value in fisher(net, task, "toy", kind="likeliest", batch=4).items():
        torch.testing.assert_close(value, same[name])


def test_batches_count_by_their_size() -> None:
    net, task = ready("mlp")
    parts = [
        fisher(net, task.take(np.arange(low, high)), "toy", kind="batch", batch=4) for low, high in ((0, 4), (4, 8), (8, 9))
    ]
    whole = fisher(net, task, "toy", kind="batch", batch=4)
    for name, value in whole.items():
        torch.testing.assert_close(value, (4 * parts[0][name] + 4 * parts[1][name] + parts[2][name]) / 9)


@pytest.mark.parametrize("kind", [*KINDS, "batch", "likeliest"])
def test_looking_changes_nothing(kind: str, rng_guard: None) -> None:
    net, task = ready("resnet8", torch.float32)
    net.train()
    net.blocks["stem"].eval()
    first = next(net.parameters()).requires_grad_(False)
    before, modes = state(net), [module.training for module in net.modules()]
    again = ours(net, task, "toy", kind)
    assert modes == [module.training for module in net.modules()]
    assert not first.requires_grad
    assert all(one.grad is None for one in net.parameters())
    for name, value in state(net).items():
        assert torch.equal(value, before[name]), name
    assert all(torch.equal(value, again[name]) for name, value in ours(net, task, "toy", kind).items())
    assert "heads.old.linear.weight" not in again
    assert "heads.toy.linear.weight" in again


def test_some_samples_are_drawn_by_the_seed_alone() -> None:
    net, task = ready("mlp")
    some = fisher(net, task, "toy", samples=4, seed=1)
    assert all(torch.equal(value, some[name]) for name, value in fisher(net, task, "toy", samples=4, seed=1).items())
    assert any(not torch.equal(value, some[name]) for name, value in fisher(net, task, "toy", samples=4, seed=2).items())
    all_of = fisher(net, task, "toy")
    assert all(torch.equal(value, all_of[name]) for name, value in fisher(net, task, "toy", samples=99).items())


def test_samples_without_a_label_count_only_where_none_is_needed() -> None:
    net, task = ready("mlp")
    labels = task.labels.copy()
    labels[[0, 5]] = UNKNOWN
    some = replace(task, labels=labels)
    known = task.take(np.asarray([1, 2, 3, 4, 6, 7, 8]))
    for kind, same in (("exact", task), ("mas", task), ("likeliest", task), ("empirical", known), ("batch", known)):
        one, other = ours(net, some, "toy", kind), ours(net, same, "toy", kind)
        assert all(torch.equal(value, other[name]) for name, value in one.items()), kind


def test_what_cannot_be_is_said() -> None:
    net, task = ready("mlp")
    none = task_of("toy", store_of(np.zeros((3, 6), np.float32)), np.full(3, UNKNOWN), task.classes)
    for wrong, how in (
        ("kind='true'", {"kind": "true"}),
        ("samples=0", {"samples": 0}),
        ("no head is called 'new'", {"heads": "new"}),
        ("name one at least", {"heads": ()}),
        ("no labelled sample", {"kind": "empirical", "task": none}),
        ("batch=0", {"kind": "batch", "batch": 0}),
    ):
        with pytest.raises(ConfigError, match=wrong):
            fisher(net, **{"task": task, "heads": "toy", **how})  # type: ignore[arg-type]
