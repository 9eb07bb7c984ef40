"""(c) Trials a minute, one at a time and several sharing the card, (m) through MPS; (r) what larger batches cost."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.gpu.sheet import Request, Row
from benchmarks.gpu.subject import (
    Assignment,
    Dataset,
    Executor,
    Outcome,
    Processes,
    TrainConfig,
    dataset,
    load_space,
    mapped,
    open_data,
    run_plainly,
    run_trial,
    setting_of,
    size_baseline,
    trial_of,
)

PX, TARGET, BATCH = 32, 3e6, 128
ROUNDS = 2  # trainings of each worker that are timed, after one that is not
WAYS = (("recorded", 1), ("recorded", 8), ("plain", 1), ("plain", 8), ("recorded", 4), ("recorded", 2), ("plain", 4))
EPOCHS = 4  # of (r)
RATES = ((32, 3e-3), (128, 6e-3), (64, 4.2e-3), (256, 8.5e-3), (512, 1.2e-2), (128, 3e-3), (128, 1.2e-2), (256, 6e-3))


def prepared(asked: Request) -> Dataset:
    """The images, decoded at the size that is trained on."""
    data = dataset(open_data(asked.data or "glyphs"), PX, 300 if asked.tiny else None)
    for part in (data.train, data.validation):
        part.at(PX)
    return data


def ended(executor: Executor[Assignment, Outcome], trials: Sequence[Assignment]) -> list[tuple[Assignment, Outcome]]:
    """All of them, with the workers left as they are. Raises RuntimeError where one failed."""
    waiting, found = list(reversed(trials)), list[tuple[Assignment, Outcome]]()
    while len(found) < len(trials):
        while waiting and executor.free():
            executor.submit(waiting.pop())
        for job, outcome in executor.ended(1.0):
            if not isinstance(outcome, Outcome) or outcome.measurement.reason:
                raise RuntimeError(getattr(outcome, "reason", "") or outcome.measurement.reason)
            found.append((job, outcome))
    return found


def row(data: Dataset, device: str, way: str, jobs: int, epochs: int = 1) -> Row:
    """Trainings of one epoch from the moment when all workers have done one to that when all are done."""
    spec = replace(size_baseline(load_space("mbconv_small"), TARGET, len(data.classes)), resolution=PX)
    config = TrainConfig(epochs=epochs, batch_size=BATCH, lr=6e-3, warmup_epochs=0.25, ema_decay=0.99)
    trials = [
        trial_of(spec, replace(config, seed=n), f"t{n}") for n in range((ROUNDS * (3 if jobs == 1 else 1) + 1) * jobs)
    ]
    run = run_trial if way == "recorded" else run_plainly
    began = time.monotonic()
    with closing(Processes(partial(run, setting_of(data, device)), jobs)) as executor:
        ended(executor, trials[:jobs])
        warm = time.monotonic()
        found = ended(executor, trials[jobs:])
        seconds = time.monotonic() - warm
    measured = [outcome.measurement for _, outcome in found]
    return {
        "steps": way, "jobs": jobs, "trials/min": 60 * len(found) / seconds,
        "s of a trial": median(one.seconds for one in measured), "s until all are warm": warm - began,
        "batch": BATCH, "images": len(data.train), "top-1": median(one.correct / one.images for one in measured),
    }  # fmt: skip


def tried(data: Dataset, device: str, way: str, jobs: int) -> Row:
    """A row, or what it failed with: the others are of use without it."""
    try:
        return row(data, device, way, jobs)
    except Exception as error:
        return {"steps": way, "jobs": jobs, "note": f"{type(error).__name__}: {error}"[:300]}


def measure(asked: Request) -> Iterator[Row]:
    """One row for each number of workers, with recorded steps and with plain ones."""
    data = prepared(asked)
    for way, jobs in WAYS[:1] if asked.tiny else WAYS:
        if asked.left < 15 and not asked.tiny:
            yield {"steps": way, "jobs": jobs, "note": "left out: no time"}
            continue
        yield tried(data, str(asked.place), way, jobs)


def mps_places(out: Path) -> dict[str, str]:
    """Where processes meet the service of this sheet; it is nobody else's."""
    folder = out.resolve() / "mps"
    folder.mkdir(exist_ok=True)
    return {"CUDA_MPS_PIPE_DIRECTORY": str(folder), "CUDA_MPS_LOG_DIRECTORY": str(folder)}


def end_mps(out: Path) -> None:
    """Also where a part that had started it was killed."""
    if (out / "mps" / "control").exists():
        subprocess.run(
            ["nvidia-cuda-mps-control"], input="quit\n", text=True, check=False, timeout=20,
            env={**os.environ, **mps_places(out)},
        )  # fmt: skip


@contextmanager
def mps(asked: Request) -> Iterator[bool]:
    """While NVIDIA's multi-process service, where there is one, runs kernels of several processes at the same time."""
    control = shutil.which("nvidia-cuda-mps-control") if asked.device == "cuda" else None
    if control is None:
        yield False
        return
    os.environ |= mps_places(asked.out)
    subprocess.run([control, "-d"], check=True, timeout=10)
    try:
        yield True
    finally:
        end_mps(asked.out)


def through_mps(asked: Request) -> Iterator[Row]:
    """(c) with that service."""
    with mps(asked) as served:
        if not served:
            yield {"note": "no multi-process service on this machine"}
            return
        data = prepared(asked)
        for way, jobs in (("recorded", 8), ("plain", 8), ("recorded", 16), ("recorded", 4)):
            if asked.left > 15:
                yield tried(data, str(asked.place), way, jobs)


def rates(asked: Request) -> Iterator[Row]:
    """Validation accuracy of the same epochs at several batch sizes and rates, four sharing the card."""
    data = prepared(asked)
    spec = replace(size_baseline(load_space("mbconv_small"), TARGET, len(data.classes)), resolution=PX)
    epochs = 1 if asked.tiny else EPOCHS
    jobs = [
        trial_of(
            spec,
            TrainConfig(epochs=epochs, batch_size=batch, lr=lr, warmup_epochs=min(1.0, epochs / 4), ema_decay=0.99,
                        seed=seed),
            "",
        )
        for seed in range(1 if asked.tiny else 2) for batch, lr in (RATES[:1] if asked.tiny else RATES)
    ]  # fmt: skip
    executor = Processes(partial(run_trial, setting_of(data, str(asked.place))), 1 if asked.tiny else 4)
    for job, outcome in mapped(executor, jobs):
        config, one = job.trial.train, outcome.measurement
        yield {"batch": config.batch_size, "lr": config.lr, "seed": config.seed, "epochs": epochs,
               "top-1": one.correct / max(1, one.images), "s": one.seconds, "reason": one.reason}  # fmt: skip
        if asked.left < 0:
            return
