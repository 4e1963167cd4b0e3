"""`headstart`: find the command, carry it out, and turn whatever goes wrong into words and an exit code."""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import select
import shlex
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from headstart import __version__
from headstart.cli import (
    adapt,
    advise,
    bench,
    compare,
    data_size,
    demo,
    distill,
    export,
    extend,
    inspect,
    models,
    multitask,
    predict,
    pretrain,
    report,
    short_studies,
    speak,
    study,
    views,
)
from headstart.cli import select as select_command
from headstart.cli.command import EXIT_CODES, Command, UsageError
from headstart.errors import HeadstartError, InputError, Interrupted, NonFiniteLoss, RunFolderMismatch

COMMANDS: dict[str, Command[Any]] = {
    command.name: command
    for command in (
        adapt.COMMAND,
        advise.COMMAND,
        select_command.COMMAND,
        compare.COMMAND,
        extend.COMPARE,
        distill.COMMAND,
        extend.COMMAND,
        multitask.COMMAND,
        pretrain.COMMAND,
        study.LAYERS,
        data_size.COMMAND,
        short_studies.AUGMENTATIONS,
        short_studies.SCALING,
        demo.COMMAND,
        inspect.COMMAND,
        predict.COMMAND,
        export.COMMAND,
        bench.COMMAND,
        models.COMMAND,
        views.COMMAND,
        report.COMMAND,
    )
}
"""By name as typed: one word, or two of which the first is a group's (`study layers`)."""
DEFECT = 70
BROKEN_PIPE = 141
LAST_WORDS = 1.0
"""Seconds that other processes leave to the first one."""
SAME_IN_ALL = (InputError, Interrupted, NonFiniteLoss, RunFolderMismatch)
"""Errors that all processes of a run come to together, so that the first one's word is enough."""
NO_DEFECT = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE, errno.ENAMETOOLONG),
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE),
}
"""System errors that say something about the machine, not about headstart."""


SPINS = "2000"
"""How often a thread that waits for another looks again before it sleeps. Left to itself it spins for milliseconds, on a
core that the other may be waiting for: beside one other busy process on two cores a job then takes twenty times as long.
Few spins cost an idle machine nothing that can be measured (LOG.md, 2026-11-21)."""


def main(words: Sequence[str] | None = None) -> int:
    """Carry out one command line (by default the process's own) and return its exit code."""
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS  # read once, when torch is first imported
    with _streams():
        if words is not None:
            return _main(list(words))
        with _stoppable():
            return _main(sys.argv[1:])


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C as usual, but for modules that are being imported: they may hide it, or break. Nothing has begun by then."""

    def stop(number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                speak.complain("stopped at once", label="stopped", style="bold yellow")
                sys.stderr.flush()
                os._exit(Interrupted.exit_code)
            frame = frame.f_back
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) not in (signal.SIG_DFL, signal.default_int_handler):
        yield  # it is ignored, as for what runs in the background
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _streams() -> Iterator[None]:
    """Somewhere to speak to, also where a service has closed our streams."""
    with contextlib.ExitStack() as open_streams:
        nowhere = open_streams.enter_context(open(os.devnull, "w"))
        for stream, redirect in ((sys.stdout, contextlib.redirect_stdout), (sys.stderr, contextlib.redirect_stderr)):
            if stream is None:
                open_streams.enter_context(redirect(nowhere))
        yield


def _main(words: list[str]) -> int:
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            code = _run(words)
        sys.stdout.flush()
        return code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except BrokenPipeError as error:
        return BROKEN_PIPE if _reader_left() else _defect(error, words)
    except (HeadstartError, KeyboardInterrupt) as error:
        return _expected(error if isinstance(error, HeadstartError) else Interrupted("stopped at once"), words)
    except OSError as error:
        return _system(error, words) if error.errno in NO_DEFECT else _defect(error, words)
    except Exception as error:
        return _defect(error, words)


def _run(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help") or list(words) == ["help"]:
        speak.say(overview())
        return 0
    if words[0] == "--version":
        speak.say(f"headstart {__version__}")
        return 0
    if words[0] == "help":
        words = [*words[1:], "--help"]
    if words[0] in groups() and (len(words) == 1 or words[1] in ("-h", "--help")):
        speak.say(overview(words[0]))
        return 0
    command = find(named(words))
    return command.run(command.parse(words[len(command.name.split()) :]))


def groups() -> list[str]:
    """First words of commands that have two, and are no command by themselves."""
    return list(dict.fromkeys(name.split()[0] for name in COMMANDS if " " in name and name.split()[0] not in COMMANDS))


def named(words: Sequence[str]) -> str:
    """The command's name at the head of a command line: two words where these are one, or the first is a group's."""
    both = " ".join(words[:2])
    return both if both in COMMANDS or words[0] in groups() else words[0]


def find(name: str) -> Command[Any]:
    """The command called `name`. Raises InputError naming the nearest ones."""
    if name not in COMMANDS:
        word = name.lower().lstrip("-")
        near = [word] if word in COMMANDS else difflib.get_close_matches(word, COMMANDS, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(COMMANDS)}."
        raise InputError(f"{name!r} is not a command of headstart: {hint} See headstart --help")
    return COMMANDS[name]


def overview(group: str | None = None) -> str:
    """The text of `headstart --help`, or of a group of commands alone."""
    listed = {name: one for name, one in COMMANDS.items() if group is None or name.split()[0] == group}
    width = max(map(len, listed))
    lines = [f"  {name.ljust(width)}  {command.summary}" for name, command in listed.items()]
    if group is not None:
        told = f"headstart {group} COMMAND --help tells more."
        return "\n".join([f"usage: headstart {group} COMMAND ...", "", "commands:", *lines, "", told])
    return "\n".join(
        [
            "usage: headstart COMMAND ...",
            "",
            "Reuse what a neural network already knows: adapt it to your images, and see measured that it was the best way.",
            "",
            "commands:",
            *lines,
            "",
            "examples:",
            "  headstart demo",
            "  headstart adapt photos --out runs/photos",
            "",
            "headstart COMMAND --help tells more; headstart --version the version.",
            "",
            EXIT_CODES,
        ]
    )


def _expected(error: HeadstartError, words: Sequence[str]) -> int:
    """Something that is not a defect: one message, no traceback. Other processes repeat it only where theirs may differ."""
    message, extra = str(error), {}
    command = COMMANDS.get(named(words)) if words else None
    if isinstance(error, Interrupted) and command is not None and command.resumable:
        again = words if "--resume" in words else [*words, "--resume"]
        extra = {"resume": shlex.join(["headstart", *again])}
        message += f"\ncontinue with: {extra['resume']}"
    said = isinstance(error, UsageError) or error.told or (not speak.is_first() and isinstance(error, SAME_IN_ALL))
    if not speak.is_first():
        # torchrun ends all processes as soon as one has failed; the first must have had its say by then.
        time.sleep(LAST_WORDS)
    if not said:
        speak.complain(message, **({"label": "stopped", "style": "bold yellow"} if isinstance(error, Interrupted) else {}))
    _tell_machine(words, error, str(error), error.exit_code, extra)
    return error.exit_code


def _system(error: OSError, words: Sequence[str]) -> int:
    where = f"{error.filename}: " if error.filename else ""
    message = f"{where}{error.strerror}. Check the permissions and the space left there, or choose another place"
    speak.complain(message)
    _tell_machine(words, error, message, 3, {})
    return 3


def _defect(error: BaseException, words: Sequence[str]) -> int:
    sys.stderr.write("".join(traceback.format_exception(error)))
    speak.complain(
        f"{type(error).__name__} was not expected here. This is a defect of headstart {__version__}: please report it with "
        f"the lines above and the command\n  {shlex.join(['headstart', *words])}"
    )
    _tell_machine(words, error, str(error), DEFECT, {})
    return DEFECT


def _tell_machine(words: Sequence[str], error: BaseException, message: str, code: int, extra: dict[str, str]) -> None:
    if speak.wants_json(words):
        with contextlib.suppress(OSError):  # it may be stdout itself that cannot be written to
            speak.say_json({"error": {"kind": type(error).__name__, "message": message, "exit_code": code, **extra}})
            sys.stdout.flush()


def _reader_left() -> bool:
    """Whether the pipe that broke is our own output (`headstart models | head`), which is nobody's fault."""
    try:
        output = sys.stdout.fileno()
        poll = select.poll()
    except (OSError, AttributeError):
        return False
    poll.register(output, 0)
    left = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    if left:
        # What is still buffered would be tried again at exit, and complained about.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return left
