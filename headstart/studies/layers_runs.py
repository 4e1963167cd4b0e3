"""One run of a study of layers: transfer some blocks, draw the others anew, train, test."""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.catalog.strategies import Recipe
from headstart.data.store import Store
from headstart.data.task import Task
from headstart.engine.checkpoint import load_state, save_state
from headstart.engine.evaluate import answers, batch_for
from headstart.engine.fit import Machine, fit
from headstart.engine.prefix_cache import Prefix
from headstart.errors import CheckpointError
from headstart.files import write_atomic, write_json
from headstart.nets.initialise import copy_weights, reinitialise
from headstart.nets.net import Net
from headstart.nets.sources import from_source
from headstart.seeding import seed_for
from headstart.stage import Stage
from headstart.strategies.common import supervised_stage
from headstart.studies.layers_plan import FROZEN, Job, Run

TASK = "target"
"""Name of the task and head of every run."""


@dataclass(frozen=True)
class Half:
    """The images of one half: `train` in an order of which every beginning holds the classes evenly, and `test`."""

    train: Task
    test: Task


@dataclass(frozen=True)
class Setup:
    """All that a worker needs to carry out any run; goes to other processes by pickling.

    folder   the study's work folder
    network  `Net.source` to build the architecture from, or the network itself where it has none
    cuts     number of layers -> names of the blocks transferred
    halves   `like 0 A` -> its images
    share    cache what frozen blocks put out
    """

    folder: Path
    network: Mapping[str, Any] | Net
    cuts: Mapping[int, tuple[str, ...]]
    halves: Mapping[str, Half]
    recipe: Recipe
    seed: int
    device: str = "cpu"
    share: bool = True
    _built: list[Net] = field(default_factory=list, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_built": []}

    def net(self) -> Net:
        """A fresh copy of the network, without heads."""
        if not self._built:
            self._built.append(self.network if isinstance(self.network, Net) else from_source(self.network))
        net = copy.deepcopy(self._built[0])
        net.heads.clear()
        return net

    def half(self, run: Run) -> Half:
        return self.halves[f"{run.halves} {run.split} {run.target}"]

    def seed_of(self, run: Run, *names: str) -> int:
        """A seed of the run's halves, split and seed, and of what it is for."""
        return seed_for(self.seed, "layers", run.halves, run.split, run.seed, *names)

    def record(self, run: Run) -> Path:
        """Where a finished run is kept."""
        return self.folder / "runs" / f"{run.file}.json"

    def weights(self, base: Run) -> Path:
        """Where the weights of a base are kept."""
        return self.folder / "bases" / f"{base.file}.safetensors"

    def done(self, run: Run) -> dict[str, Any] | None:
        """A run finished earlier; None when it is not there, or damaged."""
        try:
            found: dict[str, Any] = json.loads(self.record(run).read_text(encoding="utf-8"))
            if run.kind == "base":
                load_state(self.weights(run))
        except (OSError, ValueError, CheckpointError):
            return None
        return found if found.get("run") == asdict(run) else None


def carry_out(setup: Setup, job: Job, tick: Callable[[Run, dict[str, Any]], None] | None = None) -> list[dict[str, Any]]:
    """Every run of a job that is not finished yet, kept as it is finished; `tick` hears of each."""
    found = []
    cache = setup.folder / "cache" / job.runs[0].file
    for run in job.runs:
        record = setup.done(run)
        if record is None:
            record = one(setup, run, cache)
            write_json(setup.record(run), record)
        found.append(record)
        if tick is not None:
            tick(run, record)
    shutil.rmtree(cache, ignore_errors=True)  # no other job has this prefix
    return found


def one(setup: Setup, run: Run, cache: Path | None = None) -> dict[str, Any]:
    """Train and test one network.

    cache  folder for the frozen part's output, which other runs with the same prefix may have filled
    """
    began = time.monotonic()
    net, stage, frozen = prepared(setup, run)
    test = setup.half(run).test
    machine = Machine(device=setup.device, cache=cache if setup.share else None, checkpoint_every=float("inf"))
    result = fit(net, stage, seed=setup.seed_of(run, run.target), machine=machine)
    prefix = Prefix(net, _first(net, frozen), batch_for(net.input, net.device.type)) if frozen else None
    right = answers(net, test, TASK, prefix=prefix, cache=machine.cache).argmax(1) == test.targets
    if run.kind == "base":
        save_state(setup.weights(run), {"net": dict(net.blocks.state_dict())})
    return {
        "run": asdict(run),
        "images": len(stage.data),
        "accuracy": float(right.mean()),
        "right": np.packbits(right).tobytes().hex(),
        "tested": len(right),
        "seconds": round(time.monotonic() - began, 3),
        "epochs": result.epochs,
    }


def prepared(setup: Setup, run: Run) -> tuple[Net, Stage, tuple[str, ...]]:
    """The network before its training, the stage that trains it, and its frozen blocks.

    Runs with equal target, split and seed draw the layers that they learn anew alike, and see the images in the same order,
    so that only what was transferred differs between them. A base draws its own: were its layers drawn the same way, a
    selffer run would go the base's way again.
    """
    whole, net = setup.half(run).train, setup.net()
    train = whole.take(np.arange(run.images)) if run.images else whole
    net.add_head(TASK, train.num_classes)
    purpose = "base" if run.kind == "base" else "anew"
    reinitialise(net, net.block_names, setup.seed_of(run, run.target, purpose))
    transferred = setup.cuts[run.n] if run.n else ()
    if run.kind == "random":
        reinitialise(net, transferred, setup.seed_of(run, "random"))
    elif transferred:
        copy_weights(_base(setup, run), net, transferred)
    frozen = transferred if run.kind in FROZEN else ()
    trains = {f"blocks.{name}": 1.0 for name in net.block_names if name not in frozen} | {f"heads.{TASK}": 1.0}
    recipe = replace(setup.recipe, epochs=_epochs(setup.recipe, len(whole), len(train)))
    stage = supervised_stage(purpose, net, train, trains, recipe)
    return net, replace(stage, cache="on" if setup.share else "off"), frozen


def right_of(record: Mapping[str, Any]) -> NDArray[np.bool_]:
    """`[N]` which test images of its half a finished run answered rightly."""
    bits = np.frombuffer(bytes.fromhex(record["right"]), np.uint8)
    return np.unpackbits(bits, count=int(record["tested"])).astype(np.bool_)


def _epochs(recipe: Recipe, whole: int, images: int) -> int:
    """As many steps on fewer images as on all: fewer would show how much is learned by then, not from how many images."""
    steps = [-(-number // min(recipe.batch_size, number)) for number in (whole, images)]
    return -(-recipe.epochs * steps[0] // steps[1])


def _first(net: Net, frozen: Sequence[str]) -> str | None:
    """The first block after the frozen ones; None where all are."""
    return next((name for name in net.block_names if name not in frozen), None)


def _base(setup: Setup, run: Run) -> Net:
    """The base that a run's first layers come from."""
    base = replace(run, kind="base", n=0, source=None, target=str(run.source), images=0)
    net = setup.net()
    net.blocks.load_state_dict(load_state(setup.weights(base))["net"])
    return net


def filters_of(net: Net) -> NDArray[np.float32] | None:
    """The first convolution's weights `[K, C, h, w]`; None where there is none in the first block with weights."""
    for block in net.blocks.values():
        weights = [parameter for parameter in block.parameters() if parameter.ndim > 1]
        if weights:
            found = weights[0].detach().float().cpu()
            return found.contiguous().numpy() if found.ndim == 4 else None
    return None


def write_filters(setup: Setup, base: Run, path: Path) -> bool:
    """Keep the first layer's weights of a base and of a random network in `path`; False where it is no convolution."""
    trained, drawn = _base(setup, replace(base, source=base.target)), setup.net()
    reinitialise(drawn, drawn.block_names, setup.seed_of(base, "random"))
    first, second = filters_of(trained), filters_of(drawn)
    if first is None or second is None:
        return False

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, base=first, random=second)

    write_atomic(path, write)
    return True


def stored_half(
    folder: Path, store: Store, rows: NDArray[np.int64], labels: NDArray[np.int64], classes: tuple[str, ...], part: str
) -> Task:
    """A task over a copy of some samples in a file of its own: caches have room for these alone, workers map the file.

    rows, labels  `[N]` the samples, and their classes as positions in `classes`
    """
    path = folder / f"{part}.npy"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, lambda temporary: _save(temporary, store.array[rows]))
    mark = f"{store.fingerprint} {part} {rows.tolist()}"
    copied = Store(np.load(path, mmap_mode="r", allow_pickle=False), f"{seed_for(0, mark):016x}", path)
    return Task(TASK, copied, labels, classes, np.arange(len(rows), dtype=np.int64))


def _save(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)


def on_one_thread(setup: Setup) -> None:
    """Numbers must not depend on how many workers there are, so every run has one thread."""
    if setup.device == "cpu":
        torch.set_num_threads(1)
