"""From trainings to one row a candidate: accuracy with its interval, mean score, and who is in the winner set."""

import math
from collections.abc import Collection

import pandas as pd

from scalesearch.errors import UserError
from scalesearch.study.statistics import wilson_interval

LEVEL_95 = 1.959963984540054  # standard errors on either side of a 95 % interval
SEED_COLUMNS = ("seed", "status", "reason", "top1", "correct", "images", "score", "train_loss", "seconds")
NETWORK_COLUMNS = (
    "candidate", "role", "control", "name", "digest", "alpha", "beta", "gamma", "triples", "nominal_ratio",
    "real_ratio",
    "macs", "fvcore_total", "params", "activations", "resolution", "blocks", "proxy_resolution", "proxy_macs",
    "epochs", "full_epochs",
)  # fmt: skip


def near_chance(low: float, classes: int) -> bool:
    """Whether an accuracy's lower bound lies below one and a half times that of guessing among ``classes``.

    A best candidate near chance has learned too little for its rank to mean anything.
    """
    return low < 1.5 / classes


def check_results(results: pd.DataFrame) -> None:
    """Raises UserError for missing columns, or two rows of one candidate, seed and number of epochs."""
    missing = [name for name in (*NETWORK_COLUMNS, *SEED_COLUMNS) if name not in results.columns]
    if missing:
        raise UserError("results", f"no column {', '.join(missing)}", "every column of a search's results")
    twice = results[results.duplicated(["role", "candidate", "seed", "epochs"])]
    if len(twice):
        row = twice.iloc[0]
        found = f"candidate {row['candidate']}, seed {row['seed']}, {row['epochs']} epochs twice"
        raise UserError(
            "results", found, "one row per candidate, seed and epochs", "Remove the row that is not wanted."
        )


def done_trials(results: pd.DataFrame) -> pd.DataFrame:
    """The rows that carry a result: status ``done`` with an accuracy and a score."""
    numbers = {name: results[name].astype(float) for name in ("top1", "score", "correct", "images", "seconds")}
    done = (results["status"] == "done") & (numbers["images"] > 0)  # float makes None NaN
    for name in ("top1", "score", "correct"):
        done &= numbers[name].notna()
    return results.assign(**numbers)[done]


def failed_trials(results: pd.DataFrame) -> pd.DataFrame:
    """All other rows; where no reason is recorded, ``reason`` says so."""
    failed = results.loc[~results.index.isin(done_trials(results).index)].copy()
    failed["reason"] = [
        reason if isinstance(reason, str) and reason else "no accuracy was recorded" for reason in failed["reason"]
    ]
    return failed


def summarise(results: pd.DataFrame, members: Collection[str] = ()) -> pd.DataFrame:
    """One row per network that has a result: those trained longest first, then the best mean score.

    A candidate that was trained on has rows for every rung; the furthest one counts, since accuracies after different
    numbers of epochs cannot be compared.

    Args:
        results: one row per (candidate, seed, epochs); candidates and baseline.
        members: names of the candidates in the winner set.

    Returns:
        The network's columns and: ``seeds`` (with a result), ``correct`` and ``images`` (summed over seeds),
        ``accuracy``, ``low`` and ``high`` (Wilson, 95 %), ``seed_spread`` (standard deviation of top-1 between
        seeds, NaN for one), ``standard_error`` (of the accuracy), ``score`` (mean over seeds), ``score_error``
        (its standard error), ``seconds`` (of all its trainings), ``member``, and ``pareto``: trained longest, and no
        other one trained as long costs no more and is at least as accurate.
    """
    done = done_trials(results)
    rows = [
        {**_pool(trials[trials["epochs"] == trials["epochs"].max()]), "seconds": float(trials["seconds"].sum())}
        for _, trials in done.groupby(["role", "candidate"], sort=True)
    ]
    columns = (
        *NETWORK_COLUMNS, "seeds", "correct", "images", "accuracy", "low", "high", "seed_spread", "standard_error",
        "score", "score_error", "seconds",
    )  # fmt: skip
    summary = pd.DataFrame(rows, columns=list(columns))
    summary = summary.sort_values(["epochs", "score"], ascending=False, kind="stable").reset_index(drop=True)
    return summary.assign(member=summary["name"].isin(list(members)), pareto=_front(summary))


def common_rung(results: pd.DataFrame) -> pd.DataFrame:
    """The results after the number of epochs at which most candidates have one; of several such, the largest."""
    done = done_trials(results)
    counts = done[done["role"] == "candidate"].groupby("epochs")["candidate"].nunique()
    chosen: pd.DataFrame = done[done["epochs"] == counts[counts == counts.max()].index.max()]
    return chosen


def rung_points(results: pd.DataFrame) -> pd.DataFrame:
    """One row per network and rung with a result: role, candidate, name, epochs, accuracy, low, high, seeds."""
    done = done_trials(results)
    rows = [_pool(trials) for _, trials in done.groupby(["role", "candidate", "epochs"], sort=True)]
    columns = ("role", "candidate", "name", "epochs", "accuracy", "low", "high", "seeds")
    return pd.DataFrame(rows, columns=list(columns))


def _front(summary: pd.DataFrame) -> list[bool]:
    """Who is on the Pareto front of FLOPs and accuracy, among those trained longest; equals are all on it."""
    longest = summary["epochs"].max()
    rows = summary.to_dict("records")
    points = [(row["macs"], row["accuracy"], row["epochs"] == longest) for row in rows]
    return [
        trained and not any(
            other and cost <= macs and high >= accuracy and (cost, high) != (macs, accuracy)
            for cost, high, other in points
        )
        for macs, accuracy, trained in points
    ]  # fmt: skip


def _pool(trials: pd.DataFrame) -> dict[str, object]:
    """One network's trials as one row.

    The seeds share their validation images, so the binomial error pooled over seeds can be too small; the error
    between seeds is taken where that is larger. Wilson's width keeps the error above 0 at accuracies of 0 and 1.
    """
    correct, images, seeds = int(trials["correct"].sum()), int(trials["images"].sum()), len(trials)
    accuracy, score = correct / images, float(trials["score"].mean())
    low, high = wilson_interval(correct, images)
    low, high = min(low, accuracy), max(high, accuracy)  # equal at 0 and 1, but for the last binary digit
    spread = float(trials["top1"].std(ddof=1)) if seeds > 1 else math.nan
    error = max((high - low) / 2 / LEVEL_95, spread / math.sqrt(seeds) if seeds > 1 else 0.0)
    # A score is an accuracy times a factor of the cost alone, which is known exactly.
    factor = float(trials["score"].sum() / trials["top1"].sum()) if trials["top1"].sum() > 0 else 1.0
    return {
        **{name: trials[name].iloc[0] for name in NETWORK_COLUMNS},
        "seeds": seeds, "correct": correct, "images": images, "accuracy": accuracy, "low": low, "high": high,
        "seed_spread": spread, "standard_error": error, "score": score, "score_error": error * factor,
    }  # fmt: skip
