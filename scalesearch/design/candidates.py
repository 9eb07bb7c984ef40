"""The list of networks to train: each distinct network once, with every (α, β, γ) that lands on it.

What is trained may be smaller than what is wanted (a proxy, ``study.proxy``). In FLOPs, candidates are then made around
the baseline *as trained*, at twice its cost, so that equal cost holds where they are compared; the network at full size
follows from the multipliers that the trained one really has. What a device takes or holds says nothing at a size that
nobody will run: in another measure candidates are made at full size, at twice the baseline's cost, and what is trained
has their multipliers.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scalesearch.design.budget import aim, round_to_budget
from scalesearch.design.controls import controls, met
from scalesearch.design.cost import cost
from scalesearch.design.measure import FLOPS, Measure
from scalesearch.design.scaling import PAPER, Coefficients, Multipliers, Rounding, realised, released_shape
from scalesearch.design.space import Grid, check_grid
from scalesearch.design.spec import DIMENSIONS, NetSpec, Shape, reshape, shape_of
from scalesearch.errors import UserError
from scalesearch.units import show_percent

SEARCH_RATIO = 2.0  # φ = 1 doubles the FLOPs: the constraint αβ²γ² ≈ 2
MOST_PER_AXIS = 310  # values of α, β or γ
MOST_TRIPLES = 20_000  # rounded in about two seconds, B0's baseline
NEAR = 0.05  # of one doubling: networks that differ by less in every share of it are one candidate
AXES = {  # the triple that stands for each control, at twice the FLOPs
    "paper": replace(PAPER, growth=SEARCH_RATIO),
    "depth": Coefficients(SEARCH_RATIO, 1, 1, SEARCH_RATIO),
    "width": Coefficients(1, math.sqrt(SEARCH_RATIO), 1, SEARCH_RATIO),
    "resolution": Coefficients(1, 1, math.sqrt(SEARCH_RATIO), SEARCH_RATIO),
}


@dataclass(frozen=True)
class Candidate:
    """One distinct network at φ = 1.

    Args:
        index: its place in the list, from 0; the same for the same space and grid.
        spec: the network at full size; ``macs`` its multiply-adds, ``real_ratio`` its cost over the baseline's.
        trained: the network that is trained for it, of ``proxy_macs`` multiply-adds; the network itself where nothing
            is made smaller. ``proxy_ratio``: the cost that it is judged by over the baseline's; in FLOPs its own, as
            trained; in another measure that of the network at full size.
        measure: of costs.
        triples: every (α, β, γ) of the grid that lands on it or beside it, the one nearest to αβ²γ² = 2 first.
        multipliers: of the network as trained.
        control: "depth", "width", "resolution" where it scales that alone, "paper" for the paper's triple; else empty.
    """

    index: int
    spec: NetSpec
    macs: int
    real_ratio: float
    trained: NetSpec
    proxy_macs: int
    proxy_ratio: float
    triples: tuple[Coefficients, ...]
    multipliers: Multipliers
    control: str = ""
    measure: Measure = FLOPS

    @property
    def name(self) -> str:
        """Such as c004."""
        return f"c{self.index:03d}"

    @property
    def coefficients(self) -> Coefficients:
        """α, β, γ: a control's own, else αβ²γ² = 2 shared out as the network as trained does; in another measure than
        FLOPs the network's own multipliers."""
        if self.control not in AXES:
            return self.multipliers.coefficients(self.measure)
        if self.measure == FLOPS or self.control == "paper":
            return replace(AXES[self.control], measure=self.measure)
        depth, width, resolution = (
            getattr(self.multipliers, one) if one == self.control else 1.0 for one in DIMENSIONS
        )
        return Coefficients(depth, width, resolution, SEARCH_RATIO, measure=self.measure)

    @property
    def nominal_ratio(self) -> float:
        """αβ²γ² of the first triple."""
        return self.triples[0].nominal_ratio


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
    baseline: NetSpec,
    grid: Grid,
    rounding: Rounding = "budget",
    real_tolerance: float | None = 0.05,
    trained: NetSpec | None = None,
    measure: Measure = FLOPS,
) -> Enumeration:
    """Every distinct network of the grid around the baseline, its controls and the paper's triple, costed; nothing is
    built or trained.

    Controls (depth, width or resolution alone, see ``design.controls``) stand first, then the paper's triple, with or
    without a triple on the grid. Under ``budget`` a control stands for every triple of its axis, and of networks whose
    multipliers are nearly the same (``NEAR``) one stands for all.

    Args:
        baseline: φ = 0.
        grid: which triples count as αβ²γ² ≈ 2.
        rounding: ``budget`` meets 2× in real cost; ``efficientnet`` is the paper-literal rule.
        real_tolerance: candidates whose real ratio, as trained or at full size, is farther from 2 than this share are
            dropped; None keeps all.
        trained: φ = 0 as it is trained; the baseline if None.
        measure: the cost that doubles.

    Raises:
        UserError: nothing is left.
    """
    pair = _Pair(baseline, baseline if trained is None else trained, rounding, measure)
    start, triples = pair.start, nominal_triples(grid)
    target = SEARCH_RATIO * measure.of(start)
    alone: dict[str, Shape] = {one.dimension: one.shape for one in controls(start, target, measure)}
    groups: dict[Shape, list[Coefficients]] = {shape: [AXES[dimension]] for dimension, shape in alone.items()}
    names: dict[Shape, str] = {shape: dimension for dimension, shape in alone.items()}
    for coefficients, shape in _shapes(start, (PAPER, *triples), rounding, target, measure):
        if coefficients is PAPER:
            nearer = met(start, shape, target, measure) if rounding == "budget" else shape
            shape = shape if nearer in groups else nearer  # noqa: PLW2901 (a tiny network's may be a control's)
            names.setdefault(shape, "paper")
        place = alone.get(coefficients.axis or "", shape) if rounding == "budget" else shape
        groups.setdefault(place, []).append(coefficients)
    kept: list[_Network] = []
    dropped: list[DroppedTriple] = []
    for shape, members in groups.items():
        if shape == shape_of(start):
            dropped += [DroppedTriple(member, 1.0, "rounds to the baseline itself") for member in members]
            continue
        one = pair.network(shape, members, names.get(shape, ""))
        near = _nearest(one, kept) if rounding == "budget" and not one.control else None
        reason = _why_dropped(one, real_tolerance)
        if near is not None:
            near.triples.extend(members)
        elif reason:
            dropped += [DroppedTriple(member, one.ratios[0], reason) for member in members]
        else:
            kept.append(one)
    candidates = tuple(one.candidate(index) for index, one in enumerate(kept))
    if {one.coefficients for one in dropped}.issuperset(triples):
        raise UserError(
            "--real-tolerance", f"with {real_tolerance or 0:g} all {len(triples)} triples were dropped; "
            f"{dropped[0].coefficients}, for example, costs {dropped[0].real_ratio:.2f}× the baseline.",
            do="Widen it or choose a larger baseline.",
        )  # fmt: skip
    return Enumeration(candidates, tuple(dropped), len(triples))


@dataclass
class _Network:
    """A candidate in the making; ``ratios``: as judged, and at full size."""

    spec: NetSpec
    trained: NetSpec
    macs: tuple[int, int]
    ratios: tuple[float, float]
    multipliers: Multipliers
    triples: list[Coefficients]
    control: str
    measure: Measure

    @property
    def shares(self) -> NDArray[np.float64]:
        """Of the doubling, that depth, width and resolution bring; they add up to 1."""
        shares = np.array(self.multipliers.shares)
        return np.asarray(shares / shares.sum())

    def candidate(self, index: int) -> Candidate:
        triples = sorted(
            dict.fromkeys(self.triples), key=lambda c: (abs(c.nominal_ratio - SEARCH_RATIO), c.alpha, c.beta, c.gamma)
        )
        return Candidate(
            index, self.spec, self.macs[1], self.ratios[1], self.trained, self.macs[0], self.ratios[0], tuple(triples),
            self.multipliers, self.control, self.measure,
        )  # fmt: skip


@dataclass(frozen=True)
class _Pair:
    """φ = 0 at full size and as trained, and how candidates are made from them."""

    baseline: NetSpec
    small: NetSpec
    rounding: Rounding
    measure: Measure

    @property
    def start(self) -> NetSpec:
        """Around which candidates are made."""
        return self.small if self.measure.at_any_size else self.baseline

    def network(self, shape: Shape, triples: list[Coefficients], control: str) -> _Network:
        """The network of a shape of ``start``, and the other one that has its multipliers."""
        one, measure = reshape(self.start, shape), self.measure
        multipliers = realised(self.start, one)
        if self.small == self.baseline:
            trained = spec = one
        elif measure.at_any_size:
            trained, spec = one, self._full_size(multipliers, control, triples[0])
        else:
            trained, spec = proxy_of(one, self.baseline, self.small), one
        full = measure.of(spec) / measure.of(self.baseline)
        judged = measure.of(trained) / measure.of(self.small) if measure.at_any_size else full
        macs = cost(trained).macs, cost(spec).macs
        return _Network(spec, trained, macs, (judged, full), multipliers, list(triples), control, measure)

    def _full_size(self, multipliers: Multipliers, control: str, triple: Coefficients) -> NetSpec:
        target = SEARCH_RATIO * cost(self.baseline).macs
        for one in controls(self.baseline, target) if control else ():
            if one.dimension == control:
                return reshape(self.baseline, one.shape)
        wanted = triple if self.rounding == "efficientnet" or control else multipliers.coefficients()
        ((_, shape),) = _shapes(self.baseline, (wanted,), self.rounding, target, FLOPS)
        return reshape(self.baseline, shape)


def proxy_of(spec: NetSpec, baseline: NetSpec, small: NetSpec) -> NetSpec:
    """What is trained for a network at full size: of its multipliers, as many times ``small`` in FLOPs as it is of
    ``baseline``."""
    has, ratio = realised(baseline, spec), cost(spec).macs / cost(baseline).macs
    wanted = aim(small, (has.depth, has.width, has.resolution), ratio * cost(small).macs)
    return reshape(small, round_to_budget(small, [wanted])[0].shape)


def _nearest(one: _Network, kept: list[_Network]) -> _Network | None:
    """The network among those kept that one nearly is, the nearest first; None where there is none so near."""
    if not kept:
        return None
    shares = np.array([other.shares for other in kept])
    distances = np.abs(shares - one.shares).max(axis=1)
    nearest = int(np.argmin(distances))
    return kept[nearest] if distances[nearest] < NEAR else None


def _shapes(
    baseline: NetSpec, triples: tuple[Coefficients, ...], rounding: Rounding, target: float, measure: Measure
) -> Iterable[tuple[Coefficients, Shape]]:
    """Each triple with its rounded shape."""
    if rounding == "budget":
        targets = [aim(baseline, (c.alpha, c.beta, c.gamma), target, measure) for c in triples]
        rounded = round_to_budget(baseline, targets, measure)
        yield from zip(triples, (fit.shape for fit in rounded), strict=True)
    else:
        for c in triples:
            yield c, released_shape(baseline, c.alpha, c.beta, round(baseline.resolution * c.gamma))


def _why_dropped(one: _Network, real_tolerance: float | None) -> str:
    for ratio, what in zip(one.ratios, ("as trained", "at full size"), strict=True):
        if real_tolerance is not None and abs(ratio / SEARCH_RATIO - 1) > real_tolerance + 1e-9:
            where = f" {what}" if one.ratios[0] != one.ratios[1] else ""
            return f"no rounding within ±{show_percent(real_tolerance, 0)} of {SEARCH_RATIO:g}×{where}"
    return ""
