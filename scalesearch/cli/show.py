"""What commands print: tables for people, JSON for programs."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from scalesearch.cli.units import show_count
from scalesearch.design.cost import cost, output_size, stage_costs
from scalesearch.design.spec import NetSpec


def console() -> Any:
    """A rich console that fits the terminal; no escape codes when piped or where NO_COLOR asks for none."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    plain = not terminal or bool(os.environ.get("NO_COLOR"))
    return Console(highlight=False, width=None if terminal else 160, color_system=None if plain else "auto")


def print_json(values: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(values, indent=2, ensure_ascii=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> None:
    """A table; the first ``texts`` columns are text, the others numbers."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False,
        show_header=any(columns),
    )  # fmt: skip
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < texts or column == "block" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    console().print(table)


KINDS = {
    "mbconv": "MBConv{:.3g}", "fused_mbconv": "FusedMBConv{:.3g}", "basic": "basic ×{:.3g}",
    "bottleneck": "bottleneck ×{:.3g}",
}  # fmt: skip
SPEC_COLUMNS = ("part", "block", "se", "width", "depth", "output", "FLOPs")


def spec_lines(spec: NetSpec) -> list[list[str]]:
    """A row per part of a network: block with kernel and stride, squeeze, channels, blocks, output px, FLOPs."""
    costs = stage_costs(spec)
    stem = spec.stem
    size = output_size(spec.resolution, stem.reduction)
    block = f"conv {stem.kernel}×{stem.kernel} /{stem.stride}" + (", max-pool 3×3 /2" if stem.max_pool else "")
    lines = [["stem", block, "", str(stem.width), "1", f"{size}", show_count(costs[0].macs)]]
    for number, (stage, part) in enumerate(zip(spec.stages, costs[1:-1], strict=True), start=1):
        size = output_size(size, stage.stride)
        block = f"{KINDS[stage.block].format(stage.expand_ratio)} {stage.kernel}×{stage.kernel} /{stage.stride}"
        squeeze = f"{stage.se_ratio:g}" if stage.se_ratio else "–"
        lines.append(
            [str(number), block, squeeze, str(stage.width), str(stage.depth), str(size), show_count(part.macs)]
        )
    head = [*["conv 1×1"] * bool(spec.head.width), "pool", *["linear"] * bool(spec.head.hidden), "linear"]
    lines.append(["head", ", ".join(head), "", str(spec.pooled_width), "1", "1", show_count(costs[-1].macs)])
    return lines


def print_spec(title: str, spec: NetSpec) -> None:
    """A network's parts and totals."""
    sizes = cost(spec)
    print_table(title, SPEC_COLUMNS, spec_lines(spec))
    console().print(
        f"{spec.resolution} px, {spec.classes} classes: [bold]{show_count(sizes.macs)}[/] FLOPs "
        f"({sizes.macs:,} multiply-adds of convolution and linear operators), {show_count(sizes.params)} parameters, "
        f"{show_count(sizes.activations)} activations"
    )
