"""`headstart bench`: size, latency, throughput and accuracy of models side by side, on this machine's processor."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import headstart
from headstart.catalog.device import BenchConfig, ColumnsConfig
from headstart.data.names import class_name
from headstart.data.sources import Source
from headstart.engine import interrupt
from headstart.engine.log import Listener, RunLog
from headstart.engine.run_folder import RunFolder, open_run
from headstart.errors import ConfigError, problems
from headstart.export.parity import answers
from headstart.export.pictures import Pictures, Wanted, drawn, parted, pictures
from headstart.export.runners import Runner, open_runner
from headstart.export.table_pictures import table_pictures
from headstart.export.task_bench import judged_tasks, task_lines
from headstart.export.timing import Timed, measure, waited
from headstart.metrics.cost import format_bytes, format_count, format_flops, format_seconds
from headstart.metrics.intervals import wilson
from headstart.metrics.measured import MEASURES
from headstart.metrics.paired import paired_bootstrap
from headstart.seeding import seed_for
from headstart.studies.records import plain
from headstart.studies.result import JobResult
from headstart.studies.table_run import is_table, of_multitask_run

BUSY = 0.25
"""Share of the time without work from which on the numbers are called rough; on a quiet machine it is a few per cent."""


@dataclass(frozen=True)
class BenchResult(JobResult):
    """What `headstart bench` measured. Prints as a table."""

    def __str__(self) -> str:
        return as_text(self.summary)


def bench(config: BenchConfig, *, images: Any = None, listeners: Sequence[Listener] = ()) -> BenchResult:
    """Measure models side by side; see `BenchConfig` for the settings.

    images     given from Python instead of by name
    listeners  called with every event, for showing progress

    Raises InputError for what the user can mend, RunError about the folder.
    """
    _check(config)
    with open_run(config.out, {"command": "bench", **asdict(config)}, overwrite=config.overwrite) as folder:
        log = RunLog(None, tuple(listeners))
        log.event("phase", name="load", text="opening the models")
        threads = config.threads or torch.get_num_threads()
        with _threads(threads):
            runners = [open_runner(path, threads) for path in config.models]
            shown = _pictures(config, images, runners, folder, log)
            folder.begin(**{f"model {place}": runner.facts.weights for place, runner in enumerate(runners)})
            log = RunLog(folder.log, tuple(listeners))
            summary = _measure(config, runners, shown, threads, log)
        result = BenchResult(folder.path, plain(summary))
        folder.write("summary.json", result.summary)
        folder.clean()
        log.event("phase", name="done", text="done")
        return result


def _check(config: BenchConfig) -> None:
    out = config.out.resolve()
    given = [*config.models, *([Path(config.images)] if config.images else [])]
    inside = [str(path) for path in given if path.exists() and path.resolve().is_relative_to(out)]
    doubled = sorted({str(path) for path in config.models if config.models.count(path) > 1})
    among = config.images is not None and Path(config.images).is_dir() and out.is_relative_to(Path(config.images).resolve())
    rules = [
        (bool(config.models), "MODEL: none given; name saved models, or files that headstart export wrote"),
        (not doubled, f"MODEL: {', '.join(doubled)} is named more than once"),
        (config.threads is None or config.threads >= 1, f"--threads {config.threads} must be at least 1"),
        (config.seconds > 0, f"--seconds {config.seconds} must be more than 0"),
        (config.limit >= 1, f"--limit {config.limit} must be at least 1 image"),
        (not inside, f"--out {config.out} holds {', '.join(inside)}, which the run would replace; choose another folder"),
        (not among, f"--out {config.out} lies in the folder of the images; choose a folder outside of it"),
    ]
    problems(ConfigError, "this cannot be measured so:", [text for holds, text in rules if not holds])


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """PyTorch's threads belong to the process, so they are put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _pictures(config: BenchConfig, images: Any, runners: Sequence[Runner], folder: RunFolder, log: RunLog) -> list[Pictures]:
    """For each model the same images at its own size; noise where none are given."""
    wanted = [Wanted(one.facts.input, one.facts.fit, config.limit, 0, config.seed) for one in runners]
    data = images if images is not None else config.images
    if data is None:
        return [drawn(one) for one in wanted]

    def progress(done: int, total: int) -> None:
        interrupt.check()
        log.tick(done, total, "reading images")

    log.event("phase", name="data", text="reading images")
    cache = folder.work / "data"
    cache.mkdir(parents=True, exist_ok=True)
    columns: ColumnsConfig = config.columns
    if is_table(data) and any(one.facts.tasks for one in runners):
        return _of_table(data, wanted, runners, columns, cache, progress)
    source: Source | Path = parted(data, wanted[0], cache=cache, columns=columns, progress=progress)
    found: dict[str, Pictures] = {}
    for one in wanted:
        key = f"{one.spec.kind} {one.spec.size} {one.fit}"
        if key not in found:
            found[key] = pictures(source, one, cache=cache, progress=progress)
    return [found[f"{one.spec.kind} {one.spec.size} {one.fit}"] for one in wanted]


def _of_table(
    data: Any,
    wanted: Sequence[Wanted],
    runners: Sequence[Runner],
    columns: ColumnsConfig,
    cache: Path,
    progress: Callable[[int, int], None],
) -> list[Pictures]:
    """The same images of a table of labels for models that answer several questions."""
    single = [one.name for one in runners if not one.facts.tasks]
    if single:
        raise ConfigError(
            f"{', '.join(single)} answers one question, and the images are a table of labels for several; compare it with "
            "the others on a folder of images"
        )
    folders = [one.path if one.path.is_dir() else one.path.parent for one in runners]
    run = next((one for one in map(of_multitask_run, folders) if one is not None), None)
    found: list[Pictures] = []
    for runner, one in zip(runners, wanted, strict=True):
        only = found[0] if found else None
        how = (data, one, runner.facts.tasks)
        found.append(table_pictures(*how, run=run, cache=cache, columns=columns, progress=progress, only=only))
    return found


def _measure(
    config: BenchConfig, runners: Sequence[Runner], shown: Sequence[Pictures], threads: int, log: RunLog
) -> dict[str, Any]:
    began = time.monotonic()
    timed = [Timed(runner.answer, some.check[:256]) for runner, some in zip(runners, shown, strict=True)]
    log.event("phase", name="time", text=f"measuring {len(runners)} models in turn, for {config.seconds:g} s")
    told = 100

    def tick(share: float) -> None:
        log.tick(int(share * told), told, "measuring latency and throughput")

    measure(timed, config.seconds, seed=config.seed, tick=tick)
    idle, real = waited(timed), shown[0].where is not None
    if real:
        log.event("phase", name="accuracy", text=f"asking every model about {len(shown[0].check)} images")
    judged, warnings = _judged_of(runners, shown, config.seed) if real else ([_NOTHING] * len(runners), [])
    warnings = [*dict.fromkeys((*_busy(idle), *shown[0].notes, *warnings))]
    for text in warnings:
        log.event("warning", text=text)
    rows = zip(runners, timed, judged, strict=True)
    return {
        "command": "bench",
        "machine": {**machine(threads), "waited": round(idle, 3)},
        "images": len(shown[0].check) if real else None,
        "data": shown[0].where,
        "reference": runners[0].name,
        "measures": {name: {"words": one.words, "higher": one.higher} for name, one in MEASURES.items()},
        "models": [{**_model(runner), "latency": t.latency(), "throughput": t.throughput(), **j} for runner, t, j in rows],
        "warnings": warnings,
        "seconds": round(time.monotonic() - began, 2),
        "reproduce": again(config),
        "version": headstart.__version__,
    }


def _busy(idle: float) -> list[str]:
    """A word of warning when other programs had the processor for much of the time."""
    if idle <= BUSY:
        return []
    return [
        f"the models stood still for {100 * idle:.0f} % of the time they were measured, mostly for other programs on this "
        "machine: they would be quicker alone, and ratios are rough. Measure again when it is quiet"
    ]


def _model(runner: Runner) -> dict[str, Any]:
    facts = runner.facts
    return {
        "name": runner.name,
        "path": str(runner.path),
        "kind": facts.kind,
        "parameters": facts.parameters,
        "bytes": runner.bytes,
        "flops": facts.flops,
        "input_size": facts.input.size,
    }


_NOTHING: dict[str, Any] = {"accuracy": None, "interval": None, "agreement": None, "difference": None}


def _judged_of(runners: Sequence[Runner], shown: Sequence[Pictures], seed: int) -> tuple[list[dict[str, Any]], list[str]]:
    """How well each model does; where one answers several questions, question by question."""
    several = [bool(one.facts.tasks) for one in runners]
    if not any(several):
        return _judged(runners, shown, seed)
    if not all(several):
        said = "some of these models answer one question and others several, so that only their costs are compared"
        return [{**_NOTHING, "tasks": []}] * len(runners), [said]
    return [{**_NOTHING, "tasks": tasks} for tasks in judged_tasks(runners, shown, seed)], []


def _judged(runners: Sequence[Runner], shown: Sequence[Pictures], seed: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Accuracy of each model, and what it shares with the first; and what stands in the way of that."""
    said: list[NDArray[np.str_]] = []
    for runner, some in zip(runners, shown, strict=True):
        interrupt.check()
        logits, _ = answers(runner.answer, some.check, runner.facts.input)
        said.append(np.array([class_name(name) for name in runner.facts.classes])[logits.argmax(1)])
    truths = [some.truth(runner.facts.classes) for runner, some in zip(runners, shown, strict=True)]
    known = [truth is not None for truth in truths]
    warnings = [
        f"{runner.name} has none of the classes of {shown[0].where}, so its accuracy cannot be measured"
        for runner, is_known in zip(runners, known, strict=True)
        if not is_known and shown[0].labels is not None
    ]
    count = len(shown[0].check)
    told = np.logical_and.reduce([truth >= 0 for truth in truths if truth is not None] or [np.zeros(count, bool)])
    if any(known) and not told.all():
        warnings.append(
            f"{count - int(told.sum())} images of classes that not all models have are left out of the accuracies"
        )
    labels = shown[0].labels
    right_name = np.array([class_name(name) for name in shown[0].classes])[labels] if labels is not None else said[0]
    right = [(names == right_name)[told].astype(float) for names in said]
    rows = []
    for place in range(len(runners)):
        judged = known[place] and bool(told.any())
        rows.append(
            {
                **_NOTHING,
                **(_accuracy(right[place]) if judged else {}),
                "agreement": None if not place else float((said[place] == said[0]).mean()),
                "difference": _difference(right[place], right[0], seed) if judged and known[0] and place else None,
            }
        )
    return rows, warnings


def _accuracy(right: NDArray[np.float64]) -> dict[str, Any]:
    interval = wilson(int(right.sum()), len(right))
    return {"accuracy": interval.mean, "interval": [interval.low, interval.high]}


def _difference(right: NDArray[np.float64], first: NDArray[np.float64], seed: int) -> dict[str, Any]:
    """Accuracy minus the first model's, paired by image."""
    d = paired_bootstrap(right, first, seed_for(seed, "bench", "difference"))
    kept = {"low": d.low, "high": d.high, "p_value": d.p_value, "decided": d.decided, "detectable": d.detectable}
    return {"estimate": d.mean, **kept}


def machine(threads: int) -> dict[str, Any]:
    """What the numbers hold for: processor, cores, threads used, versions."""
    versions = {"python": sys.version.split()[0], "headstart": headstart.__version__}
    for name in ("torch", "onnxruntime", "numpy"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"cpu": _processor(), "cores": os.cpu_count(), "threads": threads, "versions": versions}


def _processor() -> str:
    """The processor's name; Linux keeps it where Python does not look."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def again(config: BenchConfig) -> str:
    """The command that measures again."""
    words = ["headstart", "bench", *map(str, config.models), "--out", str(config.out)]
    usual = BenchConfig(())
    flags = {name: getattr(config, name) for name in ("images", "threads", "seconds", "limit", "seed")}
    for name, value in {**flags, **asdict(config.columns)}.items():
        if value is not None and value != getattr(usual, name, None):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def as_text(summary: dict[str, Any]) -> str:
    """The table for a terminal."""
    m = summary["machine"]
    head = ("model", "kind", "weights", "on disk", "work", "1 image", "p95", "images/s", "batch", "accuracy", "as first")
    rows = [head, *map(_row, summary["models"])]
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(w) if place < 2 else cell.rjust(w) for place, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    on = f"on {summary['images']} images of {summary['data']}" if summary["images"] else "no images, so costs only"
    threads = f"{m['threads']} thread{'' if m['threads'] == 1 else 's'}"
    told = f"{m['cpu']}, {threads} of {m['cores']} cores; {on}"
    if any(one.get("tasks") for one in summary["models"]):
        lines += ["", *task_lines(summary["models"])]
    return "\n".join([told, "", *(line.rstrip() for line in lines), *(f"warning: {w}" for w in summary["warnings"])])


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    accuracy = "-"
    if model["accuracy"] is not None:
        low, high = model["interval"]
        accuracy = f"{model['accuracy']:.3f} ({low:.3f} to {high:.3f})"
    agreement = "-" if model["agreement"] is None else f"{100 * model['agreement']:.1f} %"
    return (
        model["name"],
        model["kind"],
        format_count(model["parameters"]),
        format_bytes(model["bytes"]),
        format_flops(model["flops"]),
        format_seconds(model["latency"]["median"]),
        format_seconds(model["latency"]["p95"]),
        f"{model['throughput']['images_per_second']:.0f}",
        str(model["throughput"]["batch"]),
        accuracy,
        agreement,
    )
