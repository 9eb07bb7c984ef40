"""Compound scaling: depth × α^φ, width × β^φ, resolution × γ^φ, rounded as the family was released or to a budget;
and its inverse, the φ that meets a number of FLOPs or a time.

Source: Tan & Le 2019, "EfficientNet" (arXiv:1905.11946), equation 3.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from scalesearch.design.cost import cost
from scalesearch.design.measure import FLOPS, Measure
from scalesearch.design.space import SearchSpace
from scalesearch.design.spec import DIMENSIONS, Dimension, NetSpec, Shape, reshape, round_width, scaled_head, shape_of
from scalesearch.errors import UserError

Rounding = Literal["budget", "efficientnet"]
LARGEST_MULTIPLIER = 64.0
LARGEST_SIDE = 8192  # pixels: twice what a file may ask for
SMALLEST_SIDE = 8  # pixels of a network's input, as a file may ask for
LARGEST_SHOWN = 60  # digits
LARGEST_PHI = 300.0  # beyond it powers overflow; sensible ones are far below
AS_IT_IS = 0.05
NEAR_ENOUGH = 0.15
PASSES = 12  # over φ, each starting where the last one ended
TIME_NEAR_ENOUGH = 0.25  # a time cannot be met better: overheads do not shrink, and clocks wobble
MEASUREMENTS = 8
MOST_PHI = 4.0  # a step of the search for φ
LARGEST_PARAMS = 4_000_000_000


@dataclass(frozen=True)
class Step:
    """The shapes at φ = 0 and φ = 1 of a doubling that was searched."""

    start: Shape
    end: Shape


@dataclass(frozen=True)
class Coefficients:
    """α scales depth, β width, γ resolution; ``growth`` is the ratio of cost that one step of φ should really have.

    ``growth`` None means the nominal ratio αβ²γ²; a search sets 2, the ratio at which it compared candidates, in its
    own ``measure`` of cost. Only the ``budget`` rounding uses them. ``searched``: the step from φ = 0 to 1 that a
    search trained; from the same φ = 0, φ = 1 is that network and no other rounding of the factors.
    """

    alpha: float
    beta: float
    gamma: float
    growth: float | None = None
    searched: Step | None = None
    measure: Measure = FLOPS

    @property
    def nominal_ratio(self) -> float:
        """αβ²γ²: the FLOPs ratio of one step of φ before anything is rounded."""
        return self.alpha * self.beta**2 * self.gamma**2

    @property
    def step_ratio(self) -> float:
        """The ratio of cost that one step of φ aims at."""
        return self.growth if self.growth is not None else self.nominal_ratio

    @property
    def axis(self) -> Dimension | None:
        """The one dimension that they scale; None where they scale more, or none."""
        factors = (self.alpha, self.beta, self.gamma)
        grown = [name for name, factor in zip(DIMENSIONS, factors, strict=True) if factor != 1]
        return grown[0] if len(grown) == 1 else None

    def __str__(self) -> str:
        return f"α {self.alpha:g}, β {self.beta:g}, γ {self.gamma:g}"


PAPER = Coefficients(1.2, 1.1, 1.15)  # arXiv:1905.11946, section 4.1


@dataclass(frozen=True)
class Multipliers:
    """What a network really has of the baseline's depth, width and resolution, whatever it was rounded from.

    Args:
        depth: blocks over the baseline's, in the stages that scale.
        width: square root of what the channels alone do to the baseline's FLOPs, so that its square is their part.
        resolution: pixels of a side over the baseline's.
    """

    depth: float
    width: float
    resolution: float

    @property
    def shares(self) -> tuple[float, float, float]:
        """Doublings of the FLOPs that each brings: log2 of depth, width², resolution²; about 1 in all at φ = 1."""
        return math.log2(self.depth), 2 * math.log2(self.width), 2 * math.log2(self.resolution)

    def coefficients(self, measure: Measure = FLOPS) -> Coefficients:
        """α, β, γ that share out a doubling as this network does: αβ²γ² = 2, since a small network's parts that never
        grow make its own product larger than 2, which larger ones could not meet. Where something else than FLOPs
        doubles, its own multipliers."""
        if measure != FLOPS:
            depth, width, resolution = (max(1.0, own) for own in (self.depth, self.width, self.resolution))
            return Coefficients(depth, width, resolution, growth=2.0, measure=measure)
        total = sum(self.shares)
        alpha, beta, gamma = (factor ** (1 / total) for factor in (self.depth, self.width, self.resolution))
        return Coefficients(alpha, beta, gamma, 2.0)

    def __str__(self) -> str:
        return f"depth × {self.depth:.3g}, width × {self.width:.3g}, resolution × {self.resolution:.3g}"


def realised(baseline: NetSpec, spec: NetSpec) -> Multipliers:
    """The multipliers of a network, against the baseline that it was made from."""
    blocks = [sum(s.depth for s in one.stages if s.depth_scaled) for one in (baseline, spec)]
    shape = shape_of(baseline)
    wide = replace(shape, stem=spec.stem.width, widths=spec.widths, head=spec.head.width)
    width = math.sqrt(cost(reshape(baseline, wide)).macs / cost(baseline).macs) if wide != shape else 1.0
    return Multipliers(blocks[1] / blocks[0] if blocks[0] else 1.0, width, spec.resolution / baseline.resolution)


def check_coefficients(coefficients: Coefficients) -> None:
    """Raises UserError unless α, β, γ are finite and at least 1."""
    for name, value in (("alpha", coefficients.alpha), ("beta", coefficients.beta), ("gamma", coefficients.gamma)):
        if not (math.isfinite(value) and 1 <= value <= 8):
            raise UserError(f"--{name}", f"{value:g} is not between 1 and 8; a factor below 1 would shrink with φ.")


def scale(spec: NetSpec, coefficients: Coefficients, phi: float, rounding: Rounding = "budget") -> NetSpec:
    """The member φ of the family that ``spec`` (φ = 0) and the coefficients span; any real φ, negative too.

    ``efficientnet``: widths to the divisor (0.9 rule), depths rounded up, resolution to the nearest pixel: as
    the released family is computed. ``budget``: the three rounded together so that the real cost comes as near
    as it can to ``cost(spec) · growth^φ``, in the coefficients' measure (see ``design.budget``), and where one
    dimension alone grows, it grows as far as this cost asks (see ``design.controls``). φ = 0 is the baseline itself.

    Raises:
        UserError: a coefficient below 1, or a φ whose multipliers leave [1/64, 64].
    """
    check_coefficients(coefficients)
    if not math.isfinite(phi):
        raise UserError("--phi", f"{phi} is not a finite number.")
    if phi == 0:
        return spec
    step = coefficients.searched
    if step is not None and phi == 1 and shape_of(spec) == step.start:
        return reshape(spec, step.end)
    if abs(phi) > LARGEST_PHI:
        limits = f"not between -{LARGEST_PHI:g} and {LARGEST_PHI:g}"
        raise UserError("--phi", f"{phi:g} is {limits}{_estimated(spec, coefficients, phi)}.")
    factors = (coefficients.alpha**phi, coefficients.beta**phi, coefficients.gamma**phi)
    if max(factors) > LARGEST_MULTIPLIER or min(factors) < 1 / LARGEST_MULTIPLIER:
        limits = f"with {coefficients} the multipliers leave 1/{LARGEST_MULTIPLIER:g} to {LARGEST_MULTIPLIER:g}"
        do = f"Scale less far{'' if phi < 0 else f', such as --largest {math.floor(phi) - 1} for a family'}."
        raise UserError("--phi", f"{phi:g} is too far from 0: {limits}{_estimated(spec, coefficients, phi)}.", do=do)
    if spec.resolution * factors[2] > LARGEST_SIDE:
        side = f"{spec.resolution * factors[2]:.0f} px, more than the {LARGEST_SIDE} px that are possible"
        raise UserError("--phi", f"{phi:g} asks for images of {side}.")
    if rounding == "efficientnet":
        return multiply(spec, *factors)
    from scalesearch.design.budget import aim, round_to_budget  # brings numpy, which --help does without

    measure = coefficients.measure
    wanted = measure.of(spec) * coefficients.step_ratio**phi
    if phi > 0 and coefficients.axis is not None:
        from scalesearch.design.controls import alone

        if (shape := alone(spec, coefficients.axis, wanted, measure)) is not None:
            return reshape(spec, shape)
    return reshape(spec, round_to_budget(spec, [aim(spec, factors, wanted, measure)], measure)[0].shape)


def _estimated(spec: NetSpec, coefficients: Coefficients, phi: float) -> str:
    """How large the member at φ would be, before rounding; calculated in logarithms, which hold any φ."""
    if phi < 0:
        return ""
    digits = math.log10(cost(spec).params) + phi * math.log10(coefficients.alpha * coefficients.beta**2)
    if digits > LARGEST_SHOWN:
        return f", and the network would have about 10^{digits:.3g} parameters"
    return f", and the network would have about {10**digits:.2g} parameters ({4 * 10**digits / 1e9:.2g} GB)"


def multiply(spec: NetSpec, depth: float, width: float, resolution: float) -> NetSpec:
    """Multipliers applied with the released family's rounding rules (torchvision's, which match the authors')."""
    return reshape(spec, released_shape(spec, depth, width, max(1, round(spec.resolution * resolution))))


def released_shape(spec: NetSpec, depth: float, width: float, resolution: int) -> Shape:
    """Widths by the 0.9 rule, depths rounded up; ``resolution`` in pixels, taken as it is."""
    widths = tuple(round_width(stage.width * width, spec.width_divisor) for stage in spec.stages)
    depths = tuple(math.ceil(s.depth * depth) if s.depth_scaled else s.depth for s in spec.stages)
    stem = round_width(spec.stem.width * width, spec.width_divisor) if spec.stem.scaled else spec.stem.width
    return Shape(stem, widths, depths, scaled_head(spec, widths, width), resolution)


def published_name(space: SearchSpace, member: str) -> str:
    """A released member's full name: "efficientnet_b3", "efficientnet_lite3"."""
    return f"{space.name.removesuffix('_b0').removesuffix('_lite0')}_{member}"


def published_spec(space: SearchSpace, name: str) -> NetSpec:
    """A released member ("b3"): hand-rounded multipliers from the space's file, not a φ of any formula.

    Raises UserError where the space lists no such member.
    """
    members = {member.name: member for member in space.published}
    if name not in members:
        known = f"has {', '.join(members)}" if members else "lists no released members"
        raise UserError("published member", f'there is no "{name}": {space.name} {known}.')
    member = members[name]
    shape = released_shape(space.baseline, member.depth, member.width, member.resolution)
    return replace(
        reshape(space.baseline, shape),
        name=published_name(space, name),
        dropout=member.dropout,
        batch_norm=member.batch_norm,
    )


@dataclass(frozen=True)
class SizedMember:
    """A φ, the member it gives, and that member's cost."""

    phi: float
    spec: NetSpec
    cost: float


def size_baseline(
    space: SearchSpace, target: float | None, classes: int | None = None, measure: Measure = FLOPS,
    option: str = "--target-flops",
) -> NetSpec:  # fmt: skip
    """The space's baseline at about the cost ``target``.

    The baseline stays as it is within 5 % of the target (B0's 386M is what the paper calls 400M). Else it is scaled
    up or down with the paper's coefficients, rounded to the budget.

    Args:
        target: T, in the measure's unit; None keeps the space's own size.
        classes: outputs of the classifier; None keeps the space's.
        option: the option named in the error.

    Raises:
        UserError: T out of the space's reach, with the nearest size that can be had.
    """
    baseline = space.baseline if classes is None else replace(space.baseline, classes=classes)
    if target is None or abs(measure.of(baseline) / target - 1) <= AS_IT_IS:
        return baseline
    sized = meet(baseline, replace(PAPER, growth=2.0, measure=measure), target, "budget", option).spec
    if sized.resolution < SMALLEST_SIDE:
        looks = (
            f"{measure.show(target)} leave {space.name} only {sized.resolution} × {sized.resolution} pixels to look at"
        )
        do = "Give a larger size, or a space of smaller networks (mbconv_small)."
        raise UserError(option, f"{looks}; at least {SMALLEST_SIDE} are needed.", do=do)
    return sized


def meet(
    spec: NetSpec, coefficients: Coefficients, target: float, rounding: Rounding, option: str = "--flops",
    near: float = NEAR_ENOUGH,
) -> SizedMember:  # fmt: skip
    """The member of a family whose cost, in the coefficients' measure, comes nearest to a target: solves for φ.

    Args:
        spec: φ = 0.
        option: the option named in the error.
        near: by which share the nearest member may miss the target.

    Raises:
        UserError: nothing so near to the target, or a network too large to build.
    """
    measure = coefficients.measure
    if not (math.isfinite(target) and target > 0):
        raise UserError(option, f"{target} is not a positive number of multiply-adds, such as 400M.")
    own = measure.of(spec)
    _check_growth(coefficients)
    start = math.log(target / own) / math.log(coefficients.step_ratio)
    best: SizedMember | None = None
    for _ in range(PASSES):  # far below φ = 0 parts that do not shrink leave the formula's φ behind
        best = _nearest_member(spec, coefficients, target, rounding, start, best)
        if best is None or _miss(best.cost, target) <= math.log1p(min(near, NEAR_ENOUGH)):
            break
        onwards = best.phi + math.log(target / best.cost) / math.log(coefficients.step_ratio)
        start = onwards if abs(onwards - start) > 1 else start + math.copysign(1, target - best.cost)
    if best is None or _miss(best.cost, target) > math.log1p(near):
        nearest = f"; the nearest is {measure.show(best.cost)}" if best else ""
        sizes = f"({measure.show(own)}) cannot be scaled to {measure.show(target)}"
        raise UserError(
            option, f"{spec.name} {sizes}{nearest}.",
            do="Choose a space of about that size, or another size.",
        )  # fmt: skip
    check_buildable(best.spec, option)
    return best


def _nearest_member(
    spec: NetSpec, coefficients: Coefficients, target: float, rounding: Rounding, start: float,
    best: SizedMember | None,
) -> SizedMember | None:  # fmt: skip
    """The member nearest to a target within 1 of ``start``, or ``best`` if none is nearer.

    Rounding makes a cost a staircase in φ, so ``start`` is tried first, then its neighbours.
    """
    for phi in (start + offset for offset in sorted((step / 40 for step in range(-40, 41)), key=abs)):
        try:
            member = scale(spec, coefficients, phi, rounding)
        except UserError:
            continue
        count = coefficients.measure.of(member)
        if best is None or _miss(count, target) < _miss(best.cost, target) - 1e-3:
            best = SizedMember(phi, member, count)
        if _miss(best.cost, target) < 1e-3:
            break
    return best


def meet_seconds(
    spec: NetSpec,
    coefficients: Coefficients,
    target_seconds: float,
    rounding: Rounding,
    seconds_of: Callable[[NetSpec], float],
    option: str = "--latency",
) -> SizedMember:
    """The member of a family that takes about ``target_seconds``; its cost is what it took. Bisection over φ.

    A time grows about as FLOPs do, but by no formula, and each measurement builds a network: the next guess is the φ
    whose FLOPs are as many times the last one's as the target is of its time, or half way where that was ruled out.

    Args:
        spec: φ = 0.
        seconds_of: measures a network.
        option: the option named in the error.

    Raises:
        UserError: a target that no member comes within 25 % of.
    """
    step = coefficients.step_ratio
    if not (math.isfinite(target_seconds) and target_seconds > 0):
        raise UserError(option, f"{target_seconds} is not a positive time, such as 20ms.")
    _check_growth(coefficients)
    own = seconds_of(spec)
    tried = [(0.0, spec, own)]
    low, high = -math.inf, math.inf
    phi = 0.0
    for _ in range(MEASUREMENTS):
        _, _, seconds = tried[-1]
        low, high = (phi, high) if seconds < target_seconds else (low, phi)
        if _miss(seconds, target_seconds) < math.log1p(AS_IT_IS):
            break
        # FLOPs proportional to time give a step; between two known ends it never leaves them
        phi += max(-MOST_PHI, min(MOST_PHI, math.log(target_seconds / seconds) / math.log(step)))
        if not low < phi < high:
            phi = (low + high) / 2
        phi = round(phi, 3)
        if phi in [known for known, _, _ in tried]:
            break
        try:
            member = scale(spec, coefficients, phi, rounding)
            check_buildable(member, option)
        except UserError:
            break
        tried.append((phi, member, seconds_of(member)))
    best = min(tried, key=lambda one: _miss(one[2], target_seconds))
    if _miss(best[2], target_seconds) > math.log1p(TIME_NEAR_ENOUGH):
        raise UserError(
            option, f"{spec.name} ({own * 1e3:.3g} ms) cannot be scaled to {target_seconds * 1e3:.3g} ms; "
            f"the nearest is {best[2] * 1e3:.3g} ms at φ = {best[0]:g}.",
            do="Choose another space, or measure again on a machine with nothing else to do.",
        )  # fmt: skip
    return SizedMember(*best)


def _check_growth(coefficients: Coefficients) -> None:
    if coefficients.step_ratio <= 1:
        problem = f"with {coefficients} a larger φ gives no larger network; at least one must be above 1."
        raise UserError("--alpha, --beta, --gamma", problem)


def check_buildable(spec: NetSpec, option: str) -> None:
    """Refuses a network whose weights alone would take more than 16 GB, before anything is allocated."""
    params = cost(spec).params
    if params > LARGEST_PARAMS:
        size = f"{params / 1e9:.3g}B parameters ({4 * params / 1e9:.3g} GB)"
        raise UserError(option, f"a network of {size} is too large; at most {LARGEST_PARAMS / 1e9:g}B are possible.")


def _miss(value: float, target: float) -> float:
    return abs(math.log(value / target))
