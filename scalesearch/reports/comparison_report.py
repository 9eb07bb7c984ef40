"""The comparison's folder: comparison.md, comparison.html and, where all saw the same images, a figure."""

from collections.abc import Sequence
from pathlib import Path

from scalesearch.files import write_bytes
from scalesearch.reports.axes import FILE, rendered
from scalesearch.reports.comparison import Run, abroad, named, overlaps, overview, same_images, verdict
from scalesearch.reports.comparison_figure import comparison_figure
from scalesearch.reports.drawings import Drawing
from scalesearch.reports.markup import html
from scalesearch.reports.page import Section, plate, rendered_page
from scalesearch.reports.page_tables import frame_table
from scalesearch.reports.report import KINDS
from scalesearch.reports.tables import markdown_table, plain

HEADINGS = ("Side by side", "Winner sets", "Recommended ones elsewhere")


def write_comparison(folder: Path, runs: Sequence[Run]) -> tuple[Path, ...]:
    """Writes the comparison of at least two searches; returns the files written, comparison.html last."""
    runs = named(runs)
    drawing = _drawing(runs)
    artefacts: dict[str, bytes] = {}
    if drawing:
        drawn = drawing.draw(FILE)
        artefacts = {f"{drawing.name}.{kind}": rendered(drawn, kind) for kind in KINDS}
    artefacts["comparison.md"] = _markdown(runs, drawing).encode()
    artefacts["comparison.html"] = _page(runs, drawing).encode()
    for name, content in artefacts.items():
        write_bytes(folder / name, content)
    return tuple(folder / name for name in artefacts)


def _title(runs: Sequence[Run]) -> str:
    return f"Searches compared: {', '.join(run.name for run in runs)}"


def _drawing(runs: Sequence[Run]) -> Drawing | None:
    """The figure, where accuracies share an axis by right and there are any."""
    if not same_images(runs) or all(run.found.summary.empty for run in runs):
        return None
    caption = "Accuracy of what each search recommends and of its baseline, with 95 % intervals"
    rows = overview(runs)
    words = rows[rows.iloc[:, 0].isin(["accuracy", "baseline's accuracy"])]
    said = "; ".join(f"{run.name}: {' against '.join(words[run.name])}" for run in runs)
    return Drawing("accuracies", caption, said, lambda look: comparison_figure(runs, look))


def _markdown(runs: Sequence[Run], drawing: Drawing | None) -> str:
    tables = (overview(runs), overlaps(runs), abroad(runs))
    parts = [f"# {plain(_title(runs))}", verdict(runs)]
    if drawing:
        parts.append(f"![{drawing.caption}]({drawing.name}.png)")
    for heading, frame in zip(HEADINGS, tables, strict=True):
        parts += [f"## {heading}", markdown_table(frame)]
    parts += ["## Reproduce", *(f"{plain(run.name)}:\n\n```\n{run.facts.command}\n```" for run in runs)]
    return "\n\n".join(parts) + "\n"


def _page(runs: Sequence[Run], drawing: Drawing | None) -> str:
    sets = "How far the sets agree, among candidates that both searches have results of"
    elsewhere = frame_table("Each search's candidate in the others", abroad(runs), prose=True)
    asked = frame_table("What was asked, what came out, what it took", overview(runs), prose=True)
    sections = [
        Section("overview", HEADINGS[0], plates=(plate(drawing),) if drawing else (), tables=(asked,)),
        Section("sets", HEADINGS[1], tables=(frame_table(sets, overlaps(runs)),)),
        Section("elsewhere", HEADINGS[2], tables=(elsewhere,)),
    ]
    return rendered_page(
        "comparison.html", title=_title(runs), verdict=html(verdict(runs)), sections=sections,
        commands=[(run.name, run.facts.command) for run in runs],
    )  # fmt: skip
