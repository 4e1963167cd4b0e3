"""The command line's face: help texts and default settings, word for word.

After a wanted change write them anew with

    HEADSTART_UPDATE_GOLDEN=1 python -m pytest tests/cli/test_cli_golden.py

and read the difference before it is committed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.catalog.adapt import AdaptConfig
from headstart.cli.demo import DemoConfig, settings
from headstart.cli.main import COMMANDS

GOLDEN = Path(__file__).parent.parent / "golden"
HELPS = {"cli.txt": ["--help"], **{f"cli-{name.replace(' ', '-')}.txt": [*name.split(), "--help"] for name in COMMANDS}}


def _compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("HEADSTART_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{name} changed; see this test's first lines"


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """Every help text, made in a process of its own: 100 columns, no colours, UTF-8."""
    script = (
        "import contextlib, io, json, sys\n"
        "from headstart.cli.main import main\n"
        "said = {}\n"
        "for name, words in json.loads(sys.argv[1]).items():\n"
        "    stream = io.TextIOWrapper(io.BytesIO(), 'utf-8')\n"
        "    with contextlib.redirect_stdout(stream):\n"
        "        assert main(words) == 0\n"
        "    stream.seek(0)\n"
        "    said[name] = stream.read()\n"
        "print(json.dumps(said))"
    )
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "RANK", "FORCE_COLOR"))}
    environment = {**plain, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(HELPS)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environment,
    )
    said: dict[str, str] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize("name", sorted(HELPS))
def test_help(helps: dict[str, str], name: str) -> None:
    text = "\n".join(line.rstrip() for line in helps[name].splitlines()) + "\n"
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 120
    _compare(name, text)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("cli-adapt.json", AdaptConfig(data="photos")),
        ("cli-demo.json", settings(DemoConfig(out=Path("no-such-folder/demo")))),
    ],
)
def test_settings(name: str, config: AdaptConfig) -> None:
    _compare(name, json.dumps(dataclasses.asdict(config), indent=2, default=str) + "\n")
