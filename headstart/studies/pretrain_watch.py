"""What is said aloud while a backbone is pretrained: how it stands, what is wrong, and whether going on pays.

Everything follows from the epochs in the run's log, so that a run which was killed and goes on says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.engine.log import RunLog, read_lines
from headstart.metrics.cost import format_seconds
from headstart.metrics.representation import against_chance
from headstart.studies.pretrain_look import PROBE

FLAT_RANK, FLAT_SPREAD = 1.5, 0.02
"""Effective rank and spread (1 where features fill the sphere) below which features have collapsed."""
AT_CHANCE, EARLY = 0.98, 0.2
"""Share of the loss of guessing above which nothing was learned, and of the training that must be over before an epoch
begins whose loss, a mean over all its steps, is judged by that; the last epoch always is."""
LAST, SOONEST = 0.2, 0.4
"""Share of the training in which nothing was gained when it is called a plateau, and of it that must be over by then."""
_LESS, _MORE = 0.005, 0.002
"""What is a gain: the loss lower by so much of itself, k-NN higher by so much."""
COURSE = ("collapse", "chance", "plateau")
"""Keys of warnings about how a stage goes, which may be over at its end."""
_PAYS = 0.005
"""Accuracy that the rest of the training should still bring for going on to pay."""


@dataclass(frozen=True)
class Look:
    """One look at a stage, or at a training of several stages, whose epochs are counted through.

    seconds  of pretraining so far, over all processes that did a part of it
    chance   loss of guessing, where it is known
    numbers  see `Looker`
    """

    stage: str
    epoch: int
    epochs: int
    seconds: float
    loss: float
    chance: float | None
    numbers: Mapping[str, float]

    @property
    def share(self) -> float:
        """Of the stage that is over."""
        return self.epoch / self.epochs


@dataclass(frozen=True)
class Remark:
    """Something said aloud: `kind` is `warning` or `note`, `key` what it is about."""

    kind: str
    key: str
    text: str


def looks_of(lines: Iterator[Mapping[str, Any]] | Sequence[Mapping[str, Any]]) -> list[Look]:
    """The looks in a log, in order."""
    found = []
    for line in lines:
        if line.get("event") != "epoch" or "of" not in line:
            continue
        known = {name: float(value) for name, value in line.items() if name in _NUMBERS or name.startswith(PROBE)}
        before = line.get("before")
        found.append(
            Look(
                str(line["stage"]) if before is None else course_name(str(line["stage"]), int(before)),
                int(line["epoch"]) + int(before or 0),
                int(line["of"]),
                float(line["at"]),
                float(line["loss"]),
                line.get("chance"),
                known,
            )
        )
    return found


_NUMBERS = ("knn", "spread", "rank", "uniformity", "alignment")


def course_name(stage: str, before: int) -> str:
    """What a training of several stages is called, of which `stage` began after so many epochs (see `stage.Part`)."""
    return stage.removesuffix(str(before + 1))


@dataclass
class Watch:
    """Listens to a run's log and speaks up in it; `log` gives where it reads and writes."""

    log: Callable[[], RunLog]

    def heard(self, line: Mapping[str, Any]) -> None:
        """An event of the log, before it is written: of an epoch that was looked at, say what there is to say."""
        if line.get("event") != "epoch" or "of" not in line:
            return
        log = self.log()
        before = list(read_lines(log.path))
        looks = looks_of([*before, line])
        mine = [look for look in looks if look.stage == looks[-1].stage]
        said = {(one.get("stage"), one.get("key")) for one in before if one.get("event") == "warning"}
        for remark in (*remarks(mine), progress(mine, _elapsed_before(looks))):
            if remark.kind == "note" or (mine[-1].stage, remark.key) not in said:
                log.event(remark.kind, stage=mine[-1].stage, key=remark.key, text=remark.text)


def _elapsed_before(looks: Sequence[Look]) -> float:
    """Seconds when the last stage began."""
    earlier = [look.seconds for look in looks if look.stage != looks[-1].stage]
    return max(earlier, default=0.0)


def remarks(looks: Sequence[Look]) -> list[Remark]:
    """What is wrong at the last of the looks at one stage."""
    return [*_collapse(looks[-1]), *_chance(looks[-1]), *_plateau(looks)]


def _collapse(look: Look) -> Iterator[Remark]:
    rank, even = look.numbers.get("rank"), look.numbers.get("spread")
    if even is not None and even < FLAT_SPREAD:
        text = (
            f"collapsed: after epoch {look.epoch} all images have nearly the same features (spread {even:.3f} of the 1 of "
            "even directions). Whatever the loss says, nothing is learned: try another method, a lower rate (--lr) or "
            "stronger views"
        )
        yield Remark("warning", "collapse", text)
    elif rank is not None and rank < FLAT_RANK:
        text = (
            f"collapsed: after epoch {look.epoch} features vary in one direction only (effective rank {rank:.1f}). "
            "Try another method, a lower rate (--lr) or stronger views"
        )
        yield Remark("warning", "collapse", text)


def _chance(look: Look) -> Iterator[Remark]:
    share = against_chance(look.loss, look.chance)
    late = look.epoch - 1 >= EARLY * look.epochs or look.epoch == look.epochs
    if share is not None and share >= AT_CHANCE and late:
        text = (
            f"at chance: after {look.share:.0%} of the training the loss is {look.loss:.3f}, and guessing gives "
            f"{look.chance:.3f}. Try another rate (--lr), easier views (--views), or more images"
        )
        yield Remark("warning", "chance", text)


def _plateau(looks: Sequence[Look]) -> Iterator[Remark]:
    now = looks[-1]
    recent = [look for look in looks if look.epoch > now.epoch - LAST * now.epochs]
    before = looks[: len(looks) - len(recent)]
    if now.share < SOONEST or len(recent) < 2 or len(before) < 2:
        return
    low = min(look.loss for look in before)
    gained = min(look.loss for look in recent) < low - _LESS * abs(low)
    if "knn" in now.numbers:
        high = max(look.numbers.get("knn", 0.0) for look in before)
        gained |= max(look.numbers.get("knn", 0.0) for look in recent) > high + _MORE
    if not gained:
        what = "neither the loss nor k-NN has" if "knn" in now.numbers else "the loss has not"
        said = f"a plateau: in the last fifth of the training {what} gained anything; going on will probably bring little"
        yield Remark("warning", "plateau", said)


def standing(looks: Sequence[Look]) -> set[tuple[str, str]]:
    """(stage, key) of what is still wrong at the last look at each stage, and not of what was wrong before."""
    by = {look.stage: [one for one in looks if one.stage == look.stage] for look in looks}
    return {(stage, remark.key) for stage, mine in by.items() for remark in remarks(mine)}


def worse(first: Mapping[str, float], last: Look, held: int) -> Iterator[Remark]:
    """Whether neighbours are right less often at the end than before anything was learned, on `held` images.

    Said from one standard error of such a difference on; the same images are asked about, so that it is less in truth.
    """
    before, after = first.get("knn"), last.numbers.get("knn")
    if before is None or after is None or not held:
        return
    error = float(np.sqrt((before * (1 - before) + after * (1 - after)) / held))
    if before - after <= max(error, 1 / held):
        return
    sure = "" if before - after > 2 * error else f"; {held} images are too few to be sure"
    text = (
        f"worse than before: k-NN ends at {after:.1%} and began at {before:.1%} on {held} held-out images{sure}. Whatever "
        "the loss says, what was learned does not tell these classes apart: try other views (--views) or another method, "
        "or use the block that is best"
    )
    yield Remark("warning", "worse", text)


def slope(looks: Sequence[Look]) -> float | None:
    """k-NN accuracy gained per minute, by least squares over the later half of the looks, five at least; None where there
    are not so many."""
    found = _trend(looks)
    return None if found is None else found[0]


def _trend(looks: Sequence[Look]) -> tuple[float, float] | None:
    """That slope and its standard error, from how far the looks lie beside the line."""
    seen = [(look.seconds / 60, look.numbers["knn"]) for look in looks if "knn" in look.numbers]
    late = seen[-max(5, len(seen) // 2) :]
    if len(late) < 5 or late[-1][0] <= late[0][0]:
        return None
    minutes, right = (np.array(one) for one in zip(*late, strict=True))
    gain, at = np.polyfit(minutes, right, 1)
    beside = float(np.square(right - gain * minutes - at).sum() / (len(late) - 2))
    return float(gain), float(np.sqrt(beside / np.square(minutes - minutes.mean()).sum()))


def left(looks: Sequence[Look], begun: float) -> float:
    """Seconds that the rest of the stage should take."""
    now = looks[-1]
    return (now.seconds - begun) / now.epoch * (now.epochs - now.epoch)


def progress(looks: Sequence[Look], begun: float = 0.0) -> Remark:
    """How the last of the looks at one stage stands, in a line. `begun`: seconds when the stage began."""
    now = looks[-1]
    parts = [f"loss {now.loss:.3f}"]
    share = against_chance(now.loss, now.chance)
    parts += [f"{share:.0%} of chance"] if share is not None else []
    if "knn" in now.numbers:
        parts.append(f"k-NN {now.numbers['knn']:.1%}")
    if best := best_probe(now.numbers):
        parts.append(f"best probe {best[1]:.1%} ({best[0]})")
    if "rank" in now.numbers:
        parts.append(f"rank {now.numbers['rank']:.1f}")
    rest = left(looks, begun)
    parts += [f"about {format_seconds(max(1, round(rest)))} left"] if now.epoch < now.epochs else []
    trend = _trend(looks)
    if trend is not None:
        parts.append(f"k-NN {trend[0] * 100:+.2f} points a minute{_pays(now, *trend, rest)}")
    return Remark("note", "progress", f"  {now.stage}, epoch {now.epoch} of {now.epochs}: {', '.join(parts)}")


def _pays(now: Look, gain: float, error: float, rest: float) -> str:
    if abs(gain) < 2 * error:
        return ", which is within the noise"
    if now.epoch == now.epochs:
        return ": half as long again would probably pay" if gain * now.seconds / 120 >= _PAYS else ""
    return ": going on pays" if gain * rest / 60 >= _PAYS else ": going on brings little"


def best_probe(numbers: Mapping[str, float]) -> tuple[str, float] | None:
    """The block whose features a linear classifier reads best, and its accuracy; of equals the deepest."""
    found = [(name.removeprefix(PROBE), value) for name, value in numbers.items() if name.startswith(PROBE)]
    return max(reversed(found), key=lambda one: one[1]) if found else None
