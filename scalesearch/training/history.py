"""What a run tells while it goes on: a record an epoch, and who is told. Imports no torch."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalesearch.training.evaluation import Evaluation


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


def nothing(*_: Any) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Watcher:
    """Who is told what goes on; what ``epoch`` raises ends the training.

    Args:
        reading: (done, total) while images are decoded.
        schedule: (epochs, steps of each) as soon as both are known.
        step: (epoch, step within the epoch) after each step.
        epoch: each new record, once the checkpoint, if due, is written.
        note: a line about what changed on the way, such as that memory ran out and a step's images now go through in
            more parts; where it is None, that is an error.
        past: the records that a checkpoint holds, before the first new one.
        judged: what the trained network says about the test images.
    """

    reading: Callable[[int, int], None] = nothing
    schedule: Callable[[int, int], None] = nothing
    step: Callable[[int, int], None] = nothing
    epoch: Callable[[EpochRecord], None] = nothing
    note: Callable[[str], None] | None = None
    past: Callable[[History], None] = nothing
    judged: Callable[["Evaluation"], None] = nothing

    def tell(self, text: str) -> None:
        """A line for whom it may concern."""
        if self.note is not None:
            self.note(text)


SILENT = Watcher()
