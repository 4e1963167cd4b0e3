"""What a stage trains, by name: parameters, modes of normalisation and dropout, and proof that the rest stayed frozen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.data.mix import Mix
from headstart.engine.checkpoint import bytes_of
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.stage import Adapt, Stage, Train


@dataclass(frozen=True)
class Trained:
    """The trained part of a stage.

    parameters  full name (`blocks.`, `heads.`, `terms.`, `balance.`) -> parameter
    rules       full name -> how it trains
    modules     modules in train mode, by full name
    first       the first block that trains, adapts, or is tapped; None when only heads train on the last block's output
    """

    parameters: dict[str, nn.Parameter]
    rules: dict[str, Train]
    modules: dict[str, nn.Module]
    first: str | None


def roots(net: Net, stage: Stage) -> dict[str, nn.Module]:
    """Everything a stage can name."""
    terms = {f"terms.{name}": term for name, term in stage.terms.items()}
    return {"blocks": net.blocks, "heads": net.heads, **terms, "balance": stage.balance}


def named_modules(net: Net, stage: Stage) -> Iterator[tuple[str, nn.Module]]:
    """All modules a stage can name, with their full names."""
    for root, module in roots(net, stage).items():
        for name, child in module.named_modules():
            yield (f"{root}.{name}" if name else root), child


def named_parameters(net: Net, stage: Stage) -> Iterator[tuple[str, nn.Parameter]]:
    """All parameters a stage can name; shared ones once."""
    for root, module in roots(net, stage).items():
        for name, parameter in module.named_parameters():
            yield f"{root}.{name}", parameter


def rule_for(name: str, trains: Mapping[str, float | Train | Adapt]) -> Train | Adapt | None:
    """The rule of the longest prefix (in whole words) of `name`."""
    words = name.split(".")
    for length in range(len(words), 0, -1):
        rule = trains.get(".".join(words[:length]))
        if rule is not None:
            return rule if isinstance(rule, (Train, Adapt)) else Train(float(rule))
    return None


def resolve(net: Net, stage: Stage) -> Trained:
    """Find what the stage trains. Raises ConfigError naming every prefix without a match and every forgotten parameter."""
    parameters = dict(named_parameters(net, stage))
    rules = {name: rule for name in parameters if isinstance(rule := rule_for(name, stage.trains), Train)}
    modules = {
        name: module
        for name, module in named_modules(net, stage)
        if _in_train_mode(module, rule_for(name, stage.trains)) and not name.startswith("terms.")
    }
    problems(ConfigError, f"stage {stage.name!r} cannot train as asked:", _faults(net, stage, parameters, rules))
    chosen = {name: parameter for name, parameter in parameters.items() if name in rules}
    touched = {name.split(".")[1] for name in (*chosen, *modules) if name.startswith("blocks.")}
    tapped = {tap for term in stage.terms.values() for tap in term.reads}
    tapped |= {tap for term in stage.terms.values() for head in term.heads for tap in net.head(head).reads}
    return Trained(chosen, rules, modules, _first(net, touched, tapped))


def _first(net: Net, touched: set[str], tapped: set[str]) -> str | None:
    """The block where the cacheable prefix ends: the first that changes, or the one after the first tap."""
    for name in net.block_names:
        if name in touched:
            return name
        if name in tapped:
            after = net.between(name, None)
            return after[0] if after else None
    return None


def _in_train_mode(module: nn.Module, rule: Train | Adapt | None) -> bool:
    norm = isinstance(module, _BatchNorm)
    if isinstance(rule, Adapt):
        return norm
    return isinstance(rule, Train) and not (norm and rule.norm == "frozen")


def _faults(net: Net, stage: Stage, parameters: Mapping[str, nn.Parameter], rules: Mapping[str, Train]) -> Iterator[str]:
    names = [*parameters, *(name for name, _ in named_modules(net, stage))]
    if rules and not stage.terms:
        first = next(iter(rules))
        more = f" and {len(rules) - 1} more" if len(rules) > 1 else ""
        yield f"it trains {first}{more} but has no terms, hence no loss; give terms, or Adapt() for statistics only"
    for prefix, rule in stage.trains.items():
        if not any(name == prefix or name.startswith(prefix + ".") for name in names):
            yield f"trains[{prefix!r}] matches nothing; blocks are {net.block_names}, heads {sorted(net.heads)}"
        if isinstance(rule, (int, float, Train)) and (rule.scale if isinstance(rule, Train) else rule) <= 0:
            yield f"trains[{prefix!r}] has rate scale {rule}; leave a frozen part unnamed instead"
        if isinstance(rule, Train):
            yield from _mask_faults(prefix, rule, parameters, rules)
    for name, parameter in parameters.items():
        if name.startswith(("terms.", "balance.")) and parameter.requires_grad and name not in rules:
            yield f"{name} has a gradient but trains does not name it"
    yield from _term_faults(net, stage)


def _mask_faults(
    prefix: str, rule: Train, parameters: Mapping[str, nn.Parameter], rules: Mapping[str, Train]
) -> Iterator[str]:
    for name, mask in (rule.mask or {}).items():
        if rules.get(name) is not rule:
            yield f"trains[{prefix!r}] has a mask for {name!r}, a parameter it does not train"
        elif mask.shape != parameters[name].shape:
            shapes = f"{list(mask.shape)}, the parameter has {list(parameters[name].shape)}"
            yield f"trains[{prefix!r}] has a mask for {name!r} of shape {shapes}"


def _term_faults(net: Net, stage: Stage) -> Iterator[str]:
    known = list(stage.data.tasks) if isinstance(stage.data, Mix) else [stage.data.name]
    for called, term in stage.terms.items():
        for task in term.tasks:
            if task not in known:
                yield f"term {called!r} asks for task {task!r}; this stage's data is about {', '.join(known)}"
        for head in term.heads:
            if head not in net.heads:
                yield f"term {called!r} reads head {head!r}, which does not exist; heads are {sorted(net.heads)}"
        for block in term.reads:
            if block not in net.blocks:
                yield f"term {called!r} reads block {block!r}, which does not exist; blocks are {net.block_names}"


def set_modes(net: Net, stage: Stage, trained: Trained) -> None:
    """Gradients and train mode for what trains, neither for the rest. Terms keep their own modes for frozen parts."""
    chosen = set(map(id, trained.parameters.values()))
    for name, parameter in named_parameters(net, stage):
        parameter.requires_grad_(id(parameter) in chosen) if not name.startswith("terms.") else None
    for name, module in named_modules(net, stage):
        if not name.startswith("terms."):
            module.training = name in trained.modules


def frozen_state(net: Net, stage: Stage, trained: Trained) -> dict[str, Tensor]:
    """Every tensor of the net that must not change in this stage: parameters not named, buffers of modules in eval mode."""
    moving = set(map(id, trained.parameters.values()))
    frozen: dict[str, Tensor] = {}
    for name, module in named_modules(net, stage):
        if name.startswith(("terms.", "balance")):
            continue
        for key, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in moving:
                frozen[f"{name}.{key}"] = parameter
        if name not in trained.modules:
            frozen.update({f"{name}.{key}": buffer for key, buffer in module.named_buffers(recurse=False)})
    for name, rule in trained.rules.items():
        mask = (rule.mask or {}).get(name)
        if mask is not None:
            frozen[f"{name}[mask=0]"] = trained.parameters[name].detach()[mask == 0]
    return frozen


def digest(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """A hash per tensor, over its bytes."""
    return {name: hashlib.blake2b(bytes_of(tensor), digest_size=12).hexdigest() for name, tensor in tensors.items()}


def release(net: Net) -> None:
    """The state in which a generator always finds the net: eval mode, no gradients, everything requiring them."""
    net.eval()
    for parameter in net.parameters():
        parameter.requires_grad_(True)
        parameter.grad = None


def leave_out_masked(trained: Trained) -> None:
    """Set the gradient of masked elements to zero: what stays as it is has no part in how long the gradient is."""
    for name, rule in trained.rules.items():
        parameter = trained.parameters[name]
        if name in (rule.mask or {}) and parameter.grad is not None:
            parameter.grad.masked_fill_((rule.mask or {})[name].to(parameter.device) == 0, 0)


def restore_masked(trained: Trained, kept: Mapping[str, Tensor]) -> None:
    """Put masked elements back after an optimiser step (momentum and decay would move them)."""
    for name, values in kept.items():
        mask = (trained.rules[name].mask or {})[name]
        with torch.no_grad():
            parameter = trained.parameters[name]
            parameter.copy_(torch.where(mask.to(parameter.device) == 0, values, parameter))
