"""What a run reports: one record an epoch. Imports no torch."""

import dataclasses
from dataclasses import dataclass, field


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch.

    Args:
        epoch: 0 for the first.
        train_loss: mean over the epoch's steps, as the loss function gives it.
        lr: learning rate of the head at the epoch's last step.
        seconds: wall time of the training steps, evaluation not included.
        metrics: what ``evaluate`` returned, empty without one.
    """

    epoch: int
    train_loss: float
    lr: float
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON; ``EpochRecord(**values)`` reads them back."""
        return dataclasses.asdict(self)


History = tuple[EpochRecord, ...]


def best_epoch(history: History) -> int:
    """The epoch with the highest validation ``top1``, at a tie the lower ``loss``, then the earlier. 0 without any."""
    if not history:
        return 0
    return max(history, key=lambda r: (r.metrics.get("top1", 0.0), -r.metrics.get("loss", 0.0), -r.epoch)).epoch


def exhausted(history: History, patience: int) -> bool:
    """Whether ``patience`` epochs went by without a better one; 0 is endless patience."""
    return patience > 0 and bool(history) and history[-1].epoch - best_epoch(history) >= patience
