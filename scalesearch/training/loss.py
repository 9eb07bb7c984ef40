"""Losses the loop can be given; any function of (outputs, labels) will do."""

from collections.abc import Callable

from torch import Tensor, nn

from scalesearch.training.config import TrainConfig

Loss = Callable[[Tensor, Tensor], Tensor]


def classification_loss(config: TrainConfig) -> Loss:
    """Mean cross-entropy with the config's label smoothing.

    It takes logits (N, classes) and labels, int64 (N,) or probabilities (N, classes).
    """
    return nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
