"""Checkpoints: what goes in comes out, damage is noticed, a full disk loses nothing, and nothing is a pickle."""

from __future__ import annotations

import errno
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from headstart import files
from headstart.engine import checkpoint
from headstart.engine.checkpoint import Checkpoints, load_state, save_state
from headstart.engine.log import RunLog
from headstart.errors import CheckpointError, DiskFull
from headstart.files import write_atomic, write_json

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.builds(torch.tensor, st.lists(st.floats(width=32, allow_nan=False), max_size=4)),
)
STATES = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="@"), max_size=6),
    st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc.", max_size=3), inner)),
    max_size=4,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return set(one) == set(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@settings(max_examples=30, deadline=None)
@given(STATES)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("state") / "s.safetensors"
    save_state(path, state)
    assert same(load_state(path), state)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 3, 4, 5)])
def test_every_kind_of_tensor(tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    value = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    save_state(tmp_path / "s", {"value": value})
    assert same(load_state(tmp_path / "s"), {"value": value})


def test_values_that_are_not_numbers_survive(tmp_path: Path) -> None:
    save_state(tmp_path / "s", {"tensor": torch.tensor([math.nan, math.inf]), "plain": [math.inf, -math.inf]})
    state = load_state(tmp_path / "s")
    assert state["tensor"][0].isnan()
    assert state["tensor"][1].isinf()
    assert state["plain"] == [math.inf, -math.inf]


def test_other_layouts_are_stored_by_value(tmp_path: Path) -> None:
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    part = torch.arange(12.0).view(3, 4)[:, 1:3]
    wide = torch.zeros(1).expand(4)
    save_state(tmp_path / "s", {"maps": maps, "turned": maps.transpose(1, 3), "part": part, "wide": wide})
    state = load_state(tmp_path / "s")
    assert torch.equal(state["maps"], maps)
    assert torch.equal(state["turned"], maps.transpose(1, 3))
    assert torch.equal(state["part"], part)
    assert torch.equal(state["wide"], wide)


def test_shared_tensors_are_stored_once(tmp_path: Path) -> None:
    weight = torch.randn(50, 50, generator=torch.Generator().manual_seed(0))
    parts = torch.arange(6.0)
    save_state(tmp_path / "s", {"a": weight, "b": {"c": weight}, "first": parts[:3], "second": parts[3:]})
    assert len(load_file(tmp_path / "s")) == 3
    assert (tmp_path / "s").stat().st_size < 1.5 * weight.numel() * 4
    state = load_state(tmp_path / "s")
    assert torch.equal(state["b"]["c"], weight)
    assert torch.equal(state["first"], parts[:3])
    assert torch.equal(state["second"], parts[3:])


def test_no_pickle_inside(tmp_path: Path) -> None:
    """The file is the safetensors header, JSON and raw numbers: its length accounts for every byte."""
    save_state(tmp_path / "s", {"w": torch.ones(7), "note": "x"})
    content = (tmp_path / "s").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert json.loads(header["__metadata__"]["state"]) == {"w": {"@tensor": "/w"}, "note": "x"}
    assert len(content) == 8 + length + 7 * 4


def flipped(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


def test_a_flipped_byte_anywhere_is_noticed(tmp_path: Path) -> None:
    """In the numbers, in the JSON, in the header: never a state that differs from the one saved."""
    path, state = tmp_path / "s", {"w": torch.arange(4.0), "step": 12}
    save_state(path, state)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole)
        flipped(path, place)
        with suppress(CheckpointError):
            assert same(load_state(path), state), place


@pytest.mark.parametrize("size", [0, 3, 8, 60, -1])
def test_a_file_cut_short_is_noticed(tmp_path: Path, size: int) -> None:
    path = tmp_path / "s"
    save_state(path, {"w": torch.arange(10.0)})
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=str(path)):
        load_state(path)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="not written by headstart"):
        load_state(tmp_path / "foreign")
    torch.save({"w": torch.ones(2)}, tmp_path / "pickle")
    with pytest.raises(CheckpointError, match="pickle"):
        load_state(tmp_path / "pickle")


def number(state: dict[str, Any] | None) -> int:
    assert state is not None
    assert torch.equal(state["w"], torch.full((3,), float(state["n"])))
    return int(state["n"])


def numbered(n: int) -> dict[str, Any]:
    return {"w": torch.full((3,), float(n)), "n": n}


def test_the_newest_is_loaded_and_one_before_it_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    assert kept.load() is None
    for n in range(4):
        kept.save(numbered(n))
        assert number(kept.load()) == n
    assert number(load_state(kept.previous)) == 2
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / ".incoming.safetensors.123.tmp").write_bytes(b"left by a kill")
    kept.clear()
    assert not list(tmp_path.iterdir())


def test_a_damaged_newest_gives_way_to_the_one_before_aloud(tmp_path: Path) -> None:
    kept, heard = Checkpoints(tmp_path), []
    kept.save(numbered(1))
    kept.save(numbered(2))
    flipped(kept.latest, -2)
    assert number(kept.load(RunLog(None, (heard.append,)))) == 1
    assert heard[0]["event"] == "warning"
    assert str(kept.latest) in heard[0]["text"]
    flipped(kept.previous, -2)
    with pytest.raises(CheckpointError, match="--out"):
        kept.load()


@pytest.mark.parametrize("renames", [0, 1])
def test_killed_while_saving_leaves_a_readable_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int) -> None:
    """Killed between any two renames, what is loaded is the state before or the new one, and saving goes on."""
    kept = Checkpoints(tmp_path)
    kept.save(numbered(1))
    kept.save(numbered(2))
    real, count = Path.replace, 0

    def replace(self: Path, target: Path) -> Path:
        nonlocal count
        if target.name in ("previous.safetensors", "latest.safetensors"):
            count += 1
            if count > renames:
                raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            kept.save(numbered(3))
    assert number(kept.load()) == 3
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save_file", _no_space)
        with pytest.raises(DiskFull):
            kept.save(numbered(4))
    assert number(kept.load()) == 3
    kept.save(numbered(5))
    assert number(kept.load()) == 5
    assert number(load_state(kept.previous)) == 3


def _no_space(tensors: Any, path: Path, metadata: Any) -> None:
    path.write_bytes(b"half")
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def test_a_full_disk_is_said_and_the_earlier_checkpoint_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Checkpoints(tmp_path)
    kept.save(numbered(1))
    monkeypatch.setattr(checkpoint, "save_file", _no_space)
    with pytest.raises(DiskFull, match=r"no space left.*intact.*\n?.*--resume"):
        kept.save(numbered(2))
    assert number(kept.load()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["latest.safetensors"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_while_making_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Some file systems notice only when the data are flushed."""
    path = tmp_path / "summary.json"
    write_json(path, {"n": 1})

    def fsync(descriptor: int) -> None:
        raise OSError(code, "full")

    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(DiskFull, match=str(path)):
        write_json(path, {"n": 2})
    assert json.loads(path.read_text()) == {"n": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_any_other_trouble_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        raise ValueError("trouble")

    with pytest.raises(ValueError, match="trouble"):
        write_atomic(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "f"

    def write(temporary: Path) -> None:
        with temporary.open("w") as file:
            file.write("whole")
            file.flush()
            assert not path.exists()

    write_atomic(path, write)
    assert path.read_text() == "whole"
