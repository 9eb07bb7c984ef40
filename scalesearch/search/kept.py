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
from scalesearch.files import read_json, write_bytes, write_json
from scalesearch.search.ledger import Finished, Key, Row, key
from scalesearch.search.winners import Bools

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
    if not isinstance(version, int) or not isinstance(lines, list) or any(not isinstance(one, dict) for one in lines):
        raise UserError(str(path), "a damaged file", "the trainings of a search", "Continue the search to mend it.")
    if version != FORMAT:
        do = "Read it with the version of scalesearch that wrote it."
        raise UserError(str(path), f"format {version}", f"format {FORMAT}", do)
    if values.get("plan_digest") != digest:
        raise UserError(str(path), "trainings of another search", "those of this one", "Delete its folder.")
    return lines


def packed(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> bytes:
    """Label and prediction of each validation image as an ``.npz``, so that anybody can recompute and compare."""
    content = io.BytesIO()
    np.savez_compressed(content, labels=labels.astype(np.uint16), predictions=predictions.astype(np.uint16))
    return content.getvalue()


def hits(finished: Finished) -> Bools | None:
    """Which validation images a training got right; None for a failed one."""
    if not finished.predictions:
        return None
    with np.load(io.BytesIO(finished.predictions)) as kept:
        return np.asarray(kept["labels"] == kept["predictions"])


def write_predictions(folder: Path, finished: Finished) -> None:
    """The file of a training's predictions, if it is not there as it should be."""
    path = _path(folder, finished.row)
    if finished.predictions and not (path.is_file() and path.read_bytes() == finished.predictions):
        write_bytes(path, finished.predictions)


def read_hits(folder: Path, rows: Sequence[Row]) -> dict[Key, Bools | None]:
    """Which validation images each recorded training got right; None for failed ones.

    Raises UserError where a file of predictions is gone.
    """
    found: dict[Key, Bools | None] = {}
    for line in rows:
        if line["status"] == "failed":
            found[key(line)] = None
            continue
        path = _path(folder, line)
        try:
            found[key(line)] = hits(Finished(line, path.read_bytes()))
        except Exception as error:  # zipfile, zlib, struct and NumPy raise their own kinds on a damaged file
            do = "Continue the search to write it again."
            raise UserError(
                str(path), f"unreadable predictions ({error})", "those of a recorded training", do
            ) from None
    return found


def _path(folder: Path, row: dict[str, Any]) -> Path:
    return folder / "predictions" / f"{row['name']}-seed{row['seed']}-e{row['epochs']}.npz"
