"""Whatever goes wrong ends in words and an exit code; nothing but the result is on stdout."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headstart import __version__, errors
from headstart.cli.main import COMMANDS, SPINS, main


def _every_error(kind: type[errors.HeadstartError]) -> list[type[errors.HeadstartError]]:
    """The error classes below `kind`; those of errors.py only, since a test may have made others."""
    mine = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [kind, *(found for child in mine for found in _every_error(child))]


ERRORS = _every_error(errors.HeadstartError)


def _raise(error: BaseException) -> Any:
    def body(config: Any, listeners: Any) -> Any:
        raise error

    return body


@pytest.mark.parametrize("given", [{}, {"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}])
def test_waiting_threads_give_way_unless_the_user_says_how_they_wait(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert main(["models", "--help"]) == 0
    now = {name: os.environ[name] for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in os.environ}
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert now == (given or {"GOMP_SPINCOUNT": SPINS})


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_overview_lists_every_command(run: Any, words: list[str]) -> None:
    said = run(*words)
    assert (said.code, said.err) == (0, "")
    assert all(f"  {name} " in said.out and command.summary in said.out for name, command in COMMANDS.items())


def test_version(run: Any) -> None:
    assert run("--version") == (0, f"headstart {__version__}\n", "")


def test_help_of_a_command_can_be_asked_for_both_ways(run: Any) -> None:
    assert run("help", "report") == run("report", "--help")


@pytest.mark.parametrize(
    ("typed", "meant"), [("adpat", "adapt"), ("Predict", "predict"), ("model", "models"), ("--demo", "demo")]
)
def test_an_unknown_command_offers_the_nearest(run: Any, typed: str, meant: str) -> None:
    said = run(typed)
    assert said.code == 2
    assert said.out == ""
    assert repr(typed) in said.err
    assert f"did you mean {meant}?" in said.err


@pytest.mark.parametrize("words", [["study"], ["study", "--help"], ["help", "study"]])
def test_a_group_of_commands_lists_its_members(run: Any, words: list[str]) -> None:
    said = run(*words)
    assert (said.code, said.err) == (0, "")
    assert all((f"  {name} " in said.out) == name.startswith("study ") for name in COMMANDS)


def test_a_command_of_two_words_is_helped_and_suggested(run: Any) -> None:
    assert run("help", "study", "layers") == run("study", "layers", "--help")
    said = run("study", "layer", "photos")
    assert said.code == 2
    assert "'study layer'" in said.err
    assert "did you mean study layers" in said.err
    assert run("studdy", "layers").code == 2


def test_a_command_like_no_other_is_answered_with_the_list(run: Any) -> None:
    said = run("zzz")
    assert all(name in said.err for name in COMMANDS)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_becomes_its_message_and_its_code(run: Any, fake_adapt: Any, kind: type[errors.HeadstartError]) -> None:
    fake_adapt(_raise(kind("photos/[bold]cats: no image; add some")))
    said = run("adapt", "photos")
    assert said.code == kind.exit_code
    assert said.out == ""
    assert "photos/[bold]cats: no image; add some" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_is_json_on_stdout_when_json_was_asked_for(run: Any, fake_adapt: Any, kind: type[Any]) -> None:
    fake_adapt(_raise(kind("no\nimage")))
    said = run("adapt", "photos", "--json")
    error = json.loads(said.out)["error"]
    assert {key: error[key] for key in ("kind", "message", "exit_code")} == {
        "kind": kind.__name__,
        "message": "no\nimage",
        "exit_code": said.code,
    }
    assert ("resume" in error) == (kind is errors.Interrupted)
    assert "no\nimage" in said.err


@pytest.mark.parametrize(
    ("error", "command"),
    [(errors.Interrupted("stopped"), "adapt"), (KeyboardInterrupt(), "adapt"), (KeyboardInterrupt(), "demo")],
)
def test_an_interrupted_run_says_how_to_go_on(
    run: Any, fake_adapt: Any, tmp_path: Path, error: BaseException, command: str
) -> None:
    calls = fake_adapt(_raise(error))
    out = tmp_path / "my run"
    said = run(command, *(["my photos"] if command == "adapt" else []), "--out", out)
    assert said.code == 130
    again = said.err.split("continue with: ")[1].strip()
    words = shlex.split(again)
    assert words[0] == "headstart"
    assert words[-1] == "--resume"
    assert main(words[1:]) == 130  # the line can be typed as it is
    assert [call.resume for call in calls] == [False, True]
    assert calls[1].out == out


def test_resume_is_not_said_twice(run: Any, fake_adapt: Any) -> None:
    fake_adapt(_raise(errors.Interrupted("stopped")))
    assert run("adapt", "photos", "--resume").err.count("--resume") == 1


def test_what_cannot_be_resumed_does_not_offer_it(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import headstart.report

    def stopped(folder: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(headstart.report, "render", stopped)
    said = run("report", tmp_path)
    assert said.code == 130
    assert "--resume" not in said.err


def test_a_defect_shows_its_traceback_and_asks_for_a_report(run: Any, fake_adapt: Any) -> None:
    fake_adapt(_raise(ZeroDivisionError("division by zero")))
    said = run("adapt", "my photos", "--json")
    assert said.code == 70
    assert "Traceback" in said.err
    assert "test_cli_main.py" in said.err
    assert "please report" in said.err
    assert "headstart adapt 'my photos' --json" in said.err
    assert json.loads(said.out)["error"]["kind"] == "ZeroDivisionError"


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EROFS])
def test_what_the_machine_refuses_is_no_defect(run: Any, fake_adapt: Any, number: int) -> None:
    fake_adapt(_raise(OSError(number, "refused", "runs/photos/log.jsonl")))
    said = run("adapt", "photos")
    assert said.code == 3
    assert "runs/photos/log.jsonl: refused" in said.err
    assert "Traceback" not in said.err


def test_a_file_missing_inside_headstart_is_a_defect(run: Any, fake_adapt: Any) -> None:
    fake_adapt(_raise(FileNotFoundError(errno.ENOENT, "gone", "timm_names.txt")))
    assert run("adapt", "photos").code == 70


def test_a_broken_pipe_that_is_not_ours_is_a_defect(run: Any, fake_adapt: Any) -> None:
    fake_adapt(_raise(BrokenPipeError(errno.EPIPE, "a worker died")))
    assert run("adapt", "photos").code == 70


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are polled")
def test_a_reader_that_leaves_is_no_error() -> None:
    command = [sys.executable, "-m", "headstart", "adapt", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 141


def test_warnings_of_libraries_are_not_shown(run: Any, fake_adapt: Any, tmp_path: Path) -> None:
    def body(config: Any, listeners: Any) -> Any:
        warnings.warn("deprecated deep inside", DeprecationWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
        return SimpleNamespace(summary={}, report=tmp_path, folder=tmp_path)

    fake_adapt(body)
    script = (
        "import sys, types, warnings; from headstart.cli import adapt, main\n"
        "def run(config): warnings.warn('deep inside', UserWarning); return 0\n"
        "import dataclasses; main.COMMANDS['report'] = dataclasses.replace(main.COMMANDS['report'], run=run)\n"
        "sys.exit(main.main(['report', 'x']))"
    )
    quiet = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    loud = subprocess.run(
        [sys.executable, "-W", "default", "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    assert quiet.stderr == ""
    assert "deep inside" in loud.stderr


def test_only_the_first_process_speaks(run: Any, fake_adapt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def body(config: Any, listeners: Any) -> Any:
        return SimpleNamespace(summary={"chosen": "probe"}, report=tmp_path / "report.html", folder=tmp_path)

    monkeypatch.setenv("RANK", "1")
    fake_adapt(body)
    assert run("adapt", "photos") == (0, "", "")
    assert run("adapt", "photos", "--json") == (0, "", "")
    assert run("adapt", "--nonsense") == (2, "", "")
    fake_adapt(_raise(errors.DataError("every process sees the same data")))
    assert run("adapt", "photos") == (2, "", "")


def test_trouble_of_another_process_alone_is_said_with_its_number(
    run: Any, fake_adapt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "3")
    fake_adapt(_raise(errors.DiskFull("no space on this machine")))
    said = run("adapt", "photos")
    assert said.err.strip() == "[process 3] error: no space on this machine"
    fake_adapt(_raise(ZeroDivisionError()))
    assert "[process 3]" in run("adapt", "photos").err


def test_python_m_headstart_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headstart", "--version"], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == f"headstart {__version__}\n"


def test_an_ascii_terminal_does_not_stop_a_result() -> None:
    script = "from headstart.cli import speak; speak.say('Käfer · 甲虫'); speak.note('über')"
    environment = {"PYTHONIOENCODING": "ascii", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30, env=environment
    )
    assert done.stdout.strip() == r"K\xe4fer \xb7 \u7532\u866b"


@pytest.mark.parametrize(("where", "code", "said"), [("import", 130, "stopped: stopped at once"), ("call", 0, "caught")])
def test_ctrl_c_while_modules_are_imported_ends_at_once(where: str, code: int, said: str, tmp_path: Path) -> None:
    """NumPy hides it and then breaks; outside of an import it is the usual exception."""
    (tmp_path / "hit.py").write_text(
        "import os, signal, time\n"
        "def hit():\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(5)\n"
        + ("try:\n    hit()\nexcept BaseException:\n    pass\n" if where == "import" else "")
    )
    script = (
        "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from headstart.cli.main import _stoppable\n"
        "with _stoppable():\n    try:\n        import hit\n        hit.hit()\n"
        "    except KeyboardInterrupt:\n        print('caught', file=sys.stderr)\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": path}
    )
    assert (done.returncode, done.stderr.strip()) == (code, said)


def test_stdout_that_cannot_be_written_to_is_said_once(tmp_path: Path) -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("there is no /dev/full here")
    for words in (["models", "--json"], ["models"]):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "headstart", *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
            )
        assert done.returncode == 3
        assert done.stderr.count("No space left on device") == 1
        assert "Traceback" not in done.stderr
