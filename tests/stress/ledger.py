"""What is fuzzed of a search's ledger: ``study.db`` and the predictions beside it, as a search reads them back."""

import contextlib
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
    from scalesearch.running.ledger import Ledger
    from scalesearch.running.optuna_view import Window
    from scalesearch.running.storage import Storage, storage_url
    from scalesearch.study.row import key

    with contextlib.closing(Storage(storage_url(folder, None))) as storage:
        ledger = Ledger(storage, "search")
        for row in _rows():
            ledger.want([key(row)])
            claim = ledger.claim([key(row)])
            assert claim is not None
            assert ledger.finish(claim, row, _predictions(folder)[0])
        Window(storage, "scalesearch", print).show(_rows())
    return [(folder / "study.db").read_bytes()]


def _predictions(folder: Path) -> Sequence[bytes]:
    found = []
    for write in (np.savez, np.savez_compressed):
        written = io.BytesIO()
        write(written, labels=np.arange(10, dtype=np.uint16), predictions=np.arange(10, dtype=np.uint16))
        found.append(written.getvalue())
    return found


def _study(folder: Path) -> Feed:
    from scalesearch.study.kept import check_rows, hits

    from scalesearch.running.ledger import Ledger
    from scalesearch.running.optuna_view import Window
    from scalesearch.running.storage import Storage, storage_url

    def feed(path: Path) -> object:
        shutil.copy(path, folder / "study.db")
        for left in ("study.db-journal", "study.db-wal", "study.db-shm"):
            (folder / left).unlink(missing_ok=True)
        with contextlib.closing(Storage(storage_url(folder, None))) as storage:
            ledger = Ledger(storage, "search")
            ledger.free_all()
            finished = ledger.finished()
            check_rows([one.row for one in finished], storage.name)
            ledger.want([(7, 7, 7)])
            claim = ledger.claim([(7, 7, 7)])
            if claim is not None:
                ledger.give_back(claim)
            Window(storage, "scalesearch", lambda text: None).show([one.row for one in finished])
            return [hits(one) for one in finished]

    return feed


def _kept(folder: Path) -> Feed:
    from scalesearch.study.kept import read_hits

    (folder / "predictions").mkdir()
    row = _rows()[0]

    def feed(path: Path) -> object:
        shutil.copy(path, folder / "predictions" / f"{NAME}.npz")
        return read_hits(folder, [row])

    return feed


LEDGER: dict[str, Target] = {
    "ledger": Target(".db", _studies, mutate.of_bytes, _study, 0.5),
    "predictions": Target(".npz", _predictions, mutate.either(mutate.of_bytes, mutate.of_zip), _kept),
}
