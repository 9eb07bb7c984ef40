"""The search itself: every pending trial run, recorded, and the answer kept up to date after each."""

import contextlib
import time
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
from scalesearch.search.facts import add_seconds
from scalesearch.search.folder import RUN_FILE, locked, prepare
from scalesearch.search.found import Found, best_rows, growth, write_found
from scalesearch.search.plan import SearchPlan, Trial, check_same, row, trials
from scalesearch.search.study import Row, claim, open_study, record, release, release_unfinished, rows
from scalesearch.search.trial import Assignment, Outcome, run_trial

PLAN_FORMAT = 1


@dataclass(frozen=True)
class Listener:
    """Who is told: ``reading(done, total)`` images, then ``finished(row, done, total)`` after each trial."""

    reading: Callable[[int, int], None]
    finished: Callable[[Row, int, int], None]


def recorded(folder: Path, plan: SearchPlan) -> list[Row]:
    """The rows that a run folder holds of this search; none where there is no run, or one that recorded nothing.

    Raises UserError where the folder holds results of another search, naming what differs.
    """
    path = folder / RUN_FILE
    if not path.exists() or not (folder / "study.db").exists():
        return []
    lines = rows(open_study(folder))
    old = read_json(path, "a run of scalesearch").get("plan")
    if lines:
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
) -> list[Row]:
    """Runs what is not yet done and returns all rows; a second call continues, each trial runs once.

    Args:
        folder: of the run; made where it is missing.
        facts: provenance for ``run.json``; a continued run keeps its first, and lists the later ones.
        jobs: processes; 1 runs the trials in this one.

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
        finished = {(line["candidate"], line["seed"]) for line in before}
        wanted = list(trials(plan, tuple(candidates)))
        pending = [trial for trial in wanted if trial.key not in finished]
        began = time.monotonic()
        try:
            if pending:
                _ready(pending, data, listener)
                _run(folder, study, plan, pending, candidates, data, jobs, listener)
        finally:
            add_seconds(folder, time.monotonic() - began)
        lines = rows(study)
        _answer(folder, plan, lines, len(wanted))
        return lines


def _write_plan(folder: Path, plan: SearchPlan, facts: dict[str, Any], continued: bool) -> None:
    path = folder / RUN_FILE
    if continued:
        first = read_json(path, "a run of scalesearch")
        facts = {**first, "continued": [*first.get("continued", []), facts]}
    write_json(path, {**facts, "format": PLAN_FORMAT, "plan": plan.to_dict(), "plan_digest": plan.digest})


def _run(
    folder: Path,
    study: optuna.Study,
    plan: SearchPlan,
    pending: Sequence[Trial],
    candidates: Sequence[Candidate],
    data: Dataset,
    jobs: int,
    listener: Listener,
) -> None:
    """Runs the pending trials and records each as it finishes; what an interruption leaves running is released."""
    by_number = {candidate.index: candidate for candidate in candidates}
    running: dict[tuple[int, int], optuna.Trial] = {}
    assignments = _claimed(study, pending, running, plan, data)
    run = run_here(assignments, run_trial) if jobs == 1 else run_in_processes(assignments, run_trial, jobs)
    done = len(rows(study))
    total = done + len(pending)
    try:
        with contextlib.closing(run):  # type: ignore[type-var]
            for assignment, outcome in run:
                trial = assignment.trial
                line = row(plan, trial, by_number.get(trial.candidate), outcome.measured)
                _keep_predictions(folder, trial, outcome)
                record(study, running.pop(trial.key), line)
                done += 1
                _answer(folder, plan, rows(study), total)
                listener.finished(line, done, total)
    finally:
        release(study, running.values())


def _ready(pending: Sequence[Trial], data: Dataset, listener: Listener) -> None:
    """Decodes every image once, and every size once, before workers ask for them."""
    for size in sorted({trial.proxy_spec.resolution for trial in pending}):
        data.train.at(size, listener.reading)
        data.validation.at(size, listener.reading)


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
