"""What a run's folder shows of its trainings: ``rows.json`` and the predictions, which reports and verification read.

Copies of what the ledger holds, so that reading a run needs no database.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalesearch.errors import UserError
from scalesearch.files import read_json, require_regular, unpack_arrays, write_bytes, write_json
from scalesearch.study.row import Finished, Key, Row, key, oddity
from scalesearch.study.statistics import Bools

FILE = "rows.json"
FORMAT = 1


def write_rows(folder: Path, rows: Sequence[Row], digest: str) -> None:
    """The rows of a search or a verification; ``digest``: of the plan that they are of."""
    write_json(folder / FILE, {"format": FORMAT, "plan_digest": digest, "rows": list(rows)})


def read_rows(folder: Path, digest: str) -> list[Row]:
    """Reads them back; none where nothing was recorded. Raises UserError for a damaged or foreign file."""
    path = folder / FILE
    if not path.exists():
        return []
    values = read_json(path, "the trainings of a search")
    lines, version = values.get("rows"), values.get("format")
    if not isinstance(version, int) or not isinstance(lines, list):
        raise UserError(str(path), "a damaged file", "the trainings of a search", "Continue the search to mend it.")
    if version != FORMAT:
        do = "Read it with the version of scalesearch that wrote it."
        raise UserError(str(path), f"format {version}", f"format {FORMAT}", do)
    if values.get("plan_digest") != digest:
        raise UserError(str(path), "trainings of another search", "those of this one", "Delete its folder.")
    check_rows(lines, str(path))
    return lines


def packed(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> bytes:
    """Label and prediction of each validation image as an ``.npz``, so that anybody can recompute and compare."""
    content = io.BytesIO()
    np.savez_compressed(content, labels=labels.astype(np.uint16), predictions=predictions.astype(np.uint16))
    return content.getvalue()


def hits(finished: Finished, where: str = "the ledger") -> Bools | None:
    """Which validation images a training got right; None for a failed one.

    Raises UserError, naming ``where`` they are from, for predictions that cannot be read.
    """
    if finished.row["status"] == "failed":
        return None
    kept = unpack_arrays(finished.predictions, ("labels", "predictions"), where, "the predictions of a training")
    labels, predictions = kept["labels"], kept["predictions"]
    if not labels.shape == predictions.shape == (finished.row["images"],):
        found = f"predictions of shape {predictions.shape}, labels of shape {labels.shape}"
        raise UserError(where, found, f"({finished.row['images']},), one for each image")
    return np.asarray(labels == predictions)


def check_rows(rows: Sequence[Any], where: str) -> None:
    """Raises UserError, naming ``where`` they are from, for rows that do not hold what rows hold."""
    for number, line in enumerate(rows):
        if odd := oddity(line):
            do = "Continue the search to mend it."
            raise UserError(where, f"a damaged row {number} ({odd})", "the trainings of a search", do)


def write_predictions(folder: Path, finished: Finished) -> None:
    """The file of a training's predictions, if it is not there as it should be."""
    path = _path(folder, finished.row)
    if finished.predictions and not (path.is_file() and path.read_bytes() == finished.predictions):
        write_bytes(path, finished.predictions)


def read_hits(folder: Path, rows: Sequence[Row]) -> dict[Key, Bools | None]:
    """Which validation images each recorded training got right; None for failed ones.

    Raises UserError where a file of predictions is gone or damaged; continuing the search writes it again.
    """
    found: dict[Key, Bools | None] = {}
    for line in rows:
        path, content = _path(folder, line), b""
        if line["status"] == "done":
            require_regular(path, "the predictions of a training")
            content = path.read_bytes()
        found[key(line)] = hits(Finished(line, content), str(path))
    return found


def _path(folder: Path, row: dict[str, Any]) -> Path:
    return folder / "predictions" / f"{row['name']}-seed{row['seed']}-e{row['epochs']}.npz"
