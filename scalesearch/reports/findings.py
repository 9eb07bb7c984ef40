"""A run's results, read once, for every section and figure to draw on."""

from dataclasses import dataclass

import pandas as pd

from scalesearch.design.scaling import Coefficients
from scalesearch.errors import UserError
from scalesearch.reports.facts import RunFacts
from scalesearch.reports.statistics import failed_trials, summarise


@dataclass(frozen=True)
class Findings:
    """What the results say.

    Args:
        results: one row per (candidate, seed, epochs).
        summary: one row per network with a result, those trained longest first, then by score.
        failed: trials without a result.
        best: candidate that leads so far; None while nothing is done.
        recommended: the candidate of the coefficients found; None while the search is not finished.
        finished: candidates with a result.
        broken: candidates without any result, each of their trials failed.
    """

    results: pd.DataFrame
    summary: pd.DataFrame
    failed: pd.DataFrame
    best: int | None
    recommended: int | None
    finished: int
    broken: int


def findings(results: pd.DataFrame, facts: RunFacts) -> Findings:
    """Reads the results. Raises UserError where no candidate carries the coefficients found."""
    members = facts.winners.members if facts.winners else ()
    summary, failed = summarise(results, members), failed_trials(results)
    candidates = summary[summary["role"] == "candidate"]
    lost = failed[(failed["role"] == "candidate") & ~failed["candidate"].isin(candidates["candidate"])]
    return Findings(
        results=results,
        summary=summary,
        failed=failed,
        best=_leader(candidates, facts),
        recommended=_recommended(candidates, facts.coefficients),
        finished=len(candidates),
        broken=int(lost["candidate"].nunique()),
    )


def _leader(candidates: pd.DataFrame, facts: RunFacts) -> int | None:
    """The answer's recommended candidate, where there is an answer; else the first."""
    if candidates.empty:
        return None
    named = candidates[candidates["name"] == (facts.winners.recommended if facts.winners else "")]
    return int((candidates if named.empty else named)["candidate"].iloc[0])


def _recommended(candidates: pd.DataFrame, coefficients: Coefficients | None) -> int | None:
    if coefficients is None:
        return None
    wanted = {"alpha": coefficients.alpha, "beta": coefficients.beta, "gamma": coefficients.gamma}
    match = candidates
    for name, value in wanted.items():
        match = match[(match[name].astype(float) - value).abs() < 1e-6]
    if match.empty:
        raise UserError("coefficients", str(coefficients), "those of a candidate that has a result")
    return int(match["candidate"].iloc[0])


def accuracy_note(found: Findings, facts: RunFacts) -> str:
    """One line for the figures: which training the accuracies come from, at which size."""
    training = facts.training
    if not training.is_proxy:
        return f"accuracy after up to {training.epochs} epochs at full size"
    sides = found.summary["proxy_resolution"]
    px = f"{sides.min():.0f}" if sides.min() == sides.max() else f"{sides.min():.0f}–{sides.max():.0f}"
    return f"accuracy from a proxy at {px} px, up to {training.epochs} epochs; FLOPs of the full-size network"
