"""The search command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scalesearch.cli import complete
from scalesearch.cli.options import (
    DATA,
    MEMORY,
    NETWORK,
    OUTPUT,
    CpusOption,
    ExecutorOption,
    GpusOption,
    JsonOption,
    PaddingOption,
    RayAddressOption,
    RetriesOption,
    StorageOption,
)

if TYPE_CHECKING:
    from scalesearch.api.result import SearchResult
    from scalesearch.api.searching import Expected, PreparedSearch
    from scalesearch.design.candidates import Enumeration

ASK_ABOVE_SECONDS = 600
GRID, RACE = "Grid", "Race and training"


def grid(
    target_flops: Annotated[
        str | None,
        typer.Option(
            help="T: size of the baseline, such as 400M; the space's own size if left out.", rich_help_panel=NETWORK
        ),
    ] = None,
    space: Annotated[
        str,
        typer.Option(
            help="efficientnet_b0, mbconv_small, mobilenet_v2, resnet50, …, or a TOML file.",
            rich_help_panel=NETWORK,
            autocompletion=complete.spaces,
        ),
    ] = "efficientnet_b0",
    data: Annotated[
        str,
        typer.Option(
            help="A folder of images, a torchvision set such as cifar10, or the embedded glyphs.",
            rich_help_panel=DATA,
            autocompletion=complete.data,
        ),
    ] = "glyphs",
    weights: Annotated[
        str | None,
        typer.Option(
            help="What every candidate inherits, as for finetune: imagenet, a file, a trained baseline; scratch.",
            rich_help_panel=NETWORK,
            autocompletion=complete.weights,
        ),
    ] = None,
    source_padding: PaddingOption = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            help="Folder of the run; runs/SPACE-DATA-T if left out.",
            rich_help_panel=OUTPUT,
            autocompletion=complete.runs,
        ),
    ] = None,
    step: Annotated[
        float | None, typer.Option(help="Step of α, β, γ; the space's if left out (0.1).", rich_help_panel=GRID)
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="How far αβ²γ² may be from 2; the space's (0.1).", rich_help_panel=GRID)
    ] = None,
    real_tolerance: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share by which the real FLOPs may miss 2×, with --rounding budget.",
            rich_help_panel=GRID,
        ),
    ] = 0.05,
    rounding: Annotated[
        Literal["budget", "efficientnet"],
        typer.Option(
            help="budget: equal real FLOPs. efficientnet: paper-literal, unequal costs.", rich_help_panel=GRID
        ),
    ] = "budget",
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="Full trainings of each candidate in the last rung: 1, with --exhaustive 3.",
            rich_help_panel=RACE,
        ),
    ] = None,
    exhaustive: Annotated[
        bool,
        typer.Option(
            "--exhaustive", help="Train every candidate fully with every seed, instead of racing.", rich_help_panel=RACE
        ),
    ] = False,
    time_budget: Annotated[
        str | None,
        typer.Option(
            help="Wall time for this call, such as 30m or 2h: what the race leaves of it goes to open places.",
            rich_help_panel=MEMORY,
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trainings begun by this call at most.", rich_help_panel=MEMORY)
    ] = None,
    level: Annotated[
        float,
        typer.Option(
            min=0.5, max=0.999, help="How surely the winner set contains the best candidate.", rich_help_panel=RACE
        ),
    ] = 0.9,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of a full training; 18 on a CPU, 20 on a GPU.", rich_help_panel=RACE)
    ] = None,
    proxy_divisor: Annotated[
        float | None,
        typer.Option(help="Resolution is divided by this for training; chosen to be affordable.", rich_help_panel=RACE),
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Training images at most; 4000 on a CPU.", rich_help_panel=DATA)
    ] = None,
    batch_size: Annotated[int, typer.Option(min=2, help="Images a step.", rich_help_panel=RACE)] = 32,
    lr: Annotated[float, typer.Option(help="Peak learning rate (AdamW).", rich_help_panel=RACE)] = 3e-3,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            help="Trainings at a time; the number of cores, or what the Ray cluster takes.",
            rich_help_panel=MEMORY,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.", rich_help_panel=MEMORY)] = "auto",
    executor: ExecutorOption = "processes",
    ray_address: RayAddressOption = None,
    cpus_per_trial: CpusOption = 1.0,
    gpus_per_trial: GpusOption = 0.0,
    storage: StorageOption = None,
    retries: RetriesOption = 3,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave unreadable images out.", rich_help_panel=DATA)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show candidates and estimate; train none.", rich_help_panel=OUTPUT)
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Start without asking, however long it takes.", rich_help_panel=OUTPUT)
    ] = False,
    json: JsonOption = False,
) -> None:
    """Search α, β, γ by racing the grid's networks.

    All candidates start; the most promising are trained on, and only the beaten are out. The answer is the set of those
    that cannot be told from the best, and one recommended member. Run it again to continue.

    Score = accuracy · (FLOPS / T)^-0.07. T scales all scores alike, so it cannot change the winner: it sizes the
    baseline. Large networks are trained as a proxy (smaller images), said in every table.

    Examples:

      scalesearch grid --space mbconv_small --data path/to/images

      scalesearch grid --target-flops 400M
    """
    from scalesearch.api.searching import SearchOptions, prepare_search
    from scalesearch.units import parse_duration, parse_flops

    budget = parse_duration(time_budget, "--time-budget") if time_budget else None
    asked = SearchOptions(
        data=data, space=space, target_flops=parse_flops(target_flops, "--target-flops") if target_flops else None,
        weights=weights, source_padding=source_padding, step=step, tolerance=tolerance, real_tolerance=real_tolerance,
        rounding=rounding, seeds=seeds, exhaustive=exhaustive, level=level, epochs=epochs, proxy_divisor=proxy_divisor,
        images=images, batch_size=batch_size, lr=lr, jobs=jobs, device=device, skip_broken=skip_broken,
        executor=executor, ray_address=ray_address, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial,
        storage=storage, retries=retries,
    )  # fmt: skip
    prepared = prepare_search(asked, run)
    if not json:
        _introduce(prepared)
    _start(prepared, budget, trials, dry_run, yes, json)


def _introduce(prepared: "PreparedSearch") -> None:
    """What will be searched: the baseline, the candidates and their costs, the proxy."""
    from collections import Counter

    from scalesearch.cli.progress import detail, explain
    from scalesearch.design.cost import cost
    from scalesearch.units import show_count

    plan, found = prepared.plan, prepared.found
    for note in prepared.parts.source.notes:
        explain(f"Note: {note}")
    baseline = plan.baseline
    sizes = cost(baseline)
    explain(
        f"Baseline {plan.space} at {baseline.resolution} px: {show_count(sizes.macs)} FLOPs, "
        f"{show_count(sizes.params)} parameters, {baseline.classes} classes (T = {show_count(plan.target_macs)})"
    )
    ratios = [candidate.real_ratio for candidate in found.candidates]
    near = sum(abs(ratio / 2 - 1) <= 0.05 for ratio in ratios) / len(ratios)
    explain(
        f"Grid: {found.nominal} triples with αβ²γ² within {plan.grid.tolerance:g} of 2 are {len(ratios)} distinct "
        f"networks of {min(ratios):.2f}–{max(ratios):.2f} × the baseline's real FLOPs ({near:.0%} within ±5 % of 2×)"
    )
    for reason, count in Counter(item.reason for item in found.dropped).items():
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


def _start(
    prepared: "PreparedSearch", budget: float | None, trainings: int | None, dry_run: bool, yes: bool, json: bool
) -> None:
    """Estimates, asks, runs, concludes."""
    from scalesearch.api.searching import expect, run_search
    from scalesearch.cli.progress import Bar, TrialProgress, confirm, interruptible
    from scalesearch.running.search import Listener
    from scalesearch.study.race import planned

    expected = expect(prepared)
    if not json:
        _say_estimate(prepared, expected, budget)
    if dry_run:
        _print_candidates(prepared.found, json)
        return
    seconds = min(expected.seconds, budget or expected.seconds)
    confirm(seconds, ASK_ABOVE_SECONDS, yes)
    before, baseline = expected.before, prepared.plan.baseline
    total = max(planned(prepared.race, len(prepared.found.candidates)), len(before))
    with interruptible(), Bar(total, len(before), quiet=json) as bar:
        progress = TrialProgress(bar, before, baseline.classes, seconds)
        listener = Listener(bar.reading, progress.finished, bar.note)
        found = run_search(prepared, listener, budget, trainings, expected.timing)
    _conclude(found, prepared.plan.proxy.describe(baseline), json)


def _say_estimate(prepared: "PreparedSearch", expected: "Expected", budget: float | None) -> None:
    """How much work there is, before it begins."""
    from scalesearch.cli.progress import explain
    from scalesearch.units import show_seconds

    race, before = prepared.race, len(expected.before)
    stages = ", then ".join(
        f"{len(trials)} of {rung.epochs} epochs"
        for rung, trials in zip(race.rungs, expected.rungs, strict=True)
        if trials
    )
    done = f" ({before} done before)" if before else ""
    bound = f", within {show_seconds(budget)}" if budget is not None else ""
    least = ", less if candidates are beaten" if len(race.rungs) > 1 else ""
    many = str(prepared.workers.jobs or "as many as the Ray cluster takes")
    long = f"about {show_seconds(expected.seconds)}" if expected.timing or not stages else "how long is not known here"
    if prepared.workers.jobs is None and expected.timing:
        long += f" on this machine alone ({prepared.side_by_side} at a time)"
    explain(f"Trainings: {stages or 'none left'}{done}; {many} at a time: {long}{least}{bound}")
    explain(f"Folder: {prepared.folder}")


def _print_candidates(found: "Enumeration", json: bool) -> None:
    from dataclasses import asdict

    from scalesearch.cli.show import print_json, print_table
    from scalesearch.units import show_count

    if json:
        print_json([asdict(candidate) for candidate in found.candidates])
        return
    print_table(
        "Candidates",
        ("name", "α", "β", "γ", "αβ²γ²", "real ×", "FLOPs", "px", "triples α/β/γ"),
        [
            [f"c{c.index:03d}", f"{c.coefficients.alpha:g}", f"{c.coefficients.beta:g}", f"{c.coefficients.gamma:g}",
             f"{c.nominal_ratio:.2f}", f"{c.real_ratio:.3f}", show_count(c.macs), str(c.spec.resolution),
             " ".join(f"{t.alpha:g}/{t.beta:g}/{t.gamma:g}" for t in c.triples)]
            for c in found.candidates
        ],
    )  # fmt: skip


def _conclude(found: "SearchResult", trained: str, json: bool) -> None:
    """The winner set, the recommended member, and what to type next."""
    from scalesearch.cli.progress import explain, say
    from scalesearch.cli.results import print_results
    from scalesearch.cli.show import print_json

    if json:
        print_json(found.to_dict())
        return
    print_results(list(found.rows), found.found, trained, found.answer)
    if not found.answer.complete:
        say("The race is not over: the same command continues it.")
    explain("Next: scalesearch family; scalesearch finetune --model b1; scalesearch report; scalesearch verify")
