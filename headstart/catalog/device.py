"""Settings of the commands that put a model on a device: `export` and `bench`; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class ColumnsConfig:
    """Which columns of a CSV manifest hold what; none: found by their name or content."""

    path_column: str | None = None
    """column of a CSV manifest that names the image file; none: found by its name or content"""
    label_column: str | None = None
    """column that holds the label"""
    group_column: str | None = None
    """column whose equal values (a patient, a video) never go to different splits"""
    split_column: str | None = None
    """column that holds train, val or test"""


@dataclass(frozen=True)
class ExportConfig:
    """Write a saved model as one file that runs without headstart, and check that it answers as PyTorch does."""

    model: Path
    """folder of a saved model, or of the run that made it"""
    to: Literal["onnx", "torch-export"] = "onnx"
    """kind of file: onnx for ONNX Runtime and others, torch-export for PyTorch alone (.pt2)"""
    quantize: Literal["int8"] | None = None
    """int8: weights and activations as 8-bit numbers, a quarter of the size; --to onnx only, needs images"""
    images: str | None = None
    """images to check the answers on, and to calibrate int8 with: a folder, a CSV manifest or an .npz file; none: those of
    the run that made the model, where they still are"""
    columns: ColumnsConfig = ColumnsConfig()
    max_loss: float = 0.01
    """share of accuracy that int8 may lose; what loses more is not written"""
    out: Path | None = None
    """file to write; none: model.onnx, model-int8.onnx or model.pt2 beside the model's weights"""
    limit: int = 1000
    """how many images to check the answers on, at most"""
    calibrate: int = 256
    """how many other images to calibrate int8 with, at most"""
    seed: int = 0
    """which images are drawn, where there are more; give the run's to set aside the same test images"""
    overwrite: bool = False
    """replace a file that is there already"""
    json: bool = False
    """print the result as JSON and nothing else"""


@dataclass(frozen=True)
class BenchConfig:
    """Measure size, latency and throughput of models on this machine's processor, and their accuracy."""

    models: tuple[Path, ...]
    """folders of saved models or runs, and .onnx and .pt2 files that headstart export wrote; the first is what the
    answers of the others are compared with"""
    out: Path = Path("runs/bench")
    """run folder to write"""
    images: str | None = None
    """labelled images to measure accuracy on (their test part): a folder, a CSV manifest or an .npz file; none: only
    costs are measured"""
    columns: ColumnsConfig = ColumnsConfig()
    threads: int | None = None
    """threads each model may use; none: one per core"""
    seconds: float = 20.0
    """time for the measurements of latency and throughput, all models together; those of accuracy come on top"""
    limit: int = 10_000
    """how many images to measure accuracy on, at most"""
    seed: int = 0
    """which images are drawn, where there are more; give the run's to set aside the same test images"""
    overwrite: bool = False
    """replace a run that is in the folder already"""
    json: bool = False
    """print the summary as JSON and nothing else"""
