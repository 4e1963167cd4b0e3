"""Which ways to train several tasks are tried: those asked for, the plain sum, and every task alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.balance.named import faults as setting_faults
from headstart.catalog.multitask import MultitaskConfig
from headstart.catalog.schedules import WeightPlan, weight_plan
from headstart.catalog.settings import names_of, with_settings
from headstart.catalog.sharing import Sharing, SharingConfig
from headstart.catalog.strategies import Recipe
from headstart.catalog.weightings import Scheduled, Sum, weighting
from headstart.data.mix import Mix
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.strategies.common import weighted_blocks
from headstart.strategies.multitask import pull_faults
from headstart.studies.arms import base_recipe
from headstart.studies.multitask_runs import Arm, single_name

BASELINE = "sum"
_STEPS, _LONGEST, _USUAL = 600, 60, 20
"""Steps that few images should make up to by more epochs, the most epochs, and the usual ones."""


def recipe_of(config: MultitaskConfig, net: Net, samples: int) -> Recipe:
    """What all arms share: what was asked, else what suits network and data."""
    recipe = base_recipe(net, samples, mirror=config.mirror, class_weights=False)
    batch = config.batch_size or recipe.batch_size
    epochs = config.epochs or min(_LONGEST, max(_USUAL, -(-_STEPS * batch // max(samples, 1))))
    return replace(
        recipe,
        epochs=epochs,
        batch_size=batch,
        lr=recipe.lr if config.lr is None else config.lr,
        augment=config.augment,
        smoothing=config.smoothing,
        seed=config.seed,
    )


def arms_of(config: MultitaskConfig, net: Net, mix: Mix, recipe: Recipe, steps: int) -> list[Arm]:
    """Every arm, in the order in which they are carried out: tasks alone, the plain sum, those asked for, one task less.

    All take as many optimiser steps of as many images: a network for one task sees each of its labels oftener where the
    others have labels that it has not.

    Raises ConfigError, all faults together, for weights, settings and blocks that cannot be.
    """
    faults: list[str] = []
    names = tuple(mix.tasks)
    shared = SharingConfig(recipe, scale=config.scale, delta=config.delta)
    plain = Arm(BASELINE, "sum", names, shared)
    alone = [Arm(single_name(name), "single", (name,), replace(shared, steps=steps)) for name in names]
    asked = []
    for sharing in dict.fromkeys(config.sharing):
        for name in dict.fromkeys(config.weighting):
            settings = _settings(config, name, names, faults)
            pull = config.pull if sharing == "soft" else 0.0
            cfg = replace(shared, weighting=name, weighting_settings=settings, pull=pull)
            faults += [fault for fault in pull_faults(cfg, names) if fault not in faults]
            arm = Arm(arm_name(sharing, name, settings), "asked", names, cfg)
            asked.append(_with_towers(arm, sharing, config, net, faults) if sharing != "hard" else arm)
    _check_tasks(config, names, faults)
    problems(ConfigError, "these tasks cannot be trained as asked:", faults)
    asked = [replace(plain, role="asked") if arm.name == BASELINE else arm for arm in asked]
    less = [_without(asked[0], name, shared, steps) for name in _left_out(config, names)]
    baseline = [] if any(arm.name == BASELINE for arm in asked) else [plain]
    return [*(alone if config.alone else []), *baseline, *asked, *less]


def arm_name(sharing: Sharing | str, weighting: str, settings: Any = None) -> str:
    """What an arm is called: by its weighting, where there is one backbone; else by its sharing too."""
    kind = {"hard": "", "partly": "partly shared", "soft": "soft", "cross_stitch": "cross-stitch"}[sharing]
    said = f"weighted {weighting}" if weighting == "sum" and isinstance(settings, Sum) and settings.weights else weighting
    return said if not kind else kind if said == "sum" else f"{kind} {said}"


def stages_of(net: Net) -> tuple[str, ...]:
    """The last block of every stage (of `layer1_0, layer1_1, layer2_0` the last two), or every block of a chain."""
    names = weighted_blocks(net)
    stem = [re.sub(r"_?\d+$", "", name) if "_" in name else name for name in names]
    return tuple(name for place, name in enumerate(names) if place + 1 == len(names) or stem[place + 1] != stem[place])


def _with_towers(arm: Arm, sharing: str, config: MultitaskConfig, net: Net, faults: list[str]) -> Arm:
    blocks = net.block_names
    if config.shared >= len(blocks):
        fault = f"--shared {config.shared}: this network has {len(blocks)} blocks, and the last cannot be shared by towers"
        if fault not in faults:
            faults.append(fault)
        return arm
    upper = blocks[config.shared :]
    stitch: tuple[str, ...] = ()
    if sharing == "cross_stitch":
        stitch = config.stitch or tuple(name for name in stages_of(net) if name in upper)
        wrong = [name for name in stitch if name not in upper]
        if wrong:
            faults.append(f"--stitch {' '.join(wrong)}: blocks that have towers are {', '.join(upper)}")
    return replace(arm, sharing=sharing, shared=config.shared, stitch=stitch)  # type: ignore[arg-type]


def _settings(config: MultitaskConfig, name: str, tasks: Sequence[str], faults: list[str]) -> Any:
    """The weighting's settings: its own, the weights given, and what was said by name."""
    made = weighting(name).config
    try:
        if name == "sum" and config.task_weights and "schedule" not in config.weighting:
            made = Sum(_numbers(config.task_weights, tasks))
        if name == "schedule":
            made = Scheduled(_schedule(config.task_weights, tasks, normalise=config.normalise), config.normalise)
        if mine := [pair for pair in config.settings if _for(pair, name, config)]:
            made = with_settings(made, mine)
    except ConfigError as error:
        faults.append(str(error))
        return made
    faults += [f"weighting {name!r}: {fault}" for fault in setting_faults(made, tasks)]
    return made


def _for(pair: str, name: str, config: MultitaskConfig) -> bool:
    """Whether a setting is this weighting's: of several each takes its own, and what none knows the last refuses."""
    key = pair.partition("=")[0]
    known = [one for one in config.weighting if key in names_of(weighting(one).config)]
    return name in known or (not known and name == config.weighting[-1])


def _numbers(words: Sequence[str], tasks: Sequence[str]) -> dict[str, float]:
    """`TASK=NUMBER` words. Raises ConfigError with all that is wrong."""
    found, wrong = {}, []
    for word in words:
        name, equals, text = word.partition("=")
        try:
            found[name] = float(text)
        except ValueError:
            wrong.append(f"--task-weights {word!r}: a number is needed, TASK=NUMBER; formulas go with --weighting schedule")
        if equals and name not in tasks:
            wrong.append(f"--task-weights {word!r}: {name!r} is no task; tasks are {', '.join(tasks)}")
    problems(ConfigError, "the weights cannot be used:", wrong)
    return found


def _schedule(words: Sequence[str], tasks: Sequence[str], *, normalise: bool) -> WeightPlan:
    """Read from a table, or from a formula per task; a task that is not named counts 1."""
    if len(words) == 1 and "=" not in words[0]:
        return weight_plan(Path(words[0]), tasks, normalise=normalise)
    wrong = [f"--task-weights {word!r}: say TASK=FORMULA, or name one table by epoch" for word in words if "=" not in word]
    problems(ConfigError, "the schedule cannot be used:", wrong)
    given = {name.strip(): text.strip() for name, _, text in (word.partition("=") for word in words)}
    return weight_plan({**{name: "1" for name in tasks if name not in given}, **given}, tasks, normalise=normalise)


def _left_out(config: MultitaskConfig, names: Sequence[str]) -> list[str]:
    """Tasks to leave out in turn: all, or with a main task its helpers. Of two, one less is the other alone, which may be
    there already."""
    if not (config.leave_out or config.main) or (len(names) == 2 and config.alone):
        return []
    return [name for name in names if name != config.main]


def _without(arm: Arm, name: str, shared: SharingConfig, steps: int) -> Arm:
    """The same with a task less; one that is left is learned as every task alone is."""
    rest = tuple(other for other in arm.tasks if other != name)
    if len(rest) == 1:
        return Arm(f"without {name}", "without", rest, replace(shared, steps=steps))
    settings = _without_task(arm.config.weighting_settings, name)
    config = replace(arm.config, steps=steps, weighting_settings=settings)
    return replace(arm, name=f"without {name}", role="without", tasks=rest, config=config)


def _without_task(settings: Any, name: str) -> Any:
    """A weighting's settings that say nothing about a task."""
    if isinstance(settings, Sum):
        return Sum({task: weight for task, weight in settings.weights.items() if task != name})
    return settings  # a schedule gives the weights of the tasks there are


def _check_tasks(config: MultitaskConfig, names: Sequence[str], faults: list[str]) -> None:
    if config.main is not None and config.main not in names:
        faults.append(f"--main {config.main} is none of the tasks {', '.join(names)}")
