"""A verification carried out: the networks of a search, trained at another φ."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from scalesearch.data.dataset import Dataset
from scalesearch.errors import UserError
from scalesearch.running.campaign import Bounds
from scalesearch.running.carry_out import Listener, carry_out, checkpoint_file, open_ledger, opened
from scalesearch.running.ledger import Ledger
from scalesearch.running.search import Searched
from scalesearch.running.storage import Storage, storage_url
from scalesearch.running.trial import Assignment
from scalesearch.running.workers import Workers
from scalesearch.study.outcomes import ROWS_FILE, read_rows
from scalesearch.study.plan import Measurement, SearchPlan, Trial, row
from scalesearch.study.race import Results
from scalesearch.study.record import Record, answered
from scalesearch.study.row import Row, parse_row
from scalesearch.study.verification import (
    ScaledCandidate,
    Verification,
    check_shapes,
    compare_sizes,
    folder_of,
    write_verification,
)


class VerificationAgenda(Searched):
    """The agenda of a verification: a list of trainings, each to its end."""

    def __init__(
        self, plan: SearchPlan, phi: float, networks: Sequence[ScaledCandidate], trials: Sequence[Trial]
    ) -> None:
        super().__init__(plan, phi)
        self.networks, self.trials = networks, trials
        self._candidates = {network.candidate.index: network.candidate for network in networks}

    def wanted(self, results: Results) -> Sequence[Trial]:
        """Those without a result; a failed training is not tried again."""
        return [one for one in self.trials if one.key not in results]

    def total(self, results: Results) -> int:
        return len(self.trials)

    def assignment(self, one: Trial, folder: Path, results: Results) -> Assignment:
        """Another number of epochs is another training."""
        return Assignment(one, checkpoint_file(folder, f"{one.name}-seed{one.number}-e{one.until}"))

    def checkpoint(self, row: Row) -> str:
        return row.file

    def row(self, one: Trial, measurement: Measurement) -> Row:
        return row(self.plan, one, self._candidates[one.candidate], measurement)

    def conclude(self, folder: Path, results: Results, rows: Sequence[Row]) -> None:
        """Nothing before the end."""


def recorded(record: Record, agenda: VerificationAgenda, storage: str | None = None) -> list[Row]:
    """The rows of an agenda's trainings that a verification holds already.

    Raises UserError where they are of another search, of networks of another shape, or kept in another database.
    """
    folder = folder_of(record.folder, agenda.phi)
    rows = list(read_rows(folder, record.plan.digest, parse_row))
    if storage is not None:
        with contextlib.closing(Storage(storage_url(folder, storage))) as database:
            ledger = Ledger(database, _run_name(database, agenda), parse_row)
            rows = [one.row for one in ledger.finished()]
    elif rows and not (folder / "study.db").exists():
        problem = f"{len(rows)} trainings of {folder.name} were made, but not with a ledger in its folder."
        raise UserError("--storage", problem, do="Give the same --storage as before, or delete that folder.")
    check_shapes(agenda.trials, rows, str(folder / ROWS_FILE))
    keys = {one.key for one in agenda.trials}
    return [row for row in rows if row.key in keys]


def verify(
    record: Record,
    agenda: VerificationAgenda,
    data: Dataset,
    workers: Workers,
    listener: Listener[Row],
    bounds: Bounds | None = None,
    storage: str | None = None,
) -> Verification:
    """Runs what is still to be run, and concludes; the result is in ``verify.json``, too.

    Args:
        workers: where trainings run.
        listener: is told of each training as in a search.
        bounds: of the work; None runs it to its end.
        storage: a PostgreSQL that coordinators share; None keeps the ledger in the verification's folder.

    Raises:
        UserError: the run's folder is in use, or fewer than two networks have a result that could be compared (yet).
        KeyboardInterrupt: what is done is kept.
    """
    folder, (answer, _) = folder_of(record.folder, agenda.phi), answered(record)
    with opened(folder, storage, listener.note, lock=record.folder) as database:
        recorded(record, agenda)  # refuses another search's
        ledger = open_ledger(database, _run_name(database, agenda), parse_row)
        trainings = carry_out(ledger, folder, agenda, data, workers, listener, bounds)
        verification = compare_sizes(
            record.plan, answer.recommended, agenda.networks, agenda.phi, agenda.trials, record.results,
            trainings.results,
        )  # fmt: skip
        write_verification(folder, verification)
        return verification


def _run_name(storage: Storage, agenda: VerificationAgenda) -> str:
    """In a shared database one plan may be verified at several φ; a folder has one verification."""
    return f"{agenda.plan.digest}-phi{agenda.phi:g}" if storage.shared else agenda.plan.digest
