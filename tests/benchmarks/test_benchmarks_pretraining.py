"""Greedy pretraining and joint training of all blocks are compared on the same number of view passes."""

import pytest

from benchmarks.greedy import _compare
from benchmarks.pretraining import IMAGES, PASSES, encoder, schooled
from headstart.stage import Stage
from headstart.strategies.pretrain.greedy import greedy
from tests.conftest import make_image_task


@pytest.mark.slow
def test_greedy_pretraining_sees_no_more_images_than_joint_training() -> None:
    net = encoder("greedy")
    config, epochs = schooled("greedy", net, IMAGES)
    joint, most = schooled("supervised", net, IMAGES)
    assert epochs == most == joint.school.epochs
    budgets = [stage.budget.epochs for stage in greedy(net, make_image_task(8, size=32), config) if isinstance(stage, Stage)]
    assert sum(one or 0 for one in budgets) == epochs
    assert epochs * IMAGES <= PASSES
    assert budgets[-1] == config.together > 0


@pytest.mark.slow
def test_greedy_ends_with_the_same_bits_kept_or_not() -> None:
    ratio, differing = _compare(8, make_image_task(64, size=32), 1)
    assert ratio.value > 0
    assert differing.value == 0
