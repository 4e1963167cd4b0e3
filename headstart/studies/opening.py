"""What jobs do before their own work: load the network, read, inspect and split the data, begin folder and log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from headstart.catalog.adapt import BackboneConfig, DataConfig
from headstart.data.prepare import DataSet, prepare
from headstart.data.sources import Source, open_source
from headstart.engine import distributed, interrupt
from headstart.engine.features import FeatureBank
from headstart.engine.log import Listener, RunLog
from headstart.engine.run_folder import RunFolder
from headstart.engine.trained import digest
from headstart.nets.net import Net
from headstart.nets.norms import folded_away
from headstart.nets.structure import structure
from headstart.studies.backbone import choose, untrained
from headstart.studies.checks import check_kind
from headstart.studies.elapsed import Elapsed
from headstart.studies.measure import Measures, measure
from headstart.studies.splitting import Splits, split


def opened(data: Any, images: DataConfig) -> Source:
    """The data named, or given from Python, with the columns that the settings name."""
    return open_source(
        data,
        path_column=images.path_column,
        label_column=images.label_column,
        group_column=images.group_column,
        split_column=images.split_column,
    )


def shrunk(data: DataSet, net: Net) -> list[str]:
    """A word of warning when the network sees a small part of the pictures' detail."""
    sizes = data.inspection.sizes
    side = max(sizes.width[1], sizes.height[1]) if sizes is not None else 0.0
    if side < 4 * net.input.size:
        return []
    return [
        f"images of about {side:.0f} px are reduced to the {net.input.size} px this network sees, which loses most of their "
        "detail; a network for larger images, e.g. --backbone timm:resnet18, will probably do better"
    ]


def fingerprint_of(net: Net) -> str:
    """Hash of all weights, buffers and heads, and of how blocks and heads are built."""
    state = digest(net.state_dict())
    told = [name + state[name] for name in sorted(state)] + [structure(net.blocks), structure(net.heads)]
    return hashlib.blake2b("".join(told).encode(), digest_size=16).hexdigest()


@dataclass
class Opening:
    """The beginning of a run, phase by phase. `clock` counts what each took, in all processes that worked on the run.

    Until data and network are known to be usable, nothing is written that would replace an earlier run: `early` keeps
    what there was to log.

    chooses  whether the job chooses something by held-out images, which the user's val split then is
    """

    folder: RunFolder
    network: BackboneConfig
    images: DataConfig
    folds: int
    seed: int
    listeners: tuple[Listener, ...] = ()
    clock: Elapsed = field(default_factory=Elapsed)
    early: list[dict[str, Any]] = field(default_factory=list)
    chooses: bool = True
    log: RunLog = field(init=False)

    def __post_init__(self) -> None:
        self.listeners = (*self.listeners, self.clock.heard)
        self.log = RunLog(None, (*self.listeners, self.early.append))
        if self.folder.asked and not self.folder.resumed:
            self.log.event("note", text=f"{self.folder.path} holds no run to go on with; this is a new one")

    @property
    def seconds(self) -> dict[str, float]:
        """What each phase took so far."""
        return self.clock.seconds

    @contextmanager
    def phase(self, name: str, text: str) -> Iterator[None]:
        """Say what is done now, and keep how long it took. Ctrl-C is obeyed before it."""
        interrupt.check_together()
        self.log.event("phase", name=name, text=text)
        with self.clock.during(name):
            yield

    def load(self, source: Source, backbone: torch.nn.Module | Net | None) -> Net:
        """The network to start from, once it is known to go with the data."""
        net = choose(source, self.network, backbone, seed=self.seed)
        check_kind(source, net.input)
        if untrained(self.network):
            said = f"{self.network.backbone} has weights drawn at random: nothing is known before it is trained"
            self.log.event("warning", text=said)
        for note in (net.source or {}).get("notes", ()):
            self.log.event("note", text=note)
        if folded_away(net):
            said = "its batch normalisation has been folded into other layers; it is left as it is while the rest trains"
            self.log.event("note", text=said)
        return net

    def read(self, source: Source, net: Net) -> tuple[DataSet, Splits]:
        """The images, decoded, inspected and split."""

        def progress(done: int, total: int) -> None:
            interrupt.check()
            self.log.tick(done, total, "reading images")

        def once() -> DataSet:
            return prepare(
                source, size=net.input.size, fit=self.images.fit, cache=self.folder.work / "data", progress=progress
            )

        data = distributed.first(once)  # the others map the file that the first one has decoded to
        for warning in (*data.inspection.warnings, *shrunk(data, net)):
            self.log.event("warning", text=warning)
        fraction = self.images.test_fraction
        return data, split(
            data, test_fraction=fraction, folds=self.folds, seed=self.seed, log=self.log, chooses=self.chooses
        )

    def begin(self, net: Net, data: DataSet) -> None:
        """From here on the folder is this run's."""
        self.begin_with(data, images=data.fingerprint, network=fingerprint_of(net))

    def begin_with(self, data: DataSet, **inputs: str) -> None:
        """The same for a run that depends on `inputs` (see `RunFolder.begin`)."""
        self.begin_from(data.inspection.to_json(), **inputs)

    def begin_from(self, inspection: dict[str, Any], **inputs: str) -> None:
        """The same, `inspection` being what was found in the data."""
        self.folder.begin(**inputs)
        self.clock.keep_in(self.folder.work / "phases.json")
        self.folder.write("inspection.json", inspection)
        quiet = RunLog(self.folder.log)
        for line in self.early:
            if line["event"] != "tick":
                quiet.event(line["event"], **{name: value for name, value in line.items() if name != "event"})
        self.log = RunLog(self.folder.log, self.listeners)

    def bank(self) -> FeatureBank:
        """Features in the run's folder, kept for everything that needs them."""
        return FeatureBank(self.folder.work / "features", log=self.log)

    def measure(self, net: Net, splits: Splits, bank: FeatureBank) -> Measures:
        """What can be said before anything is trained."""
        with self.phase("measure", "one pass of the backbone over the training images"):
            measured: Measures = distributed.first(
                lambda: measure(
                    net,
                    splits.train,
                    splits.folds,
                    bank,
                    seed=self.seed,
                    log=self.log,
                    pretrained=not untrained(self.network),
                )
            )
        return measured
