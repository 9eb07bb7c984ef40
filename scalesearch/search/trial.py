"""Training one candidate as its proxy: runs in a worker, returns plain values."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from scalesearch.data.arrays import ImageArrays
from scalesearch.data.batches import Augment, evaluation_batches, steps_per_epoch, training_epochs
from scalesearch.data.dataset import Part
from scalesearch.errors import UserError
from scalesearch.nets.count import fvcore_count
from scalesearch.nets.weight_source import open_weights
from scalesearch.search.plan import Measured, Trial
from scalesearch.training.device import set_threads
from scalesearch.training.evaluate import Evaluation, evaluate
from scalesearch.training.loop import fit
from scalesearch.training.loss import classification_loss
from scalesearch.training.starting import Start, from_scratch, from_source, settled

THREADS = 1  # one per trial, however many trials run beside it: the same numbers for any --jobs
EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Assignment:
    """A trial with what a worker needs to run it; ``checkpoint`` is where its training pauses and goes on from."""

    trial: Trial
    train: Part
    validation: Part
    augment: Augment
    device: str
    checkpoint: Path | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """Measurements, and each validation image's label and prediction (int64, empty for a failed trial)."""

    measured: Measured
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]


def run_trial(job: Assignment) -> Outcome:
    """Trains one candidate as far as asked, from where it paused, evaluates and counts it.

    A diverging or unaffordable trial comes back with its reason.
    """
    began = time.perf_counter()
    if job.device == "cpu":
        set_threads(THREADS)
    count = fvcore_count(job.trial.spec)
    nothing = np.zeros(0, np.int64)
    try:
        found, loss = _train(job)
    except (UserError, RuntimeError) as error:  # divergence, GPU memory; torch reports CPU memory as RuntimeError
        reason = str(error).splitlines()[0]
        seconds = time.perf_counter() - began
        return Outcome(Measured(count.macs, count.total, 0, 0, 0.0, seconds, reason), nothing, nothing)
    correct = int((found.labels == found.predictions).sum())
    seconds = time.perf_counter() - began
    measured = Measured(count.macs, count.total, correct, len(found.labels), loss, seconds)
    return Outcome(measured, found.labels, found.predictions)


def _train(job: Assignment) -> tuple[Evaluation, float]:
    config, spec, device = job.trial.train, job.trial.proxy_spec, torch.device(job.device)
    arrays, validation = job.train.at(spec.resolution), job.validation.at(spec.resolution)
    start = _start(job, arrays, device)
    network, statistics = start.network, start.statistics
    epochs, steps = training_epochs(
        arrays, config.batch_size, seed=config.seed, augment=job.augment, statistics=statistics, device=device
    )
    history = fit(
        network, epochs, steps, config, loss=classification_loss(config), device=device, checkpoint=job.checkpoint,
        until=job.trial.until,
    )  # fmt: skip
    batches = evaluation_batches(validation, EVALUATION_BATCH, statistics=statistics, device=device)
    return evaluate(network, batches, precision=config.precision), history[-1].train_loss


def _start(job: Assignment, arrays: ImageArrays, device: torch.device) -> Start:
    """The network that the trial trains: from scratch, or inheriting; a paused one only needs its shape.

    Raises UserError where the weights are not those that the search began with.
    """
    trial = job.trial
    weights, spec, config = trial.weights, trial.proxy_spec, trial.train
    if weights is None:
        return from_scratch(spec, arrays, config.seed)
    source = open_weights(weights.name, spec, weights.padding)
    if source.digest != weights.digest:
        found = f"tensors of digest {source.digest}"
        raise UserError(weights.name, found, f"those that the search began with ({weights.digest})", "Bring them back.")
    steps = config.epochs * steps_per_epoch(len(arrays), config.batch_size)
    paused = job.checkpoint is not None and job.checkpoint.exists()
    return from_source(
        settled(spec, steps), source, arrays, job.train.source.classes, device, seed=config.seed, repair=not paused
    )
