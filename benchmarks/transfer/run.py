"""Transfer learning side by side: regimes, inheritance against scratch and slicing, timm, learning curves.

    python benchmarks/transfer/run.py --weights FILE --out reports/transfer/results.jsonl DATA [DATA …]

FILE is a state dict of EfficientNet-Lite0 (ImageNet), trained with TensorFlow's padding. Each job is one training; its
row is appended to the results, and a job that has a row is not run again. One thread a job, as many at a time as there
are cores.
"""

import argparse
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from scalesearch.data.arrays import ImageArrays
from scalesearch.data.batches import IMAGENET_STATISTICS, Augment, evaluation_batches, training_epochs
from scalesearch.data.dataset import dataset, open_data
from scalesearch.design.scaling import PAPER, scale
from scalesearch.design.spec import NetSpec
from scalesearch.machine import cores
from scalesearch.nets.modules import MBConvNet, build
from scalesearch.nets.names import rename, timm_names
from scalesearch.nets.sources import Stated, WeightSource, open_weights
from scalesearch.study.config import TrainConfig
from scalesearch.training.evaluation import evaluate
from scalesearch.training.loop import Task, fit
from scalesearch.training.sections import reset_tail
from scalesearch.training.start import from_source, settled
from scalesearch.training.step import classification_loss

CPU = torch.device("cpu")
BATCH, LR, BODY = 32, 3e-3, 0.3
EPOCHS = 4
PIXELS = {"flowers": 80, "cifar10": 64}
IMAGES = {"cifar10": 1500}
# epochs that take about as long as EPOCHS of everything (steps timed on this machine: 0.22, 0.36, 0.63 of a full one)
EQUAL_TIME = {"head": 18, "tail": 11, "gradual": 6}


@dataclass(frozen=True)
class Job:
    """One training. ``start``: scratch, inherited, sliced (leading slices, nothing else), timm."""

    question: str
    data: str
    phi: float
    start: str
    strategy: str
    epochs: int
    seed: int
    per_class: int = 0
    reset: bool = False
    lr: float = LR
    body: float = BODY

    @property
    def key(self) -> str:
        values = {name: value for name, value in asdict(self).items() if name != "body" or value != BODY}
        return json.dumps(values, sort_keys=True)


def jobs(data: list[str]) -> list[Job]:
    """What is asked, most wanted first."""
    wanted: list[Job] = []
    first, seeds = data[0], (0, 1, 2)
    for name in data:
        for seed in seeds:
            wanted += [
                Job("regimes", name, 0, "scratch", "full", EPOCHS, seed),
                *(Job("regimes", name, 0, "inherited", s, EPOCHS, seed) for s in ("head", "tail", "full", "gradual")),
                Job("regimes", name, 0, "inherited", "tail", EPOCHS, seed, reset=True),
            ]
        if name == first:
            wanted += members(name, (-1, 0.5, 1), seeds)
            wanted += curves(name, seeds)
    for seed in seeds:
        wanted += [Job("equal time", first, 0, "inherited", s, e, seed) for s, e in EQUAL_TIME.items()]
        wanted += [Job("timm", first, 0, "timm", "full", EPOCHS, seed, lr=lr) for lr in (3e-4, 1e-3)]
        wanted += [Job("timm", first, 0, "timm", "full", EPOCHS, seed, lr=lr) for lr in (3e-3, 1e-2)]
    wanted += frozen(first, seeds)
    wanted += members(first, (2,), seeds)
    for name in data[1:]:
        wanted += members(name, (-1, 1), seeds)
    for name in data:
        wanted += [
            Job("body", name, 0, "inherited", "full", EPOCHS, seed, body=body) for body in (0.1, 1.0) for seed in seeds
        ]
    return wanted


def members(name: str, phis: tuple[float, ...], seeds: tuple[int, ...]) -> list[Job]:
    return [
        Job("members", name, phi, start, "full", EPOCHS, seed)
        for phi in phis
        for seed in seeds
        for start in ("inherited", "scratch", "sliced")
    ]


def curves(name: str, seeds: tuple[int, ...]) -> list[Job]:
    return [
        Job("images", name, 0, "inherited", strategy, epochs, seed, per_class)
        for per_class, epochs in ((5, 20), (20, 10))
        for seed in seeds
        for strategy in ("head", "tail", "full", "gradual")
    ]


def frozen(name: str, seeds: tuple[int, ...]) -> list[Job]:
    """What a body is worth that is not, or hardly, trained; and new last layers where images are few."""
    few = [
        Job("images", name, 0, "inherited", "tail", epochs, seed, per_class, reset=True)
        for per_class, epochs in ((5, 20), (20, 10))
        for seed in seeds
    ]
    return few + [
        Job("frozen", name, phi, start, strategy, EPOCHS, seed)
        for strategy in ("head", "tail")
        for phi in (-1, 1)
        for seed in seeds
        for start in ("inherited", "sliced")
    ]


def sliced(source: WeightSource, spec: NetSpec, seed: int) -> MBConvNet:
    """The naive way: leading slices wherever a tensor of that name exists, the rest fresh."""
    network = build(spec, seed=seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            old = source.state.get(name)
            if old is None or old.ndim != tensor.ndim or name.startswith("classifier"):
                continue
            kept = tuple(slice(min(a, b)) for a, b in zip(tensor.shape, old.shape, strict=True))
            tensor[kept] = old[kept]
        network.classifier[1].weight.normal_(std=0.01)
    return network


def started(job: Job, source: WeightSource, spec: NetSpec, arrays: ImageArrays, classes: tuple[str, ...]) -> MBConvNet:
    if job.start == "scratch":
        return build(spec, seed=job.seed)
    if job.start == "sliced":
        return sliced(source, spec, job.seed)
    return from_source(spec, source, arrays, classes, CPU, seed=job.seed).network


def run(job: Job, weights: str) -> dict[str, object]:
    torch.set_num_threads(1)
    began = time.perf_counter()
    name = Path(job.data).name
    source = open_weights(weights, _lite0(weights, name), Stated("same"))
    base = replace(source.spec, resolution=PIXELS[name])
    spec = scale(base, PAPER, job.phi)
    images = open_data(job.data)
    count = job.per_class * len(images.classes) or IMAGES.get(name)
    parts = dataset(images, spec.resolution, count)
    arrays, test = parts.train.at(spec.resolution), parts.test.at(spec.resolution)
    config = TrainConfig(
        epochs=job.epochs, batch_size=BATCH, lr=job.lr, warmup_epochs=min(1.0, job.epochs / 4), seed=job.seed,
        strategy=job.strategy,  # type: ignore[arg-type]
        body_lr_ratio=job.body if job.start in ("inherited", "sliced") and job.strategy in ("full", "gradual") else 1.0,
    )  # fmt: skip
    epochs, steps = training_epochs(
        arrays, BATCH, seed=job.seed, augment=Augment(), statistics=IMAGENET_STATISTICS, device=CPU
    )
    spec = settled(replace(spec, classes=len(parts.classes)), steps * job.epochs)
    network: nn.Module
    if job.start == "timm":
        network = timm_network(source, len(parts.classes))
        made = time.perf_counter()
        losses = timm_training(network, epochs, steps, config)
    else:
        network = started(job, source, spec, arrays, parts.classes)
        if job.reset:
            torch.manual_seed(job.seed)
            reset_tail(network, config)
        made = time.perf_counter()
        history = fit(network, Task(epochs, steps, classification_loss(config)), config, CPU)
        losses = [record.train_loss for record in history]
    seconds = time.perf_counter() - made
    evaluation = evaluate(network, evaluation_batches(test, 128, statistics=IMAGENET_STATISTICS, device=CPU))
    return {
        **asdict(job), "data": name, "top1": evaluation.top1, "loss": evaluation.loss, "images": len(evaluation.labels),
        "train_loss": losses[-1], "train_seconds": seconds, "start_seconds": made - began,
        "resolution": spec.resolution, "train_images": len(arrays),
        "right": "".join("1" if hit else "0" for hit in evaluation.labels == evaluation.predictions),
    }  # fmt: skip


def _lite0(weights: str, name: str) -> NetSpec:
    from scalesearch.design.space import load_space

    return replace(load_space("efficientnet_lite0").baseline, resolution=PIXELS[name])


def timm_network(source: WeightSource, classes: int) -> nn.Module:
    """timm's own network with the same weights; its classifier as timm makes it."""
    network = timm.create_model("tf_efficientnet_lite0", num_classes=classes)
    missing, unexpected = network.load_state_dict(rename(source.state, timm_names(source.spec)), strict=False)
    assert set(missing) == {"classifier.weight", "classifier.bias"} and not unexpected, (missing, unexpected)  # noqa: PT018
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1  # as ours: timm's 0.01 would leave ImageNet's statistics
    return network.to(memory_format=torch.channels_last)


def timm_training(network: nn.Module, epochs: object, steps: int, config: TrainConfig) -> list[float]:
    """timm's optimizer (AdamW, layer-wise decay 0.75, as its fine-tuning guides have it) and its cosine schedule."""
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2

    optimizer = create_optimizer_v2(network, "adamw", lr=config.lr, weight_decay=0.05, layer_decay=0.75)
    scheduler, _ = create_scheduler_v2(
        optimizer, "cosine", num_epochs=config.epochs, warmup_epochs=1, step_on_epochs=False, updates_per_epoch=steps
    )
    criterion, losses = nn.CrossEntropyLoss(label_smoothing=0.1), []
    torch.manual_seed(config.seed)
    for epoch in range(config.epochs):
        total = 0.0
        network.train()
        for step, (images, labels) in enumerate(epochs(epoch)):  # type: ignore[operator]
            scheduler.step_update(epoch * steps + step)
            value: Tensor = criterion(network(images), labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            total += value.item()
        losses.append(total / steps)
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--out", type=Path, default=Path("reports/transfer/results.jsonl"))
    parser.add_argument("--shared", action="store_true", help="other programs use the machine: seconds mean nothing")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    done = {row["key"] for row in rows}
    waiting = [job for job in jobs(given.data) if job.key not in done]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores(), mp_context=context) as pool, given.out.open("a") as out:
        running = {pool.submit(run, job, given.weights): job for job in waiting}
        for future in as_completed(running):
            job = running[future]
            row = {"key": job.key, **future.result(), "timed": not given.shared}
            out.write(json.dumps(row) + "\n")
            out.flush()
            print(f"{row['question']} φ {job.phi:g} {job.start} {job.strategy} {job.epochs} epochs seed {job.seed}: "
                  f"{row['top1']:.1%}, {row['train_seconds']:.0f} s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
