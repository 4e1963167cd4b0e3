"""Teachers found and laid to the classes of the data; what the audit says of those whose classes are elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstart.catalog.distill import DistillJobConfig
from headstart.data.prepare import DataSet
from headstart.engine.model import Ancestor
from headstart.errors import BackboneError, ConfigError
from headstart.nets.net import Net
from headstart.nets.small import cifar_resnet
from headstart.studies.distill_audit import Audit, answers_of, audit, live, together
from headstart.studies.distill_teachers import Order, Teacher, find_teachers, learned_elsewhere, order_of
from tests.studies.distill_toys import NAMES, SIZE, saved, student, teacher, write


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    import headstart

    place = tmp_path_factory.mktemp("digits")
    return headstart.read(str(write(place / "data", 90, 30)), size=SIZE, cache=place / "cache")


def looked(data: DataSet, net: Net, mapping: str | None = None) -> Audit:
    (found,) = find_teachers((), [net])
    return audit(found, order_of(found, data.classes, mapping), data.task(), student(), "cpu")


def test_classes_in_another_order_are_put_right_by_name(data: DataSet) -> None:
    one, other = looked(data, teacher()), looked(data, teacher((2, 0, 1)))
    assert (one.order.kind, other.order.kind) == ("same", "reordered")
    assert other.order.alone == (1, 2, 0)
    assert one.train.accuracy > 0.7
    np.testing.assert_allclose(one.train.logits, other.train.logits, rtol=1e-4, atol=1e-4)
    assert one.warnings == other.warnings == ()


def test_names_that_are_written_differently_are_the_same(data: DataSet) -> None:
    net = teacher((1, 0, 2))
    assert net.source is not None
    net.source["card"]["classes"] = ["Digit_1", "DIGIT 0", "digit2"]
    assert looked(data, net).order == Order(((1,), (0,), (2,)), "reordered")


def test_a_teacher_without_names_is_taken_as_it_is_and_checked(data: DataSet, tmp_path: Path) -> None:
    """In the wrong order it is at chance or below; the order offered is the right one, and works as a file."""
    assumed = looked(data, teacher(names=False))
    assert assumed.order.kind == "assumed"
    assert "nothing says what its classes are called" in assumed.warnings[0]
    assert len(assumed.warnings) == 1
    wrong = looked(data, teacher((2, 0, 1), names=False))
    assert "no more often than chance" in wrong.warnings[1]
    assert "probably in another order" in wrong.warnings[2]
    lines = wrong.warnings[2].partition("--map-classes: ")[2].replace(" digit", "digit").split(" ")
    text = "\n".join(word for word in " ".join(lines).replace(",digit ", ",digit_").split(" ")).replace("digit_", "digit ")
    (tmp_path / "map.csv").write_text(text)
    mended = looked(data, teacher((2, 0, 1), names=False), str(tmp_path / "map.csv"))
    assert mended.order.kind == "mapped"
    assert mended.train.accuracy == pytest.approx(assumed.train.accuracy)


def test_a_mapping_is_offered_where_classes_differ(tmp_path: Path) -> None:
    (found,) = find_teachers((), [teacher()])
    with pytest.raises(ConfigError) as caught:
        order_of(found, ("digit 0", "number 1", "digit 2"), None)
    said = str(caught.value)
    assert "answers 3 classes (digit 0, digit 1, digit 2)" in said
    assert "it has none called number 1" in said
    assert "--map-classes FILE" in said
    (tmp_path / "map.csv").write_text(said.partition("looks alike:\n")[2].replace("  ", ""))
    assert order_of(found, ("digit 0", "number 1", "digit 2"), str(tmp_path / "map.csv")).places == ((0,), (1,), (2,))


def test_classes_of_which_it_knows_more_are_offered_by_name() -> None:
    (found,) = find_teachers((), [teacher()])
    with pytest.raises(ConfigError, match=r"all of which it knows by name\. Leave the others out by --map-classes names"):
        order_of(found, NAMES[1:], None)
    assert order_of(found, NAMES[1:], "names") == Order(((1,), (2,)), "mapped")


def test_finer_classes_are_added_up(data: DataSet, tmp_path: Path) -> None:
    (found,) = find_teachers((), [teacher()])
    (tmp_path / "map.csv").write_text("teacher,data\ndigit 0,round\ndigit 1,straight\ndigit 2,round\n")
    order = order_of(found, ("round", "straight"), str(tmp_path / "map.csv"))
    assert order.places == ((0, 2), (1,))
    task = data.task()
    said = answers_of(live(found, order), task, "cpu").argmax(1)
    fine = answers_of(live(found, order_of(found, data.classes, None)), task, "cpu").argmax(1)
    agree = said == (fine == 1)
    assert agree.mean() > 0.95  # two halves of a probability may win together


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("digit 0,nought\ndigit 1,one\n", "no class of the teacher stands for two"),
        ("digit 0,nought\ndigt 1,one\ndigit 2,two\n", "line 2: the teacher has no class 'digt 1', but digit 1"),
        ("digit 0,nought\ndigit 0,one\ndigit 2,two\n", "line 2: 'digit 0' stands for 'nought' already"),
        ("teacher,data\n\ndigit 0,nougt\ndigit 1,one\ndigit 2,two\n", "line 3: the data have no class 'nougt', but nought"),
        ("digit 0\n", "line 1 has not two cells"),
        ("", "it is empty"),
    ],
)
def test_mappings_that_cannot_be(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "map.csv").write_text(text)
    (found,) = find_teachers((), [teacher()])
    with pytest.raises(ConfigError, match=said):
        order_of(found, ("nought", "one", "two"), str(tmp_path / "map.csv"))


def test_teachers_by_folder_and_by_name(tmp_path: Path) -> None:
    place = saved(tmp_path / "run" / "model")
    by_run, by_model, embedded = find_teachers((str(tmp_path / "run"), str(place), "embedded"))
    assert by_run.classes == by_model.classes == NAMES
    assert (embedded.num_classes, embedded.classes[0]) == (10, "airplane")
    assert by_run.ancestors[0].name == "toy"


def test_what_is_no_teacher() -> None:
    for given, error, said in (
        (student(), BackboneError, "no classifier"),
        (cifar_resnet(8, 4, SIZE).blocks, ConfigError, "headstart.build"),
        (3, ConfigError, "int is no network"),
    ):
        with pytest.raises(error, match=said):
            find_teachers((), [given])
    with pytest.raises(BackboneError, match=r"weights drawn at random.*headstart:cifar_resnet8@WEIGHTFILE"):
        find_teachers(("headstart:cifar_resnet8",))
    with pytest.raises(BackboneError, match=r"[Dd]id you mean"):
        find_teachers(("headstart:cifar_resnet21x",))


@pytest.mark.parametrize(
    ("command", "where", "otherwise"),
    [
        ("headstart adapt photos --out runs/a", "photos", False),
        ("headstart adapt photos --out runs/a --seed 1", "photos", True),
        ("headstart adapt photos --out runs/a --seed 1", "others", False),
        ("headstart adapt photos --test-fraction 0.3", "photos", True),
        ("headstart.adapt('photos', out='runs/a', folds=3)", "photos", True),
        ("", "photos", False),
    ],
)
def test_a_teacher_that_may_have_seen_the_test_images(command: str, where: str, otherwise: bool) -> None:
    (found,) = find_teachers((), [teacher()])
    settings = {"command": command} if command else {}
    past = Teacher("t", found.net, found.head, found.own, (Ancestor("a", "full", "photos", "0", settings),))
    assert learned_elsewhere(past, where, DistillJobConfig("photos")) == otherwise


def test_several_say_one_thing() -> None:
    a, b = np.array([[2.0, 0.0]], np.float32), np.array([[0.0, 4.0]], np.float32)
    np.testing.assert_allclose(together([a, b], (), "logits"), [[1.0, 2.0]])
    np.testing.assert_allclose(together([a, b], (3, 1), "logits"), [[1.5, 1.0]])
    mixed = np.exp(together([a, b], (), "probabilities"))
    expected = (np.exp(a) / np.exp(a).sum() + np.exp(b) / np.exp(b).sum()) / 2
    np.testing.assert_allclose(mixed, expected, rtol=1e-6)
