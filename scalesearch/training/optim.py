"""The optimizer of a run: which parameters decay, at which rate they learn, how the rate moves."""

import math
from typing import Any

import torch
from torch import nn

from scalesearch.errors import UserError
from scalesearch.training.config import TrainConfig

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


def classifier(network: nn.Module) -> nn.Module:
    """The head, ``network.classifier``. Raises UserError where the network has none."""
    head = getattr(network, "classifier", None)
    if not isinstance(head, nn.Module):
        raise UserError(
            f"network {type(network).__name__}",
            "no module named classifier",
            "one, to tell head from body",
            'Train it with strategy "full" and body_lr_ratio 1.',
        )
    return head


def parameter_groups(network: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Trainable parameters in up to four groups: head and body, each with and without weight decay.

    Norms and biases (every parameter of fewer than two dimensions) do not decay. Frozen parameters are left out.
    ``base_lr`` is a group's peak rate; where head and body learn alike they share groups. Raises UserError if all
    is frozen.
    """
    splits = config.strategy == "head" or config.body_lr_ratio != 1
    head = {id(parameter) for parameter in classifier(network).parameters()} if splits else set()
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            lr = config.lr if not splits or id(parameter) in head else config.lr * config.body_lr_ratio
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            members.setdefault((lr, decay), []).append(parameter)
    if not members:
        raise UserError(f"network {type(network).__name__}", "no trainable parameter", "at least one")
    return [
        {"params": parameters, "lr": lr, "base_lr": lr, "weight_decay": decay}
        for (lr, decay), parameters in members.items()
    ]


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
