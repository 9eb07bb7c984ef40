"""Commands that look at what there is: report, paper, doctor."""

from collections import Counter
from dataclasses import asdict
from datetime import datetime

import typer

from scalesearch.api.options import NoOptions, ReportOptions
from scalesearch.cli.commands import Terminal
from scalesearch.cli.shell import explain, print_json, say, show, show_rows


def report(asked: ReportOptions, terminal: Terminal) -> None:
    """Write a search's report: one HTML page, report.md, tables, figures.

    Works while the search runs, too. With several folders, compares the searches.

    Examples:

      scalesearch report runs/mbconv_small-glyphs-own

      scalesearch report --watch

      scalesearch report runs/first runs/second
    """
    from scalesearch.api import report as reports

    if terminal.watch:
        _watch(asked)
    written = reports.report(**vars(asked))
    if terminal.json:
        print_json({"files": [str(path) for path in written]})
        return
    kinds = Counter(path.suffix.removeprefix(".") for path in written)
    files = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    explain(f"Written to {written[-1].parent}: {files}")
    say(f"Read {written[-1]}")


def _watch(asked: ReportOptions) -> None:
    """Until interrupted; then the page is written once more, and no longer loads itself."""
    from scalesearch.api.report import watched

    try:
        for place, page in enumerate(watched(asked, explain)):
            explain(f"Open {page}; Ctrl-C ends" if place == 0 else f"{datetime.now():%H:%M:%S}: written anew")
    except KeyboardInterrupt:
        explain("No longer watched.")


def paper(_: NoOptions, terminal: Terminal) -> None:
    """Rebuild the published family, and put the paper's and torchvision's figures beside ours.

    Two families: B0…B7 as released, with multipliers rounded by hand, and φ = 0…7 of the formula. Then MobileNets,
    ResNet-50 and B0 scaled by depth, width or resolution alone, and by all three. FLOPs are multiply-adds of
    convolution and linear operators.

    Example: scalesearch paper
    """
    from scalesearch.api import report as reports
    from scalesearch.reports import tables

    figures = reports.paper()
    if terminal.json:
        print_json(figures.to_dict())
        return
    show(tables.released(figures.released))
    show(tables.formula(figures.formula))
    for note in figures.notes:
        say(f"- {note}")
    show(tables.scaled_networks(figures.scaled))
    for reason in figures.reasons:
        say(f"- {reason}")


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
        for title, values in (
            ("Versions", health.versions), ("Extras", health.extras), ("Machine", health.machine),
            ("Folders", health.folders), ("Variables", health.variables), ("What will be used", health.used),
        ):  # fmt: skip
            show_rows(title, ("", ""), values.items())
        for broken in health.broken:
            say(f"BROKEN: {broken}")
        if not health.broken:
            explain("All is well. Next: scalesearch grid --space mbconv_small")
    if health.broken:
        raise typer.Exit(1)
