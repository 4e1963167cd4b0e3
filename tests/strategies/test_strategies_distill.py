"""Distillation and born-again networks: whose answers are learned, by which loss, and what is left as it was."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from headstart.catalog.strategies import BornAgainConfig, DistillConfig, Recipe
from headstart.data.task import UNKNOWN, Task
from headstart.engine.evaluate import accuracy, answers
from headstart.engine.fit import Machine
from headstart.engine.interrupt import STOP
from headstart.engine.log import RunLog
from headstart.engine.record import Recorded
from headstart.engine.run import Drive
from headstart.errors import CheckpointError, ConfigError, Interrupted
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.saved import load_net, save_net
from headstart.nets.vit import vit
from headstart.stage import Stage
from headstart.strategies.born_again import born_again
from headstart.strategies.common import supervised_stage, weighted_blocks
from headstart.strategies.distill import FEATURES, distill, fold_heads
from headstart.strategies.feature_losses import ends, middle, places_of, resolutions
from headstart.terms.teacher import Live, Several
from tests.conftest import make_image_task, make_vector_task
from tests.engine.engine_toys import differing, perceptron, resnet, state, stopping_at

RECIPE = Recipe(epochs=2, batch_size=16, lr=0.05, clip=1.0)
PLAIN = replace(RECIPE, augment=False)


@pytest.fixture(autouse=True)
def _not_stopped() -> Iterator[None]:
    yield
    STOP.requested = False


def live(seed: int = 0, classes: int = 3, width: int = 4, spread: float = 0.3, **more: Any) -> Live:
    """A teacher whose answers mean nothing."""
    net = resnet(width=width)
    head = net.add_head("theirs", classes)
    with forked(seed):
        nn.init.normal_(head.linear.weight, std=spread)
    return Live(net, "theirs", **more)


def transformer(size: int = 12) -> Net:
    with forked(4):
        return vit(size, 4, width=12, depth=2, heads=3)


def run(
    net: Net, stages: Iterable[Any], *, seed: int = 0, **more: Any
) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """The net's final state, and what the log said of each epoch."""
    said: list[dict[str, Any]] = []
    Drive(net, seed, Machine(), log=RunLog(None, (said.append,)), **more).run(stages)
    return state(net), [line for line in said if line["event"] == "epoch"]


def watched(stages: Iterable[Stage], look: Any) -> Iterator[Stage]:
    """The same stages; `look` sees each of them first."""
    for stage in stages:
        look(stage)
        yield stage


# --- the loss -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.25, 0.9, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 3.0, 40.0])
def test_the_loss_is_the_missions(share: float, temperature: float) -> None:
    """An empty head answers evenly, so that both cross-entropies are ln C: T^2 lambda ln C + (1 - lambda) ln C."""
    task, net = make_image_task(16, size=12), resnet()
    cfg = DistillConfig(replace(PLAIN, epochs=1), temperature=temperature, share=share)
    _, (epoch,) = run(net, distill(net, task, cfg, teachers=[live()] if share else []))
    parts = {"hard": (1 - share) * math.log(3), "soft": temperature**2 * share * math.log(3)}
    assert epoch["losses"] == pytest.approx({name: value for name, value in parts.items() if value}, rel=1e-5)


def test_unlabelled_samples_count_for_the_teacher_alone() -> None:
    """Labels teach on half of the samples; both means are over their own samples."""
    task, net = make_image_task(16, size=12), resnet()
    cfg = DistillConfig(replace(PLAIN, epochs=1), temperature=2.0, share=0.5)
    learned: list[Stage] = []
    stages = distill(net, task.take(np.arange(8)), cfg, teachers=[live()], unlabelled=task)
    _, (epoch,) = run(net, watched(stages, learned.append))
    assert epoch["losses"] == pytest.approx({"hard": 0.5 * math.log(3), "soft": 2 * math.log(3)}, rel=1e-5)
    data = learned[0].data
    assert sorted(data.rows) == list(range(16))
    assert (data.labels[:8] == task.labels[:8]).all()
    assert (data.labels[8:] == UNKNOWN).all()


def test_what_is_held_out_to_stop_early_is_not_learned_from_as_unlabelled() -> None:
    task, net = make_image_task(48, size=12), resnet()
    cfg = DistillConfig(replace(RECIPE, patience=2))
    learned = task.take(np.arange(40))
    stage = next(distill(net, learned, cfg, teachers=[live()], unlabelled=task))
    assert set(range(40, 48)) <= set(stage.data.rows.tolist())
    assert len(stage.data) == 36 + 8
    assert stage.evaluate is not None


def _on(task: Task, **more: Any) -> dict[str, torch.Tensor]:
    """Distilled from the first twelve samples, whatever is said about the rest of them."""
    net = resnet()
    return run(net, distill(net, task.take(np.arange(12)), DistillConfig(PLAIN), teachers=[live()], **more))[0]


def test_labels_of_unlabelled_samples_change_nothing_but_their_presence_does() -> None:
    task = make_image_task(32, size=12)
    other = replace(task, labels=np.roll(task.labels, 1))
    found = [_on(task, unlabelled=rest.take(np.arange(12, 32))) for rest in (task, other)]
    assert not differing(*found)
    assert differing(found[0], _on(task))


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_without_labels_the_student_comes_to_answer_as_the_teacher(kind: Any) -> None:
    task, teacher, net = make_image_task(48, size=12), resnet(), resnet(width=6)
    learned = replace(task, name="theirs")
    run(teacher, distill(teacher, learned, DistillConfig(replace(PLAIN, epochs=6), share=0)))
    cfg = DistillConfig(replace(PLAIN, epochs=20), share=1.0, kind=kind)
    wrong = replace(task, labels=np.roll(task.labels, 1))
    run(net, distill(net, wrong, cfg, teachers=[Live(teacher, "theirs")]))
    same = answers(net, task).argmax(1) == answers(teacher, task, "theirs").argmax(1)
    assert same.mean() > 0.85
    assert accuracy(net, wrong) < 0.3


# --- teachers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("losses", [(), ("hints", "attention", "relational", "contrastive", "standardise"), ("decoupled",)])
@pytest.mark.parametrize("record", [True, False])
def test_teachers_are_bit_equal_afterwards_statistics_too(losses: tuple[str, ...], record: bool) -> None:
    task, net, teachers = make_image_task(32, size=12), resnet(), [live(0, width=6), live(1)]
    before = [state(teacher.net) for teacher in teachers]
    assert any("running_mean" in name for name in before[0])
    run(net, distill(net, task, DistillConfig(RECIPE, losses=losses, record=record), teachers=teachers))
    for teacher, old in zip(teachers, before, strict=True):
        assert not differing(state(teacher.net), old)
        assert not any(module.training for module in teacher.net.modules())
        assert all(parameter.grad is None for parameter in teacher.net.parameters())


@pytest.mark.parametrize("recipe", [PLAIN, replace(RECIPE, views=2)], ids=["plain", "two-draws"])
@pytest.mark.parametrize("on_disk", [True, False], ids=["file", "memory"])
def test_kept_answers_train_as_live_ones_to_the_bit(recipe: Recipe, on_disk: bool, tmp_path: Path) -> None:
    task, teachers, kinds = make_image_task(48, size=12), [live(0), live(1, width=6)], []

    def look(stage: Stage) -> None:
        kinds.append({type(one) for one in stage.terms["soft"].teacher.answers})

    found = []
    for record in (True, False):
        net, cfg = resnet(), DistillConfig(recipe, record=record)
        stages = distill(net, task, cfg, teachers=teachers, folder=tmp_path if on_disk else None)
        found.append(run(net, watched(stages, look), seed=3)[0])
    assert kinds == [{Recorded}, {Live}]
    assert not differing(*found)
    assert len(list(tmp_path.glob("answers-*.npy"))) == 2 * on_disk


def _teacher_kinds(cfg: DistillConfig, teachers: int = 2, **more: Any) -> list[type]:
    task, net = make_image_task(16, size=12), resnet()
    stage = next(distill(net, task, cfg, teachers=[live(n) for n in range(teachers)], **more))
    term = stage.terms["soft"].teacher
    return [type(one) for one in (term.answers if isinstance(term, Several) else [term])]


def test_answers_are_kept_where_the_views_allow_it_and_no_loss_needs_every_batch() -> None:
    fixed = replace(RECIPE, views=2)
    assert _teacher_kinds(DistillConfig(fixed)) == [Recorded, Recorded]
    assert _teacher_kinds(DistillConfig(fixed), 1) == [Recorded]
    assert _teacher_kinds(DistillConfig(fixed, losses=("hints",))) == [Live, Recorded]
    assert _teacher_kinds(DistillConfig(fixed, record=False)) == [Live, Live]
    assert _teacher_kinds(DistillConfig(RECIPE)) == [Live, Live]
    assert _teacher_kinds(DistillConfig(replace(fixed, mixup=0.3))) == [Live, Live]


def test_kept_answers_lie_with_the_caches_or_with_the_run(tmp_path: Path) -> None:
    task, cfg = make_image_task(16, size=12), DistillConfig(PLAIN)
    net = resnet()
    Drive(net, 0, Machine(cache=tmp_path / "cache"), tmp_path / "run").run(distill(net, task, cfg, teachers=[live()]))
    assert len(list((tmp_path / "cache").glob("answers-*.npy"))) == 1
    net = resnet()
    Drive(net, 0, Machine(), tmp_path / "run2").run(distill(net, task, cfg, teachers=[live()]))
    assert len(list((tmp_path / "run2" / "answers").glob("answers-*.npy"))) == 1


def test_mixed_images_are_shown_to_the_teacher_mixed() -> None:
    task, net = make_image_task(16, size=12), resnet()
    _, epochs = run(net, distill(net, task, DistillConfig(replace(RECIPE, mixup=0.4)), teachers=[live()]))
    assert all(math.isfinite(epoch["losses"]["soft"]) for epoch in epochs)


def test_a_student_alone_is_plain_training_and_no_teacher_touches_it() -> None:
    task, recipe = make_image_task(32, size=12), replace(RECIPE, views=2)
    alone, _ = run(net := resnet(), distill(net, task, DistillConfig(recipe, share=0)))
    beside, _ = run(net := resnet(), distill(net, task, DistillConfig(recipe, share=0), teachers=[live()]))
    net = resnet()
    net.add_head("toy", 3)
    trains = {f"blocks.{name}": 1.0 for name in weighted_blocks(net)} | {"heads.toy": 1.0}
    plain, _ = run(net, [supervised_stage("distill", net, task, trains, recipe)])
    assert not differing(alone, beside)
    assert not differing(alone, plain)


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_a_teacher_of_weight_zero_says_nothing(average: Any) -> None:
    task, found = make_image_task(16, size=12), []
    for teachers, weights in (([live(0)], ()), ([live(0), live(1)], (2.0, 0.0)), ([live(0), live(1)], ())):
        net, cfg = resnet(), DistillConfig(PLAIN, teacher_weights=weights, teacher_average=average)
        found.append(run(net, distill(net, task, cfg, teachers=teachers))[0])
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-4) for name in found[0])
    assert not all(torch.allclose(found[0][name], found[2][name], atol=1e-4) for name in found[0])


def test_a_run_goes_on_with_the_same_teacher_only(tmp_path: Path) -> None:
    task, cfg = make_image_task(32, size=12), DistillConfig(RECIPE)
    net = resnet()
    with pytest.raises(Interrupted):
        Drive(net, 0, Machine(), tmp_path, log=stopping_at("distill", 1)).run(distill(net, task, cfg, teachers=[live(0)]))
    STOP.requested = False
    with pytest.raises(CheckpointError, match="another teacher"):
        Drive(net := resnet(), 0, Machine(), tmp_path).run(distill(net, task, cfg, teachers=[live(1)]))
    Drive(net := resnet(), 0, Machine(), tmp_path).run(distill(net, task, cfg, teachers=[live(0)]))
    assert not differing(state(net), run(whole := resnet(), distill(whole, task, cfg, teachers=[live(0)]))[0])


# --- the distillation token -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_both_tokens_answer_together_and_the_folded_head_is_their_mean(kind: Any, tmp_path: Path) -> None:
    task, net = make_image_task(32, size=12), transformer()
    recipe, apart = replace(RECIPE, optimizer="adamw", lr=1e-2), []

    def stages() -> Iterator[Stage]:
        for stage in distill(net, task, DistillConfig(recipe, share=0.5, kind=kind, token=True), teachers=[live()]):
            assert set(net.heads) == {"toy", "toy-distill"}
            assert [net.head(name).channels for name in net.heads] == [(0, 12), (12, 24)]
            assert stage.terms["hard"].heads == ("toy",)
            assert stage.terms["soft"].heads == ("toy-distill",)
            yield stage
            apart.extend(answers(net, task, name) for name in ("toy", "toy-distill"))

    run(net, stages())
    assert set(net.heads) == {"toy"}
    assert not np.allclose(*apart, atol=1e-2)
    assert np.allclose(answers(net, task), (apart[0] + apart[1]) / 2, atol=1e-5)
    save_net(net, tmp_path)
    assert np.array_equal(answers(load_net(tmp_path), task), answers(net, task))


def test_folding_is_exact_in_float64() -> None:
    net = transformer().double()
    for name, channels in (("toy", (0, 12)), ("toy-distill", (12, 24))):
        nn.init.normal_(net.add_head(name, 5, channels=channels).double().linear.weight)
        nn.init.normal_(net.head(name).linear.bias)
    features = torch.randn(7, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    apart = [net.head(name)({"tokens": features}) for name in ("toy", "toy-distill")]
    fold_heads(net, "toy", "toy-distill")
    folded = net.head("toy").double()({"tokens": features})
    assert torch.allclose(folded, (apart[0] + apart[1]) / 2, atol=1e-6)  # heads are made in float32


# --- losses on features ---------------------------------------------------------------------------------------------


def test_blocks_are_paired_by_resolution() -> None:
    student, teacher = resnet(12), resnet(24)
    assert places_of(student) == {"layer1_0": 144, "layer2_0": 36, "layer3_0": 9}
    assert resolutions(student, teacher) == [("layer1_0", "layer2_0"), ("layer2_0", "layer3_0"), ("layer3_0", "layer3_0")]
    same = [(name, name) for name in ("layer1_0", "layer2_0", "layer3_0")]
    assert resolutions(student, resnet(12)) == same
    assert middle(student, resnet(12)) == ("layer2_0", "layer2_0")
    # 9 patches and two tokens are nearest to 9 places.
    assert resolutions(transformer(), resnet(12)) == [("layer1", "layer3_0")]
    assert ends(transformer(), live()) == ("tokens", "pool")
    assert places_of(perceptron()) == {}
    assert middle(perceptron(), perceptron()) == ("layer1", "layer1")


@pytest.mark.parametrize("student", [resnet, transformer])
def test_all_losses_together_and_what_they_learn_by_trains(student: Any) -> None:
    task, net = make_image_task(32, size=12), student()
    seen: list[Stage] = []
    cfg = DistillConfig(RECIPE, losses=(*FEATURES, "standardise"))
    before: dict[str, torch.Tensor] = {}

    def look(stage: Stage) -> None:
        seen.append(stage)
        before.update(
            {f"{term}.{n}": p.detach().clone() for term, m in stage.terms.items() for n, p in m.named_parameters()}
        )

    _, epochs = run(net, watched(distill(net, task, cfg, teachers=[live(width=6)]), look))
    assert set(epochs[-1]["losses"]) == {"hard", "soft", *FEATURES}
    assert {name.split(".")[0] for name in before} == {"hints", "contrastive"}
    after = {f"{term}.{n}": p for term, m in seen[0].terms.items() for n, p in m.named_parameters()}
    assert all(not torch.equal(after[name], before[name]) for name in before if not name.endswith("bias"))


def test_what_losses_draw_follows_from_the_runs_seed() -> None:
    drawn: list[torch.Tensor] = []
    for seed in (0, 0, 1):
        net = resnet()
        stages = distill(net, make_image_task(16, size=12), DistillConfig(RECIPE, losses=("hints",)), teachers=[live()])
        run(
            net,
            watched(stages, lambda stage: drawn.append(next(stage.terms["hints"].parameters()).detach().clone())),
            seed=seed,
        )
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


# --- what cannot be -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "teachers", "words"),
    [
        ({"temperature": 0.0}, 1, ["temperature=0.0", "positive"]),
        ({"temperature": float("nan")}, 1, ["temperature=nan"]),
        ({"share": 1.1}, 1, ["share=1.1", "between 0"]),
        ({"share": -0.1, "temperature": -4.0}, 1, ["share=-0.1", "temperature=-4.0"]),
        ({"losses": ("hint",)}, 1, ["losses=hint", "hints, attention"]),
        ({"kind": "hard", "losses": ("decoupled",)}, 1, ["kind=hard"]),
        ({"losses": ("decoupled", "standardise")}, 1, ["decoupled and standardise"]),
        ({"kind": "firm"}, 1, ["kind=firm"]),
        ({"teacher_weights": (1.0,)}, 2, ["1 for 2 teachers"]),
        ({"teacher_weights": (1.0, -1.0)}, 2, ["not negative"]),
        ({"top_k": 0}, 1, ["top_k=0"]),
        ({}, 0, ["there is no teacher"]),
        ({"token": True}, 1, ["headstart:vit", "token=False"]),
        ({"token": True, "share": 0.0}, 1, ["learns nothing"]),
    ],
)
def test_settings_that_cannot_be_are_named(settings: Mapping[str, Any], teachers: int, words: list[str]) -> None:
    net = resnet()
    before = state(net)
    stages = distill(
        net, make_image_task(16, size=12), DistillConfig(**settings), teachers=[live(n) for n in range(teachers)]
    )
    with pytest.raises(ConfigError) as error:
        next(stages)
    assert all(word in str(error.value) for word in words)
    assert not differing(state(net), before)


def test_other_classes_are_refused_unless_they_are_mapped() -> None:
    task, net = make_image_task(16, size=12), resnet()
    with pytest.raises(ConfigError, match=r"teacher 2 .* answers about 5 classes") as error:
        next(distill(net, task, DistillConfig(PLAIN), teachers=[live(), live(classes=5)]))
    assert "order=" in str(error.value)
    mapped = live(classes=5, order=(4, 0, 2))
    run(net, distill(net, task, DistillConfig(PLAIN), teachers=[live(), mapped]))


def test_attention_on_vectors_is_refused() -> None:
    task, net, theirs = make_vector_task(16), perceptron(), perceptron()
    theirs.add_head("theirs", 3)
    with pytest.raises(ConfigError, match="no block whose output has places"):
        next(distill(net, task, DistillConfig(RECIPE, losses=("attention",)), teachers=[Live(theirs, "theirs")]))


# --- born again -----------------------------------------------------------------------------------------------------


def test_every_generation_is_drawn_anew_and_taught_by_the_one_before() -> None:
    task, net = make_image_task(32, size=12), resnet()
    began: list[dict[str, torch.Tensor]] = []
    ended: list[dict[str, torch.Tensor]] = []
    taught: list[Any] = []

    def stages() -> Iterator[Stage]:
        for stage in born_again(net, task, BornAgainConfig(RECIPE, generations=2)):
            began.append(copy.deepcopy(state(net)))
            taught.append(stage.terms.get("soft"))
            yield stage
            ended.append(copy.deepcopy(state(net)))

    _, epochs = run(net, stages())
    assert [epoch["stage"] for epoch in epochs] == ["generation_0"] * 2 + ["generation_1"] * 2 + ["generation_2"] * 2
    assert taught[0] is None
    assert set(epochs[0]["losses"]) == {"supervised"}
    for number in (1, 2):
        assert isinstance(taught[number].teacher, Live)
        assert not differing(state(taught[number].teacher.net), ended[number - 1])
        weight = "blocks.layer1_0.conv1.weight"
        others = [began[n][weight] for n in range(3) if n != number] + [ended[number - 1][weight]]
        assert not any(torch.equal(began[number][weight], other) for other in others)
        assert not began[number]["heads.toy.linear.weight"].any()


def test_born_again_settings_that_cannot_be() -> None:
    for wrong in ({"generations": 0}, {"share": 2.0}, {"temperature": 0.0}):
        with pytest.raises(ConfigError, match=str(next(iter(wrong)))):
            next(born_again(resnet(), make_image_task(16, size=12), BornAgainConfig(**wrong)))
