"""How a fine-tuning is done besides the loop's own settings."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from scalesearch.data.batches import Augment
from scalesearch.study.config import TrainConfig

Strength = Literal["light", "medium", "strong"]
BODY_RATIO = 0.3  # an inherited body's learning rate over the head's: 1 is worse, 0.1 no better (reports/LOG.md)


@dataclass(frozen=True)
class Recipe:
    """A fine-tuning's settings.

    Args:
        augment: how training images are varied; ``flip`` is the data's to decide.
        balance: whether rare classes weigh as much in the loss as common ones.
        reset_tail: whether strategy "tail" gives its blocks new weights first.
    """

    config: TrainConfig
    augment: Augment = Augment()
    balance: bool = False
    reset_tail: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values that name everything besides the loop's settings."""
        return {"augment": asdict(self.augment), "balance": self.balance, "reset_tail": self.reset_tail}


def augmentation(strength: Strength, flip: bool) -> Augment:
    """Crop and flip; RandAugment and erasing besides; MixUp and CutMix besides."""
    if strength == "light":
        return Augment(flip=flip)
    if strength == "medium":
        return Augment(flip=flip, randaugment=7, erasing=0.1)
    return Augment(flip=flip, scale=(0.3, 1.0), randaugment=9, erasing=0.25, mixup=0.2, cutmix=1.0)
