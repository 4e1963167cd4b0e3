"""Every job as the command line runs it: carried out with a polite Ctrl-C, and its page rendered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from torch import nn

from headstart.catalog.adapt import AdaptConfig
from headstart.catalog.advise import AdviseConfig
from headstart.catalog.compare import CompareConfig
from headstart.catalog.data_size import DataSizeConfig
from headstart.catalog.device import BenchConfig
from headstart.catalog.distill import DistillJobConfig
from headstart.catalog.extend import ExtendConfig
from headstart.catalog.multitask import MultitaskConfig
from headstart.catalog.pretrain import PretrainConfig
from headstart.catalog.pretraining import PretrainMethod
from headstart.catalog.select import SelectConfig
from headstart.catalog.short_runs import AugmentationsConfig, ScalingConfig
from headstart.catalog.study import LayersConfig
from headstart.engine import distributed, interrupt
from headstart.engine.log import Listener
from headstart.export.bench import BenchResult
from headstart.export.bench import bench as bench_models
from headstart.nets.net import Net
from headstart.report import render
from headstart.strategies.pretrain import Pretrain
from headstart.studies.adapt import AdaptResult
from headstart.studies.adapt import adapt as adapt_study
from headstart.studies.advise import AdviseResult
from headstart.studies.advise import advise as advise_study
from headstart.studies.compare import CompareResult
from headstart.studies.compare import compare as compare_study
from headstart.studies.data_size import DataSizeResult
from headstart.studies.data_size import data_size as data_size_study
from headstart.studies.distill import DistillResult
from headstart.studies.distill import distill as distill_study
from headstart.studies.extend import ExtendResult
from headstart.studies.extend import extend as extend_study
from headstart.studies.layers import LayersResult
from headstart.studies.layers import layers as layers_study
from headstart.studies.multitask import MultitaskResult
from headstart.studies.multitask import multitask as multitask_study
from headstart.studies.pretrain import PretrainResult
from headstart.studies.pretrain import pretrain as pretrain_study
from headstart.studies.result import JobResult
from headstart.studies.select import SelectResult
from headstart.studies.select import select as select_study
from headstart.studies.short_studies import ShortRunsResult
from headstart.studies.short_studies import augmentations as augmentations_study
from headstart.studies.short_studies import scaling as scaling_study

Found = TypeVar("Found", bound=JobResult)


def run_adapt(
    config: AdaptConfig, *, data: Any = None, backbone: nn.Module | Net | None = None, listeners: Sequence[Listener] = ()
) -> AdaptResult:
    """`headstart adapt`: run, then render the report. Ctrl-C saves first."""
    return _with_report(lambda: adapt_study(config, data=data, backbone=backbone, listeners=listeners))


def run_advise(
    config: AdviseConfig, *, data: Any = None, backbone: nn.Module | Net | None = None, listeners: Sequence[Listener] = ()
) -> AdviseResult:
    """`headstart advise`: look, then render the report."""
    return _with_report(lambda: advise_study(config, data=data, backbone=backbone, listeners=listeners))


def run_select(
    config: SelectConfig, *, data: Any = None, candidates: Sequence[Any] | None = None, listeners: Sequence[Listener] = ()
) -> SelectResult:
    """`headstart select`: measure and race, then render the report. Ctrl-C saves first."""
    return _with_report(lambda: select_study(config, data=data, candidates=candidates, listeners=listeners))


def run_study_layers(
    config: LayersConfig, *, data: Any = None, backbone: nn.Module | Net | None = None, listeners: Sequence[Listener] = ()
) -> LayersResult:
    """`headstart study layers`: run the grid, then render the report. Ctrl-C keeps every finished run."""
    return _with_report(lambda: layers_study(config, data=data, backbone=backbone, listeners=listeners))


def run_study_data_size(
    config: DataSizeConfig, *, data: Any = None, backbone: nn.Module | Net | None = None, listeners: Sequence[Listener] = ()
) -> DataSizeResult:
    """`headstart study data-size`: learn from growing parts, then render the report. Ctrl-C keeps every finished run."""
    return _with_report(lambda: data_size_study(config, data=data, backbone=backbone, listeners=listeners))


def run_compare(
    config: CompareConfig, *, data: Any = None, backbone: nn.Module | Net | None = None, listeners: Sequence[Listener] = ()
) -> CompareResult:
    """`headstart compare`: measure strategies side by side, then render the report. Ctrl-C saves first."""
    return _with_report(lambda: compare_study(config, data=data, backbone=backbone, listeners=listeners))


def run_distill(
    config: DistillJobConfig,
    *,
    data: Any = None,
    teachers: Sequence[Any] | None = None,
    student: Any = None,
    listeners: Sequence[Listener] = (),
) -> DistillResult:
    """`headstart distill`: train the student alone and distilled, then render the report. Ctrl-C saves first."""
    return _with_report(lambda: distill_study(config, data=data, teachers=teachers, student=student, listeners=listeners))


def run_extend(
    config: ExtendConfig,
    *,
    model: Any = None,
    data: Sequence[Any] | None = None,
    old: Sequence[Any] | None = None,
    builder: Any = None,
    listeners: Sequence[Listener] = (),
) -> ExtendResult:
    """`headstart extend`: learn the new tasks, then render the report. Ctrl-C saves first."""
    return _with_report(lambda: extend_study(config, model=model, data=data, old=old, builder=builder, listeners=listeners))


def run_multitask(
    config: MultitaskConfig,
    *,
    data: Any = None,
    backbone: nn.Module | Net | None = None,
    listeners: Sequence[Listener] = (),
) -> MultitaskResult:
    """`headstart multitask`: train one network for all tasks and one for each, then render the report."""
    return _with_report(lambda: multitask_study(config, data=data, backbone=backbone, listeners=listeners))


def run_study_augmentations(
    config: AugmentationsConfig, *, data: Any = None, listeners: Sequence[Listener] = ()
) -> ShortRunsResult:
    """`headstart study augmentations`: pairs of augmentations, then render the report. Ctrl-C saves first."""
    return _with_report(lambda: augmentations_study(config, data=data, listeners=listeners))


def run_study_scaling(config: ScalingConfig, *, data: Any = None, listeners: Sequence[Listener] = ()) -> ShortRunsResult:
    """`headstart study scaling`: projection, batch, network and length, then render the report. Ctrl-C saves first."""
    return _with_report(lambda: scaling_study(config, data=data, listeners=listeners))


def run_pretrain(
    config: PretrainConfig,
    *,
    data: Any = None,
    backbone: nn.Module | Net | None = None,
    method: tuple[Pretrain, PretrainMethod] | None = None,
    listeners: Sequence[Listener] = (),
) -> PretrainResult:
    """`headstart pretrain`: learn from images without labels, judge what was learned, then render the report."""
    return _with_report(lambda: pretrain_study(config, data=data, backbone=backbone, method=method, listeners=listeners))


def run_bench(config: BenchConfig, *, images: Any = None, listeners: Sequence[Listener] = ()) -> BenchResult:
    """`headstart bench`: measure models side by side, then render the report."""
    return _with_report(lambda: bench_models(config, images=images, listeners=listeners))


def _with_report(job: Callable[[], Found]) -> Found:
    """Carry out a job, then render its page. Ctrl-C is turned into a polite request meanwhile."""
    with _interruptible():
        result = job()
        distributed.first(lambda: render(result.folder))
        return result


def _interruptible() -> AbstractContextManager[None]:
    on_main = threading.current_thread() is threading.main_thread()
    return interrupt.listening() if on_main else nullcontext()
