"""The search itself: the race's trainings run and recorded, and the answer kept up to date after each."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.data.batches import Augment
from scalesearch.data.dataset import Dataset
from scalesearch.design.candidates import Candidate
from scalesearch.design.scaling import Coefficients
from scalesearch.errors import UserError
from scalesearch.files import locked, prepare, read_json, write_json
from scalesearch.running.campaign import Bounds, Campaign
from scalesearch.running.folder import RUN_FILE
from scalesearch.running.ledger import Ledger
from scalesearch.running.optuna_view import Window
from scalesearch.running.provenance import add_seconds
from scalesearch.running.storage import Storage, storage_url
from scalesearch.running.trial import Assignment, Setting, run_trial
from scalesearch.running.workers import Workers
from scalesearch.study.answer import write_answer
from scalesearch.study.conclude import conclude
from scalesearch.study.found import Found, growth, write_found
from scalesearch.study.kept import FILE as ROWS_FILE
from scalesearch.study.kept import check_rows, hits, write_predictions, write_rows
from scalesearch.study.plan import Measured, SearchPlan, Trial, check_same, row, runners, trial
from scalesearch.study.race import Item, Race, advance, planned
from scalesearch.study.row import Finished, Row, key
from scalesearch.study.statistics import Bools

PLAN_FORMAT = 3
SECONDS_BETWEEN_COPIES = 2.0  # of rows.json and the Optuna study, while trainings end faster


@dataclass(frozen=True)
class Listener:
    """Who is told: ``reading(done, total)`` images, then ``finished(row, done, total)`` after each training.

    ``total`` is what the race comes to if nobody is beaten; ``note`` is told of workers that die and the like.
    """

    reading: Callable[[int, int], None]
    finished: Callable[[Row, int, int], None]
    note: Callable[[str], None] = lambda text: None


def recorded(folder: Path, plan: SearchPlan, storage: str | None = None) -> list[Row]:
    """The rows that a search's ledger holds; none where there is no run, or one that recorded nothing.

    Raises UserError where the folder holds results of another search, naming what differs.
    """
    url = storage_url(folder, storage)
    if storage is None and not ((folder / RUN_FILE).exists() and (folder / "study.db").exists()):
        return []
    kept = Storage(url)
    with contextlib.closing(kept):
        lines = [one.row for one in Ledger(kept, _run_name(kept, plan)).finished()]
        _check_folder(folder, plan, kept, bool(lines))
    return lines


def search(
    folder: Path,
    plan: SearchPlan,
    candidates: Sequence[Candidate],
    data: Dataset,
    facts: dict[str, Any],
    workers: Workers,
    listener: Listener,
    races: Sequence[Race],
    bounds: Bounds | None = None,
    storage: str | None = None,
) -> list[Row]:
    """Runs what the races still want and returns all rows; a second call continues, each training counts once.

    Args:
        folder: of the run; made where it is missing.
        facts: provenance for ``run.json``; a continued run keeps its first, and lists the later ones.
        workers: where trainings run.
        races: run one after another over the same results, so a later one adds to what an earlier one left open.
        bounds: of the work; None runs every race to its end.
        storage: a PostgreSQL that coordinators share; None keeps the ledger in the folder, for one coordinator.

    Raises:
        UserError: the folder is in use or holds another search, images cannot be decoded, the disk is full.
        KeyboardInterrupt: what is done is kept, what was running is run again next time.
    """
    prepare(folder)
    kept = Storage(storage_url(folder, storage), listener.note)
    with contextlib.nullcontext() if kept.shared else locked(folder), contextlib.closing(kept):
        ledger = Ledger(kept, _run_name(kept, plan))
        if not kept.shared:
            ledger.free_all()  # of a coordinator that was killed: the lock says that it is gone
        before = ledger.finished()
        check_rows([one.row for one in before], kept.name)
        _check_folder(folder, plan, kept, bool(before))
        _write_plan(folder, plan, {**facts, "storage": _kept_where(kept)}, continued=bool(before))
        window = Window(kept, f"scalesearch-{plan.digest}" if kept.shared else "scalesearch", listener.note)
        work = Search(folder, plan, candidates, data, listener, window)
        work.known(before)
        setting = Setting(data.train, data.validation, Augment(flip=data.source.flip), plan.device, plan.threads)
        bounds, began = bounds or Bounds(), time.monotonic()
        try:
            with contextlib.closing(workers.start(partial(run_trial, setting))) as executor:
                for race in races:
                    work.turn_to(race)
                    if not Campaign(ledger, executor, work, bounds, workers.retries, workers.silent_seconds).run():
                        break
        finally:
            work.copy()
            add_seconds(folder, time.monotonic() - began)
        work.answer()
        return work.rows


class Search:
    """A run's races as the work of a campaign: what they want, and what becomes of results."""

    def __init__(
        self,
        folder: Path,
        plan: SearchPlan,
        candidates: Sequence[Candidate],
        data: Dataset,
        listener: Listener,
        window: Window,
    ) -> None:
        self.rows: list[Row] = []
        self._folder, self._plan, self._candidates, self._data = folder, plan, candidates, data
        self._listener, self._window = listener, window
        self._results: dict[Item, Bools | None] = {}
        self._runners = runners(plan, candidates)
        self._wanted: Sequence[Trial] = ()
        self._copied = time.monotonic()

    def turn_to(self, race: Race) -> None:
        """Asks a race what it wants, over the results so far."""
        self._race = race
        self._look()

    def _look(self) -> None:
        """What the race wants now; its images are decoded once, before workers ask for them."""
        state = advance(self._race, self._runners, self._results)
        self._wanted = [trial(self._plan, self._candidates, item) for item in state.wanted]
        for size in sorted({one.proxy_spec.resolution for one in self._wanted}):
            self._data.train.at(size, self._listener.reading)
            self._data.validation.at(size, self._listener.reading)

    def wanted(self) -> Sequence[Trial]:
        """Of ``campaign.Work``."""
        return self._wanted

    def assignment(self, one: Trial) -> Assignment:
        """Of ``campaign.Work``."""
        return Assignment(one, self._checkpoint(one.name, one.seed))

    def row(self, one: Trial, measured: Measured) -> Row:
        """Of ``campaign.Work``."""
        return row(self._plan, one, self._candidates[one.candidate] if one.candidate >= 0 else None, measured)

    def note(self, text: str) -> None:
        """Of ``campaign.Work``."""
        self._listener.note(text)

    def heard(self, finished: Sequence[Finished]) -> None:
        """Of ``campaign.Work``: takes results in, has the race decide, brings the answer up to date, tells."""
        new = [one for one in finished if key(one.row) not in self._results]
        if not new:
            return
        before = {one.key for one in self._wanted}
        self.known(new)
        self._look()
        self.answer()
        for one in new:
            if one.row["status"] == "failed" or one.row["epochs"] == one.row["full_epochs"]:
                self._checkpoint(one.row["name"], one.row["seed"]).unlink(missing_ok=True)
        if not before & {one.key for one in self._wanted}:
            self._drop_checkpoints()
        total = max(planned(self._race, len(self._candidates)), len(self._results) + len(self._wanted))
        for done, one in enumerate(new, start=len(self._results) - len(new) + 1):
            self._listener.finished(one.row, done, total)
        if time.monotonic() - self._copied > SECONDS_BETWEEN_COPIES:
            self.copy()

    def known(self, finished: Sequence[Finished]) -> None:
        """Takes results in."""
        for one in finished:
            write_predictions(self._folder, one)
            self._results[key(one.row)] = hits(one)
            self.rows.append(one.row)
        self.rows.sort(key=key)

    def copy(self) -> None:
        """Brings ``rows.json`` and the Optuna study up to date."""
        if not self.rows:
            return
        write_rows(self._folder, self.rows, self._plan.digest)
        self._window.show(self.rows)
        self._copied = time.monotonic()

    def _checkpoint(self, name: str, seed: int) -> Path:
        return self._folder / "checkpoints" / f"{name}-seed{seed}.safetensors"

    def _drop_checkpoints(self) -> None:
        """A rung is over: the candidates beaten will not be trained on."""
        for place in advance(self._race, self._runners, self._results, final=True).places:
            if not place.inside:
                for path in (self._folder / "checkpoints").glob(f"c{place.number:03d}-seed*.safetensors"):
                    path.unlink(missing_ok=True)

    def answer(self) -> None:
        """Brings ``winners.json`` and ``coefficients.json`` up to date."""
        plan, results = self._plan, self._results
        state = advance(self._race, self._runners, results, final=True)
        answer = conclude(self._race, state, self._candidates, results, plan.target_macs)
        if answer is None:
            return
        write_answer(self._folder, answer)
        best = next(place for place in state.places if place.inside)
        chosen = self._candidates[best.number].coefficients
        standing = next(standing for standing in answer.standings if standing.name == answer.recommended)
        correct = [right for (number, _, epochs), right in results.items()
                   if number == best.number and epochs == standing.epochs and right is not None]  # fmt: skip
        write_found(
            self._folder,
            Found(
                coefficients=Coefficients(chosen.alpha, chosen.beta, chosen.gamma, growth(plan.rounding)),
                rounding=plan.rounding,
                baseline=plan.baseline,
                space=plan.space,
                data=plan.data,
                target_macs=plan.target_macs,
                winner=answer.recommended,
                score=standing.score,
                top1=float(np.mean(correct)),
                done=len(results),
                total=len(results) + len(state.wanted),
            ),
        )


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
    values = read_json(path, "a run of scalesearch")
    check_format(folder, values)
    if not recorded and not (folder / ROWS_FILE).exists():
        return
    old = values.get("plan")
    check_same(old if isinstance(old, dict) else {}, plan, str(folder))
    if values.get("storage") != _kept_where(storage):
        raise UserError(
            "--storage", _kept_where(storage), f"{values.get('storage')}, where this run's trainings are",
            "Give the same --storage as before, or another --run folder.",
        )  # fmt: skip


def check_format(folder: Path, values: dict[str, Any]) -> None:
    """Raises UserError for a ``run.json`` that this version does not read."""
    version = values.get("format")
    if version == PLAN_FORMAT:
        return
    if not isinstance(version, int):
        raise UserError(str(folder / RUN_FILE), "a file without a format", "a run of scalesearch")
    versions = values.get("versions")
    by = f"scalesearch {versions.get('scalesearch', '?')}" if isinstance(versions, dict) else "another scalesearch"
    newer, do = version > PLAN_FORMAT, f"Read it with {by}, or search again in another --run folder."
    expected = f"format {PLAN_FORMAT}"
    raise UserError(
        str(folder), f"a run of format {version}, by {by}", expected, "Update scalesearch." if newer else do
    )


def _write_plan(folder: Path, plan: SearchPlan, facts: dict[str, Any], continued: bool) -> None:
    path = folder / RUN_FILE
    if continued and path.exists():
        first = read_json(path, "a run of scalesearch")
        facts = {**first, "continued": [*first.get("continued", []), facts]}
    write_json(path, {**facts, "format": PLAN_FORMAT, "plan": plan.to_dict(), "plan_digest": plan.digest})
