"""A training step: (b) its speed, (k) compiled, (i) the speed of its input, (g) its memory.

Contestants do the same work: forward, cross-entropy with smoothing, backward, fused AdamW; no clipping, no average, no
loss read back; "usual" adds the clipping and the average that a search has, "recorded" replays forward and backward
pass from a CUDA graph. Plain loops run as timm's script does with ``--amp --amp-dtype bfloat16 --channels-last``:
autocast, cuDNN's benchmark mode, gradients set to none; in (k) with ``--torchcompile``. Random images lie on the
device. Contestants alternate; numbers are medians of the rounds, the ratio the median of each round's own.
"""

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu.sheet import Request, Row, kept_errors
from scalesearch.data.arrays import ImageArrays
from scalesearch.data.batches import IMAGENET_STATISTICS, Augment, Batch, on_card, training_batches
from scalesearch.design.space import load_space
from scalesearch.nets.modules import build
from scalesearch.study.config import Precision, TrainConfig
from scalesearch.training.memory import predict_memory
from scalesearch.training.probes import wait
from scalesearch.training.recording import RecordedGradients
from scalesearch.training.sections import recomputing
from scalesearch.training.step import classification_loss, gradients, start, update

Step = Callable[[Tensor, Tensor], object]
ROUNDS = 3
SECONDS = 0.25  # of one round of one contestant, at least
INPUT_SECONDS = 0.4
CLASSES = 1000
TIMM = {"mobilenet_v2": "mobilenetv2_100"}  # where its name is another
B0, SMALL = "efficientnet_b0", "mbconv_small"


@dataclass(frozen=True)
class Case:
    """What all contestants of a comparison train; ``precision``: "bf16", "tf32", or "fp32" without tensor cores."""

    network: str
    px: int
    batch: int
    precision: str = "bf16"
    channels_last: bool = True
    compiled: bool = False

    @property
    def layout(self) -> torch.memory_format:
        """Of images and weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


# fmt: off
CASES = (
    Case(B0, 224, 256), Case(SMALL, 32, 128), Case(B0, 112, 128), Case(SMALL, 32, 512), Case(B0, 224, 128, "tf32"),
    Case(B0, 64, 128), Case(B0, 224, 256, channels_last=False), Case(B0, 224, 128), Case("mobilenet_v2", 112, 128),
    Case("resnet18", 112, 128), Case(B0, 224, 128, "fp32"), Case(SMALL, 32, 32), Case(SMALL, 32, 128, "tf32"),
    Case(B0, 112, 512),
)
COMPILED = (Case(B0, 224, 256, compiled=True),)
TINY = (Case(SMALL, 32, 4, "fp32"),)
INPUT_CASES = (
    (32, 20000, 32), (32, 20000, 128), (32, 20000, 512), (64, 20000, 128), (112, 10000, 128), (224, 3000, 256),
)
MEMORY_CASES: tuple[tuple[str, int, int, dict[str, Any]], ...] = (
    (B0, 128, 224, {}), (B0, 128, 224, {"precision": "fp32"}), (B0, 128, 224, {"recompute": True}),
    (B0, 256, 224, {"accumulate": 4}), (B0, 128, 224, {"strategy": "tail"}), (B0, 128, 224, {"strategy": "head"}),
    (B0, 512, 112, {"ema_decay": 0.99}), ("resnet50", 64, 224, {}), ("mobilenet_v2", 256, 128, {}),
    (SMALL, 512, 32, {}),
)
# fmt: on


def network_of(space: str, px: int) -> nn.Module:
    """A shipped baseline, at another resolution."""
    return build(replace(load_space(space).baseline, resolution=px), seed=0)


def our_step(
    network: nn.Module, config: TrainConfig, device: torch.device, called: Any = None,
    recorded: bool = False,
) -> Step:  # fmt: skip
    """A step of the package's loop.

    Args:
        called: what stands for the network in the forward pass, e.g. compiled.
        recorded: whether forward and backward pass are replayed from a CUDA graph.
    """
    training, loss = start(network, config, device), classification_loss(config)
    training.network.train()
    run, count = RecordedGradients(training) if recorded else gradients, itertools.count()

    def step(images: Tensor, labels: Tensor) -> None:
        run(training, images, labels, loss, called)
        update(training, next(count))

    return step


def speed(asked: Request, cases: tuple[Case, ...] = CASES) -> Iterator[Row]:
    """(b) Case after case, as many as the time allows."""
    for case in TINY if asked.tiny else cases:
        if asked.left < 8:
            yield {**vars(case), "error": "left out: no time"}
            continue
        yield from kept_errors(asked, vars(case), compare(case, asked))
        gc.collect()
        if asked.device.type == "cuda":
            torch.cuda.empty_cache()


def compiled(asked: Request) -> Iterator[Row]:
    """(k) Everybody compiled, which takes minutes on one core before the first number."""
    yield from speed(asked, COMPILED)


def compare(case: Case, asked: Request) -> Iterator[Row]:
    """A row for each contestant: median, and the ratio to timm's in the same round."""
    images, labels = random_batch(case, asked.device)
    rates, memory, steps = dict[str, list[float]](), dict[str, float](), dict[str, Step]()
    for name, make in contestants(case, asked.device).items():
        try:
            with flags(case, name):
                steps[name] = make()
                for _ in range(1 if asked.tiny else 5):  # three before a recording
                    steps[name](images, labels)
                if asked.device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                    steps[name](images, labels)
                    memory[name] = torch.cuda.max_memory_allocated() / 1e6
            rates[name] = []
        except Exception as error:  # one network that a library cannot build leaves the others
            yield {"contestant": name, "error": f"{type(error).__name__}: {error}"[:300]}
    for _ in range(1 if asked.tiny else ROUNDS):
        for name in rates:
            with flags(case, name):
                rates[name].append(images_per_second(steps[name], images, labels, 0.0 if asked.tiny else SECONDS))
    for name, values in rates.items():
        row: Row = {
            "contestant": name, "images/s": round(statistics.median(values), 1), "lowest": round(min(values), 1),
            "highest": round(max(values), 1), "peak MB of all": round(memory.get(name, 0.0)),
        }  # fmt: skip
        if "timm" in rates:
            row["to timm's"] = round(statistics.median(a / b for a, b in zip(values, rates["timm"], strict=True)), 3)
        yield row


def contestants(case: Case, device: torch.device) -> dict[str, Callable[[], Step]]:
    """What makes each one's step."""
    precision: Precision = "bf16" if case.precision == "bf16" else "fp32"
    plain = TrainConfig(epochs=1, batch_size=case.batch, clip_grad_norm=0.0, precision=precision)
    usual = replace(plain, clip_grad_norm=1.0, ema_decay=0.99)
    makers: dict[str, Callable[[], Step]] = {"ours": partial(ours, case, plain, device)}
    if not case.compiled and case.channels_last:
        makers["ours, usual"] = partial(ours, case, usual, device)
        if device.type == "cuda":
            makers["ours, recorded"] = partial(ours, case, plain, device, recorded=True)
            makers["ours, usual, recorded"] = partial(ours, case, usual, device, recorded=True)
    if case.network != SMALL:
        makers |= {library: partial(theirs, library, case, device) for library in ("timm", "torchvision")}
    return makers


def ours(case: Case, config: TrainConfig, device: torch.device, recorded: bool = False) -> Step:
    """A step of the package's loop."""
    network = network_of(case.network, case.px)
    step = our_step(network, config, device, torch.compile(network) if case.compiled else None, recorded)
    network.to(memory_format=case.layout)
    return step


def theirs(library: str, case: Case, device: torch.device) -> Step:
    """A step as a training script writes it."""
    if library == "timm":
        import timm

        network: nn.Module = timm.create_model(TIMM.get(case.network, case.network), num_classes=CLASSES)
    else:
        import torchvision

        network = getattr(torchvision.models, case.network)(num_classes=CLASSES)
    network.to(device=device, memory_format=case.layout).train()  # type: ignore[call-overload]
    called = torch.compile(network) if case.compiled else network
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.02, fused=True)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)

    def step(images: Tensor, labels: Tensor) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=case.precision == "bf16"):
            loss = criterion(called(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


@contextmanager
def flags(case: Case, contestant: str) -> Iterator[None]:
    """cuDNN's benchmark mode and TF32 as a contestant has them; put back afterwards."""

    def put(benchmark: bool, tf32: bool) -> None:
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = benchmark, tf32
        torch.set_float32_matmul_precision("high" if tf32 else "highest")

    before = (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32)
    put(not contestant.startswith("ours"), case.precision != "fp32")
    try:
        yield
    finally:
        put(*before)


def random_batch(case: Case, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images (N, 3, px, px) in the case's layout, labels (N,)."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(case.batch, 3, case.px, case.px, generator=generator)
    labels = torch.randint(10 if case.network == SMALL else CLASSES, (case.batch,), generator=generator)
    return images.to(device).contiguous(memory_format=case.layout), labels.to(device)


def images_per_second(step: Step, images: Tensor, labels: Tensor, seconds: float) -> float:
    """Of steps for so long, at least two; the host waits for a GPU at the ends only."""
    wait(images.device)
    began, done = time.perf_counter(), 0
    while done < 2 or time.perf_counter() - began < seconds:
        step(images, labels)
        done += 1
        if done % 8 == 0:  # a host that runs far ahead would not know when to stop
            wait(images.device)
    wait(images.device)
    return done * len(images) / (time.perf_counter() - began)


def feeding(asked: Request) -> Iterator[Row]:
    """(i) Random images, cropped, flipped and normalised, on the device; from the host's memory and from the card's."""
    for px, count, batch in INPUT_CASES[:2] if asked.tiny else INPUT_CASES:
        shape = (min(count, 500) if asked.tiny else count, px, px, 3)
        pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        arrays = ImageArrays(pixels, np.zeros(len(pixels), np.int64), "", Path())
        rates = [input_rate(source, batch, asked) for source in (arrays, on_card(arrays, asked.device) or arrays)]
        yield {"px": px, "batch": batch, "images": count, "from the host": rates[0], "from the card": rates[1]}


def input_rate(source: ImageArrays | Batch, batch: int, asked: Request) -> int:
    """Images a second, epoch after epoch."""
    given = {"seed": 0, "augment": Augment(), "statistics": IMAGENET_STATISTICS, "device": asked.device}
    epochs = (training_batches(source, batch, epoch=epoch, **given) for epoch in itertools.count())  # type: ignore[arg-type]
    batches = itertools.chain.from_iterable(epochs)
    *_, first = itertools.islice(batches, 5)
    return round(images_per_second(lambda *_: next(batches), *first, 0.1 if asked.tiny else INPUT_SECONDS))


def memory(asked: Request) -> Iterator[Row]:
    """(g) A row for each case; on a CPU predicted only (benchmarks/memory.py measures there)."""
    for space, batch, px, changes in MEMORY_CASES[-1:] if asked.tiny else MEMORY_CASES:
        config = TrainConfig(epochs=2, batch_size=batch, **changes)
        row: Row = {"network": space, "px": px, "batch": batch, "settings": str(changes or "")}
        yield from kept_errors(asked, row, memory_of(network_of(space, px).to(asked.device), px, config, asked.device))


def memory_of(network: nn.Module, px: int, config: TrainConfig, device: torch.device) -> Iterator[Row]:
    """Megabytes predicted, without taking them, and the most that torch held on the card."""
    predicted = predict_memory(network, config, px)
    if device.type != "cuda":
        yield {"predicted MB": round(predicted / 1e6)}
        return
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated() - sum(t.numel() * t.element_size() for t in network.state_dict().values())
    torch.cuda.reset_peak_memory_stats()
    images = torch.randn(config.batch_size, 3, px, px, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(config.batch_size, dtype=torch.int64, device=device)
    with recomputing(network) if config.recompute else nullcontext():
        step = our_step(network, config, device)
        for _ in range(3):
            step(images, labels)
    wait(device)
    allocated, reserved = torch.cuda.max_memory_allocated() - before, torch.cuda.max_memory_reserved()
    yield {
        "predicted MB": round(predicted / 1e6), "allocated MB": round(allocated / 1e6),
        "reserved MB": round(reserved / 1e6), "predicted / allocated": predicted / allocated,
        "predicted / reserved": predicted / reserved,
    }  # fmt: skip
