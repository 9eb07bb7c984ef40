"""The report's figures: which ones the results allow, what each shows, and what it says to who cannot see it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from scalesearch.reports.axes import Look
from scalesearch.reports.controls_figure import controls_figure
from scalesearch.reports.facts import Curve, RunFacts, Transfer
from scalesearch.reports.family_figure import family_figure
from scalesearch.reports.figures import Mark, accuracy_figure, grid_figure, winner_figure
from scalesearch.reports.findings import Findings, accuracy_note
from scalesearch.reports.learning_figure import has_curves, learning_figure, members_figure
from scalesearch.reports.published import best_published
from scalesearch.reports.statistics import common_rung, rung_points, summarise
from scalesearch.reports.tables import Member, count_text, epochs_text, interval_text, percent
from scalesearch.reports.transfer_figure import transfer_figure


@dataclass(frozen=True)
class Drawing:
    """A figure to be drawn.

    Args:
        name: of its files.
        caption: what it shows, one sentence without a full stop.
        description: what can be seen in it, from the data.
    """

    name: str
    caption: str
    description: str
    draw: Callable[[Look], Figure]


def drawings(found: Findings, facts: RunFacts, family: Sequence[Member]) -> Iterator[Drawing]:
    """The figures that the results allow, in the report's order."""
    mark = mark_of(found)
    note = accuracy_note(found, facts) if len(found.summary) else ""
    winners = facts.winners
    members = winners.members if winners else ()
    star = mark.label if mark else ""
    if len(found.summary):
        yield Drawing(
            "accuracy_flops",
            "Accuracy against FLOPs, with 95 % intervals; the baseline has a FLOPs axis of its own; candidates on the "
            "Pareto front (none trained as long is cheaper and as accurate) are joined and, where there is room, named",
            _describe_accuracy(found.summary, mark),
            lambda look: accuracy_figure(found.summary, mark, note, look),
        )
    if winners is not None and winners.standings:
        yield Drawing(
            "winner_set",
            "The winner set: scores with 95 % intervals, those trained longest first",
            _describe_standings(winners.standings),
            lambda look: winner_figure(found.summary, winners.standings, winners.recommended, note, look, star),
        )
    if winners is not None and winners.comparisons:
        yield Drawing(
            "controls",
            f"Lead of {winners.recommended} over depth, width and resolution alone at equal FLOPs, with 95 % intervals",
            _describe_comparisons(winners.comparisons),
            lambda look: controls_figure(winners.comparisons, winners.recommended, note, look),
        )
    if found.best is not None:
        common = summarise(common_rung(found.results), members)
        yield Drawing(
            "score_grid",
            "Score over the grid of α and β, after as many epochs as most candidates were trained; candidates that "
            "differ in γ alone stand side by side",
            _describe_grid(common),
            lambda look: grid_figure(common, found.failed, mark, note, look),
        )
    points = rung_points(found.results)
    if has_curves(points):
        yield Drawing(
            "learning_curves",
            "Learning curves: accuracy at the rungs, where the race measures it; nothing is known between them",
            _describe_curves(points, mark),
            lambda look: learning_figure(points, frozenset(members), mark, note, look),
        )
    for one in facts.transfers:
        yield _transfer(one)
    if facts.curves:
        yield Drawing(
            "member_curves",
            "Learning curves of the members that were trained, on validation images after every epoch",
            _describe_members(facts.curves),
            lambda look: members_figure(facts.curves, "trained on their own, after the search", look),
        )
    if family:
        yield Drawing(
            "family",
            "The family beside published networks: torchvision's best ImageNet weights of each, B2 at 288 px",
            _describe_family(family, facts.data.name),
            lambda look: family_figure(family, best_published(), facts.data.name, look),
        )


def _transfer(one: Transfer) -> Drawing:
    return Drawing(
        f"transfer_phi{one.phi:g}".replace(".", "_"),
        f"Scores of the same networks at φ = 1 and φ = {one.phi:g}, with 95 % intervals: {one.tau}",
        "; ".join(
            f"{point.name} ({point.kind}{f', {point.control} only' if point.control else ''}): {point.at_one:.3f} and "
            f"{point.at_phi:.3f}"
            for point in one.points
        ),
        lambda look: transfer_figure(one.points, one.phi, one.tau, one.note, look),
    )


def mark_of(found: Findings) -> Mark | None:
    """The candidate to mark in the figures."""
    if found.recommended is not None:
        return Mark(found.recommended, "recommended")
    return Mark(found.best, "best so far") if found.best is not None else None


def _measured(row: Mapping[Any, Any]) -> str:
    return (
        f"{row['name']}: {percent(row['accuracy'])} ({interval_text(row['low'], row['high'])}) at "
        f"{count_text(row['macs'])} FLOPs after {epochs_text(row['epochs'])}"
    )


def _describe_accuracy(summary: pd.DataFrame, mark: Mark | None) -> str:
    candidates = summary[summary["role"] == "candidate"]
    lines = [f"Baseline {_measured(row)}." for row in summary[summary["role"] == "baseline"].to_dict("records")]
    if mark:
        (row,) = candidates[candidates["candidate"] == mark.candidate].to_dict("records")
        lines.append(f"{mark.label.capitalize()} {_measured(row)}.")
    if len(candidates):
        low, high = candidates["accuracy"].min(), candidates["accuracy"].max()
        lines.append(
            f"{len(candidates)} candidates from {count_text(candidates['macs'].min())} to "
            f"{count_text(candidates['macs'].max())} FLOPs reach {percent(low)} to {percent(high)}."
        )
    front = ", ".join(summary.loc[summary["pareto"], "name"])
    return " ".join([*lines, f"On the Pareto front of those trained longest: {front}."])


def _describe_standings(standings: Sequence[Mapping[str, Any]]) -> str:
    words = {"member": "in the set", "undecided": "in the set, undecided", "beaten": "beaten"}
    return "; ".join(
        f"{item['name']} {item['score']:.3f} ({item['low']:.3f} to {item['high']:.3f}) after "
        f"{epochs_text(item['epochs'])}, {words[item['status']]}"
        for item in standings
    )


def _describe_comparisons(comparisons: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(
        f"{item['dimension']} only: lead {item['gap']:+.4f} ({item['low']:+.4f} to {item['high']:+.4f}) after "
        f"{epochs_text(item['epochs'])}, {item['verdict']}"
        for item in comparisons
    )


def _describe_grid(common: pd.DataFrame) -> str:
    candidates = common[common["role"] == "candidate"].sort_values("score", ascending=False)
    best, worst = candidates.iloc[0], candidates.iloc[-1]
    ends = [f"{r['name']} (α {r['alpha']:.3g}, β {r['beta']:.3g}, γ {r['gamma']:.3g})" for r in (best, worst)]
    return (
        f"{len(candidates)} candidates after {epochs_text(int(best['epochs']))}: scores from {worst['score']:.3f} at "
        f"{ends[1]} to {best['score']:.3f} at {ends[0]}."
    )


def _describe_curves(points: pd.DataFrame, mark: Mark | None) -> str:
    lines = []
    for (role, number), rows in points.groupby(["role", "candidate"], sort=True):
        if role == "baseline" or (mark and number == mark.candidate):
            curve = ", ".join(
                f"{percent(row['accuracy'])} after {epochs_text(row['epochs'])}"
                for row in rows.sort_values("epochs").to_dict("records")
            )
            lines.append(f"{rows['name'].iloc[0]}: {curve}.")
    return " ".join([*lines, f"{len(points)} measurements in all."])


def _describe_members(curves: Sequence[Curve]) -> str:
    return "; ".join(
        f"{curve.name} {percent(curve.top1[0])} after {epochs_text(curve.epochs[0])}, {percent(curve.top1[-1])} after "
        f"{epochs_text(curve.epochs[-1])}, at best {percent(max(curve.top1))}"
        for curve in curves
    )


def _describe_family(family: Sequence[Member], data: str) -> str:
    first, last = family[0], family[-1]
    tested = [f"{m['name']} {percent(m['top1'])}" for m in family if m.get("images")]
    return (
        f"{first['name']} to {last['name']}: {count_text(first['macs'])} to {count_text(last['macs'])} FLOPs, "
        f"{count_text(first['params'])} to {count_text(last['params'])} parameters. "
        + (f"Tested on {data}: {', '.join(tested)}." if tested else "No member is tested yet.")
        + " Published networks' accuracies are on ImageNet, on an axis of their own."
    )
