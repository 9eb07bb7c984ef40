"""The paper's tables 3 and 7, networks scaled by one dimension alone and by all three, beside our counts."""

from collections.abc import Sequence
from dataclasses import dataclass

from scalesearch.design.cost import cost
from scalesearch.design.scaling import multiply
from scalesearch.design.space import load_space
from scalesearch.reports.published import PaperCount
from scalesearch.units import show_percent

COMPOUND = (1.4, 1.2, 1.3)
FACTORS: dict[str, tuple[float, float, float]] = {
    "baseline": (1, 1, 1), "depth": (4, 1, 1), "width": (1, 2, 1), "resolution": (1, 1, 2), "compound": COMPOUND
}  # fmt: skip
# Tan & Le 2019 (arXiv:1905.11946v5), tables 3 and 7: FLOPs in billions and ImageNet top-1 in percent, as printed.
PRINTED: dict[str, dict[str, tuple[str, str]]] = {
    "MobileNetV1": {
        "baseline": ("0.6", "70.6"), "width": ("2.2", "74.2"), "resolution": ("2.2", "72.7"),
        "compound": ("2.3", "75.6"),
    },
    "MobileNetV2": {
        "baseline": ("0.3", "72.0"), "depth": ("1.2", "76.8"), "width": ("1.1", "76.4"), "resolution": ("1.2", "74.8"),
        "compound": ("1.3", "77.4"),
    },
    "ResNet-50": {
        "baseline": ("4.1", "76.0"), "depth": ("16.2", "78.1"), "width": ("14.7", "77.7"),
        "resolution": ("16.4", "77.5"), "compound": ("16.7", "78.8"),
    },
    "EfficientNet-B0": {
        "baseline": ("0.4", "77.3"), "depth": ("1.8", "79.0"), "width": ("1.8", "78.9"), "resolution": ("1.9", "79.1"),
        "compound": ("1.8", "81.1"),
    },
}  # fmt: skip
TABLES = {"MobileNetV1": 3, "MobileNetV2": 3, "ResNet-50": 3, "EfficientNet-B0": 7}
UNSAID = ("MobileNetV2", "ResNet-50")  # whose compound factors the paper does not print
# no space for MobileNetV1: its 1×1 convolutions are activated and have no shortcut, as no kind of block here
SPACES = {"MobileNetV2": "mobilenet_v2", "ResNet-50": "resnet50", "EfficientNet-B0": "efficientnet_b0"}


@dataclass(frozen=True)
class ScaledNetwork:
    """A row of the paper's table 3 or 7.

    Args:
        by: "baseline", what alone is scaled, or "compound"; ``factors``: of depth, width, resolution.
        top1: ImageNet's, in percent, as printed; ``printed``: billions of FLOPs, as printed.
        resolution: in pixels; None, as ``flops``, for a network that cannot be expressed here.
        flops: the paper's figure beside our count.
        ratio: our count over that of our baseline.
    """

    table: int
    network: str
    by: str
    factors: tuple[float, float, float]
    top1: str
    printed: str
    resolution: int | None = None
    flops: PaperCount | None = None
    ratio: float | None = None


def scaled() -> tuple[ScaledNetwork, ...]:
    """Every row, those that can be expressed here counted; depths are rounded up and widths by the 0.9 rule."""
    return tuple(_counted(name, by, *figures) for name, printed in PRINTED.items() for by, figures in printed.items())


def _counted(name: str, by: str, printed: str, top1: str) -> ScaledNetwork:
    if name not in SPACES:
        return ScaledNetwork(TABLES[name], name, by, FACTORS[by], top1, printed)
    baseline = load_space(SPACES[name]).baseline
    spec = multiply(baseline, *FACTORS[by])
    macs = cost(spec).macs
    return ScaledNetwork(
        TABLES[name], name, by, FACTORS[by], top1, printed, spec.resolution, PaperCount(printed, macs, 1e9),
        macs / cost(baseline).macs,
    )  # fmt: skip


def reasons(rows: Sequence[ScaledNetwork]) -> list[str]:
    """What differs, by how much, and why, a line a network; every figure of ours is computed from the rows."""
    of = {(one.network, one.by): one.flops for one in rows if one.flops is not None}
    depth, width, resolution = COMPOUND
    nominal = depth * width**2 * resolution**2
    agreeing = [flops for flops in of.values() if flops.agrees]
    v2, r50, b0 = (of[name, "baseline"].counted / 1e9 for name in ("MobileNetV2", "ResNet-50", "EfficientNet-B0"))
    v2_compound, r50_compound = of["MobileNetV2", "compound"], of["ResNet-50", "compound"]
    deep, wide = of["ResNet-50", "depth"], of["ResNet-50", "width"]
    alone = [of["EfficientNet-B0", by] for by in ("depth", "width", "resolution")]
    multiples = [flops.value / 1e9 / b0 for flops in alone]
    compound = of["EfficientNet-B0", "compound"].counted
    more = [f"{100 * (compound / flops.counted - 1):.0f}" for flops in alone]
    return [
        f"The paper's FLOPs are our count rounded for {len(agreeing)} of the {len(of)} networks that can be expressed "
        "here. MobileNetV1 cannot: its 1×1 convolutions are activated and have no shortcut, as in no kind of block.",
        f"MobileNetV2: {v2:.3f}G × {depth:g}·{width:g}²·{resolution:g}² is {v2 * nominal:.2f}G, and depths rounded up "
        f"make it {v2_compound.counted / 1e9:.2f}G; the paper, with {v2_compound.printed}B, prints neither its factors "
        "for this network nor its rounding.",
        f"ResNet-50: depth 4 does not repeat the stem and the projections, so it stays below 4 × {r50:.2f}G, and "
        f"width 2 quadruples nearly everything; the paper's {deep.printed}B and {wide.printed}B are our "
        f"{wide.counted / 1e9:.1f}G and {deep.counted / 1e9:.1f}G to 1 %, but for each other's row. Its compound "
        f"factors are not printed either ({show_percent(r50_compound.difference, sign=True)}).",
        f"EfficientNet-B0: 4 × {b0:.3f}G is {4 * b0:.2f}G and cannot give {_range([one.printed for one in alone])}B, "
        f"which would be {min(multiples):.1f} to {max(multiples):.1f} × the baseline; compound scaling gives "
        f"{compound / 1e9:.2f}G, {_range(more)} % more than what it is compared with.",
    ]


def _range(printed: Sequence[str]) -> str:
    return "–".join(dict.fromkeys((min(printed), max(printed))))
