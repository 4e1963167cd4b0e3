"""The arms of an adaptation: which strategies are worth racing on this network and data, and what they cost."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from headstart.catalog.strategies import (
    BornAgainConfig,
    DistillConfig,
    EarlyProbeConfig,
    FullConfig,
    GradualConfig,
    LpftConfig,
    PartialConfig,
    ProbeConfig,
    Recipe,
    RetrainConfig,
    SvmConfig,
)
from headstart.errors import ConfigError, problems
from headstart.nets.cost import block_flops
from headstart.nets.net import Net
from headstart.nets.norms import normalises
from headstart.strategies.common import top_blocks, weighted_blocks
from headstart.studies.race import Arm

_TRAINING = 1.6
"""Time of a trained forward pass relative to a folded, gradient-free one per multiply-add (measured: 1.3 to 1.9)."""
_INNER = 3
"""Folds within a training part that choose a penalty; the race's own folds judge the result."""
_FEW_EPOCHS = 6
"""Fewer say little about where training leads; an arm that cannot have them is left out when others can."""
_REFIT_SHARE = 0.25
"""Part of the budget kept for learning the winner again on all training images, where there are three folds or more."""
FIXED_VIEWS = 4
"""Renderings per image for arms with a frozen prefix, so that the prefix is computed only so often."""


def base_recipe(net: Net, samples: int, *, mirror: bool, class_weights: bool) -> Recipe:
    """Rates by kind of network, batches by amount of data.

    Networks with batch normalisation train by SGD at 0.1, others (transformers, ConvNeXt) by AdamW at 0.001, those without
    any normalisation, or with one that was folded away, by SGD at 0.1 and gradients of length one at most, as the first
    steps of a new head would otherwise silence them for good. A batch is a thirtieth of the data, between 16 and 64, so that
    an epoch is some thirty steps.
    """
    batch = 16
    while batch < 64 and batch * 60 <= samples:
        batch *= 2
    shared = Recipe(batch_size=batch, mirror=mirror, class_weights=class_weights)
    if normalises(net):
        return shared
    if not _has_norm(net):
        return replace(shared, clip=1.0)
    return replace(shared, optimizer="adamw", lr=1e-3, weight_decay=0.05, clip=1.0)


def _has_norm(net: Net) -> bool:
    return any(isinstance(module, (nn.LayerNorm, nn.GroupNorm)) for module in net.modules())


def all_arms(net: Net, recipe: Recipe, *, seed: int) -> list[Arm]:
    """Every arm there is for this network, in the order in which a short budget should try them."""
    recipe = replace(recipe, seed=seed)
    return [
        *_frozen_arms(recipe.class_weights),
        Arm("lpft", "lpft", LpftConfig(recipe), "Probe, then fine-tune", "linear head first, then every block at LR/10"),
        Arm("full", "full", FullConfig(recipe), "Fine-tune all, LR/10", "every block at a tenth of the learning rate"),
        *_partial_arms(net, recipe),
        Arm(
            "full_decay",
            "full",
            FullConfig(recipe, 0.1, 0.8),
            "Fine-tune all, falling rates",
            "LR/10 on top, 0.8x per block",
        ),
        *_retrain_arms(net, recipe),
        Arm("full_100", "full", FullConfig(recipe, 0.01), "Fine-tune all, LR/100", "every block at a hundredth of the rate"),
        Arm("gradual", "gradual", GradualConfig(recipe), "Gradual unfreezing", "head first, then block after block"),
    ]


def _frozen_arms(weighted: bool) -> list[Arm]:
    """Heads on frozen features; `weighted` weighs classes by the inverse of their size."""
    probe, svm = ProbeConfig(folds=_INNER, class_weights=weighted), SvmConfig(folds=_INNER, class_weights=weighted)
    every, best = (EarlyProbeConfig(depth, folds=_INNER, class_weights=weighted) for depth in ("all", "best"))
    one = "frozen backbone, linear head on the one block that cross-validates best"
    side_by_side = "frozen backbone, linear head on every block's features together"
    return [
        Arm("probe", "probe", probe, "Linear probe", "frozen backbone, linear head", True),
        Arm("svm", "svm", svm, "SVM", "frozen backbone, support vector machine", True),
        Arm("early_probe", "early_probe", every, "Probe on all depths", side_by_side, True),
        Arm("early_probe_best", "early_probe", best, "Probe at the best depth", one, True),
    ]


def _partial_arms(net: Net, recipe: Recipe) -> list[Arm]:
    """The top fine-tuned: two thirds of the blocks, a third, and one."""
    count, cached = len(weighted_blocks(net)), replace(recipe, views=FIXED_VIEWS)
    return [
        Arm(
            f"partial_{top}",
            "partial",
            PartialConfig(cached, top),
            f"Fine-tune top {top}",
            f"top {top} of {count} blocks at LR/10, the rest frozen",
        )
        for top in sorted({1, max(count // 3, 1), max(2 * count // 3, 1)}, reverse=True)
    ]


def _retrain_arms(net: Net, recipe: Recipe) -> list[Arm]:
    """Weights drawn anew: all, or the top third with the rest frozen or fine-tuned."""
    count, cached = len(weighted_blocks(net)), replace(recipe, views=FIXED_VIEWS)
    top = max(count // 3, 1)
    frozen = RetrainConfig(cached, top, seed=recipe.seed)
    tuned = RetrainConfig(recipe, top, 0.1, seed=recipe.seed)
    anew = f"top {top} of {count} blocks drawn anew"
    return [
        Arm("retrain", "retrain", RetrainConfig(recipe, seed=recipe.seed), "Re-train all", "all weights drawn anew"),
        Arm("retrain_top", "retrain", frozen, f"Re-train top {top}", f"{anew}, the rest frozen"),
        Arm("retrain_top_tuned", "retrain", tuned, f"Re-train top {top}, tune the rest", f"{anew}, the rest at LR/10"),
    ]


def for_comparing(budget: float, folds: int) -> float:
    """Seconds of the budget for the race; the rest is for learning the winner again, which takes about as long as a fold."""
    return budget * (1 - max(_REFIT_SHARE, 1 / (folds + 1)))


def pick(arms: Sequence[Arm], wanted: Sequence[str]) -> list[Arm]:
    """The arms named in `wanted`, by arm or by strategy, commas between them too; all when none is named.

    Unknown names get suggestions.
    """
    if not wanted:
        return list(arms)
    words = [wanted] if isinstance(wanted, str) else wanted
    wanted = [part.strip() for word in words for part in word.split(",") if part.strip()] or [""]
    known = sorted({arm.name for arm in arms} | {arm.strategy for arm in arms})
    unknown = [name for name in wanted if name not in known]
    near = {name: difflib.get_close_matches(name, known, 3, 0.4) for name in unknown}
    said = [f"{name!r}" + (f", did you mean {' or '.join(near[name])}?" if near[name] else "") for name in unknown]
    problems(ConfigError, f"--strategies names what is none of {', '.join(known)}:", said)
    return [arm for arm in arms if arm.name in wanted or arm.strategy in wanted]


def advised_arm(arms: Sequence[Arm], strategy: str) -> Arm:
    """The arm that carries out the advised strategy: the one called so, else the middle one of its kind."""
    same = [arm for arm in arms if arm.name == strategy] or [arm for arm in arms if arm.strategy == strategy]
    return same[len(same) // 2] if same else arms[0]


def work(net: Net, arm: Arm, flops: Mapping[str, int] | None = None) -> float:
    """Multiply-adds per image and epoch, roughly: a pass of what is frozen (kept for fixed views), three of the rest.

    flops  of the net's blocks, `block_flops(net)`; counting them takes a tenth of a second, so hand them over for many arms
    """
    if arm.frozen:
        return 0.0
    flops = block_flops(net) if flops is None else flops
    total = float(sum(flops.values()))
    cfg = arm.config
    if isinstance(cfg, (DistillConfig, BornAgainConfig)):
        return _taught_work(arm, total)
    top = (
        cfg.top if isinstance(cfg, PartialConfig) else cfg.top if isinstance(cfg, RetrainConfig) and not cfg.below else None
    )
    if top is None:
        return 3 * total
    names = net.block_names
    trained = sum(flops[name] for name in names[names.index(top_blocks(net, top)[0]) :])
    # Mixed samples are new in every step, so that nothing frozen can be kept.
    repeats = 1.0 if cfg.recipe.mixup else min(FIXED_VIEWS / max(cfg.recipe.epochs, 1), 1.0)
    return float(3 * trained + repeats * (total - trained))


def _taught_work(arm: Arm, total: float) -> float:
    """Of learning from answers, each of which is asked for once per rendering."""
    again: int = arm.config.generations if isinstance(arm.config, BornAgainConfig) else 0
    epochs: int = arm.config.recipe.epochs
    asked = again * total + sum(float(sum(block_flops(teacher.net).values())) for teacher in arm.teachers)
    return 3 * total * (1 + again) + asked * min(FIXED_VIEWS / max(epochs, 1), 1.0)


@dataclass(frozen=True)
class Plan:
    """What fits into the time: which trained arms race, for how many epochs, and what one trial of each should take."""

    arms: list[Arm]
    epochs: int
    seconds: dict[str, float]
    left_out: list[str]


def plan_race(
    net: Net, arms: Sequence[Arm], *, advised: str, samples: int, folds: int, budget: float, seconds_per_mac: float
) -> Plan:
    """Choose trained arms and epochs so that the race fits into `budget` seconds. Frozen arms always take part.

    Arms are taken in their order, the advised one first, as long as all can train for a few epochs; one that does not fit is
    passed over for cheaper ones behind it. What time is left makes the training longer, up to five hundred steps (BiT's rule
    for under 20 000 images). An advised arm always takes part, for a few epochs and on as many folds as there is time for:
    its regret is to be measured. Where not even one fold of it fits, or no arm was advised and none fits, two epochs it is.
    """
    frozen = [arm for arm in arms if arm.frozen]
    trained = sorted((arm for arm in arms if not arm.frozen), key=lambda arm: arm.name != advised)
    if not trained:
        return Plan(frozen, 0, {}, [])
    enough = _enough_epochs(samples, trained)
    rate = seconds_per_mac * _TRAINING * samples
    flops = block_flops(net)

    def seconds(some: Sequence[Arm], epochs: int) -> float:
        each = [work(net, with_epochs(arm, epochs), flops) * epochs * rate for arm in some]
        return sum(each) / len(each) * _units(len(each), folds)

    few = min(_FEW_EPOCHS, enough)
    chosen = [arm for arm in trained if arm.name == advised]
    least = 2
    if chosen:
        one_fold = work(net, with_epochs(chosen[0], few), flops) * rate
        least = max(int(min(few, budget / one_fold)), 2)
    for arm in trained[len(chosen) :]:
        if seconds([*chosen, arm], few) <= budget:
            chosen.append(arm)
    chosen = chosen or [min(trained, key=lambda arm: work(net, with_epochs(arm, few), flops))]
    epochs = max((e for e in range(least, enough + 1) if seconds(chosen, e) <= budget), default=least)
    taking_part = [with_epochs(arm, epochs) for arm in chosen]
    taking_part = [replace(arm, cost=work(net, arm, flops) * epochs) for arm in taking_part]
    names = {arm.name for arm in chosen}
    left_out = [arm.name for arm in trained if arm.name not in names]
    return Plan([*frozen, *taking_part], epochs, {arm.name: arm.cost * rate for arm in taking_part}, left_out)


def _enough_epochs(samples: int, arms: Sequence[Arm]) -> int:
    batch = arms[0].config.recipe.batch_size if arms else 64
    steps = 500 if samples < 20_000 else 10_000
    return min(max(-(-steps * batch // max(samples, 1)), 8), 60)


def _units(arms: int, folds: int) -> float:
    """Trials that successive halving makes of so many arms on so many folds, at least: with time left, two finish."""
    total, left = 0, arms
    for _ in range(folds):
        total += left
        left = -(-left // 2)
    return float(total)


def with_epochs(arm: Arm, epochs: int) -> Arm:
    """The same arm with another length of training."""
    if arm.frozen:
        return arm
    return replace(arm, config=replace(arm.config, recipe=replace(arm.config.recipe, epochs=epochs)))
