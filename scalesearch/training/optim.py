"""The optimizer of a run: which parameters decay, at which rate they learn, how the rate moves."""

import math
from typing import Any

import torch
from torch import nn

from scalesearch.errors import UserError
from scalesearch.study.config import TrainConfig
from scalesearch.training.sections import sections

MOMENTUM = 0.9


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
        raise UserError(f"network {type(network).__name__}", "no trainable parameter", "at least one")
    return [
        {"params": parameters, "lr": lr, "base_lr": lr, "weight_decay": decay}
        for (lr, decay), parameters in members.items()
    ]


def learning_rates(network: nn.Module, config: TrainConfig) -> dict[int, float]:
    """Peak rate by ``id`` of each parameter before the head; empty where everything learns alike."""
    if config.body_lr_ratio == 1 and config.layer_decay == 1:
        return {}
    return {
        id(parameter): config.lr * config.body_lr_ratio * config.layer_decay**distance
        for distance, section in enumerate(reversed(sections(network)[:-1]), start=1)
        for parameter in section.parameters()
    }


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
