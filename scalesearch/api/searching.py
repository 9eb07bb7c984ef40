"""A search from what was asked to what was found. Commands say what goes on; these functions only do it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Literal

from scalesearch.api.result import SearchResult, read_result
from scalesearch.data.cache import cores
from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.design.budget import RESOLUTION_SLACK
from scalesearch.design.candidates import Enumeration
from scalesearch.design.cost import cost
from scalesearch.design.scaling import Rounding, size_baseline
from scalesearch.design.space import Grid, load_space
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.nets.weight_source import open_weights
from scalesearch.running.campaign import RETRIES, Bounds
from scalesearch.running.estimate import Timing, expected_rungs, measure
from scalesearch.running.provenance import run_facts
from scalesearch.running.search import Listener, recorded, search
from scalesearch.running.workers import Kind, Workers
from scalesearch.study.config import TrainConfig, validate
from scalesearch.study.plan import SearchPlan, Trial, Weights, runners
from scalesearch.study.proxy import choose_proxy
from scalesearch.study.race import Race, exhaustive, open_places, usual
from scalesearch.study.row import Row, key
from scalesearch.study.statistics import LEVEL
from scalesearch.training.device import choose_device
from scalesearch.training.memory import require_workers
from scalesearch.training.recipe import BODY_RATIO
from scalesearch.units import show_count

EMA_DECAY = 0.99  # a training is judged in mid-course, where only averaged weights say how good it is


@dataclass(frozen=True)
class SearchOptions:
    """What a search is asked for. None: chosen by the space, the data or the device.

    Args:
        data: a folder of images, a torchvision set such as "cifar10", or "glyphs".
        space: a shipped space or a TOML file.
        target_flops: T, multiply-adds of the baseline.
        weights, source_padding: what every candidate inherits, as for a fine-tuning.
        step, tolerance: of the grid of α, β, γ.
        real_tolerance: share by which real FLOPs may miss 2×, under rounding "budget".
        seeds: full trainings of each candidate in the last rung: 1, with ``exhaustive`` 3.
        exhaustive: every candidate fully with every seed, instead of racing.
        level: how surely the winner set contains the best.
        epochs, proxy_divisor, images: of the proxy: epochs of a full training, what the resolution is divided by,
            training images.
        jobs: trainings at a time: the number of cores; with Ray as many as the cluster takes.
        device: "auto", "cpu", "cuda" or "cuda:1".
        executor: "processes" of this machine, or "ray".
        ray_address: of a cluster; a running one, or a local one that is started, if None.
        cpus_per_trial: cores of each training: what Ray reserves, and on a CPU its threads.
        gpus_per_trial: what Ray reserves.
        storage: postgresql://… that several coordinators share; SQLite in the run's folder if None.
        retries: how often a training is tried again after its worker died.
        skip_broken: leaves unreadable images out.
    """

    data: str = "glyphs"
    space: str = "efficientnet_b0"
    target_flops: float | None = None
    weights: str | None = None
    source_padding: Literal["symmetric", "same"] | None = None
    step: float | None = None
    tolerance: float | None = None
    real_tolerance: float = 0.05
    rounding: Rounding = "budget"
    seeds: int | None = None
    exhaustive: bool = False
    level: float = LEVEL
    epochs: int | None = None
    proxy_divisor: float | None = None
    images: int | None = None
    batch_size: int = 32
    lr: float = 3e-3
    jobs: int | None = None
    device: str = "auto"
    skip_broken: bool = False
    executor: Kind = "processes"
    ray_address: str | None = None
    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0
    storage: str | None = None
    retries: int = RETRIES


@dataclass(frozen=True, eq=False)
class PreparedSearch:
    """A search that could start: its plan, candidates and images, where it is kept, and how it races."""

    asked: SearchOptions
    plan: SearchPlan
    found: Enumeration
    parts: Dataset
    folder: Path
    race: Race
    workers: Workers

    @property
    def side_by_side(self) -> int:
        """Trainings at a time, on this machine where the cluster decides."""
        return self.workers.jobs or max(1, cores() // self.plan.threads)


@dataclass(frozen=True)
class Expected:
    """What is left to train and how long that takes: rows recorded before, trainings by rung if nobody is beaten."""

    before: Sequence[Row]
    rungs: Sequence[Sequence[tuple[Trial, int]]]
    timing: Timing | None
    seconds: float


def prepare_search(asked: SearchOptions, run: Path | None = None) -> PreparedSearch:
    """Opens the data, sizes the baseline, lists the candidates; trains nothing and writes nothing.

    Args:
        run: the folder to keep it in; runs/SPACE-DATA-T if None.

    Raises:
        UserError: an option that cannot be used.
    """
    loaded = load_space(asked.space)
    grid = Grid(
        _within("--step", asked.step, loaded.grid.step),
        _within("--tolerance", asked.tolerance, loaded.grid.tolerance), loaded.grid.maximum,
    )  # fmt: skip
    on_ray = asked.executor == "ray"
    if not on_ray:
        require_workers(asked.jobs or 1)
    place = _device_of_ray(asked) if on_ray else str(choose_device(asked.device))
    gpu = place != "cpu"
    threads = 1 if gpu else max(1, int(asked.cpus_per_trial))
    source = open_data(asked.data, skip_broken=asked.skip_broken)
    baseline = size_baseline(loaded, asked.target_flops, len(source.classes))
    inherits = None if asked.weights is None else _weights(asked.weights, baseline, asked.source_padding)
    if asked.source_padding is not None and inherits is not None:
        baseline = replace(baseline, padding=asked.source_padding)
    available = len(dataset(source, 8).train)
    proxy = choose_proxy(baseline, available, gpu, asked.proxy_divisor, asked.epochs, asked.images)
    train = TrainConfig(
        epochs=proxy.epochs, batch_size=asked.batch_size, lr=asked.lr, warmup_epochs=min(1.0, proxy.epochs / 4),
        ema_decay=EMA_DECAY, body_lr_ratio=1.0 if inherits is None else BODY_RATIO,
    )  # fmt: skip
    validate(train)
    parts = dataset(source, _largest_px(baseline, grid, proxy.resolution_divisor), proxy.images)
    plan = SearchPlan(
        space=loaded.name, baseline=baseline, grid=grid, rounding=asked.rounding,
        real_tolerance=asked.real_tolerance if asked.rounding == "budget" else None,
        target_macs=asked.target_flops or float(cost(baseline).macs), data=source.name, data_digest=parts.digest,
        validation=len(parts.validation), proxy=proxy, train=train, device=place, weights=inherits,
        threads=threads,
    )  # fmt: skip
    race = usual(train.epochs, asked.seeds or (3 if asked.exhaustive else 1), asked.level)
    return PreparedSearch(
        asked, plan, plan.enumerate(), parts, run or _usual_folder(loaded.name, source.name, asked.target_flops),
        exhaustive(race) if asked.exhaustive else race,
        Workers(
            asked.jobs or (None if on_ray else 1 if gpu else max(1, cores() // threads)), asked.executor,
            asked.cpus_per_trial, asked.gpus_per_trial, asked.ray_address, asked.retries,
        ),
    )  # fmt: skip


def expect(prepared: PreparedSearch) -> Expected:
    """Times a few steps, as many side by side as will run, and adds up what is left. Raises UserError where the
    folder holds another search."""
    plan, parts = prepared.plan, prepared.parts
    before = recorded(prepared.folder, plan, prepared.asked.storage)
    known: Mapping[tuple[int, int, int], None] = {key(row): None for row in before}
    rungs = expected_rungs(prepared.race, plan, runners(plan, prepared.found.candidates), known)
    pending = [one for rung in rungs for one, _ in rung]
    elsewhere = prepared.workers.kind == "ray" and plan.device != "cpu"  # this machine may have no GPU to measure
    if not pending or elsewhere:
        return Expected(before, rungs, None, 0.0)
    timing = measure(pending, len(parts.train), len(parts.validation), prepared.side_by_side, plan.device, plan.threads)
    return Expected(before, rungs, timing, timing.total(rungs))


def run_search(
    prepared: PreparedSearch,
    listener: Listener,
    seconds: float | None = None,
    trainings: int | None = None,
    timing: Timing | None = None,
) -> SearchResult:
    """Trains what the race wants; run again, it continues.

    Args:
        seconds: wall time: what the race leaves of it goes to open places.
        trainings: begun at most.
        timing: of ``expect``, so that nothing is begun that would not end in time.

    Raises:
        UserError: the folder is in use or holds another search, or nothing could be trained.
    """
    plan, race = prepared.plan, prepared.race
    races = (race, open_places(race)) if seconds is not None and not prepared.asked.exhaustive else (race,)
    facts = run_facts(prepared.found, prepared.parts, plan.device, prepared.asked.data)
    bounds = Bounds(seconds, trainings, lambda one: timing.training(one, one.until) if timing else 0.0)
    rows = search(
        prepared.folder, plan, prepared.found.candidates, prepared.parts, facts, prepared.workers, listener, races,
        bounds, prepared.asked.storage,
    )  # fmt: skip
    return read_result(prepared.folder, rows)


def _device_of_ray(asked: SearchOptions) -> str:
    """What Ray gives a worker: the GPUs asked for, which it numbers from 0, or none.

    Raises UserError for a device that this does not give.
    """
    kind = "cuda" if asked.gpus_per_trial > 0 else "cpu"
    if asked.device not in ("auto", kind):
        expected = "cuda with --gpus-per-trial above 0, else cpu; Ray chooses which"
        raise UserError("--device", asked.device, expected, "Leave it out.")
    return "cuda:0" if kind == "cuda" else "cpu"


def _usual_folder(space: str, data: str, target_flops: float | None) -> Path:
    """runs/mbconv_small-glyphs-3M: the size as people write it, "own" for the space's."""
    return Path("runs") / f"{space}-{data}-{show_count(target_flops, digits=6) if target_flops else 'own'}"


def _weights(named: str, baseline: NetSpec, padding: str | None) -> Weights:
    """Opened once here, so that mistakes are said before anything is trained; a file's path is made absolute."""
    found = open_weights(named, baseline, padding)
    path = Path(found.name)
    return Weights(str(path.resolve()) if path.exists() else found.name, padding, found.digest)


def _within(option: str, value: float | None, default: float) -> float:
    if value is None:
        return default
    if not 0.001 <= value <= 1:
        raise UserError(option, f"{value:g}", "a number from 0.001 to 1")
    return value


def _largest_px(baseline: NetSpec, grid: Grid, divisor: float) -> int:
    """The largest side that a candidate can be trained at: γ at most, and the budget's slack."""
    gamma = min(grid.maximum, sqrt(2 + grid.tolerance))
    return int(baseline.resolution * gamma * (1 + RESOLUTION_SLACK) / divisor + 0.5)
