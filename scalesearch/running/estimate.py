"""How long a search will take, from short measurements on this machine, made as the search itself will run."""

import hashlib
import heapq
import json
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import mean, median

import numpy as np
import torch

from scalesearch.data.batches import steps_per_epoch
from scalesearch.data.places import timings_folder
from scalesearch.design.cost import cost
from scalesearch.design.spec import Architecture
from scalesearch.files import recalled, remember
from scalesearch.nets.measure import fvcore_count
from scalesearch.nets.torchvision_net import network_of
from scalesearch.running.executor import Beat, Executor, Here, mapped
from scalesearch.running.processes import Processes
from scalesearch.running.provenance import hardware, versions
from scalesearch.study.config import TrainConfig
from scalesearch.study.plan import SearchPlan, Trial, trial
from scalesearch.study.row import AnyRow, Key, Training
from scalesearch.training.device import threads_for
from scalesearch.training.probes import seconds_per_step

Times = tuple[list[float], float, float]  # seconds of a step of each network, of a training besides, of all together
STEPS = 8
ESTIMATED = 0.1  # how much of the whole has to end before that counts as much as the estimate
TIMING_FORMAT = 1
EVALUATION = 0.35  # an image judged costs about a third of one trained on


@dataclass(frozen=True)
class Timing:
    """Seconds of the parts of a search, with as many trainings side by side as it will have.

    Args:
        start: before the first training, once: of the worker processes, and of images that have to be read.
        fixed: of a training besides its steps (building, counting, on a GPU the first step).
        points: (multiply-adds, seconds of a step) of the networks measured, cheapest first.
        images, validation: of each training and of each evaluation; ``batch_size``: of a step.
    """

    start: float
    fixed: float
    points: tuple[tuple[int, float], ...]
    images: int
    validation: int
    batch_size: int
    jobs: int

    def __post_init__(self) -> None:
        if not self.points or min(self.start, self.fixed, *(seconds for _, seconds in self.points)) < 0:
            raise ValueError(f"a start of {self.start:g} s, {self.fixed:g} s of a training, steps {self.points}")

    def training(self, macs: int, epochs: int) -> float:
        """Of ``epochs`` more epochs of a network, and an evaluation."""
        evaluation = EVALUATION * self.validation / self.batch_size
        return self.fixed + self._step(macs) * (epochs * steps_per_epoch(self.images, self.batch_size) + evaluation)

    def total(self, rungs: Iterable[Sequence[tuple[Training, int]]]) -> float:
        """Wall seconds of trainings with their epochs, rung after rung; workers share a rung evenly."""
        seconds = [
            self._rung([self.training(cost(one.trained).macs, epochs) for one, epochs in rung])
            for rung in rungs
            if rung
        ]
        return self.start * bool(seconds) + sum(seconds)

    def ends(self, rungs: Iterable[Sequence[tuple[Training, int]]]) -> list[float]:
        """When each training will have ended, in seconds after the first is begun, if each worker takes the next that
        waits; a rung waits for the one before."""
        ends, begun = list[float](), self.start
        for rung in rungs:
            free = [begun] * self.jobs
            for one, epochs in rung:
                first = heapq.heappop(free) + self.training(cost(one.trained).macs, epochs)
                heapq.heappush(free, first)
                ends.append(first)
            begun = max(ends, default=begun)
        return sorted(ends)

    def _rung(self, seconds: Sequence[float]) -> float:
        """The last training of a rung ends half a training after an even share, on average."""
        workers = min(self.jobs, len(seconds))
        uneven = mean(seconds) / 2 if len(seconds) % workers else 0.0
        return sum(seconds) / workers + uneven

    def _step(self, macs: int) -> float:
        """By straight lines between the points, level beyond them on the cheap side."""
        (low, seconds), *rest = self.points
        for high, later in rest:
            if macs <= high or (high, later) == self.points[-1]:
                slope = (later - seconds) / (high - low) if high > low else 0.0
                return seconds + slope * max(0, macs - low)
            low, seconds = high, later
        return seconds


def measure(
    trials: Sequence[Training], images: int, validation: int, jobs: int, device: str, threads: int = 1
) -> Timing:
    """Times a few steps of the cheapest, the middle and the dearest network, in as many processes as will run.

    Args:
        trials: some of those to come, at least one.
        images, validation: of each training and of each evaluation.
        jobs: trainings at a time.
        device: "cpu" or a GPU's name; on a CPU each training has ``threads``.
    """
    specs = _probed(trials)
    probe = partial(_probe, specs, trials[0].train, device, threads)
    began = time.perf_counter()
    executor: Executor[int, Times] = Here(probe) if jobs == 1 else Processes(probe, jobs)
    times = [result for _, result in mapped(executor, range(jobs))]
    start = 0.0 if jobs == 1 else max(0.0, time.perf_counter() - began - median(total for _, _, total in times))
    steps = [median(one[number] for one, _, _ in times) for number in range(len(specs))]
    points = tuple((cost(spec).macs, step) for spec, step in zip(specs, steps, strict=True))
    fixed = median(seconds for _, seconds, _ in times)
    return Timing(start, fixed, points, images, validation, trials[0].train.batch_size, jobs)


def remembered(
    trials: Sequence[Training], images: int, validation: int, jobs: int, device: str, threads: int, busy: bool
) -> tuple[Timing, bool]:
    """``measure``, or what it found before, of the same networks and settings, on this machine, with these versions;
    and whether it was found before.

    Args:
        busy: whether other work runs; what is measured then is not kept.
    """
    train = {**trials[0].train.settings(), "epochs": 0, "lr": 0, "seed": 0, "warmup_epochs": 0}  # change no step
    deciding = [[spec.digest for spec in _probed(trials)], train, jobs, threads, hardware(device), versions()]
    name = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]
    path = timings_folder() / f"{name}.json"
    if (kept := recalled(Timing, path, "the time of a step", TIMING_FORMAT)) is not None:
        return replace(kept, images=images, validation=validation), True
    timing = measure(trials, images, validation, jobs, device, threads)
    if not busy:
        remember(timing, path, TIMING_FORMAT)
    return timing, False


def _probed(trials: Sequence[Training]) -> tuple[Architecture, ...]:
    """The cheapest, the middle and the dearest of the networks, each once."""
    by_cost = sorted({one.trained.digest: one.trained for one in trials}.values(), key=lambda s: cost(s).macs)
    return tuple(dict.fromkeys((by_cost[0], by_cost[len(by_cost) // 2], by_cost[-1])))


def _probe(
    specs: Sequence[Architecture], train: TrainConfig, device: str, threads: int, _worker: int, _beat: Beat
) -> Times:  # fmt: skip
    """Times networks one after another, in a worker."""
    began, place = time.perf_counter(), torch.device(device)
    steps, fixed = [], []
    with threads_for(place, threads):
        for spec in specs:
            before = time.perf_counter()
            network = network_of(spec, seed=0)
            fvcore_count(spec)
            ready, size = time.perf_counter(), spec.resolution
            steps.append(seconds_per_step(network, size, train.batch_size, place, steps=STEPS, config=train))
            # a GPU's libraries prepare each new layer in its first step, which takes longer than the others together
            first = time.perf_counter() - ready - STEPS * steps[-1] if place.type == "cuda" else 0.0
            fixed.append(ready - before + max(0.0, first))
    return steps, mean(fixed), time.perf_counter() - began


def epochs_left(
    plan: SearchPlan, steps: Iterable[Sequence[Key]], done: Collection[Key]
) -> list[list[tuple[Trial, int]]]:
    """Trainings step by step, each with the epochs that it still has to go, since it goes on from where it paused."""
    candidates = plan.enumerate().candidates
    reached: dict[tuple[int, int], int] = {}
    for n, seed, epochs in done:
        reached[n, seed] = max(epochs, reached.get((n, seed), 0))
    timed: list[list[tuple[Trial, int]]] = []
    for step in steps:
        timed.append([])
        for n, seed, epochs in step:
            timed[-1].append((trial(plan, candidates, (n, seed, epochs)), epochs - reached.get((n, seed), 0)))
            reached[n, seed] = epochs
    return timed


def as_recorded(timing: Timing, rows: Iterable[AnyRow]) -> Timing:
    """A timing that was measured beside other work, no slower than the trainings that ended before in the middle: what
    else runs now need not go on."""
    pace = Pace(timing)
    for row in sorted(rows, key=lambda row: row.key):
        pace.heard(row)
    points = tuple((macs, pace.usual * seconds) for macs, seconds in timing.points)
    return replace(timing, fixed=pace.usual * timing.fixed, points=points)


class Pace:
    """How long trainings take as this machine really goes: the estimate, corrected by those that have ended.

    ``before``: rows of earlier calls, from whose epochs trainings go on.
    """

    def __init__(self, timing: Timing | None, before: Iterable[AnyRow] = ()) -> None:
        self._timing, self._ended = timing, 0
        self._ratios: list[float] = []
        self._reached: dict[tuple[int, int], int] = {}
        for row in sorted(before, key=lambda row: row.key):
            self._reached[row.key[:2]] = row.epochs

    def heard(self, row: AnyRow) -> None:
        """Takes a training in that ended."""
        before = self._reached.get(row.key[:2], 0)
        self._reached[row.key[:2]] = row.epochs
        if self._timing is not None and row.epochs > before:
            self._ended += 1
            if row.status == "done":
                self._ratios.append(row.seconds / self._timing.training(row.trained_macs, row.epochs - before))

    @property
    def usual(self) -> float:
        """How many times the estimate trainings took in the middle; at most 1, and 1 where fewer than two ended."""
        return min(1.0, median(self._ratios)) if len(self._ratios) > 1 else 1.0

    def left(self, rungs: Sequence[Sequence[tuple[Training, int]]], elapsed: float) -> float:
        """Wall seconds of what has not ended of ``rungs``, ``elapsed`` seconds after they were begun: as estimated at
        first, and more and more as those that have ended went."""
        if self._timing is None or not any(rungs):
            return 0.0
        ends = self._timing.ends(rungs)
        whole, reached = ends[-1], ends[min(self._ended, len(ends)) - 1] if self._ended else 0.0
        slowness = (elapsed + ESTIMATED * whole) / (reached + ESTIMATED * whole) if self._ended else 1.0
        return max(0.0, whole - reached) * slowness

    def seconds(self, one: Training) -> float:
        """Of a training, on the slow side: nine of ten are over by then."""
        if self._timing is None:
            return 0.0
        before = self._reached.get(one.key[:2], 0)
        late = float(np.quantile(self._ratios, 0.9)) if self._ratios else 1.0
        return late * self._timing.training(cost(one.trained).macs, max(1, one.until - before))
