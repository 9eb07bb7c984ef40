"""How long a search will take, from two short measurements on this machine."""

from collections.abc import Sequence

import torch

from scalesearch.data.batches import steps_per_epoch
from scalesearch.design.cost import cost
from scalesearch.nets.modules import build
from scalesearch.search.plan import Trial
from scalesearch.search.trial import THREADS
from scalesearch.training.throughput import seconds_per_step

OVERHEAD_SECONDS = 2.0  # of a trial besides its steps: building, fvcore's count, evaluation
SHARING = 1.15  # trials side by side on one machine slow one another down by about this


def estimate_seconds(trials: Sequence[Trial], images: int, validation: int, jobs: int, device: str) -> float:
    """Wall seconds for the trials: time per step of the smallest and the largest, interpolated by FLOPs.

    Args:
        trials: those still to be run.
        images: training images of each.
        validation: images each is judged on, a third of a training step's time apiece.
        jobs: trials at a time.
        device: "cpu" or a GPU's name; on a CPU each trial has one thread.
    """
    if not trials:
        return 0.0
    threads = torch.get_num_threads()
    by_cost = sorted(trials, key=lambda trial: cost(trial.proxy_spec).macs)
    try:
        if device == "cpu":
            torch.set_num_threads(THREADS)
        ends = [_seconds_per_step(trial, device) for trial in (by_cost[0], by_cost[-1])]
    finally:
        torch.set_num_threads(threads)
    low, high = (cost(trial.proxy_spec).macs for trial in (by_cost[0], by_cost[-1]))
    slope = (ends[1] - ends[0]) / (high - low) if high > low else 0.0
    total = 0.0
    for trial in trials:
        step = ends[0] + slope * (cost(trial.proxy_spec).macs - low)
        steps = steps_per_epoch(images, trial.train.batch_size) * trial.train.epochs
        total += step * (steps + validation / trial.train.batch_size / 3) + OVERHEAD_SECONDS
    return total * (SHARING if jobs > 1 else 1.0) / min(jobs, len(trials))


def _seconds_per_step(trial: Trial, device: str) -> float:
    network, size = build(trial.proxy_spec, seed=0), trial.proxy_spec.resolution
    return seconds_per_step(network, size, trial.train.batch_size, torch.device(device), steps=4, config=trial.train)
