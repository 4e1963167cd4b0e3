"""The networks that a student learns from: found, loaded, and their classes laid to those of the data."""

from __future__ import annotations

import copy
import csv
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from headstart.catalog.adapt import BackboneConfig
from headstart.catalog.distill import BY_NAME, DistillJobConfig
from headstart.catalog.select import Candidate
from headstart.data.names import some
from headstart.engine.model import Ancestor, Card, Model, model_folder, read_card
from headstart.engine.multi_answers import asked
from headstart.errors import BackboneError, ConfigError
from headstart.nets.net import Net
from headstart.nets.saved import load_net
from headstart.nets.sources import SOURCE
from headstart.studies.backbone import untrained
from headstart.studies.candidates import load, named
from headstart.studies.source_task import OwnHead, own_head

_SHOWN = 12
"""Classes and lines of a proposed mapping that a message shows."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """A network that answers already.

    head       name of the head that answers; `own` are its classes by name, None where they have no names
    ancestors  where it came from, oldest first
    """

    name: str
    net: Net
    head: str
    own: OwnHead | None
    ancestors: tuple[Ancestor, ...]

    @property
    def num_classes(self) -> int:
        return self.net.head(self.head).num_classes

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its answers; their numbers where they have none."""
        return self.own.classes if self.own is not None else tuple(str(n) for n in range(self.num_classes))

    def place(self, name: str) -> int | None:
        """Which answer is called `name`; of one without names, by number."""
        if self.own is None:
            return self.classes.index(name) if name in self.classes else None
        found = self.own.place(name)
        if found is not None:
            return found
        loose = [_loose(one) for one in self.own.classes]
        return loose.index(_loose(name)) if loose.count(_loose(name)) == 1 else None


def find_teachers(
    texts: Sequence[str], given: Sequence[Any] | None = None, *, seed: int = 0, task: str | None = None
) -> list[Teacher]:
    """The teachers named as on the command line, or given from Python: `Model`s, `Net`s, `Candidate`s, names, folders.

    task  the one that teachers for several questions are to teach

    Raises InputError for what cannot be had, or has no classifier; two of one name are told apart by a number.
    """
    items: Sequence[Any] = texts if given is None else given
    found = [_found(item, seed, task) for item in items]
    names = [one.name for one in found]
    return [
        one if names.count(one.name) == 1 else Teacher(f"{one.name} #{n + 1}", one.net, one.head, one.own, one.ancestors)
        for n, one in enumerate(found)
    ]


def _found(item: Any, seed: int, task: str | None) -> Teacher:
    if isinstance(item, Model):
        return _with_card(_of_run(item.card.ancestors), item.net, item.card, task)
    if task is not None and isinstance(item, Net):
        raise ConfigError(f"--task {task}: a Net does not tell what its heads answer; give a Model")
    if isinstance(item, Net):
        return _of_net(type(item).__name__ if item.source is None else str(item.source.get("name") or "net"), item, item)
    if isinstance(item, nn.Module):
        raise ConfigError(
            f"teacher={type(item).__name__}: a module does not tell what its input looks like; make a network of it by "
            "headstart.build(module, size=32, mean=..., std=...)"
        )
    if not isinstance(item, (str, Path, Candidate)):
        raise ConfigError(f"teacher={type(item).__name__} is no network; give a name, a folder, a Model or a Net")
    one = item if isinstance(item, Candidate) else named(str(item), "--teacher")
    place = model_folder(str(one.backbone)) if one.weights is None and isinstance(one.backbone, (str, Path)) else None
    if place is not None:
        return _with_card(str(one), load_net(place), read_card(place), task)
    if task is not None:
        raise ConfigError(f"--task {task}: teacher {one} answers one question; leave --task out")
    return _named(one, seed)


def _with_card(name: str, net: Net, card: Card, task: str | None) -> Teacher:
    """A saved model; of one for several questions the head of `task`, which must be answered with one class."""
    if not card.head:
        raise ConfigError(
            f"teacher {name} is a pretrained backbone that answers nothing yet; give it a head first: "
            f"headstart adapt DATA --backbone {name}"
        )
    if task is None:
        return Teacher(name, net, card.head, OwnHead(net.head(card.head), tuple(card.classes)), card.ancestors)
    if not card.questions:
        raise ConfigError(f"--task {task}: teacher {name} answers one question; leave --task out")
    (one,) = asked(card.questions, [task])
    if one.kind not in ("classes", "yes_no"):
        raise ConfigError(f"--task {task} is answered with {one}; only one that is answered with one class is taught alone")
    return Teacher(name, net, one.head, OwnHead(net.head(one.head), one.classes), card.ancestors)


def _of_run(ancestors: Sequence[Ancestor]) -> str:
    return ancestors[-1].name if ancestors else "model"


def _named(one: Candidate, seed: int) -> Teacher:
    """A network of a library, or one whose weights are in a file."""
    text = str(one)
    config = BackboneConfig(str(one.backbone), one.weights, one.args, one.size, one.mean, one.std)
    if untrained(config):
        raise BackboneError(
            f"--teacher {text} has weights drawn at random and knows nothing; name the file with its weights: "
            f"{one.backbone}@WEIGHTFILE"
        )
    net = load(one, seed)
    origin = config if not isinstance(one.backbone, nn.Module) else BackboneConfig()
    return _of_net(text, net, None if origin.backbone else one.backbone, origin, seed)


def _of_net(name: str, net: Net, given: Any, config: BackboneConfig | None = None, seed: int = 0) -> Teacher:
    head = SOURCE if SOURCE in net.heads else next(iter(net.heads), None) if len(net.heads) == 1 else None
    if head is None:
        has = f"several heads ({', '.join(sorted(net.heads))})" if len(net.heads) else "no classifier"
        raise BackboneError(
            f"--teacher {name} has {has}, so that it answers nothing a student could learn; give a network with one, e.g. "
            "the model of an earlier run of headstart adapt"
        )
    own = own_head(net, config or BackboneConfig(), given, seed=seed) if head == SOURCE else "no names"
    known = own if isinstance(own, OwnHead) and own.head.num_classes == net.head(head).num_classes else None
    return Teacher(name, net, head, known, (_origin(name, net),))


def _origin(name: str, net: Net) -> Ancestor:
    """What is known of a network that headstart did not save."""
    source = net.source or {}
    weights, card = source.get("weights") or {}, source.get("card")
    if card:
        interval = tuple(card["test_interval"])
        return Ancestor(name, "supervised", card["trained_on"], card["fingerprint"], {}, card["test_accuracy"], interval)
    told = f"the source of {weights['file']}" if weights.get("file") else "its source data"
    return Ancestor(name, "pretrained", told, str(weights.get("sha256", "")))


def learned_elsewhere(teacher: Teacher, where: str, config: DistillJobConfig) -> bool:
    """Whether the teacher learned from the same images, split into those to learn from and those to test on otherwise.

    Judged by the command that its card keeps: images are split by seed, share of the test images and number of folds.
    """
    for one in teacher.ancestors:
        command = str(one.settings.get("command", ""))
        if one.data != where or not command:
            continue
        split = (_said(command, "seed", 0), _said(command, "test-fraction", 0.2), _said(command, "folds", 5))
        if split != (config.seed, config.images.test_fraction, 5):
            return True
    return False


def _said(command: str, flag: str, usual: float) -> float:
    """A number that a command line or a call gives."""
    found = re.search(rf"(?:--{flag} |\b{flag.replace('-', '_')}=)([0-9.]+)", command)
    return float(found[1]) if found else usual


# --- classes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """Which of a teacher's answers stand for each class of the data.

    places  per class of the data, one or more positions among the teacher's
    kind    `same`, `reordered`, `mapped`, or `assumed`: it has no names, and as many classes as the data
    """

    places: tuple[tuple[int, ...], ...]
    kind: str

    @property
    def alone(self) -> tuple[int, ...] | None:
        """One position per class; None where several of its classes are one of the data's."""
        return tuple(one[0] for one in self.places) if all(len(one) == 1 for one in self.places) else None


def order_of(teacher: Teacher, classes: Sequence[str], mapping: str | None) -> Order:
    """How the teacher's classes lie to the data's.

    mapping  what `--map-classes` says: None, `names`, or a CSV file

    Raises ConfigError where the two sets differ and nothing maps them, with a mapping to begin from.
    """
    places = [teacher.place(name) for name in classes]
    if teacher.own is not None and len(classes) == teacher.num_classes and len(set(places) - {None}) == len(classes):
        found = tuple((place,) for place in places if place is not None)
        return Order(found, "same" if found == tuple((n,) for n in range(len(classes))) else "reordered")
    if mapping is not None and mapping != BY_NAME:
        return _mapped(teacher, classes, Path(mapping))
    if teacher.own is None and teacher.num_classes == len(classes):
        return Order(tuple((n,) for n in range(len(classes))), "assumed")
    if mapping == BY_NAME and None not in places:
        return Order(tuple((place,) for place in places if place is not None), "mapped")
    raise _unlike(teacher, classes, places)


def orders_of(found: Sequence[Teacher], classes: Sequence[str], mapping: str | None) -> list[Order]:
    """How each teacher's classes lie to the data's. Raises ConfigError where they do not, and for a mapping nobody needs."""
    orders = [order_of(teacher, classes, mapping) for teacher in found]
    if mapping is not None and not any(order.kind == "mapped" for order in orders):
        raise ConfigError(f"--map-classes {mapping} is not needed: every teacher answers the data's classes; leave it out")
    return orders


def _unlike(teacher: Teacher, classes: Sequence[str], places: Sequence[int | None]) -> ConfigError:
    """The complaint, with what could be done about it."""
    lacking = [name for name, place in zip(classes, places, strict=True) if place is None]
    named = "" if teacher.own is None else f" ({some(teacher.classes, _SHOWN)})"
    head = f"--teacher {teacher.name} answers {teacher.num_classes} classes{named}, and the data have {len(classes)}"
    if not lacking:
        return ConfigError(f"{head}, all of which it knows by name. Leave the others out by --map-classes {BY_NAME}")
    lines = "".join(f"\n  {theirs},{name}" for theirs, name in _proposal(teacher, classes, places)[:_SHOWN])
    more = "\n  ..." if len(classes) > _SHOWN else ""
    why = "its classes have no names, only numbers" if teacher.own is None else f"it has none called {some(lacking, 5)}"
    return ConfigError(
        f"{head}: {why}. Write which of its classes is which of the data's into a file, and give it as --map-classes FILE. "
        f"To begin from, with what looks alike:\n  teacher,data{lines}{more}"
    )


def _proposal(teacher: Teacher, classes: Sequence[str], places: Sequence[int | None]) -> list[tuple[str, str]]:
    """Teacher class and data class, line by line: by name, else the likeliest name that is still free, else `?`."""
    taken = {place for place in places if place is not None}
    free = {_loose(name): name for n, name in enumerate(teacher.classes) if n not in taken} if teacher.own else {}
    lines = []
    for name, place in zip(classes, places, strict=True):
        if place is None:
            near = difflib.get_close_matches(_loose(name), free, 1, 0.5)
            inside = [one for one in free if one and (one in _loose(name) or _loose(name) in one)]
            chosen = free.pop((near or inside or ["?"])[0], "?")
        else:
            chosen = teacher.classes[place]
        lines.append((chosen, name))
    if len(free) == 1 and sum(theirs == "?" for theirs, _ in lines) == 1:
        (last,) = free.values()
        return [(last if theirs == "?" else theirs, name) for theirs, name in lines]
    return lines


def _mapped(teacher: Teacher, classes: Sequence[str], path: Path) -> Order:
    """The mapping that a file holds."""
    places: list[list[int]] = [[] for _ in classes]
    wrong, seen = list[str](), dict[int, str]()
    for number, (theirs, ours) in _lines(path, teacher, classes):
        place = teacher.place(theirs)
        if place is None:
            near = difflib.get_close_matches(theirs, teacher.classes, 2, 0.5)
            wrong.append(f"line {number}: the teacher has no class {theirs!r}" + (f", but {some(near)}" if near else ""))
        elif ours not in classes:
            near = difflib.get_close_matches(ours, classes, 2, 0.5)
            wrong.append(f"line {number}: the data have no class {ours!r}" + (f", but {some(near)}" if near else ""))
        elif place in seen:
            wrong.append(f"line {number}: {theirs!r} stands for {seen[place]!r} already")
        else:
            seen[place] = ours
            places[classes.index(ours)].append(place)
    lost = [name for name, found in zip(classes, places, strict=True) if not found]
    if lost and not wrong:
        wrong.append(f"no class of the teacher stands for {some(lost, 8)}")
    if wrong:
        told = "".join(f"\n  - {line}" for line in wrong[:20])
        raise ConfigError(f"--map-classes {path} does not map --teacher {teacher.name} to the data:{told}")
    return Order(tuple(tuple(found) for found in places), "mapped")


def _lines(path: Path, teacher: Teacher, classes: Sequence[str]) -> list[tuple[int, tuple[str, str]]]:
    """Number and two cells of every line; a first line that names no class is a heading."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(
            f"--map-classes {path} cannot be read: {reason}; give a CSV file of lines `teacher class,data class`"
        ) from error
    rows = [(n, [cell.strip() for cell in row]) for n, row in enumerate(csv.reader(text.splitlines()), 1) if any(row)]
    odd = [str(n) for n, row in rows if len(row) != 2]
    if odd or not rows:
        what = f"line {some(odd, 5)} has not" if odd else "it is empty; each line has"
        raise ConfigError(f"--map-classes {path}: {what} two cells, `teacher class,data class`")
    pairs = [(n, (row[0], row[1])) for n, row in rows]
    first = pairs[0][1]
    return pairs[1:] if teacher.place(first[0]) is None and first[1] not in classes else pairs


def _loose(name: str) -> str:
    """A name without what people write differently."""
    return "".join(one for one in name.casefold() if one.isalnum())


def detached(teacher: Teacher) -> Net:
    """A copy of the teacher's network with the head that answers alone."""
    net = copy.deepcopy(teacher.net)
    for name in [name for name in net.heads if name != teacher.head]:
        del net.heads[name]
    return net
