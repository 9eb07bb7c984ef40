"""What commands print: tables for people, JSON for programs."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from scalesearch.cli.progress import asked_quiet
from scalesearch.design.cost import COLUMNS, cost
from scalesearch.design.cost import spec_lines as spec_lines
from scalesearch.design.spec import NetSpec
from scalesearch.errors import printable
from scalesearch.units import show_count


def console() -> Any:
    """A rich console that fits the terminal; no escape codes when piped or where NO_COLOR asks for none."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    plain = not terminal or bool(os.environ.get("NO_COLOR"))
    return Console(highlight=False, width=None if terminal else 160, color_system=None if plain else "auto")


def print_json(values: Any) -> None:
    """One JSON document on standard output."""
    text = json.dumps(values, indent=2, ensure_ascii=False)
    print(text.encode("utf-8", "backslashreplace").decode())  # a file's name may hold what no encoding does


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1, *, result: bool = True
) -> None:
    """A table; the first ``texts`` columns are text, the others numbers. --quiet leaves out what is no result."""
    if not result and asked_quiet():
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False,
        show_header=any(columns),
    )  # fmt: skip
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < texts or column == "block" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    console().print(table)


def print_spec(title: str, spec: NetSpec) -> None:
    """A network's parts and totals."""
    sizes = cost(spec)
    print_table(title, COLUMNS, spec_lines(spec))
    console().print(
        f"{spec.resolution} px, {spec.classes} classes: [bold]{show_count(sizes.macs)}[/] FLOPs "
        f"({sizes.macs:,} multiply-adds of convolution and linear operators), {show_count(sizes.params)} parameters, "
        f"{show_count(sizes.activations)} activations"
    )
