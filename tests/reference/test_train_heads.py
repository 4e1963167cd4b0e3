import numpy as np
import pytest
import torch

from headstart.engine.heads import train_heads
from headstart.engine.solvers import stratified_folds
from headstart.errors import ConfigError, NonFiniteLoss
from headstart.seeding import generator, permutation

SETTINGS = {"rates": (0.01, 0.3), "decays": (0.0, 1e-2), "epochs": 3, "batch_size": 16, "seed": 5}


@pytest.fixture
def data():
    rng = generator(0, "heads")
    y = rng.integers(0, 4, 70)
    x = rng.standard_normal((70, 9)) + rng.standard_normal((4, 9))[y]
    return torch.from_numpy(x), torch.from_numpy(y)


def naive(x, y, classes, rate, decay, allowed, epochs, batch, seed):
    """One head by the book: softmax cross-entropy, mean over the images it may see, SGD with momentum."""
    x, y = x.numpy(), y.numpy()
    w, b = np.zeros((classes, x.shape[1])), np.zeros(classes)
    vw, vb = np.zeros_like(w), np.zeros_like(b)
    for epoch in range(epochs):
        order = permutation(len(x), seed, "heads", "order", epoch)
        for begin in range(0, len(x), batch):
            rows = np.array([i for i in order[begin : begin + batch] if i in allowed], int)
            logits = x[rows] @ w.T + b
            chance = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(classes)[y[rows]]
            chance /= max(len(rows), 1)
            vw, vb = 0.9 * vw + chance.T @ x[rows] + decay * w, 0.9 * vb + chance.sum(0)
            w, b = w - rate * vw, b - rate * vb
    return w, b


def test_every_head_is_the_head_trained_alone(data):
    x, y = data
    folds = stratified_folds(y, 3)
    grid = train_heads(x, y, 4, folds=folds, **SETTINGS)
    assert len(grid) == 12
    for h, setting in enumerate(grid.settings):
        allowed = set(folds[setting.fold][0].tolist())
        w, b = naive(x, y, 4, setting.rate, setting.decay, allowed, 3, 16, 5)
        np.testing.assert_allclose(grid.weight[h].numpy(), w, atol=1e-12)
        np.testing.assert_allclose(grid.bias[h].numpy(), b, atol=1e-12)
        alone = train_heads(
            x.float(), y, 4, folds=[folds[setting.fold]], **{**SETTINGS, "rates": [setting.rate], "decays": [setting.decay]}
        )
        np.testing.assert_allclose(alone.weight[0].numpy(), w, atol=1e-6)


def test_out_of_fold_accuracy_and_the_best_setting(data):
    x, y = data
    folds = stratified_folds(y, 3)
    grid = train_heads(x, y, 4, folds=folds, **SETTINGS)
    logits = grid.logits(x)
    for r, rate in enumerate(SETTINGS["rates"]):
        for d, decay in enumerate(SETTINGS["decays"]):
            heads = [h for h, s in enumerate(grid.settings) if (s.rate, s.decay) == (rate, decay)]
            right = sum(int((logits[h, v].argmax(1) == y[v]).sum()) for h, (_, v) in zip(heads, folds, strict=True))
            assert grid.accuracy[r, d] == pytest.approx(right / 70)
    r, d = (SETTINGS[name].index(value) for name, value in zip(("rates", "decays"), grid.best, strict=True))
    assert grid.accuracy[r, d] == grid.accuracy.max()
    assert float(grid.accuracy.max()) > 0.5


def test_without_folds_and_with_torch(data):
    x, y = data
    grid = train_heads(x, y, 4, **{**SETTINGS, "batch_size": 1000})
    assert grid.best is None
    assert torch.isnan(grid.accuracy).all()
    assert grid.settings[0].fold is None
    linear = torch.nn.Linear(9, 4, dtype=torch.float64)
    torch.nn.init.zeros_(linear.weight), torch.nn.init.zeros_(linear.bias)
    optimiser = torch.optim.SGD(
        [{"params": [linear.weight], "weight_decay": 1e-2}, {"params": [linear.bias]}], lr=0.3, momentum=0.9
    )
    for _ in range(3):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(linear(x), y).backward()
        optimiser.step()
    torch.testing.assert_close(grid.weight[3], linear.weight.detach())


def test_a_fold_that_misses_a_whole_batch_waits(data):
    x, y = data
    first = permutation(70, 5, "heads", "order", 0)[:16]
    rest = np.setdiff1d(np.arange(70), first)
    grid = train_heads(x, y, 4, folds=[(rest, first)], **{**SETTINGS, "epochs": 1})
    w, _ = naive(x, y, 4, 0.01, 0.0, set(rest.tolist()), 1, 16, 5)
    np.testing.assert_allclose(grid.weight[0].numpy(), w, atol=1e-12)


def test_same_seed_same_bits_and_the_global_generator_is_left_alone(data):
    x, y = data
    state = torch.get_rng_state()
    first, second = (train_heads(x.float(), y, 4, **SETTINGS).weight for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, train_heads(x.float(), y, 4, **{**SETTINGS, "seed": 6}).weight)


def test_divergence_and_wrong_settings_are_named(data):
    x, y = data
    with pytest.raises(NonFiniteLoss, match=r"1 of 2 heads diverged, from rate 1e\+30 up"):
        train_heads(x.float() * 1e9, y, 4, **{**SETTINGS, "rates": (1e-20, 1e30), "decays": (1e-2,)})
    with pytest.raises(ConfigError, match=r"(?s)rates.*decays.*epochs = 0"):
        train_heads(x, y, 4, rates=[0.0], decays=[-1.0], epochs=0, batch_size=4, seed=0)
