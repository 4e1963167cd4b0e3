"""Every term of distillation under the engine: what moves and what must not, resume to the bit, one optimiser for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from headstart.engine.checkpoint import Checkpoints
from headstart.engine.fit import FitResult, Machine, fit
from headstart.engine.interrupt import STOP
from headstart.engine.log import RunLog
from headstart.errors import CheckpointError, ConfigError, Interrupted
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.terms.attention_transfer import AttentionTransfer
from headstart.terms.base import Term
from headstart.terms.contrastive import Contrastive
from headstart.terms.decoupled import Decoupled
from headstart.terms.distill import Distill
from headstart.terms.hints import Hints
from headstart.terms.relational import Relational
from headstart.terms.supervised import Supervised
from headstart.terms.teacher import Live, Several
from tests.conftest import make_image_task
from tests.engine.engine_toys import EVERYTHING, differing, stage, state, stopping_at
from tests.terms.taught import big, small

TASK = make_image_task(35, size=12)
PAIRS = [("layer2_0", "layer2_1")]

TERMS: Mapping[str, Callable[[Net, Live], Term]] = {
    "soft": lambda net, live: Distill("toy", live, weight=0.9),
    "hard": lambda net, live: Distill("toy", live, kind="hard"),
    "standardised": lambda net, live: Distill("toy", live, standardise=True),
    "several": lambda net, live: Distill("toy", Several([live, live], (1, 2), "probabilities")),
    "decoupled": lambda net, live: Decoupled("toy", live),
    "hints": lambda net, live: Hints(net, live, PAIRS),
    "attention": lambda net, live: AttentionTransfer(net, live, PAIRS),
    "relational": lambda net, live: Relational(net, live, [("pool", "pool")]),
    "contrastive": lambda net, live: Contrastive(net, live, ("pool", "pool"), TASK, dimensions=8, negatives=8),
}


def taught(net: Net, live: Live, names: tuple[str, ...], **more: Any) -> Stage:
    """A stage with these terms beside the labels, at a rate small enough for their first steps."""
    terms: dict[str, Term] = {name: TERMS[name](net, live) for name in names}
    learned = {f"terms.{name}": 1.0 for name, term in terms.items() if list(term.parameters())}
    terms["labels"] = Supervised("toy", share=0.1)
    rate = stage(TASK).optimizer.__class__(lr=0.002)
    return stage(TASK, terms=terms, trains={**EVERYTHING, **learned}, optimizer=rate, **more)


def run(
    names: tuple[str, ...], teacher: Net | None = None, log: RunLog | None = None, folder: Path | None = None, **more: Any
) -> tuple[Net, Stage, FitResult]:
    net = small()
    plan = taught(net, Live(teacher or big(), "toy"), names, **more)
    result = fit(net, plan, log=log or RunLog(), checkpoints=Checkpoints(folder) if folder else None)
    return net, plan, result


def learned(plan: Stage) -> dict[str, Tensor]:
    """Parameters and memories of all terms."""
    found = {f"{name}.{key}": value for name, term in plan.terms.items() for key, value in term.state_dict().items()}
    return {key: value.detach().clone() for key, value in found.items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("name", TERMS)
def test_the_student_moves_and_the_teacher_does_not(name: str, rng_guard: None) -> None:
    teacher, before = big(), state(big())
    untouched = state(small())
    net, plan, result = run((name,), teacher)
    assert not differing(state(teacher), before), "weights and batch statistics, to the bit"
    assert not any(module.training for module in teacher.modules())
    moved = differing(state(net), untouched)
    assert {key.split(".")[0] for key in moved} == {"blocks", "heads"}
    own = sum(parameter.numel() for parameter in plan.terms[name].parameters())
    assert result.trained == sum(parameter.numel() for parameter in net.parameters()) + own, "nothing of the teacher trains"
    labels_alone, _, _ = run(())
    assert differing(state(net), state(labels_alone)), "the term says something"


@pytest.mark.parametrize("names", [("soft",), ("hints", "attention", "relational", "contrastive"), ("decoupled", "several")])
def test_an_interrupted_stage_ends_with_the_same_bits(names: tuple[str, ...], tmp_path: Path) -> None:
    whole, plan, _ = run(names)
    with pytest.raises(Interrupted):
        run(names, log=stopping_at("s", 4), folder=tmp_path)
    STOP.requested = False
    again, resumed, _ = run(names, folder=tmp_path)
    assert not differing(state(again), state(whole))
    assert not differing(learned(resumed), learned(plan))
    assert learned(plan) or names != ("hints", "attention", "relational", "contrastive")


def test_a_checkpoint_of_another_teacher_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(("soft",), log=stopping_at("s", 4), folder=tmp_path)
    STOP.requested = False
    with pytest.raises(CheckpointError, match="made with another teacher"):
        run(("soft",), big(20), folder=tmp_path)


def test_a_teacher_is_not_written_into_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(("soft", "attention"), log=stopping_at("s", 4), folder=tmp_path)
    STOP.requested = False
    saved = Checkpoints(tmp_path).load()
    assert saved is not None
    assert {name: list(kept) for name, kept in saved["terms"].items()} == {
        "soft": ["teacher._extra_state"],
        "attention": ["teacher._extra_state"],
        "labels": [],
    }


@pytest.mark.parametrize("name", ["hints", "contrastive"])
def test_a_term_that_learns_must_be_named(name: str) -> None:
    net = small()
    with pytest.raises(ConfigError, match=f"terms.{name}.* has a gradient but trains does not name it"):
        fit(net, stage(TASK, terms={name: TERMS[name](net, Live(big(), "toy"))}))


def test_behind_a_cached_prefix_terms_see_the_same(tmp_path: Path) -> None:
    """The prefix ends before the first block that a term reads, and its teacher is shown the samples all the same."""
    found, cached = [], []
    for cache in ("on", "off"):
        net = small()
        plan = taught(net, Live(big(), "toy"), ("hints", "soft"), cache=cache)
        trains = {key: value for key, value in plan.trains.items() if key != "blocks"} | {"blocks.layer3_0": 1.0}
        plan = Stage(**{**plan.__dict__, "trains": trains})
        log = RunLog(None, (lambda line: cached.append(line.get("cached")) if line["event"] == "cache" else None,))
        fit(net, plan, machine=Machine(cache=tmp_path), log=log)
        found.append(state(net))
    assert cached == [True, False]
    assert not differing(*found)


def test_mixed_images_reach_the_teacher_mixed() -> None:
    seen: list[Tensor] = []

    class Watching(Live):
        def _pass(self, samples: Tensor) -> dict[str, Tensor]:
            seen.append(samples)
            return super()._pass(samples)

    net = small()
    fit(net, stage(TASK, terms={"soft": Distill("toy", Watching(big(), "toy"))}, mixup=0.5))
    originals = {bytes(image.tobytes()) for image in TASK.store.gather(TASK.rows).numpy()}
    shown = torch.cat(seen)
    assert shown.dtype == torch.uint8
    assert sum(bytes(image.numpy().tobytes()) in originals for image in shown) < len(shown) / 2
