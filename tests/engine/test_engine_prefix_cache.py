"""The cache of frozen prefixes: when it pays, that it never serves stale values, and what a kill or a full disk leaves."""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from headstart import files
from headstart.data.store import store_of
from headstart.data.task import Task
from headstart.data.views import PLAIN, Flip, Shift, View
from headstart.engine import interrupt
from headstart.engine.interrupt import STOP
from headstart.engine.log import RunLog
from headstart.engine.prefix_cache import CachedPrefix, Prefix, key_of, open_cache, worthwhile
from headstart.engine.step import render
from headstart.errors import DiskFull, Interrupted
from headstart.nets.net import BlockInfo, InputSpec, Net
from headstart.nets.rng import forked
from tests.conftest import make_image_task, make_vector_task
from tests.engine.engine_toys import perceptron, resnet

FRESH: dict[str, Any] = {"prefix_flops": 70.0, "total_flops": 100.0, "activation_bytes": 100, "samples": 10}
TWO = View((Shift(), Flip()), 2)


@pytest.mark.parametrize(
    ("given", "cached", "words"),
    [
        ({}, True, "saves 42% of the work"),
        ({"draws": 2}, True, "saves 39% of the work"),
        ({"draws": None}, False, "drawn anew"),
        ({"draws": 20}, False, "20 renderings for 20 epochs repeat nothing"),
        ({"prefix_flops": 0.0}, False, "nothing is frozen"),
        ({"prefix_flops": 10.0}, False, "save 3% of the work"),
        ({"limit": 999}, False, "more than the limit"),
        ({"limit": 1000}, True, "saves"),
        ({"draws": 11, "limit": 10_999}, False, "more than the limit"),
    ],
)
def test_caching_is_decided_by_counting(given: dict[str, Any], cached: bool, words: str) -> None:
    asked: dict[str, Any] = {**FRESH, "epochs": 20, "draws": 1, "limit": 10**9, **given}
    worth = worthwhile(**asked)
    assert worth.cached == cached
    assert words in worth.reason


def test_the_bound_is_what_the_prefix_costs_beside_three_times_the_rest() -> None:
    worth = worthwhile(**FRESH, epochs=20, draws=1, limit=10**9)
    assert worth.bound == pytest.approx((70 + 3 * 30) / (3 * 30))
    assert worth.bytes == 1000
    assert worthwhile(**{**FRESH, "prefix_flops": 100.0}, epochs=20, draws=1, limit=10**9).bound == float("inf")


def frozen(net: Net, first: str | None, width: int = 16) -> Prefix:
    return Prefix(net.eval(), first, width)


def awkward() -> Net:
    """Widths that fit no vector register, so that a row's place in a batch could matter."""
    with forked(0):
        blocks = {"low": nn.Sequential(nn.Linear(67, 131), nn.Tanh()), "high": nn.Linear(131, 53)}
    info = {"low": BlockInfo("nc", 131), "high": BlockInfo("nc", 53)}
    return Net(blocks, InputSpec(67, (0.0,), (1.0,), "vector"), info, None)


@pytest.mark.parametrize("view", [PLAIN, TWO], ids=["plain", "two draws"])
@pytest.mark.parametrize("first", ["layer1_0", "layer3_0", "pool", None])
def test_what_is_cached_equals_what_is_computed_in_any_batch(tmp_path: Path, view: View, first: str | None) -> None:
    task, prefix = make_image_task(35, size=12), frozen(resnet(), first)
    cache = open_cache(tmp_path, prefix, task, view, seed=3, autocast=None)
    draw = np.random.default_rng(0)
    for size in (16, 9, 1):
        for number in range(view.fixed_draws or 1):
            rows = draw.permutation(35)[:size]
            computed = prefix(render(task.store, rows, view, seed=3, draw=number, device=torch.device("cpu")))
            kept = cache.gather(number, rows)
            assert torch.equal(kept, computed)
            assert kept.stride() == computed.stride() or size == 1


@dataclass(frozen=True)
class Halves:
    """An image's left and right half."""

    def __call__(self, x: torch.Tensor, ids: torch.Tensor, *, seed: int, draw: int) -> torch.Tensor:
        return torch.stack(x.chunk(2, 2), 1).flatten(0, 1)


@pytest.mark.parametrize("view", [TWO, View((Flip(),), 2, Halves())], ids=["whole", "pieces"])
@pytest.mark.parametrize("lost", [False, True], ids=["from the block below", "that is lost"])
def test_a_longer_prefix_is_computed_from_what_is_kept_of_a_shorter_one(tmp_path: Path, view: View, lost: bool) -> None:
    net, task = resnet(), make_image_task(35, size=12)
    short, long = frozen(net, "layer2_0"), frozen(net, "layer3_0")
    open_cache(tmp_path, short, task, view, seed=3, autocast=None)
    if lost:
        next(tmp_path.glob("*.npy")).unlink()
    seen = Counter[str]()
    for name in long.names:
        net.blocks[name].register_forward_hook(lambda *_, name=name: seen.update([name]))
    cache = open_cache(tmp_path, long, task, view, seed=3, autocast=None, below=short.end)
    batches = sum(-(-len(rows) * (1 if view is TWO else 2) // 16) for rows in (range(16), range(16), range(3))) * 2
    assert seen == dict.fromkeys(long.names if lost else ["layer2_0"], batches)
    assert len(list(tmp_path.iterdir())) == 2, "the shorter one is gone"
    for draw in range(2):
        rows = np.random.default_rng(draw).permutation(35)[:16]
        computed = long(render(task.store, rows, view, seed=3, draw=draw, device=torch.device("cpu")))
        assert torch.equal(cache.gather(draw, rows), computed)
        assert cache.gather(draw, rows).stride() == computed.stride()


def test_in_half_precision_nothing_is_rounded_twice(tmp_path: Path) -> None:
    net, task = resnet(), make_image_task(20, size=12)
    short, long = frozen(net, "layer2_0"), frozen(net, "layer3_0")
    with torch.autocast("cpu", torch.bfloat16):
        open_cache(tmp_path, short, task, TWO, seed=3, autocast=torch.bfloat16)
        cache = open_cache(tmp_path, long, task, TWO, seed=3, autocast=torch.bfloat16, below=short.end)
        computed = long(render(task.store, task.rows[:16], TWO, seed=3, draw=1, device=torch.device("cpu")))
    assert cache.dtype == torch.bfloat16
    assert torch.equal(cache.gather(1, task.rows[:16]), computed)


@pytest.mark.parametrize("width", [1, 7, 16, 19, 35])
def test_a_row_does_not_depend_on_its_place_in_the_batch(tmp_path: Path, width: int) -> None:
    task, prefix = make_vector_task(35, features=67), frozen(awkward(), None, width)
    cache = open_cache(tmp_path, prefix, task, PLAIN, seed=0, autocast=None)
    for start in range(5):
        rows = np.random.default_rng(start).permutation(35)[:width]
        assert torch.equal(cache.gather(0, rows), prefix(task.store.gather(rows)))


def test_tokens_and_vectors_keep_their_shape(tmp_path: Path) -> None:
    class Tokens(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.unflatten(1, (2, 3))

    net = Net({"cut": Tokens()}, InputSpec(6, (0.0,), (1.0,), "vector"), {"cut": BlockInfo("nlc", 3)}, None)
    cache = open_cache(tmp_path, frozen(net, None, 4), make_vector_task(9), PLAIN, seed=0, autocast=None)
    assert cache.gather(0, np.array([3, 1])).shape == (2, 2, 3)


def keys(net: Net, task: Task, **other: Any) -> str:
    asked: dict[str, Any] = {"first": "layer3_0", "width": 16, "view": TWO, "seed": 0, "autocast": None, **other}
    prefix = frozen(net, asked["first"], asked["width"])
    return key_of(prefix, task.store, asked["view"], asked["seed"], asked["autocast"])


def test_the_key_follows_everything_an_activation_depends_on() -> None:
    task = make_image_task(12, size=12)
    base = keys(resnet(), task)
    assert keys(resnet(), task) == base
    other = [
        keys(resnet(), task, first="layer2_0"),
        keys(resnet(), task, width=17),
        keys(resnet(), task, view=PLAIN),
        keys(resnet(), task, view=replace(TWO, draws=3)),
        keys(resnet(), task, view=View((Shift(0.25), Flip()), 2)),
        keys(resnet(), task, seed=1),
        keys(resnet(), task, autocast=torch.bfloat16),
        keys(resnet(), make_image_task(12, size=12, seed=1)),
    ]
    for name in ("blocks.stem.conv1.weight", "blocks.layer2_0.bn2.running_var"):
        changed = resnet()
        with torch.no_grad():
            changed.state_dict()[name].view(-1)[0].mul_(1.001) if "bn" in name else changed.state_dict()[name][
                0, 0, 0, 0
            ].mul_(2)
        other.append(keys(changed, task))
    moved = resnet()
    moved.input = replace(moved.input, mean=(0.5, 0.5, 0.5))
    other.append(keys(moved, task))
    assert len({base, *other}) == len(other) + 1
    bent = resnet()
    bent.blocks["stem"].relu = torch.nn.Tanh()
    assert keys(bent, task) != base  # the same weights, put together otherwise
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert keys(resnet(), task) != base
    finally:
        torch.set_float32_matmul_precision(before)
    above = resnet()
    with torch.no_grad():
        above.blocks["layer3_0"].conv1.weight.mul_(2)
    assert keys(above, task) == base
    assert keys(resnet(), task, view=PLAIN, seed=1) == keys(resnet(), task, view=PLAIN)


class Counting(nn.Module):
    """A block that counts the samples it sees."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = np.zeros(1, np.int64)  # a number of its own would be one of the things that tell blocks apart

    @property
    def seen(self) -> int:
        return int(self._seen[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._seen += len(x)
        return x * 2


def counting() -> tuple[Net, Counting]:
    block = Counting()
    return Net({"count": block}, InputSpec(6, (0.0,), (1.0,), "vector"), {"count": BlockInfo("nc", 6)}, None), block


def test_folds_share_what_is_filled_and_the_same_again_computes_nothing(tmp_path: Path) -> None:
    net, block = counting()
    task, prefix = make_vector_task(12), frozen(net, None, 4)
    open_cache(tmp_path, prefix, task.take(np.arange(0, 8)), PLAIN, seed=0, autocast=None)
    first = block.seen
    assert first == 8
    open_cache(tmp_path, prefix, task.take(np.arange(0, 8)), PLAIN, seed=0, autocast=None)
    assert block.seen == first
    cache = open_cache(tmp_path, prefix, task.take(np.arange(4, 12)), PLAIN, seed=0, autocast=None)
    assert block.seen == first + 4
    assert torch.equal(cache.gather(0, task.rows), task.store.gather(task.rows) * 2)
    assert len(list(tmp_path.glob("*.npy"))) == 1


def test_stopped_while_filling_keeps_whole_batches_only(tmp_path: Path) -> None:
    net, block = counting()
    task, prefix = make_vector_task(12), frozen(net, None, 4)

    def listen(line: Any) -> None:
        STOP.requested |= line["done"] == 2

    with pytest.raises(Interrupted):
        open_cache(tmp_path, prefix, task, PLAIN, seed=0, autocast=None, log=RunLog(None, (listen,)))
    STOP.requested = False
    before = block.seen
    cache = open_cache(tmp_path, prefix, task, PLAIN, seed=0, autocast=None)
    assert block.seen == before + 4
    assert torch.equal(cache.gather(0, task.rows), task.store.gather(task.rows) * 2)


@pytest.mark.parametrize("lost", ["*.npy", "*.filled.safetensors"])
def test_a_lost_file_is_computed_anew(tmp_path: Path, lost: str) -> None:
    net, _ = counting()
    task, prefix = make_vector_task(12), frozen(net, None, 4)
    open_cache(tmp_path, prefix, task, PLAIN, seed=0, autocast=None)
    next(tmp_path.glob(lost)).unlink()
    if lost == "*.filled.safetensors":  # what a kill leaves: rows in part, and no list of them
        path = next(tmp_path.glob("*.npy"))
        np.lib.format.open_memmap(path, "r+")[:, 5:] = 7
    cache = open_cache(tmp_path, prefix, task, PLAIN, seed=0, autocast=None)
    assert torch.equal(cache.gather(0, task.rows), task.store.gather(task.rows) * 2)


def test_a_list_does_not_vouch_for_the_file_that_took_anothers_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was lost, another was begun in its place, and the process killed before it wrote a list of its own."""
    net, _ = counting()
    task, prefix = make_vector_task(12), frozen(net, None, 4)

    def opened() -> CachedPrefix:
        return open_cache(tmp_path, prefix, task, PLAIN, seed=0, autocast=None)

    opened()
    next(tmp_path.glob("*.npy")).unlink()
    keep = CachedPrefix.keep

    def last(self: CachedPrefix, *given: Any) -> None:
        keep(self, *given)
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(CachedPrefix, "keep", last)
        killed.setattr(CachedPrefix, "save", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            opened()
    assert torch.equal(opened().gather(0, task.rows), task.store.gather(task.rows) * 2)


def test_two_runs_that_share_a_folder_fill_a_file_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, block = counting()
    task, prefix = make_vector_task(12), frozen(net, None, 4)
    lock = tmp_path / f"prefix-{key_of(prefix, task.store, PLAIN, 0, None)}.lock"
    waited: list[int] = []

    def impatient() -> None:
        waited.append(1)
        if len(waited) == 3:
            raise Interrupted("stopped")

    with files.held(lock), monkeypatch.context() as other:
        other.setattr(interrupt, "check", impatient)
        with pytest.raises(Interrupted):
            open_cache(tmp_path, prefix, task, PLAIN, seed=0, autocast=None)
    assert (len(waited), block.seen) == (3, 0)
    open_cache(tmp_path, prefix, task, PLAIN, seed=0, autocast=None)
    assert block.seen == 12
    assert not lock.exists()


@pytest.mark.parametrize("name", ["*.filled.safetensors", "*.npy"])
def test_a_damaged_file_is_computed_anew_aloud(tmp_path: Path, name: str) -> None:
    net, _ = counting()
    task, prefix = make_vector_task(12), frozen(net, None, 4)
    open_cache(tmp_path, prefix, task, PLAIN, seed=0, autocast=None)
    next(tmp_path.glob(name)).write_bytes(b"x")
    heard: list[Any] = []
    cache = open_cache(tmp_path, prefix, task, PLAIN, seed=0, autocast=None, log=RunLog(None, (heard.append,)))
    assert "computed anew" in next(line["text"] for line in heard if line["event"] == "warning")
    assert torch.equal(cache.gather(0, task.rows), task.store.gather(task.rows) * 2)


def test_a_full_disk_is_said_before_anything_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory map on a full disk would end the process by a signal, so the room is taken first."""

    def fallocate(descriptor: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(files.os, "posix_fallocate", fallocate)
    with pytest.raises(DiskFull, match=r"no space left.*prefix-.*"):
        open_cache(tmp_path, frozen(perceptron(), None, 4), make_vector_task(12), PLAIN, seed=0, autocast=None)
    assert not list(tmp_path.glob("*.npy"))


def test_memory_is_bounded_by_the_batch(tmp_path: Path) -> None:
    """What is opened is a map of the file; gathering copies the rows asked for and no more."""
    net, _ = counting()
    store = store_of(np.ones((3000, 6), np.float32))
    task = Task("toy", store, np.zeros(3000, np.int64), ("a",), np.arange(3000))
    cache = open_cache(tmp_path, frozen(net, None, 512), task, PLAIN, seed=0, autocast=None)
    assert isinstance(cache.array.base, np.memmap)
    assert cache.gather(0, np.arange(8)).untyped_storage().nbytes() == 8 * 6 * 4


@pytest.mark.parametrize("make", [resnet, perceptron])
def test_a_part_of_a_batch_may_be_empty(make: Any) -> None:
    """With more processes than samples in the last batch some have none."""
    net = make()
    task = make_image_task(5, size=12) if net.input.kind == "image" else make_vector_task(5)
    none = np.empty(0, np.int64)
    for view in (PLAIN, TWO):
        samples = render(task.store, none, view, seed=0, draw=0, device=torch.device("cpu"))
        assert frozen(net, None)(samples).shape == (0, net.info[net.last].channels)
