"""Average accuracy, forgetting and backward transfer: golden values, naive loops, and intervals that cover."""

import math

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.metrics import continual as c
from headstart.metrics.intervals import hierarchical, wilson
from headstart.metrics.paired import paired_bootstrap

GOLDEN = np.array([[0.90, 0.10, 0.05], [0.95, 0.80, 0.10], [0.70, 0.85, 0.90]])


def test_golden_values_of_the_reference_page():
    assert c.average_accuracy(GOLDEN) == pytest.approx(0.8167, abs=5e-5)
    assert c.forgetting(GOLDEN) == pytest.approx(0.100)
    assert c.backward_transfer(GOLDEN) == pytest.approx(-0.075)


def naive(R: np.ndarray) -> tuple[float, float, float]:
    """The three numbers as their definitions read, one cell at a time."""
    last = len(R) - 1
    accuracies = [R[last][j] for j in range(last + 1) if not math.isnan(R[last][j])]
    lost, moved = [], []
    for j in range(last):
        earlier = [R[i][j] for i in range(last) if not math.isnan(R[i][j])]
        since = [R[i][j] for i in range(j, last) if not math.isnan(R[i][j])]
        if math.isnan(R[last][j]):
            continue
        lost += [max(earlier) - R[last][j]] if earlier else []
        moved += [R[last][j] - since[0]] if since else []
    return tuple(sum(v) / len(v) if v else math.nan for v in (accuracies, lost, moved))


@pytest.mark.parametrize("holes", [0.0, 0.3, 0.7])
def test_equal_to_naive_loops_over_leading_axes_and_with_holes(holes):
    rng = np.random.default_rng(3)
    R = rng.random((4, 5, 6, 6))
    R[rng.random(R.shape) < holes] = np.nan
    for at, number in enumerate((c.average_accuracy, c.forgetting, c.backward_transfer)):
        got = number(R)
        assert got.shape == (4, 5)
        want = [[naive(one)[at] for one in row] for row in R]
        np.testing.assert_allclose(got, want, atol=1e-12)


def test_a_model_that_came_with_its_tasks_has_no_rows_before_it_came():
    R = np.array([[np.nan, np.nan, np.nan], [0.8, 0.9, np.nan], [0.7, 0.95, 0.6]])
    assert c.backward_transfer(R) == pytest.approx((-0.1 + 0.05) / 2)
    assert c.forgetting(R) == pytest.approx((0.1 - 0.05) / 2)
    assert c.left_out(R) == {"average_accuracy": [], "forgetting": [], "backward_transfer": []}


def test_what_was_never_measured_is_left_out_and_named():
    R = np.array([[np.nan, 0.2, np.nan], [np.nan, 0.9, np.nan], [0.7, 0.5, np.nan]])
    assert c.left_out(R) == {"average_accuracy": [2], "forgetting": [0], "backward_transfer": [0]}
    assert c.average_accuracy(R) == pytest.approx(0.6)
    assert c.forgetting(R) == pytest.approx(0.4)


def test_one_task_has_nothing_to_forget():
    assert c.average_accuracy([[0.5]]) == 0.5
    assert math.isnan(c.forgetting([[0.5]]))
    assert math.isnan(c.backward_transfer([[0.5]]))


@pytest.mark.parametrize("shape", [(3,), (2, 3), (0, 0)])
def test_what_is_no_matrix_of_tasks_is_refused(shape):
    with pytest.raises(DataError, match=r"give \[..., tasks, tasks\]"):
        c.forgetting(np.zeros(shape))


def answers(seeds: int, images: tuple[int, ...], R: np.ndarray, rng: np.random.Generator) -> list:
    """Answers whose images differ in difficulty, so that rows are answered alike, as networks do."""
    hard = [rng.random(n) for n in images]
    tasks = len(images)
    return [
        [[(hard[j] + rng.normal(0, 0.15, images[j]) < R[i][j]).astype(int) for j in range(tasks)] for i in range(tasks)]
        for _ in range(seeds)
    ]


@pytest.mark.parametrize("seeds", [1, 3])
def test_means_are_those_of_the_seeds_own_numbers(seeds):
    correct = answers(seeds, (40, 60, 50), GOLDEN, np.random.default_rng(1))
    R = np.array([[[cell.mean() for cell in row] for row in rows] for rows in correct])
    got = c.over_images(correct, draws=2000)
    assert got.average_accuracy.mean == pytest.approx(c.average_accuracy(R).mean())
    assert got.forgetting.mean == pytest.approx(c.forgetting(R).mean())
    assert got.backward_transfer.mean == pytest.approx(c.backward_transfer(R).mean())
    assert got.change.mean == pytest.approx((R[:, 2, :2] - R[:, 1, :2]).mean())
    assert got.change.mean == pytest.approx(got.after.mean - got.before.mean)
    for found in (got.average_accuracy, got.forgetting, got.backward_transfer, got.change, got.before):
        assert found.low < found.mean < found.high


def test_one_cell_is_a_proportion_and_over_seeds_the_house_interval():
    correct = answers(1, (40, 60), GOLDEN[:2, :2], np.random.default_rng(2))
    cell = c.over_images(correct).cells[1][0]
    assert cell == wilson(int(correct[0][1][0].sum()), 40)
    many = answers(4, (40, 60), GOLDEN[:2, :2], np.random.default_rng(2))
    got, want = c.over_images(many).cells[1][0], hierarchical(np.stack([rows[1][0] for rows in many]), 0)
    assert (got.mean, got.low, got.high) == pytest.approx((want.mean, want.low, want.high), abs=0.01)


def test_the_change_of_one_old_task_is_the_house_paired_bootstrap():
    correct = answers(1, (300, 60), np.array([[0.9, 0.1], [0.8, 0.7]]), np.random.default_rng(5))
    got, want = c.over_images(correct).change, paired_bootstrap(correct[0][1][0], correct[0][0][0], 0)
    assert (got.mean, got.low, got.high) == pytest.approx((want.mean, want.low, want.high), abs=0.005)


def test_answers_that_did_not_change_are_not_certain_on_few_images():
    same = [[[np.ones(30), np.zeros(20)], [np.ones(30), np.ones(20)]]]
    got = c.over_images(same)
    assert got.forgetting.mean == 0
    assert got.forgetting.low < 0 < got.forgetting.high
    assert got.average_accuracy.mean == got.average_accuracy.high == 1
    assert got.average_accuracy.low < 0.99


@pytest.mark.parametrize(("seeds", "least"), [(1, 0.9), (4, 0.88)])
def test_intervals_cover(seeds, least):
    """Of 95 % intervals over fresh images (and seeds that differ), about 95 % hold the truth."""
    truth, hit, rng = np.array([[0.9, 0.1], [0.7, 0.8]]), 0, np.random.default_rng(11)
    for trial in range(100):
        made = []
        for _ in range(seeds):
            shift = rng.normal(0, 0.03, 2) if seeds > 1 else np.zeros(2)
            row = [[rng.random(80) < 0.9, rng.random(60) < 0.1], [rng.random(80) < 0.7 + shift[0], rng.random(60) < 0.8]]
            made.append(row)
        got = c.over_images(made, seed=trial, draws=300).change
        hit += got.low <= truth[1, 0] - truth[0, 0] <= got.high
    assert hit / 100 >= least


def test_several_new_tasks_compare_with_the_model_as_it_came():
    correct = answers(1, (40, 50, 60), GOLDEN, np.random.default_rng(4))
    correct[0][0] = [correct[0][0][0], None, None]
    correct[0][1][2] = None
    got = c.over_images(correct, first_new=1)
    assert got.old == [0]
    assert got.change.mean == pytest.approx(correct[0][2][0].mean() - correct[0][0][0].mean())
    assert got.cells[0][1] is None
    none = c.over_images(correct, first_new=0)
    assert none.change is None
    assert none.to_json()["old"] is None


def test_old_tasks_that_were_never_judged_leave_none():
    new = np.array([1, 0, 1, 1])
    got = c.over_images([[[None, None], [None, new]]])
    assert got.forgetting is None
    assert got.change is None
    assert got.average_accuracy == wilson(3, 4)
    assert got.left_out == {"average_accuracy": [0], "forgetting": [0], "backward_transfer": [0]}
    assert got.to_json()["new"]["mean"] == 0.75


def test_same_seed_same_interval():
    correct = answers(2, (40, 50), GOLDEN[:2, :2], np.random.default_rng(6))
    assert c.over_images(correct, seed=7, draws=300) == c.over_images(correct, seed=7, draws=300)


@pytest.mark.parametrize(
    ("correct", "says"),
    [
        ([], "at least one"),
        ([[[[1, 0]], [[1]]]], "same number of tasks"),
        ([[[[0.5, 1]]]], "right \\(1\\) or wrong"),
        ([[[[1, 0], [1]], [[1], [0]]]], "use the same ones"),
        ([[[[1, 0]]], [[None]]], "same places"),
    ],
)
def test_what_is_wrong_with_answers_is_said(correct, says):
    with pytest.raises(DataError, match=says):
        c.over_images(correct)


def test_the_first_new_task_must_be_one():
    with pytest.raises(DataError, match="give 0 to 0"):
        c.over_images([[[[1, 0]]]], first_new=1)


def test_every_number_has_a_definition():
    assert set(c.DEFINITIONS) == {"average_accuracy", "forgetting", "backward_transfer", "task_aware", "task_agnostic"}
