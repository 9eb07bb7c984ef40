"""What a report says about a run besides its results: what was asked, of which data, how it was trained, by whom."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scalesearch.design.candidates import DroppedTriple
from scalesearch.design.cost import EXPONENT
from scalesearch.design.scaling import Coefficients, Rounding
from scalesearch.design.spec import NetSpec

Bounds = tuple[float, float]


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
    dropped: tuple[DroppedTriple, ...]
    exponent: float = EXPONENT


@dataclass(frozen=True)
class TrainingFacts:
    """How each candidate was trained.

    ``is_proxy``: at reduced size, so that accuracies only rank candidates. ``settings``: in words, for provenance.
    """

    is_proxy: bool
    resolution_divisor: float
    epochs: int
    train_images: int
    settings: str = ""


@dataclass(frozen=True)
class WinnerFacts:
    """The search's answer.

    Args:
        level: the winner set contains the truly best candidate with this probability.
        standings: of every candidate with a result, best first: name, control, status (member, undecided, beaten),
            epochs, seeds, score, low, high.
        recommended: the member chosen by ``rule``.
        comparisons: of the recommended one with each control: control, dimension, epochs, seeds, accuracy_part,
            cost_part (log units), gap, low, high (scores), verdict.
        seed_sd: of an accuracy between seeds, beyond the images' noise; None: not measured.
        rungs: (epochs, seeds) of each.
    """

    level: float
    standings: tuple[Mapping[str, Any], ...]
    recommended: str
    rule: str
    comparisons: tuple[Mapping[str, Any], ...]
    seed_sd: float | None
    rungs: tuple[tuple[int, int], ...]

    def names(self, status: str) -> tuple[str, ...]:
        """Of the candidates with a status, best first."""
        return tuple(item["name"] for item in self.standings if item["status"] == status)

    @property
    def members(self) -> tuple[str, ...]:
        """The winner set, undecided ones included."""
        return tuple(item["name"] for item in self.standings if item["status"] != "beaten")


@dataclass(frozen=True)
class TransferPoint:
    """One network: its scores at φ = 1 and at φ with their intervals (low, high).

    ``kind``: "recommended", "member", "undecided" or "beaten"; ``control``: the one dimension it scales, or empty.
    """

    name: str
    kind: str
    control: str
    at_one: float
    at_one_interval: Bounds
    at_phi: float
    at_phi_interval: Bounds


@dataclass(frozen=True)
class Transfer:
    """What training the same networks at another φ showed.

    Args:
        points: each network at both sizes.
        tau: Kendall's τ in words.
        note: how both sides were trained, one line.
        said: what it comes to, in sentences.
    """

    phi: float
    points: tuple[TransferPoint, ...]
    tau: str
    note: str
    said: str


@dataclass(frozen=True)
class Curve:
    """A member's training: validation accuracy after each of ``epochs``, counted from 1."""

    name: str
    epochs: tuple[int, ...]
    top1: tuple[float, ...]


@dataclass(frozen=True)
class Rates:
    """What an hour of the machine takes, where somebody asked for an estimate; None: not asked."""

    watts: float | None = None
    price_per_hour: float | None = None


@dataclass(frozen=True)
class RunFacts:
    """Everything the report states that is not a result.

    Args:
        name: the run.
        command: the command line that reproduces it; further lines: what was run after it.
        winners: the answer so far; None while no candidate has a result.
        coefficients: the recommended one's; None while the search is not finished.
        versions: (package, version) pairs.
        hardware: in words.
        date: when the run ended or was last continued, ISO 8601.
        seconds: wall time of the run, all of its continuations together; 0 while its first one runs.
        network: the recommended candidate's, or that of the one ahead so far, at full size.
        rates: for an estimate of energy and price.
        curves: of the family's members that were trained in the run's folder.
        transfers: what ``verify`` found, one for each φ.
    """

    name: str
    command: str
    data: DataFacts
    space: SpaceFacts
    training: TrainingFacts
    winners: WinnerFacts | None
    coefficients: Coefficients | None
    versions: tuple[tuple[str, str], ...]
    hardware: str
    date: str
    seconds: float
    network: NetSpec | None = None
    rates: Rates = Rates()
    curves: tuple[Curve, ...] = ()
    transfers: tuple[Transfer, ...] = ()
