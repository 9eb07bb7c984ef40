"""Which strategy suits the data, and why. Imports no torch."""

from dataclasses import dataclass

from scalesearch.study.config import Strategy

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
        return Choice("full", f"only {coverage:.0%} of the body is inherited")
    if each < ENOUGH:
        return Choice("tail", f"{amount}: enough to adapt the last layers, too few for new ones or for the whole body")
    if each < PLENTY:
        return Choice("tail", f"{amount}: enough for new last layers on a frozen body", reset_tail=True)
    return Choice("full", f"{amount} are enough to train everything")
