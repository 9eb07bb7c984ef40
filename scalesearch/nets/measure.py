"""What a built network costs: fvcore's own count, the measured twin of ``design.cost``, and the time a pass takes."""

import statistics
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn

from scalesearch.design.spec import Architecture
from scalesearch.nets.torchvision_net import network_of
from scalesearch.units import show_percent

# in eval mode these only move or keep numbers; fvcore does not know them and would list them as uncounted
NO_ARITHMETIC = ("aten::pad", "aten::dropout_")
WARM_UP = 3
REPEATS = 15
LONGEST_SECONDS = 3.0  # of one measurement, after which fewer repeats have to do
FEWEST = 3
BUSY = 0.2  # spread from which something else must be running


@dataclass(frozen=True)
class FvcoreCount:
    """What fvcore counts for one image, in eval mode.

    Args:
        macs: multiply-adds of convolution and linear operators.
        total: fvcore's ``.total()``: ``macs``, batch norm and average pooling.
        by_operator: multiply-adds of each convolution and linear operator under its module's name, in order.
        activations: numbers in the outputs of these operators.
        uncounted: kinds of operators that fvcore met and did not count.
    """

    macs: int
    total: int
    by_operator: dict[str, int]
    activations: int
    uncounted: tuple[str, ...]


@contextmanager
def without_jit_warnings() -> Iterator[None]:
    """Silences torch's notice that ``torch.jit``, which fvcore is built on, is deprecated; nothing else."""
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning):
            warnings.filterwarnings("ignore", message=r".*torch\.jit", category=category)
        yield


@lru_cache(maxsize=256)
def fvcore_count(spec: Architecture) -> FvcoreCount:
    """Builds the network, runs one image of ``spec.resolution`` through it on the CPU and reads fvcore's count.

    About 0.3 s for B0 and 2 s for B7; ``design.cost.cost`` gives the same ``macs`` without a network.
    fvcore traces with real tensors: torch's tracer does not go with the meta device.
    """
    network = network_of(spec, seed=0).eval()
    image = torch.zeros(1, spec.in_channels, spec.resolution, spec.resolution)
    with without_jit_warnings(), torch.no_grad():
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(network, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis.set_op_handle(*(part for name in NO_ARITHMETIC for part in (name, None)))
        per_module = analysis.by_module()
        layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
        # one image: each output number costs as many multiply-adds as its filter has weights
        outputs = (per_module[name] * len(layer.weight) // layer.weight.numel() for name, layer in layers.items())
        by_kind = analysis.by_operator()
        return FvcoreCount(
            macs=int(by_kind["conv"] + by_kind["linear"]),
            total=int(analysis.total()),
            by_operator={name: int(per_module[name]) for name in layers},
            activations=int(sum(outputs)),
            uncounted=tuple(sorted(analysis.unsupported_ops())),
        )


@dataclass(frozen=True)
class Latency:
    """Median wall seconds of one forward pass, and how it was measured; ``spread``: the middle half of the passes, from
    its shortest to its longest, over the median."""

    seconds: float
    spread: float
    batch_size: int
    repeats: int
    device: str
    threads: int

    def __str__(self) -> str:
        images = "one image" if self.batch_size == 1 else f"{self.batch_size} images"
        where = f"{self.threads} threads" if self.device == "cpu" else self.device
        busy = f"; the machine was busy: passes differ by {show_percent(self.spread, 0)}" if self.spread > BUSY else ""
        return f"median of {self.repeats} warm passes of {images}, float32, channels last, {where}{busy}"


@torch.inference_mode()
def latency(spec: Architecture, batch_size: int, device: torch.device, repeats: int = REPEATS) -> Latency:
    """Times the network of a spec, in evaluation mode, on random images with torch's current number of threads.

    Fresh weights do as well as trained ones: what a pass costs does not depend on values. Passes that warm up caches
    and kernels are not counted, and of the others the median, since what else runs on a machine only ever adds time.

    Args:
        batch_size: images of a pass, at the spec's resolution.
        repeats: passes that count, fewer where they would take more than 3 s together.
    """
    network = network_of(spec, seed=0).eval()
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.zeros(batch_size, spec.in_channels, spec.resolution, spec.resolution, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    first = min(_seconds(network, images) for _ in range(WARM_UP))
    count = max(FEWEST, min(repeats, int(LONGEST_SECONDS / max(first, 1e-9))))
    low, middle, high = statistics.quantiles((_seconds(network, images) for _ in range(count)), method="inclusive")
    return Latency(middle, (high - low) / middle, batch_size, count, str(device), torch.get_num_threads())


def _seconds(network: torch.nn.Module, images: torch.Tensor) -> float:
    _wait(images.device)
    began = time.perf_counter()
    network(images)
    _wait(images.device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    """Until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
