"""The published family beside ours: the paper's figures, torchvision's, our count, and the formula's own family."""

import math
from dataclasses import dataclass, replace

from scalesearch.design.cost import Cost, cost
from scalesearch.design.scaling import PAPER, published_spec, scale
from scalesearch.design.space import load_space
from scalesearch.reports.published import Published, published_networks

# Tan & Le 2019 (arXiv:1905.11946v5), table 2: parameters and FLOPs as printed, in millions and billions.
TABLE_2: dict[str, tuple[str, str]] = {
    "b0": ("5.3", "0.39"), "b1": ("7.8", "0.70"), "b2": ("9.2", "1.0"), "b3": ("12", "1.8"),
    "b4": ("19", "4.2"), "b5": ("30", "9.9"), "b6": ("43", "19"), "b7": ("66", "37"),
}  # fmt: skip
SPACE = "efficientnet_b0"


@dataclass(frozen=True)
class Printed:
    """A figure of the paper beside our count.

    Args:
        printed: as the paper prints it, without its unit.
        counted: by us.
        unit: 1e6 or 1e9.
    """

    printed: str
    counted: int
    unit: float

    @property
    def value(self) -> float:
        """The paper's figure as a count."""
        return float(self.printed) * self.unit

    @property
    def difference(self) -> float:
        """Our count over the paper's figure, less 1."""
        return self.counted / self.value - 1

    @property
    def agrees(self) -> bool:
        """Whether our count rounds to the digits that the paper prints.

        >>> Printed("0.39", 385_814_752, 1e9).agrees, Printed("4.2", 4_393_771_024, 1e9).agrees
        (True, False)
        """
        decimals = len(self.printed.partition(".")[2])
        return f"{self.counted / self.unit:.{decimals}f}" == self.printed


@dataclass(frozen=True)
class Released:
    """A released network, B0…B7, counted three times.

    Args:
        depth, width: hand-rounded multipliers.
        phi: at which ``2^φ`` would cost as much: log₂ of the real FLOPs ratio to B0.
        torchvision: its weights' metadata; its FLOPs may be at another resolution.
        there: our count at torchvision's resolution.
    """

    name: str
    depth: float
    width: float
    resolution: int
    ratio: float
    phi: float
    ours: Cost
    params: Printed
    flops: Printed
    torchvision: Published
    there: Cost


@dataclass(frozen=True)
class Derived:
    """A member of the formula's family: α, β, γ to the power φ, the released rounding rules, nothing by hand."""

    phi: int
    resolution: int
    cost: Cost
    ratio: float


def released() -> tuple[Released, ...]:
    """B0…B7 as released."""
    space = load_space(SPACE)
    base = cost(space.baseline).macs
    metadata = {entry.network: entry for entry in published_networks()}  # the weights of a network share their sizes
    found = []
    for member in space.published:
        spec, entry = published_spec(space, member.name), metadata[f"efficientnet_{member.name}"]
        ours, (params, flops) = cost(spec), TABLE_2[member.name]
        found.append(
            Released(
                name=member.name, depth=member.depth, width=member.width, resolution=spec.resolution,
                ratio=ours.macs / base, phi=math.log2(ours.macs / base), ours=ours,
                params=Printed(params, ours.params, 1e6), flops=Printed(flops, ours.macs, 1e9), torchvision=entry,
                there=cost(replace(spec, resolution=entry.resolution)),
            )
        )  # fmt: skip
    return tuple(found)


def derived(largest: int = 7) -> tuple[Derived, ...]:
    """φ = 0…``largest`` by the paper's coefficients."""
    baseline = load_space(SPACE).baseline
    base = cost(baseline).macs
    members = []
    for phi in range(largest + 1):
        spec = scale(baseline, PAPER, phi, "efficientnet")
        sizes = cost(spec)
        members.append(Derived(phi, spec.resolution, sizes, sizes.macs / base))
    return tuple(members)


def explanations(family: tuple[Released, ...], formula: tuple[Derived, ...]) -> list[str]:
    """What differs, by how much, and why; every figure is computed from the rows."""
    same = [one.name for one in family if one.ours.params == one.torchvision.params]
    close = [one for one in family if abs(one.there.macs - one.torchvision.macs) <= 0.5e6 + 1]
    moved = [one for one in family if one.torchvision.resolution != one.resolution]
    lines = [
        f"Our parameters equal torchvision's exactly for {len(same)} of {len(family)} networks, and our FLOPs equal "
        f"its GFLOPs to the digits it gives (0.001 G) for {len(close)}, counted at its resolution."
    ]
    lines += [
        f"{one.name}: torchvision counts at {one.torchvision.resolution} px, the paper at {one.resolution}; at "
        f"{one.torchvision.resolution} px we count {one.there.macs / 1e9:.3f} G."
        for one in moved
    ]
    for what, name in (("FLOPs", "flops"), ("parameters", "params")):
        off = [(one.name, getattr(one, name)) for one in family if not getattr(one, name).agrees]
        listed = ", ".join(
            f"{member} {printed.printed}{'B' if printed.unit == 1e9 else 'M'} in print, "
            f"{printed.counted / printed.unit:.3g} counted ({100 * printed.difference:+.1f} %)"
            for member, printed in off
        )
        lines.append(
            f"The paper's {what} are our count rounded for {len(family) - len(off)} of {len(family)}; not for: "
            f"{listed}."
        )
    lines.append(
        "No counter that we know reproduces the paper's 4.2B and 9.9B: not convolution + linear, and adding biases, "
        "batch norm or pooling only makes the count larger."
    )
    last, b7 = formula[-1], family[-1]
    lines.append(
        f"The released multipliers were rounded by hand, so B1…B7 are no φ of the formula: {b7.name} (width "
        f"{b7.width:g}, depth {b7.depth:g}, {b7.resolution} px) costs {b7.ratio:.1f} × b0, as 2^φ would at φ = "
        f"{b7.phi:.2f}; φ = 7 of the formula costs {last.ratio:.1f} ×."
    )
    one = formula[1]
    lines.append(
        f"Nominally a step costs αβ²γ² = {PAPER.nominal_ratio:.2f} ×. Depths rounded up and widths to multiples of 8 "
        f"make the first step cost {one.ratio:.2f} ×; {_twin(one, family)}."
    )
    return lines


def _twin(one: Derived, family: tuple[Released, ...]) -> str:
    twins = [member.name for member in family if member.ours.params == one.cost.params]
    return f"its widths and depths are those of the released {twins[0]}" if twins else "no released network is like it"
