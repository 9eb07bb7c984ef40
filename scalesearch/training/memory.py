"""How much memory a training takes, predicted without taking it; how much there is; what is done when it runs out."""

import contextlib
import copy
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from scalesearch.design.cost import cost, operators
from scalesearch.design.spec import Architecture, NetSpec
from scalesearch.errors import UserError
from scalesearch.machine import memory_limit
from scalesearch.study.config import TrainConfig
from scalesearch.training.device import autocast
from scalesearch.training.sections import freeze, recomputing, trained

MOMENTS = {"adamw": 2, "sgd": 1}  # copies of the trained parameters that the optimizer keeps
FLOAT = 4  # bytes of a number
WORKER = 300_000_000  # bytes of a process that trains, before its first image
FRAGMENTED = 1.45  # what the C library's heap took for each byte of recomputed, often freed tensors (reports/LOG.md)


class _Peak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The largest sum of bytes that tensors made under it held at one time, and the largest tensor's."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes, self.largest, self._now = 0, 0, 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: Any) -> None:
        key = storage._cdata
        if key not in self._seen:
            self._seen.add(key)
            self._now += storage.nbytes()
            self.bytes, self.largest = max(self.bytes, self._now), max(self.largest, storage.nbytes())
            weakref.finalize(storage, self._free, key, storage.nbytes())

    def _free(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self._now -= size


class _Step(nn.Module):
    """One forward and backward pass as a module, so that its parameters can be swapped for both."""

    def __init__(self, network: nn.Module, config: TrainConfig) -> None:
        super().__init__()
        self.network, self.config = network, config

    def forward(self, images: Tensor) -> None:
        """Images of a micro-batch; gradients are left in the parameters."""
        with autocast(images.device, self.config.precision):
            outputs: Tensor = self.network(images)
        outputs.float().sum().backward()  # type: ignore[no-untyped-call]


def predict_memory(network: nn.Module, config: TrainConfig, image_size: int) -> int:
    """Bytes that training holds at its largest, in the epoch that trains most.

    One micro-batch goes forward and backward on tensors that have shapes but no values, and what they would hold is
    added up; parameters, optimizer, averaged and best weights come on top, and on a CPU, for kernels' workspaces, once
    more the largest tensor.

    Args:
        network: images (N, 3, image_size, image_size) → outputs, on the device that trains it; stays as it is.
        image_size: side in pixels.
    """
    device = next(network.parameters()).device
    double = copy.deepcopy(network)
    freeze(double, trained(double, config, config.epochs - 1))
    learnt = sum(p.numel() * p.element_size() for p in double.parameters() if p.requires_grad)
    whole = sum(tensor.numel() * tensor.element_size() for tensor in double.state_dict().values())
    kept = (1 + bool(config.ema_decay) + bool(config.patience)) * whole + MOMENTS[config.optimizer] * learnt
    micro = -(-config.batch_size // config.accumulate)
    step, mode, peak = _Step(double.train(), config), FakeTensorMode(), _Peak()
    state: dict[str, Tensor] = {
        name: mode.from_tensor(tensor) for name, tensor in (*step.named_parameters(), *step.named_buffers())
    }
    with mode, peak, recomputing(double) if config.recompute else contextlib.nullcontext():
        images = torch.empty(config.batch_size, 3, image_size, image_size, device=device)
        part = images[:micro].contiguous(memory_format=torch.channels_last)
        torch.func.functional_call(step, state, (part,))
    heap = FRAGMENTED if config.recompute and device.type == "cpu" else 1.0
    # on a GPU workspaces hide behind the peak (reports/LOG.md); with them a frozen body was predicted half too large
    held: int = peak.bytes + (peak.largest if device.type == "cpu" else 0)
    return int(kept) + round(heap * held)


def least_memory(spec: Architecture, config: TrainConfig) -> int:
    """Bytes that training takes at the very least, in closed form: nothing is built.

    Weights and their averages; of what is trained in full also gradients, the optimizer's moments, and every
    convolution's output of a micro-batch, unless it is recomputed.
    """
    sizes = cost(spec)
    copies = 1 + bool(config.ema_decay) + bool(config.patience)
    if config.strategy not in ("full", "gradual"):
        return FLOAT * copies * sizes.params
    micro = -(-config.batch_size // config.accumulate)
    kept = 0 if config.recompute else micro * sizes.activations
    return FLOAT * ((copies + 1 + MOMENTS[config.optimizer]) * sizes.params + kept)


def checkpoint_bytes(spec: Architecture, config: TrainConfig) -> int:
    """Of a file from which a training goes on: weights, their averages, and the optimizer's moments."""
    copies = 1 + bool(config.ema_decay) + bool(config.patience)
    return FLOAT * (copies + MOMENTS[config.optimizer]) * cost(spec).params


def forward_memory(spec: NetSpec, batch_size: int) -> int:
    """Bytes that a batch takes on its way through a network at the least: the images and the largest output."""
    largest = max(operator.activations for operator in operators(spec))
    return FLOAT * batch_size * (spec.in_channels * spec.resolution**2 + largest)


def require_memory(needed: int, what: str, device: torch.device, do: str) -> None:
    """Raises UserError with the estimate where a device has not got that much, before any of it is taken."""
    there = available_memory(device)
    if needed > there:
        problem = f"at least {needed / 1e9:,.1f} GB of memory are needed, and {there / 1e9:,.1f} GB are free."
        raise UserError(what, problem, do=do)


def require_workers(jobs: int) -> None:
    """Raises UserError where so many processes have no room, before any is started."""
    require_memory(jobs * WORKER, f"--jobs {jobs}", torch.device("cpu"), "Give fewer jobs: one a core is fastest.")


def roomy_workers() -> int:
    """How many processes that train have room in this machine's memory, or in the container's."""
    return available_memory(torch.device("cpu")) // WORKER


def total_memory(device: torch.device | str) -> int:
    """Bytes of a GPU, whoever has them now."""
    return int(torch.cuda.get_device_properties(device).total_memory)


def available_memory(device: torch.device) -> int:
    """Bytes that this process may still take on a device: of the GPU, of the machine, of its container."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = int(psutil.virtual_memory().available)
    limit = memory_limit()
    return free if limit is None else min(free, limit.free)


SMALLEST_PART = 2  # images: batch norm needs two values
CPU_MESSAGE = "can't allocate memory"  # of torch's CPU allocator, which raises a plain RuntimeError


class TooLittleMemory(UserError):  # noqa: N818 (says what happened)
    """Not even the smallest part of a step fits."""


@dataclass
class Parts:
    """How many parts a step's images are split into: what was asked for, more after memory ran out.

    Args:
        count: at present.
        most: beyond which memory's running out is an error: 0 allows no more than ``count``.
        say: is told of each change.
    """

    count: int
    most: int
    say: Callable[[str], None] | None = None

    def affordable(self, step: Callable[[int], torch.Tensor], batch_size: int) -> torch.Tensor:
        """``step(parts)``, with twice the parts as often as memory runs out.

        Raises TooLittleMemory where even the smallest parts do not fit.
        """
        while True:
            try:
                return step(self.count)
            except RuntimeError as error:  # torch.OutOfMemoryError is one
                if not is_out_of_memory(error):
                    raise
                if self.count * 2 > self.most:
                    raise too_little(batch_size, self.count) from error
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.count *= 2
            if self.say:
                self.say(
                    f"Memory ran out: each step's {batch_size} images now go through in {self.count} parts, which batch"
                    f" norm sees one by one. --accumulate {self.count} asks for this from the start."
                )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch says that memory ran out, on a GPU or a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or CPU_MESSAGE in str(error)


def too_little(batch_size: int, parts: int) -> TooLittleMemory:
    """The error where no way is left."""
    split = f" in {parts} parts" if parts > 1 else ""
    return TooLittleMemory(
        "memory", f"there is too little for a step of batch_size {batch_size}{split}.",
        do="Lower batch_size or the resolution, raise accumulate, set recompute, or use precision bf16.",
    )  # fmt: skip
