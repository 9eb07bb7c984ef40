"""What is fuzzed of a search's ledger: ``study.db`` and the predictions beside it, as a search reads them back."""

import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.stress import mutate
from tests.stress.targets import Feed, Target

NAME = "c000-seed0-e2"


def _rows() -> list[dict[str, Any]]:
    from tests.stress.originals import results

    values: list[dict[str, Any]] = results().astype(object).to_dict("records")
    return values


def _studies(folder: Path) -> Sequence[bytes]:
    from scalesearch.search.study import claim, open_study, record

    study = open_study(folder)
    for row in _rows():
        key = (row["candidate"], row["seed"], row["epochs"])
        record(study, claim(study, key, row["alpha"], row["beta"], row["gamma"]), row)
    return [(folder / "study.db").read_bytes()]


def _predictions(folder: Path) -> Sequence[bytes]:
    found = []
    for write in (np.savez, np.savez_compressed):
        written = io.BytesIO()
        write(written, labels=np.arange(10, dtype=np.uint16), predictions=np.arange(10, dtype=np.uint16))
        found.append(written.getvalue())
    return found


def _study(folder: Path) -> Feed:
    from scalesearch.search.study import open_study, rows

    def feed(path: Path) -> object:
        shutil.copy(path, folder / "study.db")
        for left in ("study.db-journal", "study.db-wal", "study.db-shm"):
            (folder / left).unlink(missing_ok=True)
        return rows(open_study(folder))

    return feed


def _kept(folder: Path) -> Feed:
    from scalesearch.search.run import kept_results

    (folder / "predictions").mkdir()
    row = _rows()[0]

    def feed(path: Path) -> object:
        shutil.copy(path, folder / "predictions" / f"{NAME}.npz")
        return kept_results(folder, [row])

    return feed


LEDGER: dict[str, Target] = {
    "ledger": Target(".db", _studies, mutate.of_bytes, _study, 0.5),
    "predictions": Target(".npz", _predictions, mutate.either(mutate.of_bytes, mutate.of_zip), _kept),
}
