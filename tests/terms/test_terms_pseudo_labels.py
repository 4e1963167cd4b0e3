"""Clusters as labels: every cluster counts the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.terms.pseudo_labels import PseudoLabels
from tests.engine.engine_toys import resnet
from tests.losses.naive import softmax
from tests.terms.test_terms_bootstrap import embedded
from tests.terms.viewed import Viewed, noise


def test_an_image_counts_inversely_to_the_size_of_its_cluster() -> None:
    """Caron et al. 2018, section 3.3: as if clusters were drawn evenly."""
    net = resnet().eval()
    labels = np.array([0, 0, 0, 0, 2, 2])  # cluster 1 has none
    term = PseudoLabels(net, labels, np.arange(6), 3, seed=0).eval()
    step = Viewed(net, {"main": noise()})
    logits = term.classifier(embedded(net, step, "main")).detach().double().numpy()
    losses = np.array([-np.log(softmax(row))[label] for row, label in zip(logits, labels, strict=True)])
    expected = (losses[:4].mean() + losses[4:].mean()) / 2
    assert term(step).item() == pytest.approx(expected, rel=1e-5)
    assert float(term.weights[torch.from_numpy(labels)].mean()) == pytest.approx(1.0)


def test_chance_is_the_loss_of_who_knows_no_image() -> None:
    net, labels = resnet().eval(), np.array([0, 0, 0, 0, 2, 2])
    term = PseudoLabels(net, labels, np.arange(6), 3, seed=0).eval()
    torch.nn.init.zeros_(term.classifier[1].weight)
    term.classifier[1].bias.data.copy_(torch.tensor([0.0, -1e4, 0.0]))  # knows that one has none
    assert term(Viewed(net, {"main": noise()})).item() == pytest.approx(term.chance, rel=1e-5)


def test_rows_of_others_do_not_count() -> None:
    labels = np.array([0, 1, 1, 0, 0, 0])
    term = PseudoLabels(resnet(), labels, np.array([0, 1, 2]), 2, seed=0)
    assert term.weights.tolist() == pytest.approx([1.5, 0.75])
    assert not [name for name in term.state_dict() if name in ("labels", "weights")], "they come from the run's memo"
