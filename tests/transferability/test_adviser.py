import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from headstart.errors import ConfigError
from headstart.transferability.adviser import Advice, advise
from headstart.transferability.evidence import Evidence, logit
from headstart.transferability.forecast import Forecaster

NAMES = {"probe", "svm", "early_probe", "partial", "full", "lpft", "retrain", "retrain_top", "gradual"}
RISING = {"stem": 0.4, "middle": 0.6, "top": 0.9}
FALLING = {"stem": 0.5, "middle": 0.7, "top": 0.55}


def told(counts: list[int], depths: dict[str, float], pixels: float | None, parameters: int = 0, **others: Any) -> Advice:
    """The advice for so many images per class."""
    evidence = Evidence.of(sum(counts), counts, list(depths.values()), parameters, pixels=pixels, knn=0.6, logme=-0.1)
    return advise(evidence, depths, **others)


@pytest.mark.parametrize(
    ("images", "depths", "pixels", "quadrant", "strategy"),
    [
        (50_000, RISING, 0.5, 2, "partial"),
        (50_000, FALLING, 0.5, 1, "full"),
        (50_000, FALLING, 0.8, 1, "retrain"),
        (1_000, RISING, 0.5, 4, "probe"),
        (1_000, FALLING, 0.5, 3, "early_probe"),
        (50, RISING, 0.5, 4, "svm"),
        (1_000, RISING, None, 4, "probe"),
        (1_000, {"top": 0.3}, None, 3, "early_probe"),
        (1_000, RISING, 0.85, 3, "early_probe"),
    ],
)
def test_quadrants_of_the_classic_table(images, depths, pixels, quadrant, strategy):
    advice = told([images // 10] * 10, depths, pixels, 270_000)
    assert (advice.quadrant, advice.strategy, advice.by_table) == (quadrant, strategy, strategy)
    assert advice.strategy in NAMES
    assert advice.forecast is None
    assert (advice.size, advice.similarity) == (
        "large" if quadrant < 3 else "small",
        "high" if quadrant in (2, 4) else "low",
    )
    assert all(reason.endswith(".") for reason in advice.reasons)
    assert f"{images:,} images" in advice.reasons[0]
    each = {50_000: "5.4", 1000: "270", 50: "5,400"}[images]
    assert f"270,000 weights, {each} per image" in " ".join(advice.reasons)
    assert advice.measures["knn"] == 0.6
    assert f"quadrant {quadrant}" in str(advice)
    assert bool(advice.actions) == (quadrant == 3)


@pytest.mark.parametrize(
    ("probe", "pixels", "classes", "images", "similarity"),
    [
        (0.84, 0.54, 2, 244, "high"),
        (0.93, 0.47, 20, 1145, "high"),
        (0.81, 0.24, 20, 2400, "high"),
        (0.47, 0.57, 43, 2580, "low"),
    ],
)
def test_measured_data_sets(probe, pixels, classes, images, similarity):
    """A frozen MobileNetV1-0.25 on ants and bees, Caltech, ImageNet classes and traffic signs."""
    advice = told([images // classes] * classes, {"top": probe}, pixels)
    assert (advice.size, advice.similarity) == ("small", similarity)


def test_reasons_are_written_for_people():
    """No exponent, no bare fraction, no half image; two figures where more would be a false precision."""
    said = told([135] * 8 + [133, 134], {"stem": 0.7, "top": 0.9434}, 0.939, 7_550_000).reasons
    assert said[0] == "1,347 images, 135 in a typical class: little data (below 20,000 in all)."
    assert said[1] == (
        "A linear head on frozen features gets 94.3 % of the images it has not seen right (guessing: 10.0 %), one on raw "
        "pixels 93.9 %: the features remove 7 % of its errors; from 60 % on data count as like the source."
    )
    assert said[2] == "Accuracy by depth is highest at the last block, top."
    assert said[3] == "Training the whole backbone would move 7,550,000 weights, 5,600 per image."
    assert "about 136 in a typical class" in told([135, 136] * 5, RISING, 0.9).reasons[0]
    low = told([500, 500], {"stem": 0.8, "middle": 0.79, "top": 0.78}, 0.4, 352).reasons
    assert "the features remove 60 % of the errors of guessing" in low[1]  # raw pixels are no better than that
    assert low[2] == "Accuracy by depth is highest at block stem, 80.0 %; the last one, top, reaches 78.0 %."
    assert low[3].endswith("352 weights, 0.35 per image.")
    falling = told([500, 500], {"stem": 0.8, "top": 0.6}, None).reasons
    assert falling[2].startswith("Accuracy by depth is highest at block stem, 80.0 %, and falls to 60.0 % at the last, top:")


def test_a_share_just_below_a_border_is_not_rounded_up_to_it():
    said = told([500, 500], {"top": 0.748}, None)
    assert said.similarity == "low"
    assert "49 % of the way from guessing to perfect; from 50 % on" in said.reasons[1]


def test_many_images_of_very_many_classes_are_little_data():
    advice = told([30] * 1000, RISING, 0.1)
    assert advice.size == "small"
    assert "30 in a typical class" in advice.reasons[0]


def test_a_majority_class_raises_chance():
    assert told([900, 100], {"top": 0.92}, None).similarity == "low"


def test_where_nothing_is_safe_there_are_five_ways_out():
    said = told([100] * 10, FALLING, 0.5, 270_000, twice=0.76).actions
    assert "middle is 15.0 points better than the last" in said[0]
    assert "headstart select" in said[1]
    assert "270,000" in said[2]
    assert said[3] == "Label more: twice the images should bring a frozen head +6.0 points, worth it."
    rising = told([100] * 10, {"stem": 0.2, "top": 0.3}, None, 270_000, twice=0.301).actions
    assert rising[0].startswith("Read all depths side by side")
    assert rising[-1].endswith("+0.1 points, little for the work.")
    assert told([100] * 10, RISING, 0.5, twice=0.95).actions == []


def forecaster(weights: list[list[float]], *, most: float = 1e6) -> Forecaster:
    """Of probe, early_probe and full, from images per class and raw pixels, missing by -0.5 to 0.5 logits."""
    return Forecaster(
        ("probe", "early_probe", "full"),
        ("images per class", "raw pixels"),
        np.array([1.5, 0.0]),
        np.ones(2),
        np.array(weights),
        np.linspace(-0.5, 0.5, 11)[:, None] * np.ones(3),
        np.ones(11),
        9,
        most,
    )


FULL_WINS = [[0.0, 0.2, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
MORE_IMAGES = [[0.0, 0.2, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]
BETTER_PIXELS = [[0.0, 0.2, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]


def test_past_experiments_come_before_the_table():
    advice = told([100] * 10, RISING, 0.5, forecaster=forecaster(FULL_WINS))
    assert (advice.quadrant, advice.strategy, advice.by_table) == (4, "full", "probe")
    assert advice.forecast is not None
    assert advice.forecast.strategies == ("full", "early_probe", "probe")
    said = " ".join(advice.reasons)
    low, high = (1 / (1 + math.exp(-logit(0.9, 1000) - gain)) for gain in (0.2, 1.0))
    lead = f"{100 * (high - low):.1f} points ahead of a linear head on all frozen blocks side by side."
    assert f"fine-tuning every block at a tenth of the rate does best on data and networks like these, {lead}" in said
    assert advice.forecast.interval("full") == pytest.approx(
        tuple(1 / (1 + math.exp(-logit(0.9, 1000) - 1 - miss)) for miss in (-0.4, 0.4))
    )
    assert advice.forecast.sure("full") == 0.95
    assert "The classic table would choose a linear head on the frozen last block" in said


def test_a_lead_of_less_than_a_point_is_called_level():
    said = told([100] * 10, RISING, 0.5, forecaster=forecaster([[0.0, 0.95, 1.0], [0.0] * 3, [0.0] * 3])).reasons
    assert any(line.endswith("level with a linear head on all frozen blocks side by side.") for line in said)


def test_the_table_decides_where_experience_ends():
    far = forecaster(FULL_WINS, most=999)
    assert told([100] * 10, RISING, 0.5, forecaster=far).forecast is None
    assert told([100] * 10, RISING, None, forecaster=forecaster(FULL_WINS)).strategy == "probe"  # vectors: no pixels
    evidence = replace(Evidence.of(1000, [100] * 10, list(RISING.values()), 1, pixels=0.5), pretrained=False)
    assert advise(evidence, RISING, forecaster=forecaster(FULL_WINS)).forecast is None


def test_no_way_out_goes_against_what_past_experiments_say():
    full = told([100] * 10, FALLING, 0.5, 270_000, twice=0.76, forecaster=forecaster(FULL_WINS))
    assert (full.quadrant, full.strategy) == (3, "full")
    assert [said.split(":")[0] for said in full.actions] == [
        "Look for another source, made from more similar images",
        "Label more",
    ]
    all_depths = forecaster([[0.0, 1.0, 0.2], [0.0] * 3, [0.0] * 3])
    frozen = told([100] * 10, FALLING, 0.5, 270_000, forecaster=all_depths)
    assert frozen.strategy == "early_probe"
    assert frozen.actions[0].startswith("Read an earlier block")
    level = told([100] * 10, {"stem": 0.2, "top": 0.3}, 0.25, 270_000, forecaster=all_depths)
    assert [said.split(":")[0] for said in level.actions] == ["Look for another source, made from more similar images"]


def test_what_would_change_the_advice():
    few = told([20] * 10, RISING, 0.5, forecaster=forecaster(MORE_IMAGES))
    assert few.strategy == "early_probe"
    assert few.change == [
        "With 80 images per class, and all else as it is, it would be fine-tuning every block at a tenth of the rate."
    ]  # with 40 it would be best, but by less than a point
    alike = told([20] * 10, RISING, 0.5, forecaster=forecaster(BETTER_PIXELS))
    assert alike.strategy == "early_probe"
    (said,) = alike.change
    assert said.startswith("If raw pixels alone got 55.0 % right, it would be fine-tuning")
    never = told([20] * 10, RISING, 0.5, forecaster=forecaster(FULL_WINS))
    assert never.change == [
        "Nothing within eight times more or fewer images would change it, nor 20 points more or less from raw pixels."
    ]


def test_wrong_input_lists_everything():
    broken = replace(Evidence.of(10, [10], [0.5], 0), pixels=2.0, images=0)
    with pytest.raises(ConfigError, match=r"(?s)0 images of 1 classes.*probe_by_depth.*pixel_baseline = 2"):
        advise(broken, {})


def test_needs_no_torch():
    code = "import sys, headstart.transferability.adviser, headstart.metrics.paired; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
