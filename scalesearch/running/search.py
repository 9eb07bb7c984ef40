"""The search itself: a race's trainings carried out, and the answer kept up to date."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scalesearch.data.batches import Augment
from scalesearch.data.dataset import Dataset
from scalesearch.design.candidates import Candidate
from scalesearch.errors import UserError
from scalesearch.files import read_json, write_json
from scalesearch.running.campaign import Bounds
from scalesearch.running.carry_out import Listener, Show, carry_out, checkpoint_file, open_ledger, opened
from scalesearch.running.ledger import Ledger
from scalesearch.running.provenance import add_seconds
from scalesearch.running.storage import Storage, storage_url
from scalesearch.running.trial import Assignment, Setting
from scalesearch.running.workers import Workers
from scalesearch.study.answer import conclude, field, measured_speeds, recommend, write_answer
from scalesearch.study.outcomes import ROWS_FILE
from scalesearch.study.plan import Measurement, SearchPlan, Trial, check_same, row, trial
from scalesearch.study.race import Race, Results, advance
from scalesearch.study.record import FORMAT, RUN_FILE, WHAT, check_format
from scalesearch.study.row import Row, TrialResult, parse_row


class Searched:
    """What a search's agenda and those of its verifications have in common (``carry_out.Agenda``)."""

    def __init__(self, plan: SearchPlan, phi: float) -> None:
        self.plan, self.phi = plan, phi

    @property
    def digest(self) -> str:
        return self.plan.digest

    def setting(self, data: Dataset) -> Setting:
        """Trainings are judged on validation images, never on test images."""
        augment = Augment(flip=data.source.flip)
        return Setting(data.train, {"validation": data.validation}, augment, self.plan.device, self.plan.threads)

    def window(self, storage: Storage, note: Callable[[str], None]) -> Show[Row]:
        from scalesearch.running.optuna_view import Window

        return Window(storage, self.plan, self.phi, note).show


class RaceAgenda(Searched):
    """The agenda of a search: its race."""

    def __init__(self, plan: SearchPlan, candidates: Sequence[Candidate], race: Race) -> None:
        super().__init__(plan, 1.0)
        self._candidates, self._race, self._field = candidates, race, field(plan, candidates)

    def wanted(self, results: Results) -> Sequence[Trial]:
        wanted = advance(self._race, self._field, results).wanted
        return [trial(self.plan, self._candidates, key) for key in wanted]

    def total(self, results: Results) -> int:
        return advance(self._race, self._field, results).planned

    def assignment(self, one: Trial, folder: Path, results: Results) -> Assignment:
        """One checkpoint for all rungs, which are pauses of the same training."""
        earlier = (epochs for epochs in range(1, one.until) if (one.candidate, one.number, epochs) in results)
        return Assignment(one, checkpoint_file(folder, f"{one.name}-seed{one.number}"), max(earlier, default=0))

    def checkpoint(self, row: Row) -> str:
        return f"{row.name}-seed{row.seed}"

    def row(self, one: Trial, measurement: Measurement) -> Row:
        return row(self.plan, one, self._candidates[one.candidate] if one.candidate >= 0 else None, measurement)

    def conclude(self, folder: Path, results: Results, rows: Sequence[Row]) -> None:
        """Writes ``winners.json`` and ``coefficients.json``."""
        state = advance(self._race, self._field, results)
        speeds = measured_speeds(rows)
        answer = conclude(self._race, state, self._field, self._candidates, results, speeds)
        if answer is not None:
            chosen = recommend(self.plan, answer, self._candidates, results, len(state.wanted))
            write_answer(folder, answer, chosen)


def recorded(folder: Path, plan: SearchPlan, storage: str | None = None) -> list[TrialResult[Row]]:
    """The trainings that a search's ledger holds; none where there is no run, or one that recorded nothing.

    Raises UserError where the folder holds results of another search, naming what differs.
    """
    url = storage_url(folder, storage)
    if storage is None and not ((folder / RUN_FILE).exists() and (folder / "study.db").exists()):
        return []
    with contextlib.closing(Storage(url)) as database:
        finished = Ledger(database, _run_name(database, plan), parse_row).finished()
        _check_folder(folder, plan, database, bool(finished))
    return finished


def search(
    folder: Path,
    agenda: RaceAgenda,
    data: Dataset,
    facts: Mapping[str, Any],
    workers: Workers,
    listener: Listener[Row],
    bounds: Bounds | None = None,
    storage: str | None = None,
) -> Sequence[Row]:
    """Runs what the race still wants and returns all rows; a second call continues, each training counts once.

    Args:
        folder: of the run; made where it is missing.
        facts: provenance for ``run.json``; a continued run keeps its first, and lists the later ones.
        workers: where trainings run.
        bounds: of the work; None runs the race to its end.
        storage: a PostgreSQL that coordinators share; None keeps the ledger in the folder, for one coordinator.

    Raises:
        UserError: the folder is in use or holds another search, images cannot be decoded, the disk is full.
        KeyboardInterrupt: what is done is kept, what was running is run again next time.
    """
    plan = agenda.plan
    with opened(folder, storage, listener.note) as database:
        ledger = open_ledger(database, _run_name(database, plan), parse_row)
        before = ledger.ended() > 0
        _check_folder(folder, plan, database, before)
        _write_plan(folder, plan, {**facts, "storage": _kept_where(database)}, continued=before)
        began = time.monotonic()
        try:
            return carry_out(ledger, folder, agenda, data, workers, listener, bounds).rows
        finally:
            add_seconds(folder, time.monotonic() - began)


def _run_name(storage: Storage, plan: SearchPlan) -> str:
    """In a shared database the plan says which trainings are the same; a folder has one search."""
    return plan.digest if storage.shared else "search"


def _kept_where(storage: Storage) -> str:
    return storage.name if storage.shared else "study.db"


def _check_folder(folder: Path, plan: SearchPlan, storage: Storage, recorded: bool) -> None:
    """Raises UserError where a folder holds another search, one of another version, or one kept elsewhere."""
    path = folder / RUN_FILE
    if not path.exists():
        return
    values = read_json(path, WHAT)
    check_format(folder, values)
    if not recorded and not (folder / ROWS_FILE).exists():
        return
    old = values.get("plan")
    check_same(old if isinstance(old, dict) else {}, plan, str(folder))
    if values.get("storage") != _kept_where(storage):
        raise UserError(
            "--storage", f"this run's trainings are in {values.get('storage')}, not in {_kept_where(storage)}.",
            do="Give the same --storage as before, or another --run folder.",
        )  # fmt: skip


def _write_plan(folder: Path, plan: SearchPlan, facts: Mapping[str, Any], continued: bool) -> None:
    path = folder / RUN_FILE
    if continued and path.exists():
        first = read_json(path, WHAT)
        facts = {**first, "continued": [*first.get("continued", []), facts]}
    write_json(path, {**facts, "format": FORMAT, "plan": plan.to_dict(), "plan_digest": plan.digest})
