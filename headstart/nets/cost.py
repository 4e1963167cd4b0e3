"""What blocks cost, counted and not measured: multiply-accumulates, activations, parameters."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from headstart.nets.net import Activation, Net, count_parameters
from headstart.nets.stitch import CrossStitch
from headstart.nets.structure import structure
from headstart.nets.trace import mode

FLOAT_BYTES = 4


def _attention(query: Any, key: Any, value: Any, *args: Any, out_val: Any = None, **kwargs: Any) -> int:
    """Floating-point operations of one fused attention `[B, H, L, E]`: the product with the keys and with the values."""
    batch, heads, length, width = query.shape
    return int(2 * batch * heads * length * key.shape[-2] * (width + value.shape[-1]))


def _count_raw(formula: Callable[..., int]) -> Callable[..., int]:
    formula._get_raw = True  # type: ignore[attr-defined]
    return formula


# PyTorch's counter knows the fused attention of devices but not the CPU's.
_EXTRA = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _count_raw(_attention)}


_KNOWN: OrderedDict[str, dict[str, tuple[int, int]]] = OrderedDict()
_KEPT = 64


def _counts(net: Net, shape: tuple[int, ...] | None) -> dict[str, tuple[int, int]]:
    """Operations and numbers put out by every block for one pretended input; nothing is computed.

    Counting takes 20 ms for eight layers and half a second for a large network, so it is done once for nets that are built
    alike: by one source, of the same `structure`, with tensors of the same shapes. Of a net without a source nothing tells
    that. Blocks may come and go (greedy pretraining ends a net at the block that learns), those without tensors too.
    """
    key = None
    if net.source is not None:
        facts = {name: tuple(tensor.shape) for name, tensor in net.blocks.state_dict(keep_vars=True).items()}
        known = repr((sorted(net.source.items()), shape or input_shape(net), structure(net.blocks), facts))
        key = hashlib.blake2b(known.encode(), digest_size=16).hexdigest()
    if key is None or key not in _KNOWN:
        found = {name: (flops, _elements(out)) for name, flops, out in _shapes(net, shape)}
        if key is None:
            return found
        _KNOWN[key] = found
        if len(_KNOWN) > _KEPT:
            _KNOWN.popitem(last=False)
    return _KNOWN[key]


def _elements(out: Activation) -> int:
    """Numbers for one sample; of a tuple those of all towers."""
    return sum(math.prod(one.shape[1:]) for one in (out if isinstance(out, tuple) else (out,)))


def _shapes(net: Net, shape: tuple[int, ...] | None) -> Iterator[tuple[str, int, Activation]]:
    """Name, operations and output of every block for one pretended input."""
    with mode(net, False), torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        x: Activation = torch.empty(shape or input_shape(net), device=net.device)
        for name, block in net.blocks.items():
            with FlopCounterMode(display=False, custom_mapping=_EXTRA) as counter:
                x = block(x)
            flops = counter.get_total_flops()
            if isinstance(block, CrossStitch):  # a matrix per channel, though not written as a product of matrices
                flops += 2 * block.multiplications(sum(one.numel() for one in x))
            yield name, flops, x


def input_shape(net: Net) -> tuple[int, ...]:
    """Shape of one input as a batch of one: `[1, C, S, S]`, or `[1, D]` for vectors."""
    if net.input.kind != "image":
        return (1, net.input.size)
    return (1, len(net.input.mean), net.input.size, net.input.size)


def block_flops(net: Net, example_shape: tuple[int, ...] | None = None) -> dict[str, int]:
    """Multiply-accumulates of every block's forward pass.

    example_shape  `[N, ...]` of the input, the counts being for all N; None: one input of the network's own size

    Counted are matrix products, convolutions, attention and cross-stitch units; element-wise work is not.
    """
    return {name: flops // 2 for name, (flops, _) in _counts(net, example_shape).items()}


def activation_elements(net: Net, block: str, example_shape: tuple[int, ...] | None = None) -> int:
    """Numbers in the output of `block` for one input; where it gives several towers, those of all."""
    if block not in net.blocks:
        raise KeyError(f"no block is called {block!r}; there are {net.block_names}")
    return _counts(net, example_shape)[block][1]


def activation_bytes(net: Net, block: str, example_shape: tuple[int, ...] | None = None) -> int:
    """Bytes of the output of `block` for one input, as float32."""
    return FLOAT_BYTES * activation_elements(net, block, example_shape)


def parameters(net: Net, block: str | None = None) -> int:
    """Parameters of a block; None: of all blocks. Shared ones count once."""
    part: nn.Module = net.blocks if block is None else net.blocks[block]
    return count_parameters(part)


def head_macs(net: Net, head: str) -> int:
    """Multiply-accumulates of one answer of a linear head."""
    linear = net.head(head).linear
    return linear.in_features * linear.out_features


@dataclass(frozen=True)
class Apart:
    """Tensors of a module that are not what they are in another."""

    parameters: list[Tensor]
    buffers: list[Tensor]


def tensors_apart(before: nn.Module, after: nn.Module) -> Apart:
    """Parameters and floating-point buffers of `after` whose values differ from `before`'s, or that it does not have."""
    known = {**dict(before.named_parameters()), **dict(before.named_buffers())}

    def changed(name: str, tensor: Tensor) -> bool:
        return tensor.is_floating_point() and not (name in known and torch.equal(known[name].to(tensor.device), tensor))

    return Apart(
        [tensor for name, tensor in after.named_parameters() if changed(name, tensor)],
        [tensor for name, tensor in after.named_buffers() if changed(name, tensor)],
    )
