"""What a study of layers runs: the halves of the classes, the cuts of the network, and the grid of runs over both."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from headstart.catalog.study import LayersConfig
from headstart.data.names import class_name, some
from headstart.errors import BackboneError, ConfigError, DataError, problems
from headstart.nets.net import Net, count_parameters
from headstart.seeding import permutation

Kind = Literal["base", "selffer", "transfer", "selffer+", "transfer+", "random"]
FROZEN: tuple[Kind, ...] = ("selffer", "transfer", "random")
"""Kinds whose first layers are not trained."""


@dataclass(frozen=True)
class Run:
    """One network trained and tested.

    kind    see `headstart study layers --help`
    n       layers transferred; 0 for a base
    source  half whose base they come from; None for `base` and `random`
    target  half it learns and is tested on
    images  training images; 0 for all of the half
    """

    kind: Kind
    n: int
    source: str | None
    target: str
    split: int
    seed: int
    halves: str
    images: int = 0

    @property
    def name(self) -> str:
        """As the paper writes it: `AnB+ n=3 split 0 seed 1`."""
        plus = "+" if self.kind.endswith("+") else ""
        what = {"base": f"base{self.target}", "random": f"random{self.target} n={self.n}"}.get(
            self.kind, f"{self.source}n{self.target}{plus} n={self.n}"
        )
        few = f" {self.images} images" if self.images else ""
        return f"{what} {self.halves} split {self.split} seed {self.seed}{few}"

    @property
    def file(self) -> str:
        """A plain word for its files."""
        return self.name.replace(" ", "-").replace("=", "").replace("+", "plus")


@dataclass(frozen=True)
class Job:
    """Runs that share a frozen prefix (or one run without), carried out one after the other by one worker."""

    runs: tuple[Run, ...]
    needs: tuple[Run, ...] = ()


@dataclass(frozen=True)
class Split:
    """The classes of both halves, as positions; of two data sets when `halves` is `given`."""

    halves: str
    number: int
    classes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Cut:
    """The network cut after its first `n` layers: `blocks` are transferred, the rest is learned anew."""

    n: int
    blocks: tuple[str, ...]
    parameters: int


def cuts_of(net: Net, wanted: Sequence[int]) -> list[Cut]:
    """The cuts asked for, all if none are. A layer is a block with weights and those without weights that follow it.

    Raises BackboneError for a network of one piece, ConfigError for cuts that it does not have.
    """
    names = net.block_names
    starts = [place for place, name in enumerate(names) if count_parameters(net.blocks[name])]
    if len(starts) < 2:
        raise BackboneError(
            f"this network cannot be cut: it has {len(starts)} block with weights ({', '.join(names)}). Name another by "
            "--backbone, or give a module whose layers follow one another"
        )
    ends = [*starts[1:], len(names)]
    unknown = sorted({n for n in wanted if not 1 <= n <= len(ends)})
    if unknown:
        raise ConfigError(f"--cuts {' '.join(map(str, unknown))}: this network can be cut after layers 1 to {len(ends)}")
    return [_cut(net, n, names[: ends[n - 1]]) for n in sorted(set(wanted)) or range(1, len(ends) + 1)]


def _cut(net: Net, n: int, blocks: Sequence[str]) -> Cut:
    return Cut(n, tuple(blocks), sum(count_parameters(net.blocks[name]) for name in blocks))


# --- halves ---------------------------------------------------------------------------------------------------------------


def kinds_of(config: LayersConfig) -> tuple[str, ...]:
    """`given`, or which of `like` and `unlike` are studied. Raises ConfigError when that cannot be."""
    named = [f"--group-a {','.join(config.group_a)}"] if config.group_a else []
    named += [f"--half-column {config.half_column}"] if config.half_column is not None else []
    if config.source is not None:
        others = named + [f"--halves {' '.join(config.halves)}"] * bool(config.halves)
        problems(ConfigError, f"--source {config.source} is half A, so these do not go with it:", others)
        return ("given",)
    if len(named) > 1:
        raise ConfigError(f"{' and '.join(named)}: give one of them")
    if "unlike" in config.halves and not named:
        raise ConfigError("--halves unlike needs to know the kinds of classes: give --group-a or --half-column")
    if named and config.halves == ("like",):
        raise ConfigError(f"{named[0]} is for unlike halves, and --halves like was asked for; leave one of them out")
    return tuple(dict.fromkeys(config.halves)) or (("unlike",) if named else ("like",))


def group_named(group_a: Sequence[str], classes: Sequence[str]) -> tuple[int, ...]:
    """Positions of the classes in `--group-a`: names separated by commas, or a text file with one per line.

    Raises ConfigError naming unknown classes and the nearest known ones, and when one kind is left without a class.
    """
    words = [word for given in group_a for word in _words(given)]
    names = list(dict.fromkeys(class_name(word) for word in words if word.strip()))
    unknown = [name for name in names if name not in classes]
    problems(ConfigError, "--group-a names classes that the data do not have:", (_nearest(n, classes) for n in unknown))
    if not names or len(names) == len(classes):
        raise ConfigError(f"--group-a names {'every class' if names else 'no class'}, so one half would have none")
    return tuple(sorted(list(classes).index(name) for name in names))


def _words(given: str) -> list[str]:
    path = Path(given)
    if path.is_file():
        return path.read_text(encoding="utf-8").splitlines()
    return given.split(",")


def _nearest(name: str, classes: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, classes, n=2, cutoff=0.5)
    return f"{name!r}: " + (f"did you mean {' or '.join(close)}?" if close else f"there are {some(classes, 8)}")


def splits_of(config: LayersConfig, kinds: Sequence[str], classes: Sequence[str], group_a: Sequence[int]) -> list[Split]:
    """Every split of the classes, drawn from the study's seed. Raises DataError when there are too few classes.

    group_a  positions of the classes of one kind, for unlike halves
    """
    rest = [place for place in range(len(classes)) if place not in set(group_a)]
    size = config.classes or (min(len(group_a), len(rest)) if "unlike" in kinds else len(classes) // 2)
    room = {"like": len(classes) // 2, "unlike": min(len(group_a), len(rest))}
    for kind in kinds:
        if size < 2 or room[kind] < size:
            asked = f"--classes {config.classes}" if config.classes is not None else f"{len(classes)} classes"
            raise DataError(
                f"{asked}: {kind} halves would have at most {room[kind]} each, and need {max(size, 2)}. "
                "Every half needs two classes at least, so that there is something to tell apart"
            )
    found = []
    for kind in kinds:
        for number in range(config.splits):
            order = permutation(len(classes), config.seed, "layers", kind, "classes", number).tolist()
            a = [place for place in order if place in set(group_a)] if kind == "unlike" else order
            b = [place for place in order if place in set(rest)] if kind == "unlike" else order[size:]
            found.append(Split(kind, number, {"A": tuple(sorted(a[:size])), "B": tuple(sorted(b[:size]))}))
    return found


# --- the grid -------------------------------------------------------------------------------------------------------------


def grid(config: LayersConfig, splits: Sequence[Split], cuts: Sequence[Cut]) -> list[Job]:
    """Every job of the study, bases first."""
    jobs = [Job((base,)) for split in splits for seed in range(config.seeds) for base in _bases(split, seed)]
    for split in splits:
        for seed in range(config.seeds):
            for cut in cuts:
                jobs += _at(config, split, seed, cut.n)
    return jobs


def _bases(split: Split, seed: int) -> list[Run]:
    return [Run("base", 0, None, half, split.number, seed, split.halves) for half in ("A", "B")]


def _at(config: LayersConfig, split: Split, seed: int, n: int) -> Iterator[Job]:
    """The jobs of one cut: runs on fewer images share the frozen prefix of the run on all."""
    bases = dict(zip("AB", _bases(split, seed), strict=True))
    for target, other in ("AB", "BA"):
        pairs: tuple[tuple[Kind, str | None], ...] = (
            *(("selffer", target), ("transfer", other)),
            *(("selffer+", target), ("transfer+", other), ("random", None)),
        )
        for kind, source in pairs:
            fewer = sorted(set(config.target_images)) if kind in ("transfer", "transfer+") else []
            runs = [Run(kind, n, source, target, split.number, seed, split.halves, size) for size in (0, *fewer)]
            needs = () if source is None else (bases[source],)
            if kind in FROZEN:
                yield Job(tuple(runs), needs)
            else:
                yield from (Job((run,), needs) for run in runs)


def subset(targets: np.ndarray[tuple[int], np.dtype[np.int64]], seed: int, *names: str | int) -> list[int]:
    """An order of samples of which every beginning holds the classes evenly, and smaller ones lie within larger ones."""
    turns = []
    for label in np.unique(targets).tolist():
        places = np.flatnonzero(targets == label)
        places = places[permutation(len(places), seed, *names, int(label))]
        turns += [(turn, int(label), int(place)) for turn, place in enumerate(places)]
    return [place for _, _, place in sorted(turns)]


def too_few(sizes: Mapping[str, int], classes: Mapping[str, int], wanted: Sequence[int]) -> None:
    """Raise ConfigError unless every number in `--target-images` lies between a half's classes and its images."""
    faults = [
        f"{number}: half {name} has {sizes[name]} training images of {classes[name]} classes"
        for number in wanted
        for name in sizes
        if not 2 * classes[name] <= number < sizes[name]
    ]
    headline = "--target-images must be fewer than there are, and two of every class at least:"
    problems(ConfigError, headline, list(dict.fromkeys(faults)))
