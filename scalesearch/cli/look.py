"""Commands that look at what there is: report, paper, doctor."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from scalesearch.api.options import NoOptions
from scalesearch.api.report import ReportOptions, write_reports
from scalesearch.api.report import paper as paper_figures
from scalesearch.cli.commands import Terminal
from scalesearch.cli.shell import explain, print_json, print_table, say
from scalesearch.design.scaling import PAPER

if TYPE_CHECKING:
    from scalesearch.api.doctor import Health
    from scalesearch.reports.paper import Printed, Released


def report(asked: ReportOptions, terminal: Terminal) -> None:
    """Write a search's report: one HTML page, report.md, tables, figures.

    Works while the search runs, too. With several folders, compares the searches.

    Examples:

      scalesearch report runs/mbconv_small-glyphs-own

      scalesearch report runs/first runs/second
    """
    written = write_reports(asked)
    if terminal.json:
        print_json({"files": [str(path) for path in written]})
        return
    for path in written[:-1]:
        say(str(path))
    say(f"Read {written[-1]}")


def paper(_: NoOptions, terminal: Terminal) -> None:
    """Rebuild the published family, and put the paper's and torchvision's figures beside ours.

    Two families: B0…B7 as released, with multipliers rounded by hand, and φ = 0…7 of the formula. FLOPs are
    multiply-adds of convolution and linear operators.

    Example: scalesearch paper
    """
    figures = paper_figures()
    if terminal.json:
        print_json(figures.to_dict())
        return
    print_table(
        "B0…B7 as released: the paper (arXiv:1905.11946, table 2), torchvision's weights, our count",
        ("name", "width", "depth", "px", "params: paper", "torchvision", "ours", "FLOPs: paper", "torchvision", "ours",
         "ours/paper", "× b0", "φ by FLOPs"),
        [
            [one.name, f"{one.width:g}", f"{one.depth:g}", str(one.resolution), f"{one.params.printed}M",
             f"{one.torchvision.params:,}", f"{one.ours.params:,}", f"{one.flops.printed}B", _torchvision_flops(one),
             f"{one.ours.macs / 1e9:.3f}G", _difference(one.flops), f"{one.ratio:.2f}", f"{one.phi:.2f}"]
            for one in figures.released
        ],
    )  # fmt: skip
    print_table(
        f"φ = 0…7 by the formula ({PAPER})",
        ("φ", "px", "params", "FLOPs", "× φ = 0", "2^φ", "(αβ²γ²)^φ"),
        [
            [str(one.phi), str(one.resolution), f"{one.cost.params:,}", f"{one.cost.macs / 1e9:.3f}G",
             f"{one.ratio:.2f}", f"{2**one.phi}", f"{PAPER.nominal_ratio**one.phi:.2f}"]
            for one in figures.formula
        ],
    )  # fmt: skip
    for note in figures.notes:
        say(f"- {note}")


def _torchvision_flops(one: "Released") -> str:
    entry = one.torchvision
    at = f" @{entry.resolution}" if entry.resolution != one.resolution else ""
    return f"{entry.macs / 1e9:.3f}G{at}"


def _difference(printed: "Printed") -> str:
    return "rounds to it" if printed.agrees else f"{100 * printed.difference:+.1f} %"


def doctor(_: NoOptions, terminal: Terminal) -> None:
    """Show versions, devices, threads, caches, free memory, and what will be used.

    Ends with 0, or with 1 where something is broken.

    Example: scalesearch doctor
    """
    from scalesearch.api.doctor import doctor as examined

    health = examined()
    if terminal.json:
        print_json(asdict(health))
    else:
        _print_health(health)
        for broken in health.broken:
            say(f"BROKEN: {broken}")
        if not health.broken:
            explain("All is well. Next: scalesearch grid --space mbconv_small")
    if health.broken:
        raise typer.Exit(1)


def _print_health(health: "Health") -> None:
    sections = {
        "Versions": health.versions, "Extras": health.extras, "Machine": health.machine, "Folders": health.folders,
        "Variables": health.variables, "What will be used": health.used,
    }  # fmt: skip
    for title, values in sections.items():
        print_table(title, ("", ""), [[name, value] for name, value in values.items()], texts=2)
