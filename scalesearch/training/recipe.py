"""How a fine-tuning is done besides the loop's own settings, and which strategy suits the data."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from scalesearch.data.batches import Augment
from scalesearch.study.config import Strategy, TrainConfig
from scalesearch.units import show_percent

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


ENOUGH = 100  # images a class, from which new last layers learn more than the old ones knew (reports/transfer)
PLENTY = 1000
DAMAGED = 0.5  # share of the body's values inherited; below that most of it is untrained


@dataclass(frozen=True)
class Choice:
    """A strategy with the reason in words; ``reset_tail``: the tail's blocks start anew."""

    strategy: Strategy
    why: str = ""
    reset_tail: bool = False


def choose_strategy(images: int, classes: int, coverage: float | None) -> Choice:
    """The strategy for a training set and what the network starts from.

    Args:
        images: training images; ``classes``: how many classes they are of.
        coverage: share of the body that is inherited; None from scratch.
    """
    each = images / classes
    amount = f"{each:.0f} training images a class"
    if coverage is None:
        return Choice("full", "there are no weights to keep")
    if coverage < DAMAGED:
        return Choice("full", f"only {show_percent(coverage, 0)} of the body is inherited")
    if each < ENOUGH:
        return Choice("tail", f"{amount}: enough to adapt the last layers, too few for new ones or for the whole body")
    if each < PLENTY:
        return Choice("tail", f"{amount}: enough for new last layers on a frozen body", reset_tail=True)
    return Choice("full", f"{amount} are enough to train everything")
