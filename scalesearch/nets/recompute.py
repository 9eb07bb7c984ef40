"""Activations that are computed again for the backward pass instead of being kept."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recomputed(section: nn.Module, forward: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
    """``forward(given)`` of a section, which in training keeps only its input for the backward pass.

    Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost" (arXiv:1604.06174), through
    ``torch.utils.checkpoint``. Gradients and batch-norm statistics are those of a plain step, bit for bit on a CPU.
    """
    if not (section.training and torch.is_grad_enabled()):
        return forward(given)
    contexts = partial(_contexts, section)
    result: Tensor = checkpoint(forward, given, use_reentrant=False, context_fn=contexts)
    return result


def _contexts(section: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Of the forward pass and of its repetition, which must not count the batch into the statistics again."""
    return nullcontext(), _still(section)


@contextmanager
def _still(section: nn.Module) -> Iterator[None]:
    norms = [module for module in section.modules() if isinstance(module, nn.BatchNorm2d) and module.training]
    momenta = [norm.momentum for norm in norms]
    counters = [norm.num_batches_tracked for norm in norms]
    counts = [None if counter is None else counter.clone() for counter in counters]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:  # torch leaves by an exception as soon as it has what it needs
        for norm, momentum, counter, count in zip(norms, momenta, counters, counts, strict=True):
            norm.momentum = momentum
            if counter is not None and count is not None:
                counter.copy_(count)
