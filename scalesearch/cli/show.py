"""What commands print: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from scalesearch.cli.units import show_count
from scalesearch.design.cost import cost
from scalesearch.design.spec import NetSpec
from scalesearch.reports.stages import Part, parts


def console() -> Any:
    """A rich console: colours and width fit the terminal, plain text when piped."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def print_json(values: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(values, indent=2, ensure_ascii=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; the first column is text, the others numbers."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 or column == "block" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console().print(table)


SPEC_COLUMNS = ("part", "block", "se", "width", "depth", "output", "FLOPs")


def spec_lines(spec: NetSpec) -> list[list[str]]:
    """A row per part of a network: block with kernel and stride, squeeze, channels, blocks, output px, FLOPs."""
    return [
        [
            part.name, part.block, _squeeze(part), str(part.width), str(part.depth), str(part.size),
            show_count(part.cost.macs),
        ]
        for part in parts(spec)
    ]  # fmt: skip


def _squeeze(part: Part) -> str:
    """A stage's ratio, a dash where it has no squeeze-excitation; stem and head never have one."""
    return "" if part.name in ("stem", "head") else f"{part.squeeze:g}" if part.squeeze else "–"


def print_spec(title: str, spec: NetSpec) -> None:
    """A network's parts and totals."""
    sizes = cost(spec)
    print_table(title, SPEC_COLUMNS, spec_lines(spec))
    console().print(
        f"{spec.resolution} px, {spec.classes} classes: [bold]{show_count(sizes.macs)}[/] FLOPs "
        f"({sizes.macs:,} multiply-adds of convolution and linear operators), {show_count(sizes.params)} parameters, "
        f"{show_count(sizes.activations)} activations"
    )
