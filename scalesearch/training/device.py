"""Where training runs: the device, its precision, threads and seeds."""

import contextlib
import os
from collections.abc import Iterator, Mapping

import numpy as np
import torch

from scalesearch.errors import UserError
from scalesearch.machine import cores
from scalesearch.study.config import Precision
from scalesearch.units import counted


def choose_device(name: str = "auto") -> torch.device:
    """The device of a name: "auto" (the first GPU, else the CPU), "cpu", "cuda" or "cuda:1".

    From then on torch uses no more threads than there are cores by quota, of which it does not know, unless
    OMP_NUM_THREADS asks for more.

    Raises UserError for a name that is not one of these and for a GPU that is not there.
    """
    if torch.get_num_threads() > cores() and "OMP_NUM_THREADS" not in os.environ:
        set_threads(cores())
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and count == 0):
        return torch.device("cpu")
    if name in ("auto", "cuda"):
        name = "cuda:0"
    kind, _, number = name.partition(":")
    if kind != "cuda" or not number.isdecimal():
        raise UserError("device", f"{name!r} is none of auto, cpu, cuda, or cuda: and a number.")
    if int(number) >= count:
        there = f"{counted(count, 'GPU')}, cuda:0 to cuda:{count - 1}" if count else "no GPU"
        raise UserError("device", f"{name} was asked for, but torch can use {there}.", do="Use auto or cpu.")
    return torch.device(name)


def uses_bf16(device: torch.device, precision: Precision) -> bool:
    """Whether the forward pass runs in bfloat16: as asked, or for "auto" on a GPU that has it in hardware."""
    if precision != "auto":
        return precision == "bf16"
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context of a forward pass: bfloat16 autocast, or one that changes nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=uses_bf16(device, precision))


def allow_tf32(device: torch.device) -> None:
    """Let a GPU multiply float32 matrices in TF32, as torch already lets its convolutions; a CPU stays as it is."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """A seed of 64 bits for one epoch of one run in one process; epochs, neighbouring seeds and ranks share no
    stream."""
    numbers = (seed, epoch, rank) if rank else (seed, epoch)
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """torch's random states that a forward pass on ``device`` draws from, uint8, by kind of device."""
    gpu = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state(), **gpu}


def set_random_states(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Puts back what ``random_states`` gave; a kind of device that it does not hold stays as it is."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def set_threads(count: int) -> None:
    """Let torch use ``count`` CPU threads in this process; trials that share a machine set their share."""
    if count < 1:
        raise UserError("threads", f"{count} is not at least 1.")
    torch.set_num_threads(count)


@contextlib.contextmanager
def threads_for(device: torch.device, count: int | None) -> Iterator[None]:
    """``set_threads`` for what is measured inside, on a CPU alone; None leaves them as they are."""
    before = torch.get_num_threads()
    try:
        if count is not None and device.type == "cpu":
            set_threads(count)
        yield
    finally:
        torch.set_num_threads(before)
