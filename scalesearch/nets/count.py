"""fvcore's own count of a built network: the measured twin of ``design.cost``."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn

from scalesearch.design.spec import NetSpec
from scalesearch.nets.modules import build

# in eval mode these only move or keep numbers; fvcore does not know them and would list them as uncounted
NO_ARITHMETIC = ("aten::pad", "aten::dropout_")


@dataclass(frozen=True)
class FvcoreCount:
    """What fvcore counts for one image, in eval mode.

    Args:
        macs: multiply-adds of convolution and linear operators.
        total: fvcore's ``.total()``: ``macs``, batch norm and average pooling.
        by_operator: multiply-adds of each convolution and linear operator under its module's name, in order.
        activations: numbers in the outputs of these operators.
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


@lru_cache(maxsize=256)
def fvcore_count(spec: NetSpec) -> FvcoreCount:
    """Builds the network, runs one image of ``spec.resolution`` through it on the CPU and reads fvcore's count.

    About 0.3 s for B0 and 2 s for B7; ``design.cost.cost`` gives the same ``macs`` without a network.
    fvcore traces with real tensors: torch's tracer does not go with the meta device.
    """
    network = build(spec, seed=0).eval()
    image = torch.zeros(1, spec.in_channels, spec.resolution, spec.resolution)
    with without_jit_warnings(), torch.no_grad():
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(network, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis.set_op_handle(*(part for name in NO_ARITHMETIC for part in (name, None)))
        per_module = analysis.by_module()
        layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
        # one image: each output number costs as many multiply-adds as its filter has weights
        outputs = (per_module[name] * len(layer.weight) // layer.weight.numel() for name, layer in layers.items())
        by_kind = analysis.by_operator()
        return FvcoreCount(
            macs=int(by_kind["conv"] + by_kind["linear"]),
            total=int(analysis.total()),
            by_operator={name: int(per_module[name]) for name in layers},
            activations=int(sum(outputs)),
            uncounted=tuple(sorted(analysis.unsupported_ops())),
        )
