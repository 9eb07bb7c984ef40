"""What a report says about a run besides its results: what was asked, of which data, how it was trained, by whom."""

from dataclasses import dataclass

from scalesearch.design.candidates import Dropped
from scalesearch.design.scaling import Coefficients, Rounding
from scalesearch.design.score import EXPONENT


@dataclass(frozen=True)
class DataFacts:
    """The images: counts per split, and the digest of what was read."""

    name: str
    classes: int
    train_images: int
    validation_images: int
    test_images: int
    digest: str


@dataclass(frozen=True)
class SpaceFacts:
    """The grid that was searched.

    Args:
        name: the search space.
        digest: of the baseline network, φ = 0.
        target_macs: T, multiply-adds.
        step: grid step of α, β, γ.
        tolerance: how far αβ²γ² may lie from 2.
        rounding: the rule from factors to a network.
        triples: nominal triples on the grid.
        networks: distinct networks to train (candidates).
        dropped: triples left out, each with its reason.
        exponent: of the FLOPs in the score.
    """

    name: str
    digest: str
    target_macs: float
    step: float
    tolerance: float
    rounding: Rounding
    triples: int
    networks: int
    dropped: tuple[Dropped, ...]
    exponent: float = EXPONENT


@dataclass(frozen=True)
class TrainingFacts:
    """How each candidate was trained. ``is_proxy``: at reduced size, so that accuracies only rank candidates."""

    is_proxy: bool
    resolution_divisor: float
    epochs: int
    train_images: int


@dataclass(frozen=True)
class RunFacts:
    """Everything the report states that is not a result.

    Args:
        name: the run.
        command: the command line that reproduces it.
        seeds: every candidate is trained once with each.
        coefficients: the winner's; None while the search is not finished.
        versions: (package, version) pairs.
        hardware: in words.
        date: when the run ended or was last continued, ISO 8601.
        seconds: wall time of the run, all of its continuations together.
    """

    name: str
    command: str
    data: DataFacts
    space: SpaceFacts
    training: TrainingFacts
    seeds: tuple[int, ...]
    coefficients: Coefficients | None
    versions: tuple[tuple[str, str], ...]
    hardware: str
    date: str
    seconds: float
