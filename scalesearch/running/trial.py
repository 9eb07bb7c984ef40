"""One training of a run: done in a worker, returns plain values."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from scalesearch.data.arrays import Images
from scalesearch.data.batches import (
    Augment,
    Batch,
    evaluation_batches,
    steps_per_epoch,
    training_epochs,
)
from scalesearch.data.dataset import Part
from scalesearch.design.spec import TorchvisionSpec
from scalesearch.errors import UserError
from scalesearch.nets.measure import fvcore_count, latency
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.sources import Stated, WeightSource, open_weights
from scalesearch.nets.torchvision_weights import TorchvisionWeights, torchvision_state
from scalesearch.nets.weights import save_network
from scalesearch.running.executor import Beat
from scalesearch.study.plan import Measurement
from scalesearch.study.row import Inheritance, JudgedOn, Training
from scalesearch.training.checkpoint import epochs_begun
from scalesearch.training.device import set_threads
from scalesearch.training.evaluation import Evaluation, evaluate
from scalesearch.training.history import History, Watcher
from scalesearch.training.loop import NonFiniteLoss, Task, fit
from scalesearch.training.memory import TooLittleMemory
from scalesearch.training.model_file import metadata_of
from scalesearch.training.start import Start, published_start, start_of
from scalesearch.training.step import classification_loss

THREADS = 1  # unless asked for more; however many trials run side by side: the same numbers for any --jobs
EVALUATION_BATCH = 256
LATENCY_PASSES = 10


@dataclass(frozen=True)
class Setting:
    """What all trainings of a run have in common; a worker is sent it once. ``data``: as it was given."""

    train: Part
    judged: Mapping[JudgedOn, Part]
    augment: Augment
    device: str
    threads: int = THREADS
    data: str = ""


@dataclass(frozen=True)
class Assignment:
    """A training, where it pauses and goes on from, and the epochs that an earlier result of it covers.

    Args:
        judged_on: the part of the images that it is judged on.
        inherits: file of a smaller network that it starts from, rather than from its ``weights``.
        kept: file that the trained network is kept in.
    """

    trial: Training
    checkpoint: Path | None = None
    since: int = 0
    judged_on: JudgedOn = "validation"
    inherits: Path | None = None
    kept: Path | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """Measurements, and each image's label, prediction (int64), soft score and the prediction's probability (float32,
    see ``evaluation.Evaluation``), and each epoch's training loss, all empty for a failed trial."""

    measurement: Measurement
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    soft: NDArray[np.float32]
    losses: tuple[float, ...] = ()
    probabilities: NDArray[np.float32] | None = None


def run_trial(setting: Setting, job: Assignment, beat: Beat) -> Outcome:
    """Trains one network as far as asked, from where it paused, evaluates and counts it.

    A diverging or unaffordable trial comes back with its reason. Its seconds hold what an interrupted process spent on
    it before. Raises UserError for what is not the trial's fault: a disk that is full, images or weights that are gone.
    """
    began = time.perf_counter()
    set_threads(setting.threads)  # beside a GPU, too, where counting is all that a CPU computes
    count = fvcore_count(job.trial.spec)
    nothing, notes = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)), list[str]()
    try:
        evaluation, history, earlier = _train(setting, job, beat, notes.append)
    # torch raises RuntimeError for much of its own
    except (NonFiniteLoss, FloatingPointError, TooLittleMemory, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        seconds = time.perf_counter() - began
        return Outcome(Measurement(count.macs, count.total, 0, 0, 0.0, seconds, reason), *nothing)
    labels, predictions = evaluation.labels, evaluation.predictions
    correct = int((labels == predictions).sum())
    seconds = time.perf_counter() - began + earlier
    full = job.trial.until == job.trial.train.epochs  # who is trained to the end may be recommended
    passes = latency(job.trial.spec, 1, torch.device(setting.device), LATENCY_PASSES) if full else None
    measurement = Measurement(
        count.macs, count.total, correct, len(labels), history[-1].train_loss, seconds, note=notes[-1] if notes else "",
        latency_ms=1e3 * passes.least_seconds if passes else None,  # other trainings run beside it
    )  # fmt: skip
    losses = tuple(record.train_loss for record in history)
    return Outcome(measurement, labels, predictions, evaluation.soft, losses, evaluation.probabilities)


def _train(
    setting: Setting, job: Assignment, beat: Beat, note: Callable[[str], None]
) -> tuple[Evaluation, History, float]:
    """The evaluation, the record of each epoch, and the seconds of training that an interrupted process had done.

    Raises NonFiniteLoss, and FloatingPointError where the trained network's outputs are not finite.
    """
    config, spec, device = job.trial.train, job.trial.trained, torch.device(setting.device)
    arrays, images = setting.train.at(spec.resolution), setting.judged[job.judged_on].at(spec.resolution)
    checkpoint = job.checkpoint
    if checkpoint is not None and epochs_begun(checkpoint) > job.trial.until:
        checkpoint = None  # of a search that went further at once: it cannot say how things stood before
    start = _start(setting, job, arrays, device, paused=checkpoint is not None and checkpoint.exists())
    network, statistics = start.network, start.statistics
    epochs, steps = training_epochs(
        arrays, config.batch_size, seed=config.seed, augment=setting.augment, statistics=statistics, device=device
    )
    task = Task(epochs, steps, classification_loss(config), rest=epochs)
    watcher = Watcher(step=lambda *_: beat(), note=note)
    began = time.perf_counter()
    history = fit(network, task, config, device, watcher=watcher, checkpoint=checkpoint, until=job.trial.until)
    earlier = sum(record.seconds for record in history[job.since :]) - (time.perf_counter() - began)
    batches = evaluation_batches(images, EVALUATION_BATCH, statistics=statistics, device=device)
    evaluation = evaluate(network, _with_beats(batches, beat), precision=config.precision)
    if not np.isfinite(evaluation.soft).all():
        raise FloatingPointError(f"outputs after epoch {len(history)} are not finite; a smaller --lr may help")
    if job.kept is not None and isinstance(network, MBConvNet):
        save_network(job.kept, network, metadata_of(statistics, setting.data), setting.train.source.classes)
    return evaluation, history, max(0.0, earlier)


def _with_beats(batches: Iterable[Batch], beat: Beat) -> Iterator[Batch]:
    for batch in batches:
        beat()
        yield batch


def _start(setting: Setting, job: Assignment, arrays: Images, device: torch.device, paused: bool) -> Start[nn.Module]:
    """The network that is trained: from scratch, or inheriting; a paused one only needs its shape.

    Raises UserError where the weights are not those that the run began with, or the smaller network's are gone.
    """
    weights, spec, config = job.trial.weights, job.trial.trained, job.trial.train
    steps, classes = steps_per_epoch(len(arrays), config.batch_size), setting.train.source.classes
    if isinstance(spec, TorchvisionSpec):
        published = None if weights is None else torchvision_state(spec, weights.name)
        _require_same(published, weights)
        return published_start(spec, published, arrays, classes, config, steps)
    if job.inherits is not None:
        if not job.inherits.exists():
            gone = f"it is gone, and {job.trial.name} inherits from it."
            raise UserError(str(job.inherits), gone, do="Bring it back, or train the families anew in another folder.")
        weights = Inheritance(str(job.inherits), None, "")
    stated = Stated() if weights is None else Stated(weights.padding, weights.eps, weights.network)
    source = None if weights is None else open_weights(weights.name, spec, stated)
    _require_same(source, weights)
    return start_of(spec, source, arrays, classes, config, steps, device, repair=not paused)


def _require_same(source: WeightSource | TorchvisionWeights | None, weights: Inheritance | None) -> None:
    """Raises UserError where weights are not those that the run began with."""
    if source is not None and weights is not None and weights.digest not in ("", source.digest):
        changed = f"the tensors (digest {source.digest}) are not those that the run began with ({weights.digest})."
        raise UserError(weights.name, changed, do="Bring them back.")
