"""Exponential moving average of a network's weights and batch-norm statistics."""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def warmed_decay(decay: float, step: int) -> float:
    """Decay at ``step`` (0 first): min(decay, (1 + step) / (10 + step)), so a short run forgets its first weights.

    The rule is that of TensorFlow's ``ExponentialMovingAverage(num_updates=…)``.
    """
    return min(decay, (1 + step) / (10 + step))


@dataclass(frozen=True, eq=False)
class Pairs:
    """Tensors of an average and, in the same order, of its network; ``counters`` are integers."""

    average: list[Tensor]
    network: list[Tensor]
    counters_of_average: list[Tensor]
    counters_of_network: list[Tensor]


def paired(average: nn.Module, network: nn.Module) -> Pairs:
    """Parameters and buffers of both; they stay valid as long as values are changed in place."""
    olds, news = (
        [tensor.detach() for tensor in itertools.chain(module.parameters(), module.buffers())]
        for module in (average, network)
    )
    both = list(zip(olds, news, strict=True))
    floats = [(old, new) for old, new in both if old.is_floating_point()]
    counters = [(old, new) for old, new in both if not old.is_floating_point()]
    return Pairs(
        [old for old, _ in floats], [new for _, new in floats],
        [old for old, _ in counters], [new for _, new in counters],
    )  # fmt: skip


@torch.no_grad()
def move_average(pairs: Pairs, decay: float) -> None:
    """average ← decay · average + (1 - decay) · network, in place, for parameters and buffers; counters are copied.

    Batch-norm statistics are averaged with the weights they belong to, so the average needs no pass over the data.
    ``torch.optim.swa_utils.AveragedModel`` gives the same numbers but makes the host wait for the GPU at every step.
    """
    if pairs.counters_of_average:
        torch._foreach_copy_(pairs.counters_of_average, pairs.counters_of_network)
    get_ema_multi_avg_fn(decay)(pairs.average, pairs.network, 0)  # type: ignore[no-untyped-call]
