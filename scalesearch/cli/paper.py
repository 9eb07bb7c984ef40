"""The command that puts the paper's figures beside ours."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scalesearch.cli.design import JsonOption

if TYPE_CHECKING:
    from scalesearch.reports.paper import Printed, Released


def paper(json: JsonOption = False) -> None:
    """Rebuild the published family, and put the paper's and torchvision's figures beside ours.

    Two families: B0…B7 as released, with multipliers rounded by hand, and φ = 0…7 of the formula. FLOPs are
    multiply-adds of convolution and linear operators.

    Example: scalesearch paper
    """
    from scalesearch.cli.progress import say
    from scalesearch.cli.show import print_json, print_table
    from scalesearch.design.scaling import PAPER
    from scalesearch.reports.paper import derived, explanations, released

    family, formula = released(), derived()
    notes = explanations(family, formula)
    if json:
        print_json(
            {
                "released": [_released_values(one) for one in family],
                "formula": [asdict(one) for one in formula],
                "notes": notes,
            }
        )
        return
    print_table(
        "B0…B7 as released: the paper (arXiv:1905.11946, table 2), torchvision's weights, our count",
        ("name", "width", "depth", "px", "params: paper", "torchvision", "ours", "FLOPs: paper", "torchvision", "ours",
         "ours/paper", "× b0", "φ by FLOPs"),
        [
            [one.name, f"{one.width:g}", f"{one.depth:g}", str(one.resolution), f"{one.params.printed}M",
             f"{one.torchvision.params:,}", f"{one.ours.params:,}", f"{one.flops.printed}B", _torchvision_flops(one),
             f"{one.ours.macs / 1e9:.3f}G", _difference(one.flops), f"{one.ratio:.2f}", f"{one.phi:.2f}"]
            for one in family
        ],
    )  # fmt: skip
    print_table(
        f"φ = 0…7 by the formula ({PAPER})",
        ("φ", "px", "params", "FLOPs", "× φ = 0", "2^φ", "(αβ²γ²)^φ"),
        [
            [str(one.phi), str(one.resolution), f"{one.cost.params:,}", f"{one.cost.macs / 1e9:.3f}G",
             f"{one.ratio:.2f}", f"{2**one.phi}", f"{PAPER.nominal_ratio**one.phi:.2f}"]
            for one in formula
        ],
    )  # fmt: skip
    for note in notes:
        say(f"- {note}")


def _torchvision_flops(one: "Released") -> str:
    entry = one.torchvision
    at = f" @{entry.resolution}" if entry.resolution != one.resolution else ""
    return f"{entry.macs / 1e9:.3f}G{at}"


def _difference(printed: "Printed") -> str:
    return "rounds to it" if printed.agrees else f"{100 * printed.difference:+.1f} %"


def _released_values(one: "Released") -> dict[str, Any]:
    return {
        **asdict(one),
        "params": {**asdict(one.params), "difference": one.params.difference, "agrees": one.params.agrees},
        "flops": {**asdict(one.flops), "difference": one.flops.difference, "agrees": one.flops.agrees},
    }
