"""The search's ledger, an Optuna study: stores and shows trials. Which ones exist is decided by our list, not by it.

Optuna's samplers cannot hold αβ²γ² ≈ 2 and may repeat or lose points, so each trial is enqueued with fixed values
and asked for at once; only the coordinator writes (SQLite takes one writer). One Optuna trial is one training up to a
rung: (candidate, seed, epochs).

Optuna's pruners are not used: they compare a trial's intermediate value with those of others (median, successive
halving) or with the best trial's (Wilcoxon, threshold), each without the others' noise, seeds or the number of
comparisons made, and they end a trial for good; the race (``search.race``) asks whether a candidate is beaten.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from sqlalchemy import URL

from scalesearch.errors import ScaleSearchError, UserError

Row = dict[str, Any]
Key = tuple[int, int, int]  # (candidate, seed, epochs); candidate −1 is the baseline
LARGEST = 1_000_000


def open_study(folder: Path) -> optuna.Study:
    """The study in ``folder/study.db``, made if it is not there; optuna-dashboard reads the same file.

    Raises:
        UserError: the file cannot be opened as a study.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / "study.db"
    try:
        url = URL.create("sqlite", database=str(path.resolve()))
        storage = optuna.storages.RDBStorage(url.render_as_string())
        return optuna.create_study(
            study_name="scalesearch",
            storage=storage,
            sampler=optuna.samplers.RandomSampler(seed=0),
            direction="maximize",
            load_if_exists=True,
        )
    except Exception as error:  # SQLAlchemy, sqlite3 and alembic each raise their own kinds here
        raise UserError(
            str(path), str(error).splitlines()[0], "an Optuna study in SQLite", "Choose another --run folder."
        ) from error


def release_unfinished(study: optuna.Study) -> int:
    """Marks trials left running by an interrupted coordinator as failed, so that they are run again; how many."""
    unfinished = study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
    for trial in unfinished:
        study.tell(trial.number, state=TrialState.FAIL)
    return len(unfinished)


def rows(study: optuna.Study) -> list[Row]:
    """The recorded rows, ordered by candidate, seed and epochs; interrupted trials have none."""
    recorded = [t.user_attrs["row"] for t in study.get_trials(deepcopy=False) if "row" in t.user_attrs]
    return sorted(recorded, key=key)


def key(row: Row) -> Key:
    """What a row is of."""
    return (row["candidate"], row["seed"], row["epochs"])


def claim(study: optuna.Study, item: Key, alpha: float, beta: float, gamma: float) -> optuna.Trial:
    """Registers a trial as running, with exactly these values.

    Raises:
        ScaleSearchError: Optuna answered with other values, which happens only when another process took them.
    """
    candidate, seed, epochs = item
    values = {
        "candidate": candidate, "seed": seed, "epochs": epochs, "alpha": alpha, "beta": beta, "gamma": gamma
    }  # fmt: skip
    distributions: dict[str, BaseDistribution] = {
        "candidate": IntDistribution(-1, LARGEST),
        "seed": IntDistribution(0, LARGEST),
        "epochs": IntDistribution(1, LARGEST),
        "alpha": FloatDistribution(1, 8),
        "beta": FloatDistribution(1, 8),
        "gamma": FloatDistribution(1, 8),
    }
    study.enqueue_trial(values)
    trial = study.ask(distributions)
    if trial.params != values:
        study.tell(trial, state=TrialState.FAIL)
        raise ScaleSearchError(f"the study gave {trial.params} for {values}: another process writes to it")
    return trial


def record(study: optuna.Study, trial: optuna.Trial, row: Row) -> None:
    """Writes a finished trial: its row first, then its state, so that a state never stands without its row."""
    trial.set_user_attr("row", row)
    if row["status"] == "done":
        study.tell(trial, row["score"])
    else:
        study.tell(trial, state=TrialState.FAIL)


def release(study: optuna.Study, trials: Iterable[optuna.Trial]) -> None:
    """Gives interrupted trials back: failed without a row, to be run again."""
    for trial in trials:
        study.tell(trial, state=TrialState.FAIL)
