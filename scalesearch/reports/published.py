"""Published networks to stand beside, from torchvision's own weight metadata; and the published family counted: the
paper's figures, torchvision's, ours, and the formula's own family."""

import math
from dataclasses import dataclass, replace
from functools import cache

from scalesearch.design.cost import Cost, cost
from scalesearch.design.scaling import PAPER, published_spec, scale
from scalesearch.design.space import load_space
from scalesearch.units import show_percent

SERIES: dict[str, tuple[str, ...]] = {
    "GoogLeNet": ("googlenet",),
    "ResNet": ("resnet18", "resnet34", "resnet50"),
    "MobileNetV2": ("mobilenet_v2",),
    "MobileNetV3": ("mobilenet_v3_small", "mobilenet_v3_large"),
    "MNASNet": ("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"),
    "EfficientNet B0–B7": tuple(f"efficientnet_b{n}" for n in range(8)),
    "EfficientNetV2 S, M, L": ("efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l"),
}

# Tan & Le 2019 (arXiv:1905.11946v5), table 2: parameters and FLOPs as printed, in millions and billions.
TABLE_2: dict[str, tuple[str, str]] = {
    "b0": ("5.3", "0.39"), "b1": ("7.8", "0.70"), "b2": ("9.2", "1.0"), "b3": ("12", "1.8"),
    "b4": ("19", "4.2"), "b5": ("30", "9.9"), "b6": ("43", "19"), "b7": ("66", "37"),
}  # fmt: skip
SPACE = "efficientnet_b0"


@dataclass(frozen=True)
class PublishedNetwork:
    """One set of ImageNet weights.

    Args:
        series: the family it belongs to, a key of ``SERIES``.
        network: torchvision's name.
        weights: the weights' name, e.g. ``IMAGENET1K_V1``.
        top1: ImageNet accuracy, 0…1, on one centre crop.
        macs: multiply-adds, from torchvision's GFLOPs, which it gives to 0.001.
        params: parameters.
        resolution: crop in pixels at which accuracy and FLOPs are quoted (B2: 288, not the paper's 260).
    """

    series: str
    network: str
    weights: str
    top1: float
    macs: int
    params: int
    resolution: int


@cache
def published_networks() -> tuple[PublishedNetwork, ...]:
    """Every set of weights that torchvision lists for the networks of ``SERIES``; nothing is downloaded."""
    from torchvision.models import get_model_weights

    return tuple(
        PublishedNetwork(
            series=series,
            network=network,
            weights=weights.name,
            top1=round(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100, 5),
            macs=round(weights.meta["_ops"] * 1e9),
            params=weights.meta["num_params"],
            resolution=weights.transforms().crop_size[0],
        )
        for series, networks in SERIES.items()
        for network in networks
        for weights in get_model_weights(network)
    )


def best_published() -> tuple[PublishedNetwork, ...]:
    """One entry a network: its most accurate weights."""
    best: dict[str, PublishedNetwork] = {}
    for entry in published_networks():
        if entry.network not in best or entry.top1 > best[entry.network].top1:
            best[entry.network] = entry
    return tuple(best.values())


@dataclass(frozen=True)
class PaperCount:
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

        >>> PaperCount("0.39", 385_814_752, 1e9).agrees, PaperCount("4.2", 4_393_771_024, 1e9).agrees
        (True, False)
        """
        decimals = len(self.printed.partition(".")[2])
        return f"{self.counted / self.unit:.{decimals}f}" == self.printed


@dataclass(frozen=True)
class ReleasedMember:
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
    params: PaperCount
    flops: PaperCount
    torchvision: PublishedNetwork
    there: Cost


@dataclass(frozen=True)
class FormulaMember:
    """A member of the formula's family: α, β, γ to the power φ, the released rounding rules, nothing by hand."""

    phi: int
    resolution: int
    cost: Cost
    ratio: float


def released() -> tuple[ReleasedMember, ...]:
    """B0…B7 as released."""
    space = load_space(SPACE)
    base = cost(space.baseline).macs
    metadata = {entry.network: entry for entry in published_networks()}  # the weights of a network share their sizes
    networks = []
    for member in space.published:
        spec, entry = published_spec(space, member.name), metadata[f"efficientnet_{member.name}"]
        ours, (params, flops) = cost(spec), TABLE_2[member.name]
        networks.append(
            ReleasedMember(
                name=member.name, depth=member.depth, width=member.width, resolution=spec.resolution,
                ratio=ours.macs / base, phi=math.log2(ours.macs / base), ours=ours,
                params=PaperCount(params, ours.params, 1e6), flops=PaperCount(flops, ours.macs, 1e9), torchvision=entry,
                there=cost(replace(spec, resolution=entry.resolution)),
            )
        )  # fmt: skip
    return tuple(networks)


def derived(largest: int = 7) -> tuple[FormulaMember, ...]:
    """φ = 0…``largest`` by the paper's coefficients."""
    baseline = load_space(SPACE).baseline
    base = cost(baseline).macs
    members = []
    for phi in range(largest + 1):
        spec = scale(baseline, PAPER, phi, "efficientnet")
        sizes = cost(spec)
        members.append(FormulaMember(phi, spec.resolution, sizes, sizes.macs / base))
    return tuple(members)


def explanations(family: tuple[ReleasedMember, ...], formula: tuple[FormulaMember, ...]) -> list[str]:
    """What differs, by how much, and why; every figure is computed from the rows."""
    same = [one.name for one in family if one.ours.params == one.torchvision.params]
    close = [one for one in family if abs(one.there.macs - one.torchvision.macs) <= 0.5e6 + 1]
    moved = [one for one in family if one.torchvision.resolution != one.resolution]
    lines = [
        f"Our parameters equal torchvision's exactly for {len(same)} of {len(family)} networks, and our FLOPs equal "
        f"its GFLOPs to the digits it gives (0.001G) for {len(close)}, counted at its resolution."
    ]
    lines += [
        f"{one.name}: torchvision counts at {one.torchvision.resolution} px, the paper at {one.resolution}; at "
        f"{one.torchvision.resolution} px we count {one.there.macs / 1e9:.3f}G."
        for one in moved
    ]
    for what, name in (("FLOPs", "flops"), ("parameters", "params")):
        off = [(one.name, getattr(one, name)) for one in family if not getattr(one, name).agrees]
        listed = ", ".join(
            f"{member} {printed.printed}{'B' if printed.unit == 1e9 else 'M'} in print, "
            f"{printed.counted / printed.unit:.3g} counted ({show_percent(printed.difference, sign=True)})"
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


def _twin(one: FormulaMember, family: tuple[ReleasedMember, ...]) -> str:
    twins = [member.name for member in family if member.ours.params == one.cost.params]
    return f"its widths and depths are those of the released {twins[0]}" if twins else "no released network is like it"
