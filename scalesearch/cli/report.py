"""The report command: one run's report, or several runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from scalesearch.cli.design import JsonOption
from scalesearch.errors import UserError


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="Folder of a search, the newest under runs/ if left out; several are compared."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report; RUN/report, or RUN/comparison for several.")
    ] = None,
    watts: Annotated[
        float | None, typer.Option(min=0, max=1e6, help="Power of the machine: adds an estimate of the energy.")
    ] = None,
    price_per_hour: Annotated[
        float | None, typer.Option(min=0, max=1e6, help="Price of an hour of the machine: adds an estimate.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write a search's report: one HTML page, report.md, tables, figures.

    Works while the search runs, too. With several folders, compares the searches.

    Examples:

      scalesearch report runs/mbconv_small-glyphs-own

      scalesearch report runs/first runs/second
    """
    from scalesearch.api.run_folder import read_run
    from scalesearch.cli.progress import say
    from scalesearch.cli.show import print_json
    from scalesearch.reports.comparison import Run
    from scalesearch.reports.comparison_report import write_comparison
    from scalesearch.reports.facts import Rates
    from scalesearch.reports.findings import findings
    from scalesearch.reports.report import write_report
    from scalesearch.running.folder import newest_run

    newest = newest_run()
    folders = runs or ([newest] if newest else [])
    if not folders:
        raise UserError("report", "no search under runs/", "a search's folder", "Run a search first.")
    found = [read_run(folder, Rates(watts, price_per_hour)) for folder in folders]
    first = found[0]
    if len(found) == 1:
        written = write_report(out or first.folder / "report", first.results, first.facts, first.family)
    else:
        compared = [Run(one.facts.name, findings(one.results, one.facts), one.facts) for one in found]
        written = write_comparison(out or first.folder / "comparison", compared)
    if json:
        print_json({"files": [str(path) for path in written]})
        return
    for path in written[:-1]:
        say(str(path))
    say(f"Read {written[-1]}")
