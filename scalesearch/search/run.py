"""The search itself: every pending trial run, recorded, and the answer kept up to date after each."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from scalesearch.data.batches import Augment
from scalesearch.data.dataset import Dataset
from scalesearch.design.candidates import Candidate
from scalesearch.design.scaling import Coefficients
from scalesearch.files import atomic, read_json, write_json
from scalesearch.search.executor import run_here, run_in_processes
from scalesearch.search.folder import RUN_FILE, locked, prepare
from scalesearch.search.found import Found, best_rows, growth, write_found
from scalesearch.search.plan import SearchPlan, Trial, check_same, row, trials
from scalesearch.search.study import Row, claim, done, open_study, record, release, release_unfinished, rows
from scalesearch.search.trial import Assignment, Outcome, run_trial

PLAN_FORMAT = 1


@dataclass(frozen=True)
class Listener:
    """Who is told: ``prepared(done, total)`` while images are readied, ``finished(row, done, total)`` after a trial."""

    prepared: Callable[[int, int], None]
    finished: Callable[[Row, int, int], None]


def begin(folder: Path, plan: SearchPlan, facts: dict[str, Any]) -> None:
    """Writes ``run.json`` (plan and facts) for a new run; for an old one checks that it is the same search.

    Raises UserError naming what differs.
    """
    prepare(folder)
    path = folder / RUN_FILE
    if path.exists():
        found = read_json(path, "a run of scalesearch")
        check_same(found.get("plan", {}), plan, str(folder))
        facts = {**found, **facts}
    write_json(path, {**facts, "format": PLAN_FORMAT, "plan": plan.to_dict(), "plan_digest": plan.digest})


def finished_keys(folder: Path) -> set[tuple[int, int]]:
    """(candidate, seed) of the trials a run has recorded; none where there is no run."""
    return done(open_study(folder)) if (folder / "study.db").exists() else set()


def search(
    folder: Path, plan: SearchPlan, candidates: Sequence[Candidate], data: Dataset, jobs: int, listener: Listener
) -> list[Row]:
    """Runs what is not yet done and returns all rows; a second call continues, each trial runs once.

    Args:
        folder: of the run, begun by ``begin``.
        jobs: processes; 1 runs the trials in this one.

    Raises:
        UserError: the folder is in use, or images cannot be decoded.
        KeyboardInterrupt: what is done is kept, what was running is run again next time.
    """
    by_number = {candidate.index: candidate for candidate in candidates}
    with locked(folder):
        study = open_study(folder)
        release_unfinished(study)
        finished = done(study)
        wanted = list(trials(plan, tuple(candidates)))
        pending = [trial for trial in wanted if trial.key not in finished]
        if pending:
            _ready(pending, data, listener)
        running: dict[tuple[int, int], optuna.Trial] = {}
        assignments = _claimed(study, pending, running, plan, data)
        run = run_here(assignments, run_trial) if jobs == 1 else run_in_processes(assignments, run_trial, jobs)
        try:
            with contextlib.closing(run):  # type: ignore[type-var]
                for assignment, outcome in run:
                    trial = assignment.trial
                    line = row(plan, trial, by_number.get(trial.candidate), outcome.measured)
                    _keep_predictions(folder, trial, outcome)
                    record(study, running.pop(trial.key), line)
                    finished.add(trial.key)
                    _answer(folder, plan, rows(study), len(wanted))
                    listener.finished(line, len(finished), len(wanted))
        finally:
            release(study, running.values())
        return rows(study)


def _ready(pending: Sequence[Trial], data: Dataset, listener: Listener) -> None:
    """Decodes every image once, and every size once, before workers ask for them."""
    sizes = sorted({trial.proxy_spec.resolution for trial in pending})
    for number, size in enumerate(sizes):
        data.train.at(size)
        data.validation.at(size)
        listener.prepared(number + 1, len(sizes))


def _claimed(
    study: optuna.Study,
    pending: Sequence[Trial],
    running: dict[tuple[int, int], optuna.Trial],
    plan: SearchPlan,
    data: Dataset,
) -> Iterator[Assignment]:
    """Assignments, each registered as running in the moment a worker is free for it."""
    for trial in pending:
        c = trial.coefficients
        running[trial.key] = claim(study, trial.candidate, trial.seed, c.alpha, c.beta, c.gamma)
        yield Assignment(trial, data.train, data.validation, Augment(flip=data.source.flip), plan.device)


def _keep_predictions(folder: Path, trial: Trial, outcome: Outcome) -> None:
    """Label and prediction of each validation image, so that anybody can recompute accuracies and compare pairs."""
    path = folder / "predictions" / f"{trial.name}-seed{trial.seed}.npz"
    with atomic(path) as temporary:
        np.savez_compressed(
            temporary, labels=outcome.labels.astype(np.uint16), predictions=outcome.predictions.astype(np.uint16)
        )


def _answer(folder: Path, plan: SearchPlan, lines: list[Row], total: int) -> None:
    """Brings ``coefficients.json`` up to date."""
    best = best_rows(lines)
    if best is None:
        return
    first = best[0]
    coefficients = Coefficients(first["alpha"], first["beta"], first["gamma"], growth(plan.rounding))
    write_found(
        folder,
        Found(
            coefficients=coefficients,
            rounding=plan.rounding,
            baseline=plan.baseline,
            space=plan.space,
            data=plan.data,
            target_macs=plan.target_macs,
            winner=first["name"],
            score=sum(line["score"] for line in best) / len(best),
            top1=sum(line["top1"] for line in best) / len(best),
            done=len(lines),
            total=total,
        ),
    )
