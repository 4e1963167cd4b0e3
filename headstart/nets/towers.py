"""Networks of towers: one chain of blocks per task on shared lower blocks, alone, or mixed by cross-stitch units."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from headstart.errors import ConfigError, problems
from headstart.nets.initialise import reinitialise
from headstart.nets.net import Net, TowerPlan
from headstart.nets.parallel import UNIT, Tower, side_by_side, units_of
from headstart.nets.sources import ready
from headstart.nets.stitch import CrossStitch, check_keep
from headstart.seeding import seed_for

_SHOWN = 8


def towers(
    net: Net,
    tasks: Sequence[str],
    *,
    shared: int | str = 0,
    stitch: Sequence[str] = (),
    keep: float = 0.9,
    start: Literal["copy", "fresh"] = "copy",
    seed: int = 0,
) -> Net:
    """A network with one tower per task, each of them the upper blocks of `net`; the lower ones stay one.

    tasks   K names, two or more. A head called like a task reads that task's tower
    shared  the first so many blocks are shared, or all blocks up to this one. The last block cannot be
    stitch  blocks after each of which a cross-stitch unit, a block `NAME_stitch`, mixes the towers (`stitch.CrossStitch`)
    keep    share of itself that a tower keeps in such a unit at the start
    start   `copy`: every tower begins with the weights of `net`; `fresh`: with weights drawn for it alone from `seed`

    Every block of a tower network has one name: `blocks.layer3` are its K copies, `blocks.layer3.1` that of the second task.
    BatchNorm keeps statistics per tower. `net` is copied, its heads are not. In eval mode; saved and loaded like any.

    Raises ConfigError, all faults together, for tasks that are not two or more different names, unknown blocks, a unit on a
    shared block, nothing left to have towers, and a network that has towers already.
    """
    faults = [f"start={start!r} is not one of 'copy', 'fresh'"] if start not in ("copy", "fresh") else []
    plan = _planned(net, tasks, shared, stitch, keep, faults)
    nets = [copy.deepcopy(net) for _ in plan.tasks]
    if start == "fresh":
        for number, one in enumerate(nets):
            reinitialise(one, one.block_names[plan.shared :], seed_for(seed, "nets", "tower", number))
    return ready(side_by_side(nets, plan))


def towers_from(
    nets: Sequence[Net], tasks: Sequence[str], *, shared: int | str = 0, stitch: Sequence[str] = (), keep: float = 0.9
) -> Net:
    """The same of K networks that were trained apart, one per task, in the order of `tasks`.

    This is how cross-stitch networks are published: each tower begins as its task's own network (Misra et al. 2016). Shared
    blocks must be equal in all networks, as they are after training above the same frozen blocks.

    Raises ConfigError as `towers` does, and for networks that are not built alike or whose shared blocks differ.
    """
    if not nets:
        raise ConfigError("towers are made from no networks; give one per task")
    faults = [] if len(nets) == len(tasks) else [f"{len(nets)} networks for {len(tasks)} tasks; give one network per task"]
    for number, other in enumerate(nets[1:], 1):
        faults += [f"network {number} is not built like network 0: {one}" for one in _unlike(nets[0], other)]
    plan = _planned(nets[0], tasks, shared, stitch, keep, faults)
    problems(ConfigError, "these networks cannot become towers:", list(_unequal(nets, nets[0].block_names[: plan.shared])))
    return ready(side_by_side([copy.deepcopy(one).to(nets[0].device) for one in nets], plan))


def add_tower(net: Net, task: str, like: int | str) -> None:
    """One more tower, for `task`, which begins as a copy of another; in place.

    like  number of the tower that is copied, from 0, or its task

    Heads answer as before, to the bit: units give the other towers nothing of the new one, and the new one what they gave
    the one it is a copy of. Blocks of the new tower come last, `blocks.layer3.2` being that of the third task.

    Raises ConfigError for a network without towers, a tower that is not there, and a task that has one already.
    """
    if net.towers is None:
        raise ConfigError("this network has no towers to add one to; make them with nets.towers.towers")
    number, plan = _number(net.towers.tasks, like), net.towers
    if task in plan.tasks:
        raise ConfigError(f"task {task!r} has a tower already; towers are of the tasks {', '.join(plan.tasks)}")
    units = units_of(net)
    for name, block in net.blocks.items():
        if isinstance(block, Tower):
            block.append(copy.deepcopy(block[number]))
        elif name in units:
            assert isinstance(block, CrossStitch)
            net.blocks[name] = block.widened(number)
    for name, info in net.info.items():
        net.info[name] = info if info.towers is None else replace(info, towers=len(plan.tasks) + 1)
    net.towers = replace(plan, tasks=(*plan.tasks, task))
    if net.source is not None:
        net.source = {**net.source, **net.towers.to_json()}


def tower(net: Net, which: int | str) -> Net:
    """The ordinary network of one task: the shared blocks and its tower, with the heads that read no other tower.

    which  number of the tower, from 0, or its task

    A copy, which answers as `net` does. Raises ConfigError for a network without towers, a tower that is not there, and
    cross-stitch units, in which every answer needs all towers.
    """
    if net.towers is None:
        raise ConfigError("this network has no towers to take one of; it is an ordinary network already")
    number = _number(net.towers.tasks, which)
    if units := units_of(net):
        raise ConfigError(
            f"units {units} mix the towers, so that no tower answers without the others; use the network as a whole"
        )
    blocks = {
        name: copy.deepcopy(block[number] if isinstance(block, Tower) else block) for name, block in net.blocks.items()
    }
    found = Net(blocks, net.input, {}, None if net.source is None else net.source["of"])
    found.info = {name: type(info)(info.layout, info.channels) for name, info in net.info.items()}
    for name in net.heads:
        if net.head(name).tower in (None, number):
            found.heads[name] = copy.deepcopy(net.head(name))
            found.head(name).tower = None
    return found.train(net.training)


def _number(tasks: Sequence[str], which: int | str) -> int:
    found = [number for number, task in enumerate(tasks) if which in (number, task)]
    if not found:
        raise ConfigError(f"there is no tower {which!r}; towers are 0 to {len(tasks) - 1}, of the tasks {', '.join(tasks)}")
    return found[0]


def _planned(
    net: Net, tasks: Sequence[str], shared: int | str, stitch: Sequence[str], keep: float, faults: list[str]
) -> TowerPlan:
    """What was asked for. Raises ConfigError listing everything that is wrong with it, `faults` first."""
    names = net.block_names
    if net.towers is not None:
        faults.append(f"the network has towers already, of the tasks {', '.join(net.towers.tasks)}; give one without")
    if len(tasks) < 2 or len(set(tasks)) != len(tasks):
        faults.append(f"tasks={list(tasks)}: give two or more different names, one per tower")
    count = shared if isinstance(shared, int) else names.index(shared) + 1 if shared in names else None
    if count is None:
        faults.append(f"shared={shared!r} is no block; there are {names}")
    elif not 0 <= count < len(names):
        faults.append(f"shared={shared!r} leaves no block to have towers; share at most {len(names) - 1} of {names}")
    else:
        faults += _stitch_faults(names, count, stitch)
    try:
        check_keep(keep)
    except ConfigError as error:
        faults.append(str(error))
    problems(ConfigError, "towers cannot be made as asked:", faults)
    assert count is not None
    return TowerPlan(tuple(tasks), count, tuple(name for name in names if name in stitch), float(keep))


def _stitch_faults(names: Sequence[str], shared: int, stitch: Sequence[str]) -> Iterator[str]:
    if unknown := [name for name in stitch if name not in names]:
        yield f"stitch={unknown} are no blocks; there are {list(names)}"
    if below := [name for name in stitch if name in names[:shared]]:
        yield f"stitch={below} are shared, so there is nothing to mix; blocks with towers are {list(names[shared:])}"
    if taken := [name for name in stitch if name + UNIT in names]:
        yield f"the network has blocks {[name + UNIT for name in taken]} of its own, as units are called; rename them"


def _unlike(one: Net, other: Net) -> list[str]:
    """What tells apart how two networks are built; at most `_SHOWN` things."""
    if one.block_names != other.block_names:
        return [f"its blocks are {other.block_names}, not {one.block_names}"]
    found = [] if one.input == other.input else [f"it wants {other.input}, not {one.input}"]
    if [name for name, _ in one.blocks.named_parameters()] != [name for name, _ in other.blocks.named_parameters()]:
        found.append("its layers hold or share other weights")  # names of shared ones are there once
    for name in one.block_names:
        ours, theirs = one.blocks[name], other.blocks[name]
        if one.info[name] != other.info[name]:
            found.append(f"block {name} gives {other.info[name]}, not {one.info[name]}")
        elif _shapes(ours) != _shapes(theirs):
            found.append(f"weights of block {name} have other names or shapes")
        elif repr(ours) != repr(theirs):
            found.append(f"block {name} is made of other layers")
    return found[:_SHOWN]


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict(keep_vars=True).items()}


def _unequal(nets: Sequence[Net], shared: Sequence[str]) -> Iterator[str]:
    """Shared blocks that are not the same in all networks."""
    for name in shared:
        states: list[dict[str, Tensor]] = [net.blocks[name].state_dict(keep_vars=True) for net in nets]
        if any(
            not torch.equal(value, other[key].to(value.device)) for other in states[1:] for key, value in states[0].items()
        ):
            yield f"block {name!r} is to be shared, but the networks hold other weights or statistics there; share fewer"
