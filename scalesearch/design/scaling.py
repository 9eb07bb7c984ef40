"""Compound scaling: depth × α^φ, width × β^φ, resolution × γ^φ, rounded as the family was released or to a budget.

Source: Tan & Le 2019, "EfficientNet" (arXiv:1905.11946), equation 3.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from scalesearch.design.cost import cost
from scalesearch.design.shape import Shape, reshape, scaled_head
from scalesearch.design.space import SearchSpace
from scalesearch.design.spec import NetSpec, round_width
from scalesearch.errors import UserError

Rounding = Literal["budget", "efficientnet"]
LARGEST_MULTIPLIER = 64.0
LARGEST_SIDE = 8192  # pixels: twice what a file may ask for
LARGEST_SHOWN = 60  # digits
LARGEST_PHI = 300.0  # beyond it powers overflow; sensible ones are far below


@dataclass(frozen=True)
class Coefficients:
    """α scales depth, β width, γ resolution; ``growth`` is the FLOPs ratio one step of φ should really cost.

    ``growth`` None means the nominal ratio αβ²γ²; a search sets 2, the ratio at which it compared candidates.
    Only the ``budget`` rounding uses it.
    """

    alpha: float
    beta: float
    gamma: float
    growth: float | None = None

    @property
    def nominal_ratio(self) -> float:
        """αβ²γ²: the FLOPs ratio of one step of φ before anything is rounded."""
        return self.alpha * self.beta**2 * self.gamma**2

    @property
    def step_ratio(self) -> float:
        """The FLOPs ratio that one step of φ aims at."""
        return self.growth if self.growth is not None else self.nominal_ratio

    def __str__(self) -> str:
        return f"α {self.alpha:g}, β {self.beta:g}, γ {self.gamma:g}"


PAPER = Coefficients(1.2, 1.1, 1.15)  # arXiv:1905.11946, section 4.1


def check_coefficients(coefficients: Coefficients) -> None:
    """Raises UserError unless α, β, γ are finite and at least 1."""
    for name, value in (("alpha", coefficients.alpha), ("beta", coefficients.beta), ("gamma", coefficients.gamma)):
        if not (math.isfinite(value) and 1 <= value <= 8):
            raise UserError(f"--{name}", f"{value:g}", "a number from 1 to 8", "A factor below 1 would shrink with φ.")


def scale(spec: NetSpec, coefficients: Coefficients, phi: float, rounding: Rounding = "budget") -> NetSpec:
    """The member φ of the family that ``spec`` (φ = 0) and the coefficients span; any real φ, negative too.

    ``efficientnet``: widths to the divisor (0.9 rule), depths rounded up, resolution to the nearest pixel: as
    the released family is computed. ``budget``: the three rounded together so that the real FLOPs come as near
    as they can to ``macs(spec) · growth^φ`` (see ``design.budget``). φ = 0 is the baseline itself.

    Raises:
        UserError: a coefficient below 1, or a φ whose multipliers leave [1/64, 64].
    """
    check_coefficients(coefficients)
    if not math.isfinite(phi):
        raise UserError("--phi", f"{phi}", "a finite number")
    if phi == 0:
        return spec
    if abs(phi) > LARGEST_PHI:
        expected = f"a φ from -{LARGEST_PHI:g} to {LARGEST_PHI:g}"
        raise UserError("--phi", f"{phi:g}{_estimated(spec, coefficients, phi)}", expected)
    factors = (coefficients.alpha**phi, coefficients.beta**phi, coefficients.gamma**phi)
    if max(factors) > LARGEST_MULTIPLIER or min(factors) < 1 / LARGEST_MULTIPLIER:
        raise UserError(
            "--phi", f"{phi:g}{_estimated(spec, coefficients, phi)}",
            f"a φ whose multipliers stay within 1/64 and 64 for {coefficients}",
        )  # fmt: skip
    if spec.resolution * factors[2] > LARGEST_SIDE:
        raise UserError(
            "--phi", f"{phi:g}, images of {spec.resolution * factors[2]:.0f} px", f"at most {LARGEST_SIDE} px"
        )
    if rounding == "efficientnet":
        return multiply(spec, *factors)
    from scalesearch.design.budget import Target, round_to_budget  # brings numpy, which --help does without

    macs = cost(spec).macs * coefficients.step_ratio**phi
    return reshape(spec, round_to_budget(spec, [Target(*factors, macs=macs)])[0].shape)


def _estimated(spec: NetSpec, coefficients: Coefficients, phi: float) -> str:
    """How large the member at φ would be, before rounding; calculated in logarithms, which hold any φ."""
    if phi < 0:
        return ""
    digits = math.log10(cost(spec).params) + phi * math.log10(coefficients.alpha * coefficients.beta**2)
    if digits > LARGEST_SHOWN:
        return f", a network of about 10^{digits:.3g} parameters"
    return f", a network of about {10**digits:.2g} parameters ({4 * 10**digits / 1e9:.2g} GB)"


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
        known = ", ".join(members) or f"nothing: {space.name} lists no released members"
        raise UserError("published member", f'"{name}"', known)
    member = members[name]
    shape = released_shape(space.baseline, member.depth, member.width, member.resolution)
    return replace(
        reshape(space.baseline, shape),
        name=published_name(space, name),
        dropout=member.dropout,
        batch_norm=member.batch_norm,
    )
