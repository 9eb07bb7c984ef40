"""A search: what is asked, what it comes to, the trainings, and the answer."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any, Protocol

import torch

from scalesearch.api.confirm import confirm
from scalesearch.api.options import (
    Budget,
    FamilyOptions,
    SearchOptions,
    Tell,
    VerifyOptions,
    budget_of,
    images_of,
    inherited,
    macs,
    path,
    room,
    seconds,
    stated,
    takes,
)
from scalesearch.api.price import Price, priced
from scalesearch.api.result import SearchResult, searched
from scalesearch.api.tracking import SearchLog
from scalesearch.data.batches import steps_per_epoch
from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.data.keeping import make_room
from scalesearch.data.source import Source
from scalesearch.design.budget import RESOLUTION_SLACK
from scalesearch.design.candidates import Enumeration
from scalesearch.design.scaling import size_baseline
from scalesearch.design.space import Grid, load_space
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.machine import cores, running_elsewhere
from scalesearch.nets.sources import Stated, WeightSource, adopted, open_weights
from scalesearch.nets.torchvision_weights import TorchvisionWeights
from scalesearch.reports.tracking import Destination, destinations
from scalesearch.running.campaign import Bounds
from scalesearch.running.carry_out import Listener
from scalesearch.running.estimate import Pace, Timing, as_recorded, epochs_left, remembered
from scalesearch.running.provenance import run_facts
from scalesearch.running.search import RaceAgenda, recorded, search
from scalesearch.running.workers import Workers, usual_jobs
from scalesearch.study.answer import field
from scalesearch.study.config import TrainConfig, validate
from scalesearch.study.family_plan import FamilyPlan
from scalesearch.study.outcomes import hits
from scalesearch.study.plan import SearchPlan, trial
from scalesearch.study.proxy import choose_proxy
from scalesearch.study.race import ORDER_SEEDS, TOLERANCE, Race, Results, exhaustive, outlook, usual
from scalesearch.study.row import BASELINE, AnyRow, Inheritance, R, Row, Training
from scalesearch.study.statistics import images_for
from scalesearch.training.device import choose_device
from scalesearch.training.memory import (
    WORKER,
    available_memory,
    least_memory,
    require_memory,
    require_workers,
    total_memory,
)
from scalesearch.training.recipe import BODY_RATIO
from scalesearch.units import show_percent

Rungs = Sequence[Sequence[tuple[Training, int]]]  # trainings, each with the epochs that it is trained to
CPU_STEP, GPU_STEP = (32, 4e-3), (128, 6e-3)  # batch size and peak rate; on a GPU four times as few steps for a point
EXHAUSTIVE_SEEDS = 3
BUSY = 0.5  # of the cores: other work that an estimate is to be read with
EMA_DECAY = 0.99  # a training is judged in mid-course, where only averaged weights say how good it is


@dataclass(frozen=True, eq=False)
class SearchJob:
    """A search that could start: its plan, candidates and images, where it is kept, how it races, within what, and what
    it takes."""

    asked: SearchOptions
    plan: SearchPlan
    enumeration: Enumeration
    parts: Dataset
    folder: Path
    race: Race
    workers: Workers
    price: Price
    assumed: str
    time_budget: float | None
    began: float
    logs: tuple[Destination, ...] = ()


@dataclass(frozen=True)
class Forecast:
    """What is left to train and how long that takes: rows recorded before, trainings step by step if no tolerance is
    met before; ``busy`` where other work keeps the machine from what it can do, and ``known`` where the time of a step
    was measured before, without that work."""

    before: Sequence[AnyRow]
    rungs: Rungs
    timing: Timing | None
    seconds: float
    busy: bool = False
    known: bool = False


class Job(Protocol):
    """What trains many networks and could start: a search, a verification, families."""

    @property
    def plan(self) -> SearchPlan | FamilyPlan: ...
    @property
    def parts(self) -> Dataset: ...
    @property
    def workers(self) -> Workers: ...
    @property
    def price(self) -> Price: ...
    @property
    def folder(self) -> Path: ...
    @property
    def time_budget(self) -> float | None: ...
    @property
    def began(self) -> float: ...


@takes(SearchOptions)
def grid(asked: SearchOptions) -> SearchResult:
    """Searches α, β, γ by racing the grid's networks; called again, it continues where it was.

    ``tell`` is told of each training; ``tell=print`` shows progress. Worker processes do not import the calling script.

    Raises:
        UserError: an option that cannot be used, or a folder that holds another search.
    """
    job = prepare(asked)
    return run(job, listener(asked.tell), None if job.time_budget is None else forecast(job))


def listener(tell: Tell | None) -> Listener[Any]:
    """Says a line about each training that ended: its row, how many are done, and of how many."""
    say = tell or (lambda text: None)

    def finished(row: AnyRow, done: int, total: int) -> None:
        say(f"{done}/{total} {outcome(row)}")

    return Listener(lambda done, total: None, finished, say)


def outcome(row: AnyRow) -> str:
    """A training that ended, in words."""
    result = f"failed: {row.reason}" if row.top1 is None else f"accuracy {show_percent(row.top1)}"
    return f"{row.name} seed {row.seed}, {row.epochs} of {row.full_epochs} epochs: {result}"


def prepare(asked: SearchOptions) -> SearchJob:
    """Opens the data, sizes the baseline, lists the candidates; trains nothing and writes nothing.

    Raises:
        UserError: an option that cannot be used.
    """
    began, logs = time.monotonic(), destinations(asked.log)
    time_budget, budget = seconds(asked.time_budget, "--time-budget"), budget_of(asked)
    where, threads = device_of(asked), max(1, int(asked.cpus_per_trial))
    workers = workers_of(asked, where, threads)  # before images are looked at
    source = open_data(images_of(asked), skip_broken=asked.skip_broken, follow_links=asked.follow_links)
    plan, parts, assumed = _plan(asked, source, budget, where)
    race = _race(asked, plan, len(parts.train), time_budget)
    folder = path(asked.run) or usual_folder(plan.space, source.name, budget.size, asked.seed)
    candidates = plan.enumerate().candidates
    trials = [trial(plan, candidates, (number, 0, plan.train.epochs)) for number in range(BASELINE, len(candidates))]
    workers = within_memory(workers, asked.jobs, plan.device, trials)
    trainings = len(trials) * (race.seeds + ORDER_SEEDS * bool(race.order)) + (race.further or 0)
    parts, price = priced(parts, trials, trainings, folder, workers.jobs, room(asked.cache_size))
    return SearchJob(
        asked, plan, plan.enumerate(), parts, folder, race, workers, price, assumed, time_budget, began, logs
    )


def forecast(job: SearchJob) -> Forecast:
    """Times a few steps, as many side by side as will run, and adds up what is left. Raises UserError where the
    folder holds another search."""
    before, results = recorded(job.folder, job.plan, job.asked.storage), Results()
    for one in before:
        results.add(one.row.key, *(hits(one) or (None,)))
    steps = outlook(job.race, field(job.plan, job.enumeration.candidates), results)
    return timed(job, [one.row for one in before], epochs_left(job.plan, steps, list(results)))


def timed(job: Job, before: Sequence[AnyRow], rungs: Rungs, judged: int | None = None) -> Forecast:
    """The forecast of what is left, by timing a few steps; without a time where this machine cannot measure it.

    Args:
        judged: images that each training is judged on; those of validation if None.
    """
    plan, parts, pending = job.plan, job.parts, [one for rung in rungs for one, _ in rung]
    elsewhere = job.workers.kind == "ray" and plan.device != "cpu"  # this machine may have no GPU to measure
    if not pending or elsewhere:
        return Forecast(before, rungs, None, 0.0)
    busy = running_elsewhere() > BUSY * cores()
    images = len(parts.validation) if judged is None else judged
    kept, known = remembered(pending, len(parts.train), images, side_by_side(job), plan.device, plan.threads, busy)
    timing = job.price.on_time(as_recorded(kept, before) if busy else kept, plan.device)
    return Forecast(before, rungs, timing, timing.total(rungs), busy, known)


def side_by_side(job: Job) -> int:
    """Trainings at a time, on this machine where the cluster decides."""
    return job.workers.jobs or usual_jobs("cpu", job.plan.threads)


def bounded(
    job: Job, listener: Listener[R], expected: Forecast | None, trials: int | None = None
) -> tuple[Bounds, Listener[R]]:
    """Within what trainings are begun: none that would not end within the time budget, which began with the call.

    The listener that comes with it corrects the estimate by each training that ends.
    """
    pace = Pace(expected.timing, expected.before) if expected else Pace(None)

    def finished(row: R, done: int, total: int) -> None:
        pace.heard(row)
        listener.finished(row, done, total)

    return Bounds(job.time_budget, trials, pace.seconds, job.began), replace(listener, finished=finished)


def run(job: SearchJob, listener: Listener[Row], expected: Forecast | None = None) -> SearchResult:
    """Trains what the race wants; run again, it continues.

    Args:
        expected: of ``forecast``, so that nothing is begun that would not end within the time budget.

    Raises:
        UserError: the folder is in use or holds another search, or nothing could be trained.
    """
    plan, asked = job.plan, job.asked
    facts = run_facts(job.enumeration, job.parts, plan.device, images_of(asked))
    agenda = RaceAgenda(plan, job.enumeration.candidates, job.race)
    within, told = bounded(job, listener, expected, asked.trials)
    make_room(job.price.keeping)
    log = SearchLog(job, listener.note)
    told = replace(told, results=log.heard)
    search(job.folder, agenda, job.parts, facts, job.workers, told, within, asked.storage)
    if plan.measure.table is not None:
        confirm(job.folder, listener.note)
    result = searched(job.folder)
    log.end(result)
    return result


def workers_of(asked: SearchOptions | VerifyOptions | FamilyOptions, device: str, threads: int) -> Workers:
    """Where trainings run: as many as are asked for, else as many as is usual on the device, or as Ray decides.

    Raises UserError for more than there is memory for.
    """
    jobs = asked.jobs
    if asked.executor == "processes":
        require_workers(jobs or 1)
        jobs = jobs or usual_jobs(device, threads)
    return Workers(
        jobs, asked.executor, asked.cpus_per_trial or threads, asked.gpus_per_trial, asked.ray_address, asked.retries
    )


def within_memory(workers: Workers, asked: int | None, device: str, trials: Iterable[Training]) -> Workers:
    """As many at a time as are asked for, else as many as fit: as half a GPU's memory holds, if each takes twice the
    least that the largest needs, or as many as this machine has memory for.

    Raises:
        UserError: not even one fits, or not as many as are asked for.
    """
    if workers.kind == "ray":
        return workers
    least = max(least_memory(one.trained, one.train) for one in trials)
    if device != "cpu":
        fitting = total_memory(device) // (4 * least)
        return workers if asked else replace(workers, jobs=max(1, min(workers.jobs or 1, fitting)))
    cpu, each = torch.device(device), WORKER + least
    jobs = asked or max(1, min(workers.jobs or 1, available_memory(cpu) // each))
    require_memory(jobs * each, f"--jobs {jobs}", cpu, "Give fewer jobs, a smaller --batch-size, or smaller networks.")
    return replace(workers, jobs=jobs)


def device_of(asked: SearchOptions | FamilyOptions) -> str:
    """What trainings compute on: as asked, or what Ray gives a worker, the GPUs asked for, which it numbers from 0.

    Raises UserError for a device that is not there or that Ray does not give.
    """
    if asked.executor == "processes":
        return str(choose_device(asked.device))
    kind = "cuda" if asked.gpus_per_trial > 0 else "cpu"
    if asked.device not in ("auto", kind):
        problem = f"on Ray, trainings with --gpus-per-trial {asked.gpus_per_trial:g} run on {kind}, not {asked.device}."
        raise UserError("--device", problem, do="Leave it out.")
    return "cuda:0" if kind == "cuda" else "cpu"


def usual_folder(space: str, data: str, size: str, seed: int = 0) -> Path:
    """runs/mbconv_small-glyphs-3M: the size as people write it; -seed1 of a repetition."""
    return Path("runs") / f"{space}-{data}-{size}{f'-seed{seed}' if seed else ''}"


def _plan(
    asked: SearchOptions, source: Source, budget: Budget, where: str
) -> tuple[SearchPlan, Dataset, str]:  # fmt: skip
    """The plan of a search on a device, its images, and what was assumed of its weights."""
    loaded, on_cpu = load_space(asked.space), where == "cpu"
    step = loaded.grid.step if asked.step is None else asked.step
    grid = Grid(step, loaded.grid.tolerance if asked.tolerance is None else asked.tolerance, loaded.grid.maximum)
    baseline = size_baseline(loaded, budget.target, len(source.classes), budget.measure, budget.option)
    baseline, weights, assumed = start_from(asked, baseline)
    available = len(dataset(source, 8).train)
    small = macs(asked.proxy_flops, "--proxy-flops")
    proxy = choose_proxy(baseline, available, not on_cpu, small, asked.proxy, asked.epochs, asked.images)
    batch_size, lr = CPU_STEP if on_cpu else GPU_STEP
    train = TrainConfig(
        epochs=proxy.epochs, batch_size=batch_size if asked.batch_size is None else asked.batch_size,
        lr=lr if asked.lr is None else asked.lr, warmup_epochs=min(1.0, proxy.epochs / 4), ema_decay=EMA_DECAY,
        seed=asked.seed, body_lr_ratio=1.0 if weights is None else BODY_RATIO,
    )  # fmt: skip
    validate(train)
    enough = None if asked.validation_error is None else images_for(asked.validation_error / 100)
    parts = dataset(source, _largest_px(proxy.baseline, grid), proxy.images, enough)
    return SearchPlan(
        space=loaded.name, baseline=baseline, grid=grid, rounding=asked.rounding,
        real_tolerance=asked.real_tolerance if asked.rounding == "budget" else None,
        target_macs=budget.target or float(budget.measure.of(baseline)), data=source.name, data_digest=parts.digest,
        validation=len(parts.validation), majority=parts.majority, proxy=proxy, train=train, device=where,
        weights=weights, threads=max(1, int(asked.cpus_per_trial)) if on_cpu else 1, measure=budget.measure,
        exponent=asked.exponent,
    ), parts, assumed  # fmt: skip


def start_from(asked: SearchOptions | FamilyOptions, baseline: NetSpec) -> tuple[NetSpec, Inheritance | None, str]:
    """The baseline as the weights compute, what it inherits, and what was assumed of that: opened once here, so that
    mistakes are said before anything is trained; a file's path is made absolute."""
    named, said = inherited(asked.weights), stated(asked)
    if named is None:
        return baseline, None, ""
    source = open_weights(named, baseline, said)
    return adopted(baseline, source), inheritance(source, said), source.assumed


def inheritance(source: WeightSource | TorchvisionWeights, said: Stated | None = None) -> Inheritance:
    """Weights that were opened, as a plan names them."""
    file = Path(source.name)
    name = str(file.resolve()) if file.exists() else source.name
    told = said or Stated()
    return Inheritance(name, told.padding, source.digest, told.eps, told.network)


def _largest_px(baseline: NetSpec, grid: Grid) -> int:
    """The largest side that a candidate can be trained at: γ at most, and the budget's slack."""
    gamma = min(grid.maximum, sqrt(2 + grid.tolerance))
    return int(baseline.resolution * gamma * (1 + RESOLUTION_SLACK) + 0.5)


def _race(asked: SearchOptions, plan: SearchPlan, images: int, budget: float | None) -> Race:
    """How trainings are given out: within a time budget as many further ones as fit."""
    candidates = plan.enumerate().candidates
    bound = 0 if asked.exhaustive else len(candidates) // 2
    further = asked.further if asked.further is not None or budget is not None else bound
    until = TOLERANCE if asked.until_loss is None else asked.until_loss / 100
    race = usual(
        plan.train.epochs, steps_per_epoch(images, plan.train.batch_size), len(candidates),
        len(field(plan, candidates).always), asked.seeds or 1, further=further, tolerance=until, level=asked.level,
        ties=asked.ties,
    )  # fmt: skip
    return exhaustive(race, asked.seeds or EXHAUSTIVE_SEEDS) if asked.exhaustive else race
