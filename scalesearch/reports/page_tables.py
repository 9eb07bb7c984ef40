"""Tables for a page: what a cell shows, and what it sorts by."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from scalesearch.design.cost import cost, parts
from scalesearch.design.spec import NetSpec
from scalesearch.reports.published import Published
from scalesearch.reports.tables import NUMBER, count_text, interval_text, percent


@dataclass(frozen=True)
class Cell:
    """``sort`` is the number it sorts by, where its text would sort otherwise."""

    text: str
    sort: float | None = None


@dataclass(frozen=True)
class Table:
    """A table with a caption.

    Args:
        numeric: of each column, whether it stands right.
        sortable: by a click on a heading.
        prose: of sentences, which may break.
    """

    caption: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sortable: bool = False
    prose: bool = False


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, sortable: bool = False) -> Table:
    """A table of cells, or of anything else as text; columns of numbers stand right."""
    cells = tuple(tuple(one if isinstance(one, Cell) else Cell(str(one)) for one in row) for row in rows)
    numeric = tuple(
        bool(cells) and all(cell.text == "" or NUMBER.fullmatch(cell.text) for cell in column)
        for column in (zip(*cells, strict=True) if cells else [()] * len(columns))
    )
    return Table(caption, tuple(columns), numeric, cells, sortable)


def frame_table(caption: str, frame: pd.DataFrame, *, prose: bool = False) -> Table:
    """A frame of text as it is."""
    rows = list(frame.itertuples(index=False, name=None))
    return replace(table(caption, list(frame.columns), rows), prose=prose)


CANDIDATE_COLUMNS = (
    "candidate", "accuracy", "95 % interval", "score", "status", "α", "β", "γ", "FLOPs", "× base", "params", "px",
    "blocks", "epochs", "seeds", "front", "trained", "all triples α/β/γ",
)  # fmt: skip


def candidates_table(summary: pd.DataFrame, status: Mapping[str, str]) -> Table:
    """Every network with a result, the baseline too, sortable by every column.

    Args:
        summary: of ``statistics.summarise``.
        status: by candidate, of ``facts.WinnerFacts``.
    """
    rows = [_candidate(row, status) for row in summary.to_dict("records")]
    caption = "Every network with a result: those trained longest first, then by score"
    return table(caption, CANDIDATE_COLUMNS, rows, sortable=True)


def _candidate(row: Mapping[Any, Any], status: Mapping[str, str]) -> tuple[Cell, ...]:
    words = status.get(row["name"], row["role"])
    words = "in the set" if words == "member" else words
    return (
        Cell(row["name"]),
        Cell(percent(row["accuracy"]), row["accuracy"]),
        Cell(interval_text(row["low"], row["high"]), row["low"]),
        Cell(f"{row['score']:.4f}"),
        Cell(f"{words}, {row['control']} only" if row["control"] else words),
        *(Cell(f"{row[name]:.4g}", row[name]) for name in ("alpha", "beta", "gamma")),
        Cell(count_text(row["macs"]), row["macs"]),
        Cell(f"{row['real_ratio']:.3f}"),
        Cell(count_text(row["params"]), row["params"]),
        *(Cell(str(row[name])) for name in ("resolution", "blocks", "epochs", "seeds")),
        Cell("yes" if row["pareto"] else ""),
        Cell("" if math.isnan(row["seconds"]) else f"{row['seconds']:.0f} s", row["seconds"]),
        Cell(row["triples"]),
    )


def stages_table(spec: NetSpec, name: str) -> Table:
    """A network part by part, with each part's share of the FLOPs, and the sum."""
    total = cost(spec)
    rows = [
        (
            part.name, part.block, f"{part.squeeze:g}" if part.squeeze else "", part.width,
            part.depth if part.name.isdigit() else "", part.size,
            count_text(part.cost.macs), percent(part.cost.macs / total.macs), count_text(part.cost.params),
            count_text(part.cost.activations),
        )
        for part in parts(spec)
    ]  # fmt: skip
    sums = ("all", "", "", "", sum(spec.depths), "", count_text(total.macs), "100.0 %", count_text(total.params),
            count_text(total.activations))  # fmt: skip
    columns = (
        "part", "block, kernel / stride", "squeeze", "channels", "blocks", "output px", "FLOPs", "share", "params",
        "activations",
    )  # fmt: skip
    caption = f"{name} at {spec.resolution} px, {spec.classes} classes, part by part"
    return table(caption, columns, [*rows, sums])


def published_table(published: Sequence[Published]) -> Table:
    """Published networks; the heading of the accuracies says that they are ImageNet's."""
    rows = [
        (
            entry.network, Cell(percent(entry.top1), entry.top1), Cell(f"{entry.macs / 1e9:.3f}", entry.macs),
            Cell(count_text(entry.params), entry.params), str(entry.resolution), entry.weights,
        )
        for entry in published
    ]  # fmt: skip
    columns = ("network", "ImageNet top-1", "GFLOPs", "params", "px", "weights")
    return table("Published networks, from torchvision's weight metadata", columns, rows, sortable=True)
