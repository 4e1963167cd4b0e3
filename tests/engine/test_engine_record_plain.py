"""Answers on the plain view that a method declares to compare with an augmented one, and several heads in one pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.data.store import store_of
from headstart.data.task import Task
from headstart.data.views import PLAIN, Rendering, View, standard_view
from headstart.engine.record import record
from headstart.errors import ConfigError
from headstart.nets.rng import forked
from headstart.terms.teacher import Live
from tests.conftest import make_image_task
from tests.engine.engine_toys import resnet
from tests.engine.test_engine_record import Shown, step, teacher

AUGMENTED = standard_view(12)


def augmented(task: Task, rows: Any, *, view: View = AUGMENTED, draw: int = 7, mixed: bool = False, data: str = "") -> Any:
    how = Rendering(view, 123, draw, mixed, data or task.store.fingerprint)
    return Shown(task, np.asarray(rows, np.int64), how)


def test_every_rendering_of_the_declared_view_gets_the_plain_answers(tmp_path: Path) -> None:
    task, live = make_image_task(40, size=12), teacher()
    kept = record(live, task, PLAIN, run_seed=0, compared_with=AUGMENTED, folder=tmp_path, width=8)
    rows = [3, 1, 20, 39, 8, 9, 10, 2]
    plain = live.logits(step(task, rows))
    for draw in (0, 7, 100):
        shown = augmented(task, rows, draw=draw)
        assert torch.equal(kept.logits(shown), plain)
        assert not torch.equal(live.logits(shown), plain)
    again = record(live, task, PLAIN, run_seed=0, folder=tmp_path, width=8)
    assert again.path == kept.path, "what is recorded does not depend on what it is compared with"


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"view": standard_view(12, mirror=False)}, "shows view"),
        ({"view": PLAIN}, "shows view"),
        ({"mixed": True}, "mixes samples"),
        ({"data": "another"}, "another store's"),
    ],
)
def test_what_was_not_declared_is_refused(how: dict[str, Any], why: str) -> None:
    task = make_image_task(16, size=12)
    kept = record(teacher(), task, PLAIN, run_seed=0, compared_with=AUGMENTED, width=8)
    with pytest.raises(ConfigError, match=why):
        kept.logits(augmented(task, [0, 1], **how))


def test_without_a_declaration_an_augmented_view_is_refused_as_ever() -> None:
    task = make_image_task(16, size=12)
    kept = record(teacher(), task, PLAIN, run_seed=0, width=8)
    with pytest.raises(ConfigError, match="shows view"):
        kept.logits(augmented(task, [0, 1]))


def test_samples_that_were_not_recorded_are_refused() -> None:
    task = make_image_task(16, size=12)
    kept = record(teacher(), task.take(np.arange(8)), PLAIN, run_seed=0, compared_with=AUGMENTED, width=8)
    with pytest.raises(ConfigError, match="lack samples"):
        kept.logits(augmented(task, [0, 9]))


def test_another_store_of_the_same_size_is_refused() -> None:
    task = make_image_task(16, size=12)
    kept = record(teacher(), task, PLAIN, run_seed=0, compared_with=AUGMENTED, width=8)
    other = replace(task, store=store_of(255 - task.store.array))
    with pytest.raises(ConfigError, match="another store's"):
        kept.logits(augmented(other, [0, 1]))


def test_only_the_plain_view_stands_for_another() -> None:
    with pytest.raises(ConfigError, match="only the plain view"):
        record(teacher(), make_image_task(16, size=12), standard_view(12, draws=2), run_seed=0, compared_with=AUGMENTED)


def test_declared_equal_views_are_checked_to_the_sample() -> None:
    """Then nothing has to be declared, and the strictest check holds."""
    kept = record(teacher(), make_image_task(16, size=12), PLAIN, run_seed=0, compared_with=PLAIN, width=8)
    assert kept.compared_with is None


def test_heads_side_by_side_are_answered_from_one_pass() -> None:
    task, net = make_image_task(16, size=12), resnet()
    for name, classes in (("one", 2), ("two", 3)):
        with forked(classes):
            torch.nn.init.normal_(net.add_head(name, classes).linear.weight)
    both = Live(net, "two", beside=("one",))
    shown = step(task, [4, 5, 6])
    passes = []
    net.blocks["stem"].register_forward_hook(lambda *a: passes.append(1))
    found = both.logits(shown)
    assert len(passes) == 1
    assert both.num_classes == 5
    alone = [Live(net, name).logits(step(task, [4, 5, 6])) for name in ("one", "two")]
    assert torch.equal(found, torch.cat(alone, 1))
    assert both.digest() != Live(net, "two").digest()
    with pytest.raises(ConfigError, match="'three'"):
        Live(net, "two", beside=("three",))
