"""A log that a kill cut short in the middle of a line goes on whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.engine.log import RunLog, read_lines


def names(log: RunLog) -> list[str]:
    return [line["event"] for line in read_lines(log.path)]


@pytest.mark.parametrize("half", ['{"event": "half', '{"event": "half", "name": "Ä'])
def test_what_follows_a_line_cut_short_is_not_lost(tmp_path: Path, half: str) -> None:
    log = RunLog(tmp_path / "log.jsonl")
    log.event("before")
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(half.encode()[:-1])  # a letter of two bytes may be cut too
    for name in ("next", "last"):
        RunLog(log.path).event(name)
    assert names(log) == ["before", "next", "last"]


def test_going_back_to_where_a_line_was_cut_short_is_exact(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "log.jsonl")
    log.event("before")
    whole = log.size()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"event": "ha')
    cut = log.size()
    log.event("again")
    log.rewind(cut)
    assert log.size() == cut
    log.event("after")
    assert names(log) == ["before", "after"]
    log.rewind(whole)
    log.event("after")
    assert (tmp_path / "log.jsonl").read_text() == '{"event": "before"}\n{"event": "after"}\n'
