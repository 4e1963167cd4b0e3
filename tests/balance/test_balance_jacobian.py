"""Steps made of whole gradients: published values, closed forms, and what the rest of the net gets."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from torch import nn

from headstart.balance.jacobian import _CLASSES, _WHOLE, Jacobian
from headstart.catalog.weightings import WEIGHTINGS
from headstart.errors import ConfigError, TrainingError
from tests.balance.helpers import linear, parameter

pytest.importorskip("torchjd", reason="needs the extra: pip install 'headstart[torchjd]'")

J = {"a": (-4.0, 1.0, 1.0), "b": (6.0, 1.0, 1.0)}
SETTINGS: Mapping[str, dict[str, float]] = {"cagrad": {"c": 0.5}, "fairgrad": {"alpha": 1.0}}


def step(method: str, rows: Mapping[str, Sequence[float]] = J, **settings: float) -> tuple[dict[str, float], list[float]]:
    w = parameter(len(next(iter(rows.values()))))
    used = Jacobian(method, tuple(rows), **{**SETTINGS.get(method, {}), **settings}).backward(
        linear(w, rows), {"shared": [w]}, 0
    )
    assert w.grad is not None
    return used, w.grad.tolist()


@pytest.mark.parametrize(
    ("method", "gradient"),
    [
        ("mgda", (0, 1, 1)),
        ("pcgrad", (0.5848, 3.8012, 3.8012)),
        ("upgrad", (0.2929, 1.9004, 1.9004)),
        ("cagrad", (0.1835, 1.2041, 1.2041)),
        ("nash_mtl", (0.0542, 0.7061, 0.7061)),
        ("aligned_mtl", (0.2133, 0.9673, 0.9673)),
        ("imtl_g", (0.0767, 1, 1)),
        ("dualproj", (0.5563, 1.1109, 1.1109)),
        ("config", (0.1588, 2.0706, 2.0706)),
    ],
)
def test_published_values(method: str, gradient: tuple[float, ...]) -> None:
    """Of J = [[-4, 1, 1], [6, 1, 1]], as TorchJD prints them."""
    assert step(method)[1] == pytest.approx(gradient, abs=6e-5)


@pytest.mark.parametrize("method", [m for m in _CLASSES if m not in _WHOLE])
def test_the_gradient_is_the_weighted_sum_of_the_rows(method: str) -> None:
    draw = np.random.default_rng(0).normal(0, 1, (3, 6))
    used, gradient = step(method, dict(zip("abc", draw.tolist(), strict=True)))
    assert gradient == pytest.approx(list(np.array(list(used.values())) @ draw))
    scaled, _ = step(method, dict(zip("abc", draw.tolist(), strict=True)), normalise=True)
    if sum(used.values()) > 0:
        assert sum(scaled.values()) == pytest.approx(3)


@pytest.mark.filterwarnings("ignore:.*not DPP:UserWarning")
@pytest.mark.parametrize("method", _CLASSES)
def test_equals_the_librarys_own_aggregator_on_the_whole_jacobian_of_a_net(method: str) -> None:
    """Which sees the rows themselves and not their scalar products."""
    aggregation = importlib.import_module("torchjd.aggregation")
    sized = {"n_tasks": 3} if method == "nash_mtl" else {}
    aggregator = getattr(aggregation, _CLASSES[method].removesuffix("Weighting"))(**SETTINGS.get(method, {}), **sized)
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5)).double()
    heads = nn.Linear(5, 3).double()
    x = torch.randn(7, 4, dtype=torch.float64)

    def losses() -> dict[str, torch.Tensor]:
        out = heads(body(x))
        return {name: (out[:, place] - place).square().mean() for place, name in enumerate("abc")}

    shared = list(body.parameters())
    rows = [
        torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, shared, retain_graph=True)])
        for loss in losses().values()
    ]
    torch.manual_seed(1)
    want = aggregator(torch.stack(rows))
    torch.manual_seed(1)
    balance = Jacobian(method, ("a", "b", "c"), **SETTINGS.get(method, {}))
    balance.backward(losses(), {"shared": shared, "heads": list(heads.parameters())}, 0)
    found = torch.cat([p.grad.reshape(-1) for p in shared if p.grad is not None])
    torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-8)
    plain = torch.autograd.grad(torch.stack(list(losses().values())).sum(), list(heads.parameters()))
    for one, parameter_ in zip(plain, heads.parameters(), strict=True):
        torch.testing.assert_close(parameter_.grad, one)


def test_pcgrad_of_two_tasks_is_algorithm_1() -> None:
    g, h = (np.array(row) for row in J.values())
    want = (g - (g @ h) / (h @ h) * h) + (h - (g @ h) / (g @ g) * g)
    used, gradient = step("pcgrad")
    assert gradient == pytest.approx(list(want))
    assert used == pytest.approx({"a": 1 - (g @ h) / (g @ g), "b": 1 - (g @ h) / (h @ h)})
    agreeing = {"a": (1.0, 0.0), "b": (1.0, 1.0)}
    assert step("pcgrad", agreeing) == ({"a": 1.0, "b": 1.0}, [2.0, 1.0])


def test_mgda_is_the_shortest_vector_between_the_rows() -> None:
    draw = np.random.default_rng(1).normal(0, 1, (2, 5)) + 1
    share = np.clip((draw[1] @ (draw[1] - draw[0])) / ((draw[0] - draw[1]) @ (draw[0] - draw[1])), 0, 1)
    used, _ = step("mgda", dict(zip("ab", draw.tolist(), strict=True)))
    assert list(used.values()) == pytest.approx([share, 1 - share], abs=1e-6)


@pytest.mark.parametrize("method", ["upgrad", "mgda", "dualproj", "cagrad", "imtl_g", "nash_mtl"])
def test_no_task_loses(method: str) -> None:
    """Along the step every task's loss falls, as the plain sum here does not promise."""
    rows = {"a": (1.0, 3.0, 0.0), "b": (2.0, -1.0, 1.0), "c": (-1.0, 0.5, 2.0)}
    gradient = np.array(step(method, rows)[1])
    assert (np.array(list(rows.values())) @ gradient > -1e-3).all()


@pytest.mark.parametrize("method", ["upgrad", "dualproj", "cagrad"])
def test_small_gradients_are_weighed_like_large_ones(method: str) -> None:
    tiny = {name: [1e-4 * x for x in row] for name, row in J.items()}
    assert step(method, tiny)[0] == pytest.approx(step(method)[0], rel=1e-4)


@pytest.mark.parametrize("method", _CLASSES)
def test_heads_get_the_plain_sum_and_other_losses_their_own_gradient(method: str) -> None:
    w, head = parameter(3), parameter(2, 1.0)
    rows = {**J, "pull": (100.0, 0.0, 0.0)}
    losses = linear(w, rows)
    losses = {name: loss + number * head.sum() for number, (name, loss) in enumerate(losses.items(), 1)}
    torch.manual_seed(0)
    used = Jacobian(method, ("a", "b"), **SETTINGS.get(method, {})).backward(losses, {"shared": [w], "heads": [head]}, 0)
    torch.manual_seed(0)
    alone = step(method)[1]
    assert used["pull"] == 1.0
    assert head.grad is not None
    assert head.grad.tolist() == [6, 6]
    assert w.grad is not None
    assert w.grad.tolist() == pytest.approx([alone[0] + 100, alone[1], alone[2]])
    if method in _WHOLE:
        assert used == {"a": 1.0, "b": 1.0, "pull": 1.0}


@pytest.mark.parametrize("method", _CLASSES)
def test_an_absent_task_has_no_row(method: str) -> None:
    torch.manual_seed(0)
    balance, w = Jacobian(method, ("a", "b", "c"), **SETTINGS.get(method, {})), parameter(3)
    used = balance.backward(linear(w, J), {"shared": [w]}, 0)
    torch.manual_seed(0)
    want, gradient = step(method)
    assert used == pytest.approx(want)
    assert w.grad is not None
    assert w.grad.tolist() == pytest.approx(gradient)
    one = parameter(3)
    assert set(balance.backward(linear(one, {"c": J["a"]}), {"shared": [one]}, 1)) == {"c"}
    only_pull = parameter(3)
    assert balance.backward(linear(only_pull, {"pull": J["a"]}), {"shared": [only_pull]}, 2) == {"pull": 1.0}
    assert only_pull.grad is not None
    assert only_pull.grad.tolist() == list(J["a"])


@pytest.mark.parametrize("method", ["pcgrad", "config"])
def test_parameters_that_a_task_does_not_reach_are_zeros_of_its_row(method: str) -> None:
    w, v, nobody = parameter(2), parameter(1), parameter(1)
    losses = {"a": (w * torch.tensor([-4.0, 1.0], dtype=torch.float64)).sum() + v.sum(), "b": (6 * w[0] + w[1])}
    Jacobian(method, ("a", "b")).backward(losses, {"shared": [w, v, nobody]}, 0)
    want = step(method, {"a": (-4, 1, 1), "b": (6, 1, 0)})[1]
    assert w.grad is not None
    assert v.grad is not None
    assert [*w.grad.tolist(), *v.grad.tolist()] == pytest.approx(want)
    assert nobody.grad is None


def test_gradients_of_zero_move_nothing_and_break_nothing() -> None:
    for method in _CLASSES:
        used, gradient = step(method, {"a": (0.0, 0.0), "b": (0.0, 0.0)})
        assert gradient == [0, 0], method
        assert all(np.isfinite(one) for one in used.values())


@pytest.mark.parametrize("method", _CLASSES)
@pytest.mark.parametrize("wrong", [float("inf"), float("nan")])
def test_gradients_that_are_not_finite_are_left_to_the_loop(method: str, wrong: float) -> None:
    """It looks at the losses, and on an accelerator not at every step: no solver may fall over before."""
    used, gradient = step(method, {"a": (wrong, 0.0), "b": (1.0, 2.0)})
    assert used == {"a": 1.0, "b": 1.0}
    assert not np.isfinite(gradient[0])


def test_a_solver_that_fails_stops_the_run_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no solution")

    monkeypatch.setattr(Jacobian, "_weights", fail)
    with pytest.raises(TrainingError, match=r"'upgrad' found no step for the gradients of a, b \(ValueError: no solution\)"):
        step("upgrad")


def test_nash_mtl_goes_on_from_the_weights_of_the_step_before() -> None:
    """Its state is in the state dict: a fresh balance that loads it continues to the bit."""
    draw = np.random.default_rng(0).normal(0, 1, (6, 3, 5))

    def run(balance: Jacobian, steps: range) -> list[list[float]]:
        found = []
        for at in steps:
            w = parameter(5)
            names = "abc" if at % 3 else "ac"
            balance.backward(linear(w, dict(zip(names, draw[at].tolist(), strict=False))), {"shared": [w]}, at)
            assert w.grad is not None
            found.append(w.grad.tolist())
        return found

    whole = Jacobian("nash_mtl", ("a", "b", "c"))
    want = run(whole, range(6))
    half, rest = Jacobian("nash_mtl", ("a", "b", "c")), Jacobian("nash_mtl", ("a", "b", "c"))
    first = run(half, range(3))
    rest.load_state_dict(half.state_dict())
    assert first + run(rest, range(3, 6)) == want
    assert not torch.equal(whole.memory, torch.ones(3, dtype=torch.float64))


def test_the_order_of_pcgrad_is_drawn_from_the_step() -> None:
    draw = dict(zip("abcd", np.random.default_rng(3).normal(0, 1, (4, 3)).tolist(), strict=True))
    found = []
    for seed in (0, 0, 1, 2, 3):
        torch.manual_seed(seed)
        found.append(tuple(step("pcgrad", draw)[1]))
    assert found[0] == found[1]
    assert len(set(found)) > 1


@pytest.mark.parametrize("method", ["pcgrad", "config"])
def test_gradients_lie_in_memory_as_their_parameters_do(method: str) -> None:
    """A fused optimiser walks over both side by side, whatever their strides."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 3)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    out = net(torch.randn(4, 3, 9, 9)).mean((2, 3))
    losses = {name: (out[:, place] - place).square().mean() for place, name in enumerate("abc")}
    losses["pull"] = net[0].weight.square().sum()
    Jacobian(method, ("a", "b", "c")).backward(losses, {"shared": list(net.parameters())}, 0)
    for one in net.parameters():
        assert one.grad is not None
        assert one.grad.stride() == one.stride()
    before = net[2].weight.detach().clone()
    gradient = net[2].weight.grad.clone()
    torch.optim.SGD(net.parameters(), lr=0.5, fused=True).step()
    torch.testing.assert_close(net[2].weight.detach(), before - 0.5 * gradient)


def test_every_method_is_in_the_catalog() -> None:
    assert set(_CLASSES) == {name for name, one in WEIGHTINGS.items() if one.family == "by gradients"}


def test_what_cannot_be_made_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"weighting 'pc_grad' is unknown; .* pcgrad"):
        Jacobian("pc_grad", ("a",))
    with pytest.raises(ConfigError, match="has no weights to scale"):
        Jacobian("config", ("a",), normalise=True)
    with pytest.raises(ConfigError, match="cannot be made with"):
        Jacobian("mgda", ("a",), epsilon=-1)
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)
    with pytest.raises(ConfigError, match=r"(?s)needs TorchJD.*pip install 'headstart\[torchjd\]'"):
        Jacobian("mgda", ("a",))
