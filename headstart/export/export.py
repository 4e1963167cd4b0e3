"""`headstart export`: one file with preprocessing inside, written only when it answers as PyTorch does."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.catalog.device import ColumnsConfig, ExportConfig
from headstart.engine import interrupt
from headstart.engine.log import Listener, RunLog
from headstart.engine.model import Model, model_folder
from headstart.errors import BackboneError, ConfigError, DataError, problems
from headstart.export.deployed import Deployed, Facts, facts_of
from headstart.export.extras import need
from headstart.export.onnx import OnnxRunner, write_onnx
from headstart.export.parity import Answers, Loss, Parity, answers, loss, parity
from headstart.export.pictures import Pictures, Wanted, drawn, of_run, pictures
from headstart.export.quantise import quantise
from headstart.export.runners import Answer, of_model
from headstart.export.table_pictures import table_pictures
from headstart.export.task_parity import TaskLoss, TaskParity, task_loss, task_parity
from headstart.export.torch_export import TorchRunner, write_torch_export
from headstart.export.trace import traced
from headstart.files import write_atomic
from headstart.metrics.cost import format_bytes, format_count, format_flops
from headstart.studies.table_run import is_table, of_multitask_run

ONNX, INT8, TORCH = "onnx", "onnx-int8", "torch-export"
NAMES = {ONNX: "model.onnx", INT8: "model-int8.onnx", TORCH: "model.pt2"}
SUFFIXES = {ONNX: ".onnx", INT8: ".onnx", TORCH: ".pt2"}


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how it was checked. Prints as text.

    loss   of int8; None for other files
    notes  what a person should know about the images it was checked on
    """

    path: Path
    facts: Facts
    bytes: int
    parity: Parity | TaskParity
    loss: Loss | TaskLoss | None
    calibrated: int | None
    notes: tuple[str, ...]

    @property
    def summary(self) -> dict[str, Any]:
        """As plain numbers and words."""
        return {
            "command": "export",
            "path": str(self.path),
            "bytes": self.bytes,
            **self.facts.to_json(),
            "parity": self.parity.to_json(),
            "int8": None if self.loss is None else {**self.loss.to_json(), "calibrated": self.calibrated},
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        f = self.facts
        cost = f"{format_bytes(self.bytes)}, {format_count(f.parameters)} parameters, {format_flops(f.flops)} per image"
        lines = [
            f"{self.path}: {f.kind}, {cost}",
            f"in   images: {f.shape}",
            f"     {f.preparation}",
            *(f"{'     ' if number else 'out  '}{line}" for number, line in enumerate(f.answers)),
            str(self.parity),
        ]
        if self.loss is not None:
            lines.append(f"{self.loss}; calibrated on {self.calibrated} other images")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def export(
    config: ExportConfig, *, model: Model | None = None, images: Any = None, listeners: Sequence[Listener] = ()
) -> Exported:
    """Write a model as one file and check it; see `ExportConfig` for the settings.

    model, images  given from Python instead of by name; `config.out` must then be given
    listeners      called with every event, for showing progress

    The file is put in place only when its answers are PyTorch's to rounding (int8: when it loses no more than
    `max_loss`). Raises InputError for what the user can mend: BackboneError names an operator that cannot be exported.
    """
    kind = INT8 if config.quantize else config.to
    out = _check(config, kind, model)
    if kind != TORCH:
        need("onnx", "onnxscript", "onnxruntime")
    log = RunLog(None, tuple(listeners))
    log.event("phase", name="load", text="loading the model")
    given = model if model is not None else Model.load(config.model)
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        shown = _pictures(config, given, images, Path(folder) / "data", log)
        path, made = _Making(config, given, kind, shown, Path(folder), log).run(out)

        def put(place: Path) -> None:
            shutil.copyfile(path, place)

        write_atomic(out, put)
    return replace(made, bytes=out.stat().st_size)


def _check(config: ExportConfig, kind: str, model: Model | None) -> Path:
    """Where to write. Raises ConfigError listing every setting that cannot be."""
    place = model_folder(config.model) if model is None else None
    out = config.out or (place or config.model) / NAMES[kind]
    rules = [
        (config.quantize is None or config.to == "onnx", f"--quantize {config.quantize}: only --to onnx can be quantised"),
        (0 <= config.max_loss < 1, f"--max-loss {config.max_loss} must lie between 0 and 1; 0.01 is one point of accuracy"),
        (config.limit >= 1, f"--limit {config.limit} must be at least 1 image"),
        (config.calibrate >= 1, f"--calibrate {config.calibrate} must be at least 1 image"),
        (
            out.suffix.lower() == SUFFIXES[kind],
            f"--out {out}: files of this kind end in {SUFFIXES[kind]}, by which bench and others know them",
        ),
        (config.out is None or out.absolute().parent.is_dir(), f"--out {out} lies in a folder that does not exist"),
        (not out.is_dir(), f"--out {out} is a folder; name a file"),
        (config.overwrite or not out.is_file(), f"{out} exists already; replace it by --overwrite, or choose another --out"),
    ]
    problems(ConfigError, "this cannot be exported so:", [text for holds, text in rules if not holds])
    return out


def _pictures(config: ExportConfig, model: Model, images: Any, cache: Path, log: RunLog) -> Pictures:
    """The images named, else those of the run that made the model, else noise."""
    wanted = Wanted(model.net.input, model.card.fit, config.limit, config.calibrate, config.seed)
    columns: ColumnsConfig | None = config.columns
    data = images if images is not None else config.images
    questions = model.card.questions
    run = of_multitask_run(config.model) if questions else None
    if data is None and run is not None and run.data is not None:
        data, columns = run.data, run.columns
        log.event("note", text=f"checked on the images of the run that made it, {_told(data)}")
    if data is None and (found := of_run(config.model)) is not None:
        data, columns = found
        log.event("note", text=f"checked on the images of the run that made it, {data}")
    if data is None and config.quantize:
        raise DataError(
            "--quantize int8 needs images to calibrate with, and those of the run are not known any more: give --images, "
            "a folder of images like those the model will see"
        )
    if data is None:
        return drawn(wanted)

    def progress(done: int, total: int) -> None:
        interrupt.check()
        log.tick(done, total, "reading images")

    log.event("phase", name="data", text="reading images")
    cache.mkdir(parents=True, exist_ok=True)
    if questions and is_table(data):
        return table_pictures(data, wanted, questions, run=run, cache=cache, columns=columns, progress=progress)
    return pictures(data, wanted, cache=cache, columns=columns, progress=progress)


def _told(data: Any) -> str:
    return ", ".join(map(str, data.values())) if isinstance(data, dict) else str(data)


@dataclass(frozen=True)
class _Making:
    """One export on its way: everything is made in `folder` first."""

    config: ExportConfig
    model: Model
    kind: str
    shown: Pictures
    folder: Path
    log: RunLog

    def run(self, out: Path) -> tuple[Path, Exported]:
        """The file, not yet in its place, and what is known about it."""
        path = self.folder / NAMES[TORCH if self.kind == TORCH else ONNX]
        facts = facts_of(self.model, TORCH if self.kind == TORCH else ONNX)
        self.log.event("phase", name="export", text="writing the graph")
        deployed = Deployed(self.model, contiguous=self.kind != TORCH)
        write = write_torch_export if self.kind == TORCH else write_onnx
        write(traced(deployed, facts.name), facts, path)
        self.log.event("phase", name="parity", text=f"comparing answers on {len(self.shown.check)} images")
        before = self._ask(of_model(self.model))
        after = self._ask(TorchRunner(path) if self.kind == TORCH else OnnxRunner(path))
        found = self._parity(facts, before, after)
        if not found.holds:
            raise BackboneError(
                f"{facts.name} answers otherwise once it is exported, so the file was not kept: {found}. Some operator is "
                "not written as PyTorch computes it; use the other kind of file (--to), and please report it"
            )
        if self.kind != INT8:
            return path, Exported(out, facts, 0, found, None, None, self.shown.notes)
        return self._quantised(path, out, before)

    def _ask(self, answer: Answer) -> Answers:
        return answers(answer, self.shown.check, self.model.net.input)

    def _parity(self, facts: Facts, before: Answers, after: Answers) -> Parity | TaskParity:
        if facts.tasks:
            return task_parity(facts.tasks, before, after, self.shown.where)
        return parity(before, after, self.shown.where)

    def _loss(self, facts: Facts, before: Answers, after: Answers) -> Loss | TaskLoss:
        if facts.tasks:
            return task_loss(facts.tasks, before, after, self.shown.answers)
        return loss(before, after, self.shown.truth(facts.classes), self.config.seed)

    def _quantised(self, source: Path, out: Path, before: Answers) -> tuple[Path, Exported]:
        path, facts = self.folder / NAMES[INT8], facts_of(self.model, INT8)
        some = self.shown.calibrate
        self.log.event("phase", name="int8", text=f"calibrating int8 on {len(some)} images")
        quantise(source, facts, some, path)
        after = self._ask(OnnxRunner(path))
        cost = self._loss(facts, before, after)
        if cost.lost > self.config.max_loss:
            raise ConfigError(
                f"int8 is not written: {cost}, and --max-loss allows {100 * self.config.max_loss:g}. Calibrate on more "
                "images (--calibrate), allow more (--max-loss), or keep the model as it is (no --quantize)"
            )
        found = self._parity(facts, before, after)
        return path, Exported(out, facts, 0, found, cost, len(some), self.shown.notes)
