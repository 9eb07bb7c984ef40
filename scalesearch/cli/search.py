"""The commands that train many networks: the search, and the question whether φ = 1 transfers."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scalesearch.api.options import SearchOptions, VerifyOptions
from scalesearch.cli.commands import Terminal
from scalesearch.cli.shell import (
    LARGER_BASELINE,
    Bar,
    TrialProgress,
    confirm,
    detail,
    explain,
    explain_next,
    introduce_images,
    of_run,
    print_json,
    say,
    show,
)
from scalesearch.design.cost import cost
from scalesearch.design.measure import FLOPS
from scalesearch.errors import pasted
from scalesearch.units import counted, show_count, show_percent, show_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scalesearch.api.search import Forecast, Job, SearchJob
    from scalesearch.api.verify import VerifyJob
    from scalesearch.design.latency import LatencyTable
    from scalesearch.design.spec import NetSpec
    from scalesearch.running.carry_out import Listener

COARSE = 0.05  # standard error of a difference of two accuracies from which a search tells little
SHOWN = 12  # candidates
STEPS = ("of the baseline", "to order the candidates", "to the end", "with a further seed")


def grid(asked: SearchOptions, terminal: Terminal) -> None:
    """Search α, β, γ by racing the grid's networks.

    The baseline is trained first, then every candidate, the controls and the paper's triple among them; where that
    saves time, short trainings come before and leave the worse half out, these four never. Further seeds go where they
    tell most. The answer is one recommended network, what its choice is expected to lose at most, and the set that
    holds the best. Run it again to continue.

    Score = accuracy · (FLOPS / T)^-0.07. T scales all scores alike, so it cannot change the winner: it sizes the
    baseline. Large networks are trained as a smaller proxy of equal relative cost, said in every table.

    Examples:

      scalesearch grid --space mbconv_small --data path/to/images

      scalesearch grid --target-flops 400M
    """
    from scalesearch.api import search
    from scalesearch.reports import tables, words

    job = search.prepare(asked)
    if not terminal.json:
        _introduce_search(job)
    expected = search.forecast(job)
    if not terminal.json:
        steps = zip(STEPS, expected.rungs, strict=False)
        stages = ", then ".join(f"{len(trials)} {what}" for what, trials in steps if trials)
        say_estimate(job, expected, stages, ", less if the tolerance is met before" if expected.rungs else "")
    if terminal.dry_run:
        candidates = job.enumeration.candidates
        print_json(list(map(asdict, candidates))) if terminal.json else show(tables.enumeration(job.enumeration))
        return
    total = len(expected.before) + sum(map(len, expected.rungs))
    with trainings(job, expected, total, terminal) as listener:
        result = search.run(job, listener, expected)
    if terminal.json:
        print_json(result.to_dict())
        return
    if result.answer.standings:
        show(tables.standings(result.record, most=SHOWN))
    for line in words.answer_lines(result.record):
        say(line)
    if not result.answer.undecided:
        run = of_run(job.folder)
        report = ("report", *run[1:])  # which takes it as an argument
        following = (("family", *run), ("finetune", "--model", "b1", *run), report, ("verify", *run))
        explain_next(*(pasted("scalesearch", *one) for one in following))


def _introduce_search(job: "SearchJob") -> None:
    """What will be searched: the baseline, the candidates and their costs, the proxy."""
    from scalesearch.data.dataset import dataset
    from scalesearch.study.statistics import difference_error

    plan, listed, baseline, sizes = job.plan, job.enumeration, job.plan.baseline, cost(job.plan.baseline)
    proxied = plan.proxy.baseline != plan.baseline
    larger = (
        f"a larger proxy, --proxy-flops; at full size it looks at {baseline.resolution}" if proxied else LARGER_BASELINE
    )
    introduce_images(job.parts, plan.proxy.baseline.resolution, larger=larger)
    explain(
        f"Baseline {plan.space} at {baseline.resolution} px: {show_count(sizes.macs)} FLOPs, "
        f"{show_count(sizes.params)} parameters, {counted(baseline.classes, 'class')}; T, which scores refer to, is "
        f"{plan.measure.show(plan.target_macs)}"
    )
    if plan.measure != FLOPS:
        flops = [candidate.macs / sizes.macs for candidate in listed.candidates]
        explain(
            f"Equal in {plan.measure.noun}, of which the baseline has {plan.measure.show(plan.measure.of(baseline))}; "
            f"in FLOPs the candidates are {min(flops):.2f}–{max(flops):.2f} × the baseline"
        )
    if plan.measure.table is not None:
        _introduce_device(plan.measure.table, [baseline, *(one.spec for one in listed.candidates)])
    ratios = [candidate.proxy_ratio for candidate in listed.candidates]
    near = sum(abs(ratio / 2 - 1) <= 0.05 for ratio in ratios) / len(ratios)
    judged = f"{plan.measure.noun} {'as trained' if plan.measure.at_any_size else 'at full size'}"
    real = "" if plan.measure.table is not None else "real "  # of a latency only a prediction
    explain(
        f"Grid: {listed.nominal} triples with αβ²γ² within {plan.grid.tolerance:g} of 2, the controls and the paper's "
        f"triple are {len(ratios)} distinct networks of {min(ratios):.2f}–{max(ratios):.2f} × the baseline's "
        f"{real}{judged} ({show_percent(near, 0)} within ±5 % of 2×)"
    )
    if all(one.control for one in listed.candidates):
        explain(
            "WARNING: nothing stands between scaling one dimension alone and the paper's triple, so nothing else is "
            "searched. A larger baseline (--target-flops) or a wider --real-tolerance leaves more."
        )
    for reason, count in Counter(item.reason for item in listed.dropped).items():
        explain(f"Dropped: {counted(count, 'triple')}, {reason}")
    if plan.rounding == "efficientnet":
        explain("Note: paper-literal rounding compares networks of unequal cost, which may explain part of a win.")
    explain(f"Each is trained {plan.proxy.describe(baseline)}.")
    if plan.weights is not None:
        explain(f"Every network inherits from {plan.weights.name}; the baseline, too.")
    if job.assumed:
        explain(f"Weights: {job.assumed}")
    explain(
        f"Selection sees {plan.validation} validation images held out of train (a difference of two networks has a "
        f"standard error of about {100 * difference_error(plan.validation):.2g} points by them), never the test images."
    )
    if (error := difference_error(plan.validation)) > COARSE:
        explain(
            f"WARNING: with {counted(plan.validation, 'validation image')} candidates that differ by less than about "
            f"{200 * error:.0f} points cannot be told apart. More images are needed for an answer."
        )
    available = len(dataset(job.parts.source, plan.baseline.resolution).train)
    if plan.proxy.images < available:
        explain(f"Trained on {plan.proxy.images} of the {available} training images; --images takes more.")
    detail(f"Search {plan.digest}: baseline {baseline.digest}, images {plan.data_digest}, device {plan.device}")
    detail(f"Training: {plan.train}")


def _introduce_device(table: "LatencyTable", specs: "Sequence[NetSpec]") -> None:
    """Whose latency it is, how well that is known, and what speaks against it."""
    explain(f"Latency is predicted by a table of {table}; {table.error_words}")
    for warning in table.warnings:
        explain(f"WARNING: {warning}")
    outside = [found for found in map(table.outside, specs) if found]
    if outside:
        many = f"{len(outside)} of {len(specs)} networks ask for more than was measured, so their times are guesses"
        explain(f"WARNING: {many} ({outside[0][0].removesuffix('.')}).")


def say_estimate(job: "Job", expected: "Forecast", trainings: str, least: str = "") -> None:
    """How much work there is, before it begins; ``trainings``: those that are left, in words."""
    from scalesearch.api.search import side_by_side

    done = f" ({len(expected.before)} done before)" if expected.before else ""
    bound = f", within {show_seconds(job.time_budget)}" if job.time_budget is not None else ""
    many = str(job.workers.jobs or "as many as the Ray cluster takes")
    known = expected.timing or not any(expected.rungs)
    long = f"about {show_seconds(expected.seconds)}" if known else "how long is not known here"
    if job.workers.jobs is None and expected.timing:
        long += f" on this machine alone ({side_by_side(job)} at a time)"
    busy = f"; other programs keep this machine busy, so it may be {'more' if expected.known else 'less'}"
    busy = busy if expected.busy else ""
    explain(f"Trainings: {trainings or 'none left'}{done}; {many} at a time: {long}{least}{bound}{busy}")
    explain(f"Takes {job.price}")
    explain(f"Folder: {job.folder}")


@contextmanager
def trainings(
    job: "Job", expected: "Forecast", total: int, terminal: Terminal
) -> Iterator["Listener[Any]"]:  # fmt: skip
    """Asks before a long job, then shows its trainings; ``total`` if no tolerance is met before."""
    from scalesearch.running.carry_out import Listener

    before = expected.before
    confirm(min(expected.seconds, job.time_budget or expected.seconds), terminal.yes)
    with Bar(max(total, len(before)), len(before), quiet=terminal.json) as bar:
        progress = TrialProgress(bar, expected, job.plan.majority, job.time_budget)
        yield Listener(progress.reading, progress.finished, bar.note)


def verify_scaling(asked: VerifyOptions, terminal: Terminal) -> None:
    """Train the recommended network, others and the controls at φ = 2: do those that won at φ = 1 win again?

    A search assumes it. All are trained on the search's images as the search trained them, at equal real FLOPs. Run it
    again to continue; more --seeds add to what is there.

    Example: scalesearch verify --run runs/mbconv_small-glyphs-own --seeds 3
    """
    from scalesearch.api import verify
    from scalesearch.reports import tables, words

    job = verify.prepare(asked)
    if not terminal.json:
        _introduce_verification(job)
    expected = verify.forecast(job)
    if not terminal.json:
        say_estimate(job, expected, str(len(expected.rungs[0]) or ""))
    networks = job.agenda.networks
    if terminal.dry_run:
        values = [
            {"name": one.spec.name, "control": one.candidate.control, "status": one.status, "ratio": one.ratio,
             "macs": one.macs, "spec": one.spec.to_dict()}
            for one in networks
        ]  # fmt: skip
        print_json(values) if terminal.json else show(tables.scaled(networks))
        return
    with trainings(job, expected, len(job.agenda.trials), terminal) as listener:
        verification = verify.run(job, listener, expected)
    if terminal.json:
        print_json({"folder": str(job.folder), **asdict(verification)})
        return
    show(tables.verification(verification))
    for line in words.verification(verification):
        say(line)
    if left := verify.left(job):
        total = len(job.agenda.trials)
        say(f"Not finished: {left} of {total} trainings are still to be run; the same command continues.")
    say(f"Figure: {job.folder / 'transfer.png'}")
    explain(f"Next: {pasted('scalesearch', 'report', *of_run(job.record.folder)[1:])}, which shows this, too")


def _introduce_verification(job: "VerifyJob") -> None:
    """What will be compared with what."""
    from scalesearch.study.record import answered

    plan, (answer, _), phi, epochs = job.plan, answered(job.record), job.asked.phi, job.agenda.trials[0].until
    full, before, ratios = plan.train.epochs, job.epochs_at_one, [network.ratio for network in job.agenda.networks]
    state = "" if answer.complete else ", search unfinished"
    explain(f"Search {job.record.folder} on {plan.data}: {answer.recommended} recommended{state}")
    explain(
        f"{len(ratios)} networks at φ = {phi:g}, {min(ratios):.2f}–{max(ratios):.2f} × the baseline's real FLOPs "
        f"({show_percent(max(ratios) / min(ratios) - 1)} apart), each trained as in the search: "
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
