"""The list of networks to train: each distinct network once, with every (α, β, γ) that lands on it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from scalesearch.design.budget import Target, round_to_budget
from scalesearch.design.controls import DIMENSIONS, controls
from scalesearch.design.cost import cost
from scalesearch.design.scaling import Coefficients, Rounding, released_shape
from scalesearch.design.space import Grid, check_grid
from scalesearch.design.spec import NetSpec, Shape, reshape, shape_of
from scalesearch.errors import UserError
from scalesearch.units import show_percent

SEARCH_RATIO = 2.0  # φ = 1 doubles the FLOPs: the constraint αβ²γ² ≈ 2
MOST_PER_AXIS = 310  # values of α, β or γ
MOST_TRIPLES = 20_000  # rounded in about two seconds, B0's baseline
AXES = {  # the triple that stands for each control: αβ²γ² = 2 exactly
    "depth": Coefficients(SEARCH_RATIO, 1, 1, SEARCH_RATIO),
    "width": Coefficients(1, math.sqrt(SEARCH_RATIO), 1, SEARCH_RATIO),
    "resolution": Coefficients(1, 1, math.sqrt(SEARCH_RATIO), SEARCH_RATIO),
}


@dataclass(frozen=True)
class Candidate:
    """One distinct network at φ = 1.

    Args:
        index: its place in the list, from 0; the same for the same space and grid.
        spec: the network.
        triples: every (α, β, γ) that lands on it, the one nearest to αβ²γ² = 2 first.
        macs: closed-form multiply-adds at full size.
        real_ratio: ``macs`` over the baseline's.
        control: the one dimension that it scales, where it is a control; else empty.
    """

    index: int
    spec: NetSpec
    triples: tuple[Coefficients, ...]
    macs: int
    real_ratio: float
    control: str = ""

    @property
    def name(self) -> str:
        """Such as c004."""
        return f"c{self.index:03d}"

    @property
    def coefficients(self) -> Coefficients:
        """The triple that stands for this network."""
        return self.triples[0]

    @property
    def nominal_ratio(self) -> float:
        """αβ²γ² of that triple."""
        return self.coefficients.nominal_ratio


@dataclass(frozen=True)
class DroppedTriple:
    """A nominal triple left out: its network's real cost ratio lies outside the tolerance, or it is the baseline."""

    coefficients: Coefficients
    real_ratio: float
    reason: str


@dataclass(frozen=True)
class Enumeration:
    """What a grid comes to: ``nominal`` triples met αβ²γ² ≈ 2; ``candidates`` are trained; ``dropped`` say why not."""

    candidates: tuple[Candidate, ...]
    dropped: tuple[DroppedTriple, ...]
    nominal: int


def nominal_triples(grid: Grid) -> tuple[Coefficients, ...]:
    """Every (α, β, γ) on the grid with |αβ²γ² − 2| ≤ tolerance, sorted.

    Raises UserError for a grid finer than a search can list, or one that leaves nothing.
    """
    check_grid(grid)
    per_axis = math.floor((grid.maximum - 1) / grid.step + 1e-9) + 1
    if per_axis > MOST_PER_AXIS:
        given = f"a step of {grid.step:g} gives {per_axis} values from 1 to {grid.maximum:g}"
        raise UserError("--step", f"{given}, and a search lists at most {MOST_PER_AXIS}.", do="Make it larger.")
    values = np.round(1 + grid.step * np.arange(per_axis), 10)
    triples: list[Coefficients] = []
    nearest = math.inf
    for alpha in values.tolist():  # a plane at a time: all of it would take gigabytes where the step is small
        beta, gamma = np.meshgrid(values, values, indexing="ij")
        misses = np.abs(alpha * beta**2 * gamma**2 - SEARCH_RATIO)
        nearest = min(nearest, float(misses.min()))
        # 1e-9: a triple exactly on the tolerance belongs, whatever its last binary digit
        inside = misses <= grid.tolerance + 1e-9
        if len(triples) + int(inside.sum()) > MOST_TRIPLES:
            raise UserError(
                "--step, --tolerance",
                f"{grid.step:g} and {grid.tolerance:g} leave more than the {MOST_TRIPLES} triples that a search lists.",
                do="Make the step larger or the tolerance smaller.",
            )  # fmt: skip
        rows = zip(beta[inside].tolist(), gamma[inside].tolist(), strict=True)
        triples += [Coefficients(alpha, b, c, SEARCH_RATIO) for b, c in rows]
    if not triples:
        raise UserError(
            "--tolerance",
            f"{grid.tolerance:g} is too small: no triple of this grid is nearer to αβ²γ² = 2 than {nearest:.3g}.",
            do="Widen the tolerance or make the step smaller.",
        )  # fmt: skip
    return tuple(triples)


def enumerate_candidates(
    baseline: NetSpec, grid: Grid, rounding: Rounding = "budget", real_tolerance: float | None = 0.05
) -> Enumeration:
    """Every distinct network of the grid around the baseline and its controls, costed; nothing is built or trained.

    Controls (depth, width or resolution alone, see ``design.controls``) stand first, with or without a triple on the
    grid. Under ``budget`` a control stands for every triple of its axis, which would land beside it.

    Args:
        baseline: φ = 0.
        grid: which triples count as αβ²γ² ≈ 2.
        rounding: ``budget`` meets 2× in real FLOPs; ``efficientnet`` is the paper-literal rule.
        real_tolerance: candidates whose real ratio is farther from 2 than this share are dropped; None keeps all.

    Raises:
        UserError: nothing is left.
    """
    triples = nominal_triples(grid)
    base = cost(baseline).macs
    groups: dict[Shape, list[Coefficients]] = {}
    macs: dict[Shape, int] = {}
    by_axis: dict[str, Shape] = {}
    for control in controls(baseline, SEARCH_RATIO * base):
        by_axis[control.dimension] = control.shape
        groups[control.shape], macs[control.shape] = [AXES[control.dimension]], control.macs
    names = {shape: dimension for dimension, shape in by_axis.items()}
    for coefficients, shape, count in _shapes(baseline, triples, rounding, base):
        place = by_axis.get(_axis(coefficients), shape) if rounding == "budget" else shape
        groups.setdefault(place, []).append(coefficients)
        macs.setdefault(place, count)
    candidates: list[Candidate] = []
    dropped: list[DroppedTriple] = []
    for shape, members in groups.items():
        ratio = macs[shape] / base
        reason = "" if shape in names else _why_dropped(shape, baseline, ratio, real_tolerance)
        if reason:
            dropped += [DroppedTriple(member, ratio, reason) for member in members]
            continue
        members = list(dict.fromkeys(members))  # noqa: PLW2901 (a control's own triple may be on the grid, too)
        members.sort(key=lambda c: (abs(c.nominal_ratio - SEARCH_RATIO), c.alpha, c.beta, c.gamma))
        spec = reshape(baseline, shape)
        candidates.append(Candidate(len(candidates), spec, tuple(members), macs[shape], ratio, names.get(shape, "")))
    if len(dropped) == len(triples):
        raise UserError(
            "--real-tolerance", f"with {real_tolerance:g} all {len(triples)} triples were dropped; "
            f"{dropped[0].coefficients}, for example, costs {dropped[0].real_ratio:.2f}× the baseline.",
            do="Widen it or choose a larger baseline.",
        )  # fmt: skip
    return Enumeration(tuple(candidates), tuple(dropped), len(triples))


def _axis(coefficients: Coefficients) -> str:
    """The one dimension that a triple scales; empty where it scales more."""
    grown = [
        name
        for name, value in zip(DIMENSIONS, (coefficients.alpha, coefficients.beta, coefficients.gamma), strict=True)
        if value != 1
    ]
    return grown[0] if len(grown) == 1 else ""


def _shapes(
    baseline: NetSpec, triples: tuple[Coefficients, ...], rounding: Rounding, base: int
) -> Iterable[tuple[Coefficients, Shape, int]]:
    """Each triple with its rounded shape and exact cost."""
    if rounding == "budget":
        targets = [Target(c.alpha, c.beta, c.gamma, SEARCH_RATIO * base) for c in triples]
        for coefficients, rounded in zip(triples, round_to_budget(baseline, targets), strict=True):
            yield coefficients, rounded.shape, rounded.macs
        return
    known: dict[Shape, int] = {}
    for c in triples:
        shape = released_shape(baseline, c.alpha, c.beta, round(baseline.resolution * c.gamma))
        if shape not in known:
            known[shape] = cost(reshape(baseline, shape)).macs
        yield c, shape, known[shape]


def _why_dropped(shape: Shape, baseline: NetSpec, ratio: float, real_tolerance: float | None) -> str:
    if shape == shape_of(baseline):
        return "rounds to the baseline itself"
    if real_tolerance is not None and abs(ratio / SEARCH_RATIO - 1) > real_tolerance + 1e-9:
        return f"no rounding within ±{show_percent(real_tolerance, 0)} of {SEARCH_RATIO:g}×"
    return ""
