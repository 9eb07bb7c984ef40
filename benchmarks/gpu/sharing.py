"""Trainings of small networks that share a card: (c) how many a minute, (m) through MPS, (r) with which batch size and
rate, (d) a truth table of them, (e) whether proxies rank as what they stand for does."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.gpu.sheet import Request, Row, kept_errors
from benchmarks.truth.train import NETWORKS, VARIANTS, Job, jobs_of, networks, train
from scalesearch.data.batches import Augment
from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.design.scaling import size_baseline
from scalesearch.design.space import load_space
from scalesearch.running.executor import Death, Executor, mapped
from scalesearch.running.processes import Processes
from scalesearch.running.trial import Assignment, Outcome, Setting, run_trial
from scalesearch.study.config import TrainConfig
from scalesearch.study.plan import Trial
from scalesearch.training import loop

PX, TARGET, BATCH = 32, 3e6, 128
ROUNDS = 2  # trainings of each worker that are timed, after one that is not
WAYS = (("recorded", 1), ("recorded", 8), ("plain", 1), ("plain", 8), ("recorded", 4), ("recorded", 2), ("plain", 4))
MPS_WAYS = (("recorded", 8), ("plain", 8), ("recorded", 16), ("recorded", 4))
EPOCHS, SEEDS = 4, 2  # of (r)
RATES = ((32, 3e-3), (128, 6e-3), (64, 4.2e-3), (256, 8.5e-3), (512, 1.2e-2), (128, 3e-3), (128, 1.2e-2), (256, 6e-3))
TRUTH_SEEDS, TRUTH_JOBS = 5, 8
PROXY_SEEDS, PROXY_JOBS = 3, 12
PROXIES = ("photos", "family", "full_depth", "pixels")


def prepared(asked: Request) -> Dataset:
    """The images, decoded at the size that is trained on."""
    data = dataset(open_data(asked.data), PX, 300 if asked.tiny else None)
    for part in (data.train, data.validation):
        part.at(PX)
    return data


def trial_of(data: Dataset, config: TrainConfig) -> Assignment:
    """A training of mbconv_small as a search gives it to a worker."""
    spec = replace(size_baseline(load_space("mbconv_small"), TARGET, len(data.classes)), resolution=PX)
    return Assignment(Trial(0, f"t{config.seed}", spec, spec, config, config.epochs))


def setting_of(data: Dataset, asked: Request) -> Setting:
    """What the trials have in common."""
    return Setting(data.train, {"validation": data.validation}, Augment(flip=data.source.flip), str(asked.device))


def run_plainly(setting: Setting, job: Assignment, beat: Callable[[], None]) -> Outcome:
    """``run_trial`` without recorded steps."""
    loop.recordable = lambda training, loss: False  # type: ignore[attr-defined]
    return run_trial(setting, job, beat)


def finished(executor: Executor[Assignment, Outcome], trials: Sequence[Assignment]) -> list[Outcome]:
    """All of them, with the workers left as they are. Raises RuntimeError where one failed."""
    waiting, outcomes = list(reversed(trials)), list[Outcome]()
    while len(outcomes) < len(trials):
        while waiting and executor.free():
            executor.submit(waiting.pop())
        for _, outcome in executor.ended(1.0):
            if not isinstance(outcome, Outcome) or outcome.measurement.reason:
                raise RuntimeError(outcome.measurement.reason if isinstance(outcome, Outcome) else outcome.reason)
            outcomes.append(outcome)
    return outcomes


def sharing(asked: Request, ways: Sequence[tuple[str, int]]) -> Iterator[Row]:
    """A row for each kind of step and number of workers."""
    data = prepared(asked)
    for way, jobs in ways:
        if asked.left < 15 and not asked.tiny:
            yield {"steps": way, "jobs": jobs, "error": "left out: no time"}
            continue
        yield from kept_errors(asked, {"steps": way, "jobs": jobs}, rate(data, asked, way, jobs))


def rate(data: Dataset, asked: Request, way: str, jobs: int) -> Iterator[Row]:
    """Trainings of one epoch from the moment when all workers have done one to that when all are done."""
    config = TrainConfig(epochs=1, batch_size=BATCH, lr=6e-3, warmup_epochs=0.25, ema_decay=0.99)
    count = (ROUNDS * (3 if jobs == 1 else 1) + 1) * jobs
    trials = [trial_of(data, replace(config, seed=seed)) for seed in range(count)]
    run, began = run_trial if way == "recorded" else run_plainly, time.monotonic()
    with closing(Processes(partial(run, setting_of(data, asked)), jobs)) as executor:
        finished(executor, trials[:jobs])
        warm = time.monotonic()
        results = [outcome.measurement for outcome in finished(executor, trials[jobs:])]
        seconds = time.monotonic() - warm
    yield {
        "trials/min": 60 * len(results) / seconds, "s of a trial": median(one.seconds for one in results),
        "s until all are warm": warm - began, "batch": BATCH, "images": len(data.train),
        "top-1": median(one.correct / one.images for one in results),
    }  # fmt: skip


def alone(asked: Request) -> Iterator[Row]:
    """(c) With recorded steps and with plain ones."""
    yield from sharing(asked, WAYS[:1] if asked.tiny else WAYS)


def through_mps(asked: Request) -> Iterator[Row]:
    """(m) The same through NVIDIA's multi-process service."""
    with mps(asked) as served:
        if served:
            yield from sharing(asked, MPS_WAYS)
        else:
            yield {"note": "no multi-process service on this machine"}


def mps_places(out: Path) -> dict[str, str]:
    """Where processes meet the service of this sheet; it is nobody else's."""
    return {"CUDA_MPS_PIPE_DIRECTORY": str(out / "mps"), "CUDA_MPS_LOG_DIRECTORY": str(out / "mps")}


def end_mps(out: Path) -> None:
    """Also where a part that had started it was killed."""
    if (out / "mps" / "control").exists():
        environment = {**os.environ, **mps_places(out)}
        command = ["nvidia-cuda-mps-control"]
        subprocess.run(command, input="quit\n", text=True, check=False, timeout=20, env=environment)


@contextmanager
def mps(asked: Request) -> Iterator[bool]:
    """While that service, where there is one, runs kernels of several processes at the same time."""
    control = shutil.which("nvidia-cuda-mps-control") if asked.device.type == "cuda" else None
    if control is None:
        yield False
        return
    (asked.out / "mps").mkdir(exist_ok=True)
    os.environ |= mps_places(asked.out)
    subprocess.run([control, "-d"], check=True, timeout=10)
    try:
        yield True
    finally:
        end_mps(asked.out)


def rates(asked: Request) -> Iterator[Row]:
    """(r) Validation accuracy of the same epochs at several batch sizes and rates, four sharing the card."""
    data, epochs = prepared(asked), 1 if asked.tiny else EPOCHS
    base = TrainConfig(epochs=epochs, warmup_epochs=min(1.0, epochs / 4), ema_decay=0.99)
    configs = [
        replace(base, batch_size=batch, lr=lr, seed=seed)
        for seed in range(1 if asked.tiny else SEEDS) for batch, lr in (RATES[:1] if asked.tiny else RATES)
    ]  # fmt: skip
    executor = Processes(partial(run_trial, setting_of(data, asked)), 1 if asked.tiny else 4)
    for job, outcome in mapped(executor, [trial_of(data, config) for config in configs]):
        config, one = job.trial.train, outcome.measurement
        yield {
            "batch": config.batch_size, "lr": config.lr, "seed": config.seed, "epochs": epochs,
            "top-1": one.correct / max(1, one.images), "s": one.seconds, "reason": one.reason,
        }  # fmt: skip
        if asked.left < 0:
            return


def truth(asked: Request) -> Iterator[Row]:
    """(d) The truth table of 3M networks on every training image, seed after seed."""
    yield from _table(asked, "small", [("full", seed) for seed in range(TRUTH_SEEDS)], TRUTH_JOBS)


def proxies(asked: Request) -> Iterator[Row]:
    """(e) B0-sized candidates, and those that a search for 400M trains on a CPU instead, seed after seed."""
    yield from _table(asked, "photos", [(name, seed) for seed in range(PROXY_SEEDS) for name in PROXIES], PROXY_JOBS)


def _table(asked: Request, kind: str, rounds: Sequence[tuple[str, int]], workers: int) -> Iterator[Row]:
    """A row for each training of a table that is new; ``rounds``: variants and seeds.

    Made as benchmarks/truth/train.py makes it; the same call continues it, and its ``--pack`` joins what is there into
    the file that benchmarks/truth/regret.py reads.
    """
    source, px, out = open_data(asked.data), NETWORKS[kind].px, asked.out / "truth" / kind
    rows, jobs = networks(len(source.classes), NETWORKS[kind]), list[Job]()
    if asked.tiny:
        rows, rounds, workers = rows[:1], [("short", 0)], 1
    for variant, seed in rounds:
        data = dataset(source, px, VARIANTS[variant].images)
        jobs += jobs_of(rows, variant, [seed], data, asked.data, px, out, str(asked.device))
    began = time.monotonic()
    with mps(asked):  # without it, eight of these small networks wait for each other most of the time
        for job, result in mapped(Processes(train, workers), jobs):
            row = {"variant": job.variant, "network": job.name, "seed": job.seed, "px": job.spec.resolution}
            if isinstance(result, Death):
                yield row | {"error": result.reason}
                continue
            with np.load(job.file) as kept:
                right, seconds = kept["test"] == kept["test_labels"], float(kept["seconds"].sum())
            yield row | {"test top-1": float(right.mean()), "s": seconds, "ended after s": time.monotonic() - began}
            if asked.left < 0:
                return
