"""The window on a search: an Optuna study beside the ledger, which optuna-dashboard and Optuna's own functions read.

Optuna shows trials; which ones exist and who runs them is the ledger's matter. Its samplers cannot hold αβ²γ² ≈ 2 and
may repeat or lose points, its storage takes a point twice without a word, and a trial that has ended cannot go on, as a
training does that the race takes up again. So the study is written from the ledger, and anew where an ended trial has
to change.

One Optuna trial is one network trained with one seed: α, β, γ are its parameters, its scores wherever the race looked
the intermediate values. It is complete when it was trained to the end; what the race left before is running as long as
the race may come back to it, then pruned. The baseline costs half as much and competes with nobody: it is pruned, too,
so that it is in the curves, but never the best trial, and no part of importances.

Optuna's pruners are not used: they compare a trial's intermediate value with those of others (median, successive
halving) or with the best trial's (Wilcoxon, threshold), each without the others' noise, seeds or the number of
comparisons made, and they end a trial for good; the race (``study.race``) asks which training tells most.
"""

import contextlib
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import NullPool

from scalesearch.design.cost import cost
from scalesearch.design.scaling import Coefficients
from scalesearch.running.storage import Storage
from scalesearch.study.plan import SearchPlan
from scalesearch.study.row import BASELINE, Row

PATIENCE_SECONDS, PAUSE_SECONDS = 5.0, 60.0  # the study is decoration: no search waits for it
LONGEST = 80  # letters of the images' name in a study's
PARAMETERS = ("alpha", "beta", "gamma")
NOTE = (
    "A value is accuracy·(FLOPs/T)^−0.07 on validation images. The best trial is the best single training; the answer, "
    "from all seeds and with its uncertainty, is in winners.json and in the report. Pruned: the baseline, which costs "
    "half as much and does not compete, and what the race did not train to the end."
)
Place = tuple[int, int, int]  # candidate, seed, epochs of a full training: what a trial is of
NOWHERE = (-2, -1, 0)


class Window:
    """The study of a run, kept up to date with its rows.

    What goes wrong here is noted once and does not end the search: the ledger has the results.

    Args:
        plan, phi: what is searched, and the φ at which its networks are trained: 1, or a verification's.
        note: is told that the study could not be written.
    """

    def __init__(self, storage: Storage, plan: SearchPlan, phi: float, note: Callable[[str], None]) -> None:
        self._storage, self._plan, self._phi, self._note = storage, plan, phi, note
        self._opened: tuple[optuna.Study, RDBStorage] | None = None
        self._again = 0.0

    def show(self, rows: Sequence[Row], over: bool = False) -> None:
        """Brings the study up to date. One coordinator at a time, so that each trial is added once; where another one
        does not come to an end with it, this time is left out.

        Args:
            rows: all trainings that have ended.
            over: whether the race wants no more of them.
        """
        if time.monotonic() < self._again:
            return
        try:
            with self._storage.alone(f"study {study_name(self._plan, self._phi)}", PATIENCE_SECONDS) as mine:
                if not mine:
                    self._again = time.monotonic() + PAUSE_SECONDS
                    return
                self._write(trials(self._plan, rows, over))
        except Exception as error:  # SQLAlchemy, sqlite3, alembic and Optuna each raise their own kinds here
            self._opened = None
            self._note(f"The Optuna study lags behind ({(str(error) or repr(error)).splitlines()[0]}); "
                       "the results are kept.")  # fmt: skip
            self._note = lambda text: None

    def _write(self, wanted: Mapping[Place, FrozenTrial]) -> None:
        """Other coordinators may have heard of more, or of other trainings: nothing that is shown is taken back."""
        study, kept = self._current()
        before = study.get_trials()
        shown = {place: one for one in before if (place := _place(one)) is not None}
        stale = {place: wanted[place] for place in wanted if place in shown and _further(wanted[place], shown[place])}
        if any(shown[place].state.is_finished() for place in stale):  # Optuna changes none of these
            for place, one in stale.items():
                one.datetime_start = shown[place].datetime_start
            optuna.delete_study(study_name=study.study_name, storage=kept)
            study, kept = self._current()
            study.add_trials([stale.get(_place(one) or NOWHERE, one) for one in before])
        else:
            for place, one in stale.items():
                _extend(kept, shown[place], one)
        study.add_trials([one for place, one in wanted.items() if place not in shown])

    def _current(self) -> tuple[optuna.Study, RDBStorage]:
        """The study, opened again where it was written anew."""
        if self._opened is not None:
            study, kept = self._opened
            with contextlib.suppress(KeyError):
                if kept.get_study_id_from_name(study.study_name) == study._study_id:
                    return self._opened
        self._opened = _open(self._storage, self._plan, self._phi)
        return self._opened


def study_name(plan: SearchPlan, phi: float = 1.0) -> str:
    """Such as "mbconv_small on flowers (0123456789ab)", with the plan's digest; "… at φ = 2 (…)" for a verification."""
    at = "" if phi == 1 else f" at φ = {phi:g}"
    return f"{plan.space[:LONGEST]} on {plan.data[:LONGEST]}{at} ({plan.digest})"


def open_study(storage: Storage, plan: SearchPlan, phi: float = 1.0) -> optuna.Study:
    """The study of a plan, made if it is not there."""
    return _open(storage, plan, phi)[0]


def trials(plan: SearchPlan, rows: Sequence[Row], over: bool) -> dict[Place, FrozenTrial]:
    """The rows of a run as Optuna's trials, in the order of the rows.

    Args:
        over: whether what is not trained to the end will not go on.
    """
    grouped: dict[Place, list[Row]] = {}
    for row in rows:
        grouped.setdefault((row.candidate, row.seed, row.full_epochs), []).append(row)
    coefficients = {BASELINE: Coefficients(1, 1, 1)}
    coefficients |= {one.index: one.coefficients for one in plan.enumerate().candidates}
    values = [getattr(one, name) for one in coefficients.values() for name in PARAMETERS]
    # the same for all, else Optuna takes them for different parameters; tiny networks may leave the grid
    axis = FloatDistribution(min(values), max(plan.grid.maximum, *values))
    distributions = dict.fromkeys(PARAMETERS, axis)
    return {
        place: _trial(sorted(group, key=lambda row: row.epochs), coefficients[place[0]], distributions, over)
        for place, group in grouped.items()
    }


def _trial(
    rows: Sequence[Row], coefficients: Coefficients, distributions: Mapping[str, BaseDistribution], over: bool
) -> FrozenTrial:
    """The trial of one training, from its rows by epochs."""
    last, seconds = rows[-1], sum(row.seconds for row in rows)
    scores = {row.epochs: row.score for row in rows if row.score is not None}
    state = TrialState.RUNNING
    if last.status == "failed":
        state = TrialState.FAIL
    elif last.epochs == last.full_epochs:
        state = TrialState.PRUNED if last.candidate == BASELINE else TrialState.COMPLETE
    elif over:
        state = TrialState.PRUNED
    trial = create_trial(
        state=state,
        value=last.score if state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
        params={name: getattr(coefficients, name) for name in PARAMETERS},
        distributions=dict(distributions),
        intermediate_values=scores,
        user_attrs={**last.to_dict(), "seconds": seconds},
    )
    trial.datetime_start = datetime.now() - timedelta(seconds=seconds)
    return trial


def _further(wanted: FrozenTrial, shown: FrozenTrial) -> bool:
    """Whether a trial has gone on since it was shown; one that was pruned stays so until its training really has."""
    order = (TrialState.RUNNING, TrialState.PRUNED)
    ranks = [order.index(one.state) if one.state in order else len(order) for one in (wanted, shown)]
    return ranks[0] > ranks[1] or bool(wanted.intermediate_values.keys() - shown.intermediate_values.keys())


def _place(trial: FrozenTrial) -> Place | None:
    """What a trial is of; None for one that somebody else added."""
    told = trial.user_attrs
    if not told.keys() >= {"candidate", "seed", "full_epochs"}:
        return None
    return told["candidate"], told["seed"], told["full_epochs"]


def _extend(kept: RDBStorage, shown: FrozenTrial, wanted: FrozenTrial) -> None:
    """Brings a running trial up to date; its state last, so that one that was cut short is still running."""
    number = shown._trial_id  # no other name leads to a trial in Optuna's storages
    for epochs, score in wanted.intermediate_values.items():
        kept.set_trial_intermediate_value(number, epochs, score)
    for name, value in wanted.user_attrs.items():
        if shown.user_attrs.get(name) != value:
            kept.set_trial_user_attr(number, name, value)
    if wanted.state.is_finished():
        kept.set_trial_state_values(number, wanted.state, wanted.values)


def _open(storage: Storage, plan: SearchPlan, phi: float) -> tuple[optuna.Study, RDBStorage]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options = {"poolclass": NullPool, "connect_args": {} if storage.shared else {"timeout": 60}}
    kept = RDBStorage(storage.url.render_as_string(hide_password=False), engine_kwargs=options)
    storage.bound(kept.engine)
    if (earlier := _earlier_name(storage, plan, phi)) in optuna.get_all_study_names(kept):
        optuna.delete_study(study_name=earlier, storage=kept)  # all of it stands in the ledger
    study = optuna.create_study(
        study_name=study_name(plan, phi),
        storage=kept,
        sampler=optuna.samplers.RandomSampler(seed=0),
        direction="maximize",
        load_if_exists=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if study.metric_names is None:
            study.set_metric_names(["score"])
    told = study.user_attrs
    for name, value in _attributes(plan, phi).items():
        if told.get(name) != value:
            study.set_user_attr(name, value)
    return study, kept


def _earlier_name(storage: Storage, plan: SearchPlan, phi: float) -> str:
    """Of the study that earlier commits wrote: a trial a rung, all figures in one attribute."""
    return "scalesearch" + (f"-{plan.digest}" + ("" if phi == 1 else f"-phi{phi:g}") if storage.shared else "")


def _attributes(plan: SearchPlan, phi: float) -> dict[str, Any]:
    """What a study is of."""
    return {
        "about": f"scalesearch: (α, β, γ) of {plan.space}, trained at φ = {phi:g} on {plan.data}", "note": NOTE,
        "space": plan.space, "data": plan.data, "data_digest": plan.data_digest, "plan_digest": plan.digest,
        "phi": phi, "rounding": plan.rounding, "grid_step": plan.grid.step, "grid_tolerance": plan.grid.tolerance,
        "grid_maximum": plan.grid.maximum, "target_macs": plan.target_macs, "baseline_macs": cost(plan.baseline).macs,
        "baseline_params": cost(plan.baseline).params, "baseline_resolution": plan.baseline.resolution,
        "baseline_trained_macs": cost(plan.proxy.baseline).macs,
        "training_images": plan.proxy.images, "validation_images": plan.validation, "guessing_top1": plan.majority,
        "device": plan.device, "seed": plan.train.seed, "weights": plan.weights.name if plan.weights else "none",
    }  # fmt: skip
