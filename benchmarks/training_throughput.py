"""Images per second of training: our loop beside a plain loop, on one network, alternated in one process.

    python benchmarks/training_throughput.py --image-size 64 --batch-size 32 --steps 4 --repeats 5 --threads 1

The plain loop does what torchvision's reference classification script does each step: NCHW images, zero_grad,
forward, cross-entropy, backward, step, then ``loss.item()`` and top-1/top-5 counts read for its meters; float32
without autocast, its default. SGD with momentum, no clipping and no weight average for everybody. Random images
lie in memory beforehand, so decoding and augmentation are not measured. Numbers are medians over the repeats; the
ratio is the median of each round's own ratio. timm's network comes without dropout and stochastic depth, its default.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import timm
import torch
import torchvision
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from scalesearch.design.space import load_space
from scalesearch.nets.modules import build
from scalesearch.study.config import TrainConfig
from scalesearch.training.device import choose_device, set_threads, uses_bf16
from scalesearch.training.loop import Task, train_epoch
from scalesearch.training.memory import Parts
from scalesearch.training.step import classification_loss, start

CLASSES = 1000
Batches = list[tuple[Tensor, Tensor]]


def random_batches(options: argparse.Namespace, device: torch.device, layout: torch.memory_format) -> Batches:
    """The same images for everybody, in the layout a contestant takes them in."""
    generator = torch.Generator().manual_seed(0)
    shape = (options.batch_size, 3, options.image_size, options.image_size)
    return [
        (
            torch.randn(shape, generator=generator).to(device).contiguous(memory_format=layout),
            torch.randint(CLASSES, shape[:1], generator=generator).to(device),
        )
        for _ in range(options.steps)
    ]


def our_loop(network: nn.Module, options: argparse.Namespace, device: torch.device) -> Callable[[], object]:
    """One epoch of ``train_epoch``, as ``fit`` runs it."""
    config = TrainConfig(
        epochs=1, optimizer="sgd", lr=0.01, warmup_epochs=0, clip_grad_norm=0.0, batch_size=options.batch_size,
        precision=options.precision,
    )  # fmt: skip
    training = start(network, config, device)
    batches = random_batches(options, device, torch.channels_last)
    task = Task(lambda epoch: batches, options.steps, classification_loss(config))
    return lambda: train_epoch(training, task, 0, Parts(1, 0))


def plain_loop(network: nn.Module, options: argparse.Namespace, device: torch.device) -> Callable[[], object]:
    """One epoch as a reference script writes it."""
    network.to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=2e-5)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    batches = random_batches(options, device, torch.contiguous_format)

    def epoch() -> None:
        for images, labels in batches:
            outputs = network(images)
            loss = criterion(outputs, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.inference_mode():
                hits = outputs.topk(5, dim=1).indices == labels[:, None]
                hits[:, 0].sum().item()
                hits.sum().item()
            loss.item()

    return epoch


def images_per_second(epoch: Callable[[], object], options: argparse.Namespace, device: torch.device) -> float:
    """Of one epoch; a GPU is waited for before and after."""
    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    wait()
    began = time.perf_counter()
    epoch()
    wait()
    return options.steps * options.batch_size / (time.perf_counter() - began)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4, help="of one repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of torch on the CPU")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"], help="of our loop")
    return parser.parse_args()


def main() -> None:
    options = parse()
    device = choose_device(options.device)
    if options.threads:
        set_threads(options.threads)
    spec = load_space("efficientnet_b0").baseline
    contestants = {
        "our loop, our network": our_loop(build(spec, seed=0), options, device),
        "our loop, torchvision's network": our_loop(torchvision.models.efficientnet_b0(), options, device),
        "plain loop, torchvision's network": plain_loop(torchvision.models.efficientnet_b0(), options, device),
        "plain loop, timm's network": plain_loop(timm.create_model("efficientnet_b0"), options, device),
    }
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for repeat in range(options.repeats + 1):
        for name, epoch in contestants.items():
            rate = images_per_second(epoch, options, device)
            if repeat:  # the first round warms up
                rates[name].append(rate)
    report(rates, options, device)


def report(rates: dict[str, list[float]], options: argparse.Namespace, device: torch.device) -> None:
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    precision = "bf16" if uses_bf16(device, options.precision) else "fp32"
    table = Table("training", "images/s", "lowest", "highest", "to plain torchvision's")
    plain = rates["plain loop, torchvision's network"]
    for name, values in rates.items():
        paired = statistics.median(ours / theirs for ours, theirs in zip(values, plain, strict=True))
        cells = (statistics.median(values), min(values), max(values))
        table.add_row(name, *(f"{value:.1f}" for value in cells), f"{paired:.2f}")
    console = Console()
    console.print(table)
    console.print(
        f"efficientnet_b0, {options.image_size} px, batch {options.batch_size}, "
        f"{options.repeats} alternated repeats of {options.steps} steps; {where}; our loop in {precision}, "
        f"the plain one in fp32; torch {torch.__version__}, torchvision {torchvision.__version__}, "
        f"timm {timm.__version__}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()
