"""What a built network costs: fvcore's own count, the measured twin of ``design.cost``, and the time a pass takes."""

import statistics
import time
from dataclasses import dataclass
from functools import lru_cache

import torch

from scalesearch.design.spec import Architecture
from scalesearch.nets.counting import FvcoreCount, count
from scalesearch.nets.torchvision_net import network_of
from scalesearch.units import show_percent

WARM_UP = 3
REPEATS = 15
LONGEST_SECONDS = 3.0  # of one measurement, after which fewer repeats have to do
FEWEST = 3
BUSY = 0.2  # spread from which something else must be running


@lru_cache(maxsize=256)
def fvcore_count(spec: Architecture) -> FvcoreCount:
    """Builds the network, runs one image of ``spec.resolution`` through it on the CPU and reads fvcore's count.

    About 0.3 s for B0 and 2 s for B7; ``design.cost.cost`` gives the same ``macs`` without a network.
    """
    return count(network_of(spec, seed=0), spec.resolution, spec.in_channels)


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
