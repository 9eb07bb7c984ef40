"""Reports: of one search, of several side by side, and the paper's figures beside ours."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from scalesearch.api.options import ReportOptions, Tell, path, takes
from scalesearch.errors import UserError
from scalesearch.reports.published import FormulaMember, PaperCount, ReleasedMember
from scalesearch.reports.scaled import ScaledNetwork
from scalesearch.study.record import newest_begun, newest_run, read_record

WATCH_SECONDS = 2.0
REST = 5.0  # times as long as writing took: what is watched is to have the machine
RELOAD_SECONDS = 5  # after which a page that is watched loads itself anew
READ = ("*.json", "verify-phi*/*.json", "models/*/metrics.json", "family/trained-*/*.json")


@takes(ReportOptions)
def report(asked: ReportOptions) -> tuple[Path, ...]:
    """Writes a search's report (one HTML page, report.md, tables, figures), or several searches side by side.

    Works while a search runs, too. Returns the files, the HTML page last.

    Raises:
        UserError: no search there, or one that is damaged or of another version.
    """
    return _written(asked, _folders(asked))


def watched(asked: ReportOptions, note: Tell, seconds: float = WATCH_SECONDS) -> Iterator[Path]:
    """Writes the report of what runs, and again whenever a training has ended; each time its page, which loads itself
    anew in a browser. Never ends.

    Args:
        note: is told what keeps a page from being written, once, while it is tried again.
        seconds: between two looks at the folders.

    Raises:
        UserError: as ``report``, at first; later, files that are being replaced are looked at again.
    """
    folders, seen, took, told = _folders(asked, begun=True), None, 0.0, ""
    while True:
        state, began = [_state(folder) for folder in folders], time.monotonic()
        if state != seen:
            try:
                page = _written(asked, folders, reload_seconds=RELOAD_SECONDS)[-1]
            except UserError as error:
                if seen is None:
                    raise
                if str(error) != told:
                    told = str(error)
                    note(f"Not written, and tried again: {told}")
            else:
                seen, took = state, time.monotonic() - began
                yield page
        time.sleep(max(seconds, REST * took))


def _folders(asked: ReportOptions, begun: bool = False) -> list[Path]:
    """Those that are named; else the newest search that has a result, or the one begun last."""
    given = [asked.runs] if isinstance(asked.runs, str | Path) else asked.runs
    newest = newest_begun() if begun else newest_run()
    folders = list(map(Path, given)) if given else list(filter(None, [newest]))
    if not folders:
        raise UserError("report", "there is no search under runs/.", do="Run a search first.")
    return folders


def _written(asked: ReportOptions, folders: Sequence[Path], reload_seconds: int | None = None) -> tuple[Path, ...]:
    from scalesearch.reports.artefacts import write_report
    from scalesearch.reports.comparison import write_comparison
    from scalesearch.reports.edition import Edition
    from scalesearch.reports.pictures import pictures
    from scalesearch.reports.words import Rates

    records, rates, out = list(map(read_record, folders)), Rates(asked.watts, asked.price_per_hour), path(asked.out)
    edition = Edition(asked.title, rates, reload_seconds=reload_seconds)
    if len(records) > 1:
        return write_comparison(out or folders[0] / "comparison", records, edition)
    shown = pictures(records[0]) if asked.images else None
    return write_report(out or folders[0] / "report", records[0], replace(edition, pictures=shown))


def _state(folder: Path) -> list[tuple[str, int, int]]:
    """What has to change for a report to say something else: the files that a record is read from."""
    found = [path for pattern in READ for path in sorted(folder.glob(pattern))]
    states = []
    for file in found:
        with contextlib.suppress(FileNotFoundError):  # replaced this moment
            stat = file.stat()
            states.append((str(file), stat.st_mtime_ns, stat.st_size))
    return states


@dataclass(frozen=True)
class PaperFigures:
    """The published family beside ours, as ``released`` and by the ``formula``, and other networks ``scaled`` by one
    dimension and by all; ``notes`` and ``reasons`` say what differs in the family and in these."""

    released: tuple[ReleasedMember, ...]
    formula: tuple[FormulaMember, ...]
    notes: list[str]
    scaled: tuple[ScaledNetwork, ...]
    reasons: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with how far each figure of a released member is from the paper's."""
        released = [asdict(one) | {"params": _figure(one.params), "flops": _figure(one.flops)} for one in self.released]
        scaled = [asdict(one) | {"flops": one.flops and _figure(one.flops)} for one in self.scaled]
        formula = [asdict(one) for one in self.formula]
        return {
            "released": released, "formula": formula, "notes": self.notes, "scaled": scaled, "reasons": self.reasons
        }  # fmt: skip


def _figure(one: PaperCount) -> dict[str, Any]:
    return {**asdict(one), "difference": one.difference, "agrees": one.agrees}


def paper() -> PaperFigures:
    """Rebuilds the published family, B0…B7 as released and φ = 0…7 of the formula, and the networks that the paper
    scales by one dimension and by all (tables 3 and 7), beside the paper's figures."""
    from scalesearch.reports.published import derived, explanations, released
    from scalesearch.reports.scaled import reasons, scaled

    family, formula, others = released(), derived(), scaled()
    return PaperFigures(family, formula, explanations(family, formula), others, reasons(others))
