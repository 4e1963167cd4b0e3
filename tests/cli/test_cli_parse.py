"""From words to the catalog's dataclasses and back: flags are flat, defaults are the dataclasses' own."""

from __future__ import annotations

import dataclasses
import json
import shlex
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from headstart.catalog.adapt import AdaptConfig, BackboneConfig, DataConfig, ReadingConfig
from headstart.cli.command import UsageError
from headstart.cli.demo import DemoConfig
from headstart.cli.main import COMMANDS
from headstart.cli.predict import PredictConfig

ADAPT = COMMANDS["adapt"]


def _leaves(config: Any) -> dict[str, Any]:
    """Every setting by its own name, nested dataclasses flattened."""
    found: dict[str, Any] = {}
    for entry in fields(config):
        value = getattr(config, entry.name)
        found |= _leaves(value) if is_dataclass(value) else {entry.name: value}
    return found


def test_data_alone_gives_the_defaults() -> None:
    assert ADAPT.parse(["photos"]) == AdaptConfig(data="photos")


def test_every_flag_of_the_issue_in_one_line() -> None:
    words = (
        "photos --backbone timm:resnet18 --out runs/x --weights w.safetensors --backbone-args pad_type=same act=relu "
        "--size 96 --mean 0.5 0.5 0.5 --std 0.25 0.25 0.25 --budget 45s --resume --json --seed 7 --overwrite --no-mirror "
        "--class-weights --folds 3 --strategies probe full --device cpu --fit pad --test-fraction 0.1 "
        "--path-column file --label-column kind --group-column patient --split-column part"
    )
    assert ADAPT.parse(words.split()) == AdaptConfig(
        data="photos",
        out=Path("runs/x"),
        network=BackboneConfig(
            "timm:resnet18", Path("w.safetensors"), ("pad_type=same", "act=relu"), 96, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
        ),
        images=DataConfig("file", "kind", "patient", "part", "pad", 0.1),
        budget="45s",
        strategies=("probe", "full"),
        folds=3,
        seed=7,
        mirror=False,
        class_weights=True,
        device="cpu",
        resume=True,
        overwrite=True,
        json=True,
    )


def test_nested_names_do_not_collide() -> None:
    nested = [BackboneConfig(), DataConfig()]
    every = [entry.name for entry in fields(AdaptConfig)] + [entry.name for part in nested for entry in fields(part)]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_setting_is_a_flag_without_a_prefix_and_explained(run: Any, name: str) -> None:
    said = run(*name.split(), "--help")
    assert (said.code, said.err) == (0, "")
    command = COMMANDS[name]
    required = {f.name for f in fields(command.config) if f.default is f.default_factory is dataclasses.MISSING}
    example = command.config(**{key: Path("x") for key in required})
    for setting, value in _leaves(example).items():
        dashed = setting.replace("_", "-")
        shown = dashed.upper() if setting in required else f"--no-{dashed}" if value is True else f"--{dashed}"
        assert shown in said.out, setting
    assert said.out.count("\n  headstart ") + said.out.count("\n  torchrun ") >= 2  # two examples at least


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_examples_in_the_help_can_be_parsed(name: str) -> None:
    for line in COMMANDS[name].examples:
        words = shlex.split(line)
        rest = words[words.index("headstart") + 1 :]
        count = len(name.split())
        assert " ".join(rest[:count]) == name
        COMMANDS[name].parse(rest[count:])


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["photos", "--budgte", "3"], "--budget"),
        ([], "data"),
        (["photos", "--seed", "a"], "--seed"),
        (["photos", "extra"], "extra"),
        (["photos", "--fit", "stretch"], "squash"),
        (["photos", "--size"], "--size"),
    ],
)
def test_a_line_that_cannot_be_understood_names_what_is_wrong(
    words: list[str], hint: str, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    said = run("adapt", *words)
    assert said.code == UsageError.exit_code == 2
    assert hint.lower() in said.err.lower()
    assert said.err.count("error:") == 0  # said once, by the parser
    machine = run("adapt", *words, "--json")
    assert hint.lower() in json.loads(machine.out)["error"]["message"].lower()
    assert "│" not in json.loads(machine.out)["error"]["message"]
    assert hint.lower() in machine.err.lower()


def test_reading_settings_are_the_data_settings_without_the_split() -> None:
    """`inspect` splits nothing, so it must not offer a flag that would do nothing."""
    assert {f.name for f in fields(DataConfig)} - {f.name for f in fields(ReadingConfig)} == {"test_fraction"}
    with pytest.raises(UsageError):
        COMMANDS["inspect"].parse(["photos", "--test-fraction", "0.5"])


def test_images_and_patterns_may_be_many_or_none() -> None:
    assert COMMANDS["predict"].parse(["m", "a.png", "b"]) == PredictConfig(Path("m"), (Path("a.png"), Path("b")))
    assert COMMANDS["predict"].parse(["m"]).images == ()
    assert COMMANDS["models"].parse([]).patterns == ()
    assert COMMANDS["models"].parse(["a", "b*", "--kind", "timm"]).patterns == ("a", "b*")


def test_demo_defaults() -> None:
    assert COMMANDS["demo"].parse([]) == DemoConfig()


@dataclass(frozen=True)
class _Odd:
    """A command that no one has."""

    spaced: str
    """a word"""
    images: ReadingConfig = field(default_factory=ReadingConfig)


def test_values_reach_the_settings_as_they_were_typed() -> None:
    command = dataclasses.replace(COMMANDS["report"], config=_Odd)
    assert command.parse(["Bäume & Käfer/ "]).spaced == "Bäume & Käfer/ "
