"""headstart: reuse what a neural network already knows.

    import headstart
    result = headstart.adapt("photos", out="runs/photos", budget="10m")
    print(result)
    model = headstart.Model.load("runs/photos/model")
    print(model.predict(["new.jpg"]))

Names are loaded when they are first used, so that `import headstart` (and `headstart --help`) needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart.api import (
        adapt,
        advise,
        bench,
        compare,
        distill,
        extend,
        figure,
        fit,
        multitask,
        pretrain,
        read,
        select,
    )
    from headstart.api_studies import study_augmentations, study_data_size, study_layers, study_scaling
    from headstart.balance.base import Balance
    from headstart.balance.fixed import Fixed
    from headstart.catalog.adapt import AdaptConfig, BackboneConfig, DataConfig, ReadingConfig
    from headstart.catalog.advise import AdviseConfig
    from headstart.catalog.compare import CompareConfig
    from headstart.catalog.data_size import DataSizeConfig
    from headstart.catalog.device import BenchConfig, ColumnsConfig, ExportConfig
    from headstart.catalog.distill import DistillJobConfig
    from headstart.catalog.extend import ExtendConfig
    from headstart.catalog.multitask import MultitaskConfig, TableConfig
    from headstart.catalog.pretrain import PretrainConfig
    from headstart.catalog.pretraining import PretrainMethod, Schooling
    from headstart.catalog.select import Candidate, SelectConfig
    from headstart.catalog.short_runs import AugmentationsConfig, ScalingConfig
    from headstart.catalog.strategies import (
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
    from headstart.catalog.study import ArchitectureConfig, LayersConfig
    from headstart.data.inspection import Inspection
    from headstart.data.prepare import DataSet, prepare
    from headstart.data.prepare import inspect_data as inspect
    from headstart.data.sources import Source, open_source
    from headstart.data.task import Task, task_of
    from headstart.data.views import PLAIN, View, standard_view
    from headstart.engine.fit import FitResult, Machine
    from headstart.engine.model import Ancestor, Card, Model
    from headstart.engine.past import Learned, Past
    from headstart.engine.predictions import Prediction, Predictions
    from headstart.engine.run import Drive, memo
    from headstart.engine.solve import SolveResult, solve
    from headstart.errors import (
        BackboneError,
        CheckpointError,
        ConfigError,
        DataError,
        DiskFull,
        FrozenChanged,
        HeadstartError,
        InputError,
        Interrupted,
        ModelFileError,
        NonFiniteLoss,
        RunError,
        RunFolderInUse,
        RunFolderMismatch,
        TrainingError,
    )
    from headstart.export.bench import BenchResult
    from headstart.export.calls import export_model
    from headstart.export.export import Exported
    from headstart.nets.build import build
    from headstart.nets.net import InputSpec, Net
    from headstart.seeding import seed_for
    from headstart.stage import Adapt, Budget, Evaluate, Optimizer, Solve, Stage, Train
    from headstart.strategies import STRATEGIES
    from headstart.strategies.continual import CONTINUAL
    from headstart.strategies.pretrain import PRETRAIN
    from headstart.studies.adapt import AdaptResult
    from headstart.studies.advise import AdviseResult
    from headstart.studies.compare import CompareResult
    from headstart.studies.data_size import DataSizeResult
    from headstart.studies.distill import DistillResult
    from headstart.studies.extend import ExtendResult
    from headstart.studies.layers import LayersResult
    from headstart.studies.multitask import MultitaskResult
    from headstart.studies.pretrain import PretrainResult
    from headstart.studies.select import SelectResult
    from headstart.studies.short_studies import ShortRunsResult
    from headstart.terms.base import Term
    from headstart.terms.supervised import Supervised

__version__ = "0.1.0"

_HOMES: dict[str, tuple[str, ...]] = {
    "headstart.api": (
        "adapt",
        "advise",
        "bench",
        "compare",
        "distill",
        "extend",
        "figure",
        "fit",
        "multitask",
        "pretrain",
        "read",
        "select",
    ),
    "headstart.api_studies": ("study_augmentations", "study_data_size", "study_layers", "study_scaling"),
    "headstart.balance.base": ("Balance",),
    "headstart.balance.fixed": ("Fixed",),
    "headstart.catalog.adapt": ("AdaptConfig", "BackboneConfig", "DataConfig", "ReadingConfig"),
    "headstart.catalog.advise": ("AdviseConfig",),
    "headstart.catalog.compare": ("CompareConfig",),
    "headstart.catalog.data_size": ("DataSizeConfig",),
    "headstart.catalog.device": ("BenchConfig", "ColumnsConfig", "ExportConfig"),
    "headstart.catalog.distill": ("DistillJobConfig",),
    "headstart.catalog.extend": ("ExtendConfig",),
    "headstart.catalog.multitask": ("MultitaskConfig", "TableConfig"),
    "headstart.catalog.pretrain": ("PretrainConfig",),
    "headstart.catalog.pretraining": ("PretrainMethod", "Schooling"),
    "headstart.catalog.short_runs": ("AugmentationsConfig", "ScalingConfig"),
    "headstart.catalog.select": ("Candidate", "SelectConfig"),
    "headstart.catalog.strategies": (
        "EarlyProbeConfig",
        "FullConfig",
        "GradualConfig",
        "LpftConfig",
        "PartialConfig",
        "ProbeConfig",
        "Recipe",
        "RetrainConfig",
        "SvmConfig",
    ),
    "headstart.catalog.study": ("ArchitectureConfig", "LayersConfig"),
    "headstart.data.inspection": ("Inspection",),
    "headstart.data.prepare": ("DataSet", "prepare"),
    "headstart.data.sources": ("Source", "open_source"),
    "headstart.data.task": ("Task", "task_of"),
    "headstart.data.views": ("PLAIN", "View", "standard_view"),
    "headstart.engine.fit": ("FitResult", "Machine"),
    "headstart.engine.model": ("Ancestor", "Card", "Model"),
    "headstart.engine.past": ("Learned", "Past"),
    "headstart.engine.predictions": ("Prediction", "Predictions"),
    "headstart.engine.run": ("Drive", "memo"),
    "headstart.engine.solve": ("SolveResult", "solve"),
    "headstart.errors": (
        "BackboneError",
        "CheckpointError",
        "ConfigError",
        "DataError",
        "DiskFull",
        "FrozenChanged",
        "HeadstartError",
        "InputError",
        "Interrupted",
        "ModelFileError",
        "NonFiniteLoss",
        "RunError",
        "RunFolderInUse",
        "RunFolderMismatch",
        "TrainingError",
    ),
    "headstart.export.bench": ("BenchResult",),
    "headstart.export.calls": ("export_model",),
    "headstart.export.export": ("Exported",),
    "headstart.nets.build": ("build",),
    "headstart.nets.net": ("InputSpec", "Net"),
    "headstart.seeding": ("seed_for",),
    "headstart.stage": ("Adapt", "Budget", "Evaluate", "Optimizer", "Solve", "Stage", "Train"),
    "headstart.strategies": ("STRATEGIES",),
    "headstart.strategies.continual": ("CONTINUAL",),
    "headstart.strategies.pretrain": ("PRETRAIN",),
    "headstart.studies.adapt": ("AdaptResult",),
    "headstart.studies.advise": ("AdviseResult",),
    "headstart.studies.compare": ("CompareResult",),
    "headstart.studies.data_size": ("DataSizeResult",),
    "headstart.studies.distill": ("DistillResult",),
    "headstart.studies.extend": ("ExtendResult",),
    "headstart.studies.multitask": ("MultitaskResult",),
    "headstart.studies.pretrain": ("PretrainResult",),
    "headstart.studies.layers": ("LayersResult",),
    "headstart.studies.short_studies": ("ShortRunsResult",),
    "headstart.studies.select": ("SelectResult",),
    "headstart.terms.base": ("Term",),
    "headstart.terms.supervised": ("Supervised",),
}
"""Module -> the public names that live there under the same name."""

_RENAMED = {"inspect": ("headstart.data.prepare", "inspect_data")}
"""Public name -> (module, its name there)."""

_WHERE = {**{name: (home, name) for home, names in _HOMES.items() for name in names}, **_RENAMED}

__all__ = [
    "CONTINUAL",
    "PLAIN",
    "PRETRAIN",
    "STRATEGIES",
    "Adapt",
    "AdaptConfig",
    "AdaptResult",
    "AdviseConfig",
    "AdviseResult",
    "Ancestor",
    "ArchitectureConfig",
    "AugmentationsConfig",
    "BackboneConfig",
    "BackboneError",
    "Balance",
    "BenchConfig",
    "BenchResult",
    "Budget",
    "Candidate",
    "Card",
    "CheckpointError",
    "ColumnsConfig",
    "CompareConfig",
    "CompareResult",
    "ConfigError",
    "DataConfig",
    "DataError",
    "DataSet",
    "DataSizeConfig",
    "DataSizeResult",
    "DiskFull",
    "DistillJobConfig",
    "DistillResult",
    "Drive",
    "EarlyProbeConfig",
    "Evaluate",
    "ExportConfig",
    "Exported",
    "ExtendConfig",
    "ExtendResult",
    "FitResult",
    "Fixed",
    "FrozenChanged",
    "FullConfig",
    "GradualConfig",
    "HeadstartError",
    "InputError",
    "InputSpec",
    "Inspection",
    "Interrupted",
    "LayersConfig",
    "LayersResult",
    "Learned",
    "LpftConfig",
    "Machine",
    "Model",
    "ModelFileError",
    "MultitaskConfig",
    "MultitaskResult",
    "Net",
    "NonFiniteLoss",
    "Optimizer",
    "PartialConfig",
    "Past",
    "Prediction",
    "Predictions",
    "PretrainConfig",
    "PretrainMethod",
    "PretrainResult",
    "ProbeConfig",
    "ReadingConfig",
    "Recipe",
    "RetrainConfig",
    "RunError",
    "RunFolderInUse",
    "RunFolderMismatch",
    "ScalingConfig",
    "Schooling",
    "SelectConfig",
    "SelectResult",
    "ShortRunsResult",
    "Solve",
    "SolveResult",
    "Source",
    "Stage",
    "Supervised",
    "SvmConfig",
    "TableConfig",
    "Task",
    "Term",
    "Train",
    "TrainingError",
    "View",
    "__version__",
    "adapt",
    "advise",
    "bench",
    "build",
    "compare",
    "distill",
    "export_model",
    "extend",
    "figure",
    "fit",
    "inspect",
    "memo",
    "multitask",
    "open_source",
    "prepare",
    "pretrain",
    "read",
    "seed_for",
    "select",
    "solve",
    "standard_view",
    "study_augmentations",
    "study_data_size",
    "study_layers",
    "study_scaling",
    "task_of",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, there = _WHERE[name]
    value = globals()[name] = getattr(import_module(home), there)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
