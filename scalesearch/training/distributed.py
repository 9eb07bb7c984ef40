"""Several processes that train one network, as ``torchrun`` starts them: who this one is, and what it shares."""

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from scalesearch.errors import UserError

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """This process's number among ``count`` that train together; the first, 0, writes and speaks."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0


def ranks() -> Ranks:
    """As ``joined`` arranged them; a process of its own otherwise."""
    if not distributed.is_available() or not distributed.is_initialized():
        return Ranks()
    return Ranks(distributed.get_rank(), distributed.get_world_size())


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Joins the processes that ``torchrun`` started; alone it does nothing. Yields this process's device.

    All but the first process are silent. Messages go over gloo on CPUs and over NCCL on GPUs, one GPU a process.

    Raises UserError where a machine has fewer GPUs than processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device.type == "cuda":
        local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= gpus:
            problem = f"process {local + 1} has no GPU: this machine has {gpus}, and each process takes one."
            raise UserError("torchrun --nproc-per-node", problem)
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        with contextlib.nullcontext() if ranks().first else contextlib.redirect_stdout(io.StringIO()):
            yield device
    finally:
        distributed.destroy_process_group()


@torch.no_grad()
def alike(network: nn.Module) -> None:
    """Gives every process the first one's parameters and statistics, in place."""
    if ranks().count > 1:
        for tensor in network.state_dict().values():
            sent = tensor.contiguous()
            distributed.broadcast(sent, src=0)
            tensor.copy_(sent)


def replicated(network: nn.Module, device: torch.device) -> nn.Module:
    """What a training step calls: the network itself, or torch's wrapper that averages gradients over processes.

    Made anew whenever other parameters are trained. It sends the first process's batch-norm statistics to all before
    each step; each process's batch norm normalises by its own images.
    """
    if ranks().count == 1:
        return network
    return DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)


def unsynchronised(network: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Around a backward pass whose gradients are not complete yet: keeps them in this process."""
    return network.no_sync() if isinstance(network, DistributedDataParallel) else contextlib.nullcontext()


def mean(value: float) -> float:
    """Over all processes."""
    together = ranks()
    if together.count == 1:
        return value
    return sum(gathered(value)) / together.count


def gathered(value: Value) -> list[Value]:
    """Each process's value, in the order of ranks."""
    together = ranks()
    values: list[Value] = [value] * together.count
    if together.count > 1:
        distributed.all_gather_object(values, value)
    return values


def of_first(value: Value) -> Value:
    """The first process's value."""
    shared = [value]
    if ranks().count > 1:
        distributed.broadcast_object_list(shared, src=0)
    return shared[0]
