"""The optimiser of a run: which parameters decay, how fast they learn, how the rate moves; and the averaged weights."""

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from scalesearch.errors import UserError
from scalesearch.study.config import TrainConfig
from scalesearch.training.sections import sections

MOMENTUM = 0.9
TensorsByKind = tuple[list[Tensor], list[Tensor]]  # a network's floating-point tensors and its counters


def lr_factor(step: int, total: int, warmup: int) -> float:
    """Learning rate at ``step`` as a share of the peak: linear warm-up, then cosine towards 0.

    The rise ends at step ``warmup`` with exactly 1; the cosine would reach 0 at step ``total``, one after the last.

    Args:
        step: steps done so far, from 0 to ``total - 1``.
        total: steps of the whole run.
        warmup: steps of the rise, 0 for none.

    >>> [lr_factor(step, total=5, warmup=1) for step in (0, 1, 3)]
    [0.5, 1.0, 0.5]
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * ((step - warmup) / (total - warmup))))


def parameter_groups(network: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Trainable parameters in groups of one peak learning rate, ``base_lr``, and one weight decay.

    Norms and biases (every parameter of fewer than two dimensions) do not decay. Frozen parameters are left out.
    The head learns at ``lr``, section k before it at ``lr · body_lr_ratio · layer_decay^k`` (Clark et al. 2020,
    ELECTRA, arXiv:2003.10555, layer-wise decay). Raises UserError if all is frozen.
    """
    rates = learning_rates(network, config)
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            lr = rates.get(id(parameter), config.lr)
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            members.setdefault((lr, decay), []).append(parameter)
    if not members:
        raise UserError(f"network {type(network).__name__}", "it has no trainable parameter.")
    return [
        {"params": parameters, "lr": lr, "base_lr": lr, "weight_decay": decay}
        for (lr, decay), parameters in members.items()
    ]


def learning_rates(network: nn.Module, config: TrainConfig) -> dict[int, float]:
    """Peak rate by ``id`` of each parameter before the head; empty where everything learns alike.

    Parameters of no section, such as the class token of a vision transformer, learn as the first section does.
    """
    if config.body_lr_ratio == 1 and config.layer_decay == 1:
        return {}
    *body, head = sections(network)
    learnt = {id(parameter) for parameter in head.parameters()}
    rates: dict[int, float] = {}
    for distance, section in [*enumerate(reversed(body), start=1), (max(1, len(body)), network)]:
        rate = config.lr * config.body_lr_ratio * config.layer_decay**distance
        rates |= {id(p): rate for p in section.parameters() if id(p) not in learnt and id(p) not in rates}
    return rates


def make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer over ``parameter_groups``; fused, so one kernel updates all parameters of a group."""
    groups = parameter_groups(network, config)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=MOMENTUM, nesterov=True, fused=True)
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group to its peak rate times ``factor``."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


def warmed_decay(decay: float, step: int) -> float:
    """Decay at ``step`` (0 first): min(decay, (1 + step) / (10 + step)), so a short run forgets its first weights.

    The rule is that of TensorFlow's ``ExponentialMovingAverage(num_updates=…)``.
    """
    return min(decay, (1 + step) / (10 + step))


def tensors_by_kind(network: nn.Module) -> TensorsByKind:
    """Parameters and buffers; they stay those of the network as long as values are changed in place."""
    tensors = [tensor.detach() for tensor in itertools.chain(network.parameters(), network.buffers())]
    return (
        [tensor for tensor in tensors if tensor.is_floating_point()],
        [tensor for tensor in tensors if not tensor.is_floating_point()],
    )


@torch.no_grad()
def update_average(average: TensorsByKind, network: TensorsByKind, decay: float) -> None:
    """average ← decay · average + (1 - decay) · network, in place, for parameters and buffers; counters are copied.

    Batch-norm statistics are averaged with the weights they belong to, so the average needs no pass over the data.
    ``torch.optim.swa_utils.AveragedModel`` gives the same numbers but makes the host wait for the GPU at every step.
    """
    if average[1]:
        torch._foreach_copy_(average[1], network[1])
    get_ema_multi_avg_fn(decay)(average[0], network[0], 0)  # type: ignore[no-untyped-call]
