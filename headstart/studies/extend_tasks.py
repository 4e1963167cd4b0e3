"""What is to be learned by which model: its past, the new tasks with their test images, and the old ones' where given."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.adapt import BackboneConfig
from headstart.catalog.asked import TAKEN
from headstart.catalog.continual import METHODS
from headstart.catalog.extend import ExtendConfig
from headstart.data.names import count, some
from headstart.data.prepare import DataSet
from headstart.data.sources import Source
from headstart.data.task import UNKNOWN, Task
from headstart.data.union import alone
from headstart.engine.answering import ALL
from headstart.engine.model import Ancestor, Model, model_folder
from headstart.engine.past import Learned, Past
from headstart.errors import ConfigError, DataError, ModelFileError, problems
from headstart.nets.build import build
from headstart.nets.net import Net
from headstart.nets.saved import is_saved
from headstart.studies.backbone import untrained
from headstart.studies.extend_multitask import past_of
from headstart.studies.splitting import Splits


@dataclass(frozen=True, eq=False)
class Judged:
    """A task with its samples.

    train, test  what it is (or was) learned from, and what tells how well
    data         what it was read from
    """

    name: str
    train: Task
    test: Task
    data: DataSet


@dataclass(frozen=True, eq=False)
class Start:
    """The model before it learns more.

    net        its heads are those of `past`
    name       what people call it
    fit        how its images are brought to a square; None where it has none yet
    ancestors  its history
    drawn      makes the network anew with weights drawn from a seed, where nobody trained them; None: they are what they are
    """

    net: Net
    past: Past
    name: str
    fit: str | None
    ancestors: tuple[Ancestor, ...] = ()
    drawn: Callable[[int], Net] | None = None


def start_from(config: ExtendConfig, given: Any = None, *, builder: Any = None) -> Start:
    """The model named, or given from Python (a `Model` or a `Net`), and what it brings along.

    Raises ModelFileError, BackboneError or ConfigError for what cannot be had or does not go with the scenario asked for.
    """
    folder = model_folder(config.model) if given is None else None
    if folder is not None:
        given = Model.load(folder, builder=builder)
    if given is None and (place := Path(config.model)).exists() and not is_saved(place):
        raise ModelFileError(_no_model(place))
    if isinstance(given, (Model, Net)) and config.size is not None:
        side = (given.net if isinstance(given, Model) else given).input.size
        raise ConfigError(
            f"--size {config.size}: a model that is there already sees images at {side} px, and goes on so; leave it out"
        )
    if isinstance(given, Model) and not given.card.head:
        given = given.net  # a pretrained backbone has learned no task yet
    if isinstance(given, Model):
        return _learned(config, given, config.model if folder is not None else given.card.head)
    net = (
        copy.deepcopy(given)
        if isinstance(given, Net)
        else build(given if given is not None else config.model, size=config.size, seed=config.seed)
    )
    net.heads.clear()
    name = config.model or str((net.source or {}).get("name") or "a network given from Python")
    random = given is None and untrained(BackboneConfig(backbone=config.model))
    return Start(
        net, Past(config.scenario or "task", seed=config.seed), name, None, drawn=_drawing(config) if random else None
    )


def _no_model(folder: Path) -> str:
    """What a file or a folder is that holds no model."""
    if folder.is_file():
        kept = model_folder(folder.parent)
        instead = f"the folder it lies in, {kept}" if kept is not None else "the folder of a saved model"
        return f"{folder} is a file, and a model is a folder with its weights, its structure and its card; give {instead}"
    if (folder / "config.json").exists() and not (folder / "summary.json").exists():
        return f"the run in {folder} is not finished, so there is no model yet; go on with it by its command and --resume"
    more = ""
    if any(item.is_dir() for item in folder.iterdir()) and not (folder / "config.json").exists():
        more = " If it holds images: the model comes first, `headstart extend MODEL DATA`"
    return (
        f"{folder} is a folder without card.json, which no saved model is; give the folder of a finished run, or its "
        f"model/, or a network by name (`headstart models`).{more}"
    )


def _drawing(config: ExtendConfig) -> Callable[[int], Net]:
    """Makes a network by name whose weights nobody trained, from another seed each time."""

    def drawn(seed: int) -> Net:
        net = build(config.model, size=config.size, seed=seed)
        net.heads.clear()
        return net

    return drawn


def lacking(method: str, past: Past) -> list[str]:
    """Names of the tasks learned that a method keeps nothing of, though it could take it from their data given once."""
    known = METHODS[method]
    if not known.state_from_old:
        return []
    if known.memory:
        held = set() if past.memory is None else set(past.memory.tasks.tolist())
        return [one.name for number, one in enumerate(past.tasks) if number not in held]
    found = past.state.get(method, {}).get("tasks", ())
    return [one.name for one in past.tasks if one.name not in found]


def _learned(config: ExtendConfig, model: Model, name: str) -> Start:
    if model.card.questions:
        learned = past_of(config, model, name)
        return Start(copy.deepcopy(model.net), learned, name, model.card.fit, model.card.ancestors)
    past = None if model.past is None else replace(model.past, tasks=list(model.past.tasks))
    if past is None:
        last = model.card.ancestors[-1] if model.card.ancestors else None
        first = Learned(
            _word(last.data) if last and last.data else model.card.head,
            model.card.head,
            model.classes,
            last.data if last else "",
            last.fingerprint if last else "",
        )
        past = Past(config.scenario or "task", [first], seed=config.seed)
    if config.scenario is not None and config.scenario != past.scenario and len(past.tasks) > 1:
        raise ConfigError(
            f"--scenario {config.scenario}: {name} has learned {len(past.tasks)} tasks {past.scenario}-incrementally and "
            "goes on so; leave --scenario out"
        )
    past.scenario = config.scenario or past.scenario
    net = copy.deepcopy(model.net)  # the caller's stays as it is
    if ALL in net.heads and past.one_list != ALL:
        del net.heads[ALL]  # joined for those that know one head only; made anew when this job ends
    return Start(net, past, name, model.card.fit, model.card.ancestors)


def network_of(config: ExtendConfig) -> BackboneConfig:
    """The settings of the network as the beginning of a job wants them."""
    return BackboneConfig(backbone=config.model, size=config.size)


def names_for(config: ExtendConfig, sources: Sequence[Source], taken: Sequence[str]) -> list[str]:
    """A name for every new task: as asked, else after its data; none twice."""
    count = config.increments or len(sources)
    wanted = list(config.names) or [_word(sources[0].where if config.increments else one.where) for one in sources] * (
        config.increments or 1
    )
    found: list[str] = []
    for number, name in enumerate(wanted[:count]):
        if config.names:
            found.append(name)
            continue
        usual = f"{name}_{number + 1}" if config.increments else name
        free = (usual, *(f"{usual}_{n}" for n in range(2, 1000)))
        found.append(next(one for one in free if one not in (*taken, *found)))
    wrong = [name for name in found if not _usable(name)]
    twice = [name for name in found if name in taken]
    said = [f"{name!r} is no plain word, or means something to a network; use others, of letters and _" for name in wrong]
    said += [f"{name!r} is what a task is called that the model knows already; choose another" for name in twice]
    problems(ConfigError, "--names cannot be used:", said)
    return found


def _word(where: str) -> str:
    """A plain word for what people call the data."""
    stem = Path(where).stem if where not in ("arrays", "dataset") else "task"
    word = re.sub(r"\W+", "_", stem).strip("_").lower()
    return word if _usable(word) else f"task_{word}".rstrip("_")


def _usable(name: str) -> bool:
    """Whether a head, which is a part of a module, may be called so."""
    return name.isidentifier() and name not in (ALL, *TAKEN)


def new_tasks(
    config: ExtendConfig,
    past: Past,
    names: Sequence[str],
    read: Sequence[tuple[DataSet, Splits]],
    folder: Path | None = None,
) -> list[Judged]:
    """The tasks to be learned, in order.

    folder  where the samples of each increment of one data set are put, apart from those of the others

    Raises DataError for classes that are known already where they must not be, or unknown ones where they must be.
    """
    if config.increments is not None:
        found = _cut(names, *read[0], folder)
    else:
        found = [_named(name, data, splits) for name, (data, splits) in zip(names, read, strict=True)]
    if past.scenario == "domain":
        first = past.tasks[0].classes if past.tasks else found[0].train.classes
        found = [_in_order(one, first, "the model's") for one in found]
    else:
        _check_new(past, found)
    return found


def _named(name: str, data: DataSet, splits: Splits) -> Judged:
    return Judged(name, replace(splits.train, name=name), replace(splits.test, name=name), data)


def _cut(names: Sequence[str], data: DataSet, splits: Splits, folder: Path | None) -> list[Judged]:
    """As many tasks as there are names, of as equally many classes as can be, in the classes' order.

    Each with a store of its own: who learns one cannot see another.
    """
    if len(names) * 2 > len(data.classes):
        raise ConfigError(
            f"--increments {len(names)}: {data.inspection.where} has {len(data.classes)} classes, and a task needs two; "
            f"at most {len(data.classes) // 2} can be cut from it"
        )
    found = []
    for name, classes in zip(names, np.array_split(np.arange(len(data.classes)), len(names)), strict=True):
        train, test = (alone(_only(part, classes, name), folder) for part in (splits.train, splits.test))
        found.append(Judged(name, train, test, data))
    return found


def _only(task: Task, classes: NDArray[np.int64], name: str) -> Task:
    """The same samples as far as they are of some classes, which are counted anew from 0."""
    place = np.full(task.num_classes + 1, UNKNOWN, np.int64)  # the last entry is for labels that are not known
    place[classes] = np.arange(len(classes))
    labels = place[task.labels]
    rows = task.rows[labels[task.rows] != UNKNOWN]
    return replace(task, name=name, labels=labels, classes=tuple(task.classes[int(c)] for c in classes), rows=rows)


def _in_order(one: Judged, classes: tuple[str, ...], whose: str) -> Judged:
    """The same task with its classes in the order of `classes`. Raises DataError unless they are the same."""
    odd = [name for name in one.train.classes if name not in classes]
    absent = [name for name in classes if name not in one.train.classes]
    if odd:
        raise DataError(
            f"task {one.name!r} has classes that are none of {whose}: {some(odd)}. Domain-incremental tasks ask the same "
            "question about other images; for new classes give --scenario class, or task"
        )
    if absent and not set(one.train.classes) & set(classes):
        raise DataError(f"task {one.name!r} has none of the classes {some(classes)}")
    place = np.array([*(classes.index(name) for name in one.train.classes), UNKNOWN], np.int64)
    train = replace(one.train, labels=place[one.train.labels], classes=classes)
    return replace(one, train=train, test=replace(one.test, labels=place[one.test.labels], classes=classes))


def _check_new(past: Past, found: Sequence[Judged]) -> None:
    known = {name: one.name for one in past.tasks for name in one.classes}
    sets = [set(one.classes) for one in past.tasks if one.kind == "classes"]  # every yes/no question has the same answers
    for one in found:
        again = [name for name in one.train.classes if name in known]
        same = set(one.train.classes) in sets
        sets.append(set(one.train.classes))
        if again and (past.scenario == "class" or same):
            where = ", ".join(sorted({known[name] for name in again}))
            raise DataError(
                f"classes of task {one.name!r} are known already from {where}: {some(again)}. If these are more images of "
                "the same things, give --scenario domain; if they mean something else, rename the folders"
            )
        known |= dict.fromkeys(one.train.classes, one.name)


def old_tasks(past: Past, read: Sequence[tuple[DataSet, Splits]]) -> list[Judged]:
    """The old tasks' data, in their order, with the classes as the model has them.

    Raises ConfigError when there are more or fewer than the model has learned, DataError when classes differ.
    """
    if len(read) != len(past.tasks):
        names = ", ".join(one.name for one in past.tasks) or "none"
        told = (
            f"has learned {count(len(past.tasks), 'task')}: {names}"
            if past.tasks
            else "has learned nothing yet; leave it out"
        )
        raise ConfigError(f"--old names {count(len(read), 'data set')}, and the model {told}")
    found = []
    for one, (data, splits) in zip(past.tasks, read, strict=True):
        if set(data.classes) != set(one.classes):
            raise DataError(
                f"--old {data.inspection.where} is not the data of task {one.name!r}: its classes are {some(data.classes)}, "
                f"the task's {some(one.classes)}. Give the old tasks' data in the order in which they were learned"
            )
        found.append(_in_order(_named(one.name, data, splits), one.classes, f"those of old task {one.name!r}"))
    return found
