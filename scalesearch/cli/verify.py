"""The command that asks whether φ = 1 transfers."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from scalesearch.api.verify import VerifyJob, VerifyOptions, forecast, prepare, run
from scalesearch.cli.commands import Terminal
from scalesearch.cli.shell import Bar, TrialProgress, confirm, explain, interruptible, print_json, say, show
from scalesearch.units import show_seconds

if TYPE_CHECKING:
    from scalesearch.study.verification import ScaledCandidate


def verify(asked: VerifyOptions, terminal: Terminal) -> None:
    """Train winners, beaten ones and controls at φ = 2: do those that won at φ = 1 win again?

    A search assumes it. All are trained on the search's images as the search trained them, at equal real FLOPs. Run it
    again to continue; more --seeds add to what is there.

    Example: scalesearch verify --run runs/mbconv_small-glyphs-own --seeds 3
    """
    from scalesearch.reports import tables, words
    from scalesearch.running.carry_out import Listener

    job = prepare(asked)
    if not terminal.json:
        _introduce(job)
    expected = forecast(job)
    before, seconds = expected.before, min(expected.seconds, job.time_budget or expected.seconds)
    if not terminal.json:
        done = f" ({len(before)} done before)" if before else ""
        left = f"{len(expected.rungs[0])}{done}; {job.side_by_side} at a time: about {show_seconds(seconds)}"
        explain(f"Trainings: {left}")
        explain(f"Folder: {job.folder}")
    if terminal.dry_run:
        _print_networks(job.agenda.networks, terminal.json)
        return
    confirm(seconds, terminal.yes)
    with interruptible(), Bar(len(job.agenda.trials), len(before), quiet=terminal.json) as bar:
        progress = TrialProgress(bar, before, job.record.plan.baseline.classes, seconds)
        verification = run(job, Listener(bar.reading, progress.finished, bar.note), expected)
    if terminal.json:
        print_json({"folder": str(job.folder), **asdict(verification)})
        return
    show(tables.verification(verification))
    for line in words.verification(verification):
        say(line)
    say(f"Figure: {job.folder / 'transfer.png'}")
    explain("Next: scalesearch report, which shows this, too")


def _introduce(job: VerifyJob) -> None:
    """What will be compared with what."""
    from scalesearch.study.record import answered

    plan, (answer, _), phi, epochs = job.record.plan, answered(job.record), job.asked.phi, job.agenda.trials[0].until
    full, before = plan.train.epochs, job.epochs_at_one
    state = "" if answer.complete else ", search unfinished"
    explain(f"Search {job.record.folder} on {plan.data}: {answer.recommended} recommended{state}")
    ratios = [network.ratio for network in job.agenda.networks]
    explain(
        f"{len(ratios)} networks at φ = {phi:g}, {min(ratios):.2f}–{max(ratios):.2f} × the baseline's real FLOPs "
        f"({max(ratios) / min(ratios) - 1:.1%} apart), each trained as in the search: "
        f"{plan.proxy.describe(plan.baseline)}"
    )
    if epochs != full:
        explain(f"Note: {epochs} epochs here, {full} in the search.")
    if before < full:
        say(
            f"WARNING: not all of them were trained fully at φ = 1, so the scores after {before} of {full} epochs are "
            "compared with. The same search with --exhaustive trains them all."
        )
    for dimension in job.left_out:
        explain(f"Note: {dimension} alone cannot be grown as far as φ = {phi:g}; that control is left out.")


def _print_networks(networks: "Sequence[ScaledCandidate]", json: bool) -> None:
    """What would be trained."""
    from scalesearch.reports import tables

    if not json:
        show(tables.scaled(networks))
        return
    print_json(
        [
            {"name": one.spec.name, "control": one.candidate.control, "status": one.status, "ratio": one.ratio,
             "macs": one.macs, "spec": one.spec.to_dict()}
            for one in networks
        ]
    )  # fmt: skip
