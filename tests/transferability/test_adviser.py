import subprocess
import sys

import pytest

from headstart.errors import ConfigError
from headstart.transferability.adviser import advise

NAMES = {"probe", "svm", "early_probe", "partial", "full", "lpft", "retrain", "retrain_top", "gradual"}
RISING = {"stem": 0.4, "middle": 0.6, "top": 0.9}
FALLING = {"stem": 0.5, "middle": 0.7, "top": 0.55}


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
def test_quadrants(images, depths, pixels, quadrant, strategy):
    advice = advise(images, [images // 10] * 10, 10, depths, 0.6, -0.1, pixels, 270_000)
    assert (advice.quadrant, advice.strategy) == (quadrant, strategy)
    assert advice.strategy in NAMES
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
    advice = advise(images, [images // classes] * classes, classes, {"top": probe}, 0.5, 0.0, pixels)
    assert (advice.size, advice.similarity) == ("small", similarity)


def test_reasons_are_written_for_people():
    """No exponent, no bare fraction, no half image; two figures where more would be a false precision."""
    said = advise(1347, [135, 136] * 5, 10, {"stem": 0.7, "top": 0.9434}, 0.6, -0.1, 0.939, 7_550_000).reasons
    assert said[0] == "1,347 images, about 136 in a typical class: little data (below 20,000 in all)."
    assert said[1] == (
        "A linear head on frozen features gets 94.3 % of the images it has not seen right (guessing: 10.0 %), one on raw "
        "pixels 93.9 %: the features remove 7 % of its errors; from 50 % on data count as like the source."
    )
    assert said[2] == "Accuracy by depth is highest at the last block, top."
    assert said[3] == "Training the whole backbone would move 7,550,000 weights, 5,600 per image."
    low = advise(1000, [500, 500], 2, {"stem": 0.8, "middle": 0.79, "top": 0.78}, 0.6, 0.0, 0.4, 352).reasons
    assert "the features remove 60 % of the errors of guessing" in low[1]  # raw pixels are no better than that
    assert low[2] == "Accuracy by depth is highest at block stem, 80.0 %; the last one, top, reaches 78.0 %."
    assert low[3].endswith("352 weights, 0.35 per image.")
    falling = advise(1000, [500, 500], 2, {"stem": 0.8, "top": 0.6}, 0.6, 0.0).reasons
    assert falling[2].startswith("Accuracy by depth is highest at block stem, 80.0 %, and falls to 60.0 % at the last, top:")


def test_a_share_just_below_a_border_is_not_rounded_up_to_it():
    said = advise(1000, [500, 500], 2, {"top": 0.748}, 0.6, 0.0)
    assert said.similarity == "low"
    assert "49 % of the way from guessing to perfect; from 50 % on" in said.reasons[1]


def test_many_images_of_very_many_classes_are_little_data():
    advice = advise(30_000, [30] * 1000, 1000, RISING, 0.5, 0.0)
    assert advice.size == "small"
    assert "30 in a typical class" in advice.reasons[0]


def test_a_majority_class_raises_chance():
    assert advise(1000, [900, 100], 2, {"top": 0.92}, 0.9, 0.0).similarity == "low"


def test_wrong_input_lists_everything():
    with pytest.raises(ConfigError, match=r"(?s)counts of 1 classes.*probe_by_depth.*pixel_baseline = 2"):
        advise(10, [10], 2, {}, 0.5, 0.0, 2.0)


def test_needs_no_torch():
    code = "import sys, headstart.transferability.adviser, headstart.metrics.paired; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
