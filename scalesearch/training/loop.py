"""The one training loop, for classification and embeddings: loss, batches and evaluation are passed in."""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from scalesearch.errors import UserError
from scalesearch.study.config import TrainConfig, validate
from scalesearch.training.checkpoint import Keeper, OpenEpoch
from scalesearch.training.device import epoch_seed, random_states, set_random_states
from scalesearch.training.distributed import mean, of_first, ranks, replicated
from scalesearch.training.history import SILENT, EpochRecord, History, Watcher, exhausted, nothing
from scalesearch.training.memory import SMALLEST_PART, Parts
from scalesearch.training.optim import lr_factor, set_lr
from scalesearch.training.recording import RecordedGradients, recordable
from scalesearch.training.sections import freeze, recomputing, trained
from scalesearch.training.step import Loss, Training, gradients, start, update

Batches = Callable[[int], Iterable[tuple[Tensor, Tensor]]]
GPU_CHECK_STEPS = 50


class NonFiniteLoss(UserError):  # noqa: N818 (says what happened)
    """The loss became NaN or infinite; ``epoch`` and ``step`` (within the epoch) count from 0."""

    def __init__(self, epoch: int, step: int, value: float) -> None:
        self.epoch, self.step, self.value = epoch, step, value
        super().__init__(
            f"training, epoch {epoch}, step {step}", f"the loss is {value}, not finite.",
            do="Lower lr, lengthen warmup_epochs, or set clip_grad_norm; with bf16, try precision fp32.",
        )  # fmt: skip

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.epoch, self.step, self.value))


@dataclass(frozen=True)
class Task:
    """What is learnt.

    Args:
        batches: epoch → its batches of images (N, C, H, W) and labels (N, …); a function of the epoch alone.
        steps: how many batches that is, at least 1.
        loss: (outputs in float32, labels) → scalar, the mean over the batch.
        evaluate: called after each epoch with the network, or its average; its numbers are kept in the record.
        rest: (epoch, steps done) → the batches that are left of it; without it those done are drawn, too, and passed
            over, which takes the time of reading them when a training goes on in the middle of a long epoch.
    """

    batches: Batches
    steps: int
    loss: Loss
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None
    rest: Callable[[int, int], Iterable[tuple[Tensor, Tensor]]] | None = None

    def after(self, epoch: int, done: int) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
        """The batches of an epoch after ``done`` steps, with their numbers."""
        if done and self.rest is not None:
            return enumerate(self.rest(epoch, done), done)
        return itertools.islice(enumerate(self.batches(epoch)), done, None)


def fit(
    network: nn.Module, task: Task, config: TrainConfig, device: torch.device, *, watcher: Watcher = SILENT,
    checkpoint: Path | None = None, until: int | None = None,
) -> History:  # fmt: skip
    """Train ``network`` in place; afterwards it holds the averaged weights where ``config.ema_decay`` is set, and those
    of the best epoch where ``config.patience`` is.

    With a checkpoint file the state is kept, first after two seconds and then, between epochs and within them, so
    seldom that it costs under 2 % of the time, and the same call continues from it: on the CPU, with as many threads,
    bit for bit as if it had never stopped. Each epoch draws its randomness from (seed, epoch) alone; torch's own random
    state is as before when this returns. In several processes (see ``distributed``) each is given its share of every
    batch; the first one evaluates and writes.

    Args:
        until: epochs after which to pause, at most ``config.epochs``, whose schedule stays as it is: with a checkpoint
            a later call goes on from there as if nothing had happened. None goes to the end.

    Raises UserError for settings out of range, a checkpoint that does not fit, too little GPU memory, or another
    number of batches than ``task.steps``; NonFiniteLoss when the training diverges.
    """
    validate(config)
    if task.steps < 1:
        raise UserError("training data", "there is no batch.", do="Lower batch_size or bring more images.")
    training = start(network, config, device)
    # where nobody is told, or other processes would wait for other gradients, memory's end is the training's
    most = config.batch_size // SMALLEST_PART if watcher.note and ranks().count == 1 else 0
    parts = Parts(config.accumulate, most, watcher.note)
    run = RecordedGradients(training) if recordable(training, task.loss) else gradients
    keeper = Keeper(checkpoint, training, task.steps)
    watcher.past(keeper.state.history)
    last = min(until or config.epochs, config.epochs)
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        recomputing(network) if config.recompute else nullcontext(),
    ):
        while len(keeper.state.history) < last and not exhausted(keeper.state.history, config.patience):
            epoch = len(keeper.state.history)
            train_loss, seconds = train_epoch(training, task, epoch, parts, watcher.step, keeper, run)
            metrics = of_first(dict(task.evaluate(training.result)) if task.evaluate and ranks().first else {})
            lr = config.lr * factor(config, (epoch + 1) * task.steps - 1, task.steps)
            keeper.epoch(EpochRecord(epoch, mean(train_loss), lr, seconds, metrics), last)
            watcher.epoch(keeper.state.history[-1])
    if keeper.state.best is not None:
        network.load_state_dict(keeper.state.best)
    elif training.average is not None:
        network.load_state_dict(training.average.state_dict())
    return keeper.state.history


def factor(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """The schedule's share of the peak learning rate; ``step`` counts from the start of the run."""
    return lr_factor(step, config.epochs * steps_per_epoch, round(config.warmup_epochs * steps_per_epoch))


def train_epoch(
    training: Training, task: Task, epoch: int, parts: Parts, on_step: Callable[[int, int], None] = nothing,
    keeper: Keeper | None = None, run: Callable[..., Tensor] = gradients,
) -> tuple[float, float]:  # fmt: skip
    """Run one epoch, from where it was left; the mean of its losses and its seconds.

    On the CPU each loss is checked before its step; on a GPU fifty at a time, so that the host need not wait.

    Args:
        run: ``gradients``, or the same recorded (see ``recording``).
    """
    config, device = training.config, training.device
    left = keeper.state.open if keeper else None
    torch.manual_seed(epoch_seed(config.seed, epoch, ranks().rank))
    freeze(training.network, trained(training.network, config, epoch))
    training.network.train()
    network = replicated(training.network, device)
    losses = list(left.losses) if left else []
    unread: list[Tensor] = []
    index, before, began = -1, left.seconds if left else 0.0, time.perf_counter()
    for index, (images, labels) in task.after(epoch, len(losses)):
        if index == task.steps:
            raise wrong_length(epoch, "more", task.steps)
        if left and index == len(left.losses):
            set_random_states(left.random, device)
        step = epoch * task.steps + index
        set_lr(training.optimizer, factor(config, step, task.steps))
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)  # noqa: PLW2901
        unread.append(parts.affordable(partial(run, training, images, labels, task.loss, network), len(images)))
        due = keeper is not None and index + 1 < task.steps and keeper.due_within()
        if due or device.type == "cpu" or len(unread) == GPU_CHECK_STEPS or index + 1 == task.steps:
            losses += read_losses(unread, epoch, len(losses))
            unread.clear()
        update(training, step)
        if keeper and due:
            seconds = before + time.perf_counter() - began
            keeper.within(OpenEpoch(tuple(losses), seconds, random_states(device)))
        on_step(epoch, index)
    if index + 1 < task.steps:
        raise wrong_length(epoch, str(index + 1), task.steps)
    return math.fsum(losses) / len(losses), before + time.perf_counter() - began


def read_losses(losses: list[Tensor], epoch: int, first_step: int) -> list[float]:
    """The losses as numbers, fetched at once. Raises NonFiniteLoss at the first that is not finite."""
    values: list[float] = torch.stack(losses).double().tolist()
    for step, value in enumerate(values, start=first_step):
        if not math.isfinite(value):
            raise NonFiniteLoss(epoch, step, value)
    return values


def wrong_length(epoch: int, number: str, expected: int) -> UserError:
    """The error for an epoch with another number of batches than the schedule was made for."""
    problem = f"there are {number} batches; the schedule was made for {expected} (steps_per_epoch)."
    return UserError(f"training data, epoch {epoch}", problem)
