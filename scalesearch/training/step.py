"""One optimiser step: the loss, its gradients, the update, and the objects it changes."""

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from scalesearch.study.config import TrainConfig
from scalesearch.training.device import allow_tf32, autocast
from scalesearch.training.distributed import alike, unsynchronised
from scalesearch.training.optim import TensorsByKind, make_optimizer, tensors_by_kind, update_average, warmed_decay
from scalesearch.training.sections import freeze, trained

Loss = Callable[[Tensor, Tensor], Tensor]


def classification_loss(config: TrainConfig, class_weights: Tensor | None = None) -> Loss:
    """Mean cross-entropy with the config's label smoothing.

    It takes logits (N, classes) and labels, int64 (N,) or probabilities (N, classes).

    Args:
        class_weights: (classes,), on the device of the logits; None weighs all alike.
    """
    return nn.CrossEntropyLoss(class_weights, label_smoothing=config.label_smoothing)


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """Weights that give each class the same share of the loss: images / (classes · images of the class)."""
    return [sum(counts) / (len(counts) * count) for count in counts]


@dataclass(frozen=True)
class Training:
    """A run's moving parts: steps change what these objects hold, never which objects they are.

    Args:
        average: the averaged network, None where ``config.ema_decay`` is 0.
    """

    network: nn.Module
    average: nn.Module | None
    optimizer: torch.optim.Optimizer
    config: TrainConfig
    device: torch.device

    @property
    def result(self) -> nn.Module:
        """The network to evaluate and keep: the average where there is one."""
        return self.network if self.average is None else self.average

    @cached_property
    def averaged(self) -> tuple[TensorsByKind, TensorsByKind]:
        """Tensors of the average and of the network, looked up once: a walk through modules takes a millisecond."""
        return tensors_by_kind(self.result), tensors_by_kind(self.network)


def start(network: nn.Module, config: TrainConfig, device: torch.device) -> Training:
    """Move the network (in place) to the device, channels last, make optimizer and average, freeze for epoch 0.

    The optimizer holds what is ever trained: the last epoch trains most.
    """
    allow_tf32(device)
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    alike(network)
    freeze(network, trained(network, config, config.epochs - 1))
    optimizer = make_optimizer(network, config)
    average = copy.deepcopy(network).requires_grad_(False) if config.ema_decay else None
    freeze(network, trained(network, config, 0))
    return Training(network, average, optimizer, config, device)


def gradients(
    training: Training, images: Tensor, labels: Tensor, loss: Loss, network: nn.Module | None = None,
    parts: int | None = None,
) -> Tensor:  # fmt: skip
    """The batch's loss, float32, with its gradients left in the parameters.

    Args:
        network: what is called instead of ``training.network``: see ``distributed.replicated``.
        parts: micro-batches; None: ``config.accumulate``.
    """
    config, count = training.config, parts or training.config.accumulate
    called = training.network if network is None else network  # a compiled one has no truth value
    training.optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=images.device)
    batches = list(zip(images.chunk(count), labels.chunk(count), strict=True))
    for number, (part, known) in enumerate(batches, start=1):
        with unsynchronised(called) if number < len(batches) else nullcontext():
            with autocast(training.device, config.precision):
                outputs: Tensor = called(part)
            value = loss(outputs.float(), known) * (len(part) / len(images))
            value.backward()  # type: ignore[no-untyped-call]
        total += value.detach()
    return total


def update(training: Training, step: int) -> None:
    """Clip the gradients, step and average. ``step`` counts from the start of the run."""
    config, optimizer = training.config, training.optimizer
    if config.clip_grad_norm:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, config.clip_grad_norm)
    optimizer.step()
    if training.average is not None:
        update_average(*training.averaged, warmed_decay(config.ema_decay, step))
