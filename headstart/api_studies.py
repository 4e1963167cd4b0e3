"""What `import headstart` offers for studies: the same as the commands, with a report at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from headstart.api import given_of, object_of, told
from headstart.catalog.data_size import DataSizeConfig
from headstart.catalog.given import configured
from headstart.catalog.short_runs import AugmentationsConfig, ScalingConfig
from headstart.catalog.study import LayersConfig
from headstart.jobs import run_study_augmentations, run_study_data_size, run_study_layers, run_study_scaling
from headstart.nets.net import Net
from headstart.studies.data_size import DataSizeResult
from headstart.studies.layers import LayersResult
from headstart.studies.short_studies import ShortRunsResult


def study_data_size(
    data: Any, backbone: str | nn.Module | Net | None = None, *, out: str | Path = "runs/study-data-size", **settings: Any
) -> DataSizeResult:
    """Learn from growing parts of the images in three ways - pipeline, end-to-end, transfer - and see where they cross.

    data, backbone, out  as of `adapt`
    settings             any field of `DataSizeConfig`, `BackboneConfig` or `DataConfig`, e.g. `draws=5`, `ways=("probe",)`

    Returns the result that the command line writes; it prints as a table. Raises InputError for what can be mended.
    """
    config, objects = given_of(DataSizeConfig, data, backbone, out, settings)
    return run_study_data_size(config, **objects)


def study_augmentations(data: Any, *, out: str | Path = "runs/augmentations", **settings: Any) -> ShortRunsResult:
    """Which two augmentations together teach a backbone most, without labels? SimCLR's heat map on the data.

    data      labelled images as of `adapt`; labels only judge
    out       the run folder
    settings  any field of `AugmentationsConfig`, `BackboneConfig` or `DataConfig`, e.g. `steps=("crop", "jitter", "grey")`

    Returns the result that the command line writes; it prints as a table. Raises InputError for what can be mended.
    """
    config = configured(AugmentationsConfig(told(data), Path(out)), settings)
    return run_study_augmentations(config, data=object_of(data))


def study_scaling(data: Any, *, out: str | Path = "runs/scaling", **settings: Any) -> ShortRunsResult:
    """What do projection head, batch size, network size and length bring to learning without labels? On the data.

    data      labelled images as of `adapt`; labels only judge
    out       the run folder
    settings  any field of `ScalingConfig`, `BackboneConfig` or `DataConfig`, e.g. `batches=(64, 256)`

    Returns the result that the command line writes; it prints as a table. Raises InputError for what can be mended.
    """
    config = configured(ScalingConfig(told(data), Path(out)), settings)
    return run_study_scaling(config, data=object_of(data))


def study_layers(
    data: Any, backbone: str | nn.Module | Net | None = None, *, out: str | Path = "runs/study-layers", **settings: Any
) -> LayersResult:
    """Measure how transferable each layer of a network is, as Yosinski et al. 2014 did.

    data, backbone  as of `adapt`; of the network only the architecture is used, all weights are drawn at random
    out             the run folder
    settings        any field of `LayersConfig`, `ArchitectureConfig` or `DataConfig`, e.g. `seeds=3`, `cuts=(1, 4)`

    Returns the result that the command line writes; it prints as text. Raises InputError for what can be mended.
    """
    config, objects = given_of(LayersConfig, data, backbone, out, settings)
    return run_study_layers(config, **objects)
