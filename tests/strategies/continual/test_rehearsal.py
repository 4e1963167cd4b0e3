"""Methods that keep samples: what they keep, how they answer, and what they refuse before training."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.catalog.continual import METHODS
from headstart.data.selection import herding
from headstart.data.store import Store, store_of
from headstart.data.task import UNKNOWN, Task
from headstart.engine.answering import ALL
from headstart.engine.evaluate import answers
from headstart.engine.fit import FitResult
from headstart.engine.past import Past
from headstart.engine.run import Drive
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.continual import CONTINUAL
from headstart.strategies.continual.icarl import class_means
from headstart.strategies.continual.memories import features_of, held_before, with_old, with_old_answers
from headstart.strategies.continual.sigmoids import all_classes, old_network
from headstart.terms.dark import Dark
from headstart.terms.replay import Replay
from tests.engine.engine_toys import differing, state
from tests.strategies.continual.continual_toys import CONFIGS, Case, all_of, increment, sequence

WITH_MEMORY = [name for name in ("replay", "der", "derpp", "agem", "icarl") if METHODS[name].memory]


def scenario_of(method: str) -> str:
    return METHODS[method].scenarios[-1]


def kept_samples_are_the_tasks(case: Case, past: Past) -> None:
    """Every stored sample is one of its task's, with its label there."""
    memory = past.memory
    assert memory is not None
    for sample, label, number in zip(memory.samples, memory.labels, memory.tasks, strict=True):
        task = case.task(int(number))
        same = (task.store.array == sample).reshape(len(task.store), -1).all(1)
        assert same.any()
        assert label in task.labels[same]


@pytest.mark.parametrize("method", WITH_MEMORY)
@pytest.mark.parametrize("kind", ["images", "vectors"])
def test_what_is_kept_are_samples_as_they_were_within_the_capacity(method: str, kind: str) -> None:
    case = Case(method, kind, scenario_of(method))
    _, past = sequence(case)
    kept_samples_are_the_tasks(case, past)
    assert past.memory is not None
    assert len(past.memory) == past.memory.capacity == 20
    assert set(past.memory.tasks.tolist()) == {0, 1, 2}
    assert past.bytes_of_memory() == past.memory.bytes > 0


@pytest.mark.parametrize("method", WITH_MEMORY)
def test_a_capacity_larger_than_the_data_keeps_all_of_them(method: str) -> None:
    case = Case(method, "vectors", scenario_of(method))
    _, past = sequence(case, 2, config=replace(CONFIGS[method], capacity=1000))
    assert past.memory is not None
    assert len(past.memory) == (2 * 2 if method.startswith("der") else 2) * 35  # the stream comes twice


@pytest.mark.parametrize("method", ["replay", "der", "derpp", "agem"])
def test_without_room_it_is_fine_tuning(method: str) -> None:
    case = Case(method, "vectors", "task")
    net, past = sequence(case, 2, config=replace(CONFIGS[method], capacity=0))
    plain = Case("fine_tune", "vectors", "task")
    reference = plain.net()
    before = plain.past()
    for number in range(2):
        increment(
            plain, reference, before, number, wrap=_called(method), config=replace(CONFIGS["fine_tune"], warmup_epochs=0)
        )
    assert past.memory is not None
    assert len(past.memory) == past.memory.bytes == 0
    assert not differing(state(net), state(reference))


def _called(name: str) -> Any:
    """The same stages under another name, which their random numbers follow from."""
    return lambda net, stages: (replace(one, name=name) for one in stages)


@pytest.mark.parametrize("method", WITH_MEMORY)
def test_a_memory_larger_than_allowed_is_refused_before_anything_changes(method: str) -> None:
    case = Case(method, "images", scenario_of(method))
    net, past = case.net(), case.past()
    before = state(net)
    with pytest.raises(
        ConfigError, match=r"capacity=20 samples take [\d,]+ bytes, and max_bytes=5,000 \(--max-memory\) allows"
    ):
        increment(case, net, past, 0, config=replace(CONFIGS[method], max_bytes=5000))
    with pytest.raises(ConfigError, match=r"capacity=-1 \(--capacity\)"):
        increment(case, net, past, 0, config=replace(CONFIGS[method], capacity=-1))
    assert not differing(state(net), before)
    assert past.memory is None


@pytest.mark.parametrize("method", WITH_MEMORY)
def test_samples_of_another_size_than_those_stored_are_refused(method: str) -> None:
    case = Case(method, "images", scenario_of(method))
    net, past = sequence(case, 1)
    assert past.memory is not None
    past.memory.samples = past.memory.samples[:, :8, :8]
    with pytest.raises(ConfigError, match=r"holds samples of shape \[8, 8, 3\]"):
        increment(case, net, past, 1)


@pytest.mark.parametrize("policy", ["reservoir", "class_balanced", "herding"])
@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_policies_share_as_they_say(policy: str, scenario: str) -> None:
    case = Case("replay", "vectors", scenario)
    net, past = sequence(case, config=replace(CONFIGS["replay"], policy=policy, capacity=18))
    memory = past.memory
    assert memory is not None
    assert memory.seen == 3 * 35
    pairs = list(zip(memory.tasks.tolist(), memory.labels.tolist(), strict=True))
    if policy != "reservoir":
        assert all(pairs.count((task, label)) == 2 for task in range(3) for label in range(3))
    if policy == "herding":
        task = case.task(2)
        features = features_of(net, task.store, task.rows)
        for label in range(3):
            of = np.flatnonzero(task.targets == label)
            best = task.store.array[task.rows[of[herding(features[of], 2)]]]
            np.testing.assert_array_equal(memory.samples[(memory.tasks == 2) & (memory.labels == label)], best)


def test_cutting_keeps_the_best_of_the_earlier_ones() -> None:
    case = Case("icarl", "vectors", "class")
    _, one = sequence(case, 1)
    _, two = sequence(case, 2)
    assert one.memory is not None
    assert two.memory is not None
    for label in range(3):
        first = one.memory.samples[one.memory.labels == label]
        later = two.memory.samples[(two.memory.labels == label) & (two.memory.tasks == 0)]
        assert 0 < len(later) < len(first)
        np.testing.assert_array_equal(later, first[: len(later)])


def test_samples_without_a_label_are_not_kept() -> None:
    for method in WITH_MEMORY:
        case = Case(method, "vectors", scenario_of(method))
        task = case.task(0)
        labels = task.labels.copy()
        labels[::2] = UNKNOWN
        net, past = case.net(), case.past()
        _learn(net, replace(task, labels=labels), method, past, capacity=1000)
        assert past.memory is not None
        assert len(past.memory) == (2 if method.startswith("der") else 1) * int((labels != UNKNOWN).sum())
        assert (past.memory.labels >= 0).all()


def _learn(net: Net, task: Task, method: str, past: Past, **settings: Any) -> list[Any]:
    return Drive(net).run(CONTINUAL[method](net, task, replace(CONFIGS[method], **settings), past=past))


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
@pytest.mark.parametrize("method", ["replay", "derpp", "agem"])
def test_a_stored_sample_is_judged_by_the_heads_of_the_scenario(method: str, scenario: str) -> None:
    case = Case(method, "vectors", scenario)
    net, past = sequence(case, 2)
    stages = [one for one in CONTINUAL[method](net, case.task(2), CONFIGS[method], past=past) if isinstance(one, Stage)]
    (term,) = (one for one in stages[0].terms.values() if isinstance(one, (Replay, Dark)))
    heads = term.beside
    if scenario == "domain":
        assert (heads.names, heads.sizes, heads.of_task) == (("task0",), (3,), (0, 0, 0))
    else:
        assert (heads.names, heads.sizes, heads.of_task) == (("task0", "task1", "task2"), (3, 3, 3), (0, 1, 2))
    assert heads.per_head == (scenario == "task")


def test_icarl_answers_by_the_nearest_mean_of_exemplars() -> None:
    """The head is linear, and its answers are those of the distances themselves."""
    case = Case("icarl", "images", "class")
    net, past = sequence(case)
    memory = past.memory
    assert memory is not None
    assert past.one_list == ALL
    listed = memory.labels + 3 * memory.tasks

    def phi(samples: np.ndarray) -> np.ndarray:
        features = features_of(net, store_of(samples), np.arange(len(samples))).astype(np.float64)
        return features / np.linalg.norm(features, axis=1, keepdims=True)

    means = np.stack([phi(memory.samples)[listed == y].mean(0) for y in range(9)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    for number in range(3):
        task = case.task(number)
        distances = np.linalg.norm(phi(task.store.array)[:, None] - means, axis=2)
        found = answers(net, task, ALL)
        assert found.shape == (35, 9)
        assert (found.argmax(1) == distances.argmin(1)).all()
    assert set(net.heads) == {"task0", "task1", "task2", ALL}


def test_a_class_without_samples_has_no_mean_and_is_never_the_answer() -> None:
    case = Case("icarl", "vectors", "class")
    task = case.task(0)
    net, past = case.net(), case.past()
    _learn(net, task.take(np.flatnonzero(task.targets != 1)), "icarl", past)
    assert net.head(ALL).linear.bias.tolist()[::2] == [0, 0]
    assert not (answers(net, task, ALL).argmax(1) == 1).any()
    assert not class_means(np.ones((2, 3), np.float32), np.array([0, 2]), 3)[1].any()


def test_the_old_network_answers_as_the_heads_did_side_by_side() -> None:
    net, past = sequence(Case("lwf_mc", "images", "class"), 2)
    teacher = old_network(net, past.heads)
    task = Case("lwf_mc", "images", "class").task(1)
    expected = np.concatenate([answers(net, task, name) for name in past.heads], 1)
    found = teacher.of(torch.from_numpy(task.store.array))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        next(iter(net.parameters())).zero_()
    assert torch.equal(teacher.of(torch.from_numpy(task.store.array)), found)


def test_heads_that_read_other_blocks_and_channels_join_as_well() -> None:
    case = Case("lwf_mc", "vectors", "class")
    net = case.net()
    first, last = net.block_names[0], net.last
    for name, reads, channels in (("a", (first, last), None), ("b", (last,), (2, 7))):
        torch.nn.init.normal_(net.add_head(name, 3, reads, channels=channels).linear.weight, generator=_seeded())
    task = case.task(0)
    expected = np.concatenate([answers(net, task, name) for name in ("a", "b")], 1)
    found = old_network(net, ("a", "b")).of(torch.from_numpy(task.store.array))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_all_classes_come_old_ones_first() -> None:
    case = Case("icarl", "vectors", "class")
    _, past = sequence(case, 2)
    task = case.task(2)
    labels = task.labels.copy()
    labels[3] = UNKNOWN
    listed = all_classes(past, replace(task, labels=labels))
    assert listed.classes == ("a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2")
    assert listed.labels[3] == UNKNOWN
    assert (np.delete(listed.labels, 3) == np.delete(labels, 3) + 6).all()


def test_icarl_learns_from_new_data_and_exemplars_together() -> None:
    case = Case("icarl", "images", "class")
    net, past = sequence(case, 1)
    (made,) = list(CONTINUAL["icarl"](net, case.task(1), CONFIGS["icarl"], past=past))[:1]
    assert isinstance(made, Stage)
    assert len(made.data) == 35 + 20
    assert np.bincount(made.data.targets, minlength=6)[:3].tolist() == [7, 7, 6]


@pytest.mark.parametrize("method", ["icarl", "lwf_mc"])
@pytest.mark.parametrize(
    ("setting", "said"),
    [({"smoothing": 0.1}, "smoothing=0.1"), ({"class_weights": True}, "class_weights"), ({"patience": 2}, "patience=2")],
)
def test_what_has_no_meaning_with_sigmoids_is_refused(method: str, setting: dict[str, Any], said: str) -> None:
    case = Case(method, "vectors", "class")
    learn = CONFIGS[method].learn
    config = replace(CONFIGS[method], learn=replace(learn, recipe=replace(learn.recipe, **setting)))
    net = case.net()
    with pytest.raises(ConfigError, match=said):
        increment(case, net, case.past(), 0, config=config)
    assert not net.heads


def test_icarl_needs_an_exemplar_per_class_and_its_heads_name() -> None:
    case = Case("icarl", "vectors", "class")
    with pytest.raises(ConfigError, match="needs room for 3 samples at least"):
        increment(case, case.net(), case.past(), 0, config=replace(CONFIGS["icarl"], capacity=2))
    with pytest.raises(ConfigError, match="give it another name"):
        _learn(case.net(), replace(case.task(0), name=ALL), "icarl", case.past())


@pytest.mark.parametrize("method", ["der", "derpp"])
def test_dark_replay_has_no_answers_about_mixed_images(method: str) -> None:
    case = Case(method, "vectors", "task")
    learn = CONFIGS[method].learn
    config = replace(CONFIGS[method], learn=replace(learn, recipe=replace(learn.recipe, mixup=0.2)))
    with pytest.raises(ConfigError, match=r"mixup=0\.2"):
        increment(case, case.net(), case.past(), 0, config=config)


def test_a_smaller_capacity_than_before_cuts_at_random() -> None:
    case = Case("replay", "vectors", "task")
    _, past = sequence(case, 1, config=replace(CONFIGS["replay"], capacity=30))
    cut = held_before(past, case.task(1), 10)
    assert (len(cut), cut.capacity, cut.seen) == (10, 10, 35)
    assert past.memory is not None
    assert len(past.memory) == 30
    assert cut.samples.tolist() != past.memory.samples[:10].tolist()


def test_methods_take_over_a_memory_that_another_left() -> None:
    """Answers that nobody stored are unknown, and replay asks for none."""
    chain = ("replay", "derpp", "agem", "icarl")
    case = Case("replay", "vectors", "class")
    net, past = case.net(), case.past()
    for number, method in enumerate(chain):
        results = increment(Case(method, "vectors", "class"), net, past, number)
        assert all(isinstance(one, FitResult) for one in results)
        assert past.memory is not None
        assert (past.memory.logits is not None) == (method == "derpp")
        assert set(past.memory.tasks.tolist()) <= set(range(number + 1))
    assert not any(torch.isnan(value).any() for value in state(net).values())


@pytest.mark.parametrize("method", ["replay", "der", "derpp", "agem"])
def test_a_model_without_a_memory_can_be_taught_and_its_old_heads_train_from_the_first_step(method: str) -> None:
    """Old heads get no gradient at the first step, as nothing is stored yet, and do at the second."""
    case = Case("fine_tune", "vectors", "task")
    net, past = sequence(case, 1)
    increment(Case(method, "vectors", "task"), net, past, 1)
    assert past.memory is not None
    assert set(past.memory.tasks.tolist()) == {1}


def _old(case: Case, count: int) -> tuple[Net, Past]:
    """A model taught by a method without a memory, and the data of its tasks."""
    net, past = sequence(Case("fine_tune", case.kind, case.scenario), count)
    past.old = tuple(case.task(number) for number in range(count))
    return net, past


@pytest.mark.parametrize("policy", ["reservoir", "class_balanced", "herding"])
@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_a_lacking_memory_is_what_the_policy_would_have_kept(policy: str, scenario: str) -> None:
    """The same samples as when each task ended, where the choice does not depend on a net that has changed since."""
    case = Case("replay", "vectors", scenario)
    settings = replace(CONFIGS["replay"], policy=policy, capacity=18)
    net, past = _old(case, 2)
    found = with_old(policy, net, past, 18)  # type: ignore[arg-type]
    assert found is not None
    _, taught = sequence(case, 2, config=settings)
    assert taught.memory is not None
    if policy != "herding":
        for name in ("samples", "labels", "tasks"):
            np.testing.assert_array_equal(getattr(found, name), getattr(taught.memory, name))
    assert (len(found), found.seen) == (18, taught.memory.seen) == (18, 70)
    assert np.bincount(found.tasks).tolist() == np.bincount(taught.memory.tasks).tolist()
    kept_samples_are_the_tasks(case, replace(past, memory=found))
    assert with_old(policy, net, replace(past, memory=found), 18) is found  # type: ignore[arg-type]
    assert with_old(policy, net, replace(past, old=()), 18) is None  # type: ignore[arg-type]


def test_a_task_that_another_method_taught_in_between_is_filled_in() -> None:
    case = Case("derpp", "vectors", "class")
    net, past = sequence(case, 1)
    increment(Case("fine_tune", "vectors", "class"), net, past, 1)
    before = past.memory
    assert before is not None
    assert before.logits is not None
    past.old = tuple(case.task(number) for number in range(2))
    found = with_old_answers(net, case.task(2), past, 20, epochs=3)
    assert found is not None
    assert found.logits is not None
    assert found.seen == before.seen + 3 * 35
    stayed = found.tasks == 0
    assert 0 < stayed.sum() < 20
    np.testing.assert_array_equal(found.samples[stayed], before.samples[stayed])
    np.testing.assert_array_equal(found.logits[stayed, :3], before.logits[stayed])
    assert np.isnan(found.logits[stayed, 3:]).all()
    count = int((~stayed).sum())
    some = replace(
        case.task(2), store=store_of(found.samples[~stayed]), labels=np.zeros(count, np.int64), rows=np.arange(count)
    )
    now = np.concatenate([answers(net, some, head) for head in past.heads], 1)
    np.testing.assert_allclose(found.logits[~stayed], now, rtol=1e-5, atol=1e-6)


def test_icarl_can_go_on_with_a_model_of_another_command_when_old_data_are_given() -> None:
    case = Case("icarl", "vectors", "class")
    net, past = _old(case, 2)
    increment(case, net, past, 2)
    assert past.memory is not None
    assert set(past.memory.tasks.tolist()) == {0, 1, 2}
    assert net.head(ALL).linear.weight.any(1).all()
    net, past = _old(case, 2)
    past.old = ()
    with pytest.raises(ConfigError, match=r"no exemplars of task0, task1.*--old"):
        increment(case, net, past, 2)


def test_new_data_in_a_file_are_put_together_with_exemplars_in_one_that_goes(tmp_path: Path) -> None:
    case = Case("icarl", "images", "class")
    expected, past = sequence(case, 1)
    net, other = copy.deepcopy(expected), copy.deepcopy(past)
    task = case.task(1)
    np.save(tmp_path / "data.npy", task.store.array)
    mapped = Store(np.load(tmp_path / "data.npy", mmap_mode="r"), task.store.fingerprint, tmp_path / "data.npy")
    seen: list[list[Path]] = []

    def watch(stages: Iterator[Any]) -> Iterator[Any]:
        for one in stages:
            seen.append(list((tmp_path / "run").glob("joined-*.npy")))
            yield one

    stages = CONTINUAL["icarl"](net, replace(task, store=mapped), CONFIGS["icarl"], past=other)
    (tmp_path / "run").mkdir()
    Drive(net, folder=tmp_path / "run").run(watch(stages))
    _learn(expected, task, "icarl", past)
    assert len(seen[0]) == 1
    assert not list((tmp_path / "run").glob("joined-*.npy"))
    assert not differing(all_of(net, other), all_of(expected, past))
    assert (tmp_path / "data.npy").exists()
