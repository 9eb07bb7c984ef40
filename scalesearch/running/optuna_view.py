"""The window on a search: an Optuna study beside the ledger, which optuna-dashboard and Optuna's own functions read.

Optuna shows trials; which ones exist and who runs them is the ledger's matter. Its samplers cannot hold αβ²γ² ≈ 2 and
may repeat or lose points, and its storage takes a point twice without a word. One Optuna trial is one training up to a
rung: (candidate, seed, epochs), added when it is over.

Optuna's pruners are not used: they compare a trial's intermediate value with those of others (median, successive
halving) or with the best trial's (Wilcoxon, threshold), each without the others' noise, seeds or the number of
comparisons made, and they end a trial for good; the race (``study.race``) asks which training tells most.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import NullPool

from scalesearch.running.storage import Storage
from scalesearch.study.row import Row

LARGEST = 1_000_000
PATIENCE_SECONDS, PAUSE_SECONDS = 5.0, 60.0  # the study is decoration: no search waits for it
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "candidate": IntDistribution(-1, LARGEST),
    "seed": IntDistribution(0, LARGEST),
    "epochs": IntDistribution(1, LARGEST),
    "depth_ratio": FloatDistribution(0, 100),
    "width_ratio": FloatDistribution(0, 100),
    "resolution_ratio": FloatDistribution(0, 100),
}


class Window:
    """The study of a run, kept up to date with its rows.

    What goes wrong here is noted once and does not end the search: the ledger has the results.
    """

    def __init__(self, storage: Storage, name: str, note: Callable[[str], None]) -> None:
        self._storage, self._name, self._note = storage, name, note
        self._study: optuna.Study | None = None
        self._again = 0.0

    def show(self, rows: Sequence[Row]) -> None:
        """Adds the trials that are not shown yet. One coordinator at a time, so that each is added once; where another
        one does not come to an end with it, this time is left out."""
        if time.monotonic() < self._again:
            return
        try:
            with self._storage.alone(f"study {self._name}", PATIENCE_SECONDS) as mine:
                if not mine:
                    self._again = time.monotonic() + PAUSE_SECONDS
                    return
                study = self._opened()
                shown = {_key(trial) for trial in study.get_trials(deepcopy=False)}
                study.add_trials([_trial(row) for row in rows if row.key not in shown])
        except Exception as error:  # SQLAlchemy, sqlite3, alembic and Optuna each raise their own kinds here
            self._note(f"The Optuna study lags behind ({str(error).splitlines()[0]}); the results are kept.")
            self._note = lambda text: None

    def _opened(self) -> optuna.Study:
        if self._study is None:
            self._study = open_study(self._storage, self._name)
        return self._study


def open_study(storage: Storage, name: str) -> optuna.Study:
    """The study of that name, made if it is not there."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options = {"poolclass": NullPool, "connect_args": {} if storage.shared else {"timeout": 60}}
    shown = optuna.storages.RDBStorage(storage.url.render_as_string(hide_password=False), engine_kwargs=options)
    storage.bound(shown.engine)
    return optuna.create_study(
        study_name=name,
        storage=shown,
        sampler=optuna.samplers.RandomSampler(seed=0),
        direction="maximize",
        load_if_exists=True,
    )


def _key(trial: FrozenTrial) -> tuple[int, ...]:
    return tuple(int(trial.params.get(name, -2)) for name in ("candidate", "seed", "epochs"))


def _trial(row: Row) -> FrozenTrial:
    done = row.status == "done"
    trial = create_trial(
        state=TrialState.COMPLETE if done else TrialState.FAIL,
        value=row.score if done else None,
        params={name: getattr(row, name) for name in DISTRIBUTIONS},
        distributions=DISTRIBUTIONS,
        user_attrs={"row": row.to_dict()},
    )
    trial.datetime_start = datetime.now() - timedelta(seconds=row.seconds)
    return trial
