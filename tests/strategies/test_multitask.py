"""One network for several tasks: every kind of question, every way to share, absent labels, exact resume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from headstart.catalog.sharing import PULL, SharingConfig
from headstart.catalog.strategies import Recipe
from headstart.catalog.weightings import WEIGHTINGS
from headstart.data.mix import Mix, mix_of
from headstart.data.store import store_of
from headstart.data.task import YES_NO, task_of
from headstart.engine.fit import Machine
from headstart.engine.interrupt import STOP
from headstart.engine.log import RunLog
from headstart.engine.run import Drive
from headstart.errors import ConfigError, Interrupted
from headstart.losses.sharing import distance
from headstart.nets.net import Net
from headstart.nets.parallel import tower_parameters
from headstart.nets.towers import towers
from headstart.seeding import seed_for
from headstart.strategies.multitask import multitask
from tests.engine.engine_toys import perceptron, resnet, stopping_at

KINDS = ("classes", "yes_no", "several", "number")
CONFIG = SharingConfig(Recipe(epochs=3, batch_size=16, lr=0.05, augment=False), scale=1.0)


@pytest.fixture(autouse=True)
def running() -> Iterator[None]:
    yield
    STOP.requested = False


def mixed(images: bool = False, missing: float = 0.4, count: int = 70, **how) -> Mix:
    """Four tasks about the same samples, each with labels for some of them."""
    draw = np.random.default_rng(7)
    hidden = draw.normal(size=(count, 6)).astype(np.float32)
    if images:
        base = np.clip(128 + 40 * hidden[:, :3, None, None], 0, 255).transpose(0, 2, 3, 1)
        store = store_of(np.broadcast_to(base, (count, 12, 12, 3)).astype(np.uint8).copy())
    else:
        store = store_of(np.concatenate([hidden, hidden], 1))
    labels = {
        "kind": np.digitize(hidden[:, 0], (-0.5, 0.5)),
        "positive": (hidden[:, 1] > 0).astype(int),
        "tags": (hidden[:, :2] > 0).astype(int),
        "size": 50 + 10 * hidden[:, 2],
    }
    for name, values in labels.items():
        gone = draw.random(values.shape) < missing
        labels[name] = np.where(gone, np.nan if name == "size" else -1, values)
    names = {"kind": ("low", "middle", "high"), "positive": YES_NO, "tags": ("sun", "rain"), "size": ()}
    tasks = [task_of(n, store, labels[n], names[n], kind) for n, kind in zip(names, KINDS, strict=True)]
    return mix_of("toy", tasks, **how)


def trained(net: Net, mix: Mix, cfg: SharingConfig = CONFIG, seed: int = 0, folder=None, log=None) -> Net:
    torch.manual_seed(5)
    drive = Drive(net, seed, Machine(checkpoint_every=0.0), folder, None, log or RunLog(None))
    drive.run(multitask(net, mix, cfg))
    return net


def losses_of(log: list[dict]) -> list[dict[str, float]]:
    return [line["losses"] for line in log if line["event"] == "epoch"]


@pytest.mark.parametrize("images", [False, True])
def test_every_kind_of_question_is_learned_at_once(images):
    lines: list[dict] = []
    cfg = replace(CONFIG, recipe=replace(CONFIG.recipe, epochs=25 if images else 12))
    trained(resnet() if images else perceptron(12), mixed(images), cfg, log=RunLog(None, (lines.append,)))
    first, last = losses_of(lines)[0], losses_of(lines)[-1]
    assert set(first) == {"kind", "positive", "tags", "size"}
    assert all(last[name] < 0.9 * first[name] for name in first), (first, last)


@pytest.mark.parametrize("sharing", ["hard", "soft", "cross_stitch"])
def test_every_way_to_share_repeats_and_moves_every_tower(sharing):
    def made() -> Net:
        net = perceptron(12)
        names = tuple(mixed().tasks)
        if sharing == "hard":
            return net
        return towers(net, names, stitch=(net.block_names[0],) if sharing == "cross_stitch" else ())

    cfg = replace(CONFIG, pull=0.1 if sharing == "soft" else 0.0)
    before = {name: value.clone() for name, value in made().named_parameters()}
    one, other = trained(made(), mixed(), cfg), trained(made(), mixed(), cfg)
    for (name, value), again in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(value, again), name
        if name in before:
            assert not torch.equal(value, before[name]), f"{name} did not move"


def test_towers_end_the_nearer_the_harder_they_are_pulled_and_at_the_usual_strength_already():
    """Copies of one network, which part by what their tasks want."""
    found = []
    for pull in (0.0, PULL, 100 * PULL):
        net = towers(perceptron(12), tuple(mixed().tasks))
        trained(net, mixed(), replace(CONFIG, pull=pull, recipe=replace(CONFIG.recipe, epochs=15), watch=False))
        found.append(distance(tower_parameters(net)))
    assert found[1] < 0.97 * found[0]
    assert found[2] < 0.3 * found[0]


@pytest.mark.parametrize("weighting", [name for name, one in WEIGHTINGS.items() if one.family != "by gradients"])
@pytest.mark.parametrize("stop", [2, 7])
def test_a_run_stopped_inside_goes_on_to_the_same_bits_with_any_weighting(weighting, stop, tmp_path):
    cfg = replace(CONFIG, weighting=weighting)
    if weighting == "schedule":
        cfg = replace(
            cfg, weighting_settings=replace(WEIGHTINGS[weighting].config, schedule=dict.fromkeys(mixed().tasks, "1 - t / 2"))
        )
    whole: list[dict] = []
    expected = trained(perceptron(12), mixed(), cfg, log=RunLog(None, (whole.append,)))

    with pytest.raises(Interrupted):
        trained(perceptron(12), mixed(), cfg, folder=tmp_path, log=stopping_at("multitask", stop))
    STOP.requested = False
    later: list[dict] = []
    found = trained(perceptron(12), mixed(), cfg, folder=tmp_path, log=RunLog(None, (later.append,)))
    for (name, value), other in zip(expected.state_dict().items(), found.state_dict().values(), strict=True):
        assert torch.equal(value, other), name
    kept = [line["weights"] for line in whole if line["event"] == "epoch"]
    assert kept[-1] == [line["weights"] for line in later if line["event"] == "epoch"][-1]


@pytest.mark.parametrize("sampling", ["proportional", "sqrt", "round_robin"])
@pytest.mark.parametrize("per", ["batch", "sample"])
def test_tasks_on_different_data_are_drawn_and_the_absent_ones_left_out(sampling, per):
    mix = mixed(missing=0.0)
    half = np.arange(35), np.arange(35, 70)
    tasks = [mix.tasks["kind"].take(half[0]), mix.tasks["size"].take(half[1])]
    lines: list[dict] = []
    made = mix_of("two", tasks, half, sampling, per)
    trained(perceptron(12), made, log=RunLog(None, (lines.append,)))
    assert all(set(one) == {"kind", "size"} for one in losses_of(lines))
    assert all(np.isfinite(list(one.values())).all() for one in losses_of(lines))


@pytest.mark.parametrize("weighting", ["sum", "dwa", "uncertainty", "gradnorm"])
def test_a_task_without_labels_in_a_batch_is_missing_from_that_step(weighting):
    """Its head stays where it was, its loss is not among those logged, and the other task learns as if it were alone."""
    mix = mixed(missing=0.0)
    lonely = replace(mix.tasks["size"], labels=np.full(len(mix.store), np.nan, np.float32))
    lonely.labels[68:] = 60.0, 50.0
    parts = (np.arange(68), np.arange(68, 70))
    both = mix_of("two", [mix.tasks["kind"].take(parts[0]), lonely], parts, per="batch")
    cfg = replace(CONFIG, weighting=weighting, steps=1)
    seed = next(n for n in range(20) if len(both.batches(16, seed_for(n, "stage", "multitask"), 0)[0]) > 2)
    lines: list[dict] = []
    net = trained(perceptron(12), both, cfg, seed, log=RunLog(None, (lines.append,)))
    assert set(losses_of(lines)[0]) == {"kind"}
    assert not net.head("size").linear.weight.any()
    assert net.head("kind").linear.weight.any()


def test_the_mean_over_valid_labels_is_what_a_task_alone_would_see():
    """Half of the labels missing: the gradient is that of the labelled samples' own mean, not half of it."""
    mix = mixed(missing=0.5, count=40)
    cfg = replace(CONFIG, recipe=replace(CONFIG.recipe, batch_size=40, epochs=1), watch=False)
    lines: list[dict] = []
    trained(perceptron(12), mix.only("size"), cfg, log=RunLog(None, (lines.append,)))
    labels = mix.labels["size"][~np.isnan(mix.labels["size"])]
    # A head of zeros says the mean, whose squared error in standard deviations is one.
    assert losses_of(lines)[0]["size"] == pytest.approx(np.mean(((labels - labels.mean()) / labels.std()) ** 2), rel=1e-5)


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ConfigError, match=r"(?s)scale=0.*pull=-1"):
        next(multitask(perceptron(12), mixed(), replace(CONFIG, scale=0.0, pull=-1.0)))


def test_a_pull_that_drives_towers_apart_is_refused_where_that_is_known():
    net, cfg = towers(perceptron(12), tuple(mixed().tasks)), replace(CONFIG, pull=30.0)
    with pytest.raises(ConfigError, match=r"pull 30: at a rate of 0.05 .* it must be below 27.1"):
        next(multitask(net, mixed(), cfg))
    adaptive = replace(cfg, recipe=replace(cfg.recipe, optimizer="adamw"))  # which scales gradients as it goes
    assert next(multitask(net, mixed(), adaptive)).terms["pull"].strength == 30.0


def test_a_task_cannot_be_called_as_the_pull_is():
    mix = mixed()
    named = mix_of("toy", [replace(mix.tasks["kind"], name="pull"), mix.tasks["size"]])
    with pytest.raises(ConfigError, match="called 'pull'"):
        next(multitask(towers(perceptron(12), ("pull", "size")), named, replace(CONFIG, pull=1.0)))
