"""The command that asks whether φ = 1 transfers."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from scalesearch.api.verify import FIGURE, VerifyJob, VerifyOptions, forecast, prepare, run
from scalesearch.cli.commands import Terminal
from scalesearch.cli.shell import Bar, TrialProgress, confirm, explain, interruptible, print_json, print_table, say
from scalesearch.units import show_count, show_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scalesearch.running.verify import Network, Verification


def verify(asked: VerifyOptions, terminal: Terminal) -> None:
    """Train winners, beaten ones and controls at φ = 2: do those that won at φ = 1 win again?

    A search assumes it. All are trained on the search's images as the search trained them, at equal real FLOPs. Run it
    again to continue; more --seeds add to what is there.

    Example: scalesearch verify --run runs/mbconv_small-glyphs-own --seeds 3
    """
    from scalesearch.running.search import Listener

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
        _print_networks(job.networks, terminal.json)
        return
    confirm(seconds, terminal.yes)
    with interruptible(), Bar(len(job.trials), len(before), quiet=terminal.json) as bar:
        progress = TrialProgress(bar, before, job.search.plan.baseline.classes, seconds)
        verification = run(job, Listener(bar.reading, progress.finished, bar.note), expected)
    if terminal.json:
        print_json({"folder": str(job.folder), **asdict(verification)})
        return
    _print(verification)
    say(f"Figure: {job.folder / FIGURE}")
    explain("Next: scalesearch report, which shows this, too")


def _introduce(job: VerifyJob) -> None:
    """What will be compared with what."""
    plan, answer, phi, epochs = job.search.plan, job.search.answer, job.asked.phi, job.trials[0].until
    full, before = plan.train.epochs, job.epochs_at_one
    state = "" if answer.complete else ", search unfinished"
    explain(f"Search {job.search.folder} on {plan.data}: {answer.recommended} recommended{state}")
    ratios = [network.ratio for network in job.networks]
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


def _print_networks(networks: "Sequence[Network]", json: bool) -> None:
    """What would be trained."""
    if json:
        print_json(
            [
                {"name": one.spec.name, "control": one.candidate.control, "status": one.status, "ratio": one.ratio,
                 "macs": one.macs, "spec": one.spec.to_dict()}
                for one in networks
            ]
        )  # fmt: skip
        return
    print_table(
        "Networks to train",
        ("name", "φ = 1", "α", "β", "γ", "real ×", "FLOPs", "px"),
        [
            [_label(one.spec.name, one.candidate.control), one.status, f"{c.alpha:g}", f"{c.beta:g}", f"{c.gamma:g}",
             f"{one.ratio:.3f}", show_count(one.macs), str(one.spec.resolution)]
            for one in networks
            for c in (one.candidate.coefficients,)
        ],
    )  # fmt: skip


def _print(v: "Verification") -> None:
    """The networks at both sizes, τ, regret, and what they say."""
    from scalesearch.api.verified import reading, tau_text

    print_table(
        f"Scores on {v.images} validation images with 95 % intervals: after {v.epochs_at_one} epochs at φ = 1, "
        f"{v.epochs} at φ = {v.phi:g}",
        ("name", "φ = 1", "real ×", "score at 1", "interval", "rank", f"score at {v.phi:g}", "interval", "rank"),
        [
            [_label(n.name, n.control), n.status, f"{n.ratio:.2f}",
             f"{n.at_one.value:.4f}", f"{n.at_one.low:.4f}–{n.at_one.high:.4f}", str(n.rank_at_one),
             f"{n.at_phi.value:.4f}", f"{n.at_phi.low:.4f}–{n.at_phi.high:.4f}", str(n.rank_at_phi)]
            for n in sorted(v.networks, key=lambda n: n.rank_at_phi)
        ],
    )  # fmt: skip
    if v.failed:
        say(f"Without a result at φ = {v.phi:g}: {', '.join(v.failed)}")
    say(f"Kendall's τ: {tau_text(v)}")
    if v.regret is not None:
        r = v.regret
        say(
            f"Regret of taking {v.recommended}: {r.value:.4f} in score; {v.networks[r.against].name} minus it "
            f"{r.gap:+.4f}, 95 % interval {r.low:+.4f} to {r.high:+.4f}"
        )
    say(reading(v))


def _label(name: str, control: str) -> str:
    return f"{name} ({control} alone)" if control else name
