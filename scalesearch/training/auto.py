"""Which strategy suits the data, and why. Imports no torch."""

from dataclasses import dataclass

from scalesearch.training.config import Strategy

LITTLE = 10  # images a class
ENOUGH = 100
DAMAGED = 0.5  # of the body's values inherited; below that most of it is untrained


@dataclass(frozen=True)
class Choice:
    """A strategy with the reason in words."""

    strategy: Strategy
    why: str


def choose_strategy(images: int, classes: int, coverage: float | None, preserved: bool) -> Choice:
    """The strategy for a training set and what the network starts from.

    Args:
        images: training images; ``classes``: how many classes they are of.
        coverage: share of the body that is inherited; None from scratch.
        preserved: whether the body computes what its source does.
    """
    each = images / classes
    amount = f"{each:.0f} training images a class"
    if coverage is None:
        return Choice("full", "there are no weights to keep")
    if not preserved and coverage < DAMAGED:
        return Choice("full", f"only {coverage:.0%} of the body is inherited")
    if each < LITTLE:
        return Choice("gradual" if not preserved else "head", f"{amount} are too few to move the body")
    if each < ENOUGH:
        return Choice("gradual", f"{amount}: enough to move the body once the head is there")
    return Choice("full", f"{amount} are enough to train everything")
