"""What goes into a file: the model's own answers to the bit, and a true description."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from headstart.engine.model import Model
from headstart.errors import ModelFileError
from headstart.export.deployed import Deployed, Facts, facts_of
from headstart.export.runners import of_model
from headstart.nets.net import count_parameters
from headstart.nets.rng import forked
from headstart.nets.small import mlp
from headstart.studies.opening import fingerprint_of
from tests.export.conftest import card


def naive(model: Model, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits and probabilities in float64, from the definitions."""
    mean, std = np.array(model.net.input.mean), np.array(model.net.input.std)
    x = torch.from_numpy(((pixels / 255 - mean) / std).transpose(0, 3, 1, 2))
    head = model.net.head("main")
    with torch.no_grad():
        net = Deployed(model, contiguous=True).net.double()
        features = net.run(x)["pool"].numpy()
    weight, bias = (tensor.detach().double().numpy() for tensor in (head.linear.weight, head.linear.bias))
    logits = features @ weight.T + bias
    scaled = logits * head.calibration[0].item() + head.calibration[1].item()
    chances = np.exp(scaled - scaled.max(1, keepdims=True))
    return logits, chances / chances.sum(1, keepdims=True)


@pytest.mark.parametrize("contiguous", [True, False])
def test_answers_are_the_models(model: Model, pixels: NDArray[np.uint8], contiguous: bool) -> None:
    with torch.no_grad():
        logits, probabilities = (out.numpy() for out in Deployed(model, contiguous=contiguous)(torch.from_numpy(pixels)))
    asked = of_model(model)(pixels)
    if not contiguous:
        assert np.array_equal(logits, asked[0])
        assert np.array_equal(probabilities, model.probabilities(pixels))
    np.testing.assert_allclose(logits, asked[0], atol=1e-5)
    wanted = naive(model, pixels)
    np.testing.assert_allclose(logits, wanted[0], atol=1e-4)
    np.testing.assert_allclose(probabilities, wanted[1], atol=1e-5)


def test_calibration_goes_along(model: Model, pixels: NDArray[np.uint8]) -> None:
    head = model.net.head("main")
    before = head.calibration.clone()
    try:
        head.calibration.copy_(torch.tensor([0.5, 0.25]))
        with torch.no_grad():
            out = Deployed(model, contiguous=False)(torch.from_numpy(pixels))[1].numpy()
        np.testing.assert_allclose(out, naive(model, pixels)[1], atol=1e-5)
    finally:
        head.calibration.copy_(before)


def test_the_model_is_left_as_it_was(model: Model) -> None:
    model.net.add_head("other", 7)
    try:
        before, strides = fingerprint_of(model.net), [p.stride() for p in model.net.parameters()]
        deployed = Deployed(model, contiguous=True)
        assert list(deployed.net.heads) == ["main"]
        assert not any(p.requires_grad for p in deployed.parameters())
        assert fingerprint_of(model.net) == before
        assert [p.stride() for p in model.net.parameters()] == strides
        assert all(p.requires_grad for p in model.net.parameters())
        assert facts_of(model, "onnx").parameters == count_parameters(model.net) - 7 * 33
    finally:
        del model.net.heads["other"]


def test_vectors_go_in_as_they_are() -> None:
    with forked(0):
        net = mlp(6, (5,))
    net.add_head("main", 3)
    model = Model(net, card())
    x = torch.arange(12, dtype=torch.float32).reshape(2, 6)
    with torch.no_grad():
        assert torch.equal(Deployed(model, contiguous=True)(x)[0], net(x))
    facts = facts_of(model, "onnx")
    assert facts.shape == "float32 [batch, 6]"
    assert facts.parameters == 6 * 5 + 5 + 5 * 3 + 3
    assert facts.flops == 2 * (6 * 5 + 5 * 3)


def test_facts_come_back_and_damage_is_told(model: Model) -> None:
    facts = facts_of(model, "onnx")
    kept = json.loads(facts.text())
    assert Facts.from_json(kept, "x") == facts
    assert kept["classes"] == ["ant", "bée", "cow"]
    assert kept["inputs"] == {"images": "uint8 [batch, 16, 16, 3]"}
    assert "squash: the whole image, squeezed" in kept["preprocessing"]
    with pytest.raises(ModelFileError, match=r"a\.onnx says nothing that this headstart"):
        Facts.from_json({**kept, "version": 2}, "a.onnx")
    del kept["classes"]
    with pytest.raises(ModelFileError, match=r"description is damaged.*'classes'"):
        Facts.from_json(kept, "a.onnx")
