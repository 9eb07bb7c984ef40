"""What a built network costs: fvcore's own count, the measured twin of ``design.cost``, and the time a pass takes."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import torch

from scalesearch.design.spec import Architecture
from scalesearch.nets.counting import FvcoreCount, count
from scalesearch.nets.torchvision_net import network_of
from scalesearch.units import counted, show_percent

WARM_UP = 3
WARM_SECONDS = 0.005  # of a turn: short passes take a third longer until caches and branch predictors know them again
REPEATS = 15
LONGEST_SECONDS = 3.0  # of one measurement, after which fewer repeats have to do
FEWEST = 3
MOST_WARMING = 100  # passes of a turn that do not count
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
    its shortest to its longest, over the median; ``least_seconds``: the shortest pass, disturbed least."""

    seconds: float
    least_seconds: float
    spread: float
    batch_size: int
    repeats: int
    device: str
    threads: int

    @property
    def busy(self) -> bool:
        """Whether something else must have been running."""
        return self.spread > BUSY

    def __str__(self) -> str:
        images = "one image" if self.batch_size == 1 else f"{self.batch_size} images"
        where = counted(self.threads, "thread") if self.device == "cpu" else self.device
        busy = f"; the machine was busy: passes differ by {show_percent(self.spread, 0)}" if self.busy else ""
        return f"median of {self.repeats} warm passes of {images}, float32, channels last, {where}{busy}"


def latency(spec: Architecture, batch_size: int, device: torch.device, repeats: int = REPEATS) -> Latency:
    """``latencies`` of a single network."""
    return latencies([spec], batch_size, device, repeats)[0]


@torch.inference_mode()
def latencies(
    specs: Sequence[Architecture], batch_size: int, device: torch.device, repeats: int = REPEATS
) -> tuple[Latency, ...]:
    """Times the networks of specs, in evaluation mode, on black images with torch's current number of threads.

    Fresh weights do as well as trained ones: what a pass costs does not depend on values. Networks take turns, so that
    whatever else the machine does meets all of them alike; in its turn each runs until it is warm, and then one pass
    counts. Of these the median, since what else runs only ever adds time.

    Args:
        batch_size: images of a pass, at each spec's resolution.
        repeats: rounds that count, fewer where their counted passes would take more than 3 s for each network.
    """
    passes = [_pass(spec, batch_size, device) for spec in specs]
    first = sum(min(_seconds(one, device) for _ in range(WARM_UP)) for one in passes)
    count = max(FEWEST, min(repeats, int(LONGEST_SECONDS * len(specs) / max(first, 1e-9))))
    rounds = [[_turn(one, device) for one in passes] for _ in range(count)]
    return tuple(_summary(list(times), batch_size, device) for times in zip(*rounds, strict=True))


def _pass(spec: Architecture, batch_size: int, device: torch.device) -> Callable[[], object]:
    network = network_of(spec, seed=0).eval()
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.zeros(batch_size, spec.in_channels, spec.resolution, spec.resolution, device=device)
    return partial(network, images.contiguous(memory_format=torch.channels_last))


def _turn(one: Callable[[], object], device: torch.device) -> float:
    """Seconds of a pass whose weights and kernels those before have brought back into the caches."""
    warmed = 0.0
    while warmed < WARM_SECONDS:
        warmed += max(_seconds(one, device), WARM_SECONDS / MOST_WARMING)
    return _seconds(one, device)


def _summary(times: list[float], batch_size: int, device: torch.device) -> Latency:
    low, middle, high = statistics.quantiles(times, method="inclusive")
    return Latency(
        middle, min(times), (high - low) / middle, batch_size, len(times), str(device), torch.get_num_threads()
    )


def _seconds(one: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    began = time.perf_counter()
    one()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    """Until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
