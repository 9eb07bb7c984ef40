"""What the trainings of a run's folder came to: ``rows.json`` and ``predictions/``, copies of what the ledger holds, so
that reading a run needs no database. A search, a verification and families keep theirs alike.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalesearch.errors import UserError
from scalesearch.files import read_json, unpack_arrays, write_bytes, write_json
from scalesearch.study.agreement import MEND
from scalesearch.study.posterior import Floats32
from scalesearch.study.row import TRAININGS, AnyRow, R, ReadRow, TrialResult, parse_rows
from scalesearch.study.statistics import Bools, Ints

ROWS_FILE = "rows.json"
ROWS_FORMAT = 2


def write_rows(folder: Path, rows: Sequence[AnyRow], digest: str) -> None:
    """The rows of a search, a verification or families; ``digest``: of the plan that they are of."""
    values = {"format": ROWS_FORMAT, "plan_digest": digest, "rows": [row.to_dict() for row in rows]}
    write_json(folder / ROWS_FILE, values)


def read_rows(folder: Path, digest: str, read: ReadRow[R]) -> tuple[R, ...]:
    """Reads them back, by their keys; none where nothing was recorded.

    Raises UserError for a damaged or foreign file.
    """
    path = folder / ROWS_FILE
    if not path.exists():
        return ()
    values = read_json(path, TRAININGS)
    lines, version = values.get("rows"), values.get("format")
    if not isinstance(version, int) or not isinstance(lines, list):
        raise UserError(str(path), f"the file is damaged: it does not hold {TRAININGS}.", do=MEND)
    if version != ROWS_FORMAT:
        do = "Read it with the version of scalesearch that wrote it."
        raise UserError(str(path), f"the file has format {version}; this version reads {ROWS_FORMAT}.", do=do)
    if values.get("plan_digest") != digest:
        raise UserError(str(path), "the trainings are of another search.", do="Delete its folder.")
    return tuple(sorted(parse_rows(lines, str(path), read), key=lambda row: row.key))


def packed(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], soft: Floats32, losses: Sequence[float] = (),
    probabilities: Floats32 | None = None,
) -> bytes:  # fmt: skip
    """Label, prediction, soft score and the prediction's probability of each validation image as an ``.npz``, so that
    anybody can recompute, and the training loss of each epoch."""
    content = io.BytesIO()
    extra: dict[str, Any] = {"losses": np.array(losses, np.float64)} if losses else {}
    if probabilities is not None:
        extra["probabilities"] = probabilities.astype(np.float16)
    np.savez_compressed(
        content, labels=labels.astype(np.uint16), predictions=predictions.astype(np.uint16),
        soft=soft.astype(np.float16), **extra,
    )  # fmt: skip
    return content.getvalue()


def losses(result: TrialResult[AnyRow], where: str = "the ledger") -> tuple[float, ...]:
    """The training loss of each epoch; none of a failed training, or one of an earlier version.

    Raises UserError, naming ``where`` they are from, for what cannot be those.
    """
    if result.row.status == "failed":
        return ()
    kept = unpack_arrays(result.predictions, (), where, "the predictions of a training", ("losses",)).get("losses")
    if kept is None:
        return ()
    if kept.shape != (result.row.epochs,) or kept.dtype.kind != "f" or not np.isfinite(kept).all():
        raise UserError(where, f"losses should be {result.row.epochs} numbers, one for each epoch.", do=MEND)
    return tuple(kept.tolist())


def probabilities(result: TrialResult[AnyRow], where: str = "the ledger") -> Floats32 | None:
    """Of each image the probability that the prediction was given; None where an earlier version kept none.

    Raises UserError, naming ``where`` they are from, for what cannot be those.
    """
    what = "the predictions of a training"
    kept = unpack_arrays(result.predictions, (), where, what, ("probabilities",)).get("probabilities")
    if kept is None:
        return None
    if kept.shape != (result.row.images,) or kept.dtype.kind != "f" or not ((kept >= 0) & (kept <= 1)).all():
        problem = f"probabilities should be {result.row.images} numbers from 0 to 1, one for each image."
        raise UserError(where, problem, do=MEND)
    return np.asarray(kept, np.float32)


def hits(result: TrialResult[AnyRow], where: str = "the ledger") -> tuple[Bools, Floats32] | None:
    """Which validation images a training got right, and their soft scores; None for a failed one.

    Raises UserError, naming ``where`` they are from, for predictions that cannot be read.
    """
    if result.row.status == "failed":
        return None
    labels, predictions, soft = unpacked(result, where)
    return np.asarray(labels == predictions), soft


def unpacked(result: TrialResult[AnyRow], where: str = "the ledger") -> tuple[Ints, Ints, Floats32]:
    """Label, prediction and soft score of each image. Raises UserError for what cannot be those."""
    what = "the predictions of a training"
    arrays = unpack_arrays(result.predictions, ("labels", "predictions", "soft"), where, what)
    labels, predictions, soft = arrays["labels"], arrays["predictions"], arrays["soft"]
    if {labels.dtype.kind, predictions.dtype.kind} != {"u"}:
        raise UserError(where, "labels and predictions should be whole numbers from 0.", do=MEND)
    if not labels.shape == predictions.shape == soft.shape == (result.row.images,):
        shapes = f"predictions have the shape {predictions.shape}, labels {labels.shape} and soft scores {soft.shape}"
        raise UserError(where, f"{shapes} instead of ({result.row.images},), one for each image.")
    if soft.dtype.kind != "f" or not ((soft >= 0) & (soft <= 1)).all():
        raise UserError(where, "soft scores should be numbers from 0 to 1.", do=MEND)
    return labels.astype(np.int64), predictions.astype(np.int64), soft.astype(np.float32)


def write_predictions(folder: Path, result: TrialResult[AnyRow]) -> None:
    """The file of a training's predictions, if it is not there as it should be."""
    path = predictions_file(folder, result.row)
    if result.predictions and not (path.is_file() and path.read_bytes() == result.predictions):
        write_bytes(path, result.predictions)


def predictions_file(folder: Path, row: AnyRow) -> Path:
    """Where a training's predictions lie."""
    return folder / "predictions" / f"{row.file}.npz"
