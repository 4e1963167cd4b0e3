"""How transferable each layer of a network is: Yosinski et al. 2014 as one study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.catalog.study import LayersConfig
from headstart.engine.log import Listener
from headstart.errors import ConfigError


@dataclass(frozen=True)
class LayersResult:
    """What `headstart study layers` found. Prints as text.

    folder   the run folder
    summary  the content of summary.json
    """

    folder: Path
    summary: dict[str, Any] = field(repr=False)

    @property
    def report(self) -> Path:
        """Path of the page (written by `headstart.study_layers` and the command line)."""
        return self.folder / "report.html"


def layers(config: LayersConfig, *, data: Any = None, listeners: Sequence[Listener] = ()) -> LayersResult:
    """Carry out the study."""
    raise ConfigError("study layers is being built")
