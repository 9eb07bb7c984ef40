"""(c) Trials a minute, one at a time and several sharing the card, (m) through MPS; (r) what larger batches cost."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from statistics import median

from benchmarks.gpu.sheet import Request, Row
from benchmarks.gpu.subject import (
    Assignment,
    Dataset,
    Outcome,
    Processes,
    TrainConfig,
    dataset,
    load_space,
    mapped,
    open_data,
    run_trial,
    setting_of,
    size_baseline,
    trial_of,
)

JOBS = (1, 8, 4, 2)
PX, TARGET = 32, 3e6
ROUNDS = 1  # trainings of each worker that are timed, after one that is not and before one that is not
EPOCHS = 4  # of (r)
BATCHES = ((32, 3e-3), (128, 3e-3), (128, 6e-3), (256, 6e-3), (256, 1.2e-2), (512, 6e-3), (512, 1.2e-2), (512, 2.4e-2))


def prepared(asked: Request) -> Dataset:
    """The images, decoded at the size that is trained on."""
    data = dataset(open_data(asked.data or "glyphs"), PX, 300 if asked.tiny else None)
    for part in (data.train, data.validation):
        part.at(PX)
    return data


def timed(
    asked: Request, data: Dataset, jobs: int, trials: Sequence[Assignment]
) -> Iterator[tuple[float, Outcome, str]]:
    """When each training ended, in seconds from the start of the workers; what it measured; its name."""
    began = time.monotonic()
    executor = Processes(partial(run_trial, setting_of(data, str(asked.place))), jobs)
    for job, outcome in mapped(executor, trials):
        if outcome.measured.reason:
            raise RuntimeError(outcome.measured.reason)
        yield time.monotonic() - began, outcome, job.trial.name
        if asked.left < 0:
            return


def row(asked: Request, data: Dataset, batch: int, jobs: int) -> Row:
    """The rate between the first training of each worker and the last but one, with one epoch a training."""
    spec = replace(size_baseline(load_space("mbconv_small"), TARGET, len(data.classes)), resolution=PX)
    config = TrainConfig(epochs=1, batch_size=batch, lr=3e-3, warmup_epochs=0.25, ema_decay=0.99)
    many = jobs * ((ROUNDS if jobs > 1 else 2 * ROUNDS) + 2)
    ends = list(timed(asked, data, jobs, [trial_of(spec, replace(config, seed=n), f"t{n}") for n in range(many)]))
    times = [end for end, _, _ in ends]
    return {
        "batch": batch, "jobs": jobs, "trials/min": 60 * (len(ends) - 2 * jobs) / (times[-jobs - 1] - times[jobs - 1]),
        "s of a trial": median(outcome.measured.seconds for _, outcome, _ in ends[jobs:]),
        "s of the first": times[0], "images": len(data.train), "steps": len(data.train) // batch,
        "top-1": median(outcome.measured.correct / outcome.measured.images for _, outcome, _ in ends),
    }  # fmt: skip


def measure(asked: Request) -> Iterator[Row]:
    """One row for each number of workers and batch size."""
    data, cases = prepared(asked), [(128, jobs) for jobs in JOBS] + [(32, 1), (32, 8)]
    for batch, jobs in [(32, 1), (32, 2)] if asked.tiny else cases:
        if asked.left < 18 and not asked.tiny:
            yield {"batch": batch, "jobs": jobs, "note": "left out: no time"}
            continue
        yield row(asked, data, batch, jobs)


def through_mps(asked: Request) -> Iterator[Row]:
    """The same while NVIDIA's multi-process service lets kernels of several processes run at the same time."""
    control = shutil.which("nvidia-cuda-mps-control")
    if control is None or asked.tiny:
        yield {"note": "nvidia-cuda-mps-control is not on this machine" if control is None else "left out"}
        return
    folder = asked.out.resolve() / "mps"
    folder.mkdir(exist_ok=True)
    os.environ |= {"CUDA_MPS_PIPE_DIRECTORY": str(folder), "CUDA_MPS_LOG_DIRECTORY": str(folder)}
    subprocess.run([control, "-d"], check=True, timeout=10)
    try:
        for jobs in (8, 16, 4):
            if asked.left > 15:
                yield row(asked, prepared(asked), 128, jobs)
    finally:
        subprocess.run([control], input="quit\n", text=True, check=False, timeout=20)


def rates(asked: Request) -> Iterator[Row]:
    """Validation accuracy of the same epochs at several batch sizes and rates, eight sharing the card."""
    data = prepared(asked)
    spec = replace(size_baseline(load_space("mbconv_small"), TARGET, len(data.classes)), resolution=PX)
    epochs = 1 if asked.tiny else EPOCHS
    jobs = [
        trial_of(
            spec,
            TrainConfig(epochs=epochs, batch_size=batch, lr=lr, warmup_epochs=min(1.0, epochs / 4), ema_decay=0.99,
                        seed=seed),
            f"{batch} {lr:g} {seed}",
        )
        for seed in range(1 if asked.tiny else 2) for batch, lr in (BATCHES[:1] if asked.tiny else BATCHES)
    ]  # fmt: skip
    for _, outcome, name in timed(asked, data, 1 if asked.tiny else 8, jobs):
        batch, lr, seed = name.split()
        top1 = outcome.measured.correct / outcome.measured.images
        yield {"batch": int(batch), "lr": float(lr), "seed": int(seed), "top-1": top1, "s": outcome.measured.seconds}
