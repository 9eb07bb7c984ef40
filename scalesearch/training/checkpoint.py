"""A run's state on disk: one safetensors file, tensors plus a JSON header, nothing pickled.

After an epoch no random state is needed, since each epoch seeds itself from (seed, epoch), see ``loop.fit``; within one
torch's is kept.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import require_regular, write_bytes
from scalesearch.nets.weights import unsound
from scalesearch.study.config import LATER, TrainConfig, is_number
from scalesearch.training.distributed import ranks
from scalesearch.training.history import EpochRecord, History, best_epoch, exhausted
from scalesearch.training.step import Training

FORMAT = 2
READABLE = (1, FORMAT)  # 1: written between epochs only
HEADER = "scalesearch.training"
LATER_DEFAULTS = {name: getattr(TrainConfig(epochs=1), name) for name in LATER}
NEVER_NEGATIVE = ("step", "exp_avg_sq")
OPTIMIZER_STATE = {"adamw": ("step", "exp_avg", "exp_avg_sq"), "sgd": ("momentum_buffer",)}
START_ANEW = "Remove the file, or name another one, to train from the start."
MOST_SHARE = 0.02  # of the time may go into writing checkpoints
FIRST_SECONDS = 2.0  # nothing is written sooner than this after the start: a short training writes its end alone
WITHIN_SECONDS = 20.0  # between writings in the middle of an epoch, once a training has gone on for as long


@dataclass(frozen=True, eq=False)
class OpenEpoch:
    """An epoch left in its middle.

    Args:
        losses: of the steps that are done.
        seconds: what they took.
        random: torch's random states after them, by kind of device, uint8.
    """

    losses: tuple[float, ...]
    seconds: float
    random: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class CheckpointState:
    """What a run has besides its moving parts: its history, the best epoch's tensors where it has patience, and the
    epoch that was left in its middle."""

    history: History = ()
    best: Mapping[str, Tensor] | None = None
    open: OpenEpoch | None = None

    def after(self, record: EpochRecord, training: Training) -> "CheckpointState":
        """With one more epoch."""
        history = (*self.history, record)
        if not training.config.patience or best_epoch(history) != record.epoch:
            return CheckpointState(history, self.best)
        return CheckpointState(history, {name: tensor.clone() for name, tensor in training.result.state_dict().items()})


class SaveClock:
    """Says when to write next: when the last writing is 50 times its own duration ago.

    The first one comes early and those within an epoch at growing distances, so that a training that is killed again
    and again comes to its end: every life but the shortest adds to it, and where writing is quick half of it at least.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._began = now, now()
        self._last, self._next = self._began, self._began + FIRST_SECONDS

    def due(self) -> bool:
        """Whether it is time, at the end of an epoch."""
        return self._now() >= self._next

    def due_within(self) -> bool:
        """Whether it is time, in the middle of an epoch."""
        lived = self._last - self._began
        return self.due() and self._now() - self._last >= min(WITHIN_SECONDS, max(FIRST_SECONDS, lived))

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Around a writing."""
        began = self._now()
        yield
        self._last = ended = self._now()
        self._next = ended + (ended - began) / MOST_SHARE


class Keeper:
    """What a run has kept, in memory and (where it is given a file) on disk; ``state`` is what it continues from."""

    def __init__(self, path: Path | None, training: Training, steps_per_epoch: int) -> None:
        self._path, self._training, self._steps = path, training, steps_per_epoch
        self._clock = SaveClock()
        self.state = resume(path, training, steps_per_epoch) if path else CheckpointState()

    def due_within(self) -> bool:
        """Whether an epoch should be kept in its middle now."""
        return self._path is not None and ranks().first and self._clock.due_within()

    def within(self, open_epoch: OpenEpoch) -> None:
        """Writes the middle of an epoch."""
        self._save(CheckpointState(self.state.history, self.state.best, open_epoch))

    def epoch(self, record: EpochRecord, last: int) -> None:
        """Adds a finished epoch; writes it if it is time, or training pauses after it (``last`` epochs, or patience
        at its end)."""
        self.state = self.state.after(record, self._training)
        ends = record.epoch + 1 == last or exhausted(self.state.history, self._training.config.patience)
        if ends or self._clock.due():
            self._save(self.state)

    def _save(self, state: CheckpointState) -> None:
        if self._path is not None and ranks().first:
            with self._clock.saving():
                save(self._path, self._training, state, self._steps)


def architecture_digest(network: nn.Module) -> str:
    """12 hex digits of every tensor's name, shape and type, and of ``network.spec`` where that is a NetSpec."""
    spec = getattr(network, "spec", None)
    tensors = [(name, list(tensor.shape), str(tensor.dtype)) for name, tensor in network.state_dict().items()]
    values = [spec.digest if isinstance(spec, NetSpec) else "", tensors]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12]


def identity(training: Training, steps_per_epoch: int) -> dict[str, Any]:
    """What must be the same for a run to continue: the settings, the schedule's length, the architecture."""
    return {
        **training.config.to_dict(), "config_digest": training.config.digest, "steps_per_epoch": steps_per_epoch,
        "architecture": architecture_digest(training.network),
    }  # fmt: skip


def save(path: Path, training: Training, state: CheckpointState, steps_per_epoch: int) -> None:
    """Write the state after ``len(state.history)`` epochs and the steps begun since; the old file stays until the new
    one is whole."""
    tensors = {
        f"{kind}.{name}": tensor
        for kind, network in (*networks(training), ("best", state.best or {}))
        for name, tensor in network.items()
    }
    for index, parameter in enumerate(parameters(training.optimizer)):
        # values that are no tensors are options the optimizer leaves unused (None)
        values = training.optimizer.state[parameter].items()
        tensors |= {f"optimizer.{index}.{key}": value for key, value in values if isinstance(value, Tensor)}
    left = state.open
    tensors |= {f"random.{kind}": random for kind, random in (left.random if left else {}).items()}
    header = {
        "format": FORMAT,
        "identity": identity(training, steps_per_epoch),
        "history": [record.to_dict() for record in state.history],
        "begun": {"losses": left.losses, "seconds": left.seconds} if left else None,
    }
    # copies: safetensors takes neither tied weights nor channels-last strides
    copies = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    write_bytes(path, safetensors.torch.save(copies, metadata={HEADER: json.dumps(header)}))


def networks(training: Training) -> list[tuple[str, Mapping[str, Tensor]]]:
    """The tensors of the network and, where there is one, of its average, each under its prefix in the file."""
    averages = [] if training.average is None else [("average", training.average.state_dict())]
    return [("network", training.network.state_dict()), *averages]


def parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """The optimizer's parameters in the order of its groups."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def resume(path: Path, training: Training, steps_per_epoch: int) -> CheckpointState:
    """Load the state in ``path`` into ``training``; what else was kept, nothing where there is no file.

    Raises UserError for a damaged file, a newer format, other settings or another architecture; then nothing
    has been changed.
    """
    if not path.exists():
        return CheckpointState()
    header, tensors = read(path)
    try:
        check_identity(path, header["identity"], identity(training, steps_per_epoch))
        state = _state(header, tensors, training, steps_per_epoch)
        _check_tensors(tensors, training)
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise _damaged(path, error) from error
    training.network.load_state_dict(part(tensors, "network."))
    if training.average is not None:
        training.average.load_state_dict(part(tensors, "average."))
    for index, parameter in enumerate(parameters(training.optimizer)):
        values = part(tensors, f"optimizer.{index}.")
        if not values:  # frozen until now
            continue
        training.optimizer.state[parameter] = {key: beside(parameter, value) for key, value in values.items()}
    return state


def _state(header: Mapping[str, Any], tensors: Mapping[str, Tensor], training: Training, steps: int) -> CheckpointState:
    """What a checkpoint holds besides the moving parts. Raises ValueError, TypeError or KeyError where damaged."""
    written, left, random = header["history"], header.get("begun"), part(tensors, "random.")
    if not isinstance(written, list) or not (written or left) or (left is None) == bool(random):
        raise ValueError("it does not say how far the training went")
    history = tuple(EpochRecord(**record) for record in written)
    if [record.epoch for record in history] != list(range(len(history))) or len(history) > training.config.epochs:
        raise ValueError("a history of other epochs")
    for record in history:
        if not all(map(is_number, (record.train_loss, record.lr, record.seconds, *record.metrics.values()))):
            raise ValueError(f"a record of epoch {record.epoch} without numbers")
    if left is None:
        return CheckpointState(history, part(tensors, "best.") or None)
    losses, best = tuple(left["losses"]), part(tensors, "best.") or None
    if not (0 < len(losses) < steps and all(map(is_number, (*losses, left["seconds"])))):
        raise ValueError("an epoch begun with other steps")
    return CheckpointState(history, best, OpenEpoch(losses, left["seconds"], random))


def _check_tensors(tensors: Mapping[str, Tensor], training: Training) -> None:
    """Raises ValueError where tensors are missing, or not of the shape and type of what they are loaded into."""
    best = [("best", training.result.state_dict())] if any(name.startswith("best.") for name in tensors) else []
    for kind, expected in (*networks(training), *best):
        there = part(tensors, f"{kind}.")
        if odd := sorted(expected.keys() ^ there.keys()):
            raise ValueError(f"{kind}.{odd[0]} is missing or has no place")
        if problem := unsound(there):
            raise ValueError(f"{kind}.{problem}")
        for name, tensor in there.items():
            if (tensor.shape, tensor.dtype) != (expected[name].shape, expected[name].dtype):
                raise ValueError(f"{kind}.{name} of another shape or type")
    for index, parameter in enumerate(parameters(training.optimizer)):
        state = part(tensors, f"optimizer.{index}.")
        if not state:
            continue
        names = OPTIMIZER_STATE[training.config.optimizer]
        if state.keys() != set(names):
            raise ValueError(f"optimizer.{index} holds {', '.join(sorted(state))}")
        for name, tensor in state.items():
            if tensor.dtype != torch.float32 or tensor.shape not in (parameter.shape, torch.Size()):
                raise ValueError(f"optimizer.{index}.{name} of another shape or type")
            if not torch.isfinite(tensor).all() or (name in NEVER_NEGATIVE and (tensor < 0).any()):
                raise ValueError(f"optimizer.{index}.{name} holds what no step leaves there")


def _damaged(path: Path, error: Exception) -> UserError:
    problem = f"the file is damaged or is no checkpoint of a training ({type(error).__name__}: {error})."
    return UserError(f"checkpoint {path}", problem, do=START_ANEW)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a checkpoint, on the CPU. Raises UserError if it is damaged, foreign or too new."""
    require_regular(path, "a checkpoint that training wrote")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = json.loads((file.metadata() or {})[HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        version = int(header["format"])
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError, RecursionError, OSError) as error:
        raise _damaged(path, error) from error
    if version not in READABLE:
        do = f"Update scalesearch. {START_ANEW}" if version > FORMAT else START_ANEW
        raise UserError(f"checkpoint {path}", f"its format is {version}; this version reads {FORMAT}.", do=do)
    return header, tensors


def epochs_begun(path: Path) -> int:
    """How many epochs a checkpoint has finished or begun; 0 where there is none. Raises as ``read``."""
    if not path.exists():
        return 0
    header, _ = read(path)
    return len(header["history"]) + bool(header.get("begun"))


def check_identity(path: Path, written: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raise UserError naming each setting that differs between a checkpoint and the run that would continue it."""
    if written["architecture"] != expected["architecture"]:
        problem = f"it holds architecture {written['architecture']}, not {expected['architecture']}, which is trained."
        raise UserError(f"checkpoint {path}", problem, do=START_ANEW)
    written = {**LATER_DEFAULTS, **written}  # what was not a setting yet was as it is by default
    names = [name for name in {**written, **expected} if written.get(name) != expected.get(name)]
    if names:
        differing = [f"{n} {written.get(n)}, not {expected.get(n)}" for n in names if n != "config_digest"]
        do = f"Run with the former settings to continue it. {START_ANEW}"
        raise UserError(f"checkpoint {path}", f"it was trained with {'; '.join(differing)}.", do=do)


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def beside(parameter: nn.Parameter, value: Tensor) -> Tensor:
    """An optimizer tensor on its parameter's device and, where it has its shape, with its strides.

    Fused kernels read parameter and state side by side in memory, so equal strides are not a nicety.
    """
    if value.shape == parameter.shape:
        return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
    return value.to(parameter.device)
