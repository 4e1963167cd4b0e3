"""What `import headstart` offers for whole jobs: the same as the commands, with a report at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from torch import nn

from headstart.catalog.adapt import AdaptConfig
from headstart.catalog.advise import AdviseConfig
from headstart.catalog.compare import CompareConfig
from headstart.catalog.data_size import DataSizeConfig
from headstart.catalog.device import BenchConfig
from headstart.catalog.distill import DistillJobConfig
from headstart.catalog.extend import ExtendConfig
from headstart.catalog.given import configured
from headstart.catalog.multitask import MultitaskConfig
from headstart.catalog.pretrain import PretrainConfig
from headstart.catalog.pretraining import PretrainMethod
from headstart.catalog.select import SelectConfig
from headstart.catalog.study import LayersConfig
from headstart.data.prepare import DataSet, prepare
from headstart.data.sources import open_source
from headstart.engine.fit import FitResult, Machine
from headstart.engine.fit import fit as fit_stage
from headstart.engine.optim import Carried
from headstart.engine.run import Result, carried_from
from headstart.engine.solve import solve
from headstart.export.bench import BenchResult
from headstart.export.calls import with_settings
from headstart.jobs import (
    run_adapt,
    run_advise,
    run_bench,
    run_compare,
    run_distill,
    run_extend,
    run_multitask,
    run_pretrain,
    run_select,
)
from headstart.nets.net import Net
from headstart.report.figures import figure_of
from headstart.report.folder import read_run
from headstart.stage import Solve, Stage
from headstart.strategies.pretrain import Pretrain
from headstart.studies.adapt import AdaptResult
from headstart.studies.advise import AdviseResult
from headstart.studies.compare import CompareResult
from headstart.studies.distill import DistillResult
from headstart.studies.extend import ExtendResult
from headstart.studies.multitask import MultitaskResult
from headstart.studies.pretrain import PretrainResult
from headstart.studies.result import JobResult
from headstart.studies.select import SelectResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Given = TypeVar("Given", AdaptConfig, AdviseConfig, CompareConfig, DataSizeConfig, LayersConfig)


def read(data: Any, *, size: int, fit: str = "squash", cache: str | Path | None = None, **columns: str | None) -> DataSet:
    """Open, decode once and inspect `data`; `.task()` of the result is what strategies want.

    size   side of the squares images are brought to, in pixels; usually `net.input.size`
    fit    `squash`, `pad` or `crop`
    cache  folder for the decoded images; default: headstart's folder in the user's cache directory

    `data` and `columns` are as in `headstart.open_source`.
    """
    place = Path(cache) if cache is not None else user_cache() / "data"
    place.mkdir(parents=True, exist_ok=True)
    return prepare(open_source(data, **columns), size=size, fit=fit, cache=place)


def user_cache() -> Path:
    """`$XDG_CACHE_HOME/headstart`, or `~/.cache/headstart`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headstart"


def fit(
    net: Net, stage: Stage | Solve, *, seed: int = 0, machine: Machine | None = None, after: Result | None = None
) -> Result:
    """Carry out one stage by hand: train what a `Stage` names, or solve for the head of a `Solve`.

        for stage in headstart.STRATEGIES["lpft"](net, task):
            headstart.fit(net, stage)

    after  the result of the stage before, whose optimiser memory a stage with `carry=True` goes on with; None: of the stage
           that was carried out on this net last
    """
    carried = _LAST.get(net)
    if after is not None:
        carried = Carried(after.optimizer) if isinstance(after, FitResult) else None
    result: Result
    if isinstance(stage, Solve):
        result = solve(net, stage, seed=seed)
    else:
        result = fit_stage(net, stage, seed=seed, machine=machine, carried=carried)
    _LAST[net] = carried_from(net, stage, result)
    return result


_LAST: WeakKeyDictionary[Net, Carried | None] = WeakKeyDictionary()
"""The optimiser's memory after what was carried out last on each net, for a stage that goes on from there."""


def figure(run: JobResult | str | Path) -> Figure:
    """The main picture of a run as a matplotlib figure, for a paper or a notebook: `figure("runs/photos").savefig("a.pdf")`.

    run  what `adapt`, `compare`, `select`, `distill`, `pretrain`, `bench` or a study returned, or its folder

    Raises ConfigError where there is nothing to draw, RunError for a folder that is no run.
    """
    return figure_of(run.summary if isinstance(run, JobResult) else read_run(Path(run)).summary)


def adapt(
    data: Any, backbone: str | nn.Module | Net | None = None, *, out: str | Path = "runs/adapt", **settings: Any
) -> AdaptResult:
    """Adapt a network to images and verify that it was done the best way.

    data      a folder, a CSV manifest, `(images, labels)` arrays, or a map-style Dataset
    backbone  a name, a saved model's folder, or any nn.Module (give `size`, `mean` and `std` with it)
    out       the run folder
    settings  any field of `AdaptConfig`, `BackboneConfig` or `DataConfig`, e.g. `budget="2m"`, `mirror=False`

    Returns the result that the command line writes; it prints as a table. Raises InputError for what can be mended.
    """
    config, objects = given_of(AdaptConfig, data, backbone, out, settings)
    return run_adapt(config, **objects)


def advise(
    data: Any, backbone: str | nn.Module | Net | None = None, *, out: str | Path = "runs/advise", **settings: Any
) -> AdviseResult:
    """Say how to adapt a network to images, what accuracy to expect and how sure that is, without training it.

    data, backbone, out  as of `adapt`
    settings             any field of `AdviseConfig`, `BackboneConfig` or `DataConfig`, e.g. `folds=10`

    Returns the result that the command line writes; it prints as text. Raises InputError for what can be mended.
    """
    config, objects = given_of(AdviseConfig, data, backbone, out, settings)
    return run_advise(config, **objects)


def compare(
    data: Any,
    backbone: str | nn.Module | Net | None = None,
    *,
    strategies: str | Sequence[str] | None = None,
    out: str | Path = "runs/compare",
    **settings: Any,
) -> CompareResult:
    """Run strategies side by side on the same folds, seeds and epochs: accuracy, every difference, costs, limits.

    data, backbone, out  as of `adapt`
    strategies           names, or one text with commas; None: one way of every strategy
    settings             any field of `CompareConfig`, `BackboneConfig` or `DataConfig`, e.g. `seeds=3`

    Returns the result that the command line writes; it prints as a table. Nothing is chosen and no model is saved. Raises
    InputError for what can be mended.
    """
    if strategies is not None:
        settings["strategies"] = (strategies,) if isinstance(strategies, str) else tuple(strategies)
    config, objects = given_of(CompareConfig, data, backbone, out, settings)
    return run_compare(config, **objects)


def distill(data: Any, teacher: Any, student: Any, *, out: str | Path = "runs/distill", **settings: Any) -> DistillResult:
    """Train a small network on what big ones answer, and measure what it gained against the same network trained alone.

    data      as of `adapt`
    teacher   one network or several: a saved model's folder, `NAME@WEIGHTFILE`, a `Model`, or a `Net` with its classifier
    student   a name, a saved model's folder, or a `Net`; its weights are drawn anew
    out       the run folder
    settings  any field of `DistillJobConfig` or `DataConfig`, e.g. `temperature="auto"`, `share=0.5`, `seeds=5`

    Returns the result that the command line writes; it prints as a table. Raises InputError for what can be mended.
    """
    teachers = list(teacher) if isinstance(teacher, (list, tuple)) else [teacher]
    words = all(isinstance(one, (str, Path)) for one in teachers)
    config = DistillJobConfig(told(data), out=Path(out))
    if isinstance(student, (str, Path)):
        settings = {**settings, "student": str(student)}
    config = configured(config, {**settings, **({"teacher": tuple(map(str, teachers))} if words else {})})
    return run_distill(
        replace(config, temperature=str(config.temperature)),
        data=object_of(data),
        teachers=None if words else teachers,
        student=None if isinstance(student, (str, Path)) else student,
    )


def extend(
    model: Any,
    data: Any,
    *,
    old: Any = (),
    builder: Callable[[], nn.Module] | None = None,
    out: str | Path = "runs/extend",
    **settings: Any,
) -> ExtendResult:
    """Teach a saved model something new without forgetting the old, and measure what it costs.

    model     a saved model's folder, a `Model`, or a network that has learned nothing yet: a name or a `Net`
    data      new data as of `adapt`; a list of several is learned one after the other
    old       the old tasks' data in their order, to see what is kept of them
    builder   makes the backbone's module again, for a saved model of a network that was given as an nn.Module
    out       the run folder
    settings  any field of `ExtendConfig` or `DataConfig`, e.g. `method="ewc"`, `scenario="class"`, `bounds=True`

    Returns the result that the command line writes; it prints as a table. Raises InputError for what can be mended.
    """
    new, before = (list(one) if isinstance(one, list) else [one] for one in (data, old if old != () else []))
    words = [all(isinstance(one, (str, Path)) for one in group) for group in (new, before)]
    named = isinstance(model, (str, Path))
    config = ExtendConfig(
        str(model) if named else "",
        tuple(map(str, new)) if words[0] else (),
        out=Path(out),
        old=tuple(map(str, before)) if words[1] else (),
    )
    return run_extend(
        configured(config, settings),
        model=None if named else model,
        data=None if words[0] else new,
        old=None if words[1] else before,
        builder=builder,
    )


def multitask(
    data: Any,
    backbone: str | nn.Module | Net | None = None,
    *,
    tasks: Sequence[str] = (),
    out: str | Path = "runs/multitask",
    **settings: Any,
) -> MultitaskResult:
    """Train one network for many questions about the same image, and measure what sharing brings.

    data      a table of labels (CSV) with a column per task; `(images, {task: labels})` with arrays; or `{task: data}`, one
              data set per task, each as of `adapt`
    backbone  a name, a saved model's folder, or any nn.Module (give `size`, `mean` and `std` with it)
    tasks     columns, or names of arrays, to learn, as `--tasks` has them; none: all
    out       the run folder
    settings  any field of `MultitaskConfig`, `TableConfig` or `BackboneConfig`, e.g. `main="digit"`, `weighting=("dwa",)`

    Returns the result that the command line writes; it prints as a table. Raises InputError for what can be mended.
    """
    named = (str(data),) if isinstance(data, (str, Path)) else ()
    config = configured(MultitaskConfig(named, out=Path(out), tasks=tuple(tasks)), settings)
    if isinstance(backbone, (str, Path)):
        config = configured(config, {"backbone": str(backbone)})
    return run_multitask(
        config,
        data=None if named else data,
        backbone=None if isinstance(backbone, (str, Path)) else backbone,
    )


def pretrain(
    data: Any,
    method: str | Pretrain = "simclr",
    backbone: str | nn.Module | Net | None = None,
    *,
    about: PretrainMethod | None = None,
    out: str | Path = "runs/pretrain",
    **settings: Any,
) -> PretrainResult:
    """Learn from images without labels (or layer by layer), judge it meanwhile, and give a verdict on what was learned.

    data      a folder of images at any depth, a CSV manifest, an array of images, `(images, labels)`, or a Dataset; labels
              serve to judge only, unless the method learns from them
    method    a name, or a generator of stages of your own, see `headstart.strategies.pretrain`; then `about` describes it
    backbone  a name, a saved model's folder, or any nn.Module (give `size`, `mean` and `std` with it)
    out       the run folder; `backbone=out` of other calls uses what was learned
    settings  any field of `PretrainConfig`, `BackboneConfig` or `DataConfig`, e.g. `epochs=100`, `against="embedded"`

    Returns the result that the command line writes; it prints as a table. Raises InputError for what can be mended.
    """
    config = PretrainConfig(told(data), out=Path(out))
    name = method if isinstance(method, str) else getattr(method, "__name__", "own")
    config = configured(config, {**settings, "method": name})
    if isinstance(backbone, (str, Path)):
        config = configured(config, {"backbone": str(backbone)})
    own = None
    if not isinstance(method, str):
        own = (method, about or PretrainMethod("pretext", "a method given from Python", "", 1.0, ""))
    return run_pretrain(
        config,
        data=object_of(data),
        backbone=None if isinstance(backbone, (str, Path)) else backbone,
        method=own,
    )


def select(
    data: Any, candidates: str | Sequence[Any] = ("all-local",), *, out: str | Path = "runs/select", **settings: Any
) -> SelectResult:
    """Choose the network to start from: rank candidates on the data, and let the best race.

    data        as of `adapt`
    candidates  names, patterns, groups, lists as on the command line; also `headstart.Candidate`s, modules and `Net`s
    out         the run folder
    settings    any field of `SelectConfig` or `DataConfig`, e.g. `budget="2m"`, `race=False`

    Returns the result that the command line writes; it prints as a table. Raises InputError for what can be mended.
    """
    texts = (candidates,) if isinstance(candidates, (str, nn.Module)) else tuple(candidates)
    words = all(isinstance(one, str) for one in texts)
    config = SelectConfig(told(data), out=Path(out))
    config = configured(config, {**settings, **({"candidates": texts} if words else {"candidates": ()})})
    return run_select(config, data=object_of(data), candidates=None if words else texts)


def bench(
    models: str | Path | Sequence[str | Path], *, images: Any = None, out: str | Path = "runs/bench", **settings: Any
) -> BenchResult:
    """Measure size, latency, throughput and accuracy of models side by side on this machine.

    models    folders of saved models or runs, and files that `export_model` wrote; others are compared with the first
    images    labelled images, as `adapt` takes them; None: only costs are measured
    out       the run folder
    settings  any field of `BenchConfig` or `ColumnsConfig`, e.g. `threads=1`, `seconds=60`

    Returns the result that the command line writes; it prints as a table. Raises InputError for what can be mended.
    """
    paths = [models] if isinstance(models, (str, Path)) else models
    named = str(images) if isinstance(images, (str, Path)) else None
    config = BenchConfig(tuple(map(Path, paths)), out=Path(out), images=named)
    return run_bench(with_settings(config, settings), images=images if named is None else None)


def given_of(
    kind: type[Given], data: Any, backbone: Any, out: str | Path, settings: dict[str, Any]
) -> tuple[Given, dict[str, Any]]:
    """The settings, and what came as an object that no setting can name."""
    name = backbone if isinstance(backbone, (str, Path)) else None
    config = kind(data=told(data), out=Path(out))
    config = configured(config, {**settings, **({"backbone": str(name)} if name is not None else {})})
    module = backbone if isinstance(backbone, nn.Module) else None
    return config, {"data": object_of(data), "backbone": module}


def told(data: Any) -> str:
    """What the data are called: by their name, or by the kind of object that they are."""
    return str(data) if isinstance(data, (str, Path)) else type(data).__name__


def object_of(data: Any) -> Any:
    """The data, where no name can stand for them."""
    return None if isinstance(data, (str, Path)) else data
