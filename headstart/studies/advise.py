"""The cheap part alone: look at data through a frozen network, say how to adapt it, what to expect, and how sure that is."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import headstart
from headstart.catalog.advise import AdviseConfig
from headstart.catalog.durations import parse_seconds
from headstart.data.sources import Source
from headstart.engine import distributed, interrupt
from headstart.engine.features import FeatureBank
from headstart.engine.log import Listener
from headstart.engine.run_folder import RunFolder, open_run
from headstart.engine.source_statistics import source_statistics, statistics_from_data
from headstart.errors import DataError
from headstart.nets.cost import block_flops
from headstart.nets.net import Net, count_parameters
from headstart.seeding import seed_for
from headstart.studies.advised import records
from headstart.studies.arms import advised_arm, all_arms, base_recipe, for_comparing, plan_race
from headstart.studies.checks import check_apart, check_settings, device_of
from headstart.studies.measure import Measures
from headstart.studies.opening import Opening, opened
from headstart.studies.records import again, data_record, name_of, plain
from headstart.studies.result import JobResult
from headstart.studies.splitting import Splits
from headstart.transferability.similarity import Similarity, similarity


@dataclass(frozen=True)
class AdviseResult(JobResult):
    """What `headstart advise` found. Prints as text."""

    @property
    def strategy(self) -> str:
        """The arm to try, a name that `--strategies` of adapt takes."""
        return str(self.summary["advice"]["arm"])

    def __str__(self) -> str:
        return as_text(self.summary)


def advise(
    config: AdviseConfig,
    *,
    data: Any = None,
    backbone: torch.nn.Module | Net | None = None,
    listeners: Sequence[Listener] = (),
) -> AdviseResult:
    """Advise how to adapt a network to data; see `AdviseConfig` for the settings. Nothing is trained but linear heads.

    data, backbone  given from Python instead of by name: arrays, a Dataset; an nn.Module
    listeners       called with every event, for showing progress

    The images set aside for testing are split off as `adapt` does it with the same settings, and are not looked at.

    Raises InputError for what the user can mend, RunError about the folder.
    """
    budget, follow = parse_seconds(config.budget), config.followed()
    check_settings(follow)
    check_apart(config, None if data is not None else Path(config.data))
    if config.source is not None and not Path(config.source).exists():
        raise DataError(f"--source {config.source} does not exist; give images like those the network was trained on")
    distributed.start(device_of(config.device))
    settings = {"command": "advise", **asdict(config)}
    with open_run(config.out, settings, overwrite=config.overwrite) as folder:
        given = tuple(name for name, value in (("data", data), ("backbone", backbone)) if value is not None)
        opening = Opening(folder, config.network, config.images, config.folds, config.seed, tuple(listeners))
        return _look(config, opening, budget, given, opened(config.data if data is None else data, config.images), backbone)


def _look(
    config: AdviseConfig,
    opening: Opening,
    budget: float,
    given: tuple[str, ...],
    source: Source,
    backbone: torch.nn.Module | Net | None,
) -> AdviseResult:
    began = time.monotonic()
    with opening.phase("network", "loading the network"):
        net = opening.load(source, backbone)
    net.to(device_of(config.device))
    with opening.phase("data", "reading and inspecting the images"):
        data, splits = opening.read(source, net)
    opening.begin(net, data)
    bank = opening.bank()
    measured = opening.measure(net, splits, bank)
    similar = _similarity(config, opening, net, splits, bank)
    summary = {
        "command": "advise",
        "data": data_record(data, splits.train, splits.test),
        "backbone": {
            "name": name_of(config.network, net),
            "parameters": count_parameters(net.blocks),
            "multiply_adds": sum(block_flops(net).values()),
            "input_size": net.input.size,
            "blocks": net.block_names,
        },
        **_advice(config, net, splits, measured, budget),
        "measures": {
            "knn": measured.knn,
            "logme": measured.logme,
            "pixel_baseline": measured.pixel_baseline,
            "similarity": None if similar is None else similar.to_json(),
        },
        "classes": list(data.classes),
        "seconds_by_phase": {name: round(value, 2) for name, value in opening.seconds.items()},
        "seconds": round(time.monotonic() - began, 2),
        "next": again("adapt", config.followed(), given),
        "reproduce": again("advise", config, given),
        "version": headstart.__version__,
    }
    result = AdviseResult(opening.folder.path, plain(summary))
    distributed.first(lambda: _save(opening.folder, result.summary))
    opening.log.event("phase", name="done", text="done")
    return result


def _similarity(config: AdviseConfig, opening: Opening, net: Net, splits: Splits, bank: FeatureBank) -> Similarity | None:
    """Distances to what the network learned from: to the images named as such, else to the statistics that came with it."""
    own = source_statistics(net, config.network.backbone) if config.source is None else None
    if own is None and config.source is None:
        return None
    with opening.phase("similarity", "comparing with what the network was trained on"):
        look = None
        if config.source is not None:

            def progress(done: int, total: int) -> None:
                interrupt.check()
                opening.log.tick(done, total, "reading images of the source")

            cache = opening.folder.work / "source"
            look = statistics_from_data(net, config.source, cache=cache, fit=config.images.fit, progress=progress)
        statistics = own if look is None else look.statistics
        assert statistics is not None
        features = bank.get(net, splits.train.store, splits.train.rows, [net.last])[net.last]
        return similarity(
            features,
            splits.train.targets,
            splits.train.num_classes,
            statistics,
            seed=seed_for(config.seed, "similarity"),
            source_features=None if look is None else look.features,
        )


def _advice(config: AdviseConfig, net: Net, splits: Splits, measured: Measures, budget: float) -> dict[str, Any]:
    """The records of the advice, and what following it would cost."""
    recipe = base_recipe(net, len(splits.train), mirror=config.mirror, class_weights=config.class_weights)
    every = all_arms(net, recipe, seed=config.seed)
    arm = advised_arm(every, measured.advice.strategy)
    plan = plan_race(
        net,
        [arm],
        advised=arm.name,
        samples=len(splits.folds[0][0]),
        folds=len(splits.folds),
        budget=for_comparing(budget, len(splits.folds)),
        seconds_per_mac=measured.seconds_per_mac,
    )
    found = records(measured, net, every, plan.arms[0], len(splits.train))
    each = plan.seconds.get(arm.name)
    found["advice"]["seconds"] = None if each is None else round(each * (len(splits.folds) + 1), 1)
    return found


def _save(folder: RunFolder, summary: Mapping[str, Any]) -> None:
    folder.write("summary.json", summary)
    folder.clean()


def as_text(summary: Mapping[str, Any]) -> str:
    """The advice for a terminal."""
    data, quadrant, advice = summary["data"], summary["quadrant"], summary["advice"]
    lines = [
        f"{data['num_images']:,} images, {data['num_classes']} classes, through the frozen {summary['backbone']['name']}",
        f"quadrant {quadrant['number']}: {quadrant['size']} data, {quadrant['similarity']} similarity to the source",
        "",
        f"advice: {advice['arm']} ({advice['description']})",
        *_wrapped(_settings(advice)),
        *_expected(summary),
    ]
    curve = summary["learning_curve"]
    parts = {
        "why": advice["reasons"],
        "what would change it": advice["change"],
        "what else you can do": advice["actions"],
        "more labels": [] if curve is None else [curve["sentence"]],
        "distance to the source (the advice does not rest on it)": _distances(summary["measures"]["similarity"]),
    }
    for title, said in parts.items():
        if said:
            lines += ["", f"{title}:", *(line for sentence in said for line in _bullet(sentence))]
    lines += ["", f"{summary['seconds']:.0f} s; nothing was trained but linear heads. To follow the advice:"]
    return "\n".join([*lines, f"  {summary['next']}"])


def _settings(advice: Mapping[str, Any]) -> str:
    """What the arm would do, in one sentence."""
    s = advice["settings"]
    if "steps" not in s:
        reads = "the last block" if len(s["head_reads"]) == 1 else f"{len(s['head_reads'])} blocks side by side"
        return f"all {len(s['frozen'])} blocks frozen; head: {s['head']} on {reads}, its penalty cross-validated"
    treated = {"frozen": "frozen", "fine_tuned": "fine-tuned", "re_trained": "re-trained"}
    blocks = [f"{len(s[name])} blocks {word}" for name, word in treated.items() if s[name]]
    rates = sorted({s["lr_head"], *s["lr_fine_tuned"]}, reverse=True)
    told = " to ".join(f"{rate:.2g}" for rate in ([rates[0], rates[-1]] if len(rates) > 1 else rates))
    about = "" if advice["seconds"] is None else f", about {_duration(advice['seconds'])} with verification on every fold"
    return (
        f"{', '.join(blocks)}; head: {s['head']}; {s['optimizer']}, learning rate {told}; {s['steps']:,} steps "
        f"({s['epochs']} epochs in batches of {s['batch_size']}){about}"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _expected(summary: Mapping[str, Any]) -> list[str]:
    expected, sure = summary["advice"]["expected"], summary["advice"]["sure"]
    if expected is None:
        return _wrapped("no forecast: past experiments do not reach here, so the classic table decides")
    low, high = expected["interval"]
    lines = [
        "",
        f"expected accuracy {100 * expected['accuracy']:.1f} % ({100 * expected['level']:.0f} %: {100 * low:.1f} to "
        f"{100 * high:.1f}); {sure:.0%} sure that nothing else is more than a point better",
        "",
        f"{'expected of':<24} {'accuracy':>8}  {'80 % interval':<16} {'best':>5}",
    ]
    for row in summary["forecast"]:
        low, high = row["interval"]
        mark = " +" if row["arm"] == summary["advice"]["arm"] else ""
        lines.append(
            f"{row['arm'] + mark:<24} {row['accuracy']:>8.3f}  {low:.3f} to {high:.3f}   {row['probability_best']:>5.0%}"
        )
    return [*lines, f"(+ advised; learned from {summary['experience']})"]


def _distances(similar: Mapping[str, Any] | None) -> list[str]:
    found = [] if similar is None else [row["meaning"] for row in similar.values() if row is not None]
    return [f"{text[0].upper()}{text[1:]}." for text in found]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="  ", subsequent_indent="  ")


def _bullet(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="  - ", subsequent_indent="    ")
