"""The search command."""

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from scalesearch.api.search import Forecast, SearchJob, SearchOptions, forecast, prepare, run
from scalesearch.cli.commands import Terminal
from scalesearch.cli.shell import (
    Bar,
    TrialProgress,
    confirm,
    detail,
    explain,
    interruptible,
    print_json,
    say,
    show,
)
from scalesearch.design.cost import cost
from scalesearch.units import show_count, show_seconds

if TYPE_CHECKING:
    from scalesearch.api.result import SearchResult
    from scalesearch.design.candidates import Enumeration

SHOWN = 12  # candidates


def grid(asked: SearchOptions, terminal: Terminal) -> None:
    """Search α, β, γ by racing the grid's networks.

    All candidates start; the most promising are trained on, and only the beaten are out. The answer is the set of those
    that are statistically tied with the best, and one recommended member. Run it again to continue.

    Score = accuracy · (FLOPS / T)^-0.07. T scales all scores alike, so it cannot change the winner: it sizes the
    baseline. Large networks are trained as a proxy (smaller images), said in every table.

    Examples:

      scalesearch grid --space mbconv_small --data path/to/images

      scalesearch grid --target-flops 400M
    """
    from scalesearch.running.carry_out import Listener
    from scalesearch.study.race import planned

    job = prepare(asked)
    if not terminal.json:
        _introduce(job)
    expected = forecast(job)
    if not terminal.json:
        _say_estimate(job, expected)
    if terminal.dry_run:
        _print_candidates(job.enumeration, terminal.json)
        return
    seconds = min(expected.seconds, job.time_budget or expected.seconds)
    confirm(seconds, terminal.yes)
    before, baseline = expected.before, job.plan.baseline
    total = max(planned(job.race, len(job.enumeration.candidates)), len(before))
    with interruptible(), Bar(total, len(before), quiet=terminal.json) as bar:
        progress = TrialProgress(bar, before, baseline.classes, seconds)
        result = run(job, Listener(bar.reading, progress.finished, bar.note), expected.timing)
    _conclude(result, terminal.json)


def _introduce(job: SearchJob) -> None:
    """What will be searched: the baseline, the candidates and their costs, the proxy."""
    plan, listed = job.plan, job.enumeration
    for note in job.parts.source.notes:
        explain(f"Note: {note}")
    baseline = plan.baseline
    sizes = cost(baseline)
    explain(
        f"Baseline {plan.space} at {baseline.resolution} px: {show_count(sizes.macs)} FLOPs, "
        f"{show_count(sizes.params)} parameters, {baseline.classes} classes (T = {show_count(plan.target_macs)})"
    )
    ratios = [candidate.real_ratio for candidate in listed.candidates]
    near = sum(abs(ratio / 2 - 1) <= 0.05 for ratio in ratios) / len(ratios)
    explain(
        f"Grid: {listed.nominal} triples with αβ²γ² within {plan.grid.tolerance:g} of 2 are {len(ratios)} distinct "
        f"networks of {min(ratios):.2f}–{max(ratios):.2f} × the baseline's real FLOPs ({near:.0%} within ±5 % of 2×)"
    )
    for reason, count in Counter(item.reason for item in listed.dropped).items():
        explain(f"Dropped: {count} triples, {reason}")
    if plan.rounding == "efficientnet":
        explain(
            "Note: paper-literal rounding compares networks of unequal cost; part of a win may be bought with FLOPs."
        )
    explain(f"Each is trained {plan.proxy.describe(baseline)}; the FLOPs in the score are the full-size network's.")
    if plan.weights is not None:
        explain(f"Every network inherits from {plan.weights.name}; the baseline, too.")
    explain(f"Selection sees {plan.validation} validation images held out of train, never the test images.")
    detail(f"Search {plan.digest}: baseline {baseline.digest}, images {plan.data_digest}, device {plan.device}")
    detail(f"Training: {plan.train}")


def _say_estimate(job: SearchJob, expected: Forecast) -> None:
    """How much work there is, before it begins."""
    race, before = job.race, len(expected.before)
    stages = ", then ".join(
        f"{len(trials)} of {rung.epochs} epochs"
        for rung, trials in zip(race.rungs, expected.rungs, strict=True)
        if trials
    )
    done = f" ({before} done before)" if before else ""
    bound = f", within {show_seconds(job.time_budget)}" if job.time_budget is not None else ""
    least = ", less if candidates are beaten" if len(race.rungs) > 1 else ""
    many = str(job.workers.jobs or "as many as the Ray cluster takes")
    long = f"about {show_seconds(expected.seconds)}" if expected.timing or not stages else "how long is not known here"
    if job.workers.jobs is None and expected.timing:
        long += f" on this machine alone ({job.side_by_side} at a time)"
    explain(f"Trainings: {stages or 'none left'}{done}; {many} at a time: {long}{least}{bound}")
    explain(f"Folder: {job.folder}")


def _print_candidates(enumeration: "Enumeration", json: bool) -> None:
    if json:
        print_json([asdict(candidate) for candidate in enumeration.candidates])
        return
    from scalesearch.reports import tables

    show(tables.enumeration(enumeration))


def _conclude(result: "SearchResult", json: bool) -> None:
    """The winner set, the recommended member, and what to type next."""
    if json:
        print_json(result.to_dict())
        return
    from scalesearch.reports import tables, words

    show(tables.candidates(result.record, most=SHOWN))
    for line in words.answer_lines(result.record):
        say(line)
    explain("Next: scalesearch family; scalesearch finetune --model b1; scalesearch report; scalesearch verify")
