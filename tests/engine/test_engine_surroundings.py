"""The log, requests to stop, and looking at a net without changing it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.data.task import UNKNOWN
from headstart.engine.evaluate import accuracy, answers, looking
from headstart.engine.interrupt import STOP, check, listening
from headstart.engine.log import SILENT, RunLog
from headstart.errors import Interrupted
from tests.conftest import random_states
from tests.engine.engine_toys import images, vectors


def test_events_are_lines_with_their_context(tmp_path: Path) -> None:
    path, heard = tmp_path / "log.jsonl", []
    log = RunLog(path, (heard.append,), arm="probe")
    log.within(fold=1).event("epoch", loss=np.float32(0.5), text="ä")
    log.tick(1, 2, "s")
    log.event("done", count=np.int64(3))
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert lines == [
        {"event": "epoch", "arm": "probe", "fold": 1, "loss": 0.5, "text": "ä"},
        {"event": "done", "arm": "probe", "count": 3},
    ]
    assert [line["event"] for line in heard] == ["epoch", "tick", "done"]
    assert heard[1] == {"event": "tick", "arm": "probe", "done": 1, "total": 2, "what": "s"}


def test_what_will_be_done_again_is_forgotten(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "log.jsonl")
    assert log.size() == 0
    log.event("one")
    size = log.size()
    log.event("two")
    log.rewind(size)
    log.event("three")
    assert [json.loads(line)["event"] for line in log.path.read_text().splitlines()] == ["one", "three"]  # type: ignore[union-attr]
    log.rewind(10**6)
    assert log.size() > size


def test_a_silent_log_says_nothing() -> None:
    SILENT.event("x")
    SILENT.tick(1, 1, "x")
    SILENT.rewind(0)
    assert SILENT.size() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_and_a_second_one_insists(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with listening():
        check()
        os.kill(os.getpid(), number)
        assert STOP.requested
        with pytest.raises(Interrupted, match="everything finished so far is saved"):
            check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert not STOP.requested
    assert signal.getsignal(number) is before


def test_looking_restores_every_mode_and_the_random_stream() -> None:
    net, _ = images()
    net.train()
    net.blocks["layer2_0"].eval()
    modes, before = [module.training for module in net.modules()], random_states()

    def look() -> None:
        with looking(net):
            assert not any(module.training for module in net.modules())
            assert not torch.is_grad_enabled()
            torch.rand(3)
            net.blocks["stem"].train()
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - ours
        look()
    assert [module.training for module in net.modules()] == modes
    assert random_states() == before
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("make", [images, vectors])
def test_answers_are_in_the_tasks_order_whoever_else_is_asked(make: Any) -> None:
    net, task = make()
    with torch.no_grad():
        weight = net.head("toy").linear.weight
        weight.copy_(torch.linspace(-1, 1, weight.numel()).view_as(weight))
    whole = answers(net, task)
    part = task.take(np.array([7, 3, 30]))
    np.testing.assert_allclose(answers(net, part), whole[[7, 3, 30]], rtol=1e-4, atol=1e-5)
    assert accuracy(net, task) == (whole.argmax(1) == task.targets).mean()
    assert answers(net, task.take(np.empty(0, np.int64))).shape == (0, 3)


def test_unknown_labels_are_never_right() -> None:
    net, task = vectors()
    labels = np.full(len(task.labels), UNKNOWN)
    assert accuracy(net, type(task)("toy", task.store, labels, task.classes, task.rows)) == 0
