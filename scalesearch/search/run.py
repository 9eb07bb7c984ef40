"""The search itself: the race's trainings run and recorded, and the answer kept up to date after each."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from scalesearch.data.batches import Augment
from scalesearch.data.dataset import Dataset
from scalesearch.design.candidates import Candidate
from scalesearch.design.scaling import Coefficients
from scalesearch.errors import UserError
from scalesearch.files import atomic, read_json, write_json
from scalesearch.search.answer import write_answer
from scalesearch.search.conclude import conclude
from scalesearch.search.executor import run_here, run_in_processes
from scalesearch.search.facts import add_seconds
from scalesearch.search.folder import RUN_FILE, locked, prepare
from scalesearch.search.found import Found, growth, write_found
from scalesearch.search.plan import SearchPlan, Trial, check_same, row, runners, trial
from scalesearch.search.race import Item, Race, State, advance, planned
from scalesearch.search.study import Row, claim, key, open_study, record, release, release_unfinished, rows
from scalesearch.search.trial import Assignment, Outcome, run_trial
from scalesearch.search.winners import Bools

PLAN_FORMAT = 2


@dataclass(frozen=True)
class Listener:
    """Who is told: ``reading(done, total)`` images, then ``finished(row, done, total)`` after each training.

    ``total`` is what the race comes to if nobody is beaten.
    """

    reading: Callable[[int, int], None]
    finished: Callable[[Row, int, int], None]


@dataclass
class Bounds:
    """How much work may still be begun: wall seconds, and trainings; None leaves it open.

    ``seconds_of`` estimates a training, so that none is begun that would not end in time.
    """

    seconds: float | None = None
    trainings: int | None = None
    seconds_of: Callable[[Trial], float] = lambda one: 0.0
    _began: float = field(default_factory=time.monotonic)
    _begun: int = 0

    def take(self, one: Trial) -> bool:
        """Whether a training may begin; counts it if so."""
        late = self.seconds is not None and time.monotonic() - self._began + self.seconds_of(one) > self.seconds
        if late or self._begun == self.trainings:
            return False
        self._begun += 1
        return True


@dataclass(frozen=True)
class Search:
    """What a search consists of, gathered for the functions below."""

    folder: Path
    plan: SearchPlan
    candidates: Sequence[Candidate]
    data: Dataset
    jobs: int
    listener: Listener
    bounds: Bounds
    study: optuna.Study
    results: dict[Item, Bools | None]


def recorded(folder: Path, plan: SearchPlan) -> list[Row]:
    """The rows that a run folder holds of this search; none where there is no run, or one that recorded nothing.

    Raises UserError where the folder holds results of another search, naming what differs.
    """
    path = folder / RUN_FILE
    if not path.exists() or not (folder / "study.db").exists():
        return []
    lines = rows(open_study(folder))
    values = read_json(path, "a run of scalesearch")
    if lines:
        if values.get("format") != PLAN_FORMAT:
            raise UserError(
                str(folder), "a search of another version of scalesearch", f"format {PLAN_FORMAT}",
                "Name another --run folder.",
            )  # fmt: skip
        old = values.get("plan")
        check_same(old if isinstance(old, dict) else {}, plan, str(folder))
    return lines


def search(
    folder: Path,
    plan: SearchPlan,
    candidates: Sequence[Candidate],
    data: Dataset,
    facts: dict[str, Any],
    jobs: int,
    listener: Listener,
    races: Sequence[Race],
    bounds: Bounds | None = None,
) -> list[Row]:
    """Runs what the races still want and returns all rows; a second call continues, each training runs once.

    Args:
        folder: of the run; made where it is missing.
        facts: provenance for ``run.json``; a continued run keeps its first, and lists the later ones.
        jobs: processes; 1 runs the trainings in this one.
        races: run one after another over the same results, so a later one adds to what an earlier one left open.
        bounds: of the work; None runs every race to its end.

    Raises:
        UserError: the folder is in use or holds another search, or images cannot be decoded.
        KeyboardInterrupt: what is done is kept, what was running is run again next time.
    """
    prepare(folder)
    with locked(folder):
        before = recorded(folder, plan)
        _write_plan(folder, plan, facts, continued=bool(before))
        study = open_study(folder)
        release_unfinished(study)
        work = Search(
            folder, plan, candidates, data, jobs, listener, bounds or Bounds(), study, kept_results(folder, before)
        )
        began = time.monotonic()
        try:
            for race in races:
                state = _run_race(work, race)
        finally:
            add_seconds(folder, time.monotonic() - began)
        _answer(work, race, state)
        return rows(study)


def kept_results(folder: Path, lines: Sequence[Row]) -> dict[Item, Bools | None]:
    """Which validation images each recorded training got right; None for failed ones.

    Raises UserError where a file of predictions is gone.
    """
    found: dict[Item, Bools | None] = {}
    for line in lines:
        path = folder / "predictions" / f"{line['name']}-seed{line['seed']}-e{line['epochs']}.npz"
        if line["status"] == "failed":
            found[key(line)] = None
            continue
        try:
            with np.load(path) as kept:
                found[key(line)] = kept["labels"] == kept["predictions"]
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                str(path), f"unreadable predictions ({error})", "those of a recorded training", "Search in a new --run."
            ) from None
    return found


def _write_plan(folder: Path, plan: SearchPlan, facts: dict[str, Any], continued: bool) -> None:
    path = folder / RUN_FILE
    if continued:
        first = read_json(path, "a run of scalesearch")
        facts = {**first, "continued": [*first.get("continued", []), facts]}
    write_json(path, {**facts, "format": PLAN_FORMAT, "plan": plan.to_dict(), "plan_digest": plan.digest})


def _run_race(work: Search, race: Race) -> State:
    """Runs the race as far as the bounds allow."""
    field = runners(work.plan, work.candidates)
    while True:
        state = advance(race, field, work.results)
        pending = [trial(work.plan, work.candidates, item) for item in state.wanted]
        if not pending or not _run(work, race, pending):
            return advance(race, field, work.results, final=True) if pending else state
        _drop_checkpoints(work, advance(race, field, work.results, final=True))


def _run(work: Search, race: Race, pending: Sequence[Trial]) -> bool:
    """Runs trainings and records each as it finishes; whether all were begun.

    What an interruption leaves running is released.
    """
    _ready(pending, work.data, work.listener)
    running: dict[Item, optuna.Trial] = {}
    assignments = _claimed(work, pending, running)
    run = run_here(assignments, run_trial) if work.jobs == 1 else run_in_processes(assignments, run_trial, work.jobs)
    finished = 0
    try:
        with contextlib.closing(run):  # type: ignore[type-var]
            for assignment, outcome in run:
                one = assignment.trial
                line = row(work.plan, one, _candidate(work, one), outcome.measured)
                _keep_predictions(work.folder, one, outcome)
                record(work.study, running.pop(one.key), line)
                failed = bool(outcome.measured.reason)
                work.results[one.key] = None if failed else outcome.labels == outcome.predictions
                if failed or one.until == one.train.epochs:
                    _checkpoint(work.folder, one).unlink(missing_ok=True)
                finished += 1
                state = advance(race, runners(work.plan, work.candidates), work.results, final=True)
                _answer(work, race, state)
                total = max(planned(race, len(work.candidates)), len(work.results) + len(pending) - finished)
                work.listener.finished(line, len(work.results), total)
    finally:
        release(work.study, running.values())
    return finished == len(pending)


def _ready(pending: Sequence[Trial], data: Dataset, listener: Listener) -> None:
    """Decodes every image once, and every size once, before workers ask for them."""
    for size in sorted({one.proxy_spec.resolution for one in pending}):
        data.train.at(size, listener.reading)
        data.validation.at(size, listener.reading)


def _claimed(work: Search, pending: Sequence[Trial], running: dict[Item, optuna.Trial]) -> Iterator[Assignment]:
    """Assignments, each registered as running in the moment a worker is free for it, while the bounds allow."""
    data = work.data
    for one in pending:
        if not work.bounds.take(one):
            return
        c = one.coefficients
        running[one.key] = claim(work.study, one.key, c.alpha, c.beta, c.gamma)
        checkpoint = _checkpoint(work.folder, one)
        augment = Augment(flip=data.source.flip)
        yield Assignment(one, data.train, data.validation, augment, work.plan.device, checkpoint)


def _candidate(work: Search, one: Trial) -> Candidate | None:
    return work.candidates[one.candidate] if one.candidate >= 0 else None


def _checkpoint(folder: Path, one: Trial) -> Path:
    return folder / "checkpoints" / f"{one.name}-seed{one.seed}.safetensors"


def _drop_checkpoints(work: Search, state: State) -> None:
    """Beaten candidates will not be trained on."""
    for place in state.places:
        if not place.inside:
            for path in (work.folder / "checkpoints").glob(f"c{place.number:03d}-seed*.safetensors"):
                path.unlink()


def _keep_predictions(folder: Path, one: Trial, outcome: Outcome) -> None:
    """Label and prediction of each validation image, so that anybody can recompute accuracies and compare pairs."""
    path = folder / "predictions" / f"{one.file}.npz"
    with atomic(path) as temporary:
        np.savez_compressed(
            temporary, labels=outcome.labels.astype(np.uint16), predictions=outcome.predictions.astype(np.uint16)
        )


def _answer(work: Search, race: Race, state: State) -> None:
    """Brings ``winners.json`` and ``coefficients.json`` up to date."""
    plan = work.plan
    answer = conclude(race, state, work.candidates, work.results, plan.target_macs)
    if answer is None:
        return
    write_answer(work.folder, answer)
    best = next(place for place in state.places if place.inside)
    chosen = work.candidates[best.number].coefficients
    standing = next(standing for standing in answer.standings if standing.name == answer.recommended)
    correct = [right for (number, _, epochs), right in work.results.items()
               if number == best.number and epochs == standing.epochs and right is not None]  # fmt: skip
    write_found(
        work.folder,
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
            done=len(work.results),
            total=len(work.results) + len(state.wanted),
        ),
    )
