"""Numbers of one look, against slow references."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.data.task import UNKNOWN, Task
from headstart.data.views import Flip, View
from headstart.engine.evaluate import looking
from headstart.engine.features import FeatureBank
from headstart.metrics.representation import effective_rank
from headstart.strategies.early_probe import depths_of
from headstart.studies.pretrain_data import Parts
from headstart.studies.pretrain_look import Looker, features_of, health, probe
from headstart.transferability.knn import nearest_answers
from tests.conftest import make_image_task, random_states
from tests.engine.engine_toys import resnet


def parts() -> Parts:
    task = make_image_task(90, size=12)
    known, held, test = task.take(np.arange(60)), task.take(np.arange(60, 80)), task.take(np.arange(80, 90))
    return Parts(known, known, held, test)


def test_features_are_those_of_the_bank():
    net, task = resnet(), parts().pool
    with looking(net):
        mine = features_of(net, task.store, task.rows, depths_of(net))
    theirs = FeatureBank().get(net, task.store, task.rows, depths_of(net))
    for name, values in mine.items():
        np.testing.assert_allclose(values, theirs[name], rtol=1e-4, atol=1e-4)


def test_neighbours_vote_with_weights_as_a_loop_does():
    draw = np.random.default_rng(0)
    bank, queries, labels = draw.normal(size=(30, 5)), draw.normal(size=(12, 5)), draw.integers(0, 4, 30)
    for k in (1, 5, 30):
        said = nearest_answers(bank, labels, queries, 4, k=k)
        for query, answer in zip(queries, said, strict=True):
            near = [float(one @ query / np.linalg.norm(one) / np.linalg.norm(query)) for one in bank]
            votes = np.zeros(4)
            for place in np.argsort(near)[-k:]:
                votes[labels[place]] += np.exp(near[place] / 0.1)
            assert answer == votes.argmax()


def test_a_probe_separates_what_is_separable_and_answers_nothing_about_no_numbers():
    draw = np.random.default_rng(1)
    labels = np.arange(60) % 3
    features = (np.eye(3)[labels] * 5 + draw.normal(size=(60, 3))).astype(np.float32)
    assert (probe(features[:45], labels[:45], features[45:], 3) == labels[45:]).mean() == 1.0
    features[0] = np.nan
    assert (probe(features, labels, features, 3) == -1).all()


def test_a_look_names_everything_and_changes_nothing():
    net = resnet()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(0)
    states = random_states()
    looker = Looker(parts(), 0, {"one": View((Flip(0.5),)), "two": View((Flip(1.0),))})
    with looking(net):
        found, again = looker(net), looker(net)
    assert random_states() == states
    assert found == again
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    probes = {f"probe {name}" for name in depths_of(net)}
    assert set(found) == {"knn", "spread", "rank", "uniformity", "alignment", *probes}


def test_without_labels_what_needs_none_is_told():
    whole = make_image_task(40, size=12)
    unknown = Task(whole.name, whole.store, whole.labels * 0 + UNKNOWN, (), whole.rows)
    net = resnet()
    with looking(net):
        found = Looker(Parts(unknown), 0)(net)
        features = features_of(net, whole.store, whole.rows, [net.last])[net.last]
    assert set(found) == {"spread", "rank", "uniformity"}
    assert found["rank"] == pytest.approx(effective_rank(features))


def test_renderings_of_the_same_view_differ_and_a_mirrored_image_is_alike_to_itself():
    net = resnet()
    with looking(net):
        same = Looker(parts(), 0, {"one": View((Flip(1.0),))})(net)["alignment"]
        other = Looker(parts(), 0, {"one": View((Flip(0.5),))})(net)["alignment"]
    assert same == pytest.approx(0.0, abs=1e-9)
    assert other > 1e-9


def test_features_that_are_no_numbers_have_no_health():
    assert health(np.full((5, 3), np.nan, np.float32)) == {}
    assert health(np.ones((1, 3), np.float32)) == {}
