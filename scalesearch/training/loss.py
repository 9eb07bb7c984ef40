"""Losses the loop can be given; any function of (outputs, labels) will do."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from scalesearch.study.config import TrainConfig

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
