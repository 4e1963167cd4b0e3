"""Driving a strategy: one generator, its stages in order, saved so that a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from headstart.engine import distributed
from headstart.engine.checkpoint import Checkpoints, State, load_state, save_state
from headstart.engine.features import FeatureBank
from headstart.engine.fit import FitResult, Machine, fit
from headstart.engine.log import SILENT, RunLog
from headstart.engine.optim import Carried
from headstart.engine.solve import SolveResult, solve
from headstart.engine.trained import named_parameters, release
from headstart.errors import CheckpointError, RunFolderMismatch
from headstart.nets.net import Net
from headstart.stage import Solve, Stage

Result = FitResult | SolveResult


@dataclass
class Drive:
    """One pass of a strategy over a net.

    machine  None: the net's own device
    folder   where stages are saved; None saves nothing (and cannot resume)
    bank     features shared with other drives
    """

    net: Net
    seed: int = 0
    machine: Machine | None = None
    folder: Path | None = None
    bank: FeatureBank | None = None
    log: RunLog = SILENT
    _held: dict[str, Any] | None = field(default=None, init=False)

    def run(self, strategy: Iterable[Stage | Solve]) -> list[Result]:
        """Carry out every stage; finished ones are loaded instead. The net ends as the strategy leaves it."""
        results: list[Result] = []
        carried: Carried | None = None
        with self._current():
            release(self.net)
            for number, stage in enumerate(strategy):
                result = self._restore(number, stage) or self._carry_out(number, stage, carried)
                carried = carried_from(self.net, stage, result)
                results.append(result)
                release(self.net)
            return results

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """Inside, this is the drive of strategies that ask for theirs, as in `run`: for making the first stage before it.
        What is worked out for that is held until `keep_in`."""
        self._held = {}
        with self._current():
            yield

    @contextmanager
    def _current(self) -> Iterator[None]:
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def keep_in(self, folder: Path) -> None:
        """Save stages in `folder` from now on, and first what was worked out `ahead` of there being one."""
        self.folder, held, self._held = folder, self._held or {}, None
        for name in held:
            self.memo(name, partial(held.get, name))

    def memo(self, name: str, compute: Callable[[], Any]) -> Any:
        """See `memo`."""
        if self.folder is not None:
            return stored(self.folder / f"memo-{name}.safetensors", compute, self.log)
        value = distributed.first(compute)
        if self._held is not None:
            self._held[name] = value
        return value

    def _carry_out(self, number: int, stage: Stage | Solve, carried: Carried | None) -> Result:
        place = self._place(number, stage)
        if isinstance(stage, Solve):
            result: Result = self._solve(stage)
        else:
            checkpoints = Checkpoints(place) if place is not None else None
            result = fit(
                self.net,
                stage,
                seed=self.seed,
                machine=self.machine,
                log=self.log,
                checkpoints=checkpoints,
                carried=carried,
            )
        distributed.first(lambda: self._keep(place, stage, result))
        return result

    def _solve(self, stage: Solve) -> SolveResult:
        """The first process solves; its head goes to all."""
        result = distributed.first(lambda: solve(self.net, stage, seed=self.seed, bank=self.bank, log=self.log))
        if self.net.head(stage.head).reads != tuple(result.reads):
            self._read_by(stage, result.reads)
        distributed.from_first(self.net.head(stage.head).state_dict().values())
        return result

    def _read_by(self, stage: Solve, reads: Sequence[str]) -> None:
        """The head of a stage that chose what to read, reading that."""
        tower = self.net.head(stage.head).tower if stage.head in self.net.heads else None
        self.net.add_head(stage.head, stage.task.num_classes, tuple(reads), tower=tower)

    def _keep(self, place: Path | None, stage: Stage | Solve, result: Result) -> None:
        if place is not None:
            save_state(place / "finished.safetensors", self._state(stage, result))
            Checkpoints(place).clear()

    def _place(self, number: int, stage: Stage | Solve) -> Path | None:
        return None if self.folder is None else self.folder / f"{number:02d}-{stage.name}"

    def _state(self, stage: Stage | Solve, result: Result) -> State:
        state: State = {"name": stage.name, "net": self.net.state_dict(), "result": dict(vars(result))}
        if isinstance(stage, Stage):
            state["terms"] = {name: term.state_dict() for name, term in stage.terms.items()}
            state["balance"] = stage.balance.state_dict()
        return state

    def _restore(self, number: int, stage: Stage | Solve) -> Result | None:
        """The result of a stage finished earlier, with the net and the stage's terms as it left them."""
        place = self._place(number, stage)
        if place is None or not distributed.share((place / "finished.safetensors").exists()):
            return None
        try:
            state = load_state(place / "finished.safetensors")
        except CheckpointError as error:
            self.log.event("warning", text=f"{error}; stage {stage.name!r} is done again")
            return None
        if isinstance(stage, Solve) and stage.reads:
            self._read_by(stage, state["result"]["reads"])
        if state["name"] != stage.name or set(state["net"]) != set(self.net.state_dict()):
            raise RunFolderMismatch(f"{place} holds another network or stage; start again in a new --out folder")
        self.net.load_state_dict(state["net"])
        if isinstance(stage, Solve):
            return SolveResult(**state["result"])
        for name, term in stage.terms.items():
            term.load_state_dict(state["terms"][name])
        stage.balance.load_state_dict(state["balance"])
        return FitResult(**state["result"])


def carried_from(net: Net, stage: Stage | Solve, result: Result) -> Carried | None:
    """What a next stage may carry on of the one that has just ended (or was loaded)."""
    if not (isinstance(stage, Stage) and isinstance(result, FitResult)):
        return None
    return Carried.of(result.optimizer, dict(named_parameters(net, stage)))


_CURRENT: ContextVar[Drive | None] = ContextVar("drive", default=None)


def under_way(net: Net) -> Drive:
    """The drive that carries out the strategy asking, for its seed, machine, folder and log; outside one, a new one."""
    return _CURRENT.get() or Drive(net)


def memo(name: str, compute: Callable[[], Any]) -> Any:
    """Expensive work between two stages: computed once per run, on the first process, and stored with the run.

    The value is a nested dict of tensors and JSON values. Outside a drive it is simply computed.
    """
    drive = _CURRENT.get()
    return compute() if drive is None else drive.memo(name, compute)


def stored(path: Path | None, compute: Callable[[], Any], log: RunLog = SILENT) -> Any:
    """What `path` holds, or `compute()`, then kept there; computed by the first process, the same in all.

    What is damaged is computed again, aloud.
    """

    def made() -> Any:
        if path is not None and path.exists():
            try:
                return load_state(path)["value"]
            except CheckpointError as error:
                log.event("warning", text=f"{error}; it is computed again")
        value = compute()
        if path is not None:
            save_state(path, {"value": value})
            return load_state(path)["value"]  # as a run that goes on finds it: a tuple is a list by then
        return value

    return distributed.first(made)
