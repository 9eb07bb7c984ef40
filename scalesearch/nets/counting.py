"""fvcore's count of a built network."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

# in eval mode these only move or keep numbers; fvcore does not know them and would list them as uncounted
NO_ARITHMETIC = ("aten::pad", "aten::dropout_")
# multiply-adds of convolution and linear operators, and of the products of matrices in attention, one by one or fused
MULTIPLY_ADDS = ("conv", "linear", "matmul", "bmm", "einsum", "attention")


@dataclass(frozen=True)
class FvcoreCount:
    """What fvcore counts for one image, in eval mode.

    Args:
        macs: multiply-adds of convolution and linear operators, and of the products of matrices in attention.
        total: fvcore's ``.total()``: ``macs``, normalisation and average pooling.
        by_operator: multiply-adds of each convolution and linear operator under its module's name, in order.
        activations: numbers in the outputs of these operators; without those within torch's ``MultiheadAttention``,
            which does not call its layers as modules.
        uncounted: kinds of operators that fvcore met and did not count.
    """

    macs: int
    total: int
    by_operator: dict[str, int]
    activations: int
    uncounted: tuple[str, ...]


@contextmanager
def without_jit_warnings() -> Iterator[None]:
    """Silences torch's notice that ``torch.jit``, which fvcore is built on, is deprecated; nothing else."""
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning):
            warnings.filterwarnings("ignore", message=r".*torch\.jit", category=category)
        yield


def count(network: nn.Module, resolution: int, channels: int = 3) -> FvcoreCount:
    """Runs one image through a network on the CPU, which is in eval mode afterwards, and reads fvcore's count.

    fvcore traces with real tensors: torch's tracer does not go with the meta device.
    """
    with without_jit_warnings(), torch.no_grad(), _attention_step_by_step():
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(network.eval(), torch.zeros(1, channels, resolution, resolution))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis.set_op_handle(*(part for name in NO_ARITHMETIC for part in (name, None)))
        analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_macs)
        per_module = analysis.by_module()
        layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
        # one image: each output number costs as many multiply-adds as its filter has weights
        outputs = (per_module[name] * len(layer.weight) // layer.weight.numel() for name, layer in layers.items())
        by_kind = analysis.by_operator()
        return FvcoreCount(
            macs=int(sum(by_kind[kind] for kind in MULTIPLY_ADDS)),
            total=int(analysis.total()),
            by_operator={name: int(per_module[name]) for name in layers},
            activations=int(sum(outputs)),
            uncounted=tuple(sorted(analysis.unsupported_ops())),
        )


@contextmanager
def _attention_step_by_step() -> Iterator[None]:
    """Without torch's fused kernel for a whole attention layer, in which fvcore would not see its linear operators."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _attention_macs(inputs: list[Any], _outputs: list[Any]) -> dict[str, int]:
    """Of queries (…, L, d), keys (…, S, d) and values (…, S, v): L·S·(d + v) for each head."""
    queries, keys, values = (one.type().sizes() for one in inputs[:3])
    return {"attention": math.prod(queries[:-1]) * keys[-2] * (queries[-1] + values[-1])}
