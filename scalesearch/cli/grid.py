"""The search command."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scalesearch.cli.design import JsonOption
from scalesearch.cli.options import BODY_RATIO, PaddingOption
from scalesearch.errors import UserError

if TYPE_CHECKING:
    from scalesearch.data.dataset import Dataset
    from scalesearch.design.candidates import Enumeration
    from scalesearch.design.spec import NetSpec
    from scalesearch.search.plan import SearchPlan, Weights
    from scalesearch.search.race import Race

ASK_ABOVE_SECONDS = 600
LR = 3e-3
BATCH = 32
EMA_DECAY = 0.99  # a training is judged in mid-course, where only averaged weights say how good it is


def grid(
    target_flops: Annotated[
        str | None, typer.Option(help="T: size of the baseline, such as 400M; the space's own size if left out.")
    ] = None,
    space: Annotated[
        str, typer.Option(help="efficientnet_b0, mbconv_small, mobilenet_v2, resnet50, …, or a TOML file.")
    ] = "efficientnet_b0",
    data: Annotated[
        str, typer.Option(help="A folder of images, a torchvision set such as cifar10, or the embedded glyphs.")
    ] = "glyphs",
    weights: Annotated[
        str | None,
        typer.Option(
            help="What every candidate inherits, as for finetune: imagenet, a file, a trained baseline; scratch."
        ),
    ] = None,
    source_padding: PaddingOption = None,
    run: Annotated[Path | None, typer.Option("--run", help="Folder of the run; runs/SPACE-DATA-T if left out.")] = None,
    step: Annotated[float | None, typer.Option(help="Step of α, β, γ; the space's if left out (0.1).")] = None,
    tolerance: Annotated[float | None, typer.Option(help="How far αβ²γ² may be from 2; the space's (0.1).")] = None,
    real_tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="Share by which the real FLOPs may miss 2×, with --rounding budget.")
    ] = 0.05,
    rounding: Annotated[
        Literal["budget", "efficientnet"],
        typer.Option(help="budget: equal real FLOPs. efficientnet: paper-literal, unequal costs."),
    ] = "budget",
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, help="Full trainings of each candidate in the last rung: 1, with --exhaustive 3."
        ),
    ] = None,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Train every candidate fully with every seed, instead of racing.")
    ] = False,
    time_budget: Annotated[
        str | None,
        typer.Option(
            help="Wall time for this call, such as 30m or 2h: what the race leaves of it goes to open places."
        ),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trainings begun by this call at most.")] = None,
    level: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="How surely the winner set contains the best candidate.")
    ] = 0.9,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of a full training; 18 on a CPU, 20 on a GPU.")] = None,
    proxy_divisor: Annotated[
        float | None, typer.Option(help="Resolution is divided by this for training; chosen to be affordable.")
    ] = None,
    images: Annotated[int | None, typer.Option(min=1, help="Training images at most; 4000 on a CPU.")] = None,
    batch_size: Annotated[int, typer.Option(min=2, help="Images a step.")] = BATCH,
    lr: Annotated[float, typer.Option(help="Peak learning rate (AdamW).")] = LR,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Trials at a time, one thread each; the number of cores.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    skip_broken: Annotated[bool, typer.Option("--skip-broken", help="Leave unreadable images out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show candidates and estimate; train none.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start without asking, however long it takes.")] = False,
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
    from dataclasses import replace

    from scalesearch.cli.progress import say
    from scalesearch.cli.units import parse_duration, parse_flops
    from scalesearch.data.cache import cores
    from scalesearch.data.dataset import dataset, open_data
    from scalesearch.design.cost import cost
    from scalesearch.design.sizing import size_baseline
    from scalesearch.design.space import Grid, load_space
    from scalesearch.search.plan import SearchPlan
    from scalesearch.search.proxy import choose_proxy
    from scalesearch.search.race import exhaustive as all_of
    from scalesearch.search.race import open_places, usual
    from scalesearch.training.config import TrainConfig, validate
    from scalesearch.training.device import choose_device

    budget = parse_duration(time_budget, "--time-budget") if time_budget else None
    loaded = load_space(space)
    target = parse_flops(target_flops, "--target-flops") if target_flops else None
    grid_ = Grid(
        _within("--step", step, loaded.grid.step), _within("--tolerance", tolerance, loaded.grid.tolerance),
        loaded.grid.maximum,
    )  # fmt: skip
    place = str(choose_device(device))
    gpu = place != "cpu"
    source = open_data(data, skip_broken=skip_broken)
    baseline = size_baseline(loaded, target, len(source.classes))
    inherits = None if weights is None else _weights(weights, baseline, source_padding)
    if inherits is not None and inherits.padding is not None:
        baseline = replace(baseline, padding=inherits.padding)  # type: ignore[arg-type]  # typer admits no other
    available = len(dataset(source, 8).train)
    proxy = choose_proxy(baseline, available, gpu, proxy_divisor, epochs, images)
    train = TrainConfig(
        epochs=proxy.epochs, batch_size=batch_size, lr=lr, warmup_epochs=min(1.0, proxy.epochs / 4),
        ema_decay=EMA_DECAY, body_lr_ratio=1.0 if inherits is None else BODY_RATIO,
    )  # fmt: skip
    validate(train)
    parts = dataset(source, _largest_px(baseline, grid_, proxy.resolution_divisor), proxy.images)
    plan = SearchPlan(
        space=loaded.name, baseline=baseline, grid=grid_, rounding=rounding,
        real_tolerance=real_tolerance if rounding == "budget" else None,
        target_macs=target or float(cost(baseline).macs), data=source.name, data_digest=parts.digest,
        validation=len(parts.validation), proxy=proxy, train=train, device=place, weights=inherits,
    )  # fmt: skip
    found = plan.enumerate()
    folder = run or Path("runs") / f"{loaded.name}-{source.name}-{target_flops or 'own'}"
    if not json:
        for note in source.notes:
            say(f"Note: {note}")
        _introduce(plan, found)
    race = usual(train.epochs, seeds or (3 if exhaustive else 1), level)
    race = all_of(race) if exhaustive else race
    races = (race, open_places(race)) if budget is not None and not exhaustive else (race,)
    _start(plan, found, parts, data, folder, races, budget, trials, jobs or (1 if gpu else cores()), dry_run, yes, json)


def _weights(named: str, baseline: "NetSpec", padding: str | None) -> "Weights":
    """Opened once here, so that mistakes are said before anything is trained; a file's path is made absolute."""
    from scalesearch.nets.weight_source import open_weights
    from scalesearch.search.plan import Weights

    found = open_weights(named, baseline, padding)
    path = Path(found.name)
    return Weights(str(path.resolve()) if path.exists() else found.name, padding, found.digest)


def _within(option: str, value: float | None, default: float) -> float:
    if value is None:
        return default
    if not 0.001 <= value <= 1:
        raise UserError(option, f"{value:g}", "a number from 0.001 to 1")
    return value


def _largest_px(baseline: "NetSpec", grid: Any, divisor: float) -> int:
    """The largest side that a candidate can be trained at: γ at most, and the budget's slack."""
    from math import sqrt

    from scalesearch.design.budget import RESOLUTION_SLACK

    gamma = min(grid.maximum, sqrt(2 + grid.tolerance))
    return int(baseline.resolution * gamma * (1 + RESOLUTION_SLACK) / divisor + 0.5)


def _introduce(plan: "SearchPlan", found: "Enumeration") -> None:
    """What will be searched: the baseline, the candidates and their costs, the proxy."""
    from collections import Counter

    from scalesearch.cli.progress import say
    from scalesearch.cli.units import show_count
    from scalesearch.design.cost import cost

    baseline = plan.baseline
    sizes = cost(baseline)
    say(
        f"Baseline {plan.space} at {baseline.resolution} px: {show_count(sizes.macs)} FLOPs, "
        f"{show_count(sizes.params)} parameters, {baseline.classes} classes (T = {show_count(plan.target_macs)})"
    )
    ratios = [candidate.real_ratio for candidate in found.candidates]
    near = sum(abs(ratio / 2 - 1) <= 0.05 for ratio in ratios) / len(ratios)
    say(
        f"Grid: {found.nominal} triples with αβ²γ² within {plan.grid.tolerance:g} of 2 are {len(ratios)} distinct "
        f"networks of {min(ratios):.2f}–{max(ratios):.2f} × the baseline's real FLOPs ({near:.0%} within ±5 % of 2×)"
    )
    for reason, count in Counter(item.reason for item in found.dropped).items():
        say(f"Dropped: {count} triples, {reason}")
    if plan.rounding == "efficientnet":
        say("Note: paper-literal rounding compares networks of unequal cost; part of a win may be bought with FLOPs.")
    say(f"Each is trained {plan.proxy.describe(baseline)}; the FLOPs in the score are the full-size network's.")
    if plan.weights is not None:
        say(f"Every network inherits from {plan.weights.name}; the baseline, too.")
    say(f"Selection sees {plan.validation} validation images held out of train, never the test images.")


def _start(
    plan: "SearchPlan", found: "Enumeration", parts: "Dataset", data: str, folder: Path, races: "Sequence[Race]",
    budget: float | None, trainings: int | None, jobs: int, dry_run: bool, yes: bool, json: bool,
) -> None:  # fmt: skip
    """Estimates, asks, runs, concludes."""
    from scalesearch.cli.progress import Bar, TrialProgress, confirm, interruptible
    from scalesearch.search.estimate import expected_rungs, measure
    from scalesearch.search.facts import run_facts
    from scalesearch.search.plan import runners
    from scalesearch.search.race import planned
    from scalesearch.search.run import Bounds, Listener, recorded, search
    from scalesearch.search.study import key

    before = recorded(folder, plan)
    rungs = expected_rungs(races[0], plan, runners(plan, found.candidates), {key(row): None for row in before})
    pending = [one for rung in rungs for one, _ in rung]
    timing = measure(pending, len(parts.train), len(parts.validation), jobs, plan.device) if pending else None
    seconds = timing.total(rungs) if timing else 0.0
    if not json:
        _say_estimate(races[0], rungs, seconds, budget, len(before), jobs, folder)
    if dry_run:
        _print_candidates(found, json)
        return
    confirm(min(seconds, budget or seconds), ASK_ABOVE_SECONDS, yes)
    total = max(planned(races[0], len(found.candidates)), len(before))
    with interruptible(), Bar(total, len(before), quiet=json) as bar:
        progress = TrialProgress(bar, before, plan.baseline.classes, min(seconds, budget or seconds))
        facts = run_facts(found, parts, plan.device, data)
        listener = Listener(bar.reading, progress.finished)
        bounds = Bounds(budget, trainings, lambda one: timing.training(one, one.until) if timing else 0.0)
        rows = search(folder, plan, found.candidates, parts, facts, jobs, listener, races, bounds)
    _conclude(folder, rows, plan.proxy.describe(plan.baseline), json)


def _say_estimate(
    race: "Race", rungs: "Sequence[Sequence[object]]", seconds: float, budget: float | None, before: int, jobs: int,
    folder: Path,
) -> None:  # fmt: skip
    """How much work there is, before it begins."""
    from scalesearch.cli.progress import say
    from scalesearch.cli.units import show_seconds

    stages = ", then ".join(
        f"{len(trials)} of {rung.epochs} epochs" for rung, trials in zip(race.rungs, rungs, strict=True) if trials
    )
    done = f" ({before} done before)" if before else ""
    bound = f", within {show_seconds(budget)}" if budget is not None else ""
    least = ", less if candidates are beaten" if len(race.rungs) > 1 else ""
    say(f"Trainings: {stages or 'none left'}{done}; {jobs} at a time: about {show_seconds(seconds)}{least}{bound}")
    say(f"Folder: {folder}")


def _print_candidates(found: "Enumeration", json: bool) -> None:
    from dataclasses import asdict

    from scalesearch.cli.show import print_json, print_table
    from scalesearch.cli.units import show_count

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


def _conclude(folder: Path, rows: list[dict[str, Any]], proxy: str, json: bool) -> None:
    """The winner set, the recommended member, and what to type next."""
    from dataclasses import asdict

    from scalesearch.cli.progress import say
    from scalesearch.cli.results import print_results
    from scalesearch.cli.show import print_json
    from scalesearch.search.answer import read_answer
    from scalesearch.search.found import read_found

    answer = read_answer(folder)
    if answer is None:
        reason = next((row["reason"] for row in rows if row["reason"]), "none was run")
        raise UserError(str(folder), f"no finished candidate ({reason})", "at least one", "Lower --lr or --batch-size.")
    found = read_found(folder)
    if json:
        c = found.coefficients
        print_json(
            {"run": str(folder), "alpha": c.alpha, "beta": c.beta, "gamma": c.gamma, "winner": found.winner,
             "score": found.score, "top1": found.top1, "done": found.done, "total": found.total,
             "answer": asdict(answer), "rows": rows}
        )  # fmt: skip
        return
    print_results(rows, found, proxy, answer)
    if not answer.complete:
        say("The race is not over: the same command continues it.")
    say("Next: scalesearch family; scalesearch finetune --model b1; scalesearch report; scalesearch verify")
