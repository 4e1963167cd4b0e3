"""Which head answers: by the task's own, by one list, or by the surest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from headstart.engine.answering import ALL, Answering, Rows, listing_head
from headstart.engine.past import Learned, Past
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.nets.rng import forked
from tests.conftest import make_vector_task
from tests.engine.engine_toys import perceptron


def net_with(*heads: str, reads: tuple[str, ...] | None = None, channels: tuple[int, int] | None = None) -> Net:
    net = perceptron()
    with forked(4):
        for name in heads:
            head = net.add_head(name, 3, reads, channels=channels)
            torch.nn.init.normal_(head.linear.weight)
            torch.nn.init.normal_(head.linear.bias)
    return net.eval()


def past_of(scenario: str, *names: str) -> Past:
    tasks = [Learned(name, name, (f"{name}x", f"{name}y", f"{name}z")) for name in names]
    return Past(scenario, tasks)  # type: ignore[arg-type]


def samples(count: int = 40) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(count, 6)).astype(np.float32)


def softmax(net: Net, head: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        return torch.softmax(net(torch.from_numpy(x), head), 1).numpy()


def test_a_known_task_is_answered_by_its_head() -> None:
    net, x = net_with("a", "b"), samples()
    found = Answering(net, past_of("task", "a", "b")).known(x, "b", batch_size=7)
    assert found.classes == ("bx", "by", "bz")
    assert np.allclose(found.probabilities, softmax(net, "b", x), atol=1e-6)


def test_of_separate_tasks_the_surest_head_is_believed() -> None:
    net, x = net_with("a", "b"), samples()
    found = Answering(net, past_of("task", "a", "b")).unknown(x)
    a, b = softmax(net, "a", x), softmax(net, "b", x)
    assert found.tasks == ("a",) * 3 + ("b",) * 3
    for row, one, other in zip(found.probabilities, a, b, strict=True):
        chosen = (one, 0) if one.max() >= other.max() else (other, 3)
        assert np.allclose(row[chosen[1] : chosen[1] + 3], chosen[0], atol=1e-6)
        assert row.sum() == pytest.approx(1, abs=1e-5)


def test_one_list_is_a_softmax_over_all_heads() -> None:
    net, x = net_with("a", "b"), samples()
    found = Answering(net, past_of("class", "a", "b")).unknown(x)
    with torch.no_grad():
        logits = torch.cat([net(torch.from_numpy(x), name) for name in ("a", "b")], 1)
    assert np.allclose(found.probabilities, torch.softmax(logits, 1).numpy(), atol=1e-6)
    assert found.classes == ("ax", "ay", "az", "bx", "by", "bz")


@pytest.mark.parametrize("channels", [None, (2, 9)])
def test_joined_heads_say_what_they_say_apart(channels: tuple[int, int] | None) -> None:
    net = net_with("a", channels=channels)
    with forked(5):
        torch.nn.init.normal_(net.add_head("b", 3, net.block_names[:2]).linear.weight)
    past, x = past_of("class", "a", "b"), samples()
    apart = Answering(net, past).unknown(x).probabilities
    assert listing_head(net, past) == ALL
    assert np.allclose(softmax(net, ALL, x), apart, atol=1e-6)


def test_a_list_of_the_methods_own_answers_alone() -> None:
    net = net_with("a", "b")
    with forked(6):
        torch.nn.init.normal_(net.add_head("means", 6).linear.weight)
    past = past_of("class", "a", "b")
    past.one_list = "means"
    assert listing_head(net, past) == "means"
    assert np.allclose(Answering(net, past).unknown(samples()).probabilities, softmax(net, "means", samples()), atol=1e-6)


def test_weights_that_a_later_task_claimed_are_not_there_for_an_earlier_one() -> None:
    net, past = net_with("a", "b"), past_of("task", "a", "b")
    before = Answering(net, past).known(samples(), "a").probabilities
    name = "blocks.layer0.0.weight"
    owners = torch.ones_like(net.get_parameter(name), dtype=torch.uint8)
    owners[:, 0] = 2
    past.owners = {name: owners}
    with torch.no_grad():
        net.get_parameter(name)[:, 0] = 5.0
    first = Answering(net, past).known(samples(), "a").probabilities
    with torch.no_grad():
        net.get_parameter(name)[:, 0] = -7.0
    assert np.array_equal(Answering(net, past).known(samples(), "a").probabilities, first)
    assert not np.allclose(first, before)


def test_samples_of_a_store_are_read_a_slice_at_a_time() -> None:
    task, net = make_vector_task(30), net_with("a")
    past = past_of("domain", "a")
    found = Answering(net, past).unknown(Rows(task), batch_size=8)
    assert np.allclose(found.probabilities, softmax(net, "a", task.store.array[task.rows]), atol=1e-6)


def test_a_task_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="'cars' is none that this model has learned; it knows a, b"):
        Answering(net_with("a", "b"), past_of("task", "a", "b")).known(samples(), "cars")
