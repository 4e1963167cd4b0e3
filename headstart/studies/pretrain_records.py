"""summary.json, card, pictures and words of `headstart pretrain`."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

import headstart
from headstart.catalog.adapt import BackboneConfig
from headstart.catalog.pretrain import PretrainConfig
from headstart.data.pipelines import describe, shown
from headstart.data.prepare import DataSet
from headstart.data.task import Task
from headstart.data.views import View
from headstart.engine.log import read_lines
from headstart.engine.model import Ancestor, Card, saved_card
from headstart.errors import ConfigError
from headstart.files import write_atomic
from headstart.metrics.cost import format_seconds
from headstart.metrics.representation import against_chance
from headstart.nets.net import Net, count_parameters
from headstart.seeding import seed_for
from headstart.stage import Stage
from headstart.studies.outcome import origin_of
from headstart.studies.pretrain_data import Parts
from headstart.studies.pretrain_judged import RANDOM
from headstart.studies.pretrain_method import Method
from headstart.studies.pretrain_verdict import Verdict
from headstart.studies.pretrain_watch import COURSE, Look, best_probe, looks_of, slope, standing
from headstart.studies.records import again, name_of, plain
from headstart.terms.supervised import Supervised

_SHOWN, _RENDERINGS = 6, 7
"""Images that are shown under the views, and how often."""
_WIDTH = 100


@dataclass(frozen=True)
class Found:
    """Everything that the summary tells of.

    source   the network as it was before
    first    what the network was worth before it learned
    seconds  spent on pretraining, and of that on looking
    """

    config: PretrainConfig
    network: BackboneConfig
    data: DataSet
    parts: Parts
    method: Method
    source: Net
    given: tuple[str, ...] = ()
    first: Mapping[str, float] = field(default_factory=dict)
    stages: Sequence[Mapping[str, Any]] = ()
    views: Mapping[str, View] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


def chance_of(stage: Stage) -> float | None:
    """What the stage's losses add up to for who guesses; None where that is not known of all of them."""
    found = []
    for term in stage.terms.values():
        chance = getattr(term, "chance", None)
        if chance is None and isinstance(term, Supervised) and isinstance(stage.data, Task):
            chance = _entropy(stage.data)
        if chance is None:
            return None
        found.append(float(chance))
    return sum(found) if found else None


def _entropy(task: Task) -> float:
    """Cross-entropy of who knows how frequent classes are and nothing else."""
    shares = task.counts[task.counts > 0] / max(int(task.counts.sum()), 1)
    return float(-(shares * np.log(shares)).sum())


def card_of(f: Found) -> Card:
    """A card without a head: a backbone that answers nothing yet."""
    saved = saved_card(f.network.backbone) if f.config.start == "trained" else None
    origin = saved.ancestors if saved is not None else (_origin(f),)
    this = Ancestor(
        Path(f.config.out).name,
        f"pretrained by {f.method.name}",
        f.data.inspection.where,
        f.data.fingerprint,
        {"images": len(f.parts.pool), "epochs": f.method.school.epochs, "start": f.config.start, "seed": f.config.seed},
    )
    return Card("", (), f.config.images.fit, (*origin, this), headstart.__version__)


def _origin(f: Found) -> Ancestor:
    if f.config.start == "random":
        return Ancestor(name_of(f.network, f.source), "weights drawn at random", "no data", "")
    return origin_of(f)


def summary_of(f: Found, log: Path | None, seconds: Mapping[str, float], verdict: Verdict) -> dict[str, Any]:
    """The content of summary.json; `log` is the run's."""
    lines = list(read_lines(log))
    looks = looks_of(lines)
    summary = plain(
        {
            "command": "pretrain",
            "data": _data(f),
            "backbone": {
                "name": f.network.backbone or name_of(f.network, f.source),
                "start": f.config.start,
                "parameters": count_parameters(f.source.blocks),
                "input_size": f.source.input.size,
                "blocks": f.source.block_names,
            },
            "method": _method(f),
            "start": dict(f.first),
            "stages": list(f.stages),
            "losses": [_epoch(line) for line in lines if line.get("event") == "epoch" and "network" not in line],
            "looks": [_look(look) for look in looks],
            "end": _end(looks, f.first),
            "warnings": _warnings(lines, standing(looks)),
            "verdict": {"why": verdict.why, **verdict.record},
            "pretraining_seconds": round(f.seconds.get("pretraining", 0.0), 2),
            "looking_seconds": round(f.seconds.get("looking", 0.0), 2),
            "seconds_by_phase": {name: round(value, 2) for name, value in seconds.items()},
            "saved": str(f.config.out),
            "reproduce": again("pretrain", f.config, f.given),
            "version": headstart.__version__,
        }
    )
    summary["sentences"] = list(sentences(summary))
    return dict(summary)


def _data(f: Found) -> dict[str, Any]:
    found, parts = f.data.inspection, f.parts
    counted = {"pool": parts.pool, "labelled": parts.known, "held": parts.held, "test": parts.test}
    return {
        "path": found.where,
        "fingerprint": f.data.fingerprint,
        "num_images": found.num_images,
        "num_classes": len(f.data.classes),
        "set_aside": [{"path": bad.path, "reason": bad.reason} for bad in found.set_aside],
        "parts": {name: 0 if task is None else len(task) for name, task in counted.items()},
    }


def _method(f: Found) -> dict[str, Any]:
    about = f.method.about
    return {
        "name": f.method.name,
        **{name: getattr(about, name) for name in ("family", "summary", "paper", "passes", "limits")},
        "settings": asdict(f.method.config),
        "labels": f.method.needs_labels,
        "views": {name: _text(view) for name, view in f.views.items()},
        "renderings": _shown(f, "renderings"),
        "view_passes": _shown(f, "passes"),
    }


def _shown(f: Found, what: str) -> int:
    """Over all stages: what every image was shown in an epoch, times epochs and images."""
    each = [(one.get("epochs") or 0) * (one.get(what) or 0) for one in f.stages]
    return round(sum(each) * len(f.parts.pool))


def _text(view: View) -> str:
    """A view as text; of one that holds steps without text their names."""
    try:
        return describe(view)
    except ConfigError:
        return " ".join(type(op).__name__.lower() for op in view.ops)


def _epoch(line: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: line.get(name) for name in ("stage", "epoch", "loss", "lr")}
    return {**kept, "losses": line.get("losses", {})} if len(line.get("losses", {})) > 1 else kept


def _look(look: Look) -> dict[str, Any]:
    chance = against_chance(look.loss, look.chance)
    about = {"stage": look.stage, "epoch": look.epoch, "epochs": look.epochs, "seconds": look.seconds}
    return {**about, "loss": look.loss, "chance": look.chance, "of_chance": chance, **look.numbers}


def _end(looks: Sequence[Look], first: Mapping[str, float]) -> dict[str, Any]:
    """The last look in short: the last epoch's, not the best one's, which would have been chosen by what judges it."""
    if not looks:
        return {}
    now, best = looks[-1], best_probe(looks[-1].numbers)
    gain = slope([look for look in looks if look.stage == now.stage])
    before = best_probe(first)
    return {
        **_look(now),
        "best_block": best and best[0],
        "best_probe": best and best[1],
        "best_block_before": before and before[0],
        "best_probe_before": before and before[1],
        "knn_per_minute": gain,
    }


def _warnings(lines: Sequence[Mapping[str, Any]], wrong: Collection[tuple[str, str]]) -> list[str]:
    """What was warned of; of what was said about a stage's course (`wrong`) only what still held at its end."""
    said = [line for line in lines if line.get("event") == "warning"]
    stays = [line for line in said if line.get("key") not in COURSE or (line.get("stage"), line.get("key")) in wrong]
    return list(dict.fromkeys(str(line.get("text")) for line in stays))


def sentences(summary: Mapping[str, Any]) -> Iterator[str]:
    """What was found, in words."""
    end, data = summary["end"], summary["data"]
    drawn = ", all its weights drawn anew," if summary["backbone"]["start"] == "random" else ""
    yield (
        f"{summary['backbone']['name']}{drawn} learned from {data['parts']['pool']} images by {summary['method']['name']} "
        f"in {format_seconds(round(summary['pretraining_seconds'], 1))}."
    )
    if end.get("of_chance") is not None:
        yield f"Its loss ended at {end['loss']:.3f}, {end['of_chance']:.0%} of what guessing gives."
    elif end:
        yield f"Its loss ended at {end['loss']:.3f}."
    if end.get("best_probe") is not None:
        before = summary["start"].get("knn")
        yield (
            f"On {data['parts']['held']} held-out images k-NN is right on {end['knn']:.1%}"
            + (f" ({before:.1%} before)" if before is not None else "")
            + f", a linear probe on {end['best_probe']:.1%} at best (block {end['best_block']}"
            + (f"; {end['best_probe_before']:.1%} before)." if end.get("best_probe_before") is not None else ").")
        )
    yield from _verdict_in_words(summary["verdict"])


def _verdict_in_words(verdict: Mapping[str, Any]) -> Iterator[str]:
    if verdict["why"]:
        yield f"{verdict['why'].capitalize()}."
        return
    shares = {one["images"]: one["share"] for one in verdict["shares"]}
    against = {RANDOM: {"probe": "random weights", "fine_tune": "training from scratch"}}
    for gap in verdict["differences"]:
        other = against.get(gap["than"], {}).get(gap["kind"]) or _label(verdict, gap["than"])
        way = "probed" if gap["kind"] == "probe" else "fine-tuned"
        better = "better than" if gap["mean"] > 0 else "worse than"
        where = f"With {shares[gap['images']]:.0%} of the labels ({gap['images']}), {way}"
        span = f"{gap['low'] * 100:+.1f} to {gap['high'] * 100:+.1f} points"
        if gap["decided"]:
            yield f"{where}, it is {abs(gap['mean']) * 100:.1f} points {better} {other} ({span})."
        else:
            yield f"{where}, whether it is better than {other} is not decided ({span})."


def _label(verdict: Mapping[str, Any], name: str) -> str:
    return next((str(one["label"]) for one in verdict["networks"] if one["name"] == name), name)


def as_text(summary: Mapping[str, Any]) -> str:
    """The run as a plain text."""
    lines = [*_table(summary["verdict"]), ""] if not summary["verdict"]["why"] else []
    for text in summary["sentences"]:
        lines += textwrap.wrap(text, _WIDTH)
    lines += [""] if summary["warnings"] else []
    for text in summary["warnings"]:
        lines += textwrap.wrap(f"warning: {text}", _WIDTH)
    lines += ["", f"use it: headstart adapt DATA --backbone {summary['saved']}"]
    return "\n".join(lines)


def _table(verdict: Mapping[str, Any]) -> list[str]:
    """Accuracy on the test images: a row per share of labels and network."""
    cells = {(one["images"], one["kind"], one["network"]): one for one in verdict["cells"]}
    names = [one["name"] for one in verdict["networks"]]
    width = max(len(_label(verdict, name)) for name in names)
    rows = [f"{'labels':<14} {'network':<{width}}  {'probed, best block':<22} {'fine-tuned':<22}"]
    for share in verdict["shares"]:
        for name in names:
            told = f"{share['share']:.0%} ({share['images']})"
            found = [_cell(cells.get((share["images"], kind, name))) for kind in ("probe", "fine_tune")]
            mark = " (from scratch)" if name == RANDOM and found[1] != "-" else ""
            rows.append(f"{told:<14} {_label(verdict, name):<{width}}  {found[0]:<22} {found[1]}{mark}")
    out = [f"left out: {text}" for text in left_out(verdict["left_out"])]
    out += [f"not compared with {one['name']}: {one['why']}" for one in verdict["absent"]]
    if (spent := verdict["seconds"]) > (budget := verdict["budget"]):
        out.append(
            f"this took {format_seconds(round(spent))} of {format_seconds(round(budget, 3))}: the first is always done"
        )
    return [*rows, *out]


def left_out(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What was left out and why, draws of the same thing together."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        unit, _, draw = str(row["unit"]).rpartition(", draw ")
        found.setdefault((unit, str(row["why"])), []).append(draw)
    for (unit, why), draws in found.items():
        yield f"{unit}, draw{'s' if len(draws) > 1 else ''} {', '.join(draws)}: {why}"


def _cell(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "-"
    low, high = one["interval"]
    return f"{one['accuracy']:.3f} ({low:.3f} to {high:.3f})"


def write_pictures(f: Found, folder: Path) -> None:
    """Some images under each view, one picture `[rows, columns, 3]` uint8 per view, in report_data/renderings.npz."""
    store, rows = f.parts.pool.store, f.parts.pool.rows
    changing = {name: view.whole for name, view in f.views.items() if view.ops}
    if not store.is_image or not changing:
        return
    few = rows[np.unique(np.linspace(0, len(rows) - 1, _SHOWN).round().astype(np.int64))]
    images = store.gather(few)
    pictures = {
        name: shown(replace(view, draws=None), images, seed=seed_for(f.config.seed, "shown", name), draws=_RENDERINGS)
        for name, view in changing.items()
    }

    def write(path: Path) -> None:
        with path.open("wb") as file:
            _save(file, pictures)

    (folder / "report_data").mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "report_data" / "renderings.npz", write)


def _save(file: IO[bytes], pictures: Mapping[str, Any]) -> None:
    np.savez_compressed(file, **pictures)  # type: ignore[arg-type]
