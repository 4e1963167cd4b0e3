"""`headstart select` as typed: on digits with two saved networks, and what is said to what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from headstart.cli.main import COMMANDS
from headstart.nets.rng import forked
from headstart.nets.saved import save_net
from headstart.nets.small import cifar_resnet
from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, `photos`, and two saved networks, `nets/one` and `nets/two`."""
    root, found = tmp_path_factory.mktemp("cli-select"), load_digits(n_class=2)
    for number, (picture, label) in enumerate(zip(found.images[:40], found.target[:40], strict=True)):
        path = root / "photos" / f"digit {label}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture * 15).astype(np.uint8)).save(path)
    for seed, name in enumerate(("one", "two")):
        with forked(seed):
            net = cifar_resnet(8, 4, 8)
        save_net(net, root / "nets" / name)
        (root / "nets" / name / "card.json").write_text("{}")
    return root


def words(place: Path, out: Path, *more: str) -> list[Any]:
    return ["select", place / "photos", "--out", out, "--folds", "2", "--device", "cpu", "--no-race", *more]


def test_a_table_and_the_next_command(run: Run, place: Path, tmp_path: Path) -> None:
    said = run(*words(place, tmp_path / "run", "--candidates", f"{place}/nets/one,{place}/nets/two,embeded"))
    assert said.code == 0
    assert "rank  candidate" in said.out
    assert "could not be used:\n  embeded: no network is called 'embeded'. Did you mean embedded?" in said.out
    assert f"  headstart adapt {place}/photos --out {tmp_path}/run-adapted" in said.out
    assert f"report: {tmp_path}/run/report.html" in said.out
    assert "(1 of 3)" in said.err


def test_json_resume_and_overwrite(run: Run, place: Path, tmp_path: Path) -> None:
    these = words(
        place, tmp_path / "run", "--json", "--runs", str(place / "nets"), "--candidates", f"{place}/nets/*", "all-local"
    )
    assert "no network's name fits" in run(*these).out
    these[-2:] = ["all-local"]
    first = run(*these)
    told = json.loads(first.out)
    assert told["command"] == "select"
    assert {one["name"] for one in told["candidates"]} == {"embedded", f"{place}/nets/one", f"{place}/nets/two"}
    assert run(*these).code == 3
    assert json.loads(run(*these, "--resume").out) == told
    assert run(*these, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("candidates", "said"),
    [
        ("smal", "did you mean the group small"),
        ("embeded,nothing/here", "none of the candidates can be used"),
        ("{place}/empty.txt", "names no network; write one per line"),
        ("embedded@lost.pt", "lost.pt"),
        ("timm:*", "more than --at-most 40"),
    ],
)
def test_what_cannot_be(run: Run, place: Path, tmp_path: Path, candidates: str, said: str) -> None:
    (place / "empty.txt").touch()
    found = run(*words(place, tmp_path / "run", "--candidates", candidates.format(place=place)))
    assert found.code == 2
    assert said in found.err
    assert not (tmp_path / "run").exists()


def test_it_can_be_resumed_and_says_so() -> None:
    assert COMMANDS["select"].resumable
