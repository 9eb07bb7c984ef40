"""Truth tables: every candidate of a small space, fully trained with several seeds, all predictions kept.

    python benchmarks/truth/train.py PATH_TO_SET --out runs/truth/cifar10 [--variant scratch] [--seeds 3]
    python benchmarks/truth/train.py PATH_TO_SET --out runs/truth/cifar10 --pack benchmarks/truth/cifar10.npz

Every network (the baseline too) is trained in one process with one thread; the predictions for every validation image
are kept after each of the epochs in RUNGS, those for every test image at the end. Finished networks are kept, so the
same command continues. ``--pack`` joins all variants found under ``--out`` into one file.

Variants other than ``scratch`` are what a search could do instead of training fully from scratch; each is a training
of its own, with its own schedule (see VARIANTS).
"""

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from scalesearch.data.batches import Augment, evaluation_batches, pixel_statistics, training_epochs
from scalesearch.data.cache import cores
from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.design.candidates import enumerate_candidates
from scalesearch.design.cost import cost
from scalesearch.design.scaling import size_baseline
from scalesearch.design.space import Grid, load_space
from scalesearch.design.spec import NetSpec
from scalesearch.files import atomic, write_json
from scalesearch.nets.modules import build
from scalesearch.running.executor import Beat, mapped
from scalesearch.running.processes import Processes
from scalesearch.running.provenance import hardware, versions
from scalesearch.study.config import TrainConfig
from scalesearch.training.device import set_threads
from scalesearch.training.evaluation import evaluate
from scalesearch.training.loop import Task, fit
from scalesearch.training.probes import seconds_per_step
from scalesearch.training.step import classification_loss

RUNGS = (1, 2, 3, 4, 6, 9, 12, 18)
IMAGES, BATCH = 4800, 64


@dataclass(frozen=True)
class Variant:
    """How candidates are trained: epochs, share of the training images, of the resolution, and the start."""

    epochs: int
    images: int = IMAGES
    resolution: float = 1.0
    start: str = "scratch"


VARIANTS = {
    "scratch": Variant(RUNGS[-1]),
    "short2": Variant(2),
    "short6": Variant(6),
    "half_images": Variant(4, images=IMAGES // 2),
    "small": Variant(4, resolution=0.7),
    "expanded1": Variant(1, start="baseline"),
    "expanded2": Variant(2, start="baseline"),
    "expanded6": Variant(6, start="baseline"),
}


@dataclass(frozen=True)
class Job:
    """One network of one variant and seed; ``start`` is the baseline's weights where the variant begins there."""

    name: str
    spec: NetSpec
    seed: int
    variant: str
    data: str
    largest_px: int
    out: Path
    start: Path | None

    @property
    def file(self) -> Path:
        """Where its predictions go."""
        return self.out / self.variant / f"{self.name}-seed{self.seed}.npz"


def networks(data: Dataset, target: float) -> list[tuple[str, NetSpec, dict[str, Any]]]:
    """Name, spec and facts of the baseline and of every candidate of the small space."""
    baseline = size_baseline(load_space("mbconv_small"), target, len(data.classes))
    listed = enumerate_candidates(baseline, Grid(0.1, 0.1, 2.0))
    rows: list[tuple[str, NetSpec, dict[str, Any]]] = [("baseline", baseline, _facts(baseline, 1, 1, 1, ""))]
    for item in listed.candidates:
        c = item.coefficients
        rows.append((f"c{item.index:03d}", item.spec, _facts(item.spec, c.alpha, c.beta, c.gamma, item.control)))
    return rows


def _facts(spec: NetSpec, alpha: float, beta: float, gamma: float, control: str) -> dict[str, Any]:
    return {
        "macs": cost(spec).macs, "alpha": alpha, "beta": beta, "gamma": gamma, "control": control,
        "resolution": spec.resolution, "widths": list(spec.widths), "depths": list(spec.depths),
    }  # fmt: skip


def train(job: Job, _beat: Beat) -> str:
    """Trains one network and writes its predictions."""
    set_threads(1)
    variant, cpu = VARIANTS[job.variant], torch.device("cpu")
    parts = dataset(open_data(job.data), job.largest_px, variant.images)
    spec = replace(job.spec, resolution=round(job.spec.resolution * variant.resolution))
    arrays, validation, test = (part.at(spec.resolution) for part in (parts.train, parts.validation, parts.test))
    statistics = pixel_statistics(arrays)
    config = TrainConfig(
        epochs=variant.epochs, batch_size=BATCH, lr=3e-3, warmup_epochs=min(1.0, variant.epochs / 4), ema_decay=0.99,
        seed=job.seed,
    )  # fmt: skip
    network = build(spec, seed=job.seed)
    if job.start is not None:
        from scalesearch.nets.inherit import inherit
        from scalesearch.nets.weights import load_network

        trained = load_network(job.start)[0]
        network, _ = inherit(trained.spec, trained.state_dict(), spec, seed=job.seed)
    epochs, steps = training_epochs(
        arrays, BATCH, seed=job.seed, augment=Augment(flip=parts.source.flip), statistics=statistics, device=cpu
    )
    kept: dict[str, np.ndarray[Any, Any]] = {"labels": validation.labels.astype(np.uint8)}
    done = 0

    def judge(model: nn.Module) -> dict[str, float]:
        nonlocal done
        done += 1
        if done not in RUNGS:
            return {}
        evaluation = evaluate(model, evaluation_batches(validation, 256, statistics=statistics, device=cpu))
        kept[f"validation{done}"] = evaluation.predictions.astype(np.uint8)
        return {"top1": evaluation.top1}

    history = fit(network, Task(epochs, steps, classification_loss(config), judge), config, cpu)
    evaluation = evaluate(network, evaluation_batches(test, 256, statistics=statistics, device=cpu))
    kept |= {"test_labels": test.labels.astype(np.uint8), "test": evaluation.predictions.astype(np.uint8)}
    kept["seconds"] = np.array([record.seconds for record in history])
    if job.variant == "scratch" and job.name == "baseline":
        from scalesearch.nets.weights import save_network

        save_network(job.file.with_suffix(".safetensors"), network, {}, parts.classes)
    with atomic(job.file) as temporary:
        np.savez_compressed(temporary, **kept)
    tops = " ".join(f"{record.metrics['top1']:.3f}" for record in history if record.metrics)
    return f"{job.variant} {job.name} seed {job.seed}: {tops}; test {evaluation.top1:.3f}; {sum(kept['seconds']):.0f} s"


def pack(out: Path, file: Path, rows: list[tuple[str, NetSpec, dict[str, Any]]], facts: dict[str, Any]) -> None:
    """All variants into one file: validation (network, seed, rung, image) and test (network, seed, image)."""
    content: dict[str, Any] = {}
    for variant, settings in VARIANTS.items():
        folder = out / variant
        seeds = sorted({int(path.stem.split("seed")[1]) for path in folder.glob("c*.npz")})
        if not seeds:
            continue
        rungs = [rung for rung in RUNGS if rung <= settings.epochs]
        names = [name for name, _, _ in rows if all((folder / f"{name}-seed{seed}.npz").exists() for seed in seeds)]
        runs = [[dict(np.load(folder / f"{name}-seed{seed}.npz")) for seed in seeds] for name in names]
        content[f"{variant}_validation"] = np.array([[[r[f"validation{e}"] for e in rungs] for r in s] for s in runs])
        content[f"{variant}_test"] = np.array([[r["test"] for r in s] for s in runs])
        content["labels"], content["test_labels"] = runs[0][0]["labels"], runs[0][0]["test_labels"]
        facts[variant] = {
            "epochs": settings.epochs, "images": settings.images, "resolution": settings.resolution,
            "start": settings.start, "rungs": rungs, "seeds": seeds, "networks": names,
            "seconds": [[round(float(r["seconds"].sum()), 1) for r in s] for s in runs],
        }  # fmt: skip
    with atomic(file) as temporary:
        np.savez_compressed(temporary, **content)
    write_json(file.with_suffix(".json"), facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variant", default="scratch", choices=VARIANTS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--target-flops", type=float, default=1e6)
    parser.add_argument("--jobs", type=int, default=cores())
    parser.add_argument("--pack", type=Path, help="join what is there into this .npz and .json")
    parser.add_argument("--only", help="networks to train, separated by commas")
    options = parser.parse_args()
    source = open_data(options.data)
    largest = 48
    rows = networks(dataset(source, largest, IMAGES), options.target_flops)
    if options.pack:
        facts = {
            "data": source.name, "source_digest": source.digest, "target_macs": options.target_flops,
            "space": "mbconv_small", "classes": list(source.classes), "batch_size": BATCH, "lr": 3e-3,
            "ema_decay": 0.99, "versions": versions(), "hardware": hardware("cpu"),
            "networks": {name: {**facts, "seconds_per_step": round(_step(spec), 5)} for name, spec, facts in rows},
        }  # fmt: skip
        pack(options.out, options.pack, rows, facts)
        return
    parts = dataset(source, largest, VARIANTS[options.variant].images)
    jobs = []
    for seed in range(options.seeds):
        for name, spec, _ in rows:
            expanded = VARIANTS[options.variant].start == "baseline"
            start = options.out / "scratch" / f"baseline-seed{seed}.safetensors" if expanded else None
            job = Job(name, spec, seed, options.variant, options.data, largest, options.out, start)
            wanted = options.only is None or name in options.only.split(",")
            if wanted and not job.file.exists() and not (expanded and name == "baseline"):
                jobs.append(job)
    for size in {round(job.spec.resolution * VARIANTS[job.variant].resolution) for job in jobs}:
        for part in (parts.train, parts.validation, parts.test):
            part.at(size)
    for number, (_, line) in enumerate(mapped(Processes(train, options.jobs), jobs), start=1):
        print(f"{number}/{len(jobs)} {line}", flush=True)


def _step(spec: NetSpec) -> float:
    set_threads(1)
    return seconds_per_step(build(spec, seed=0), spec.resolution, BATCH, torch.device("cpu"), steps=5)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
