"""The one training loop, for classification and embeddings: loss, batches and evaluation are passed in."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from scalesearch.errors import UserError
from scalesearch.study.config import TrainConfig, validate
from scalesearch.training.checkpoint import Begun, Keeper
from scalesearch.training.device import epoch_seed, random_states, set_random_states
from scalesearch.training.distributed import mean, of_first, ranks, replicated
from scalesearch.training.freeze import freeze
from scalesearch.training.history import EpochRecord, History, exhausted
from scalesearch.training.loss import Loss
from scalesearch.training.optim import lr_factor, set_lr
from scalesearch.training.out_of_memory import SMALLEST_PART, Parts
from scalesearch.training.recompute import recomputing
from scalesearch.training.recording import RecordedGradients, recordable
from scalesearch.training.sections import trained
from scalesearch.training.step import Training, gradients, start, update

Batches = Callable[[int], Iterable[tuple[Tensor, Tensor]]]
GPU_CHECK_STEPS = 50


class NonFiniteLoss(UserError):  # noqa: N818 (says what happened)
    """The loss became NaN or infinite; ``epoch`` and ``step`` (within the epoch) count from 0."""

    def __init__(self, epoch: int, step: int, value: float) -> None:
        self.epoch, self.step, self.value = epoch, step, value
        super().__init__(
            f"training, epoch {epoch}, step {step}",
            f"loss {value}",
            "a finite loss",
            "Lower lr, lengthen warmup_epochs, or set clip_grad_norm; with bf16, try precision fp32.",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.epoch, self.step, self.value))


@dataclass(frozen=True)
class Plan:
    """What an epoch needs besides the network: its data, its loss, its length in steps, its listener."""

    batches: Batches
    steps_per_epoch: int
    loss: Loss
    on_step: Callable[[int, int], None] | None
    parts: Parts
    gradients: Callable[..., Tensor] = gradients


def fit(
    network: nn.Module,
    batches: Batches,
    steps_per_epoch: int,
    config: TrainConfig,
    *,
    loss: Loss,
    device: torch.device,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    checkpoint: Path | None = None,
    until: int | None = None,
) -> History:
    """Train ``network`` in place; afterwards it holds the averaged weights where ``config.ema_decay`` is set, and those
    of the best epoch where ``config.patience`` is.

    With a checkpoint file the state is kept after epochs and within long ones (so seldom that it costs under 2 % of the
    time), and the same call continues from it: on the CPU, with as many threads, bit for bit as if it had never
    stopped. Each epoch draws its randomness from (seed, epoch) alone; torch's own random state is as before when this
    returns. In several processes (see ``distributed``) each is given its share of every batch; the first one evaluates
    and writes.

    Args:
        batches: epoch → its batches of images (N, C, H, W) and labels (N, …); a function of the epoch alone.
        steps_per_epoch: how many batches that is, at least 1.
        loss: (outputs in float32, labels) → scalar, the mean over the batch.
        evaluate: called after each epoch with the network, or its average; its numbers are kept in the record.
        on_step: called with (epoch, step within the epoch) after each step.
        on_epoch: called with each new record once the checkpoint, if due, is written; what it raises ends the training.
        on_note: is told that memory ran out and a step's images now go through in more parts; without it, that is an
            error.
        until: epochs after which to pause, at most ``config.epochs``, whose schedule stays as it is: with a checkpoint
            a later call goes on from there as if nothing had happened. None goes to the end.

    Raises UserError for settings out of range, a checkpoint that does not fit, too little GPU memory, or another
    number of batches than ``steps_per_epoch``; NonFiniteLoss when the training diverges.
    """
    validate(config)
    if steps_per_epoch < 1:
        raise UserError("training data", "no batch", "at least one", "Lower batch_size or bring more images.")
    training = start(network, config, device)
    # where nobody is told, or other processes would wait for other gradients, memory's end is the training's
    most = config.batch_size // SMALLEST_PART if on_note and ranks().count == 1 else 0
    recorded = RecordedGradients(training) if recordable(training, loss) else gradients
    plan = Plan(batches, steps_per_epoch, loss, on_step, Parts(config.accumulate, most, on_note), recorded)
    keeper = Keeper(checkpoint, training, steps_per_epoch)
    last = min(until or config.epochs, config.epochs)
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        recomputing(network) if config.recompute else nullcontext(),
    ):
        while len(keeper.kept.history) < last and not exhausted(keeper.kept.history, config.patience):
            epoch = len(keeper.kept.history)
            train_loss, seconds = train_epoch(training, plan, epoch, keeper)
            metrics = of_first(dict(evaluate(training.result)) if evaluate and ranks().first else {})
            lr = config.lr * factor(config, (epoch + 1) * steps_per_epoch - 1, steps_per_epoch)
            keeper.epoch(EpochRecord(epoch, mean(train_loss), lr, seconds, metrics), last)
            if on_epoch:
                on_epoch(keeper.kept.history[-1])
    if keeper.kept.best is not None:
        network.load_state_dict(keeper.kept.best)
    elif training.average is not None:
        network.load_state_dict(training.average.state_dict())
    return keeper.kept.history


def factor(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """The schedule's share of the peak learning rate; ``step`` counts from the start of the run."""
    return lr_factor(step, config.epochs * steps_per_epoch, round(config.warmup_epochs * steps_per_epoch))


def train_epoch(training: Training, plan: Plan, epoch: int, keeper: Keeper | None = None) -> tuple[float, float]:
    """Run one epoch, from where it was left; the mean of its losses and its seconds.

    On the CPU each loss is checked before its step; on a GPU fifty at a time, so that the host need not wait.
    """
    config, device = training.config, training.device
    begun = keeper.kept.begun if keeper else None
    torch.manual_seed(epoch_seed(config.seed, epoch, ranks().rank))
    freeze(training.network, trained(training.network, config, epoch))
    training.network.train()
    network = replicated(training.network, device)
    losses = list(begun.losses) if begun else []
    unread: list[Tensor] = []
    index, before, began = -1, begun.seconds if begun else 0.0, time.perf_counter()
    for index, (images, labels) in enumerate(plan.batches(epoch)):
        if index == plan.steps_per_epoch:
            raise wrong_length(epoch, "more", plan.steps_per_epoch)
        if begun and index < len(begun.losses):
            continue
        if begun and index == len(begun.losses):
            set_random_states(begun.random, device)
        step = epoch * plan.steps_per_epoch + index
        set_lr(training.optimizer, factor(config, step, plan.steps_per_epoch))
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)  # noqa: PLW2901
        unread.append(
            plan.parts.affordable(partial(plan.gradients, training, images, labels, plan.loss, network), len(images))
        )
        due = keeper is not None and index + 1 < plan.steps_per_epoch and keeper.due_within()
        if due or device.type == "cpu" or len(unread) == GPU_CHECK_STEPS or index + 1 == plan.steps_per_epoch:
            losses += read_losses(unread, epoch, len(losses))
            unread.clear()
        update(training, step)
        if keeper and due:
            seconds = before + time.perf_counter() - began
            keeper.within(Begun(tuple(losses), seconds, random_states(device)))
        if plan.on_step:
            plan.on_step(epoch, index)
    if index + 1 < plan.steps_per_epoch:
        raise wrong_length(epoch, str(index + 1), plan.steps_per_epoch)
    return math.fsum(losses) / len(losses), before + time.perf_counter() - began


def read_losses(losses: list[Tensor], epoch: int, first_step: int) -> list[float]:
    """The losses as numbers, fetched at once. Raises NonFiniteLoss at the first that is not finite."""
    values: list[float] = torch.stack(losses).double().tolist()
    for step, value in enumerate(values, start=first_step):
        if not math.isfinite(value):
            raise NonFiniteLoss(epoch, step, value)
    return values


def wrong_length(epoch: int, found: str, expected: int) -> UserError:
    """The error for an epoch with another number of batches than the schedule was made for."""
    return UserError(f"training data, epoch {epoch}", f"{found} batches", f"{expected} (steps_per_epoch)")
