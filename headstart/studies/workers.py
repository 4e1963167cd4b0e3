"""Who carries out the jobs of a study: this process, several processes of this machine, or a Ray cluster.

Jobs write what they finish to the study's folder, so that nothing is lost with whoever worked on it. A job whose worker
dies is tried once more; what fails then is reported, and the rest stands.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

import torch

from headstart.errors import ConfigError, DiskFull, HeadstartError, Interrupted
from headstart.studies.layers_plan import Job, Run
from headstart.studies.layers_runs import Setup, carry_out, on_one_thread

_POLL = 0.2
"""Seconds between looks at whether the user asked to stop."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job: `reason` is None when all of it is done; `died` when its worker was lost."""

    job: Job
    reason: str | None = None
    died: bool = False


class Hands(Protocol):
    """Workers that take jobs."""

    def free(self) -> int:
        """How many more jobs can be taken now."""

    def submit(self, job: Job) -> None:
        """Take a job."""

    def wait(self) -> list[Outcome]:
        """What has ended, after a short while at most."""

    def close(self) -> None:
        """Stop, whatever is still being done."""


def outcomes(jobs: Sequence[Job], hands: Hands, finished: Collection[Run], check: Callable[[], None]) -> Iterator[Outcome]:
    """Hand out jobs as soon as the bases they need are there, and yield how each ended.

    finished  runs that are there already
    check     called again and again; may raise to stop
    """
    waiting, there, broken = list(jobs), set(finished), set[Run]()
    retried: set[Job] = set()
    running = 0
    while waiting or running:
        check()
        for job in [job for job in waiting if any(need in broken for need in job.needs)]:
            waiting.remove(job)
            yield Outcome(job, f"it needs {next(need for need in job.needs if need in broken).name}, which failed")
        for job in [job for job in waiting if there.issuperset(job.needs)][: hands.free()]:
            waiting.remove(job)
            hands.submit(job)
            running += 1
        for outcome in hands.wait() if running else ():
            running -= 1
            if outcome.died and outcome.job not in retried:
                retried.add(outcome.job)
                waiting.insert(0, outcome.job)
                continue
            (there if outcome.reason is None else broken).update(outcome.job.runs)
            yield outcome


def attempt(setup: Setup, job: Job) -> Outcome:
    """Carry out a job here. What stops one run is told; what would stop every run is raised."""
    try:
        carry_out(setup, job)
    except (DiskFull, Interrupted):
        raise
    except HeadstartError as error:
        return Outcome(job, str(error))
    except (RuntimeError, MemoryError, OSError) as error:
        return Outcome(job, f"{type(error).__name__}: {error}", died=True)
    return Outcome(job)


# --- this process ---------------------------------------------------------------------------------------------------------


@dataclass
class Alone:
    """Jobs one after the other in this process, on one thread."""

    setup: Setup
    _jobs: list[Job] = field(default_factory=list)

    def free(self) -> int:
        return 1 - len(self._jobs)

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def wait(self) -> list[Outcome]:
        with _one_thread(self.setup):
            return [attempt(self.setup, self._jobs.pop())]

    def close(self) -> None:
        self._jobs.clear()


@contextmanager
def _one_thread(setup: Setup) -> Iterator[None]:
    before = torch.get_num_threads()
    on_one_thread(setup)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# --- processes of this machine --------------------------------------------------------------------------------------------


@dataclass
class _Member:
    process: Any
    pipe: Connection
    job: Job | None = None


class Processes:
    """`count` processes of this machine, each on one thread. A process that dies is replaced."""

    def __init__(self, setup: Setup, count: int) -> None:
        self.setup = setup
        self._members: list[_Member] = []
        for _ in range(count):
            self._members.append(self._start())

    def _start(self) -> _Member:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self.setup), daemon=True)
        with _without_main(self.setup):
            process.start()
        theirs.close()
        return _Member(process, ours)

    def free(self) -> int:
        return sum(member.job is None for member in self._members)

    def submit(self, job: Job) -> None:
        member = next(member for member in self._members if member.job is None)
        member.job = job
        with suppress(OSError):  # it has died while it waited; `wait` finds its end of the pipe closed
            member.pipe.send(job)

    def wait(self) -> list[Outcome]:
        busy = {member.pipe: member for member in self._members if member.job is not None}
        return [self._heard(busy[pipe]) for pipe in wait(list(busy), _POLL) if isinstance(pipe, Connection)]

    def _heard(self, member: _Member) -> Outcome:
        job = member.job
        assert job is not None
        member.job = None
        try:
            answer = member.pipe.recv()
        except (EOFError, OSError):
            return self._lost(member, job)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Outcome)
        return answer

    def _lost(self, member: _Member, job: Job) -> Outcome:
        member.process.join(5)
        code = member.process.exitcode
        member.pipe.close()
        self._members[self._members.index(member)] = self._start()
        why = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        return Outcome(job, f"its worker died twice, the last time by {why}", died=True)

    def close(self) -> None:
        for member in self._members:
            if member.job is None:
                with suppress(OSError):  # it is gone already, which is what was wanted
                    member.pipe.send(None)
            else:
                member.process.terminate()
        for member in self._members:
            member.process.join(10)
            if member.process.is_alive():
                member.process.kill()
            member.pipe.close()


def _serve(pipe: Connection, setup: Setup) -> None:
    """The life of a worker: jobs until None comes, or the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the first process decides
    on_one_thread(setup)
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        if job is None:
            return
        try:
            answer: Outcome | Exception = attempt(setup, job)
        except HeadstartError as error:
            answer = error
        pipe.send(answer)


@contextmanager
def _without_main(setup: Setup) -> Iterator[None]:
    """A spawned process imports the script that started it, once more. Ours need nothing of it, so that a script without
    an `if __name__ == "__main__"` can run a study too; unless the network's own classes are defined there."""
    network = setup.network
    own = not isinstance(network, Mapping) and any(type(part).__module__ == "__main__" for part in network.modules())
    main = sys.modules["__main__"]
    if not own:
        sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


# --- a Ray cluster --------------------------------------------------------------------------------------------------------


class OnRay:
    """Jobs as tasks of a Ray cluster: the one that RAY_ADDRESS names, or a local one of `count` processes."""

    def __init__(self, setup: Setup, count: int | None) -> None:
        ray = ray_or_complain()
        if not ray.is_initialized():
            local = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": count, "include_dashboard": False}
            ray.init(log_to_driver=False, **local)
            self._ours = True
        else:
            self._ours = False
        self._ray = ray
        self._most = max(1, count or int(ray.cluster_resources().get("CPU", 1)))
        self._setup = ray.put(setup)
        self._task = ray.remote(num_cpus=1, max_retries=0)(_on_ray)
        self._running: dict[Any, Job] = {}

    def free(self) -> int:
        return self._most - len(self._running)

    def submit(self, job: Job) -> None:
        self._running[self._task.remote(self._setup, job)] = job

    def wait(self) -> list[Outcome]:
        ready, _ = self._ray.wait(list(self._running), timeout=_POLL)
        return [self._got(one, self._running.pop(one)) for one in ready]

    def _got(self, one: Any, job: Job) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(one)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            return Outcome(job, f"its worker died twice: {type(error).__name__}", died=True)
        return outcome

    def close(self) -> None:
        for one in self._running:
            self._ray.cancel(one, force=True)
        if self._ours:
            self._ray.shutdown()


def _on_ray(setup: Setup, job: Job) -> Outcome:
    on_one_thread(setup)
    return attempt(setup, job)


def ray_or_complain() -> Any:
    """The package `ray`. Raises ConfigError where it is not installed."""
    try:
        return import_module("ray")  # an optional extra, without types
    except ImportError as error:
        raise ConfigError(
            "--ray: Ray is not installed. Install it by `pip install 'headstart[ray]'`, or share the runs among processes "
            "of this machine by --workers N"
        ) from error


@dataclass
class Clock:
    """Time left, from what was done so far."""

    total: float
    done: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def left(self) -> float | None:
        """Seconds; None before anything is known."""
        return None if not self.done else (time.monotonic() - self.began) * (self.total - self.done) / self.done
