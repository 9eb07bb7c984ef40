"""(b) Images a second of a training step: ours beside timm's and torchvision's networks with best flags.

Everybody does the same work: forward, cross-entropy with smoothing, backward, fused AdamW; no clipping, no average, no
loss read back; "usual" adds the clipping and the average that a search has, "recorded" replays forward and backward
pass from a CUDA graph. Plain loops run as timm's script does with ``--amp --amp-dtype bfloat16 --channels-last``:
autocast, cuDNN's benchmark mode, gradients set to none; with ``--torchcompile`` where a case says compiled. Random
images lie on the device. Contestants alternate; numbers are medians of the rounds, the ratio the median of each
round's own.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from filelock import FileLock
from torch import Tensor, nn

from benchmarks.gpu.sheet import Request, Row, read_rows, wait
from benchmarks.gpu.subject import (
    Processes,
    Step,
    TrainConfig,
    build,
    load_space,
    mapped,
    our_step,
    spec_of,
)

ROUNDS = 3
SECONDS = 0.25  # of one round of one contestant, at least
CLASSES = 1000
COMPILED = 3  # contestants of a compiled case
QUIET = "quiet"  # a file that says: nothing else runs now


@dataclass(frozen=True)
class Case:
    """What all contestants of a comparison train; ``precision``: "bf16", "tf32", or "fp32" without tensor cores."""

    network: str
    px: int
    batch: int
    precision: str = "bf16"
    channels_last: bool = True
    compiled: bool = False


B0, SMALL = "efficientnet_b0", "mbconv_small"
CASES = (
    Case(B0, 224, 256),
    Case(B0, 224, 256, compiled=True),
    Case(SMALL, 32, 128),
    Case(B0, 112, 128),
    Case(SMALL, 32, 512),
    Case(B0, 224, 128, "tf32"),
    Case(B0, 64, 128),
    Case(B0, 224, 256, channels_last=False),
    Case(B0, 224, 128),
    Case("mobilenet_v2", 112, 128),
    Case("resnet18", 112, 128),
    Case(B0, 224, 128, "fp32"),
    Case(SMALL, 32, 32),
    Case(SMALL, 32, 128, "tf32"),
    Case(B0, 112, 512),
)
TINY = (Case(SMALL, 32, 4, "fp32"),)


def measure(asked: Request) -> Iterator[Row]:
    """Case after case, as many as the time allows."""
    for case in TINY if asked.tiny else CASES:
        if asked.left < 8:
            yield {**vars(case), "contestant": "left out: no time"}
            continue
        try:
            yield from compare_compiled(case, asked) if case.compiled else compare(case, asked)
        except Exception as error:  # the other cases are of use without this one
            yield {**vars(case), "contestant": "error", "error": f"{type(error).__name__}: {error}"[:300]}
        gc.collect()
        if asked.device == "cuda":
            torch.cuda.empty_cache()


def compile_all(asked: Request) -> Iterator[Row]:
    """Contestants of the compiled case, each in a process that compiles beside other parts and is timed when (b) says
    that nothing else runs."""
    jobs = [(case, name) for case in CASES if case.compiled for name in contestants(case, asked.place)]
    for (_, name), rates in mapped(Processes(partial(compile_one, asked), COMPILED), jobs):
        yield {"contestant": name, "rates": rates}


def compile_one(asked: Request, job: tuple[Case, str], beat: Callable[[], None]) -> list[float]:
    """Images a second of each round, in which the processes take turns."""
    case, name = job
    images, labels = random_batch(case, asked.place)
    rates = []
    with flags(case, name):
        step = contestants(case, asked.place)[name]()
        for _ in range(3):
            step(images, labels)
        wait(asked.place)
        while not (asked.out / QUIET).exists():
            time.sleep(0.2)
            beat()
        for _ in range(ROUNDS):
            with FileLock(asked.out / "turn.lock"):
                rates.append(images_per_second(step, images, labels, 2 * SECONDS))
            time.sleep(0.2)  # the others' turn
    return rates


def compare_compiled(case: Case, asked: Request) -> Iterator[Row]:
    """A row for each contestant that is compiled by now, or soon."""
    (asked.out / QUIET).touch()
    file = asked.out / "compile.jsonl"
    while len(read_rows(file)) < COMPILED and asked.left > 8:
        time.sleep(0.5)
    rates = {row["contestant"]: row["rates"] for row in read_rows(file)}
    yield from rows_of(case, rates, {})


def compare(case: Case, asked: Request) -> Iterator[Row]:
    """A row for each contestant."""
    images, labels = random_batch(case, asked.place)
    rates: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    steps: dict[str, Step] = {}
    failed: dict[str, str] = {}
    for name, make in contestants(case, asked.place).items():
        try:
            with flags(case, name):
                steps[name] = make()
                for _ in range(1 if asked.tiny else 5):  # three before a recording
                    steps[name](images, labels)
                if asked.device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                    steps[name](images, labels)
                    memory[name] = torch.cuda.max_memory_allocated() / 1e6
            rates[name] = []
        except Exception as error:  # one network that a library cannot build leaves the others
            failed[name] = f"{type(error).__name__}: {error}"[:300]
    for _ in range(1 if asked.tiny else ROUNDS):
        for name in rates:
            with flags(case, name):
                rates[name].append(images_per_second(steps[name], images, labels, 0.0 if asked.tiny else SECONDS))
    yield from rows_of(case, rates, memory)
    for name, error in failed.items():
        yield {**vars(case), "contestant": name, "error": error}


def rows_of(case: Case, rates: dict[str, list[float]], memory: dict[str, float]) -> Iterator[Row]:
    """Medians, and the ratios to timm's in the same round."""
    rival = next((name for name in rates if name.startswith("timm")), None)
    for name, values in rates.items():
        row: Row = {
            **vars(case), "contestant": name, "images/s": round(statistics.median(values), 1),
            "lowest": round(min(values), 1), "highest": round(max(values), 1),
        }  # fmt: skip
        if rival:
            row["to timm's"] = round(statistics.median(a / b for a, b in zip(values, rates[rival], strict=True)), 3)
        yield row | {"peak MB of all": round(memory.get(name, 0.0))}


def contestants(case: Case, device: torch.device) -> dict[str, Callable[[], Step]]:
    """What makes each one's step."""
    precision = "bf16" if case.precision == "bf16" else "fp32"
    plain = TrainConfig(epochs=1, batch_size=case.batch, clip_grad_norm=0.0, precision=precision)
    usual = replace(plain, clip_grad_norm=1.0, ema_decay=0.99)
    found: dict[str, Callable[[], Step]] = {"ours": partial(ours, case, plain, device)}
    if not case.compiled and case.channels_last:
        found["ours, usual"] = partial(ours, case, usual, device)
        if device.type == "cuda":
            found["ours, recorded"] = partial(ours, case, plain, device, recorded=True)
            found["ours, usual, recorded"] = partial(ours, case, usual, device, recorded=True)
    if case.network != SMALL:
        for library in ("timm", "torchvision"):
            found[library] = partial(theirs, library, case, device)
    return found


def network_of(case: Case) -> nn.Module:
    """Ours."""
    spec = load_space(SMALL).baseline if case.network == SMALL else spec_of(case.network, case.px)
    return build(replace(spec, resolution=case.px), seed=0)


def ours(case: Case, config: TrainConfig, device: torch.device, recorded: bool = False) -> Step:
    """A step of the package's loop."""
    network = network_of(case)
    step = our_step(network, config, device, torch.compile(network) if case.compiled else None, recorded)
    if not case.channels_last:
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return step


def theirs(library: str, case: Case, device: torch.device) -> Step:
    """A step as a training script writes it."""
    if library == "timm":
        import timm

        names = {"mobilenet_v2": "mobilenetv2_100"}
        network: nn.Module = timm.create_model(names.get(case.network, case.network), num_classes=CLASSES)
    else:
        import torchvision

        network = getattr(torchvision.models, case.network)(num_classes=CLASSES)
    layout = torch.channels_last if case.channels_last else torch.contiguous_format
    network.to(device=device, memory_format=layout).train()  # type: ignore[call-overload]
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


class flags:  # noqa: N801 (a context)
    """cuDNN's benchmark mode and TF32 as a contestant has them; put back afterwards."""

    def __init__(self, case: Case, contestant: str) -> None:
        self.wanted = (not contestant.startswith("ours"), case.precision != "fp32")

    def __enter__(self) -> None:
        self.before = (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32)
        self._set(*self.wanted)

    def __exit__(self, *error: object) -> None:
        self._set(*self.before)

    @staticmethod
    def _set(benchmark: bool, tf32: bool) -> None:
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = benchmark, tf32
        torch.set_float32_matmul_precision("high" if tf32 else "highest")


def random_batch(case: Case, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images (N, 3, px, px) in the case's layout, labels (N,)."""
    layout = torch.channels_last if case.channels_last else torch.contiguous_format
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(case.batch, 3, case.px, case.px, generator=generator)
    classes = 10 if case.network == SMALL else CLASSES
    labels = torch.randint(classes, (case.batch,), generator=generator)
    return images.to(device).contiguous(memory_format=layout), labels.to(device)


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
