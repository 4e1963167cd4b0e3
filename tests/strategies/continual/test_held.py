"""What methods keep that hold weights near where they were, and what they do with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from headstart.catalog.regularised import EwcConfig, FeatureExtractionConfig, L2spConfig, MasConfig, SiConfig
from headstart.engine.importance import fisher, mas_importance
from headstart.engine.log import RunLog
from headstart.engine.past import Past
from headstart.errors import ConfigError
from headstart.losses.quadratic import quadratic
from headstart.nets.net import Net
from headstart.stage import Stage, Train
from headstart.strategies.continual import CONTINUAL
from headstart.strategies.continual.ewc import consolidated
from headstart.strategies.continual.mas import accumulated
from headstart.strategies.continual.si import added
from headstart.terms.path_integral import PathIntegral
from headstart.terms.penalty import Penalty
from tests.engine.engine_toys import differing, state
from tests.strategies.continual.continual_toys import CONFIGS, LEARN, Case, increment, sequence

HOLDING = ("l2sp", "ewc", "si", "mas")
Weights = dict[str, Tensor]


def drawn(seed: int, names: tuple[str, ...] = ("a", "b")) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(4, 3, generator=generator) for name in names}


def squared(values: Weights) -> Weights:
    return {name: one.square() for name, one in values.items()}


def stages(case: Case, net: Net, past: Past, number: int, config: Any = None) -> Iterator[Stage]:
    for stage in CONTINUAL[case.method](net, case.task(number), config or CONFIGS[case.method], past=past):
        assert isinstance(stage, Stage)
        yield stage


def held(stage: Stage) -> Penalty:
    found = stage.terms["old"]
    inner = found.penalty if isinstance(found, PathIntegral) else found
    assert isinstance(inner, Penalty)
    return inner


# EWC's arithmetic ----------------------------------------------------------------------------------------------------


def test_separate_penalties_are_one_quadratic_up_to_a_constant() -> None:
    cfg = EwcConfig(mode="separate")
    kept: dict[str, Any] = {}
    tasks = [(squared(drawn(seed)), drawn(100 + seed)) for seed in range(5)]
    tasks[2][0]["a"][0] = 0.0  # a task that says nothing of some weights
    for number, (importance, weights) in enumerate(tasks):
        kept = consolidated(kept, f"task{number}", importance, weights, cfg)
    gaps = []
    for seed in range(4):
        theta = drawn(200 + seed)
        one = quadratic(list(theta.values()), list(kept["anchor"].values()), list(kept["importance"].values()))
        many = sum(quadratic(list(theta.values()), list(w.values()), list(f.values())).item() for f, w in tasks)
        gaps.append(many - one.item())
    assert gaps[0] > 0
    assert max(gaps) - min(gaps) < 1e-4 * gaps[0]
    assert kept["tasks"] == [f"task{number}" for number in range(5)]


def test_a_weight_no_task_needed_is_held_nowhere_and_a_new_one_where_it_is() -> None:
    cfg = EwcConfig()
    none = {"a": torch.zeros(4, 3)}
    kept = consolidated({}, "one", none, drawn(1, ("a",)), cfg)
    kept = consolidated(kept, "two", none | squared(drawn(3, ("new",))), drawn(2, ("a", "new")), cfg)
    assert torch.equal(kept["anchor"]["a"], drawn(2, ("a", "new"))["a"])
    assert torch.equal(kept["anchor"]["new"], drawn(2, ("a", "new"))["new"])
    kept = consolidated(kept, "three", none, drawn(4, ("a", "new")), cfg)
    assert torch.equal(kept["anchor"]["new"], drawn(2, ("a", "new"))["new"])
    assert not kept["importance"]["a"].any()


def test_online_fades_and_is_about_the_latest_weights() -> None:
    cfg = EwcConfig(mode="online", gamma=0.5)
    kept = consolidated({}, "one", squared(drawn(1)), drawn(11), cfg)
    kept = consolidated(kept, "two", squared(drawn(2)), drawn(12), cfg)
    for name in ("a", "b"):
        torch.testing.assert_close(kept["importance"][name], 0.5 * drawn(1)[name].square() + drawn(2)[name].square())
        assert torch.equal(kept["anchor"][name], drawn(12)[name])


def test_mas_adds_up_and_si_divides_by_the_way() -> None:
    kept = accumulated(accumulated({}, "one", drawn(1)), "two", drawn(2, ("b", "c")))
    torch.testing.assert_close(kept["importance"]["b"], drawn(1)["b"] + drawn(2, ("b", "c"))["b"])
    assert set(kept["importance"]) == {"a", "b", "c"}
    omega, start, end = drawn(1), drawn(2), drawn(3)
    found = added({"a": torch.ones(4, 3)}, omega, start, end, 0.1)
    for name, before in (("a", 1.0), ("b", 0.0)):
        share = omega[name] / ((end[name] - start[name]).square() + 0.1)
        torch.testing.assert_close(found[name], (before + share).clamp(min=0))
    assert (found["b"] == 0).any()


# What stages hold ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", HOLDING)
@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_held_is_what_trains_and_was_there_before(method: str, scenario: str) -> None:
    case = Case(method, "vectors", scenario)
    net, past = sequence(case, 1)
    *_, last = stages(case, net, past, 1)
    blocks = {f"blocks.{name}" for name, _ in net.blocks.named_parameters()}
    first = {f"heads.task0.linear.{name}" for name in ("weight", "bias")}
    assert set(held(last).live) == (blocks if scenario == "task" else blocks | first)
    assert list(last.terms) == (["new", "old", "head"] if method == "l2sp" and scenario != "domain" else ["new", "old"])
    assert held(last).forward(One()).item() == pytest.approx(0.0, abs=1e-6)  # type: ignore[arg-type]


class One:
    def once(self, value: Tensor) -> Tensor:
        return value


@pytest.mark.parametrize("method", ["ewc", "si", "mas"])
def test_the_first_task_is_only_learned_and_leaves_a_state_of_one_size(method: str) -> None:
    case = Case(method, "vectors", "domain")
    net, past = case.net(), case.past()
    (first,) = stages(case, net, past, 0)
    assert not any(isinstance(term, Penalty) for term in first.terms.values())
    net, past = sequence(case, 1)
    size, names = past.bytes_of_state(), set(past.state[method]["importance"])
    increment(case, net, past, 1)
    increment(case, net, past, 2)
    assert past.bytes_of_state() == size
    assert set(past.state) == {method}
    assert set(past.state[method]["importance"]) == names
    assert past.state[method]["tasks"] == ["task0", "task1", "task2"]
    assert all((one >= 0).all() for one in past.state[method]["importance"].values())


def test_importances_are_those_of_the_net_that_was_learned() -> None:
    for method, find in (("ewc", fisher), ("mas", mas_importance)):
        case = Case(method, "images", "class")
        net, past = sequence(case, 2)
        before = past.state[method]["importance"]
        increment(case, net, past, 2)
        found = find(net, case.task(2), ["task0", "task1", "task2"])
        for name, value in past.state[method]["importance"].items():
            torch.testing.assert_close(value, found[name] + before.get(name, 0.0))
        work = past.spent["fisher" if method == "ewc" else "importance"]
        assert work == ((105, 35 * (2 + 5 + 8)) if method == "ewc" else (105, 105))


@pytest.mark.parametrize(("method", "strength"), [("l2sp", 3.0), ("ewc", 3.0), ("si", 3.0), ("mas", 3.0)])
def test_the_stronger_the_nearer(method: str, strength: float) -> None:
    """Counted as the method counts."""
    case = Case(method, "vectors", "task")
    learn = replace(LEARN, recipe=replace(LEARN.recipe, epochs=8, warmup=0.0))
    ways = []
    for chosen in (0.0, strength):
        config = replace(CONFIGS[method], learn=learn, strength=chosen)
        net, past = sequence(case, 1, config=config)
        before = state(net)
        counts = past.state.get(method, {}).get("importance", {})
        increment(case, net, past, 1, config=config)
        moved = {name: (state(net)[name] - one).square() for name, one in before.items() if name.startswith("blocks")}
        ways.append(sum(float((counts.get(name, 1.0) * way).sum()) for name, way in moved.items()))
    assert ways[1] < 0.8 * ways[0]


def test_l2sp_stands_in_place_of_weight_decay() -> None:
    case = Case("l2sp", "vectors", "task")
    net, past = sequence(case, 1)
    *_, last = stages(case, net, past, 1, L2spConfig(LEARN, strength=0.3, head_strength=0.2))
    assert all(isinstance(rule, Train) and rule.weight_decay == 0 for rule in last.trains.values())
    assert held(last).strength == 0.3
    head = last.terms["head"]
    assert isinstance(head, Penalty)
    assert head.kept("anchor") is head.kept("importance") is None
    assert set(head.live) == {"heads.task1.linear.weight", "heads.task1.linear.bias"}
    (first,) = stages(case, case.net(), case.past(), 0, L2spConfig(LEARN))
    assert list(first.terms) == ["new"]
    (first,) = stages(case, case.net(), case.past(), 0, L2spConfig(LEARN, from_start=True))
    assert list(first.terms) == ["new", "old", "head"]


@pytest.mark.parametrize("scenario", ["task", "class"])
def test_feature_extraction_moves_the_new_head_alone(scenario: str) -> None:
    case = Case("feature_extraction", "images", scenario)
    net, past = sequence(case, 1)
    before = state(net)
    increment(case, net, past, 1, config=FeatureExtractionConfig(LEARN))
    after = state(net)
    assert not differing({name: after[name] for name in before}, before)
    assert after["heads.task1.linear.weight"].any()
    assert not past.state


# Models that another method taught ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ewc", "mas"])
@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_old_data_given_once_makes_up_for_what_the_model_does_not_say(method: str, scenario: str) -> None:
    net, past = sequence(Case("fine_tune", "vectors", scenario), 2)
    case = Case(method, "vectors", scenario)
    start, past.method = state(net), "fine_tune"
    with pytest.raises(ConfigError, match=r"weights matter for 'task0', 'task1'.*taught by fine_tune.*lwf or l2sp"):
        increment(case, net, past, 2)
    assert not differing(state(net), start)
    past.old = (case.task(0), case.task(1))
    increment(case, net, past, 2)
    past.old = ()
    assert past.state[method]["tasks"] == ["task0", "task1", "task2"]
    list(stages(case, net, past, 3))


@pytest.mark.parametrize("method", ["ewc", "mas"])
def test_only_what_is_missing_is_found_from_old_data(method: str) -> None:
    case = Case(method, "vectors", "class")
    net, past = sequence(case, 1)
    before = past.state[method]["importance"]
    increment(Case("l2sp", "vectors", "class"), net, past, 1)
    assert past.state[method]["importance"] is before
    find = fisher if method == "ewc" else mas_importance
    found = find(net, case.task(1), ["task0", "task1"])
    past.old = (case.task(0), case.task(1))
    *_, last = stages(case, net, past, 2)
    penalty = held(last)
    for name, value in zip(penalty.live, penalty.kept("importance") or [], strict=True):
        torch.testing.assert_close(value, found[name] + before.get(name, 0.0))


def test_si_says_that_it_cannot_know_afterwards() -> None:
    net, past = sequence(Case("fine_tune", "vectors", "task"), 1)
    start, past.old = state(net), (Case("si", "vectors", "task").task(0),)
    with pytest.raises(
        ConfigError, match=r"'task0' was taught by another command: it cannot be found afterwards.*ewc or mas"
    ):
        increment(Case("si", "vectors", "task"), net, past, 1)
    assert not differing(state(net), start)


def test_kinds_of_fisher_are_not_mixed() -> None:
    case = Case("ewc", "vectors", "task")
    net, past = sequence(case, 1)
    with pytest.raises(ConfigError, match=r"fisher=batch: the model's importances are exact"):
        increment(case, net, past, 1, config=EwcConfig(LEARN, fisher="batch"))


def test_a_strength_that_makes_steps_overshoot_is_said_before_they_do() -> None:
    told: list[str] = []
    log = RunLog(None, (lambda line: told.append(line["text"]) if line["event"] == "warning" else None,))
    case = Case("ewc", "vectors", "task")
    net, past = sequence(case, 1)
    increment(case, net, past, 1, config=EwcConfig(LEARN, strength=1e-3), log=log)
    assert not told
    wild = EwcConfig(replace(LEARN, recipe=replace(LEARN.recipe, clip=1.0)), strength=1e5)
    increment(case, net, past, 2, config=wild, log=log)
    assert len(told) == 1
    assert "strength=100000" in told[0]
    assert "overshoot" in told[0]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (EwcConfig(LEARN, strength=-1), "strength=-1"),
        (EwcConfig(LEARN, mode="offline"), "mode=offline"),  # type: ignore[arg-type]
        (EwcConfig(LEARN, gamma=2), "gamma=2"),
        (EwcConfig(LEARN, fisher="true"), "fisher=true"),  # type: ignore[arg-type]
        (EwcConfig(LEARN, samples=0), "samples=0"),
        (EwcConfig(replace(LEARN, scale=0.0)), "feature_extraction"),
        (SiConfig(LEARN, xi=0), "xi=0"),
        (MasConfig(LEARN, warmup_epochs=-1), "warmup_epochs=-1"),
        (L2spConfig(LEARN, head_strength=-1), "head_strength=-1"),
    ],
)
def test_settings_that_cannot_be_are_named(config: Any, said: str) -> None:
    method = type(config).__name__.removesuffix("Config").lower()
    case = Case(method, "vectors", "task")
    with pytest.raises(ConfigError, match=said):
        increment(case, case.net(), case.past(), 0, config=config)
