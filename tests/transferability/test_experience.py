"""What comes with headstart: the experiments are whole, and the points of the picture are theirs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from headstart.transferability.experience import (
    FROZEN,
    RETRAINED,
    USED,
    calibration,
    cases,
    counted,
    forecaster,
    from_json,
    to_json,
)
from headstart.transferability.quadrant import size_place


def test_json_and_back() -> None:
    assert from_json(to_json(cases())) == list(cases())


def test_every_case_is_whole() -> None:
    strategies = set(cases()[0].accuracy)
    assert set(FROZEN) | set(RETRAINED) < strategies
    for case in cases():
        assert set(case.accuracy) == strategies
        assert all(0 <= accuracy <= 1 for accuracy in case.accuracy.values())
        assert forecaster().reaches(case.evidence)
    assert forecaster().measures == USED


def test_draws_share_a_point() -> None:
    points = calibration()
    groups = {(case.source, case.target, case.evidence.typical) for case in cases()}
    assert len(points) == len(groups)
    assert len({point["label"] for point in points}) == len(points)
    for point in points:
        assert 0 < point["x"] < 1
        assert 0 < point["y"] < 1
        frozen = point["winner"] in FROZEN
        assert (point["family"] == "frozen") == frozen
        assert point["gap"] <= 0 if frozen else point["gap"] >= 0
    same = [case for case in cases() if case.label == points[0]["label"]]
    assert points[0]["y"] == pytest.approx(max(size_place(sum(case.evidence.images for case in same) / len(same)), 0.02))


def test_counted_is_a_sentence_part() -> None:
    assert counted().startswith(f"{len(cases())} experiments on ")


def test_no_torch_is_needed() -> None:
    use = "from headstart.transferability.experience import forecaster; forecaster()"
    code = f"import sys; {use}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
