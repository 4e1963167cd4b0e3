"""How images are changed before they are shown, as text that can be read, changed and given back; torch-free.

A view is a list of steps, `crop(0.2, 1.0) flip(0.5) jitter(0.4, 0.4, 0.4, 0.1, p=0.8) grey(0.2)`, done in that order.
Settings may be given by place or by name; those left out have their defaults. `plain` is the view without any step.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from headstart.errors import ConfigError, problems

NO_BLUR_BELOW = 64
"""Side in pixels of images that named pipelines do not blur, as SimCLR for CIFAR (appendix B.9)."""


@dataclass(frozen=True)
class Setting:
    """One number of a step.

    default  None: there is none
    least, most  what it may be
    whole    whether it is a whole number
    quiet    left out of the text where it has its default
    """

    name: str
    default: float | None
    least: float
    most: float
    whole: bool = False
    quiet: bool = False

    def fault(self, text: str) -> str:
        """What is wrong with the number in `text`, or nothing."""
        try:
            value = float(text)
        except ValueError:
            return f"{self.name}={text}: not a number"
        if not self.least <= value <= self.most:
            return f"{self.name}={text}: {self.least:g} to {self.most:g}"
        return f"{self.name}={text}: a whole number" if self.whole and value != math.floor(value) else ""


@dataclass(frozen=True)
class StepKind:
    """A kind of step: what it does, its settings in order, and pairs of settings whose first is at most the second."""

    summary: str
    settings: tuple[Setting, ...]
    ordered: tuple[tuple[str, str], ...] = ()


def _share(name: str, default: float, *, quiet: bool = False) -> Setting:
    return Setting(name, default, 0.0, 1.0, quiet=quiet)


_RATIOS = (Setting("narrow", 3 / 4, 0.01, 100.0, quiet=True), Setting("wide", 4 / 3, 0.01, 100.0, quiet=True))
STEPS: Mapping[str, StepKind] = {
    "crop": StepKind(
        "a box of a random area (share of the image's) and aspect ratio, resampled to the image's size, or to `size` pixels",
        (
            Setting("low", 0.08, 1e-4, 1.0),
            Setting("high", 1.0, 1e-4, 1.0),
            *_RATIOS,
            Setting("size", None, 1, 8192, whole=True, quiet=True),
        ),
        (("low", "high"), ("narrow", "wide")),
    ),
    "shift": StepKind("moved by up to a share of the side, borders repeated", (_share("fraction", 0.125),)),
    "flip": StepKind("mirrored left and right", (_share("p", 0.5),)),
    "jitter": StepKind(
        "brightness, contrast, saturation and hue changed by up to so much, in random order",
        (
            Setting("brightness", 0.4, 0.0, 10.0),
            Setting("contrast", 0.4, 0.0, 10.0),
            Setting("saturation", 0.4, 0.0, 10.0),
            Setting("hue", 0.1, 0.0, 0.5),
            _share("p", 0.8),
        ),
    ),
    "grey": StepKind("grey in all channels", (_share("p", 0.2),)),
    "blur": StepKind(
        "Gaussian blur of a random width in pixels, its kernel a share of the side",
        (
            _share("p", 0.5),
            Setting("low", 0.1, 0.01, 100.0),
            Setting("high", 2.0, 0.01, 100.0),
            _share("share", 0.1, quiet=True),
        ),
        (("low", "high"),),
    ),
    "solarise": StepKind(
        "bright pixels made negative", (_share("p", 0.2), Setting("threshold", 128, 0, 255, whole=True, quiet=True))
    ),
    "erase": StepKind("a grey square over a share of the side", (_share("fraction", 0.4), _share("p", 0.5))),
    "draws": StepKind(
        "not a change: only so many renderings per image, for ever", (Setting("count", None, 1, 10**6, whole=True),)
    ),
}
"""Every step by its name in the text."""


@dataclass(frozen=True)
class Step:
    """One step of a view: its name and all its settings; None where nothing is given and there is no default."""

    name: str
    values: Mapping[str, float | None]

    def __str__(self) -> str:
        """The step as text; probabilities after other numbers are named, and what follows something left out."""
        words: list[str] = []
        named = False
        for setting in STEPS[self.name].settings:
            value = self.values[setting.name]
            if value is None or (setting.quiet and value == setting.default):
                named = True
                continue
            number = repr(int(value)) if setting.whole else repr(float(value))
            words.append(f"{setting.name}={number}" if named or (words and setting.name == "p") else number)
        return f"{self.name}({', '.join(words)})"


def parse_steps(text: str) -> list[Step]:
    """The steps that `text` names; none for `plain` and for nothing. Raises ConfigError with all that is wrong."""
    found, faults = [], []
    rest = "" if text.strip() == "plain" else text.strip()
    while rest:
        match = re.match(r"([A-Za-z_]+)\s*(?:\(([^()]*)\))?[\s,]*", rest)
        if match is None:
            faults.append(f"{rest[:30]!r} is not a step; write name(numbers), with spaces between steps")
            break
        step, wrong = _step(match[1].lower(), match[2] or "")
        faults += [f"{match[0].strip(' ,')}: {word}" for word in wrong]
        found += [step] if step is not None else []
        rest = rest[match.end() :]
    if [step.name for step in found].count("draws") > 1:
        faults.append("draws: once is enough")
    problems(ConfigError, f"the view {text.strip()!r} cannot be made:", faults)
    return found


def _step(name: str, inside: str) -> tuple[Step | None, list[str]]:
    """One step, or what is wrong with it."""
    if name not in STEPS:
        return None, [f"no step is called {name!r}; there are {', '.join(STEPS)}"]
    kind = STEPS[name]
    names = [setting.name for setting in kind.settings]
    given: dict[str, str] = {}
    wrong = []
    for place, word in enumerate(part.strip() for part in inside.split(",") if inside.strip()):
        key, _, value = word.rpartition("=")
        key = key.strip() if "=" in word else names[place] if place < len(names) else ""
        if key not in names:
            wrong.append(f"{word!r} is one too many; it has {', '.join(names)}")
        elif key in given:
            wrong.append(f"{key} is given twice")
        given.setdefault(key, value.strip())
    wrong += [fault for one in kind.settings if one.name in given and (fault := one.fault(given[one.name]))]
    if name == "draws" and "count" not in given:
        wrong.append("count: say how many")
    if wrong:
        return None, wrong
    values = {one.name: float(given[one.name]) if one.name in given else one.default for one in kind.settings}
    for low, high in kind.ordered:
        first, second = values[low], values[high]
        if first is not None and second is not None and first > second:
            wrong.append(f"{low}={first:g} is above {high}={second:g}")
    return Step(name, values), wrong


def text_of(steps: list[Step]) -> str:
    """The steps as text that `parse_steps` takes back."""
    return " ".join(str(step) for step in steps) or "plain"


def view_faults(text: str) -> list[str]:
    """What is wrong with a pipeline's name or the text of views, in words: for settings' own lists of faults."""
    faults: list[str] = []
    for part in () if text in PIPELINES else re.split(r"[|;]", text):
        try:
            parse_steps(part)
        except ConfigError as error:
            faults += [line.strip(" -") for line in str(error).splitlines()[1:]]
    return faults


@dataclass(frozen=True)
class Pipeline:
    """A named way to render an image several times.

    summary  one line, with what differs from the paper
    views    one text per view; one that stands alone is for all of them
    """

    summary: str
    views: tuple[str, ...]


_SIMCLR = "crop(0.08, 1.0) flip(0.5) jitter(0.8, 0.8, 0.8, 0.2, p=0.8) grey(0.2)"
_BYOL = "crop(0.08, 1.0) flip(0.5) jitter(0.4, 0.4, 0.2, 0.1, p=0.8) grey(0.2)"
PIPELINES: Mapping[str, Pipeline] = {
    "plain": Pipeline("the image as it is", ("plain",)),
    "weak": Pipeline("moved a little and mirrored (FixMatch's weak view)", ("shift(0.125) flip(0.5)",)),
    "crop": Pipeline("crops and mirroring alone", ("crop(0.2, 1.0) flip(0.5)",)),
    "simclr": Pipeline("SimCLR at colour strength 1 (Chen et al. 2020, appendix A)", (f"{_SIMCLR} blur(0.5)",)),
    "simclr_small": Pipeline(
        "SimCLR for CIFAR: colour strength 0.5 and no blur (appendix B.9)",
        ("crop(0.08, 1.0) flip(0.5) jitter(0.4, 0.4, 0.4, 0.1, p=0.8) grey(0.2)",),
    ),
    "moco": Pipeline(
        "MoCo v2 (Chen et al. 2020b)", ("crop(0.2, 1.0) jitter(0.4, 0.4, 0.4, 0.1, p=0.8) grey(0.2) blur(0.5) flip(0.5)",)
    ),
    "byol": Pipeline(
        "BYOL: the first view always blurred, the second rarely and at times solarised (Grill et al. 2020, table 6)",
        (f"{_BYOL} blur(1.0)", f"{_BYOL} blur(0.1) solarise(0.2)"),
    ),
    "dino": Pipeline(
        "DINO: two large views as in BYOL, then small ones (Caron et al. 2021); the small ones are 3/7 of the side",
        (
            f"{_BYOL} blur(1.0)".replace("0.08", "0.4"),
            f"{_BYOL} blur(0.1) solarise(0.2)".replace("0.08", "0.4"),
            f"{_BYOL} blur(0.5)".replace("0.08, 1.0", "0.05, 0.4"),
        ),
    ),
}
"""Every named pipeline."""


def views_for(name_or_text: str, size: int, count: int = 2) -> tuple[str, ...]:
    """The texts of `count` views, for images of `size` pixels.

    A named pipeline blurs nothing below `NO_BLUR_BELOW` pixels, and `simclr` is `simclr_small` there; the last view of
    `dino`, which stands for all further ones too, is cropped to 3/7 of the size. Other text is taken as it is, for all
    views, or `|` (or `;`) stands between those of several.
    """
    if name_or_text in PIPELINES:
        name = "simclr_small" if name_or_text == "simclr" and size < NO_BLUR_BELOW else name_or_text
        texts = tuple(_sized(text, size) for text in PIPELINES[name].views)
        if name == "dino":
            texts = (*texts[:2], _sized(PIPELINES[name].views[2], size, crop=max(1, round(size * 3 / 7))))
    else:
        texts = tuple(part.strip() for part in re.split(r"[|;]", name_or_text))
    if len(texts) > count:
        fitting = [name for name, one in PIPELINES.items() if len(one.views) <= count]
        raise ConfigError(
            f"{name_or_text!r} describes {len(texts)} views, and {count} {'are' if count > 1 else 'is'} drawn; give "
            f"{f'{count} at most, with | between them' if count > 1 else 'steps of one view'}, "
            f"or one of {', '.join(fitting)}"
        )
    return (texts + (texts[-1],) * count)[:count]


def _sized(text: str, size: int, *, crop: int | None = None) -> str:
    """The text for images of `size` pixels; `crop`: to which size crops are resampled, None: as the text has it."""
    steps = []
    for step in parse_steps(text):
        if step.name == "crop" and crop is not None:
            step = Step("crop", {**step.values, "size": float(crop)})
        if step.name != "blur" or size >= NO_BLUR_BELOW:
            steps.append(step)
    return text_of(steps)
