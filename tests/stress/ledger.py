"""What is fuzzed of a search's ledger: ``study.db`` and the predictions beside it, as a search reads them back."""

import contextlib
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.stress import mutate
from tests.stress.targets import Feed, Target

NAME = "c000-seed0-e2"


def _studies(folder: Path) -> Sequence[bytes]:
    from scalesearch.running.ledger import Ledger
    from scalesearch.running.optuna_view import Window
    from scalesearch.running.storage import Storage, storage_url
    from scalesearch.study.row import parse_row
    from tests.stress.originals import plan, results

    with contextlib.closing(Storage(storage_url(folder, None))) as storage:
        ledger = Ledger(storage, "search", parse_row)
        for one in results():
            ledger.want([one.row.key])
            claim = ledger.claim([one.row.key])
            assert claim is not None
            assert ledger.finish(claim, one.row, one.predictions)
        Window(storage, plan(), 1.0, print).show([one.row for one in results()])
    return [(folder / "study.db").read_bytes()]


def _predictions(folder: Path) -> Sequence[bytes]:
    contents, labels = [], np.arange(10, dtype=np.uint16)
    for write in (np.savez, np.savez_compressed):
        written = io.BytesIO()
        soft = np.where(labels < 5, 0.9, 0.1).astype(np.float16)
        write(written, labels=labels, predictions=np.where(labels < 5, labels, labels + 1).astype(np.uint16), soft=soft)
        contents.append(written.getvalue())
    return contents


def _study(folder: Path) -> Feed:
    """As a search takes it in when it goes on."""
    from scalesearch.running.ledger import Ledger
    from scalesearch.running.optuna_view import Window
    from scalesearch.running.storage import Storage, storage_url
    from scalesearch.study.outcomes import hits, write_predictions
    from scalesearch.study.row import parse_row
    from tests.stress.originals import plan

    def feed(path: Path) -> object:
        shutil.copy(path, folder / "study.db")
        for left in ("study.db-journal", "study.db-wal", "study.db-shm"):
            (folder / left).unlink(missing_ok=True)
        with contextlib.closing(Storage(storage_url(folder, None))) as storage:
            ledger = Ledger(storage, "search", parse_row)
            ledger.free_all()
            finished = ledger.finished()
            ledger.want([(7, 7, 7)])
            claim = ledger.claim([(7, 7, 7)])
            if claim is not None:
                ledger.give_back(claim)
            Window(storage, plan(), 1.0, lambda text: None).show([one.row for one in finished])
            for one in finished:
                write_predictions(folder, one)
            return [hits(one) for one in finished]

    return feed


def _recorded(folder: Path) -> Feed:
    """As every command reads the predictions of a run."""
    from scalesearch.study.record import read_record
    from tests.stress.originals import write_run

    write_run(folder)

    def feed(path: Path) -> object:
        shutil.copy(path, folder / "predictions" / f"{NAME}.npz")
        return read_record(folder).summaries

    return feed


LEDGER: dict[str, Target] = {
    "ledger": Target(".db", _studies, mutate.of_bytes, _study, 0.5),
    "predictions": Target(".npz", _predictions, mutate.either(mutate.of_bytes, mutate.of_zip), _recorded),
}
