"""What is said of data with several tasks."""

from __future__ import annotations

import json

import numpy as np

from headstart.data.answers import Answers, said, split_problems, value_problems
from headstart.data.label_findings import known_by_part, known_together, task_found


def test_counts_of_every_kind() -> None:
    c = task_found(Answers("c", "classes", ("a", "b", "z"), np.array([0, 1, 1, -1])))
    assert (c.known, c.missing, c.counts) == (3, 1, {"a": 1, "b": 2, "z": 0})
    s = task_found(Answers("s", "several", ("p", "q"), np.array([[1, -1], [0, 1], [-1, -1]])))
    assert (s.known, s.missing, s.counts, s.asked) == (2, 1, {"p": 1, "q": 1}, {"p": 2, "q": 1})
    n = task_found(Answers("n", "number", (), np.array([1, 3, np.nan], np.float32)))
    assert (n.known, n.missing, n.numbers) == (2, 1, (1.0, 2.0, 3.0, 1.0))


def test_tasks_known_together() -> None:
    a = Answers("a", "classes", ("x", "y"), np.array([0, 1, -1, 0, -1]))
    b = Answers("b", "number", (), np.array([1, np.nan, 2, 3, np.nan], np.float32))
    assert known_together([a, b]) == {"a + b": 2, "a": 1, "b": 1, "none": 1}
    parts = {"train": np.array([0, 1, 2]), "test": np.array([3, 4])}
    assert known_by_part([a, b], parts) == {"train": {"a": 2, "b": 2}, "test": {"a": 1, "b": 1}}


def test_many_combinations_are_summed_up() -> None:
    rng = np.random.default_rng(0)
    answers = [Answers(f"t{i}", "classes", ("x", "y"), rng.integers(-1, 2, 500)) for i in range(9)]
    told = known_together(answers)
    assert len(told) == 21
    assert sum(told.values()) == 500
    assert list(told)[-1].endswith("other combinations")
    json.dumps(told)


def test_answers_in_words() -> None:
    assert said("yes_no", ("no", "yes"), np.int64(1)) == "yes"
    assert said("classes", ("a", "b"), np.int64(-1)) == said("number", (), np.float32(np.nan)) == "unknown"
    assert said("number", (), np.float32(2.5)) == "2.5"
    assert said("several", ("car", "sign"), np.array([1, -1])) == "car yes"
    assert said("several", ("car", "sign"), np.array([-1, -1])) == "unknown"


def test_what_cannot_be_learned() -> None:
    one_sided = Answers("s", "several", ("p", "q", "r", "t"), np.array([[1, 0, -1, 0], [1, 0, -1, 1]]))
    told = "\n".join(value_problems(one_sided, " in train"))
    assert "'q' is never yes in train" in told
    assert "'p' is never no in train" in told
    assert "'r' is never known in train" in told
    assert "'t'" not in told
    n = Answers("n", "number", (), np.array([1, 2, 2, 5, np.nan], np.float32))
    splits = {"train": np.array([1, 2]), "val": np.array([4]), "test": np.array([0, 3])}
    assert [line.split(";")[0] for line in split_problems(n, splits)] == [
        "task 'n' has one value only in train, '2'",
        "task 'n' has no known label in val",
    ]
