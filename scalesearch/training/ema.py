"""Exponential moving average of a network's weights and batch-norm statistics."""

import itertools

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def warmed_decay(decay: float, step: int) -> float:
    """Decay at ``step`` (0 first): min(decay, (1 + step) / (10 + step)), so a short run forgets its first weights.

    The rule is that of TensorFlow's ``ExponentialMovingAverage(num_updates=…)``.
    """
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average ← decay · average + (1 - decay) · network, in place, for parameters and buffers; counters are copied.

    Batch-norm statistics are averaged with the weights they belong to, so the average needs no pass over the data.
    ``torch.optim.swa_utils.AveragedModel`` gives the same numbers but makes the host wait for the GPU at every step.
    """
    pairs = zip(
        itertools.chain(average.parameters(), average.buffers()),
        itertools.chain(network.parameters(), network.buffers()),
        strict=True,
    )
    averaged: list[Tensor] = []
    current: list[Tensor] = []
    for old, new in pairs:
        if old.is_floating_point():
            averaged.append(old.detach())
            current.append(new.detach())
        else:
            old.copy_(new)
    get_ema_multi_avg_fn(decay)(averaged, current, 0)  # type: ignore[no-untyped-call]
