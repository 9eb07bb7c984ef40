"""A run's trainings carried out and recorded: what a search and a verification have in common.

An agenda says which trainings are wanted and what their results come to. Everything else is here: the ledger and the
executor behind it (``campaign``), decoded images, checkpoints, and the copies of the ledger that a run's folder shows.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol

from scalesearch.data.dataset import Dataset
from scalesearch.files import locked, prepare
from scalesearch.running.campaign import Bounds, Campaign
from scalesearch.running.ledger import Ledger
from scalesearch.running.storage import Storage, storage_url
from scalesearch.running.trial import Assignment, Setting, run_trial
from scalesearch.running.workers import Workers
from scalesearch.study.outcomes import hits, write_predictions, write_rows
from scalesearch.study.plan import Measurement
from scalesearch.study.race import Results
from scalesearch.study.row import R, ReadRow, T, TrialResult

SECONDS_BETWEEN_COPIES = 2.0  # of rows.json, the answer and the Optuna study, while trainings end faster


@dataclass(frozen=True)
class Listener(Generic[R]):
    """Who is told: ``reading(done, total)`` images, then ``finished(row, done, total)`` after each training.

    ``total`` is what the trainings come to if no tolerance is met before; ``note`` is told of workers that die and the
    like, ``results`` of results as they are taken in, first of those that are recorded already.
    """

    reading: Callable[[int, int], None]
    finished: Callable[[R, int, int], None]
    note: Callable[[str], None] = lambda text: None
    results: Callable[[Sequence[TrialResult[R]]], None] = lambda results: None


Show = Callable[[Sequence[R], bool], None]  # all rows, and whether no more are wanted


class Agenda(Protocol[T, R]):
    """What is to be trained, and what becomes of results. Asked again after each result."""

    @property
    def digest(self) -> str:
        """Of the plan."""

    def setting(self, data: Dataset) -> Setting:
        """What its trainings have in common."""

    def wanted(self, results: Results) -> Sequence[T]:
        """The trainings without a result that can be run now, most wanted first."""

    def total(self, results: Results) -> int:
        """Trainings that there will be in the end, if no tolerance is met before."""

    def assignment(self, one: T, folder: Path, results: Results) -> Assignment:
        """A training with what a worker needs for it; ``folder``: of the run."""

    def row(self, one: T, measurement: Measurement) -> R:
        """The line of a training's result."""

    def checkpoint(self, row: R) -> str:
        """The file in the folder of checkpoints, without its ending, that a training has no more use for."""

    def window(self, storage: Storage, note: Callable[[str], None]) -> Show[R]:
        """What shows the rows to other programs."""

    def conclude(self, folder: Path, results: Results, rows: Sequence[R]) -> None:
        """Writes what the results come to into the run's folder."""


@contextlib.contextmanager
def opened(
    folder: Path, storage: str | None, note: Callable[[str], None], lock: Path | None = None
) -> Iterator[Storage]:
    """The folder made, and its database open; held for this process alone unless coordinators share the database.

    Args:
        storage: a PostgreSQL that coordinators share; None keeps the ledger in the folder, for one coordinator.
        lock: the folder that is held; ``folder`` if None.

    Raises:
        UserError: the folder is in use or cannot be written to, or the database does not answer.
    """
    prepare(folder)
    database = Storage(storage_url(folder, storage), note)
    held = contextlib.nullcontext() if database.shared else locked(lock or folder)
    with held, contextlib.closing(database):
        yield database


def open_ledger(storage: Storage, run: str, read: ReadRow[R]) -> Ledger[R]:
    """The ledger of a run; what a coordinator left that was killed is free again, where the folder's lock says so."""
    ledger = Ledger(storage, run, read)
    if not storage.shared:
        ledger.free_all()
    return ledger


def carry_out(
    ledger: Ledger[R], folder: Path, agenda: Agenda[T, R], data: Dataset, workers: Workers, listener: Listener[R],
    bounds: Bounds | None = None,
) -> "Trainings[T, R]":  # fmt: skip
    """Runs what the agenda wants; a second call continues, each training counts once.

    Args:
        workers: where trainings run.
        bounds: of the work; None runs it to its end.

    Raises:
        UserError: images cannot be decoded, the disk is full, the storage stays away.
        KeyboardInterrupt: what is done is kept, what was running is run again next time.
    """
    setting = agenda.setting(data)
    trainings = Trainings(folder, agenda, setting, listener, agenda.window(ledger.storage, listener.note))
    trainings.take(ledger.finished())
    trainings.look()
    try:
        with contextlib.closing(workers.start(partial(run_trial, setting))) as executor:
            Campaign(ledger, executor, trainings, bounds or Bounds(), workers.retries, workers.silent_seconds).run()
    finally:
        trainings.copy()
    return trainings


class Trainings(Generic[T, R]):
    """An agenda's trainings as the work of a campaign (``campaign.Work``): rows and results as they come in."""

    def __init__(
        self, folder: Path, agenda: Agenda[T, R], setting: Setting, listener: Listener[R], show: Show[R]
    ) -> None:
        self.rows: list[R] = []
        self.results = Results()
        self._folder, self._agenda, self._setting, self._listener, self._show = folder, agenda, setting, listener, show
        self._wanted: Sequence[T] = ()
        self._copied = time.monotonic()

    def take(self, finished: Sequence[TrialResult[R]]) -> None:
        """Takes results in; predictions first, so that no row stands without them."""
        for one in finished:
            write_predictions(self._folder, one)
            self.results.add(one.row.key, *(hits(one) or (None,)))
            self.rows.append(one.row)
        self.rows.sort(key=lambda row: row.key)
        self._listener.results(finished)

    def look(self) -> None:
        """Asks what is wanted now; its images are decoded once, before workers ask for them."""
        self._wanted = self._agenda.wanted(self.results)
        for size in sorted({one.trained.resolution for one in self._wanted}):
            for part in (self._setting.train, *self._setting.judged.values()):
                part.at(size, self._listener.reading)

    def wanted(self) -> Sequence[T]:
        return self._wanted

    def assignment(self, one: T) -> Assignment:
        return self._agenda.assignment(one, self._folder, self.results)

    def row(self, one: T, measurement: Measurement) -> R:
        return self._agenda.row(one, measurement)

    def note(self, text: str) -> None:
        self._listener.note(text)

    def heard(self, finished: Sequence[TrialResult[R]]) -> None:
        """Takes results in, asks what is wanted now, and tells the listener."""
        new = [one for one in finished if one.row.key not in self.results]
        if not new:
            return
        self.take(new)
        self.look()
        for line in (one.row for one in new):
            if line.status == "failed" or line.epochs == line.full_epochs:
                checkpoint_file(self._folder, self._agenda.checkpoint(line)).unlink(missing_ok=True)
        total = max(self._agenda.total(self.results), len(self.results) + len(self._wanted))
        for done, one in enumerate(new, start=len(self.results) - len(new) + 1):
            self._listener.finished(one.row, done, total)
        if time.monotonic() - self._copied > SECONDS_BETWEEN_COPIES:
            self.copy()

    def copy(self) -> None:
        """Brings what the folder shows up to date: the rows, then what they come to, then the Optuna study."""
        if not self.rows:
            return
        write_rows(self._folder, self.rows, self._agenda.digest)
        self._agenda.conclude(self._folder, self.results, self.rows)
        self._show(self.rows, not self._wanted)
        self._copied = time.monotonic()


def checkpoint_file(folder: Path, name: str) -> Path:
    """Where a training pauses and goes on from; ``folder``: of the run."""
    return folder / "checkpoints" / f"{name}.safetensors"
