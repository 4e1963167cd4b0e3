"""What a person may write for candidates, and what is said to what they should not have written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from headstart.catalog.groups import GROUPS
from headstart.catalog.select import Candidate, SelectConfig
from headstart.errors import ConfigError, InputError
from headstart.nets.small import cifar_resnet, mlp
from headstart.studies.candidates import load, resolve, split_words


def names(*texts: str, **settings: Any) -> list[str]:
    return [str(one) for one in resolve(SelectConfig("photos", candidates=texts, **settings))]


def test_names_groups_and_patterns() -> None:
    assert names("embedded, timm:resnet18 ,") == ["embedded", "timm:resnet18"]
    assert names("embedded", "timm:resnet18") == ["embedded", "timm:resnet18"]
    assert names("small") == list(GROUPS["small"])
    assert names("torchvision:resnet1?") == ["torchvision:resnet18"]


def test_the_same_twice_is_one(tmp_path: Path) -> None:
    assert names("embedded,embedded", "embedded") == ["embedded"]
    assert names("small", GROUPS["small"][0]) == list(GROUPS["small"])
    (tmp_path / "w.pt").touch()
    assert len(names(f"timm:resnet18@{tmp_path}/w.pt,timm:resnet18@{tmp_path}/./w.pt")) == 1
    assert names("runs/a,runs/a/") == ["runs/a"]


def test_all_local_looks_below_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("headstart.studies.candidates.local_networks", lambda runs: asked.append(runs) or ["embedded"])
    assert names("all-local", runs=tmp_path) == ["embedded"]
    assert asked == [tmp_path]


def test_a_list(tmp_path: Path) -> None:
    path = tmp_path / "nets.txt"
    path.write_text(
        "# mine\nembedded\n\n torchvision:resnet1? # both\ntimm:resnet18@w.pt pad_type=same size=96 mean=.5 std=.1/.2/.3\n"
    )
    found = resolve(SelectConfig("photos", candidates=(str(path),)))
    assert [str(one) for one in found] == ["embedded", "torchvision:resnet18", "timm:resnet18@w.pt"]
    last = found[-1]
    assert (last.weights, last.args, last.size) == (Path("w.pt"), ("pad_type=same",), 96)
    assert (last.mean, last.std) == ((0.5, 0.5, 0.5), (0.1, 0.2, 0.3))


def test_different_ones_get_different_names(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "w.pt").touch()
    found = names(f"timm:resnet18@{tmp_path}/a/w.pt,timm:resnet18@{tmp_path}/b/w.pt,embedded,embedded size=64")
    assert len(set(found)) == 4
    assert found[:2] == [f"timm:resnet18@{tmp_path}/{place}/w.pt" for place in "ab"]
    assert found[3] == "embedded size=64"
    modules = resolve(SelectConfig("photos"), [nn.Linear(2, 2), nn.Linear(2, 2)])
    assert [str(one) for one in modules] == ["Linear", "Linear #2"]


def test_a_file_with_a_comma_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a,b.txt"
    path.write_text("embedded\n")
    assert split_words(str(path)) == [str(path)]
    assert names(str(path)) == ["embedded"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no network"),
        (" , ", "names no network"),
        ("timm:nothing-like-it*", "no network's name fits 'timm:nothing-like-it"),
        ("@w.pt", "lacks the name"),
        ("timm:resnet18@", "lacks the weight file"),
        ("timm:resnet18@w.pt size=big", "size=big is no number of pixels"),
        ("timm:resnet18 size=0", "size=0 is no number of pixels"),
        ("timm:resnet18 mean=a/b", "mean=a/b is not a number"),
        ("timm:resnet18 size=9 same", "not key=value"),
        ("timm:*", "more than --at-most 40"),
    ],
)
def test_what_cannot_be_understood(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        names(text)


def test_lists_that_are_none(tmp_path: Path) -> None:
    empty, binary, wrong = tmp_path / "empty.txt", tmp_path / "weights.pt", tmp_path / "wrong.txt"
    empty.write_text("\n# nothing yet\n")
    binary.write_bytes(b"PK\x03\x04\xff\xfe\x00\x80")
    wrong.write_text("embedded\nzzz*\n")
    with pytest.raises(ConfigError, match="names no network; write one per line"):
        names(str(empty))
    with pytest.raises(ConfigError, match=f"NAME@{binary}"):
        names(str(binary))
    with pytest.raises(ConfigError, match=r"wrong.txt, line 2: no network's name fits 'zzz\*'"):
        names(str(wrong))


def test_objects_from_python() -> None:
    net = mlp(4, (3,))
    found = resolve(SelectConfig("x"), ["embedded", Path("runs/a"), net, Candidate(cifar_resnet(8, 4, 8), "mine")])
    assert [str(one) for one in found] == ["embedded", "runs/a", "Net", "mine"]
    with pytest.raises(ConfigError, match="int is no network"):
        resolve(SelectConfig("x"), [3])
    copied = load(found[2])
    assert copied is not net
    assert all(a.equal(b) for a, b in zip(copied.parameters(), net.parameters(), strict=True))


def test_the_networks_own_classifier_is_kept() -> None:
    assert list(load(Candidate("embedded")).heads) == ["source"]


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (Candidate("embeded"), "Did you mean embedded"),
        (Candidate("smal"), "Or did you mean the group small"),
        (Candidate("all_local"), "Or did you mean the group all-local"),
        (Candidate("networks.txt"), "There is no file networks.txt"),
        (Candidate("headstart:cifar_resnet8", weights=Path("lost.pt")), "lost.pt"),
        (Candidate("embedded", weights=Path("lost.pt")), "lost.pt"),
        (Candidate("embedded", args=("pad_type=same",)), "has its own weights"),
        (Candidate(nn.Linear(4, 2)), "--size"),
        (Candidate("nowhere/at/all"), "is no folder"),
    ],
)
def test_what_cannot_be_loaded(one: Candidate, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load(one)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no saved headstart model"):
        load(Candidate(str(tmp_path)))
