"""The advice as records: what summary.json says of it, in `adapt` and in `advise` alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headstart.catalog.strategies import (
    EarlyProbeConfig,
    FullConfig,
    GradualConfig,
    LpftConfig,
    PartialConfig,
    ProbeConfig,
    RetrainConfig,
    SvmConfig,
)
from headstart.metrics.intervals import Interval
from headstart.nets.net import Net
from headstart.strategies.common import layerwise, top_blocks, weighted_blocks
from headstart.strategies.early_probe import depths_of
from headstart.studies.arms import advised_arm
from headstart.studies.measure import Measures
from headstart.studies.race import Arm
from headstart.transferability.experience import calibration, counted
from headstart.transferability.forecast import LEVEL


def records(m: Measures, net: Net, every: Sequence[Arm], advised: Arm, images: int) -> dict[str, Any]:
    """Keys of summary.json: quadrant, calibration, advice, forecast, learning_curve and depth.

    every   all arms there are for the network, which give the strategies of the forecast their names
    images  that the advised arm would learn from
    """
    return {
        "quadrant": _quadrant(m),
        "calibration": calibration(),
        "experience": counted(),
        "advice": _advice(m, net, advised, images),
        "forecast": _forecast(m, every),
        "learning_curve": _learning_curve(m),
        "depth": [{"block": p.block, "accuracy": p.accuracy.mean, "interval": _ends(p.accuracy)} for p in m.curve.points],
    }


def _quadrant(m: Measures) -> dict[str, Any]:
    place = m.advice.place
    return {
        "number": place.number,
        "size": place.size,
        "similarity": place.similarity,
        "x": place.x,
        "y": place.y,
        "spread": {"x": list(m.spread), "y": [place.y, place.y]},
    }


def _advice(m: Measures, net: Net, advised: Arm, images: int) -> dict[str, Any]:
    advice = m.advice
    return {
        "strategy": advice.strategy,
        "arm": advised.name,
        "label": advised.label,
        "description": advised.description,
        "by_table": advice.by_table,
        "settings": settings_of(net, advised, images),
        "expected": _expected(m),
        "sure": None if advice.forecast is None else advice.forecast.sure(advice.strategy),
        "reasons": advice.reasons,
        "change": advice.change,
        "actions": advice.actions,
        "measures": {**advice.measures, "knn": m.knn, "logme": m.logme},
    }


def _forecast(m: Measures, every: Sequence[Arm]) -> list[dict[str, Any]]:
    """Best first; empty where past experiments do not reach."""
    forecast = m.advice.forecast
    if forecast is None:
        return []
    arms = {name: advised_arm(every, name) for name in forecast.strategies}
    return [
        {
            "strategy": name,
            "arm": arms[name].name,
            "label": arms[name].label,
            "accuracy": forecast.expected(name),
            "interval": list(forecast.interval(name)),
            "level": LEVEL,
            "probability_best": forecast.probability_best(name),
        }
        for name in forecast.strategies
    ]


def _expected(m: Measures) -> dict[str, Any] | None:
    forecast, name = m.advice.forecast, m.advice.strategy
    if forecast is None:
        return None
    return {"accuracy": forecast.expected(name), "interval": list(forecast.interval(name)), "level": LEVEL}


def _ends(interval: Interval) -> list[float]:
    return [interval.low, interval.high]


def _learning_curve(m: Measures) -> dict[str, Any] | None:
    if m.growth is None:
        return None
    points: list[dict[str, Any]] = [
        {
            "images": point.images,
            "per_class": point.images / m.evidence.classes,
            "accuracy": point.accuracy.mean,
            "interval": _ends(point.accuracy),
        }
        for point in m.growth.points
    ]
    twice = m.growth.twice
    if twice is None:
        return {"block": m.curve.peak, "points": points, "twice": None, "sentence": "Too few images for a learning curve."}
    last = points[-1]
    more = {
        "images": 2 * last["images"],
        "per_class": 2 * last["per_class"],
        "accuracy": twice.mean,
        "interval": _ends(twice),
        "level": twice.level,
    }
    said = (
        f"Twice the images should bring a linear head on frozen features from {100 * last['accuracy']:.1f} % to "
        f"{100 * twice.mean:.1f} % (80 %: {100 * twice.low:.1f} to {100 * twice.high:.1f})."
    )
    return {"block": m.curve.peak, "points": points, "twice": more, "sentence": said}


def settings_of(net: Net, arm: Arm, images: int) -> dict[str, Any]:
    """What the arm would do, flat: blocks by treatment, learning rates, steps, kind of head."""
    cfg, every = arm.config, weighted_blocks(net)
    if isinstance(cfg, (ProbeConfig, SvmConfig, EarlyProbeConfig)):
        reads = depths_of(net) if isinstance(cfg, EarlyProbeConfig) else [net.last]
        kind = "linear SVM" if isinstance(cfg, SvmConfig) or getattr(cfg, "head", "") == "svm" else "logistic regression"
        return {"frozen": every, "head": kind, "head_reads": reads, "penalties": list(cfg.penalties)}
    recipe = cfg.recipe
    tuned, rates, anew = _treated(net, cfg, every)
    return {
        "frozen": [name for name in every if name not in tuned and name not in anew],
        "fine_tuned": tuned,
        "re_trained": anew,
        "head": "linear, probed first" if isinstance(cfg, LpftConfig) else "linear",
        "head_reads": [net.last],
        "optimizer": recipe.optimizer,
        "lr_head": recipe.lr * (cfg.scale if isinstance(cfg, LpftConfig) else 1.0),
        "lr_fine_tuned": sorted({recipe.lr * rate for rate in rates}, reverse=True),
        "epochs": recipe.epochs,
        "steps": recipe.epochs * -(-images // recipe.batch_size),
        "batch_size": recipe.batch_size,
        "weight_decay": recipe.weight_decay,
        "mirror": recipe.mirror,
    }


def _treated(net: Net, cfg: Any, every: list[str]) -> tuple[list[str], list[float], list[str]]:
    """(fine-tuned blocks, their rates relative to `lr`, blocks drawn anew)."""
    if isinstance(cfg, PartialConfig):
        return top_blocks(net, cfg.top), [cfg.scale], []
    if isinstance(cfg, RetrainConfig):
        anew = every if cfg.top is None else top_blocks(net, cfg.top)
        below = [name for name in every if name not in anew] if cfg.below else []
        return below, [cfg.below] if below else [], anew
    if isinstance(cfg, (FullConfig, GradualConfig)):
        return every, list(layerwise(net, cfg.scale, cfg.decay).values()), []
    return every, [cfg.scale], []
